"""The ledger of notices: what is due, who may send it, what came of it; each once."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import incidents, notices
from gateway.core.incidents import LeakReport, Subject
from gateway.core.ledger import Changes, Item, ItemKind
from gateway.core.notices import (
    FIRST_PAUSE,
    KEPT,
    LEASE,
    LONGEST_PAUSE,
    SENT,
    Channel,
    Mark,
    Notice,
    NoticeState,
    Outcome,
    Wanted,
    due_mark,
    item_of,
    notice_of,
)
from gateway.core.records import App, KeyRecord
from gateway.core.sightings import sighting
from gateway.core.wishes import DAY
from tests.support.ledgers import WHO, Ledger

APP = App("5a0000000000000000000a01", "demo", "eu")
NOW = Ledger().now
LATER = Outcome(NoticeState.WAITING, "put_off", 451)
NEVER = Outcome(NoticeState.FAILED, "refused", 550)


def a_key(*, left: int = 7 * DAY, life: int = 365 * DAY, **changed: object) -> KeyRecord:
    """A key with so much of its life left."""
    ends_at = NOW + left
    made = KeyRecord("5a00000000000001", APP.id, "k", frozenset({"X"}), bytes(32), ends_at - life, ends_at)
    return replace(made, **changed)  # type: ignore[arg-type]


KEY = a_key()
WANTED = Wanted(APP.id, KEY.id, Mark.ONE_WEEK, "dev_00", Channel.EMAIL, ends_at=KEY.expires_at)


@pytest.fixture
def ledger() -> Ledger:
    """An app with a key that ends in a week."""
    return Ledger(apps={APP.id: APP}, keys={KEY.id: KEY})


def claimed(ledger: Ledger, holder: str = "one", wanted: Wanted = WANTED) -> Changes:
    """A claim, by a clock that is the ledger's."""
    return ledger.do(wanted.asked, lambda seen: notices.claim(seen, wanted, holder, ledger.now))


def settled(ledger: Ledger, outcome: Outcome, holder: str = "one", wanted: Wanted = WANTED) -> Changes:
    """What came of it."""
    return ledger.do(wanted.asked, lambda seen: notices.settle(seen, wanted, holder, outcome, ledger.now))


def the_row(ledger: Ledger, wanted: Wanted = WANTED) -> Notice:
    """The row as it is kept."""
    return notice_of(ledger.items[wanted.key])


@pytest.mark.parametrize(
    ("key", "mark"),
    [
        (a_key(left=15 * DAY), None),
        (a_key(left=14 * DAY + 1), None),
        (a_key(left=14 * DAY), Mark.TWO_WEEKS),
        (a_key(left=7 * DAY + 1), Mark.TWO_WEEKS),
        (a_key(left=7 * DAY), Mark.ONE_WEEK),
        (a_key(left=1), Mark.ONE_WEEK),
        (a_key(left=0), None),
        (a_key(left=-DAY), None),
        (a_key(revoked_at=NOW - 1), None),
        (a_key(successor="5a00000000000002", shutdown_at=NOW + DAY), None),
        (a_key(left=6 * DAY, life=7 * DAY), None),
        (a_key(left=6 * DAY, life=7 * DAY + 1), Mark.ONE_WEEK),
        (a_key(left=10 * DAY, life=14 * DAY), None),
        (a_key(left=10 * DAY, life=14 * DAY + 1), Mark.TWO_WEEKS),
        (a_key(left=6 * DAY, life=10 * DAY), Mark.ONE_WEEK),
    ],
)
def test_what_is_due(key: KeyRecord, mark: Mark | None) -> None:
    """Somebody would be told too late, twice after a downtime, or of a key that was renewed long ago."""
    assert due_mark(key, NOW) is mark


def test_one_claim_at_a_time(ledger: Ledger) -> None:
    """Two gateways would send the same mail."""
    made_at = ledger.now
    assert claimed(ledger)
    assert not claimed(ledger, "two")
    assert not claimed(ledger)
    ledger.now += LEASE - 1
    assert not claimed(ledger, "two")
    ledger.now += 1  # whoever had it has died
    assert claimed(ledger, "two")
    assert the_row(ledger) == Notice(WANTED, NoticeState.CLAIMED, "two", ledger.now + LEASE, 2, ledger.now, made_at)
    assert not settled(ledger, SENT)
    assert settled(ledger, SENT, "two")


@pytest.mark.parametrize("outcome", [SENT, NEVER])
def test_what_is_settled_is_settled(ledger: Ledger, outcome: Outcome) -> None:
    """A mail that was sent or refused for good would be sent again."""
    claimed(ledger)
    settled(ledger, outcome)
    ledger.now += 3 * DAY
    assert not claimed(ledger)
    assert not settled(ledger, LATER)
    row = the_row(ledger)
    assert (row.state, row.error, row.code) == (outcome.state, outcome.error, outcome.code)


def test_it_is_tried_again_with_longer_and_longer_pauses(ledger: Ledger) -> None:
    """A server that is away would be pressed all the time, or never be asked again."""
    pauses = []
    while claimed(ledger):
        settled(ledger, LATER)
        until = the_row(ledger).until
        pauses.append(until - ledger.now)
        ledger.now = until - 1
        assert not claimed(ledger)
        ledger.now = until
    assert pauses[:4] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE, 8 * FIRST_PAUSE]
    assert set(pauses[12:]) == {LONGEST_PAUSE}
    assert ledger.now >= KEY.expires_at  # until the key has ended


@pytest.mark.parametrize(
    "key",
    [a_key(revoked_at=NOW), a_key(successor="5a02", shutdown_at=NOW + 1), a_key(left=20 * DAY), a_key(left=10 * DAY)],
)
def test_what_has_changed_meanwhile_is_not_told(ledger: Ledger, key: KeyRecord) -> None:
    """People would be told of a key that was revoked or renewed a moment before."""
    ledger.keys[KEY.id] = key
    assert not claimed(ledger)
    ledger.keys.clear()
    assert not claimed(ledger)
    ledger.apps.clear()
    assert not claimed(ledger)


def test_a_leak_is_told_once_for_each_opening(ledger: Ledger) -> None:
    """People would hear of a leak again and again, or not when it is opened anew."""
    told = LeakReport(APP.id, Subject.KEY, KEY.id, (sighting(""),), proven=False, ends=False)
    ledger.do(told.asked, lambda seen: incidents.report(seen, told, WHO))
    wanted = Wanted(APP.id, told.incident_id, Mark.LEAK, "dev_00", Channel.EMAIL, ledger.now)
    assert claimed(ledger, wanted=wanted)
    settled(ledger, SENT, wanted=wanted)
    assert not claimed(ledger, wanted=wanted)
    assert ledger.items[wanted.key].ends_at is None
    asked = told.asked
    ledger.do(asked, lambda seen: incidents.close(seen, told.incident_id, WHO))
    assert not claimed(ledger, wanted=replace(wanted, recipient="dev_01"))
    ledger.now += 1
    proven = replace(told, proven=True, ends=True)
    ledger.do(asked, lambda seen: incidents.report(seen, proven, WHO))
    assert not claimed(ledger, wanted=replace(wanted, recipient="dev_01"))  # of the opening before
    assert not claimed(ledger, wanted=replace(wanted, occasion=ledger.now))  # which said that it goes on working
    assert claimed(ledger, wanted=replace(wanted, mark=Mark.LEAK_ENDED, occasion=ledger.now))
    del ledger.items[ItemKind.INCIDENT, told.incident_id]
    assert not claimed(ledger, wanted=replace(wanted, recipient="dev_01"))


ROWS = st.builds(
    Notice,
    st.builds(
        Wanted,
        st.just(APP.id),
        st.text(max_size=20),
        st.sampled_from(Mark),
        st.text(max_size=20),
        st.sampled_from(Channel),
        st.integers(0, 1 << 52),
        st.none() | st.integers(0, 1 << 52),
    ),
    st.sampled_from(NoticeState),
    st.text(max_size=9),
    st.integers(0, 1 << 52),
    st.integers(0, 99),
    st.integers(0, 1 << 52),
    st.integers(0, 1 << 52),
    st.text(max_size=9),
    st.integers(0, 999),
)


@given(ROWS)
def test_what_is_kept_is_read_again(row: Notice) -> None:
    """A mail that was sent would be sent again, as nobody could read the note of it."""
    item = item_of(row)
    assert notice_of(item) == row
    assert item.id.startswith(APP.id[:2])
    assert item.ends_at == (None if row.wanted.ends_at is None else row.wanted.ends_at + KEPT)


@given(ROWS, ROWS)
def test_each_row_is_one_persons_occasion(one: Notice, other: Notice) -> None:
    """One person's mail would count for another's, or for another occasion."""
    same = replace(one.wanted, ends_at=None) == replace(other.wanted, ends_at=None)
    assert (one.wanted.id == other.wanted.id) == same


def _texts() -> list[Any]:
    whole = json.loads(item_of(Notice(WANTED, NoticeState.SENT, "h", 1, 1, 1, 1)).text)
    missing = [{name: value for name, value in whole.items() if name != left_out} for left_out in whole]
    others = [{**whole, name: other} for name in whole for other in (None, [], True, 1.5)]
    return [None, 1, [], {}, "x", *missing, *others, {**whole, "more": 1}]


@pytest.mark.parametrize("text", _texts(), ids=str)
def test_damage_is_told(text: object) -> None:
    """A damaged row would be taken for one that nobody has sent, and the mail be sent again."""
    row = Notice(WANTED, NoticeState.SENT, "h", 1, 1, 1, 1)
    with pytest.raises(ValueError, match="not a notice"):
        notice_of(replace(item_of(row), text=json.dumps(text)))
    with pytest.raises(ValueError, match="not a notice"):
        notice_of(Item(ItemKind.NOTICE, "5aff", APP.id, item_of(row).text))
