"""Where the public keys of an issuer come from: a file, or an https URL. What is read is bounded, and so is waiting."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, StreamReader, TCPConnector
from yarl import URL

from gateway.core.jwk import MAX_JWKS

FETCH_SECONDS: Final = 5.0  # what a client may wait for whose token names a new key

_HEADERS: Final = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}

Source = Callable[[], Awaitable[bytes]]


class SourceAway(Exception):
    """The keys cannot be had now; the text says why, as the end of a sentence."""


def from_file(file: Path) -> Source:
    """The bytes of a file, one more than a set may have at most."""

    async def read() -> bytes:
        try:
            return await asyncio.to_thread(_start_of, file)
        except OSError as error:
            raise SourceAway(f"the file cannot be read ({error.strerror or error})") from error

    return read


def from_url(url: str, context: ssl.SSLContext | None, seconds: float = FETCH_SECONDS) -> Source:
    """The body of the answer, one byte more than a set may have at most. No redirect is followed: who may say what the
    keys are is in the settings."""

    async def fetch() -> bytes:
        connector = TCPConnector(ssl=True if context is None else context)
        try:
            async with (
                ClientSession(
                    connector=connector,
                    timeout=ClientTimeout(total=seconds),
                    cookie_jar=DummyCookieJar(),
                    auto_decompress=False,
                    headers=_HEADERS,
                ) as session,
                session.get(URL(url, encoded=True), allow_redirects=False) as answer,
            ):
                if answer.status != HTTPStatus.OK or "Content-Encoding" in answer.headers:
                    raise SourceAway(f"the answer was {answer.status}, and not a plain 200")
                return await _bounded(answer.content)
        except TimeoutError as error:
            raise SourceAway("there was no answer in time") from error
        except (ClientError, OSError) as error:
            raise SourceAway(f"there was no answer ({type(error).__name__})") from error

    return fetch


def _start_of(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(MAX_JWKS + 1)


async def _bounded(content: StreamReader) -> bytes:
    data = b""
    while len(data) <= MAX_JWKS and (piece := await content.read(MAX_JWKS + 1 - len(data))):
        data += piece
    return data
