"""The rules of a leak: what ends, what is only flagged, and what is one incident."""

from collections.abc import Callable
from dataclasses import asdict, replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import incidents
from gateway.core.audit import AuditAction
from gateway.core.incidents import Incident, IncidentState, LeakReport, Subject, incident_of, item_of
from gateway.core.ledger import ActReason, ActRefused, Asked, Changes, Item, ItemKind
from gateway.core.records import App, KeyRecord, RevokedWhy, User, UserTokenRecord
from gateway.core.sightings import Sighting
from gateway.core.wishes import DAY
from tests.support.ledgers import WHO, Ledger

APP = App("5a0000000000000000000a01", "demo", "eu")
KEY, OTHER, TOKEN = "5a00000000000001", "5a00000000000002", "5a00000000000003"
SEEN = (Sighting("content", "https://example.com/1", "key"),)


@pytest.fixture
def ledger() -> Ledger:
    """An app with a key that was rotated, its successor, and a user token."""
    ledger = Ledger(apps={APP.id: APP})
    now = ledger.now
    for key_id in (KEY, OTHER):
        ledger.keys[key_id] = KeyRecord(key_id, APP.id, "k", frozenset({"S"}), bytes(32), now - DAY, now + DAY)
    ledger.keys[KEY] = replace(ledger.keys[KEY], successor=OTHER, shutdown_at=now + DAY // 2)
    ledger.users[APP.id, "u"] = User("u", APP.id)
    ledger.tokens[TOKEN] = UserTokenRecord(TOKEN, APP.id, "u", bytes(32), now - DAY, now + DAY)
    return ledger


def told(subject_id: str = KEY, *, proven: bool = True, ends: bool = True, seen: int = 1) -> LeakReport:
    """A report of a key, or of the token."""
    subject = Subject.USER_TOKEN if subject_id == TOKEN else Subject.KEY
    return LeakReport(APP.id, subject, subject_id, SEEN * seen, proven=proven, ends=ends)


def report(ledger: Ledger, told: LeakReport) -> Incident:
    """The incident after a report."""
    ledger.do(told.asked, lambda seen: incidents.report(seen, told, WHO))
    return kept(ledger, told.incident_id)


def test_long_texts_are_kept_as_far_as_they_fit(ledger: Ledger) -> None:
    """One incident could take megabytes of the store, and of the time of whoever reads it."""
    long = replace(told(), sightings=(Sighting("\x01" * 2048, "\x01" * 2048),) * 50)
    for _ in range(3):
        incident = report(ledger, long)
    assert incident.count == 150
    assert 0 < len(incident.sightings) < 5
    assert len(item_of(incident).text) < 2 * incidents.MOST_BYTES


def kept(ledger: Ledger, incident: str) -> Incident:
    """The incident as it is kept."""
    return incident_of(ledger.items[ItemKind.INCIDENT, incident])


def decided(ledger: Ledger, decide: Callable[..., Changes], incident: str) -> Incident:
    """The incident after a decision."""
    asked = Asked(APP.id, items=((ItemKind.INCIDENT, incident),))
    ledger.do(asked, lambda seen: decide(seen, incident, WHO))
    return kept(ledger, incident)


def actions(ledger: Ledger) -> list[AuditAction]:
    """What happened, in order."""
    return [event.action for event in ledger.events]


@pytest.mark.parametrize("subject_id", [KEY, TOKEN])
def test_it_ends_with_its_incident(ledger: Ledger, subject_id: str) -> None:
    """A credential would end without anybody being told, or an incident be opened of one that works still."""
    incident = report(ledger, told(subject_id))
    record = ledger.keys[KEY] if subject_id == KEY else ledger.tokens[TOKEN]
    assert record.revoked_at == ledger.now
    assert (incident.state, incident.proven, incident.ended) == (IncidentState.OPEN, True, True)
    assert incident.sightings == (replace(SEEN[0], at=ledger.now, by=WHO.actor),)
    ended = AuditAction.KEY_REVOKED if subject_id == KEY else AuditAction.USER_TOKEN_REVOKED
    assert actions(ledger) == [ended, AuditAction.INCIDENT_OPENED]
    assert [(event.subject_id, event.about) for event in ledger.events] == [
        (subject_id, RevokedWhy.LEAKED.value),
        (incident.id, f"{incident.subject.value} {subject_id}"),
    ]


def test_of_a_rotated_pair_only_the_leaked_one_ends(ledger: Ledger) -> None:
    """A leak would lock out everybody who has the new key already."""
    report(ledger, told(KEY))
    assert ledger.keys[OTHER].revoked_at is None
    report(ledger, told(OTHER))
    assert ledger.keys[OTHER].revoked_why is RevokedWhy.LEAKED


def test_an_id_alone_flags(ledger: Ledger) -> None:
    """Anybody who knows the id of a key could end it."""
    incident = report(ledger, told(proven=False, ends=False))
    assert ledger.keys[KEY].revoked_at is None
    assert (incident.proven, incident.ended, incident.state) == (False, False, IncidentState.OPEN)
    assert actions(ledger) == [AuditAction.INCIDENT_OPENED]


def test_what_is_dead_has_its_incident(ledger: Ledger) -> None:
    """A leak before the end of a key would never be looked into."""
    ledger.keys[KEY] = replace(ledger.keys[KEY], revoked_at=1, revoked_why=RevokedWhy.REQUESTED)
    incident = report(ledger, told())
    assert (incident.proven, incident.ended) == (True, False)
    assert ledger.keys[KEY].revoked_why is RevokedWhy.REQUESTED


def test_repeats_are_one_incident(ledger: Ledger) -> None:
    """Repeats would bury the other incidents, or fill the store."""
    for _ in range(20):
        report(ledger, told())
    assert len(ledger.items) == 1
    assert actions(ledger) == [AuditAction.KEY_REVOKED, AuditAction.INCIDENT_OPENED]
    for _ in range(3):
        report(ledger, told(seen=60))
    incident = kept(ledger, told().incident_id)
    assert (incident.count, len(incident.sightings)) == (200, 100)
    first = report(ledger, told(OTHER, seen=150))
    assert (first.count, len(first.sightings)) == (150, 100)


def test_sightings_have_a_bound_in_bytes(ledger: Ledger) -> None:
    """A flood of long addresses would fill the store, or keep out the short ones behind them."""
    long, short = Sighting("\x01" * 2048, "\x01" * 2048, "\x01" * 2048), SEEN[0]
    incident = report(ledger, replace(told(), sightings=(long,) * 5 + (short,)))
    assert (incident.count, len(incident.sightings)) == (6, 2)
    assert incident.sightings[-1].url == short.url
    for _ in range(20):
        incident = report(ledger, replace(told(), sightings=(Sighting(url="a" * 2000),) * 5))
    assert len(item_of(incident).text) <= incidents.MOST_BYTES + 1000
    assert incident.count == 106
    assert len(incident.sightings) > 10


def test_what_was_used_before_is_told(ledger: Ledger) -> None:
    """Nobody could tell whether the key was abused before it ended."""
    today = ledger.now // DAY
    used = replace(told(), last_used_at=5, requests={today: 8, today - 1: 7, today - 7: 1, today - 8: 99})
    incident = report(ledger, used)
    assert (incident.last_used_at, incident.requests) == (5, (1, 0, 0, 0, 0, 0, 7, 8))
    assert report(ledger, replace(told(), last_used_at=6)).last_used_at == 5


@pytest.mark.parametrize("decide", [incidents.acknowledge, incidents.close])
def test_it_is_opened_anew_only_for_news(ledger: Ledger, decide: Callable[..., Changes]) -> None:
    """People would be called for what they have seen to, or not be called when a key works that was thought dead."""
    flagged = report(ledger, told(proven=False, ends=False))
    seen_to = decided(ledger, decide, flagged.id)
    assert seen_to.state is not IncidentState.OPEN
    assert report(ledger, told(proven=False, ends=False)).state is seen_to.state
    assert report(ledger, told(proven=True, ends=False)).state is IncidentState.OPEN  # the first time
    decided(ledger, decide, flagged.id)
    assert report(ledger, told(proven=True, ends=False)).state is seen_to.state
    ledger.now += 1
    anew = report(ledger, told())  # it had not ended
    assert (anew.state, anew.ended, anew.changed_at) == (IncidentState.OPEN, True, ledger.now)
    decided(ledger, decide, flagged.id)
    assert report(ledger, told()).state is seen_to.state
    assert actions(ledger).count(AuditAction.INCIDENT_OPENED) == 3


def test_decisions(ledger: Ledger) -> None:
    """A decision would be lost, or be told twice."""
    incident = report(ledger, told())
    ledger.now += 5
    first = decided(ledger, incidents.acknowledge, incident.id)
    assert (first.state, first.changed_at) == (IncidentState.ACKNOWLEDGED, ledger.now)
    ledger.now += 5
    assert decided(ledger, incidents.acknowledge, incident.id) == first
    closed = decided(ledger, incidents.close, incident.id)
    assert closed.state is IncidentState.CLOSED
    assert decided(ledger, incidents.close, incident.id) == closed
    assert decided(ledger, incidents.acknowledge, incident.id) == closed
    assert actions(ledger)[2:] == [AuditAction.INCIDENT_ACKNOWLEDGED, AuditAction.INCIDENT_CLOSED]


@pytest.mark.parametrize("decide", [incidents.acknowledge, incidents.close])
def test_an_unknown_incident(ledger: Ledger, decide: Callable[..., Changes]) -> None:
    """A mistyped id would be taken for one that was decided about."""
    with pytest.raises(ActRefused) as refused:
        decided(ledger, decide, "5ainc0000000000000000")
    assert refused.value.reason is ActReason.UNKNOWN_INCIDENT


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
SIGHTINGS = st.builds(Sighting, TEXTS, TEXTS, TEXTS, st.integers(0, 2**50), TEXTS)


@given(st.lists(SIGHTINGS, max_size=5), st.none() | st.integers(0, 2**50), st.booleans())
def test_what_is_kept_is_read_back(seen: list[Sighting], last_used: int | None, proven: bool) -> None:
    """An incident would come back from the store as another."""
    incident = replace(whole(), sightings=tuple(seen), last_used_at=last_used, proven=proven)
    assert incident_of(item_of(incident)) == incident


def whole() -> Incident:
    """An incident."""
    return Incident(
        id=incidents.incident_id(APP.id, KEY),
        app_id=APP.id,
        subject=Subject.KEY,
        subject_id=KEY,
        opened_at=1,
        state=IncidentState.OPEN,
        proven=True,
        ended=True,
        reporter="x",
        sightings=(Sighting("a", "b", "c", 1, "d"),),
        count=1,
        last_used_at=None,
        requests=(0,) * 8,
        changed_at=1,
        changed_by="x",
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"state": "lost"},
        {"subject": "app"},
        {"proven": 1},
        {"count": "1"},
        {"count": True},
        {"opened_at": None},
        {"last_used_at": "1"},
        {"requests": [0] * 7},
        {"requests": ["0"] * 8},
        {"requests": None},
        {"sightings": [{}] * 101},
        {"sightings": [{"source": 1, "url": "", "type": "", "at": 1, "by": ""}]},
        {"sightings": [{"source": "", "url": "", "type": "", "at": "1", "by": ""}]},
        {"sightings": [{"secret": ""}]},
        {"sightings": {}},
        {"subject_id": OTHER},
        {"reporter": None},
        {"app_id": "5b0000000000000000000a01"},
        {"token": "x"},
    ],
)
def test_a_damaged_incident_is_not_read(changed: dict[str, object]) -> None:
    """What a disk or a hand has spoilt would be shown as what happened."""
    values = asdict(whole()) | changed
    with pytest.raises(ValueError, match="cannot be read"):
        incident_of(replace(item_of(whole()), text=orjson.dumps(values).decode()))


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", "{", "5", '"x"'])
def test_what_is_no_incident(text: str) -> None:
    """Another thing in an incident's place would end a command in a fault of ours."""
    with pytest.raises(ValueError, match="cannot be read"):
        incident_of(Item(ItemKind.INCIDENT, whole().id, APP.id, text))


def test_an_incident_in_another_order_is_not_read() -> None:
    """There would be two ways to write one incident, and only one of them compares equal."""
    values = dict(reversed(asdict(whole()).items()))
    with pytest.raises(ValueError, match="cannot be read"):
        incident_of(replace(item_of(whole()), text=orjson.dumps(values).decode()))
