"""Redis servers for these tests: each kind is started once, and emptied before each test that uses it."""

from collections.abc import Iterator

import pytest

from gateway.store.redis.founding import init
from gateway.store.redis.store import RedisStore
from tests.store.place import Place
from tests.support.redis_servers import FORGETFUL, Servers, cluster, single, with_sentinel

_KINDS = {"single": single, "sentinel": with_sentinel, "cluster": cluster}


@pytest.fixture(scope="session", params=list(_KINDS))
def kind_of_servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers of one kind, for all tests."""
    with _KINDS[request.param](tmp_path_factory.mktemp(request.param), *FORGETFUL) as servers:
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
    await init(servers.url)

    async def open_one() -> RedisStore:
        return RedisStore.at(servers.url)

    return Place(open_one)
