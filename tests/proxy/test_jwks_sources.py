"""Keys come from where the settings say, over a proven connection, bounded in bytes and time; or they do not come."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from gateway.core.jwk import MAX_JWKS
from gateway.proxy.jwks_sources import SourceAway, from_file, from_url
from tests.support.jwks_server import CA, JwksServer, answering, never, redirect, serving_keys
from tests.support.jwts import published
from tests.support.ports import free_port
from tests.support.wire import here

KEYS = published("ed")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[JwksServer]:
    """A server of keys."""
    async with serving_keys(KEYS) as serving:
        yield serving


def trust() -> ssl.SSLContext:
    """The authority of the server's certificate."""
    return ssl.create_default_context(cafile=str(CA))


@here
async def test_keys_come_from_a_url(server: JwksServer) -> None:
    """The keys of an issuer would not come, or the request for them would say more than it has to."""
    server.misbehave = None
    assert await from_url(server.url, trust())() == KEYS
    assert {name.lower() for name in server.headers[-1]} == {"host", "accept", "accept-encoding", "user-agent"}


async def endless(request: web.BaseRequest) -> web.StreamResponse:
    """An answer that does not end."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    while True:
        await answer.write(b" " * 4_096)


async def halting(request: web.BaseRequest) -> web.StreamResponse:
    """An answer that stops in its middle."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    await answer.write(b'{"keys":')
    return await never(request)


async def cut(request: web.BaseRequest) -> web.StreamResponse:
    """An answer that is cut off."""
    answer = web.StreamResponse(headers={"Content-Length": "1000"})
    await answer.prepare(request)
    await answer.write(b'{"keys":')
    assert request.transport is not None
    request.transport.abort()
    return answer


NOT_PLAIN = "and not a plain 200"
AWAY: dict[str, tuple[Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], str]] = {
    "a redirect": (redirect, f"the answer was 302, {NOT_PLAIN}"),
    "a fault": (answering(500, KEYS), f"the answer was 500, {NOT_PLAIN}"),
    "not found": (answering(404, KEYS), f"the answer was 404, {NOT_PLAIN}"),
    "another success": (answering(206, KEYS), f"the answer was 206, {NOT_PLAIN}"),
    "compressed": (answering(200, gzip.compress(KEYS), Content_Encoding="gzip"), f"the answer was 200, {NOT_PLAIN}"),
    "silence": (never, "there was no answer in time"),
    "half": (halting, "there was no answer in time"),
    "cut off": (cut, "there was no answer (ClientPayloadError)"),
}


@here
@pytest.mark.parametrize(("misbehave", "why"), AWAY.values(), ids=AWAY)
async def test_what_is_no_plain_answer_brings_no_keys(
    server: JwksServer, misbehave: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], why: str
) -> None:
    """Keys would be taken from wherever a server points to, or everybody would wait for one that says nothing."""
    server.misbehave = misbehave
    asked = server.asked
    with pytest.raises(SourceAway) as away:
        await from_url(server.url, trust(), seconds=0.1 if "time" in why else 5.0)()
    assert str(away.value) == why
    assert server.asked == asked + 1


@here
async def test_an_endless_answer_is_read_to_its_bound(server: JwksServer) -> None:
    """A server could fill the gateway's memory."""
    server.misbehave = endless
    assert len(await from_url(server.url, trust())()) == MAX_JWKS + 1


@pytest.mark.parametrize("certificate", ["other", "expired"])
async def test_a_server_has_to_prove_itself(certificate: str) -> None:
    """Whoever sits between could say what the keys are, and be any user."""
    async with serving_keys(KEYS, certificate) as server:
        with pytest.raises(SourceAway, match=r"there was no answer \(ClientConnectorCertificateError\)"):
            await from_url(server.url, trust())()
        assert server.asked == 0


async def test_without_certificates_of_its_own_the_systems_count() -> None:
    """A gateway without a file of certificates would believe every server."""
    async with serving_keys(KEYS) as server:
        with pytest.raises(SourceAway, match=r"there was no answer \(ClientConnectorCertificateError\)"):
            await from_url(server.url, None)()


async def test_nobody_is_there() -> None:
    """A server that is down would end the refreshing of keys for good."""
    with pytest.raises(SourceAway, match=r"there was no answer \(ClientConnectorError\)"):
        await from_url(f"https://127.0.0.1:{free_port()}/", trust())()


async def test_keys_come_from_a_file(tmp_path: Path) -> None:
    """The keys in a file would not come, or one of endless length would fill the memory."""
    file = tmp_path / "keys.json"
    with pytest.raises(SourceAway, match=r"the file cannot be read \(No such file or directory\)"):
        await from_file(file)()
    file.write_bytes(KEYS)
    assert await from_file(file)() == KEYS
    file.write_bytes(b" " * (2 * MAX_JWKS))
    assert len(await asyncio.wait_for(from_file(file)(), 5)) == MAX_JWKS + 1
