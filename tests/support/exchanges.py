"""Exchanges without a server around them: an endpoint, an upstream that follows a script, and a client that reads."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway.core.decision import Reason, Unavailable
from gateway.proxy.deadlines import Deadlines
from gateway.proxy.upstream import Endpoint, Outcome, UpstreamLimits
from tests.support.scripted import Script, Scripted
from tests.support.taker import Taken, Taker, taker

TLS = Path(__file__).parent / "tls"
HEAD = b"POST /v4/gql HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
COUNTED = b"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 10\r\n\r\n0123456789"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n"
BY_CLOSE = b"HTTP/1.1 200 OK\r\nServer: s\r\n\r\n0123456789"

_ASKED: dict[str, Any] = {"answer_lines": b"", "http10": False, "keep_alive": True}
_PATIENCE = 30.0


def trusting() -> ssl.SSLContext:
    """A context that trusts the authority of the tests."""
    return ssl.create_default_context(cafile=str(TLS / "ca.pem"))


class Names:
    """A resolver that gives its answers one after another, and counts how often it was asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.asked: list[tuple[str, int]] = []
        self._answers = answers

    async def __call__(self, name: str, port: int) -> Sequence[str]:
        self.asked.append((name, port))
        return self._answers[min(len(self.asked), len(self._answers)) - 1]


@asynccontextmanager
async def endpoint(url: str, deadlines: Deadlines | None = None, **options: Any) -> AsyncIterator[Endpoint]:
    """An endpoint, closed at the end; its deadlines are swept by the test, if at all."""
    limits = options.pop("limits", UpstreamLimits())
    made = Endpoint(url, limits, deadlines or Deadlines(), **options)
    try:
        yield made
    finally:
        await made.close()


async def ask(
    upstream: Endpoint, client: Taker, head: bytes = HEAD, body: bytes | AsyncIterator[bytes] = b"{}", **asked: Any
) -> Outcome:
    """One exchange, as the handler asks for it."""
    return await upstream.exchange(head, body, client, **{**_ASKED, **asked})


async def ask_for(upstream: Endpoint, times: int, **asked: Any) -> list[int]:
    """The statuses of so many exchanges, one after another, for a client that is told each."""
    async with taker() as client:
        return [(await ask(upstream, client, **asked)).status for _ in range(times)]


async def reason_of(upstream: Endpoint, **asked: Any) -> Reason:
    """Why an exchange was not possible; its client must not have got a byte."""
    async with taker() as client:
        with pytest.raises(Unavailable) as caught:
            await ask(upstream, client, **asked)
        assert client.writes == []
        assert client.exchange is None
    return caught.value.reason


class Scene(NamedTuple):
    """An upstream that plays a script, an endpoint for it, and a client."""

    scripted: Scripted
    endpoint: Endpoint
    client: Taker
    deadlines: Deadlines

    async def ask(self, head: bytes = HEAD, body: bytes | AsyncIterator[bytes] = b"{}", **asked: Any) -> Outcome:
        """One exchange, as the handler asks for it."""
        return await ask(self.endpoint, self.client, head, body, **asked)

    def pass_time(self, seconds: float) -> None:
        """Sweep as if so much time had passed."""
        self.deadlines.sweep(asyncio.get_running_loop().time() + seconds)


@asynccontextmanager
async def scene(
    script: Script,
    limits: UpstreamLimits | None = None,
    *,
    kind: type[Taker] = Taker,
    buffer: int | None = None,
    certificate: str | None = None,
) -> AsyncIterator[Scene]:
    """Everything that an exchange needs, ended afterwards; a test that hangs fails."""
    deadlines = Deadlines()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(_PATIENCE))
        scripted = await stack.enter_async_context(Scripted(script, certificate=certificate))
        client = await stack.enter_async_context(taker(kind, buffer=buffer))
        context = None if certificate is None else trusting()
        endpoint = Endpoint(scripted.url, limits or UpstreamLimits(), deadlines, ssl_context=context)
        stack.push_async_callback(endpoint.close)
        yield Scene(scripted, endpoint, client, deadlines)


async def until(condition: Callable[[], bool]) -> None:
    """Return as soon as a condition holds that nothing tells of when it does."""
    while not condition():  # noqa: ASYNC110 - a buffer that fills or empties sets no event
        await asyncio.sleep(0)


async def settled() -> None:
    """Let the event loop handle all that has arrived on sockets of this process."""
    for _ in range(50):
        await asyncio.sleep(0)


async def end_of(setting: Scene, **asked: Any) -> tuple[Taken, Reason | None]:
    """What the client has got when everything is over, in the handler's place: and the reason it would be told."""
    reason = None
    try:
        outcome = await setting.ask(**asked)
    except Unavailable as error:
        assert setting.client.writes == []
        reason = error.reason
        setting.client.finish()
    else:
        if not outcome.aborted:
            assert outcome.status == 200
            setting.client.finish()
    assert setting.client.exchange is None
    return await setting.client.taken(), reason


def body_of(data: bytes) -> bytes | None:
    """The body of a whole answer by its framing; None for an answer that is not whole."""
    head, ended, rest = data.partition(b"\r\n\r\n")
    if not ended:
        return None
    if b"Transfer-Encoding: chunked" not in head:
        return rest if len(rest) == 10 else None
    body = b""
    with suppress(ValueError):
        while size := int(rest[: rest.index(b"\r\n")], 16):
            start = rest.index(b"\r\n") + 2
            body += rest[start : start + size]
            rest = rest[start + size + 2 :]
        return body if rest == b"0\r\n\r\n" else None
    return None
