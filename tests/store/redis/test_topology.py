"""Who the primaries are, asked of those who know."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from redis.exceptions import AuthenticationError

from gateway.core.token import Secret
from gateway.store.redis.address import Address, Kind, Place, RedisOptions, address_of
from gateway.store.redis.layout import TAGS
from gateway.store.redis.topology import Unknown, primaries
from tests.support.ports import free_port, free_ports
from tests.support.redis_servers import FORGETFUL, RedisServer, Servers, cluster, follow, single, until, with_sentinel
from tests.support.redis_stores import HASTY, PATIENT


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A cluster of three."""
    with cluster(tmp_path_factory.mktemp("cluster"), *FORGETFUL) as servers:
        yield servers


def at(*servers: RedisServer) -> tuple[Place, ...]:
    """Where servers are."""
    return tuple(Place("127.0.0.1", server.port) for server in servers)


async def test_a_single_server_has_everything_unasked() -> None:
    """A gateway could not start before its store."""
    place = Place("127.0.0.1", 1)
    assert await primaries(Address(Kind.SINGLE, (place,)), HASTY, []) == dict.fromkeys(TAGS, place)


async def test_sentinels_are_asked_in_turn(tmp_path: Path) -> None:
    """A gateway would not find its store because the first of three sentinels is gone."""
    with with_sentinel(tmp_path / "all", *FORGETFUL) as servers:
        assert servers.sentinel is not None
        gone = f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}"
        address = address_of(f"redis+sentinel://{gone},127.0.0.1:{servers.sentinel.port}/keys")
        assert await primaries(address, PATIENT, []) == dict.fromkeys(TAGS, *at(*servers.primaries))
        with pytest.raises(Unknown, match="another"):
            await primaries(address_of(f"redis+sentinel://127.0.0.1:{servers.sentinel.port}/another"), PATIENT, [])


async def test_a_sentinel_that_is_wrong_is_not_believed(tmp_path: Path) -> None:
    """A gateway would go on with the server that was the primary before a failover, and miss what is revoked since."""
    with with_sentinel(tmp_path / "new", *FORGETFUL) as new, with_sentinel(tmp_path / "old", *FORGETFUL) as old:
        assert new.sentinel is not None
        assert old.sentinel is not None
        old.sentinel.freeze()
        (demoted,) = old.primaries
        follow(demoted, new.primaries[0])
        frozen = old.sentinel.port
        address = address_of(f"redis+sentinel://127.0.0.1:{frozen},127.0.0.1:{new.sentinel.port}/keys")
        assert set((await primaries(address, HASTY, [])).values()) == set(at(*new.primaries))
        # The sentinel that did not see it names the demoted one, which says itself that it is a replica.
        old.sentinel.thaw()
        assert set((await primaries(address, PATIENT, [])).values()) == set(at(*new.primaries))


async def test_sentinels_and_servers_have_passwords_of_their_own(tmp_path: Path) -> None:
    """A gateway could not find its store where sentinels let nobody in without a password, or would tell them the
    other one."""
    port, sentinel_port = free_ports(2)
    primary = RedisServer(tmp_path / "primary", port, *FORGETFUL, "requirepass hunter2", client={"password": "hunter2"})
    sentinel = RedisServer(
        tmp_path / "sentinel",
        sentinel_port,
        f"sentinel monitor keys 127.0.0.1 {port} 1",
        "sentinel auth-pass keys hunter2",
        "requirepass hunter3",
        sentinel=True,
        client={"password": "hunter3"},
    )
    address = address_of(f"redis+sentinel://127.0.0.1:{sentinel_port}/keys")
    options = RedisOptions(password=Secret("hunter2"), sentinel_password=Secret("hunter3"), timeout=5)
    with ExitStack() as stack:
        for server in (primary, sentinel):
            stack.callback(server.kill)
            server.start()
        assert set((await primaries(address, options, [])).values()) == set(at(primary))
        with pytest.raises(AuthenticationError):
            await primaries(address, replace(options, sentinel_password=None), [])
        with pytest.raises(AuthenticationError):
            await primaries(address, replace(options, password=Secret("hunter3")), [])


async def test_every_server_of_a_cluster_knows_all(three: Servers) -> None:
    """A gateway would not find its store because the servers that its settings name are gone."""
    found = await primaries(address_of(three.url), PATIENT, [])
    assert found.keys() == set(TAGS)
    assert set(found.values()) == set(at(*three.primaries))
    gone = address_of(f"redis+cluster://127.0.0.1:{free_port()}")
    for known in at(*three.primaries):
        assert await primaries(gone, PATIENT, [known]) == found


async def test_a_slot_that_nobody_has_is_missing(tmp_path: Path) -> None:
    """Keys in a lost part of the cluster would be looked for where they are not, and called unknown."""
    with cluster(tmp_path / "torn", *FORGETFUL, "cluster-require-full-coverage no") as servers:
        before = await primaries(address_of(servers.url), PATIENT, [])
        first = servers.primaries[0]
        for _, end, owner, *_ in first.run("CLUSTER", "SLOTS"):
            if owner[1] == first.port:
                first.run("CLUSTER", "DELSLOTSRANGE", 0, end)
        after = await primaries(address_of(servers.url), PATIENT, at(first))
        lost = {tag for tag, place in before.items() if place == at(first)[0]}
        assert lost
        assert before.keys() - after.keys() == lost


async def test_a_server_that_is_no_cluster_is_an_error(tmp_path: Path) -> None:
    """A mistyped URL would look like a store that is down."""
    with single(tmp_path / "one", *FORGETFUL) as servers:
        address = address_of(f"redis+cluster://127.0.0.1:{servers.primaries[0].port}")
        with pytest.raises(Exception, match="cluster"):
            await primaries(address, PATIENT, [])


async def test_those_who_do_not_answer_are_waited_for_briefly(three: Servers) -> None:
    """One frozen server would hold up all requests."""
    three.primaries[0].freeze()
    try:
        async with asyncio.timeout(20):
            assert (await primaries(address_of(three.url), HASTY, [])).keys() == set(TAGS)
    finally:
        three.primaries[0].thaw()
        until(lambda: b"cluster_state:ok" in three.primaries[0].run("CLUSTER", "INFO"))
