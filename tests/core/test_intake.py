"""Which rows of tokens that exist elsewhere an app takes in."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import lifecycle, people
from gateway.core.audit import AuditAction
from gateway.core.intake import (
    Admitted,
    Promised,
    admit_keys,
    admit_tokens,
    keys_asked,
    tokens_asked,
)
from gateway.core.intake_rows import KeyRow, RowReason, TokenRow
from gateway.core.ledger import Asked, Changes, Snapshot
from gateway.core.lifecycle import NewKey, places
from gateway.core.people import NewUserToken
from gateway.core.records import MAX_ACTIVE_KEYS, App, KeyRecord, RevokedWhy, User, UserTokenRecord
from gateway.core.wishes import DAY
from tests.support.examples import many
from tests.support.ledgers import WHO, Ledger

APP = App("5a0000000000000000000a01", "demo", "eu")
OTHER = App("7b0000000000000000000a02", "other", "us")
NOW = Ledger().now
SCOPES = frozenset({"USER_READ"})
NOTHING = Promised()


def key_row(number: int = 1, *, days: int = 300, app: App = APP) -> KeyRow:
    """A key that was made ten days ago, another for each number."""
    created = NOW - 10 * DAY
    return KeyRow(
        number, f"{number:010x}", number.to_bytes(32), app.id, f"k{number}", SCOPES, created, NOW + days * DAY
    )


def token_row(number: int = 1, user_id: str | None = None, external_id: str | None = "someone") -> TokenRow:
    """A user token that was made a day ago, another for each number."""
    verifier, new = number.to_bytes(32), f"5a{number:022x}"
    return TokenRow(
        number, f"{number:010x}", verifier, APP.id, user_id, external_id, NOW - DAY, NOW + DAY, new_user_id=new
    )


@pytest.fixture
def ledger() -> Ledger:
    """Two apps without keys."""
    return Ledger(apps={APP.id: APP, OTHER.id: OTHER})


def keys_in(ledger: Ledger, rows: Sequence[KeyRow], app: App = APP) -> Admitted[KeyRow]:
    """Rows taken in."""
    admitted = admit_keys(ledger.seen(keys_asked(app.id, rows)), rows, WHO, NOTHING)
    ledger.keep(app.id, admitted.changes)
    return admitted


def tokens_in(ledger: Ledger, rows: Sequence[TokenRow], promised: Promised = NOTHING) -> Admitted[TokenRow]:
    """Rows taken in."""
    admitted = admit_tokens(ledger.seen(tokens_asked(APP.id, rows)), rows, WHO, promised)
    ledger.keep(APP.id, admitted.changes)
    return admitted


def reasons(admitted: Admitted[KeyRow] | Admitted[TokenRow]) -> list[tuple[int, RowReason]]:
    """Which rows were refused and why."""
    return [(row.line, refusal.reason) for row, refusal in admitted.refused]


def created(ledger: Ledger, number: int) -> str:
    """The id of a key that was made here."""
    wish = NewKey(f"5a{number:014x}", bytes(32), "here", SCOPES, DAY)
    ledger.do(Asked(APP.id, keys=(wish.id,)), lambda seen: lifecycle.create_key(seen, wish, WHO))
    return wish.id


# Keys -----------------------------------------------------------------------------------------------------------------


def test_a_key_is_taken_in_as_it_is(ledger: Ledger) -> None:
    """An imported key would live longer or shorter than elsewhere, and nothing would tell who brought it."""
    row = key_row()
    assert keys_in(ledger, [row]).refused == ()
    record = KeyRecord(row.id, APP.id, "k1", SCOPES, row.verifier, row.created_at, row.expires_at, WHO.actor)
    assert ledger.keys == {row.id: record}
    (event,) = ledger.events
    assert (event.action, event.app_id, event.subject_id) == (AuditAction.KEY_IMPORTED, APP.id, row.id)
    assert (event.at, event.actor, event.source) == (NOW, WHO.actor, WHO.source)


def test_no_more_than_ten_are_active(ledger: Ledger) -> None:
    """An import would bring an app above the ten keys that it may have; or keys that have expired would count."""
    kept = [created(ledger, number) for number in range(2)]
    rows = [key_row(number, days=-1 if number % 2 else 300) for number in range(20)]
    admitted = keys_in(ledger, rows)
    assert reasons(admitted) == [(line, RowReason.TOO_MANY_KEYS) for line in (16, 18)]
    assert ledger.keys.keys() == {*kept, *(row.id for row in rows if row.line not in {16, 18})}
    assert places(ledger.keys.values(), NOW) == MAX_ACTIVE_KEYS
    assert reasons(keys_in(ledger, [key_row(21), key_row(22, days=-1)])) == [(21, RowReason.TOO_MANY_KEYS)]


def test_places_that_were_promised_are_taken(ledger: Ledger) -> None:
    """A dry run over two pieces of a file would promise more keys than the import then takes."""
    rows = [key_row(number) for number in range(5)]
    admitted = admit_keys(ledger.seen(keys_asked(APP.id, rows)), rows, WHO, Promised(places=7))
    assert reasons(admitted) == [(3, RowReason.TOO_MANY_KEYS), (4, RowReason.TOO_MANY_KEYS)]


def test_a_second_run_changes_nothing(ledger: Ledger) -> None:
    """An import that broke off could not be begun anew, or would tell of the same keys twice."""
    rows = [key_row(number, days=300 - 400 * (number % 2)) for number in range(20)]
    keys_in(ledger, rows)
    ledger.do(
        Asked(APP.id, keys=(rows[0].id,)), lambda seen: lifecycle.rename_key(seen, rows[0].id, "another name", WHO)
    )
    again = keys_in(ledger, rows)
    assert again == Admitted(Changes(), (), known=20)


def test_a_rotated_key_is_known_until_it_ends(ledger: Ledger) -> None:
    """A second run would call a key ended that still works, or say nothing of one that does no longer."""
    row = key_row()
    keys_in(ledger, [row])
    wish = NewKey("5a00000000000002", bytes(32), "", frozenset(), 0)
    asked = Asked(APP.id, keys=(row.id, wish.id))
    ledger.do(asked, lambda seen: lifecycle.rotate_key(seen, row.id, wish, DAY, WHO))
    assert keys_in(ledger, [row]).known == 1
    ledger.now += DAY
    assert reasons(keys_in(ledger, [row])) == [(1, RowReason.ID_ENDED)]


def test_what_was_ended_here_stays_ended(ledger: Ledger) -> None:
    """Whoever imports a revoked key again would believe that it works."""
    row = key_row()
    keys_in(ledger, [row])
    revoked = Asked(APP.id, keys=(row.id,))
    ledger.do(revoked, lambda seen: lifecycle.revoke_key(seen, row.id, RevokedWhy.LEAKED, WHO))
    before = dict(ledger.keys)
    assert reasons(keys_in(ledger, [row])) == [(1, RowReason.ID_ENDED)]
    assert ledger.keys == before


@pytest.mark.parametrize(
    "changed",
    [
        {"verifier": bytes(32)},
        {"scopes": frozenset({"USER_READ", "USER_DELETE"})},
        {"created_at": NOW - 9 * DAY},
        {"expires_at": NOW + 299 * DAY},
    ],
)
def test_a_row_never_changes_what_is_here(ledger: Ledger, changed: dict[str, object]) -> None:
    """A row would give a key more scopes or a longer life than was judged; or say nothing where it did not."""
    row = key_row()
    keys_in(ledger, [row])
    before = dict(ledger.keys)
    assert reasons(keys_in(ledger, [replace(row, **changed)])) == [(1, RowReason.ID_TAKEN)]  # type: ignore[arg-type]
    assert ledger.keys == before


def test_an_id_of_something_else_is_taken(ledger: Ledger) -> None:
    """A token would open another app, or mean a key as well as a user token."""
    keys_in(ledger, [key_row(1, app=OTHER)], OTHER)
    tokens_in(ledger, [token_row(2)])
    assert reasons(keys_in(ledger, [key_row(1), key_row(2), key_row(3)])) == [
        (1, RowReason.ID_TAKEN),
        (2, RowReason.ID_TAKEN),
    ]
    assert reasons(tokens_in(ledger, [token_row(3)])) == [(3, RowReason.ID_TAKEN)]


def test_the_app_must_be_there() -> None:
    """A mistyped app would be made by an import, with a region that nobody chose."""
    snapshot = Snapshot(NOW)
    assert reasons(admit_keys(snapshot, [key_row()], WHO, NOTHING)) == [(1, RowReason.UNKNOWN_APP)]
    assert reasons(admit_tokens(snapshot, [token_row()], WHO, NOTHING)) == [(1, RowReason.UNKNOWN_APP)]


def test_nothing_comes_from_the_future(ledger: Ledger) -> None:
    """A token dated ahead would outlive the end of "every token issued until now"."""
    ahead = replace(token_row(), created_at=NOW + 1, expires_at=NOW + DAY)
    assert reasons(tokens_in(ledger, [ahead])) == [(1, RowReason.LIFETIME_INVALID)]
    assert reasons(keys_in(ledger, [replace(key_row(), created_at=NOW + 1)])) == [(1, RowReason.LIFETIME_INVALID)]
    assert tokens_in(ledger, [replace(ahead, created_at=NOW)]).refused == ()


# User tokens ----------------------------------------------------------------------------------------------------------


def test_a_user_token_is_taken_in_with_its_user(ledger: Ledger) -> None:
    """A token would be of no use, as its user is not there; or its user made anew with each token."""
    first, second, third = token_row(1), token_row(2), token_row(3, "own-id", None)
    assert tokens_in(ledger, [first, second, third]).refused == ()
    someone, own = User(first.new_user_id, APP.id, "someone"), User("own-id", APP.id)
    assert list(ledger.users.values()) == [someone, own]
    assert ledger.tokens == {
        row.id: UserTokenRecord(row.id, APP.id, user.id, row.verifier, row.created_at, row.expires_at)
        for row, user in ((first, someone), (second, someone), (third, own))
    }
    told = [(event.action, event.subject_id) for event in ledger.events]
    assert told == [
        *[(AuditAction.USER_CREATED, user.id) for user in (someone, own)],
        *[(AuditAction.USER_TOKEN_IMPORTED, row.id) for row in (first, second, third)],
    ]


def test_a_user_that_is_here_stays_as_it_is(ledger: Ledger) -> None:
    """An import would let the tokens of a disabled user through again, or revive those that were ended."""
    user = User("known", APP.id, "someone", switches=3, cut_at=NOW)
    ledger.users[APP.id, user.id] = user
    tokens_in(ledger, [token_row(1), token_row(2, "known", None), token_row(3, "known", "someone")])
    assert ledger.users == {(APP.id, user.id): user}
    assert {token.user_id for token in ledger.tokens.values()} == {"known"}


@pytest.mark.parametrize("promised", [False, True])
def test_two_names_mean_one_user(ledger: Ledger, promised: bool) -> None:
    """A token would be taken in for another user than either of its names says."""
    users = (User("one", APP.id, "first"), User("two", APP.id))
    if not promised:
        ledger.users.update({(APP.id, user.id): user for user in users})
    rows = [token_row(1, "one", "other"), token_row(2, "two", "first"), token_row(3, "new", "first")]
    admitted = tokens_in(ledger, [*rows, token_row(4, "one", "first")], Promised(users=users) if promised else NOTHING)
    assert reasons(admitted) == [(line, RowReason.EXTERNAL_ID_TAKEN) for line in (1, 2, 3)]
    assert admitted.changes.users == ()


def test_rows_agree_with_each_other_about_users(ledger: Ledger) -> None:
    """Of two rows that contradict each other the second would lay its user over the first's."""
    admitted = tokens_in(
        ledger, [token_row(1, "one", "first"), token_row(2, "two", "first"), token_row(3, "one", None)]
    )
    assert reasons(admitted) == [(2, RowReason.EXTERNAL_ID_TAKEN)]


def test_a_second_run_of_user_tokens_changes_nothing(ledger: Ledger) -> None:
    """An import that broke off could not be begun anew."""
    rows = [token_row(1), token_row(2, "known", None)]
    tokens_in(ledger, rows)
    assert tokens_in(ledger, rows) == Admitted(Changes(), (), known=2)
    other = [replace(rows[1], user_id="other"), replace(rows[0], verifier=bytes(32))]
    assert reasons(tokens_in(ledger, other)) == [(2, RowReason.ID_TAKEN), (1, RowReason.ID_TAKEN)]


def test_an_ended_user_token_stays_ended(ledger: Ledger) -> None:
    """Whoever imports a revoked token again would believe that it works."""
    row = token_row()
    tokens_in(ledger, [row])
    ledger.tokens[row.id] = replace(ledger.tokens[row.id], revoked_at=NOW)
    assert reasons(tokens_in(ledger, [row])) == [(1, RowReason.ID_ENDED)]


# Whatever comes -------------------------------------------------------------------------------------------------------

pieces = st.lists(
    st.lists(
        st.builds(key_row, st.integers(0, 25), days=st.sampled_from([-1, 300]), app=st.sampled_from([APP, OTHER])),
        max_size=12,
        unique_by=lambda row: row.id,
    ),
    max_size=5,
)


@many
@given(pieces)
def test_whatever_is_taken_in_keeps_the_rules(imports: list[list[KeyRow]]) -> None:
    """Some order of imports would bring an app above ten keys, change a key that is there, or lose a row untold."""
    ledger = Ledger(apps={APP.id: APP, OTHER.id: OTHER})
    for rows in imports:
        for app in (APP, OTHER):
            before = dict(ledger.keys)
            own = [row for row in rows if row.app_id == app.id]
            admitted = keys_in(ledger, own, app)
            assert len(own) == len(admitted.refused) + admitted.known + len(admitted.changes.keys)
            assert before.items() <= ledger.keys.items()
            held = [key for key in ledger.keys.values() if key.app_id == app.id]
            assert places(held, NOW) <= MAX_ACTIVE_KEYS
            assert keys_in(ledger, own, app).changes == Changes()
    assert len(ledger.events) == len(ledger.keys)


def test_a_token_wished_for_here_is_not_an_imported_one(ledger: Ledger) -> None:
    """A row with the id of a token that was made here would be told as taken in, and open nothing."""
    row = token_row()
    wish = NewUserToken(row.id, bytes(32), None, "someone", row.new_user_id, DAY)
    asked = Asked(APP.id, external_id="someone", tokens=(row.id,))
    ledger.do(asked, lambda seen: people.create_user_token(seen, wish, WHO))
    assert reasons(tokens_in(ledger, [row])) == [(1, RowReason.ID_TAKEN)]
