"""The rules of developers' tokens."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.audit import AuditAction
from gateway.core.developer_tokens import (
    AT_MOST,
    LONGEST_LIFETIME,
    LONGEST_LINE,
    DeveloperToken,
    Moved,
    NewDeveloperToken,
    asked_of,
    end_tokens,
    issue_token,
    item_key,
    keys_shown,
    newest_key,
    require_all_seen,
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
    item, _ = issue_token(Snapshot(NOW), OWNER, WISH, WHO).items
    return item


def named(number: int) -> str:
    """The id of one of the person's tokens."""
    return f"{OWNER[:2]}{number:014x}"


def made(number: int, *ancestors: int, ends: int = NOW + DAY, revoked: int | None = None) -> Item:
    """A token that descends from others, as it is kept."""
    line = tuple(map(named, ancestors))
    return token_item(DeveloperToken(named(number), OWNER, WISH.developer, b"v" * 32, 1, ends, "x", revoked, line))


def shown(*items: Item, now: int = NOW) -> Snapshot:
    """What an act sees of them."""
    return Snapshot(now, items={item.key: item for item in items})


def test_a_token_is_kept_under_its_person_without_an_address() -> None:
    """Whoever reads the store would read who has tokens, or could use them."""
    changes = issue_token(Snapshot(NOW), OWNER, WISH, WHO)
    (item, newest), (event,) = changes.items, changes.events

    assert (item.key, item.owner, item.ends_at) == (item_key(WISH.id), OWNER, NOW + DAY)
    assert (newest.key, newest.owner, newest.text) == (newest_key(OWNER), OWNER, WISH.id)
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


def test_a_token_ends_with_the_one_that_it_descends_from() -> None:
    """Whoever stole a token would go on with another, which was made with it, after its end."""
    items = [made(1), made(2, 1), made(3, 1, 2), made(4), made(5, 4), made(6, 1, revoked=NOW - 1)]
    changes = revoke_token(shown(*items), named(1), WHO)

    assert [item.id for item in changes.items] == [named(1), named(2), named(3)]
    assert {token_from(item).revoked_at for item in changes.items} == {NOW}
    assert [event.subject_id for event in changes.events] == [named(1), named(2), named(3)]
    assert {event.action for event in changes.events} == {AuditAction.DEVELOPER_TOKEN_REVOKED}
    late = revoke_token(shown(made(1, revoked=NOW - 5), made(2, 1)), named(1), WHO)
    assert [item.id for item in late.items] == [named(2)]


def test_a_token_is_made_with_one_that_lives() -> None:
    """Whoever holds a token that is just being revoked would have another afterwards."""
    wish = replace(WISH, parent=named(2))
    item, _ = issue_token(shown(made(2, 1), made(3)), OWNER, wish, WHO).items

    assert token_from(item).ancestors == (named(1), named(2))
    for ended in ([], [made(2, 1, revoked=NOW)], [made(2, 1, ends=NOW)]):
        with pytest.raises(ActRefused) as refused:
            issue_token(shown(*ended, made(3)), OWNER, wish, WHO)
        assert refused.value.reason is ActReason.TOKEN_INVALID


def test_a_person_has_so_many_tokens_at_a_time() -> None:
    """Whoever stole a token could fill the store, and nobody would find which of them to end."""
    living = [made(number) for number in range(1, AT_MOST)]
    over = [made(50, ends=NOW), made(51, revoked=NOW - 1)]

    assert issue_token(shown(*living, *over), OWNER, WISH, WHO)
    with pytest.raises(ActRefused, match="Revoke one") as refused:
        issue_token(shown(*living, made(99)), OWNER, WISH, WHO)
    assert refused.value.reason is ActReason.TOO_MANY_TOKENS


def test_a_line_of_tokens_comes_to_its_end() -> None:
    """A token that is renewed again and again would grow without end."""
    line = list(range(LONGEST_LINE + 1))
    wish = replace(WISH, parent=named(100))
    item, _ = issue_token(shown(made(100, *line[:-2])), OWNER, wish, WHO).items

    assert len(token_from(item).ancestors) == LONGEST_LINE
    with pytest.raises(ActRefused, match="operator") as refused:
        issue_token(shown(made(100, *line[:-1])), OWNER, wish, WHO)
    assert refused.value.reason is ActReason.TOO_MANY_TOKENS


def test_all_tokens_end_at_once() -> None:
    """Who was sent away would go on with those that nobody thought of."""
    changes = end_tokens(shown(made(1), made(2, 1), made(3, revoked=NOW - 1)), WHO)

    assert [item.id for item in changes.items] == [event.subject_id for event in changes.events] == [named(1), named(2)]
    assert not end_tokens(shown(*changes.items), WHO)


def test_what_an_act_looks_at() -> None:
    """A token would outlive the one that it was made with, or every act would read all tokens that ever were."""
    tokens = map(token_from, (made(1), made(2, 1), made(3, ends=NOW), made(4, revoked=NOW)))
    asked = asked_of(OWNER, tokens, NOW, named(9), named(2))

    assert (asked.app_id, asked.items[0]) == (OWNER, newest_key(OWNER))
    assert list(asked.items[1:]) == [item_key(named(number)) for number in (9, 2, 1)]


def test_an_act_that_does_not_see_all_is_not_done() -> None:
    """A token that is made while the one before it is revoked would live on."""
    _, first = issue_token(Snapshot(NOW), OWNER, WISH, WHO).items
    _, second = issue_token(shown(first, now=NOW + 1), OWNER, replace(WISH, id=named(7), lifetime=1), WHO).items

    require_all_seen(Snapshot(NOW), OWNER, None)
    require_all_seen(shown(second), OWNER, second)
    for seen, before in (([first], None), ([second], first), ([], first)):
        with pytest.raises(Moved):
            require_all_seen(shown(*seen), OWNER, before)
    assert second.ends_at == first.ends_at == NOW + DAY  # as long as one lives that it told of


_TIMES = st.integers(0, 2**53)


_LINES = st.lists(st.text("0123456789abcdef", min_size=16, max_size=16), max_size=LONGEST_LINE).map(tuple)


@given(st.binary(min_size=32, max_size=32), _TIMES, _TIMES, st.none() | _TIMES, st.text(), _LINES)
def test_what_is_written_is_read(
    verifier: bytes, start: int, ends: int, revoked: int | None, by: str, line: tuple[str, ...]
) -> None:
    """A token would change by being kept."""
    token = DeveloperToken("ab", OWNER, "dev_1", verifier, start, ends, by, revoked, line)

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
        GOOD.replace("}", ', "parent": "cd"}'),
        GOOD.replace("}", ', "ancestors": "cd"}'),
        GOOD.replace("}", ', "ancestors": [1]}'),
    ],
)
def test_damage_is_told(text: str) -> None:
    """A damaged store would let somebody in."""
    assert text != GOOD
    with pytest.raises(ValueError, match=r"token|Expecting"):
        token_from(Item(ItemKind.DEVELOPER_TOKEN, "ab", OWNER, text))


def test_a_token_of_an_earlier_version_is_read() -> None:
    """After an update nobody could use the API."""
    old = (
        '{"developer": "dev_1", "verifier": "' + "76" * 32 + '", "created_at": 1, "expires_at": 2, "created_by": "x",'
        ' "revoked_at": null}'
    )
    assert token_from(Item(ItemKind.DEVELOPER_TOKEN, "ab", OWNER, old)).ancestors == ()
    assert old == GOOD


def test_the_keys_that_a_person_was_shown() -> None:
    """Somebody who leaves would go on with keys that nobody thinks of."""
    app = App("5a0000000000000000000a01", "demo", "eu")

    def key(number: int, by: str, ends: int = DAY) -> KeyRecord:
        return KeyRecord(f"5a{number}", app.id, "k", frozenset({"A"}), b"", NOW + number, NOW + ends, created_by=by)

    mine = f"developer:{developer_id(EMAIL)}"
    keys = [key(3, mine), key(1, mine), key(2, "cli:root"), key(4, mine, ends=0), key(5, "developer:dev_2")]
    seen = Snapshot(NOW, app, {each.id: each for each in keys})

    assert [each.id for each in keys_shown(seen, developer_id(EMAIL))] == ["5a1", "5a3"]
