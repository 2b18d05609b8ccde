"""Redis servers for these tests: each kind is started once, and emptied before each test that uses it."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from gateway.store.redis.founding import init
from gateway.store.redis.store import RedisStore
from tests.store.place import Place
from tests.support.redis_servers import FORGETFUL, Servers, cluster, single, with_replica, with_sentinel
from tests.support.redis_stores import PATIENT, filled_at

# None of them takes a server for dead because the machine of the tests is busy.
_KINDS: dict[str, Callable[[Path], AbstractContextManager[Servers]]] = {
    "single": lambda directory: single(directory, *FORGETFUL),
    "sentinel": lambda directory: with_sentinel(directory, *FORGETFUL, down_after=60_000),
    "cluster": lambda directory: cluster(directory, *FORGETFUL, "cluster-node-timeout 60000"),
}


@pytest.fixture(scope="session", params=list(_KINDS))
def kind_of_servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers of one kind, for all tests."""
    with _KINDS[request.param](tmp_path_factory.mktemp(request.param)) as servers:
        yield servers


@pytest.fixture
def servers(kind_of_servers: Servers) -> Servers:
    """Servers of each kind in turn, empty."""
    for server in kind_of_servers.primaries:
        server.run("FLUSHALL")
    return kind_of_servers


@pytest.fixture
async def place(servers: Servers) -> Place:
    """A new store on each kind of servers in turn."""
    await init(servers.url, PATIENT)

    async def open_one() -> RedisStore:
        return RedisStore.at(servers.url, PATIENT)

    return Place(open_one)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Servers]:
    """One server of the test's own, to be frozen, killed or set otherwise; it writes to its disk."""
    with single(tmp_path / "own") as servers:
        yield servers


@pytest.fixture
def own_pair(tmp_path: Path) -> Iterator[Servers]:
    """A primary and its replica of the test's own."""
    with with_replica(tmp_path / "pair") as servers:
        yield servers


@pytest.fixture
async def store(own: Servers) -> AsyncIterator[RedisStore]:
    """A store on the test's own server, with two apps, a key, a user and a user token of the first."""
    async with filled_at(own.url) as store:
        yield store
