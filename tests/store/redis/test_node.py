"""One server: every wait ends, answers are never mixed up, and what does not answer is left alone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from redis.exceptions import RedisError, ResponseError

from gateway.store.redis.address import RedisOptions, address_of
from gateway.store.redis.faults import NoAnswer
from gateway.store.redis.node import Node
from tests.store.place import PATIENCE
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.redis_servers import Servers
from tests.support.redis_stores import HASTY, PATIENT
from tests.support.waiting import eventually


@asynccontextmanager
async def node_at(port: int, options: RedisOptions = PATIENT) -> AsyncIterator[Node]:
    """A node, closed at the end."""
    address = address_of(f"redis://127.0.0.1:{port}")
    node = Node(address.places[0], address, options)
    try:
        yield node
    finally:
        await node.close()


@asynccontextmanager
async def behind(servers: Servers, options: RedisOptions = HASTY) -> AsyncIterator[tuple[FaultProxy, Node]]:
    """A node behind a proxy, which has answered before."""
    async with fault_proxy(servers.primaries[0].port) as proxy, node_at(proxy.port, options) as node:
        assert await node.run("PING") == b"PONG"
        yield proxy, node


async def recovered(node: Node) -> None:
    """Return when the node answers again."""

    async def answers() -> bool:
        with suppress(NoAnswer):
            await node.run("PING")
            return True
        return False

    await eventually(answers)


def blackhole(proxy: FaultProxy, servers: Servers) -> None:
    """Nothing goes through, and nothing is refused."""
    proxy.blackhole()


def half_open(proxy: FaultProxy, servers: Servers) -> None:
    """Requests arrive, answers do not."""
    proxy.to_client = False


def frozen(proxy: FaultProxy, servers: Servers) -> None:
    """The server does nothing."""
    servers.primaries[0].freeze()


def dead(proxy: FaultProxy, servers: Servers) -> None:
    """There is no server."""
    servers.primaries[0].kill()


def slow(proxy: FaultProxy, servers: Servers) -> None:
    """Answers come too late."""
    proxy.delay = 60


def healed(proxy: FaultProxy, servers: Servers) -> None:
    """All is well again."""
    servers.primaries[0].thaw()
    proxy.heal()


@pytest.mark.parametrize("fault", [blackhole, half_open, frozen, dead, slow])
async def test_every_wait_ends(own: Servers, fault: Callable[[FaultProxy, Servers], None]) -> None:
    """Requests would hang while the store does not answer, until there are too many of them."""
    async with behind(own) as (proxy, node):
        fault(proxy, own)
        async with asyncio.timeout(PATIENCE):
            for commands in ([("PING",)], [("PING",), ("ECHO", "x" * 100_000)]):
                with pytest.raises(NoAnswer, match=str(node.place)):
                    await node.pipeline(commands)
        own.primaries[0].thaw() if fault is frozen else None


@pytest.mark.parametrize("fault", [blackhole, half_open, frozen, slow])
async def test_it_is_asked_again_once_it_answers(own: Servers, fault: Callable[[FaultProxy, Servers], None]) -> None:
    """A gateway would have to be restarted after its store had been away."""
    async with behind(own) as (proxy, node):
        fault(proxy, own)
        with pytest.raises(NoAnswer):
            await node.run("PING")
        healed(proxy, own) if fault is frozen else proxy.heal()
        await recovered(node)


async def test_a_restarted_server_is_asked_at_once(own: Servers) -> None:
    """The first request after each restart of Redis would fail, on connections that ended with it."""
    async with node_at(own.primaries[0].port) as node:
        await asyncio.gather(*(node.run("PING") for _ in range(5)))
        own.primaries[0].kill()
        own.primaries[0].start()
        assert await asyncio.gather(*(node.run("PING") for _ in range(5))) == [b"PONG"] * 5


async def test_one_call_tries_a_server_that_did_not_answer(own: Servers) -> None:
    """Every request to a gateway would be held for the time-out of a store that is frozen."""
    async with behind(own) as (proxy, node):
        proxy.blackhole()
        with pytest.raises(NoAnswer):
            await node.run("PING")
        async with asyncio.timeout(PATIENCE):
            while True:  # until the time of rest is over, and a call is made again
                before = proxy.received
                calls = [asyncio.ensure_future(node.run("PING")) for _ in range(20)]
                results = await asyncio.gather(*calls, return_exceptions=True)
                assert {type(result) for result in results} == {NoAnswer}
                if proxy.received > before:
                    break
        assert proxy.received - before == len(b"*1\r\n$4\r\nPING\r\n")


async def test_a_call_that_was_given_up_leaves_no_answer_behind(own: Servers) -> None:
    """The next request would be given the answer to another one: somebody else's key."""
    async with behind(own, PATIENT) as (proxy, node):
        before = proxy.received
        own.primaries[0].freeze()
        call = asyncio.ensure_future(node.run("ECHO", "somebody else's"))
        await eventually(lambda: proxy.received > before)
        call.cancel()
        await asyncio.wait([call])
        before = proxy.received
        calls = [asyncio.ensure_future(node.run("ECHO", number)) for number in range(3)]
        await eventually(lambda: proxy.received >= before + len(calls) * len(b"*2\r\n$4\r\nECHO\r\n$1\r\n0\r\n"))
        own.primaries[0].thaw()
        assert await asyncio.gather(*calls) == [b"0", b"1", b"2"]


async def test_many_calls_at_once_have_their_own_answers(own: Servers) -> None:
    """Under load, requests would be given each other's answers, or none."""
    async with node_at(own.primaries[0].port) as node:
        answers = await asyncio.gather(
            *(node.pipeline([("ECHO", f"{number} {part}") for part in range(20)]) for number in range(100))
        )
        assert answers == [[f"{number} {part}".encode() for part in range(20)] for number in range(100)]
        assert int(own.primaries[0].info("clients")["connected_clients"]) < 20


async def test_an_error_stands_in_the_place_of_its_answer(own: Servers) -> None:
    """One bad command of an import would hide what became of the others."""
    async with node_at(own.primaries[0].port) as node:
        first, error, last = await node.pipeline([("SET", "a", "b"), ("LPUSH", "a", "b"), ("GET", "a")])
        assert (first, last) == (b"OK", b"b")
        assert isinstance(error, ResponseError)
        with pytest.raises(ResponseError):
            await node.run("LPUSH", "a", "b")


async def test_answers_may_come_in_pieces(own: Servers) -> None:
    """A slow network would garble what a store answers."""
    async with behind(own, PATIENT) as (proxy, node):
        proxy.slice = 3
        value = bytes(range(256)) * 20
        assert await node.pipeline([("SET", "a", value), ("GET", "a"), ("STRLEN", "a")]) == [b"OK", value, len(value)]


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*x\r\n", b":\r\n", b"\x00" * 50])
async def test_what_is_not_redis_is_an_error(own: Servers, said: bytes) -> None:
    """A mistyped port would end in a traceback."""
    async with behind(own) as (proxy, node):
        proxy.garble = lambda _: said
        with pytest.raises((NoAnswer, RedisError)):
            await node.run("PING")


async def test_a_write_is_confirmed_by_a_replica(own_pair: Servers) -> None:
    """A creation would be reported as safe that only one machine has; or as unsafe where no other is expected."""
    (primary,) = own_pair.primaries
    assert own_pair.replica is not None
    async with node_at(primary.port) as node:
        assert await node.confirmed([("SET", "a", "1"), ("SET", "b", "1")]) == ([b"OK", b"OK"], True)
        own_pair.replica.freeze()
        assert await node.confirmed([("SET", "a", "2")]) == ([b"OK"], False)
        # What others have written shows as well: an act that finds its work done has to know whether it will last.
        async with node_at(primary.port) as another:
            assert await another.confirmed([("GET", "a")]) == ([b"2"], False)
        own_pair.replica.thaw()
        async with asyncio.timeout(PATIENCE):
            while await node.confirmed([("GET", "a")]) != ([b"2"], True):
                pass


async def test_without_a_replica_nothing_waits_for_one(own: Servers) -> None:
    """Each revocation on a single server would take half a second, and say that it is not safe."""
    async with node_at(own.primaries[0].port) as node:
        assert await node.confirmed([("SET", "a", "1")]) == ([b"OK"], True)
        commands = own.primaries[0].info("commandstats")
        assert "cmdstat_set" in commands
        assert "cmdstat_wait" not in commands


async def test_what_a_server_says_of_itself_is_read(own: Servers) -> None:
    """What is wrong with its settings would go unseen."""
    async with node_at(own.primaries[0].port) as node:
        found = await node.info("server")
        assert found["tcp_port"] == str(own.primaries[0].port)
        assert found["redis_version"]


async def test_many_calls_at_once_wait_their_turn(own: Servers) -> None:
    """With a hundred clients at once some would be told that the store is away, while it answers as fast as it can."""
    async with node_at(own.primaries[0].port, RedisOptions()) as node:

        async def call() -> None:
            for _ in range(100):
                assert await node.run("PING") == b"PONG"

        await asyncio.gather(*(call() for _ in range(300)))
