"""`gateway serve` on a Redis that is not there, goes away, and comes back; and on one that it does not hear."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.store.contract import Store
from gateway.store.open import open_store
from gateway.store.redis.founding import init
from tests.support.command import said
from tests.support.echo import Echo
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.gateways import Gateway, asking, serving
from tests.support.minting import a_key, an_app, revoke, stray
from tests.support.redis_servers import RedisServer, single
from tests.support.running import SCOPES


@dataclass(frozen=True, slots=True)
class There:
    """A Redis server with a store in it, and an upstream; gateways come by way of a proxy."""

    directory: Path
    server: RedisServer
    url: str
    store: Store
    upstream: str
    proxy: FaultProxy

    @asynccontextmanager
    async def gateway(self, **store: object) -> AsyncIterator[Gateway]:
        """A gateway with these settings for its store."""
        settings = {"url": f"redis://127.0.0.1:{self.proxy.port}", **store}
        async with serving(self.directory, settings, self.upstream) as started:
            yield started

    def garble(self) -> None:
        """Turn over a bit of each byte that the server says."""
        self.proxy.garble = lambda data: bytes(byte ^ 4 for byte in data)

    async def keys(self, count: int) -> list[str]:
        """Tokens of new keys."""
        app = await an_app(self.store)
        return [await a_key(self.store, app, *SCOPES) for _ in range(count)]


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[There]:
    """All of it."""
    async with AsyncExitStack() as stack:
        servers = stack.enter_context(single(tmp_path / "redis"))
        await init(servers.url)
        store = open_store(servers.url)
        stack.push_async_callback(store.close)
        upstream = await stack.enter_async_context(Echo())
        proxy = await stack.enter_async_context(fault_proxy(servers.primaries[0].port))
        yield There(tmp_path, servers.primaries[0], servers.url, store, upstream.url, proxy)


async def test_a_store_that_is_not_there_at_the_start(there: There) -> None:
    """A gateway that starts before its store would have to be started again, or would call good keys false."""
    (key,) = await there.keys(1)
    there.server.kill()
    async with there.gateway() as gateway:
        for token in (key, stray()):
            assert await gateway.status(token) == 503
        assert await gateway.status("gwk_no") == 401
        status, told = await gateway.ready()
        assert (status, told["ready"], told["checks"]["gateway"]) == (503, False, "serving")

        there.server.start()

        await gateway.until_ready()
        assert await gateway.status(key) == 200
        assert await gateway.status(stray()) == 401


@pytest.mark.parametrize(
    ("go", "come"),
    [
        (lambda there: there.server.kill(), lambda there: there.server.start()),
        (lambda there: there.server.freeze(), lambda there: there.server.thaw()),
        (lambda there: there.proxy.blackhole(), lambda there: there.proxy.heal()),
        (lambda there: there.garble(), lambda there: there.proxy.heal()),
    ],
    ids=["killed", "frozen", "cut off", "garbled"],
)
async def test_a_store_that_goes_away_and_comes_back(
    there: There, go: Callable[[There], None], come: Callable[[There], None]
) -> None:
    """All traffic would stop at once, or everybody would be let in for as long as the store is away."""
    known, other = await there.keys(2)
    async with there.gateway(grace=3.0) as gateway:
        await gateway.until_hearing()
        assert await gateway.status(known) == 200

        go(there)
        try:
            assert await gateway.status(known) == 200
            await gateway.until_hearing(deaf=True)
            assert await gateway.status(known) == 200
            assert await gateway.status(other) == 503
            assert (await gateway.ready())[0] == 503
            await gateway.until(known, 503)
        finally:
            come(there)

        await gateway.until_ready()
        await gateway.until_hearing()
        assert [await gateway.status(token) for token in (known, other)] == [200, 200]


async def test_without_grace(there: There) -> None:
    """Whoever wants nobody to pass without the store would not get it."""
    (key,) = await there.keys(1)
    async with there.gateway(grace=0) as gateway:
        await gateway.until_hearing()
        assert await gateway.status(key) == 200
        there.server.kill()
        await gateway.until_hearing(deaf=True)

        assert await gateway.status(key) == 503


async def test_a_gateway_that_does_not_hear(there: There) -> None:
    """A key would go on working on a gateway that does not hear of its end, and nobody would see that it is deaf."""
    known, ended = await there.keys(2)
    async with there.gateway() as gateway:
        await gateway.until_hearing()
        assert [await gateway.status(token) for token in (known, ended)] == [200, 200]
        assert "warnings" not in (await gateway.ready())[1]

        there.proxy.only = b"SUBSCRIBE"
        there.proxy.blackhole()
        await gateway.until_hearing(deaf=True)

        status, told = await gateway.ready()
        assert (status, len(told["warnings"])) == (200, 1)
        await revoke(there.store, ended)
        assert [await gateway.status(token) for token in (known, ended)] == [200, 401]

        there.proxy.heal()
        await gateway.until_hearing()
        assert [await gateway.status(token) for token in (known, ended)] == [200, 401]
        assert await gateway.figure("gateway_revocation_lag_seconds_count") == 0
        (another,) = await there.keys(1)
        assert await gateway.status(another) == 200
        await revoke(there.store, another)
        await gateway.until(another, 401)
        assert await gateway.figure("gateway_revocation_lag_seconds_count") == 1
    logged = [line["event"] for line in gateway.command.lines()]
    assert (logged.count("store deaf"), logged.count("store heard again")) == (1, 1)


async def test_an_end_that_the_store_cannot_keep(there: There) -> None:
    """A holder would be told that a leaked key has ended, which works on."""
    (key,) = await there.keys(1)
    async with there.gateway() as gateway, asking(gateway) as asker:
        await gateway.until_hearing()
        there.server.run("CONFIG", "SET", "min-replicas-to-write", "1")
        assert await asker.delete_own(key) == 503
        assert await asker.ask(key) == 200

        there.server.run("CONFIG", "SET", "min-replicas-to-write", "0")
        assert await asker.delete_own(key) == 200
        assert await asker.ask(key) == 401


async def test_the_wrong_store(there: There) -> None:
    """A gateway that was pointed at the wrong Redis would answer everybody that their keys are false."""
    (key,) = await there.keys(1)
    async with there.gateway(identity="0" * 32) as gateway:
        assert await gateway.status(key) == 503
        assert (await gateway.ready())[0] == 503


async def test_a_file_store_that_cannot_be_opened(tmp_path: Path) -> None:
    """A gateway on a store of its own machine would start, and answer 503 until somebody looks."""
    (tmp_path / "store.db").write_text("This is no database, and long enough to be seen to be none. " * 20)
    (tmp_path / "gateway.yaml").write_text(
        "store: {url: 'sqlite:///store.db'}\n"
        "regions: {eu: {upstreams: ['http://127.0.0.1:9'], user_scoping: upstream}}\n"
    )
    code, text = await said(tmp_path, "serve", "--config", "gateway.yaml")

    assert code == 1
    assert "store.db" in text
    assert "Traceback" not in text
