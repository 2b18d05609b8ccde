"""What the page may ask of its server: one request through the traffic port under a credential it never sees.

A page from elsewhere must not be able to ask the same. A browser tells where a request comes from in `Origin` and
`Sec-Fetch-Site`, and would have to ask permission for a JSON content type from another origin. A name that an attacker
points at 127.0.0.1 (DNS rebinding) makes his page the same origin, but shows in `Host`.
"""

import re
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Annotated, Final, Literal

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, TypeAdapter, ValidationError

SHOWN_BYTES: Final = 1 << 20  # of an answer; a person reads no more, and a browser should not hold more
# Longer than the longest delay that the pretend upstream can be ordered; the gateway's own timers end sooner.
TIMEOUT: Final = ClientTimeout(total=None, sock_connect=5, sock_read=150)


@dataclass(frozen=True, slots=True)
class Shown:
    """A seeded credential in the page's drop-down: its label and kind are sent to the page, the token is not."""

    label: str
    token: str = field(repr=False)
    kind: Literal["key", "user"]
    scopes: tuple[str, ...] = ()


# ---------------------------------------------------------------- who may ask


def local_host(host: str) -> bool:
    """Whether a Host header names this machine in a way that no DNS answer can forge: localhost or an address."""
    parts = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]+)(:[0-9]{1,5})?", host)
    if parts is None:
        return False
    name = parts[1].strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761, 6.3: never asked of a DNS server
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a request comes from the page itself, or from no browser at all."""
    host = headers.get("Host", "")
    origin = headers.get("Origin")
    return (
        local_host(host)
        and (origin is None or origin in (f"http://{host}", f"https://{host}"))
        and headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
    )


# ---------------------------------------------------------------- what it asks

HeaderName = Annotated[str, StringConstraints(pattern=r"^[Xx]-[Mm][Oo][Cc][Kk]-[A-Za-z]{1,40}$")]
HeaderValue = Annotated[str, StringConstraints(pattern=r"^[!-~]([ -~]{0,198}[!-~])?$")]


class Ask(BaseModel):
    """A request as the page describes it; `credential` is an index into the list it was given."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    query: str
    variables: dict[str, JsonValue] | None = None
    credential: Annotated[int, Field(ge=0)] | None = None
    headers: dict[HeaderName, HeaderValue] = {}


class BadAsk(Exception):
    """An ask that cannot be sent on; the text is a sentence for the person at the page."""


MESSAGE: Final = TypeAdapter(dict[str, JsonValue])


@dataclass(frozen=True, slots=True)
class Prepared:
    """The request for the traffic port."""

    body: bytes
    headers: Mapping[str, str] = field(repr=False)


def prepare(body: bytes, credentials: Sequence[Shown]) -> Prepared:
    """The request that the page asks for, with its credential filled in; raises BadAsk."""
    try:
        ask = Ask.model_validate_json(body)
    except ValidationError as fault:
        raise BadAsk(_sentence(fault)) from fault
    headers = {**ask.headers, "Content-Type": "application/json"}
    if ask.credential is not None:
        if ask.credential >= len(credentials):
            raise BadAsk("There is no such credential; reload the page.")
        headers["Authorization"] = f"Bearer {credentials[ask.credential].token}"
    members: dict[str, JsonValue] = {"query": ask.query}
    if ask.variables is not None:
        members["variables"] = ask.variables
    return Prepared(MESSAGE.dump_json(members), headers)


def _sentence(fault: ValidationError) -> str:
    first = fault.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["loc"][:1] == ("headers",):
        return "Extra headers must be named X-Mock-... and have a short printable value."
    where = ".".join(str(step) for step in first["loc"]) or "the request"
    return f"{where}: {first['msg']}."


def as_curl(prepared: Prepared, url: str) -> str:
    """A shell command that sends the same request when pasted."""
    options = [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in prepared.headers.items()]
    body = f"--data-raw {shlex.quote(prepared.body.decode())}"
    return " \\\n  ".join([f"curl -sS {shlex.quote(url)}", *options, body])


# ---------------------------------------------------------------- what comes back


@dataclass(frozen=True, slots=True)
class Reply:
    """What the traffic port answered; status 0 and a note when it did not."""

    milliseconds: float
    status: int = 0
    phrase: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    bytes: int = 0
    note: str = ""


REPLY: Final = TypeAdapter(Reply)


async def relay(session: ClientSession, url: str, prepared: Prepared) -> Reply:
    """Send the request to the traffic port and describe the answer; a failure is described, not raised."""
    started = time.perf_counter()
    try:
        async with session.post(
            url, data=prepared.body, headers=prepared.headers, allow_redirects=False, timeout=TIMEOUT
        ) as response:
            body, note = await _first_bytes(response)
            spent = 1000 * (time.perf_counter() - started)
            headers = tuple(response.headers.items())
            text = body.decode("utf-8", "replace")
            return Reply(spent, response.status, response.reason or "", headers, text, len(body), note)
    except (ClientError, TimeoutError):
        spent = 1000 * (time.perf_counter() - started)
        return Reply(spent, note="The connection was closed before an answer came.")


async def _first_bytes(response: ClientResponse) -> tuple[bytes, str]:
    """The body as far as it is shown, and what there is to say about its end."""
    body = bytearray()
    try:
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > SHOWN_BYTES:
                response.close()
                return bytes(body[:SHOWN_BYTES]), "Only the first MiB is shown."
    except (ClientError, TimeoutError):
        return bytes(body), "The answer broke off here."
    return bytes(body), ""
