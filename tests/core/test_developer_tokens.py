"""The rules of developers' tokens."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.audit import AuditAction
from gateway.core.developer_tokens import (
    LONGEST_LIFETIME,
    DeveloperToken,
    NewDeveloperToken,
    issue_token,
    item_key,
    keys_shown,
    revoke_token,
    token_fault,
    token_from,
    token_item,
)
from gateway.core.ledger import ActReason, ActRefused, Item, ItemKind, Snapshot
from gateway.core.people import developer_id, person_id
from gateway.core.records import App, Fault, KeyRecord
from gateway.core.wishes import DAY
from tests.support.ledgers import WHO

EMAIL = "ada@example.com"
OWNER = person_id(EMAIL)
NOW = 1_700_000_000_000
WISH = NewDeveloperToken(OWNER[:2] + "0" * 14, developer_id(EMAIL), b"v" * 32, DAY)


def issued() -> Item:
    """A token as it is kept."""
    (item,) = issue_token(Snapshot(NOW), OWNER, WISH, WHO).items
    return item


def shown(*items: Item, now: int = NOW) -> Snapshot:
    """What an act sees of them."""
    return Snapshot(now, items={item.key: item for item in items})


def test_a_token_is_kept_under_its_person_without_an_address() -> None:
    """Whoever reads the store would read who has tokens, or could use them."""
    changes = issue_token(Snapshot(NOW), OWNER, WISH, WHO)
    (item,), (event,) = changes.items, changes.events

    assert (item.key, item.owner, item.ends_at) == (item_key(WISH.id), OWNER, NOW + DAY)
    assert EMAIL not in item.text
    assert event.action is AuditAction.DEVELOPER_TOKEN_CREATED
    assert (event.app_id, event.subject_id, event.about) == (OWNER, WISH.id, developer_id(EMAIL))
    assert token_from(item).created_by == WHO.actor


@pytest.mark.parametrize("lifetime", [0, -1, LONGEST_LIFETIME + 1])
def test_nobody_is_trusted_for_longer_than_90_days(lifetime: int) -> None:
    """A token that somebody forgot would be good for ever."""
    with pytest.raises(ActRefused) as refused:
        issue_token(Snapshot(NOW), OWNER, replace(WISH, lifetime=lifetime), WHO)

    assert refused.value.reason is ActReason.WISH_INVALID


def test_what_was_issued_is_not_issued_twice() -> None:
    """A lost answer of the store would leave two tokens, or give somebody another's."""
    item = issued()

    again = issue_token(shown(item, now=NOW + 5), OWNER, WISH, WHO)
    assert (again.items, again.events) == ((item,), ())
    with pytest.raises(ActRefused) as refused:
        issue_token(shown(item), OWNER, replace(WISH, verifier=b"w" * 32), WHO)
    assert refused.value.reason is ActReason.ID_TAKEN


def test_a_token_ends_when_it_is_told_to_and_at_its_time() -> None:
    """A token that was lost would go on."""
    item = issued()
    token = token_from(item)
    changes = revoke_token(shown(item, now=NOW + 7), WISH.id, WHO)
    (ended,), (event,) = changes.items, changes.events

    assert token_fault(token, WISH.verifier, NOW + DAY - 1) is None
    assert token_fault(token, WISH.verifier, NOW + DAY) is Fault.EXPIRED
    assert token_fault(token, b"w" * 32, NOW) is Fault.WRONG
    assert token_fault(token_from(ended), WISH.verifier, NOW) is Fault.REVOKED
    assert token_from(ended).revoked_at == NOW + 7
    assert event.action is AuditAction.DEVELOPER_TOKEN_REVOKED
    assert not revoke_token(shown(ended), WISH.id, WHO)


def test_an_unknown_token_is_not_revoked() -> None:
    """A mistyped id would be taken for a token that was ended."""
    with pytest.raises(ActRefused) as refused:
        revoke_token(Snapshot(NOW), "0" * 16, WHO)

    assert refused.value.reason is ActReason.UNKNOWN_TOKEN


_TIMES = st.integers(0, 2**53)


@given(st.binary(min_size=32, max_size=32), _TIMES, _TIMES, st.none() | _TIMES, st.text())
def test_what_is_written_is_read(verifier: bytes, made: int, ends: int, revoked: int | None, by: str) -> None:
    """A token would change by being kept."""
    token = DeveloperToken("ab", OWNER, "dev_1", verifier, made, ends, by, revoked)

    assert token_from(token_item(token)) == token


GOOD = token_item(DeveloperToken("ab", OWNER, "dev_1", b"v" * 32, 1, 2, "x")).text


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        "{}",
        GOOD.replace('"dev_1"', "1"),
        GOOD.replace("7676", "767", 1),
        GOOD.replace('"created_at": 1', '"created_at": "1"'),
        GOOD.replace('"revoked_at": null', '"revoked_at": true'),
    ],
)
def test_damage_is_told(text: str) -> None:
    """A damaged store would let somebody in."""
    assert text != GOOD
    with pytest.raises(ValueError, match=r"token|Expecting"):
        token_from(Item(ItemKind.DEVELOPER_TOKEN, "ab", OWNER, text))


def test_the_keys_that_a_person_was_shown() -> None:
    """Somebody who leaves would go on with keys that nobody thinks of."""
    app = App("5a0000000000000000000a01", "demo", "eu")

    def key(number: int, by: str, ends: int = DAY) -> KeyRecord:
        return KeyRecord(f"5a{number}", app.id, "k", frozenset({"A"}), b"", NOW + number, NOW + ends, created_by=by)

    mine = f"developer:{developer_id(EMAIL)}"
    keys = [key(3, mine), key(1, mine), key(2, "cli:root"), key(4, mine, ends=0), key(5, "developer:dev_2")]
    seen = Snapshot(NOW, app, {each.id: each for each in keys})

    assert [each.id for each in keys_shown(seen, developer_id(EMAIL))] == ["5a1", "5a3"]
