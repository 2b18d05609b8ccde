"""Deleted users: their tokens have ended before anybody is told of the deletion, however the answer comes or breaks."""

import asyncio
import gzip
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from gateway.store.contract import StoreUnavailable
from gateway.store.open import open_store
from tests.support.minting import a_user_token, an_app
from tests.support.running import Running, message, running
from tests.support.scripted import Peer, Scripted
from tests.support.waiting import eventually
from tests.support.wire import here, request, wire

QUERY = "mutation ($id: String) { gone: delete_user(user_id: $id) { request_id } }"
GONE = b'{"data":{"gone":{"request_id":"1"}}}'
FAILED = b'{"data":{"gone":null},"errors":[{"message":"no","path":["gone"]}]}'
HELD = 64 * 1024


def counted(body: bytes, status: str = "200 OK", *lines: str) -> bytes:
    """An answer of the upstream, its length told."""
    head = "".join(f"{line}\r\n" for line in ("Content-Type: application/json", *lines))
    return f"HTTP/1.1 {status}\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def chunked(*parts: bytes) -> bytes:
    """The same in chunks."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks


def padded(size: int) -> bytes:
    """An answer that says that the field failed, of so many bytes."""
    return FAILED[:-1] + b" " * (size - len(FAILED)) + b"}"


@dataclass
class Upstream:
    """Answers each request as the test says, and then lets the connection stand, ends or resets it."""

    answer: bytes = b""
    then: str = "stay"
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def script(self, peer: Peer) -> None:
        while True:
            await peer.request()
            self.asked.set()
            await peer.send(self.answer)
            if self.then == "end":
                peer.end()
                return
            if self.then == "reset":
                peer.reset()
                return


@dataclass
class Place:
    """A gateway before that upstream, and its store, which a test can trouble."""

    gateway: Running
    upstream: Upstream
    store: "Troubled"

    async def a_user(self) -> tuple[str, str]:
        """A new user of the usual app, and a token."""
        user_id = self.gateway.owner.id[:2] + secrets.token_hex(11)
        return user_id, await a_user_token(self.gateway.store, self.gateway.owner, user_id)

    async def ended(self, token: str) -> bool:
        """Whether a user token is no longer taken."""
        self.upstream.answer, self.upstream.then = counted(b'{"data":{}}'), "stay"
        return (await self.gateway.ask(token=token)).status == 401


class Troubled:
    """A store that does not act while it is told not to."""

    def __init__(self) -> None:
        self._store = open_store("memory:")
        self.away = False
        self.damaged: frozenset[str] = frozenset()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def act(self, acts: Any) -> Any:
        if self.away or any(act.asked.user_id in self.damaged for act in acts):
            raise StoreUnavailable("The disk is full.")
        return await self._store.act(acts)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """One place for all tests of this file."""
    upstream = Upstream()
    store: Any = Troubled()
    async with Scripted(upstream.script) as peer:
        directory = tmp_path_factory.mktemp("deleting")
        overrides = {"timeouts.first_byte": 0.4}
        async with running(directory, overrides, upstream_url=peer.url, store=store) as gateway:
            yield Place(gateway, upstream, store)


def deleting(gateway: Running, user_id: str, start: str = "POST /v4/gql HTTP/1.1", token: str = "") -> bytes:
    """A request that deletes a user."""
    body = message(QUERY, variables={"id": user_id}).encode()
    return request(gateway, "Connection: close", body=body, token=token or gateway.keys["USER_DELETE"], start=start)


# What the upstream does, whether the user is gone, and whether the client gets the answer whole.
WAYS = {
    "whole": (counted(GONE), "stay", True, True),
    "in chunks": (chunked(GONE[:9], GONE[9:], b""), "stay", True, True),
    "until the connection closes": (b"HTTP/1.1 200 OK\r\n\r\n" + GONE, "end", True, True),
    "as HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\n" + GONE, "end", True, True),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", "stay", True, True),
    "accepted": (counted(b"{}", "202 Accepted"), "stay", True, True),
    "failed": (counted(FAILED), "stay", False, True),
    "failed in chunks": (chunked(FAILED[:9], FAILED[9:], b""), "stay", False, True),
    "failed until the connection closes": (b"HTTP/1.1 200 OK\r\n\r\n" + FAILED, "end", False, True),
    "failed whole": (counted(b'{"data":null,"errors":[{"message":"no","path":["gone"]}]}'), "stay", False, True),
    "a member failed": (
        counted(b'{"data":{"gone":null},"errors":[{"message":"no","path":["gone","request_id"]}]}'),
        "stay",
        True,
        True,
    ),
    "null without an error": (counted(b'{"data":{"gone":null}}'), "stay", True, True),
    "another failed": (counted(b'{"data":{"gone":null},"errors":[{"message":"no","path":["x"]}]}'), "stay", True, True),
    "no data": (counted(b'{"errors":[{"message":"no","path":["gone"]}]}'), "stay", True, True),
    "not JSON": (counted(FAILED[:-1]), "stay", True, True),
    "compressed": (counted(gzip.compress(FAILED), "200 OK", "Content-Encoding: gzip"), "stay", True, True),
    "called compressed": (counted(FAILED, "200 OK", "Content-Encoding: gzip"), "stay", True, True),
    "64 KiB": (counted(padded(HELD)), "stay", False, True),
    "over 64 KiB": (counted(padded(HELD + 1)), "stay", True, True),
    "a megabyte": (counted(padded(1 << 20)), "stay", True, True),
    "a megabyte in chunks": (chunked(*[padded(1 << 20)[at : at + 9999] for at in range(0, 1 << 20, 9999)], b""),
                             "stay", True, True),
    "a megabyte cut": (counted(padded(1 << 20))[:-1], "end", True, False),
    "an error": (counted(GONE, "500 Internal Server Error"), "stay", False, True),
    "an error cut": (counted(GONE, "500 Internal Server Error")[:-5], "end", False, False),
    "not found": (counted(FAILED, "404 Not Found"), "stay", False, True),
    "moved": (counted(GONE, "302 Found"), "stay", False, True),
    "cut before the answer": (b"", "end", True, True),
    "reset before the answer": (b"", "reset", True, True),
    "cut in the head": (counted(FAILED)[:20], "end", True, True),
    "cut in the body": (counted(FAILED)[:-5], "end", True, False),
    "reset in the body": (counted(FAILED)[:-5], "reset", True, False),
    "cut in chunks": (chunked(FAILED), "end", True, False),
    "malformed": (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "stay", True, True),
    "silent": (b"", "stay", True, True),
}  # fmt: skip


@here
@pytest.mark.parametrize("start", ["POST /v4/gql HTTP/1.1", "POST /v4/gql HTTP/1.0"], ids=["1.1", "1.0"])
@pytest.mark.parametrize("way", WAYS)
async def test_however_an_answer_ends(place: Place, way: str, start: str) -> None:
    """A deleted user's tokens would go on, or those of one who was not deleted would end."""
    answer, then, gone, whole = WAYS[way]
    user_id, token = await place.a_user()
    place.upstream.answer, place.upstream.then = answer, then

    said = await place.gateway.raw(deleting(place.gateway, user_id, start)) if whole else b""
    if whole:
        own = not answer or not then or b"\r\n\r\n" not in answer or way == "malformed"
        assert own or said.startswith(b"HTTP/1.1 " + answer[9:12])
    else:
        async with wire(place.gateway) as client:
            await client.send(deleting(place.gateway, user_id, start))
            await client.rest()

    assert await place.ended(token) is gone
    found = await place.gateway.store.find_user(place.gateway.owner.id, user_id)
    assert found is not None
    assert found.user is not None
    assert found.user.deleted is gone


@here
@pytest.mark.parametrize("way", ["whole", "in chunks", "failed", "64 KiB", "over 64 KiB", "a megabyte"])
async def test_the_answer_is_the_upstreams(place: Place, way: str) -> None:
    """Holding an answer back would change it, or end a connection that may go on."""
    answer, _, _, _ = WAYS[way]
    user_id, _ = await place.a_user()
    place.upstream.answer, place.upstream.then = answer, "stay"
    body = message(QUERY, variables={"id": user_id}).encode()
    async with wire(place.gateway) as client:
        for _ in range(2):
            await client.send(request(place.gateway, body=body, token=place.gateway.keys["USER_DELETE"]))
            told = await client.answer()
            assert told.status == 200
            assert told.body in (answer.partition(b"\r\n\r\n")[2], GONE)


@here
async def test_the_very_moment_of_the_answer(place: Place) -> None:
    """Whoever is told that a user is gone could still act for the user."""
    user_id, token = await place.a_user()
    place.upstream.answer, place.upstream.then = counted(GONE), "stay"
    assert (await place.gateway.raw(deleting(place.gateway, user_id))).startswith(b"HTTP/1.1 200")
    answers = [await place.gateway.ask(token=token) for _ in range(3)]
    assert [answer.reasons for answer in answers] == [["credential_invalid"]] * 3


@here
@pytest.mark.parametrize("answer", [b"", counted(FAILED)[:-5]], ids=["before the answer", "within it"])
async def test_a_client_that_leaves(place: Place, answer: bytes) -> None:
    """A client that does not wait for the answer would keep the deleted user's tokens alive."""
    user_id, token = await place.a_user()
    place.upstream.answer, place.upstream.then = answer, "stay"
    place.upstream.asked.clear()
    async with wire(place.gateway) as client:
        await client.send(deleting(place.gateway, user_id))
        await asyncio.wait_for(place.upstream.asked.wait(), 20)
        client.leave()
    await eventually(lambda: place.ended(token))


@here
@pytest.mark.parametrize("caller", ["key", "user"])
@pytest.mark.parametrize(("status", "gone"), [("200 OK", True), ("404 Not Found", False)])
async def test_over_rest(place: Place, caller: str, status: str, gone: bool) -> None:
    """`DELETE /users/{id}` would delete upstream and leave the user's tokens here."""
    user_id, token = await place.a_user()
    place.upstream.answer, place.upstream.then = counted(FAILED, status), "stay"
    presented = token if caller == "user" else place.gateway.keys["USER_DELETE"]
    answer = await place.gateway.ask("", token=presented, method="DELETE", target=f"/users/{user_id}")
    assert (answer.status, answer.body) == (int(status[:3]), FAILED)
    assert await place.ended(token) is gone


@here
async def test_another_apps_user(place: Place) -> None:
    """A key could end the users of other apps."""
    store = place.gateway.store
    token = await a_user_token(store, other := await an_app(store), user_id := "583e08a1cd99250700000009")
    place.upstream.answer, place.upstream.then = counted(GONE), "stay"
    await place.gateway.raw(deleting(place.gateway, user_id))
    assert not await place.ended(token)
    found = await store.find_user(other.id, user_id)
    assert found is not None
    assert found.user is not None
    assert not found.user.deleted


@here
async def test_what_remains(place: Place) -> None:
    """The audit could not tell who deleted a user, or a user whom only other issuers know would live on."""
    user_id = "583e08a1cd992507000000aa"  # of whom the store knows nothing
    place.upstream.answer, place.upstream.then = counted(GONE), "stay"
    for _ in range(2):
        await place.gateway.raw(deleting(place.gateway, user_id))
    store = place.gateway.store
    events = [
        numbered.event
        for chain in await store.chains()
        async for numbered in store.events(chain)
        if numbered.event.subject_id == user_id
    ]
    key_id = place.gateway.keys["USER_DELETE"].split("_")[1][:16]
    assert [(event.action.value, event.actor, event.source) for event in events] == [
        ("user.deleted", f"key:{key_id}", "traffic")
    ]
    found = await store.find_user(place.gateway.owner.id, user_id)
    assert found is not None
    assert found.user is not None
    assert found.user.deleted


LONG = counted(padded(1 << 20))


@here
@pytest.mark.parametrize("answer", [counted(GONE), LONG, LONG[:-5]], ids=["short", "long", "long and not at its end"])
async def test_the_store_is_away(place: Place, answer: bytes) -> None:
    """The client would be told of a deletion after which the tokens still work, and nobody would end them later."""
    user_id, token = await place.a_user()
    assert not await place.ended(token)
    place.upstream.answer, place.upstream.then = answer, "stay"
    place.store.away = True
    metrics = place.gateway.app.metrics
    delayed = metrics.deletions_delayed
    try:
        with capture_logs() as logs:
            async with wire(place.gateway) as client:
                await client.send(deleting(place.gateway, user_id))
                assert await client.rest() == b""
            assert [line["user"] for line in logs if line["event"] == "a deleted user was not ended"] == [user_id]
        assert (metrics.deletions_delayed, metrics.deletions_open) == (delayed + 1, 1)
    finally:
        place.store.away = False
    await eventually(lambda: place.ended(token))
    await eventually(lambda: metrics.deletions_open == 0)


async def test_what_is_left_at_the_end_is_told(tmp_path: Path) -> None:
    """A gateway could stop and take with it that a deleted user's tokens still work."""
    upstream = Upstream(counted(GONE))
    store: Any = Troubled()
    with capture_logs() as logs:
        async with (
            Scripted(upstream.script) as peer,
            running(tmp_path, upstream_url=peer.url, store=store) as gateway,
        ):
            store.away = True
            async with wire(gateway) as client:
                await client.send(deleting(gateway, "583e08a1cd992507000000bb"))
                await client.rest()
    left = [line["user"] for line in logs if line["event"] == "a deleted user was not ended, and is not tried again"]
    assert left == ["583e08a1cd992507000000bb"]


async def test_in_report_mode(tmp_path: Path) -> None:
    """What only the policy would have refused passes, and a user deleted that way would keep tokens."""
    upstream = Upstream(counted(GONE))
    async with (
        Scripted(upstream.script) as peer,
        running(tmp_path, {"policy.mode": "report"}, upstream_url=peer.url) as gateway,
    ):
        token = await a_user_token(gateway.store, gateway.owner, user_id := "583e08a1cd992507000000cc")
        answer = await gateway.ask(message(QUERY, variables={"id": user_id}), token=gateway.keys["USER_READ"])
        assert (answer.status, answer.header("X-Gateway-Would-Refuse")) == (200, "scope_missing")
        assert (await gateway.ask(token=token)).status == 401


REFUSED = {
    "it leaves": (b"", "leave"),
    "it is cut off": (counted(GONE)[:-5], "end"),
    "no answer comes": (b"", "end"),
    "the upstream refuses": (counted(b'{"errors":[{"message":"no"}]}'), "stay"),
    "nobody can read the answer": (counted(gzip.compress(GONE), "200 OK", "Content-Encoding: gzip"), "stay"),
    "the answer is too long": (counted(padded(1 << 20)), "stay"),
}


@pytest.mark.parametrize("way", REFUSED)
async def test_nobody_ends_another_user_in_report_mode(tmp_path: Path, way: str) -> None:
    """Whoever may not delete a user could do so all the same: by leaving before the upstream says no."""
    answer, then = REFUSED[way]
    upstream = Upstream(answer, then)
    async with (
        Scripted(upstream.script) as peer,
        running(tmp_path, {"policy.mode": "report"}, upstream_url=peer.url) as gateway,
    ):
        token = await a_user_token(gateway.store, gateway.owner, user_id := "583e08a1cd992507000000dd")
        for asked in (
            deleting(gateway, user_id, token=gateway.user_token),
            request(gateway, "Connection: close", token=gateway.user_token, start=f"DELETE /users/{user_id} HTTP/1.1"),
        ):
            upstream.asked.clear()
            async with wire(gateway) as client:
                await client.send(asked)
                await asyncio.wait_for(upstream.asked.wait(), 5)
                if then != "leave":
                    await client.rest()
            await eventually(lambda: gateway.app.metrics.in_flight == 0)
        upstream.answer, upstream.then = counted(b'{"data":{}}'), "stay"
        assert (await gateway.ask(token=token)).status == 200


async def test_one_that_cannot_be_ended_holds_up_no_other(tmp_path: Path) -> None:
    """A damaged record of one user would leave the tokens of all others alive who were deleted after it."""
    upstream = Upstream(counted(GONE))
    store: Any = Troubled()
    users = [f"583e08a1cd99250700000{number:03x}" for number in range(12)]
    async with Scripted(upstream.script) as peer, running(tmp_path, upstream_url=peer.url, store=store) as gateway:
        tokens = [await a_user_token(gateway.store, gateway.owner, user_id) for user_id in users]
        store.away = True
        for user_id in users:
            async with wire(gateway) as client:
                await client.send(deleting(gateway, user_id))
                await client.rest()
        store.away, store.damaged = False, frozenset(users[:9])

        async def all_but_damaged() -> bool:
            return [(await gateway.ask(token=token)).status for token in tokens] == [200] * 9 + [401] * 3

        await eventually(all_but_damaged)


@here
async def test_several_at_once(place: Place) -> None:
    """One deletion that failed would keep the tokens of the others alive, or end its own user's."""
    (one, of_one), (two, of_two), (three, of_three) = [await place.a_user() for _ in range(3)]
    query = (
        "mutation ($a: String, $b: String, $c: String) { ...F c: delete_user(user_id: $c) { request_id } }"
        " fragment F on Mutation { a: delete_user(user_id: $a) { request_id } b: delete_user(user_id: $b)"
        " { request_id } }"
    )
    told = {"data": {"a": {"request_id": "1"}, "b": None, "c": None}, "errors": [{"message": "no", "path": ["b"]}]}
    place.upstream.answer, place.upstream.then = counted(json.dumps(told).encode()), "stay"
    body = message(query, variables={"a": one, "b": two, "c": three})
    answer = await place.gateway.ask(body, token=place.gateway.keys["USER_DELETE"])
    assert answer.status == 200
    assert [await place.ended(token) for token in (of_one, of_two, of_three)] == [True, False, True]
