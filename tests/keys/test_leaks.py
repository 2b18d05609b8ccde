"""What becomes of a credential that leaked, whoever tells it: on both stores."""

import asyncio
import hashlib
import secrets
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.core.incidents import Incident, IncidentState, Subject, incident_id
from gateway.core.ledger import Act, ActReason, ActRefused, Asked, Changes, Done, Item, ItemKind, Who
from gateway.core.records import KeyRecord, RevokedWhy, Role
from gateway.core.sightings import sighting
from gateway.core.token import Prefixes, verifier
from gateway.core.wishes import DAY
from gateway.keys.developer_tokens import TokenDesk
from gateway.keys.flagging import AT_ONCE, EACH_SECONDS, Flagging
from gateway.keys.leaks import LeakDesk, Reported, with_later_notes
from gateway.settings.api import Operator
from gateway.store.contract import REFUSED, REQUESTS, Store, StoreBroken
from gateway.store.open import open_store
from tests.support.ledgers import WHO
from tests.support.minting import SCOPES, a_key, a_user_token, an_app, id_of, keep, keeper, now, stray


@pytest.fixture
def desk(empty: Store) -> LeakDesk:
    """Who takes reports."""
    return LeakDesk(empty, WHO, Prefixes(), pace=0)


async def incident_of(desk: LeakDesk, subject: str) -> Incident:
    """The one incident of a credential."""
    (found,) = [incident async for incident in desk.incidents() if incident.subject_id == subject]
    return found


async def revoked(store: Store, key_id: str) -> RevokedWhy | None:
    """Why a key ended, if it has."""
    found = await store.find_key(key_id)
    assert found is not None
    return found.record.revoked_why


async def test_the_whole_token(desk: LeakDesk) -> None:
    """A leaked key would go on, or nobody learn what was done with it before."""
    store = desk.store
    app = await an_app(store)
    key, today = await a_key(store, app), now() // DAY
    await store.note_used({id_of(key): 17})
    await store.note_uses({(id_of(key), today, REQUESTS): 3, (id_of(key), today, "USER_READ"): 2})

    (reported,) = await desk.report_token(key, sighting(key, url="https://example.com"))

    assert reported.incident == await incident_of(desk, id_of(key)) == await desk.incident(reported.incident.id)
    assert (reported.incident.last_used_at, sum(reported.incident.requests)) == (17, 3)
    assert await revoked(store, id_of(key)) is RevokedWhy.LEAKED
    assert await desk.refused_since([reported.incident]) == {reported.incident.id: 0}
    await store.note_uses({(id_of(key), today, REFUSED): 4, (id_of(key), today - 2, REFUSED): 9})
    assert await desk.refused_since([reported.incident]) == {reported.incident.id: 4}


async def test_a_token_of_the_older_shape(desk: LeakDesk) -> None:
    """A key that came from elsewhere, which no prefix marks, could not be reported."""
    store = desk.store
    app = await an_app(store)
    token = f"{app.id[:2]}c3b842231543f.mGCUhfi0uI4J13k010V49D2GaBZ3j1E708X4a4396XNx48X3"
    key_id = token.partition(".")[0]
    record = KeyRecord(key_id, app.id, "k", frozenset(SCOPES), verifier(token.encode()), now(), now() + DAY)
    await keep(store, app, record)
    await desk.report_token(f"{key_id}.{'x' * 48}", sighting(""))
    assert await revoked(store, key_id) is None
    await desk.report_token(token, sighting(token))
    assert await revoked(store, key_id) is RevokedWhy.LEAKED


async def test_many_at_once(desk: LeakDesk) -> None:
    """Of a long report some tokens would go on."""
    app = await an_app(desk.store)
    keys = [await a_key(desk.store, app) for _ in range(8)]
    user = await a_user_token(desk.store, app)
    strays = [stray() for _ in range(120)]
    told = [*keys, *strays, user, *keys, "x" * 600, "é", "", "gwk_", f"gwx_{id_of(keys[0])}"]
    reported = await desk.report_tokens([(token, sighting(token)) for token in told])
    assert len(reported) == 9
    for key in keys:
        assert await revoked(desk.store, id_of(key)) is RevokedWhy.LEAKED
        assert (await incident_of(desk, id_of(key))).count == 2
    assert (await incident_of(desk, id_of(user))).subject is Subject.USER_TOKEN


async def test_an_id_from_somebody_who_may_end_it(desk: LeakDesk) -> None:
    """A developer who sees the id of his key in public could not end it."""
    app = await an_app(desk.store)
    key, user = await a_key(desk.store, app), await a_user_token(desk.store, app)
    for token in (key, user):
        reported = await desk.report_id(id_of(token), sighting("", source="a page"))
        assert (reported.incident.proven, reported.incident.ended) == (False, True)
    assert await revoked(desk.store, id_of(key)) is RevokedWhy.LEAKED
    for unknown in (id_of(stray()), "x", ""):
        with pytest.raises(ActRefused) as refused:
            await desk.report_id(unknown, sighting(""))
        assert refused.value.reason is ActReason.UNKNOWN_KEY


async def test_decisions(desk: LeakDesk) -> None:
    """What people decide would be lost, or a mistyped id be taken for an incident."""
    app = await an_app(desk.store)
    key = await a_key(desk.store, app)
    (reported,) = await desk.report_token(key, sighting(key))
    incident = reported.incident.id
    assert (await desk.acknowledge(incident)).incident.state is IncidentState.ACKNOWLEDGED
    assert (await desk.close(incident)).incident.state is IncidentState.CLOSED
    again = await desk.close(incident)
    assert (again.incident.state, bool(again.done.changes)) == (IncidentState.CLOSED, False)
    assert [each.id async for each in desk.incidents(app.id)] == [incident]
    other = await an_app(desk.store)
    assert [each async for each in desk.incidents(other.id)] == []
    for unknown in ("5ainc0000000000000000", "x", ""):
        with pytest.raises(ActRefused) as refused:
            await desk.close(unknown)
        assert refused.value.reason is ActReason.UNKNOWN_INCIDENT


async def test_a_developers_token(desk: LeakDesk) -> None:
    """A token for the management API, which may end every key of its owner, would go on where it leaked."""
    store = desk.store
    app = await an_app(store)
    await keeper(store).grant(app.id, "jane@example.com", Role.DEVELOPER)
    tokens = TokenDesk(store, Who("test", "test"), secrets.token_bytes)
    issued = await tokens.issue_to("jane@example.com")
    token = issued.token.reveal()
    await desk.report_token(stray("gwd", issued.record.id), sighting(""))
    await desk.report_token(stray("gwd"), sighting(""))
    kept = await tokens.find(issued.record.id)
    assert kept is not None
    assert kept.revoked_at is None
    assert await desk.report_token(token, sighting(token)) == []
    kept = await tokens.find(issued.record.id)
    assert kept is not None
    assert kept.revoked_at is not None
    assert [each async for each in desk.incidents()] == []


async def test_a_damaged_incident(desk: LeakDesk) -> None:
    """What a hand has spoilt in the store would end in a fault of ours."""
    app = await an_app(desk.store)
    key = await a_key(desk.store, app)
    (reported,) = await desk.report_token(key, sighting(key))
    item = Item(ItemKind.INCIDENT, reported.incident.id, app.id, "{}")
    await desk.store.act([Act(Asked(app.id, items=(item.key,)), lambda _: Changes(items=(item,)))])
    with pytest.raises(StoreBroken):
        await desk.incident(item.id)
    with pytest.raises(StoreBroken):
        await desk.report_token(key, sighting(key))


@pytest.mark.parametrize("damaged", ["record", "incident"])
async def test_what_is_damaged_saves_no_other_token(tmp_path: Path, damaged: str) -> None:
    """One record that cannot be read would keep every other token of its report alive, at every repeat."""
    store = open_store(f"sqlite:///{tmp_path}/store.db", create=True)
    desk = LeakDesk(store, WHO, Prefixes(), pace=0)
    app = await an_app(store)
    bad, *good = [await a_key(store, app) for _ in range(5)]
    if damaged == "record":
        with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
            other.execute("PRAGMA ignore_check_constraints = ON")
            other.execute("UPDATE api_key SET revoked_at = 1, revoked_why = 'odd' WHERE id = ?", (id_of(bad),))
    else:
        item = Item(ItemKind.INCIDENT, incident_id(app.id, id_of(bad)), app.id, "{}")
        await store.act([Act(Asked(app.id, items=(item.key,)), lambda _: Changes(items=(item,)))])
    ended: list[Reported] = []
    with pytest.raises(StoreBroken):
        await desk.report_tokens([(token, sighting(token)) for token in (bad, *good)], ended.append)
    assert {each.incident.subject_id for each in ended} == set(map(id_of, good))
    assert {await revoked(store, id_of(token)) for token in good} == {RevokedWhy.LEAKED}
    await store.close()


async def test_a_token_that_is_gone_saves_no_other(desk: LeakDesk) -> None:
    """A developer's token that somebody forgets in the same moment would keep the keys of its report alive."""
    store = desk.store
    app = await an_app(store)
    key = await a_key(store, app)
    await keeper(store).grant(app.id, "jane@example.com", Role.DEVELOPER)
    token = (await TokenDesk(store, Who("test", "test"), secrets.token_bytes).issue_to("jane@example.com")).token
    told = [(each, sighting(each)) for each in (token.reveal(), key)]
    (reported,) = await replace(desk, store=Forgetting(store)).report_tokens(told)
    assert reported.incident.subject_id == id_of(key)
    assert await revoked(store, id_of(key)) is RevokedWhy.LEAKED


class Forgetting:
    """A store in which a developer's token is gone by the time that it is to end."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def act(self, acts: Sequence[Act]) -> list[Done | ActRefused]:
        """The store's, once it has forgotten."""
        for asked in (each.asked for each in acts):
            keys = tuple(key for key in asked.items if key[0] is ItemKind.DEVELOPER_TOKEN)
            await self._store.act([Act(asked, lambda _, keys=keys: Changes(dropped=keys))])  # type: ignore[misc]
        return await self._store.act(acts)


async def test_a_long_report_lets_others_have_their_turn(tmp_path: Path) -> None:
    """While a thousand tokens are looked for, no request would be answered."""
    store = open_store(f"sqlite:///{tmp_path}/store.db", create=True)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    at_work = asyncio.create_task(others())
    await LeakDesk(store, WHO, Prefixes(), pace=0).report_tokens([(stray(), sighting("")) for _ in range(100)])
    at_work.cancel()
    await asyncio.gather(at_work, return_exceptions=True)
    assert turns >= 100
    await store.close()


async def test_an_operators_token(desk: LeakDesk) -> None:
    """A token that may do everything would go on where everybody reads it, and nobody know."""
    token, other = stray("gwo"), stray("gwo")
    leaked: list[str] = []
    operators = (Operator(name="root", token_sha256=hashlib.sha256(token.encode()).hexdigest()),)
    knowing = replace(desk, operators=operators, operator_leaked=lambda: leaked.append("one"))
    with capture_logs() as lines:
        assert await knowing.report_tokens([(each, sighting(each)) for each in (other, token)]) == []
    assert leaked == ["one"]
    (line,) = lines
    assert (line["log_level"], line["operator"]) == ("error", "root")
    assert token.partition(".")[2] not in str(line)


async def test_ids_alone_are_flagged_at_a_pace(desk: LeakDesk) -> None:
    """Whoever knows many ids could fill the store with incidents by publishing them."""
    at = 0.0
    flagging = Flagging(lambda: at)
    paced = replace(desk, flagging=flagging)
    key = await a_key(desk.store, await an_app(desk.store))
    told = [(f"gwk_{id_of(key)}.{'x' * number}", sighting("")) for number in range(AT_ONCE)]
    await paced.report_tokens(told)
    await paced.report_tokens(told)
    assert (await incident_of(desk, id_of(key))).count == AT_ONCE
    left_out = flagging.left_out
    assert left_out == 2 * len(told) - AT_ONCE
    at += EACH_SECONDS
    await paced.report_tokens(told)
    assert (await incident_of(desk, id_of(key))).count == AT_ONCE + 1
    await paced.report_token(key, sighting(key))
    assert await revoked(desk.store, id_of(key)) is RevokedWhy.LEAKED


async def test_notes_that_come_late(desk: LeakDesk) -> None:
    """An incident would say that a key was never used which was in use a second before."""
    key = await a_key(desk.store, await an_app(desk.store), "USER_READ")
    (reported,) = await desk.report_token(key, sighting(key))
    opened_at = reported.incident.opened_at
    assert (reported.incident.last_used_at, sum(reported.incident.requests)) == (None, 0)
    day = opened_at // DAY
    await desk.store.note_used({id_of(key): opened_at - 1})
    await desk.store.note_uses({(id_of(key), day, REQUESTS): 5, (id_of(key), day - 7, REQUESTS): 2})
    (shown,) = await with_later_notes(desk.store, [await desk.incident(reported.incident.id)])
    assert shown.last_used_at == opened_at - 1
    assert (shown.requests[0], shown.requests[-1], sum(shown.requests)) == (2, 5, 7)
    await desk.store.note_used({id_of(key): opened_at + 1})
    (shown,) = await with_later_notes(desk.store, [reported.incident])
    assert shown.last_used_at is None  # it is of after the report, and says nothing of before


@pytest.mark.parametrize("token", ["x", "gwk_x", stray(), "known"], ids=["none", "malformed", "unknown", "known"])
async def test_every_report_takes_its_time(desk: LeakDesk, token: str) -> None:
    """Whoever reports could tell by the time whether somebody has this token."""
    if token == "known":
        token = await a_key(desk.store, await an_app(desk.store), "USER_READ")
    before = time.monotonic()
    await replace(desk, pace=0.1).report_token(token, sighting(token))
    assert time.monotonic() - before > 0.05
