"""The API on stores of either kind."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.store.open import open_store
from gateway.store.redis.founding import init
from tests.support.managing import Managed, managed
from tests.support.redis_servers import FORGETFUL, Servers, single


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A Redis server, for all tests."""
    with single(tmp_path_factory.mktemp("redis"), *FORGETFUL) as servers:
        yield servers


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Managed]:
    """An API on an embedded store."""
    async with AsyncExitStack() as closing:
        store = open_store(f"sqlite:///{tmp_path / 'gateway.db'}", create=True)
        closing.push_async_callback(store.close)
        yield await closing.enter_async_context(managed(store))


@pytest.fixture(params=["sqlite", "redis"])
async def either(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Managed]:
    """An API on each kind of store in turn."""
    url = f"sqlite:///{tmp_path / 'gateway.db'}"
    if request.param == "redis":
        servers: Servers = request.getfixturevalue("redis_server")
        servers.primaries[0].run("FLUSHALL")
        url = servers.url
        await init(url)
    async with AsyncExitStack() as closing:
        store = open_store(url, create=request.param == "sqlite")
        closing.push_async_callback(store.close)
        yield await closing.enter_async_context(managed(store))
