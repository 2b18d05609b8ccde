"""How an endpoint is found and whom it trusts: names, addresses, certificates."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from gateway.core.decision import Reason
from gateway.proxy.deadlines import Deadlines
from gateway.proxy.upstream import Endpoint, UpstreamLimits
from tests.support.exchanges import OK, TLS, Names, ask_for, endpoint, reason_of, trusting
from tests.support.ports import free_port
from tests.support.scripted import Scripted, answering

# Names and addresses --------------------------------------------------------------------------------------------------


async def test_every_address_of_a_name_is_tried() -> None:
    """An upstream with one dead address would be away for every second request."""
    async with Scripted(answering(OK)) as scripted:
        names = Names(["127.0.0.2", "127.0.0.3", "127.0.0.1"])
        async with endpoint(f"http://upstream.test:{scripted.port}", resolve=names) as upstream:
            assert await ask_for(upstream, 1) == [200]

        assert names.asked == [("upstream.test", scripted.port)]


@pytest.fixture
def elsewhere() -> str:
    """A second address of this machine, where a server may listen on the same port as at 127.0.0.1."""
    for host in ("127.0.0.2", "::1"):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe, suppress(OSError):
            probe.bind((host, 0))
            return host
    pytest.skip("this machine has one loopback address only")


async def test_an_address_that_does_not_answer_leaves_time_for_the_next(elsewhere: str) -> None:
    """An address that swallows connections would use up the time that the others need."""

    async with AsyncExitStack() as stack:
        good = await stack.enter_async_context(Scripted(answering(OK), certificate=str(TLS / "good.pem")))
        await stack.enter_async_context(
            Scripted(answering(), host=elsewhere, port=good.port)
        )  # takes a handshake, and waits
        upstream = await stack.enter_async_context(
            endpoint(
                f"https://upstream.test:{good.port}",
                limits=UpstreamLimits(connect=1.0),
                resolve=Names([elsewhere, "127.0.0.1"]),
                ssl_context=trusting(),
            )
        )

        assert await ask_for(upstream, 1) == [200]


async def test_names_are_resolved_anew_for_each_connection(elsewhere: str) -> None:
    """An upstream that has moved would be looked for at its old address until the gateway is restarted."""
    async with AsyncExitStack() as stack:
        old = await stack.enter_async_context(Scripted(answering(OK)))
        new = await stack.enter_async_context(Scripted(answering(OK), host=elsewhere, port=old.port))
        upstream = await stack.enter_async_context(
            endpoint(
                f"http://upstream.test:{old.port}",
                limits=UpstreamLimits(max_age=0.0),
                resolve=Names(["127.0.0.1"], [elsewhere]),
            )
        )

        assert await ask_for(upstream, 2) == [200, 200]
        assert (len(old.peers), len(new.peers)) == (1, 1)


async def test_the_system_resolves_names() -> None:
    """No upstream could be given by name."""
    async with Scripted(answering(OK)) as scripted, endpoint(f"http://localhost:{scripted.port}") as upstream:
        assert await ask_for(upstream, 1) == [200]


async def test_ipv6_addresses_work() -> None:
    """No upstream could be given by an IPv6 address."""
    try:
        scripted = await Scripted(answering(OK), host="::1").__aenter__()
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with endpoint(scripted.url) as upstream:
        assert upstream.authority == f"[::1]:{scripted.port}".encode()
        assert await ask_for(upstream, 1) == [200]
    await scripted.__aexit__()


async def _fails(_: str, __: int) -> Sequence[str]:
    raise socket.gaierror(socket.EAI_NONAME, "no such name")


async def _is_odd(_: str, __: int) -> Sequence[str]:
    raise UnicodeError("label too long")


async def _hangs(_: str, __: int) -> Sequence[str]:
    await asyncio.Event().wait()
    return []


@pytest.mark.parametrize(
    ("resolve", "reason"),
    [
        (_fails, Reason.UPSTREAM_UNREACHABLE),
        (_is_odd, Reason.UPSTREAM_UNREACHABLE),
        (_hangs, Reason.UPSTREAM_UNREACHABLE),
        (Names([]), Reason.UPSTREAM_UNREACHABLE),
        (Names(["127.0.0.1", "127.0.0.2"]), Reason.UPSTREAM_UNREACHABLE),
    ],
    ids=["no such name", "no name at all", "no answer", "no address", "nobody there"],
)
async def test_an_upstream_that_cannot_be_found(resolve: Any, reason: Reason) -> None:
    """A client would wait for ever, or be told that the fault is the gateway's."""
    limits = UpstreamLimits(connect=0.1)
    async with endpoint(f"http://upstream.test:{free_port()}", limits=limits, resolve=resolve) as upstream:
        assert await reason_of(upstream) is reason


async def test_an_upstream_that_does_not_finish_connecting() -> None:
    """A client would wait for ever for an upstream that hangs."""

    async with Scripted(answering()) as scripted:
        url = scripted.url.replace("http:", "https:")
        async with endpoint(url, limits=UpstreamLimits(connect=0.1)) as upstream:
            assert await reason_of(upstream) is Reason.UPSTREAM_TIMEOUT
        await scripted.peers[0].gone()


# TLS ------------------------------------------------------------------------------------------------------------------


async def test_an_https_upstream_is_asked_by_name() -> None:
    """The upstream could not choose its certificate, or requests would go out in the clear."""
    async with Scripted(answering(OK, OK), certificate=str(TLS / "good.pem")) as scripted:
        url = f"https://upstream.test:{scripted.port}"
        async with endpoint(url, ssl_context=trusting(), resolve=Names(["127.0.0.1"])) as upstream:
            assert await ask_for(upstream, 2) == [200, 200]

            assert [peer.server_name for peer in scripted.peers] == ["upstream.test"]


async def test_an_https_upstream_may_be_an_address() -> None:
    """An upstream with a certificate for its address could not be used."""
    async with (
        Scripted(answering(OK), certificate=str(TLS / "good.pem")) as scripted,
        endpoint(scripted.url, ssl_context=trusting()) as upstream,
    ):
        assert await ask_for(upstream, 1) == [200]


@pytest.mark.parametrize(
    ("certificate", "name", "trusted"),
    [
        ("good", "upstream.test", False),
        ("expired", "upstream.test", True),
        ("other", "upstream.test", True),
        ("good", "other.test", True),
        ("other", "127.0.0.1", True),
    ],
    ids=["unknown authority", "expired", "another's", "another name", "another address"],
)
async def test_certificates_that_prove_nothing(certificate: str, name: str, trusted: bool) -> None:
    """Somebody in between would get every request, identity included."""
    async with Scripted(answering(OK), certificate=str(TLS / f"{certificate}.pem")) as scripted:
        context = trusting() if trusted else None
        url = f"https://{name}:{scripted.port}"
        async with endpoint(url, ssl_context=context, resolve=Names(["127.0.0.1"])) as upstream:
            assert await reason_of(upstream) is Reason.UPSTREAM_UNREACHABLE

        assert all(peer.requests == [] for peer in scripted.peers)


def _unverifying() -> ssl.SSLContext:
    context = trusting()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _nameless() -> ssl.SSLContext:
    context = trusting()
    context.check_hostname = False
    return context


@pytest.mark.parametrize("context", [_unverifying(), _nameless()], ids=["no certificate", "no name"])
def test_verification_cannot_be_turned_off(context: ssl.SSLContext) -> None:
    """A setting could make every https upstream anybody's."""
    with pytest.raises(ValueError, match="must verify"):
        Endpoint("https://upstream.test", UpstreamLimits(), Deadlines(), ssl_context=context)
