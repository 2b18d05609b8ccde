"""How records of another store, or of an older state of the same, become part of a store: taking away wins."""

from dataclasses import replace

import pytest

from gateway.core.audit import AuditAction
from gateway.core.developer_tokens import DeveloperToken, token_item
from gateway.core.ledger import Changes, Item, ItemKind, Snapshot
from gateway.core.lifecycle import places
from gateway.core.merging import (
    Merged,
    merge_keys,
    merge_tokens,
    merge_users,
)
from gateway.core.people import developer_id
from gateway.core.records import (
    DELETED,
    MAX_ACTIVE_KEYS,
    App,
    KeyRecord,
    RevokedWhy,
    Role,
    User,
    UserTokenRecord,
    works,
)
from gateway.core.wishes import DAY
from tests.support.ledgers import WHO, Ledger
from tests.support.merging import (
    APP,
    merge_app_into,
    merge_items_into,
    merge_keys_into,
    merge_tokens_into,
    merge_users_into,
)

OTHER = App("7b0000000000000000000a02", "other", "us")
NOW = Ledger().now
SCOPES = frozenset({"USER_READ"})


def a_key(number: int = 1, **changed: object) -> KeyRecord:
    """A key that works, another for each number."""
    made = KeyRecord(f"5a{number:014x}", APP.id, f"k{number}", SCOPES, number.to_bytes(32), NOW - DAY, NOW + DAY)
    return replace(made, **changed)  # type: ignore[arg-type]


def a_token(number: int = 1, user_id: str = "someone", **changed: object) -> UserTokenRecord:
    """A user token that works, another for each number."""
    made = UserTokenRecord(f"5a{number:014x}", APP.id, user_id, number.to_bytes(32), NOW - DAY, NOW + DAY)
    return replace(made, **changed)  # type: ignore[arg-type]


@pytest.fixture
def ledger() -> Ledger:
    """Two apps, one with a user."""
    return Ledger(apps={APP.id: APP, OTHER.id: OTHER}, users={(APP.id, "someone"): User("someone", APP.id, "ex")})


def restored(ledger: Ledger) -> list[tuple[str, str]]:
    """What the events say was taken away by merging."""
    assert {event.action for event in ledger.events} <= {AuditAction.REVOCATION_RESTORED}
    return [(event.about, event.subject_id) for event in ledger.events]


# Apps -----------------------------------------------------------------------------------------------------------------


def test_a_new_app_comes_with_its_roles() -> None:
    """A restored app would belong to nobody."""
    ledger = Ledger()
    merged = merge_app_into(ledger, APP, {"ada@example.com": Role.DEVELOPER})
    assert merged.conflicts == ()
    assert (ledger.apps, ledger.roles) == ({APP.id: APP}, {(APP.id, "ada@example.com"): Role.DEVELOPER})
    assert ledger.events == []


@pytest.mark.parametrize(
    ("here", "there", "expected", "loses"),
    [
        ((0, 0), (1, 0), (1, 0), True),
        ((1, 0), (0, 5), (1, 5), True),
        ((2, 9), (1, 5), (2, 9), False),
        ((2, 5), (3, 9), (3, 9), True),
        ((2, 5), (3, 5), (3, 5), True),
        ((1, 0), (2, 0), (3, 0), False),
        ((1, 0), (3, 0), (3, 0), False),
        ((3, 0), (2, 0), (3, 0), False),
        ((0, 0), (2, 0), (2, 0), False),
        ((1, 0), (2, 5), (3, 5), True),
    ],
)
def test_an_app_loses_what_either_lost(
    ledger: Ledger, here: tuple[int, int], there: tuple[int, int], expected: tuple[int, int], *, loses: bool
) -> None:
    """A merge would enable an app that was disabled, or revive tokens that were ended."""
    ledger.apps[APP.id] = replace(APP, switches=here[0], cut_at=here[1])
    merged = merge_app_into(ledger, replace(APP, name="older name", switches=there[0], cut_at=there[1]))
    assert merged.conflicts == ()
    assert ledger.apps[APP.id] == replace(APP, switches=expected[0], cut_at=expected[1])
    assert restored(ledger) == ([("app", APP.id)] if loses else [])


def test_no_role_comes_back(ledger: Ledger) -> None:
    """Who was removed from an app, or may only look at it now, would be given it again by an old backup."""
    ledger.roles[APP.id, "eve@example.com"] = Role.SPECTATOR
    ledger.roles[APP.id, "bob@example.com"] = Role.DEVELOPER
    roles = {"ada@example.com": Role.DEVELOPER, "eve@example.com": Role.DEVELOPER, "bob@example.com": Role.DEVELOPER}
    before = dict(ledger.roles)
    merged = merge_app_into(ledger, replace(APP, region="us"), roles)
    assert ledger.roles == before
    region, *told = [conflict.message for conflict in merged.conflicts]
    assert "another region here, eu" in region
    assert [developer_id(name) in message for name, message in zip(list(roles)[:2], told, strict=True)] == [True, True]
    assert not any("@" in message for message in told)


# Keys -----------------------------------------------------------------------------------------------------------------


def test_new_keys_come_as_they_are(ledger: Ledger) -> None:
    """A restored key would have another life or history than it had."""
    keys = [a_key(1, successor="5a00000000000002", shutdown_at=NOW + 5), a_key(2), a_key(3, revoked_at=5)]
    assert merge_keys_into(ledger, *keys).conflicts == ()
    assert list(ledger.keys.values()) == keys
    assert ledger.events == []
    assert merge_keys_into(ledger, *keys) == Merged(Changes())


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        ({}, {"revoked_at": 5}, {"revoked_at": 5, "revoked_why": RevokedWhy.IMPORTED}),
        (
            {"revoked_at": 9, "revoked_why": RevokedWhy.REQUESTED},
            {"revoked_at": 5, "revoked_why": RevokedWhy.LEAKED},
            {"revoked_at": 5, "revoked_why": RevokedWhy.LEAKED},
        ),
        ({}, {"shutdown_at": 5, "successor": "5b"}, {"shutdown_at": 5, "successor": "5b"}),
        ({"shutdown_at": 9, "successor": "5a"}, {"shutdown_at": 5}, {"shutdown_at": 5, "successor": "5a"}),
    ],
)
def test_a_key_loses_what_either_lost(
    ledger: Ledger, here: dict[str, object], there: dict[str, object], expected: dict[str, object]
) -> None:
    """A merge would leave a key working that the other store had ended."""
    ledger.keys[a_key().id] = a_key(**here)
    merged = merge_keys_into(ledger, a_key(name="older name", **there))
    assert merged.conflicts == ()
    assert ledger.keys[a_key().id] == a_key(**expected)
    assert restored(ledger) == [("key", a_key().id)]


@pytest.mark.parametrize(
    "ended", [{"revoked_at": 5, "revoked_why": RevokedWhy.LEAKED}, {"shutdown_at": 5, "successor": "5a00000000000002"}]
)
def test_no_backup_revives_a_key(ledger: Ledger, ended: dict[str, object]) -> None:
    """A key that leaked would work again once somebody restores a backup from before its revocation."""
    ledger.keys[a_key().id] = a_key(**ended)
    assert merge_keys_into(ledger, a_key()) == Merged(Changes())


def test_keys_that_differ_are_named(ledger: Ledger) -> None:
    """A merge would give a key the scopes of another, or a token the place of another."""
    ledger.keys.update({key.id: key for key in (a_key(1), a_key(2), a_key(3, app_id=OTHER.id))})
    ledger.tokens[a_token(4).id] = a_token(4)
    before = dict(ledger.keys)
    other = [
        a_key(1, verifier=bytes(32), revoked_at=5),
        a_key(2, scopes=frozenset({"USER_DELETE"}), revoked_at=5),
        a_key(3),
        a_key(4),
    ]
    merged = merge_keys_into(ledger, *other)
    assert [conflict.record for conflict in merged.conflicts] == other
    less = replace(before[other[1].id], revoked_at=5, revoked_why=RevokedWhy.IMPORTED)
    assert ledger.keys == {**before, less.id: less}


def test_an_app_never_has_more_than_ten_places(ledger: Ledger) -> None:
    """A merge of two stores would leave an app with more keys than it may have."""
    ledger.keys.update({key.id: key for key in map(a_key, range(8))})
    pair = a_key(20, successor=a_key(21).id, shutdown_at=NOW + 5), a_key(21)
    merged = merge_keys_into(ledger, *pair, a_key(22), a_key(23), a_key(24, expires_at=NOW), a_key(3))
    assert [conflict.record for conflict in merged.conflicts] == [a_key(23)]
    assert places(ledger.keys.values(), NOW) == MAX_ACTIVE_KEYS
    assert a_key(24).id in ledger.keys


def test_a_chain_of_successors_does_not_hide_keys(ledger: Ledger) -> None:
    """A file made by hand would bring in hundreds of working keys in one place."""
    chain = [a_key(number, successor=a_key(number + 1).id, shutdown_at=NOW + 5) for number in range(50)]
    merged = merge_keys_into(ledger, *chain)
    assert len(merged.changes.keys) == 2 * MAX_ACTIVE_KEYS
    assert sum(works(key, NOW) for key in ledger.keys.values()) == 2 * MAX_ACTIVE_KEYS


# Users and their tokens -----------------------------------------------------------------------------------------------


def test_users_and_tokens_come_as_they_are(ledger: Ledger) -> None:
    """A restored user would be somebody else upstream, or a token belong to another."""
    users = [User("new", APP.id, "x", switches=1, cut_at=5), User("nameless", APP.id)]
    tokens = [a_token(1), a_token(2, "new", revoked_at=5)]
    assert merge_users_into(ledger, *users).conflicts == ()
    assert merge_tokens_into(ledger, *tokens).conflicts == ()
    assert [ledger.users[APP.id, user.id] for user in users] == users
    assert list(ledger.tokens.values()) == tokens
    assert ledger.events == []
    assert merge_users_into(ledger, *users) == merge_tokens_into(ledger, *tokens) == Merged(Changes())


def test_users_and_tokens_lose_what_either_lost(ledger: Ledger) -> None:
    """A merge would let a user's tokens through that the other store had ended."""
    ledger.users[APP.id, "plain"] = User("plain", APP.id, cut_at=9)
    ledger.tokens.update({token.id: token for token in (a_token(1), a_token(2, revoked_at=5), a_token(3))})
    merge_users_into(ledger, User("someone", APP.id, switches=1), User("plain", APP.id, "named", cut_at=5))
    merge_tokens_into(ledger, a_token(1, revoked_at=7), a_token(2), a_token(3))
    assert list(ledger.users.values()) == [
        User("someone", APP.id, "ex", switches=1),
        User("plain", APP.id, "named", cut_at=9),
    ]
    assert [token.revoked_at for token in ledger.tokens.values()] == [7, 5, None]
    assert restored(ledger) == [("user", "someone"), ("user_token", a_token(1).id)]


def test_a_deleted_user_stays_deleted(ledger: Ledger) -> None:
    """A user who was deleted would come back with a backup, or the name that was to be erased."""
    ledger.users[APP.id, "gone"] = User("gone", APP.id, cut_at=DELETED)
    merged = merge_users_into(
        ledger, User("someone", APP.id, cut_at=DELETED), User("gone", APP.id, "old name"), User("new", APP.id, "other")
    )
    assert merged.conflicts == ()
    assert list(ledger.users.values()) == [
        User("someone", APP.id, None, cut_at=DELETED),
        User("gone", APP.id, None, cut_at=DELETED),
        User("new", APP.id, "other"),
    ]
    assert restored(ledger) == [("user", "someone")]


def test_a_refreshed_token_stays_refreshed(ledger: Ledger) -> None:
    """A merge would give a refreshed token its old end back, or tear it out of its family."""
    ledger.tokens.update({token.id: token for token in (a_token(1), a_token(2, shutdown_at=5, family="f" * 16))})
    merged = merge_tokens_into(ledger, a_token(1, shutdown_at=7, family="e" * 16), a_token(2))
    assert merged.conflicts == ()
    assert [(token.shutdown_at, token.family) for token in ledger.tokens.values()] == [(7, "e" * 16), (5, "f" * 16)]
    assert restored(ledger) == [("user_token", a_token(1).id)]


def an_item(kind: ItemKind = ItemKind.INCIDENT, text: str = "{}", owner: str = APP.id) -> Item:
    """Something that stands round the keys."""
    return Item(kind, f"{owner[:2]}01", owner, text)


def test_items_come_as_they_are(ledger: Ledger) -> None:
    """What stands round the keys would be lost with a move."""
    items = [an_item(), an_item(ItemKind.NOTICE)]
    assert merge_items_into(ledger, *items).conflicts == ()
    assert list(ledger.items.values()) == items
    assert merge_items_into(ledger, *items) == Merged(Changes())


def test_an_item_that_is_here_stays(ledger: Ledger) -> None:
    """An old backup would open a closed incident, or send a mail once more."""
    ledger.items[an_item().key] = an_item(text="later")
    merged = merge_items_into(ledger, an_item())
    assert [conflict.record for conflict in merged.conflicts] == [an_item()]
    assert ledger.items == {an_item().key: an_item(text="later")}
    stray = an_item(owner="00" * 12)
    assert [conflict.record for conflict in merge_items_into(ledger, stray).conflicts] == [stray]


@pytest.mark.parametrize(("here", "there", "end"), [(None, 5, 5), (5, None, 5), (7, 5, 5), (None, None, None)])
def test_a_developers_token_loses_what_either_lost(
    ledger: Ledger, here: int | None, there: int | None, end: int | None
) -> None:
    """A token of a developer that was revoked would work again after a merge."""
    person = "0c" * 12
    token = DeveloperToken("0c01", person, "dev_00", bytes(32), 1, NOW + DAY, "operator:ada")
    mine, theirs = (token_item(replace(token, revoked_at=end)) for end in (here, there))
    ledger.items[mine.key] = mine
    merge_items_into(ledger, theirs)
    assert ledger.items == {mine.key: token_item(replace(token, revoked_at=end))}
    told = [(AuditAction.DEVELOPER_TOKEN_REVOKED, person, "0c01", "dev_00")] if here is None and end else []
    assert [(each.action, each.app_id, each.subject_id, each.about) for each in ledger.events] == told


@pytest.mark.parametrize(
    ("first", "own", "end"), [(5, None, 5), (5, 3, 3), (5, 7, 5), (None, 7, 7), (None, None, None)]
)
def test_a_token_does_not_outlive_what_it_descends_from_here(
    ledger: Ledger, first: int | None, own: int | None, end: int | None
) -> None:
    """What was made with a stolen token would come back from a backup."""
    token = DeveloperToken("0c01", "0c" * 12, "dev_00", bytes(32), 1, NOW + DAY, "operator:ada", first)
    child = replace(token, id="0c02", revoked_at=own, ancestors=("0c00", "0c01"))
    ledger.items[token_item(token).key] = token_item(token)
    assert merge_items_into(ledger, token_item(child)).conflicts == ()
    assert ledger.items[token_item(child).key] == token_item(replace(child, revoked_at=end))
    assert ledger.events == []  # what is new, the audit of its store tells of


def test_a_developers_token_comes_without_an_app(ledger: Ledger) -> None:
    """Developers would have to be given new tokens after a move."""
    token = token_item(DeveloperToken("0c01", "0c" * 12, "dev_00", bytes(32), 1, NOW + DAY, "operator:ada"))
    assert merge_items_into(ledger, token).conflicts == ()
    assert ledger.items == {token.key: token}


def test_users_that_differ_are_named(ledger: Ledger) -> None:
    """An external id would mean two users of an app."""
    users = [
        User("other", APP.id, "ex", switches=1),
        User("someone", APP.id, "another", cut_at=5),
        User("third", APP.id, "another"),
    ]
    merged = merge_users_into(ledger, *users)
    assert [conflict.record for conflict in merged.conflicts] == users[:2]
    assert list(ledger.users.values()) == [User("someone", APP.id, "ex", cut_at=5), users[2]]


def test_tokens_that_differ_are_named(ledger: Ledger) -> None:
    """A token would belong to another user than the one it was made for, or to one who is not there."""
    ledger.tokens.update({token.id: token for token in (a_token(1), a_token(2))})
    ledger.keys[a_key(3).id] = a_key(3)
    before = dict(ledger.tokens)
    tokens = [
        a_token(1, verifier=bytes(32), revoked_at=5),
        a_token(2, expires_at=NOW, revoked_at=5),
        a_token(3),
        a_token(4, "nobody"),
    ]
    merged = merge_tokens_into(ledger, *tokens)
    assert [conflict.record for conflict in merged.conflicts] == tokens
    assert ledger.tokens == {**before, a_token(2).id: a_token(2, revoked_at=5)}


def test_nothing_comes_without_its_app() -> None:
    """Records of an app that could not be merged would hang in the air."""
    nothing = Snapshot(NOW)
    for merged in (
        merge_keys(nothing, [a_key()], WHO),
        merge_users(nothing, [User("someone", APP.id)], WHO),
        merge_tokens(nothing, [a_token()], WHO),
    ):
        assert (merged.changes, len(merged.conflicts)) == (Changes(), 1)
