"""Whether records belong together, however many there are."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.audit import AuditAction, AuditEvent, Numbered, Seal
from gateway.core.portable import LastUsed, Portable
from gateway.core.records import MAX_ACTIVE_KEYS, App, Developer, KeyRecord, Role, User, UserTokenRecord
from gateway.core.wholeness import Wholeness
from gateway.core.wishes import DAY

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


def a_token(number: int, user: User = USER) -> UserTokenRecord:
    """A user token, another for each number."""
    return UserTokenRecord(f"5a{number:014x}", user.app_id, user.id, number.to_bytes(32), NOW - DAY, NOW + DAY)


WHOLE: list[Portable] = [
    Numbered(CHAIN, 1, EVENT),
    Numbered(CHAIN, 3, EVENT),
    Seal(CHAIN, 1, 3, NOW, ""),
    a_token(1),
    a_token(2),
    *(a_key(number) for number in range(3, 12)),
    a_key(12, successor=a_key(13).id, shutdown_at=NOW + 5),
    a_key(13),
    *(a_key(number, revoked_at=NOW - 5) for number in range(14, 18)),
    *(a_key(number, OTHER) for number in range(18, 28)),
    Developer(APP.id, "ada@example.com", Role.DEVELOPER),
    USER,
    APP,
    OTHER,
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


@given(st.lists(st.sampled_from(WHOLE[3:])))
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
        ([Numbered(CHAIN, 2, EVENT)], ["It is out of order in its chain."]),
        ([Numbered(f"{'0d' * 16}/main", 2, EVENT)], []),
        ([Seal(CHAIN, 1, 1, NOW, "")], ["It is out of order in its chain."]),
        ([a_key(90 + number, OTHER) for number in range(11)], [f"The app {OTHER.id} {CROWDED}"]),
    ],
)
def test_what_does_not_belong_together_is_told(more: list[Portable], expected: list[str]) -> None:
    """A damaged store, or a backup made by hand, would be taken for good."""
    assert found([*WHOLE, *more]) == expected


def test_a_crowded_app_is_told_wherever_its_keys_stand() -> None:
    """An app with more keys than it may have would only be noticed when it is the last."""
    assert found([*(a_key(number) for number in range(11)), a_key(20, OTHER), APP, OTHER]) == [
        f"The app {APP.id} {CROWDED}"
    ]
