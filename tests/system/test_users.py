"""The life of an SDK user as one story, over HTTP, with two gateways on one store before the pretend upstream."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from aiohttp import ClientSession, TCPConnector

from gateway.core.audit import AuditEvent
from gateway.core.records import App
from gateway.dev.mock import Mock
from gateway.store.contract import Store
from gateway.store.open import open_store
from gateway.store.redis.founding import init
from tests.support.gateways import Gateway, serving
from tests.support.minting import a_key, an_app, id_of
from tests.support.redis_servers import single
from tests.support.vectors import VENDOR_SCHEMA
from tests.support.waiting import eventually
from tests.support.wire import here

EXTERNAL_ID = "customer-17-of-the-shop"
OWN = {"query": "{ user { id } }"}


class Place(NamedTuple):
    """Two gateways on one store, and a client."""

    gateways: tuple[Gateway, Gateway]
    store: Store
    session: ClientSession


@dataclass(frozen=True, slots=True)
class Shop:
    """A backend there that has an app and a key for users."""

    gateways: tuple[Gateway, Gateway]
    store: Store
    session: ClientSession
    app: App
    key: str

    async def post(self, at: int, path: str, token: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """What one of the gateways answers."""
        headers = {"Authorization": f"Bearer {token}"}
        async with self.session.post(self.gateways[at].url + path, json=body or {}, headers=headers) as answer:
            return answer.status, await answer.json()

    async def code(self, at: int = 0) -> str:
        """A new code for the customer."""
        status, told = await self.post(at, "/users/auth-code", self.key, {"external_id": EXTERNAL_ID})
        assert status == 200
        return str(told["authentication_code"])

    async def given(self, at: int, path: str, token: str) -> dict[str, Any]:
        """A user's id and token."""
        status, told = await self.post(at, path, token)
        assert status == 200
        return told

    async def statuses(self, *given: dict[str, Any]) -> list[int]:
        """What requests with these tokens are answered with, by either gateway."""
        return [(await self.post(at, "/v4/gql", each["token"], OWN))[0] for each in given for at in (0, 1)]

    async def until(self, status: int, given: dict[str, Any]) -> None:
        """Return once both gateways answer requests with this token so: the other one hears of it a moment later."""

        async def so() -> bool:
            return await self.statuses(given) == [status] * 2

        await eventually(so)

    async def events(self) -> list[AuditEvent]:
        """The audit of its app."""
        chains = await self.store.chains()
        events = [numbered.event for chain in chains async for numbered in self.store.events(chain)]
        return [event for event in events if event.app_id == self.app.id]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "redis"])
async def place(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """It, on each kind of store in turn."""
    directory = tmp_path_factory.mktemp("users")
    async with AsyncExitStack() as stack:
        if request.param == "redis":
            url = stack.enter_context(single(directory / "redis")).url
            await init(url)
            store = open_store(url)
        else:
            url = f"sqlite:///{directory / 'store.db'}"
            store = open_store(url, create=True)
        stack.push_async_callback(store.close)
        upstream = await Mock.start(VENDOR_SCHEMA.read_text("utf-8"), seed=1)
        stack.push_async_callback(upstream.stop)
        brief = {"overlap_seconds": 1}
        one, two = [
            await stack.enter_async_context(
                serving(directory, {"url": url}, upstream.url, name=name, user_tokens=brief)
            )
            for name in ("one", "two")
        ]
        for gateway in (one, two):
            await gateway.until_hearing()
        session = await stack.enter_async_context(ClientSession(connector=TCPConnector(limit=0)))
        yield Place((one, two), store, session)


@pytest_asyncio.fixture(loop_scope="module")
async def shop(place: Place) -> Shop:
    """A new backend."""
    app = await an_app(place.store)
    return Shop(*place, app, await a_key(place.store, app, "USER_LINK", "USER_DELETE"))


@here
async def test_the_story_of_a_user(shop: Shop) -> None:
    """A user who is registered would not get in, a thief remain, or whoever was deleted still be there."""
    first = await shop.given(1, "/users", await shop.code(0))
    status, told = await shop.post(0, "/v4/gql", first["token"], OWN)
    assert (status, told["data"]["user"]["id"]) == (200, first["user_id"])

    second = await shop.given(0, "/users/token", first["token"])
    assert second["user_id"] == first["user_id"]
    assert set(await shop.statuses(second)) == {200}

    await shop.until(401, first)  # its last second is over, and it came back: nobody knows who holds the second one
    await shop.until(401, second)
    assert (await shop.post(1, "/users/token", second["token"]))[0] == 401

    third = await shop.given(0, "/users", await shop.code(1))
    assert third["user_id"] == first["user_id"]
    mutation = {
        "query": "mutation($id: String!) { delete_user(user_id: $id) { request_id } }",
        "variables": {"id": third["user_id"]},
    }
    status, told = await shop.post(1, "/v4/gql", shop.key, mutation)
    assert (status, "errors" in told) == (200, False)
    assert (await shop.post(1, "/v4/gql", third["token"], OWN))[0] == 401
    await shop.until(401, third)

    fourth = await shop.given(1, "/users", await shop.code(0))
    assert fourth["user_id"] != first["user_id"]
    assert await shop.statuses(fourth) == [200, 200]

    seen = await shop.events()
    assert [event.action.value for event in seen if event.action.value.startswith(("user", "code"))] == [
        "code.created",
        "user.created",
        "user_token.created",
        "user_token.refreshed",
        "user_token.reuse",
        "code.created",
        "user_token.created",
        "user.deleted",
        "code.created",
        "user.created",
        "user_token.created",
    ]
    assert {event.actor for event in seen if event.action.value == "code.created"} == {f"key:{id_of(shop.key)}"}
    told_of = json.dumps([event.as_json() for event in seen])
    for secret in (EXTERNAL_ID, *(each["token"] for each in (first, second, third, fourth))):
        assert secret not in told_of
        assert all(secret not in gateway.command.said() for gateway in shop.gateways)


@here
async def test_a_code_that_is_spent_fifty_times_at_once(shop: Shop) -> None:
    """One code would let everybody in who saw it."""
    code = await shop.code()
    answers = await asyncio.gather(*(shop.post(number % 2, "/users", code) for number in range(50)))
    assert Counter(status for status, _ in answers) == {200: 1, 401: 49}
    assert len({json.dumps({**told, "ref": ""}) for status, told in answers if status == 401}) == 1
    actions = Counter(event.action.value for event in await shop.events())
    assert (actions["user.created"], actions["user_token.created"]) == (1, 1)


@here
async def test_a_person_who_registers_twenty_devices_at_once(shop: Shop) -> None:
    """Whoever is quick would have more devices than a user may, or be two users."""
    codes = [await shop.code(number % 2) for number in range(20)]
    answers = await asyncio.gather(*(shop.post(number % 2, "/users", code) for number, code in enumerate(codes)))
    assert {status for status, _ in answers} == {200}
    assert len({told["user_id"] for _, told in answers}) == 1
    tokens = [told["token_id"] for _, told in answers]
    found = [await shop.store.find_user_token(token_id) for token_id in tokens]
    assert sum(each is not None and each.record.revoked_at is None for each in found) == 5
