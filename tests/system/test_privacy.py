"""A deleted user is gone: not a trace of the external id is left, wherever one looks."""

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from redis.asyncio import Redis

from gateway.core.records import App
from gateway.dev.mock import Mock
from gateway.store.contract import Store
from gateway.store.open import open_store
from gateway.store.redis.founding import init
from tests.support.gateways import Gateway, serving
from tests.support.minting import a_key, an_app, keeper
from tests.support.redis_servers import Servers, single
from tests.support.vectors import VENDOR_SCHEMA
from tests.support.waiting import eventually

PERSONS = ("grace-hopper-1906", "zoë of the shop", "ada@example.com")


def traces(external_id: str) -> set[bytes]:
    """What of an external id would tell of the person: itself as it may be written, and its digest, which is soon
    found by whoever has a list of customers."""
    plain = external_id.encode()
    digest = hashlib.sha256(plain)
    return {plain, json.dumps(external_id)[1:-1].encode(), plain.hex().encode(), digest.digest(),
            digest.hexdigest().encode()}  # fmt: skip


@dataclass
class Place:
    """A gateway on a store, and everywhere that something may be kept."""

    directory: Path
    gateway: Gateway
    store: Store
    session: ClientSession
    servers: Servers | None
    app: App
    key: str

    async def call(self, method: str, path: str, token: str, body: Any = None) -> dict[str, Any]:
        """An answer of the gateway, which is to be a success."""
        headers = {"Authorization": f"Bearer {token}"}
        async with self.session.request(method, self.gateway.url + path, json=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return json.loads(await answer.read() or b"{}")  # type: ignore[no-any-return]

    async def registered(self, external_id: str) -> dict[str, Any]:
        """A user's id and token."""
        code = await self.call("POST", "/users/auth-code", self.key, {"external_id": external_id})
        return await self.call("POST", "/users", code["authentication_code"], {})

    async def kept(self) -> AsyncIterator[tuple[str, bytes]]:
        """Every file below the directory, and every name and value in Redis."""
        if self.servers is not None:
            for server in self.servers.primaries:
                async with Redis(port=server.port) as redis:
                    async for name in redis.scan_iter():
                        yield f"redis key {name!r}", name
                        yield f"redis value of {name!r}", await _value(redis, name)
        for file in _files(self.directory):
            yield file.name, file.read_bytes()

    async def found(self, external_id: str) -> list[str]:
        """Where a trace of an external id is."""
        looked_for = traces(external_id)
        return [place async for place, held in self.kept() if any(trace in held for trace in looked_for)]

    async def rewrite(self) -> None:
        """Let Redis write its file of appended writes anew."""
        for server in self.servers.primaries if self.servers else ():
            async with Redis(port=server.port) as redis:
                await _rewritten(redis)


def _files(directory: Path) -> Iterator[Path]:
    return (file for file in directory.rglob("*") if file.is_file())


async def _rewritten(redis: Any) -> None:
    before = (await redis.info("persistence"))["aof_rewrites"]

    async def so() -> bool:
        told = await redis.info("persistence")
        return told["aof_rewrites"] > before and not told["aof_rewrite_in_progress"]

    await redis.bgrewriteaof()
    await eventually(so)


async def _value(redis: Any, name: bytes) -> bytes:
    match await redis.type(name):
        case b"string":
            return bytes(await redis.get(name) or b"")
        case b"hash":
            return repr(await redis.hgetall(name)).encode() + b"".join(await redis.hvals(name))
        case b"set":
            return b"\n".join(await redis.smembers(name))
        case b"zset":
            return b"\n".join(await redis.zrange(name, 0, -1))
        case b"list":
            return b"\n".join(await redis.lrange(name, 0, -1))
        case _:
            return repr(await redis.xrange(name)).encode()


@asynccontextmanager
async def placed(directory: Path, kind: str) -> AsyncIterator[Place]:
    """A gateway on a store of a kind, with an app in it."""
    async with AsyncExitStack() as stack:
        servers = None
        if kind == "redis":
            servers = stack.enter_context(single(directory / "redis"))
            url = servers.url
            await init(url)
            store = open_store(url)
        else:
            url = f"sqlite:///{directory / 'store.db'}"
            store = open_store(url, create=True)
        stack.push_async_callback(store.close)
        upstream = await Mock.start(VENDOR_SCHEMA.read_text("utf-8"), seed=1)
        stack.push_async_callback(upstream.stop)
        gateway = await stack.enter_async_context(serving(directory, {"url": url}, upstream.url))
        await gateway.until_hearing()
        session = await stack.enter_async_context(ClientSession())
        app = await an_app(store)
        key = await a_key(store, app, "USER_LINK", "USER_DELETE")
        yield Place(directory, gateway, store, session, servers, app, key)


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_nothing_of_a_deleted_user_is_left(tmp_path: Path, kind: str) -> None:
    """Who the deleted users were could still be read from a store, its log of writes or the gateway's logs."""
    async with placed(tmp_path, kind) as place:
        by_code, by_itself, by_command = PERSONS
        first, second = await place.registered(by_code), await place.registered(by_itself)
        third = await keeper(place.store).create_user_token(place.app.id, external_id=by_command)
        for given in (first, second):
            await place.call("POST", "/v4/gql", given["token"], {"query": "{ user { id } }"})
            await place.call("POST", "/users/token", given["token"], {})
        assert all([await place.found(person) for person in PERSONS]), "what is not found before proves nothing after"

        for user_id in (first["user_id"], third.user.id):
            query = "mutation ($id: String) { delete_user(user_id: $id) { request_id } }"
            await place.call("POST", "/v4/gql", place.key, {"query": query, "variables": {"id": user_id}})
        await place.call("DELETE", f"/users/{second['user_id']}", second["token"])

        await place.rewrite()
        assert [await place.found(person) for person in PERSONS] == [[], [], []]
    place.servers = None  # which has ended, as the gateway has: what remains are the files
    assert [await place.found(person) for person in PERSONS] == [[], [], []]


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_the_same_person_is_another_user_later(tmp_path: Path, kind: str) -> None:
    """Whoever registers again would get the deleted user back, or could not register at all."""
    async with placed(tmp_path, kind) as place:
        before = await place.registered(PERSONS[0])
        await place.call("DELETE", f"/users/{before['user_id']}", before["token"])
        after = await place.registered(PERSONS[0])
        assert after["user_id"] != before["user_id"]
        await place.call("POST", "/v4/gql", after["token"], {"query": "{ user { id } }"})
