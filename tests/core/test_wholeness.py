"""Whether records belong together, however many there are."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.audit import AuditAction, AuditEvent, Numbered, Seal
from gateway.core.ledger import Item, ItemKind
from gateway.core.portable import LastUsed, Portable
from gateway.core.records import DELETED, MAX_ACTIVE_KEYS, App, Developer, KeyRecord, Role, User, UserTokenRecord
from gateway.core.times import LAST_MOMENT
from gateway.core.wholeness import Wholeness
from gateway.core.wishes import DAY, LONGEST_LIFETIME

NOW = 1_700_000_000_000
APP = App("5a0000000000000000000a01", "demo", "eu")
OTHER = App("7b0000000000000000000a02", "other", "us")
USER = User("someone", APP.id, "ex")
CHAIN = f"{'0c' * 16}/main"
EVENT = AuditEvent(NOW, AuditAction.APP_CREATED, APP.id, APP.id, "cli:ada")


def a_key(number: int, app: App = APP, **changed: object) -> KeyRecord:
    """A key that works, another for each number."""
    scopes = frozenset({"USER_READ"})
    made = KeyRecord(f"5a{number:014x}", app.id, f"k{number}", scopes, number.to_bytes(32), NOW - DAY, NOW + DAY)
    return replace(made, **changed)  # type: ignore[arg-type]


def a_token(number: int, user: User = USER, **changed: object) -> UserTokenRecord:
    """A user token, another for each number."""
    made = UserTokenRecord(f"5a{number:014x}", user.app_id, user.id, number.to_bytes(32), NOW - DAY, NOW + DAY)
    return replace(made, **changed)  # type: ignore[arg-type]


FOREIGN = f"{'0d' * 16}/main"
AUDIT: list[Portable] = [
    *(Numbered(CHAIN, number, EVENT) for number in range(1, 7)),
    *(Numbered(FOREIGN, number, EVENT) for number in range(1, 4)),
    Seal(CHAIN, 1, 3, NOW, ""),
    Seal(CHAIN, 4, 5, NOW, ""),
    Seal(FOREIGN, 1, 3, NOW, ""),
]
WHOLE: list[Portable] = [
    *AUDIT,
    a_token(1),
    a_token(2, created_at=NOW + DAY, expires_at=NOW),  # its user's tokens had been cut again and again
    *(a_key(number) for number in range(3, 12)),
    a_key(12, successor=a_key(13).id, shutdown_at=NOW + 5),
    a_key(13),
    *(a_key(number, revoked_at=NOW - 5) for number in range(14, 18)),
    *(a_key(number, OTHER) for number in range(18, 28)),
    Developer(APP.id, "ada@example.com", Role.DEVELOPER),
    USER,
    APP,
    OTHER,
    Item(ItemKind.FAMILIES, "5a01", APP.id, ""),
    Item(ItemKind.INCIDENT, "5a01", APP.id, ""),
    Item(ItemKind.DEVELOPER_TOKEN, "0001", "00" * 12, ""),
    LastUsed(a_key(3).id, NOW),
]


def found(records: Sequence[Portable]) -> list[str]:
    """All that is wrong with some records."""
    wholeness = Wholeness(NOW)
    told = [sentence for record in records for sentence in wholeness.take(record)]
    told += wholeness.end()
    if wholeness.doubtful():
        told += [sentence for record in records for sentence in wholeness.point_out(record)]
    return told


def test_a_whole_store_is_whole() -> None:
    """A good backup would be refused just when it is needed."""
    assert found(WHOLE) == []
    assert found([]) == []


@given(st.lists(st.sampled_from(WHOLE[len(AUDIT) :])))
def test_a_record_may_be_told_twice(again: list[Portable]) -> None:
    """A backup that was made while the store was changed would be refused."""
    order = [type(record) for record in WHOLE]
    places = {record: (order.index(type(record)), getattr(record, "app_id", "")) for record in WHOLE}
    assert found(sorted([*WHOLE, *again], key=lambda record: places[record])) == []


TWICE = "Its id, or its user's external id, is there for something else too."
MISSING = "What it belongs to is not there."
CROWDED = f"has more than {MAX_ACTIVE_KEYS} active keys."


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ([a_token(3)], [TWICE]),
        ([replace(a_token(1), verifier=bytes(32))], [TWICE]),
        ([User("another", APP.id, "ex")], [TWICE]),
        ([User("someone", APP.id)], [TWICE]),
        ([User("someone", OTHER.id, "ex")], []),
        ([a_token(90, User("nobody", APP.id))], [MISSING]),
        ([a_token(90, User("someone", OTHER.id))], [MISSING]),
        ([User("someone", "00" * 12)], [MISSING]),
        ([Developer("00" * 12, "ada@example.com", Role.DEVELOPER)], [MISSING]),
        ([a_key(90, revoked_at=1, successor="5affffffffffffff")], [MISSING]),
        ([a_key(90, OTHER, revoked_at=1, successor=a_key(3).id)], [MISSING]),
        ([a_key(90, App("00" * 12, "gone", "eu"))], [MISSING]),
        ([Item(ItemKind.FAMILIES, "5a01", "5a" * 12, "")], [TWICE, MISSING]),
        ([Item(ItemKind.FAMILIES, "0001", "00" * 12, "")], [MISSING]),
        ([Numbered(CHAIN, 2, EVENT)], ["It is out of order in its chain."]),
        ([Seal(CHAIN, 1, 1, NOW, "")], ["It is out of order in its chain."]),
        ([Seal(CHAIN, 6, 5, NOW, "")], ["It is out of order in its chain."]),
        ([a_key(90 + number, OTHER) for number in range(11)], [f"The app {OTHER.id} {CROWDED}"]),
    ],
)
def test_what_does_not_belong_together_is_told(more: list[Portable], expected: list[str]) -> None:
    """A damaged store, or a backup made by hand, would be taken for good."""
    assert found([*WHOLE, *more]) == expected


@pytest.mark.parametrize("missing", AUDIT)
def test_a_gap_in_the_audit_is_told(missing: Portable) -> None:
    """A file from which somebody took what an event tells of would be taken for whole."""
    last = {Numbered(CHAIN, 6, EVENT), Seal(CHAIN, 4, 5, NOW, ""), Seal(FOREIGN, 1, 3, NOW, "")}
    told = found([record for record in WHOLE if record != missing])
    if missing in last:  # nothing is there that would show it
        assert told == []
    else:
        chain = CHAIN if missing in AUDIT[:6] or missing == AUDIT[9] else FOREIGN
        number = missing.number if isinstance(missing, Numbered) else 1
        assert told
        assert all(chain in sentence and str(number) in sentence for sentence in told)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([Numbered(CHAIN, 4, EVENT)], f"Before it the chain {CHAIN} lacks events 1 to 3."),
        ([Seal(CHAIN, 4, 5, NOW, "")], f"Before it the chain {CHAIN} lacks a seal over events 1 to 3."),
        ([Seal(CHAIN, 1, 9, NOW, "")], f"It is over events 1 to 9, which the chain {CHAIN} lacks."),
        ([*AUDIT, Seal(CHAIN, 6, 9, NOW, "")], f"It is over events 7 to 9, which the chain {CHAIN} lacks."),
    ],
)
def test_what_the_audit_lacks_is_named(records: list[Portable], expected: str) -> None:
    """Nobody would know which events to look for in the log."""
    assert expected in found(records)


LONG = "It lives for longer than 366 days."


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (replace(APP, cut_at=LAST_MOMENT + 1), ["Its cut_at is not within the years 1970 to 9999."]),
        (replace(USER, cut_at=-1), ["Its cut_at is not within the years 1970 to 9999."]),
        (a_key(3, expires_at=(1 << 63) - 1), ["Its expires_at is not within the years 1970 to 9999.", LONG]),
        (a_key(3, shutdown_at=LAST_MOMENT + 1), ["Its shutdown_at is not within the years 1970 to 9999."]),
        (a_key(3, revoked_at=-1), ["Its revoked_at is not within the years 1970 to 9999."]),
        (
            Numbered(FOREIGN, 1, replace(EVENT, at=LAST_MOMENT + 1)),
            ["Its at is not within the years 1970 to 9999."],
        ),
        (LastUsed(a_key(3).id, -1), ["Its at is not within the years 1970 to 9999."]),
        (replace(APP, cut_at=NOW + LONGEST_LIFETIME), []),
        (replace(APP, cut_at=NOW + LONGEST_LIFETIME + 1), ["Its cut_at lies more than a year ahead."]),
        (replace(USER, cut_at=DELETED - 1), ["Its cut_at lies more than a year ahead."]),
        (replace(USER, cut_at=DELETED, external_id=None), []),
        (replace(USER, cut_at=DELETED), ["The user was deleted, and the external id was not erased."]),
        (replace(APP, cut_at=DELETED), ["Its cut_at lies more than a year ahead."]),
        (a_token(1, revoked_at=LAST_MOMENT), ["Its revoked_at lies more than a year ahead."]),
        (a_key(3, shutdown_at=LAST_MOMENT), []),
        (a_key(3, created_at=NOW, expires_at=NOW + LONGEST_LIFETIME), []),
        (a_key(3, created_at=NOW, expires_at=NOW + LONGEST_LIFETIME + 1), [LONG]),
        (a_token(1, created_at=0), [LONG]),
    ],
)
def test_times_that_cannot_be_are_told(record: Portable, expected: list[str]) -> None:
    """A key of a file made by hand would live for ever, or nobody find the damaged record that ends every list."""
    assert list(Wholeness(NOW).take(record)) == expected


def test_a_crowded_app_is_told_wherever_its_keys_stand() -> None:
    """An app with more keys than it may have would only be noticed when it is the last."""
    assert found([*(a_key(number) for number in range(11)), a_key(20, OTHER), APP, OTHER]) == [
        f"The app {APP.id} {CROWDED}"
    ]
