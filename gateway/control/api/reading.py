"""What is read of a request: its path, its query and headers; and its body, bounded in bytes and in time."""

import asyncio
import re
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from aiohttp import web
from pydantic import ValidationError

from gateway.control.api.asked import faults_of, shown
from gateway.control.api.problems import Code, Problem, invalid
from gateway.control.api.routes import PREFIX, Route

BODY_BYTES: Final = 65_536
BODY_SECONDS: Final = 10.0  # for a body that short, from the slowest of networks

_JSON: Final = re.compile(r"application/json(?:\s*;\s*charset=\"?utf-8\"?)?\s*\Z", re.IGNORECASE)
_IDEMPOTENCY_KEY: Final = re.compile(r"[!-~]{1,255}\Z")
_TAGS: Final = re.compile(r"\s*(?:\*|(?:W/)?\"[!#-~]{0,100}\")\s*(?:,\s*(?:W/)?\"[!#-~]{0,100}\"\s*){0,100}\Z")
_TAG: Final = re.compile(r"\*|(?:W/)?\"[^\"]*\"")


def parts_of(request: web.Request) -> tuple[str, ...]:
    """The parts of the path after the prefix, each decoded by itself: an id may hold a slash."""
    path = request.raw_path.partition("?")[0].partition(PREFIX + "/")[2]
    try:
        return tuple(unquote_to_bytes(part).decode("ascii") for part in path.split("/"))
    except (UnicodeDecodeError, UnicodeEncodeError):
        return ()


def query_of(request: web.Request, route: Route) -> Any:
    """The query, as the route's model has it; a `Problem` with all that is wrong with it."""
    names = [name for name, _ in request.query.items()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise invalid((f"query/{shown(name)}", "must be given once") for name in twice)
    try:
        return route.query.model_validate(dict(request.query))
    except ValidationError as error:
        raise invalid(faults_of(error, route.query, "query")) from None


def key_of(request: web.Request, route: Route) -> str:
    """The Idempotency-Key, or nothing."""
    keys = request.headers.getall("Idempotency-Key", [])
    if not route.keyed or not keys:
        return ""
    if len(keys) > 1 or not _IDEMPOTENCY_KEY.match(keys[0]):
        raise invalid([("header/Idempotency-Key", "must be 1 to 255 visible ASCII characters, given once")])
    return keys[0]


def tags_of(request: web.Request, name: str) -> frozenset[str]:
    """The ETags in a header. Weak ones are never the same as a strong one, where it is about a change."""
    texts = request.headers.getall(name, [])
    if len(texts) > 1 or (texts and not _TAGS.match(texts[0])):
        raise invalid([(f"header/{name}", "must be ETags, or `*`")])
    return frozenset(_TAG.findall(texts[0])) if texts else frozenset()


def knows(request: web.Request, tag: str) -> bool:
    """Whether whoever asks has the record of this ETag already."""
    tags = tags_of(request, "If-None-Match")
    return "*" in tags or tag in {each.removeprefix("W/") for each in tags}


async def body_of(request: web.Request) -> bytes:
    """The whole body of JSON; a `Problem` as soon as it is too long, too late or something else."""
    if not _JSON.match(request.headers.get("Content-Type", "")) or "Content-Encoding" in request.headers:
        raise Problem(Code.UNSUPPORTED_MEDIA_TYPE)
    if (request.content_length or 0) > BODY_BYTES:
        raise Problem(Code.BODY_TOO_LARGE)
    await _ask_for_it(request)
    pieces, length = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.content.iter_any():
                length += len(piece)
                if length > BODY_BYTES:
                    raise Problem(Code.BODY_TOO_LARGE)
                pieces.append(piece)
    except TimeoutError:
        raise Problem(Code.BODY_TIMEOUT) from None
    return b"".join(pieces)


async def _ask_for_it(request: web.Request) -> None:
    expected = request.headers.get("Expect", "")
    if not expected:
        return
    if expected.lower() != "100-continue":
        raise Problem(Code.EXPECTATION_FAILED)
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0
