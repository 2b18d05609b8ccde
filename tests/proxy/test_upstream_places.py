"""How many exchanges run at a time, who waits for whom, and how an endpoint ends."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from gateway.core.decision import Reason, Unavailable
from gateway.proxy.upstream import UpstreamLimits
from tests.support.exchanges import OK, ask, ask_for, endpoint, reason_of
from tests.support.scripted import Peer, Scripted, answering
from tests.support.taker import taker

# How many -------------------------------------------------------------------------------------------------------------


async def test_exchanges_beyond_the_limit_wait_for_their_turn() -> None:
    """Load would open as many connections as there are clients, or be refused though a place is about to be free."""
    answered = asyncio.Event()
    busy = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        busy.set()
        await answered.wait()
        await peer.send(OK)
        await peer.request()
        await peer.send(OK)

    limits = UpstreamLimits(max_connections=1)
    async with Scripted(script) as scripted, endpoint(scripted.url, limits=limits) as upstream:
        first = asyncio.create_task(ask_for(upstream, 1))
        await busy.wait()
        second = asyncio.create_task(ask_for(upstream, 1))
        await asyncio.sleep(0)
        answered.set()

        assert await first + await second == [200, 200]
        assert len(scripted.peers) == 1


async def test_waiting_for_a_turn_has_an_end() -> None:
    """Clients would pile up in front of an upstream that has stopped answering."""
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        asked.set()

    limits = UpstreamLimits(max_connections=1, connect=0.05)
    async with Scripted(script) as scripted, endpoint(scripted.url, limits=limits) as upstream:
        first = asyncio.create_task(ask_for(upstream, 1))
        await asked.wait()

        assert await reason_of(upstream) is Reason.REGION_UNAVAILABLE
        first.cancel()
        await asyncio.wait((first,))
        assert scripted.peers[0].requests


@pytest.mark.parametrize("when", ["before its turn", "when its turn has come"])
async def test_whoever_gives_up_waiting_leaves_the_turn_to_the_next(when: str) -> None:
    """A place would be lost with every client that leaves while it waits, until none is left."""
    answered, busy = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            busy.set()
            await answered.wait()
            await peer.send(OK)

    async def first() -> int:
        outcome = await ask(upstream, clients[0])
        if when == "when its turn has come":
            second.cancel()  # which has been given the place, and does not know it yet
        return outcome.status

    async with AsyncExitStack() as stack:
        scripted = await stack.enter_async_context(Scripted(script))
        upstream = await stack.enter_async_context(endpoint(scripted.url, limits=UpstreamLimits(max_connections=1)))
        clients = [await stack.enter_async_context(taker()) for _ in range(3)]
        running = asyncio.create_task(first())
        await busy.wait()
        second, third = (asyncio.create_task(ask(upstream, client)) for client in clients[1:])
        await asyncio.sleep(0)
        if when == "before its turn":
            second.cancel()
        answered.set()

        assert await running == (await third).status == 200
        with pytest.raises(asyncio.CancelledError):
            await second
        assert await ask_for(upstream, 1) == [200]
        assert len(scripted.peers) == 1


async def test_places_that_become_free_together_are_all_free() -> None:
    """Places would be lost when two clients leave at the same time, until none is left."""
    both_asked = asyncio.Barrier(3)

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number <= 2:
            await both_asked.wait()
        else:
            await together.wait()
            await peer.send(OK)

    together = asyncio.Barrier(2)
    async with AsyncExitStack() as stack:
        scripted = await stack.enter_async_context(Scripted(script))
        limits = UpstreamLimits(max_connections=2)
        upstream = await stack.enter_async_context(endpoint(scripted.url, limits=limits))
        clients = [await stack.enter_async_context(taker()) for _ in range(4)]
        first, second, third, fourth = (asyncio.create_task(ask(upstream, client)) for client in clients)
        await both_asked.wait()
        fourth.cancel()
        first.cancel()
        second.cancel()
        await asyncio.wait((first, second, fourth))

        assert await ask_for(upstream, 1) == [200]  # at the same time as the third, or neither is answered
        assert (await third).status == 200


# The end --------------------------------------------------------------------------------------------------------------


async def test_closing_ends_every_connection() -> None:
    """The gateway would not stop, or leave connections behind."""
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            asked.set()
        else:
            await peer.send(OK)

    async with Scripted(script) as scripted, endpoint(scripted.url) as upstream, taker() as client:
        running = asyncio.create_task(ask(upstream, client))
        await asked.wait()
        assert await ask_for(upstream, 1) == [200]
        await upstream.close()

        with pytest.raises(Unavailable):
            await running
        for peer in scripted.peers:
            await peer.gone()


async def test_nothing_is_sent_once_an_endpoint_is_closed() -> None:
    """A gateway that has stopped would still forward."""
    async with Scripted(answering(OK)) as scripted, endpoint(scripted.url) as upstream:
        await upstream.close()

        assert await reason_of(upstream) is Reason.UPSTREAM_UNREACHABLE
        assert all(peer.requests == [] for peer in scripted.peers)


async def test_closing_twice_is_nothing() -> None:
    """A second signal would hide the first one's outcome behind a fault."""
    async with Scripted(answering(OK)) as scripted, endpoint(scripted.url) as upstream:
        assert await ask_for(upstream, 1) == [200]
        await upstream.close()
        await upstream.close()

        await scripted.peers[0].gone()
