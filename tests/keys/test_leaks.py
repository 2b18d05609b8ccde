"""What becomes of a credential that leaked, whoever tells it: on both stores."""

import secrets
import time
from dataclasses import replace

import pytest

from gateway.core.incidents import Incident, IncidentState, Subject
from gateway.core.ledger import Act, ActReason, ActRefused, Asked, Changes, Item, ItemKind, Who
from gateway.core.records import KeyRecord, RevokedWhy, Role
from gateway.core.sightings import sighting
from gateway.core.token import Prefixes, verifier
from gateway.core.wishes import DAY
from gateway.keys.developer_tokens import TokenDesk
from gateway.keys.leaks import LeakDesk, with_later_notes
from gateway.store.contract import REFUSED, REQUESTS, Store, StoreBroken
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
