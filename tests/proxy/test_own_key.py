"""`DELETE /keys/self`: whoever holds a key can end it, and learns truly whether it has ended."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from gateway.core.audit import AuditAction, Numbered
from gateway.core.records import RevokedWhy
from gateway.store.contract import Store, StoreUnavailable
from gateway.store.open import open_store
from tests.support.minting import a_key, a_user_token, an_app, id_of, now, revoke, stray
from tests.support.running import Answer, Running, running
from tests.support.wire import here, line_of, request, wire

PATH = "/keys/self"


async def ended(gateway: Running, token: str | None, body: str = "", **more: Any) -> Answer:
    """Ask that the key with this token be ended."""
    return await gateway.ask(body, token=token, method="DELETE", target=PATH, **more)


async def events_of(store: Store, subject: str) -> list[Numbered]:
    """The audit's events about a subject."""
    return [
        numbered
        for chain in await store.chains()
        async for numbered in store.events(chain)
        if numbered.event.subject_id == subject
    ]


@here
@pytest.mark.parametrize("scope", ["USER_READ", "FAKE_DATA_INSERT"])
@pytest.mark.parametrize("body", ["", "{}", "x" * 1024])
async def test_a_key_ends_itself(gateway: Running, scope: str, body: str) -> None:
    """Whoever found out that a key leaked would have to find a person who may end it."""
    key, other = await a_key(gateway.store, gateway.owner, scope), gateway.keys["USER_READ"]
    before = now()

    answer = await ended(gateway, key, body)

    told = json.loads(answer.body)
    assert (answer.status, answer.header("Content-Type")) == (200, "application/json; charset=utf-8")
    assert told.keys() == {"id", "revoked_at", "replicated"}
    assert (told["id"], told["replicated"]) == (id_of(key), True)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told["revoked_at"])
    found = await gateway.store.find_key(id_of(key))
    assert found is not None
    assert found.record.revoked_why is RevokedWhy.BY_HOLDER
    assert found.record.revoked_at == round(datetime.fromisoformat(told["revoked_at"]).timestamp() * 1000) >= before
    assert (await gateway.ask(token=key)).reasons == ["credential_invalid"]
    assert (await ended(gateway, key)).status == 401
    assert (await gateway.ask(token=other)).status == 200


@here
async def test_the_very_next_request(gateway: Running) -> None:
    """A key would go on working on connections that are open, for as long as it is remembered."""
    key = await a_key(gateway.store, gateway.owner)
    async with wire(gateway) as client:
        await client.send(request(gateway, token=key))
        assert (await client.answer()).status == 200
        await client.send(
            request(gateway, token=key, body=b"", start=f"DELETE {PATH} HTTP/1.1") + request(gateway, token=key)
        )
        assert (await client.answer()).status == 200
        assert (await client.answer()).status == 401


@here
async def test_who_did_it_is_known(gateway: Running) -> None:
    """Nobody could tell from the audit or the log who ended a key, or a token would stand there."""
    key = await a_key(gateway.store, gateway.owner)
    answer = await ended(gateway, key)

    (_, last) = await events_of(gateway.store, id_of(key))
    event = last.event
    assert (event.action, event.actor, event.source) == (AuditAction.KEY_REVOKED, f"key:{id_of(key)}", "traffic")
    assert (event.app_id, event.about) == (gateway.owner.id, "by_holder")
    line = await line_of(gateway, answer)
    assert (line["decision"], line["status"], line["route"]) == ("allow", 200, "DELETE /keys/self")
    assert (line["key"], line["app"]) == (id_of(key), gateway.owner.id)
    assert key not in gateway.log_file.read_text()


@here
@pytest.mark.parametrize(
    ("caller", "status", "reason"),
    [
        ("user", 403, "keys_only"),
        ("nobody", 401, "credential_missing"),
        ("stranger", 401, "credential_invalid"),
        ("malformed", 401, "credential_invalid"),
        ("ended", 401, "credential_invalid"),
    ],
)
async def test_nobody_else_ends_a_key(gateway: Running, caller: str, status: int, reason: str) -> None:
    """A key would be ended by somebody who does not hold it, or a user would think to have logged out."""
    app = await an_app(gateway.store)
    gone = await a_key(gateway.store, app)
    await revoke(gateway.store, gone)
    tokens = {"user": await a_user_token(gateway.store, app), "stranger": stray(), "malformed": "abc", "ended": gone}
    before = len(gateway.upstream.received)

    answer = await ended(gateway, tokens.get(caller))

    assert (answer.status, answer.reasons) == (status, [reason])
    assert answer.header("Content-Type") == "application/problem+json"
    assert len(gateway.upstream.received) == before


@here
@pytest.mark.parametrize(
    ("method", "target", "status", "reason"),
    [
        ("GET", PATH, 405, "method_not_allowed"),
        ("POST", PATH, 405, "method_not_allowed"),
        ("DELETE", f"{PATH}?id=1", 400, "parameter_unknown"),
        ("DELETE", f"{PATH}?", 400, "parameter_unknown"),
        ("DELETE", f"{PATH}/", 404, "path_unknown"),
        ("DELETE", f"{PATH}/x", 404, "path_unknown"),
        ("DELETE", "/keys/Self", 404, "path_unknown"),
        ("DELETE", "/keys/%73elf", 404, "path_unknown"),
    ],
)
async def test_what_does_not_end_a_key(gateway: Running, method: str, target: str, status: int, reason: str) -> None:
    """A key would be ended by a request that somebody else reads differently."""
    key = await a_key(gateway.store, await an_app(gateway.store))

    answer = await gateway.ask("", token=key, method=method, target=target)

    assert (answer.status, answer.reasons) == (status, [reason])
    assert answer.header("Allow") == ("DELETE" if status == 405 else None)
    assert (await gateway.ask(token=key)).status == 200


@here
@pytest.mark.parametrize("framing", ["Content-Length: 1025", "Transfer-Encoding: chunked"])
async def test_a_long_body(gateway: Running, framing: str) -> None:
    """A request that carries something would be taken for one that carries nothing."""
    key = await a_key(gateway.store, await an_app(gateway.store))
    body = b"x" * 1025 if "Length" in framing else b"401\r\n" + b"x" * 1025 + b"\r\n0\r\n\r\n"
    async with wire(gateway) as client:
        await client.send(request(gateway, framing, token=key, length=-1, body=body, start=f"DELETE {PATH} HTTP/1.1"))
        answer = await client.answer()
    assert (answer.status, answer.reasons) == (413, ["body_too_large"])
    assert (await gateway.ask(token=key)).status == 200


@here
async def test_a_long_body_is_not_asked_for(gateway: Running) -> None:
    """A client that asks before it sends would be told to send what is thrown away."""
    lines = ("Expect: 100-continue", "Content-Length: 1025")
    async with wire(gateway) as client:
        await client.send(request(gateway, *lines, length=-1, body=b"", start=f"DELETE {PATH} HTTP/1.1"))
        assert (await client.answer()).reasons == ["body_too_large"]


@here
async def test_a_late_body(gateway: Running) -> None:
    """A client that sends its body later would be cut off, or the body be taken for the next request."""
    key = await a_key(gateway.store, await an_app(gateway.store))
    async with wire(gateway) as client:
        await client.send(
            request(gateway, "Expect: 100-continue", token=key, length=2, body=b"", start=f"DELETE {PATH} HTTP/1.1")
        )
        assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"{}" + request(gateway, token=key))
        assert (await client.answer()).status == 200
        assert (await client.answer()).status == 401


@here
async def test_it_was_ended_before(gateway: Running) -> None:
    """A holder whose request crossed a revocation by somebody else would be told that it was done now."""
    key = await a_key(gateway.store, await an_app(gateway.store))
    async with wire(gateway) as client:
        await client.send(
            request(gateway, "Expect: 100-continue", token=key, length=2, body=b"", start=f"DELETE {PATH} HTTP/1.1")
        )
        assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await revoke(gateway.store, key)
        await client.send(b"{}")
        answer = await client.answer()
    assert (answer.status, answer.reasons) == (401, ["credential_invalid"])
    assert len(await events_of(gateway.store, id_of(key))) == 2


# The settings ---------------------------------------------------------------------------------------------------------


async def test_no_setting_opens_or_closes_it(tmp_path: Path) -> None:
    """Report mode would let user tokens do it, or a rule for the paths beside would take it over."""
    routes = [{"method": "DELETE", "path": "/keys/{name}/x", "scopes": ["USER_DELETE"]}]
    async with running(tmp_path, {"policy.mode": "report", "routes": routes}) as gateway:
        answer = await ended(gateway, gateway.user_token)
        assert (answer.status, answer.reasons) == (403, ["keys_only"])
        assert (await ended(gateway, gateway.keys["USER_READ"])).status == 200


# The store ------------------------------------------------------------------------------------------------------------


class Troubled:
    """A store whose writes go wrong in one of the ways that only a shared store's can, or whose disk is full."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.trouble = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def act(self, acts: Any) -> Any:
        if self.trouble == "full":
            raise StoreUnavailable("The disk is full.")
        if self.trouble == "silent":
            raise StoreUnavailable("It does not answer.", unknown=True)
        outcomes = await self._store.act(acts)
        if self.trouble == "answer lost":
            self.trouble = ""
            raise StoreUnavailable("The connection was lost.", unknown=True)
        if self.trouble == "not replicated":
            outcomes = [replace(outcome, replicated=False) for outcome in outcomes]
        return outcomes


@pytest_asyncio.fixture
async def troubled(tmp_path: Path) -> AsyncIterator[tuple[Running, Troubled]]:
    """A gateway on a store that a test can trouble."""
    store: Any = Troubled(open_store("memory:"))
    async with running(tmp_path, store=store) as gateway:
        yield gateway, store


def counted(gateway: Running, name: str) -> float:
    """A counter without labels."""
    (value,) = re.findall(rf"^{name} ([0-9.]+)$", gateway.app.metrics.exposition().decode(), re.MULTILINE)
    return float(value)


async def test_what_could_not_be_kept(troubled: tuple[Running, Troubled]) -> None:
    """A holder would think that a leaked key has ended, which works still."""
    gateway, store = troubled
    key = gateway.keys["USER_READ"]
    store.trouble = "full"

    answer = await ended(gateway, key)

    assert (answer.status, answer.reasons, answer.header("Retry-After")) == (503, ["key_not_revoked"], "1")
    assert "was not revoked" in json.loads(answer.body)["detail"]
    line = await line_of(gateway, answer)
    assert (line["decision"], line["cause"]) == ("refuse", "The disk is full.")
    assert (await gateway.ask(token=key)).status == 200
    store.trouble = ""
    assert (await ended(gateway, key)).status == 200


async def test_nobody_can_tell_whether_it_was_done(troubled: tuple[Running, Troubled]) -> None:
    """A holder would be told that the key has not ended, or that it has, and either may be false."""
    gateway, store = troubled
    store.trouble = "silent"

    answer = await ended(gateway, gateway.keys["USER_READ"])

    assert (answer.status, answer.reasons, answer.header("Retry-After")) == (503, ["revocation_unknown"], "1")
    assert "Nobody can tell" in json.loads(answer.body)["detail"]


async def test_an_answer_of_the_store_that_was_lost(troubled: tuple[Running, Troubled]) -> None:
    """A holder whose key has ended would be told that it has not."""
    gateway, store = troubled
    store.trouble = "answer lost"

    answer = await ended(gateway, gateway.keys["USER_READ"])

    assert (answer.status, json.loads(answer.body)["id"]) == (200, id_of(gateway.keys["USER_READ"]))
    assert (await gateway.ask(token=gateway.keys["USER_READ"])).status == 401


async def test_what_no_replica_confirmed(troubled: tuple[Running, Troubled]) -> None:
    """A holder and an operator would not learn that a failover may bring the key back."""
    gateway, store = troubled
    assert counted(gateway, "gateway_unreplicated_total") == 0
    store.trouble = "not replicated"

    with capture_logs() as said:
        answer = await ended(gateway, gateway.keys["USER_READ"])

    told = json.loads(answer.body)
    assert (answer.status, told["replicated"]) == (200, False)
    assert "no replica" in told["warning"]
    assert counted(gateway, "gateway_unreplicated_total") == 1
    (warning,) = [line for line in said if line["log_level"] == "warning"]
    assert warning["key"] == id_of(gateway.keys["USER_READ"])
    assert (await gateway.ask(token=gateway.keys["USER_READ"])).status == 401


async def test_a_record_that_is_gone(tmp_path: Path) -> None:
    """A store that lost a record between two looks would end in a fault of ours."""

    class Forgetful(Troubled):
        looks = 0

        async def find_key(self, key_id: str) -> Any:
            self.looks += 1
            return None if self.looks > 1 else await self._store.find_key(key_id)

    store: Any = Forgetful(open_store("memory:"))
    async with running(tmp_path, store=store) as gateway:
        answer = await ended(gateway, gateway.keys["USER_READ"])
        assert (answer.status, answer.reasons) == (401, ["credential_invalid"])
