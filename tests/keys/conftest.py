"""New empty stores of each kind, as many as a test wants."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.store.contract import Store
from gateway.store.open import open_store
from gateway.store.redis.founding import init
from tests.support.redis_servers import FORGETFUL, Servers, single

KINDS = ("sqlite", "redis")


@pytest.fixture(scope="session")
def redis_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A Redis server, for all tests."""
    with single(tmp_path_factory.mktemp("redis"), *FORGETFUL) as servers:
        yield servers


@dataclass(slots=True)
class Stores:
    """Makes stores, each empty and by itself."""

    directory: Path
    request: pytest.FixtureRequest
    closing: AsyncExitStack
    _made: list[str] = field(default_factory=list)

    async def new(self, kind: str) -> Store:
        """An empty store of a kind."""
        return await self.opened(await self.url(kind))

    async def url(self, kind: str) -> str:
        """Where an empty store of a kind is."""
        self._made.append(kind)
        if kind == "sqlite":
            url = f"sqlite:///{self.directory / f'{len(self._made)}.db'}"
            await open_store(url, create=True).close()
            return url
        servers: Servers = self.request.getfixturevalue("redis_servers")
        number = self._made.count(kind)
        if number == 1:
            servers.primaries[0].run("FLUSHALL")
        url = f"{servers.url}/{number}"
        await init(url)
        return url

    async def opened(self, url: str) -> Store:
        """A store that is there, closed after the test."""
        store = open_store(url)
        self.closing.push_async_callback(store.close)
        return store


@pytest.fixture
async def stores(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    """Makes stores."""
    async with AsyncExitStack() as closing:
        yield Stores(tmp_path, request, closing)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of store in turn."""
    return str(request.param)


@pytest.fixture
async def empty(stores: Stores, kind: str) -> Store:
    """An empty store of each kind in turn."""
    return await stores.new(kind)
