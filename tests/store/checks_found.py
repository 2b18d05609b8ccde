"""Checks of what is kept and found again: whole, only by its own id, and after a restart."""

from dataclasses import replace
from typing import Final

import pytest

from gateway.core.ledger import ActReason
from gateway.core.records import App, KeyRecord, RevokedWhy, User, UserTokenRecord
from gateway.core.wishes import DAY
from gateway.store.contract import FoundKey, FoundUserToken, StoreUnavailable
from tests.store import acts
from tests.store.acts import do, look, refused, verifier_of
from tests.store.place import (
    APP,
    KEY_ID,
    NOBODYS_APP,
    OTHER_APP,
    TOKEN_ID,
    USER,
    USER_ID,
    Place,
    everything,
    filled,
    hearing,
    listed,
    opened,
    the_app,
    the_key,
    the_token,
    the_user,
)

# Ids as they may be imported: any 8 to 64 hex digits, of an app whose id begins otherwise.
LEGACY_IDS: Final = ["01234567", "0123456789abc", "7b" + "0" * 13, "5a" + "e" * 61, "fe" * 32]
# Names that stores, their protocols or their files could trip over.
NAMES: Final = [
    "x",
    "株式会社 søn 🦜 e\u0301 \U0010ffff",
    "'; DROP TABLE app; --",
    '{"name": "\\u0000"}',
    "%s {0} $1 ?1",
    " leading and trailing ",
    "n" * 100,
    "🦜" * 100,
    "אבג\u200f",
]


async def check_what_was_created_is_found(place: Place) -> None:
    """A credential that was handed out would not work, or with other rights than were given."""
    async with filled(place) as store:
        now = (await look(store, APP.id)).now
        made = (await the_key(store)).created_at
        scopes = frozenset({"USER_READ", "USER_LINK"})
        key = KeyRecord(KEY_ID, APP.id, "nightly export", scopes, verifier_of(KEY_ID), made, made + DAY, "tester")
        assert await store.find_key(KEY_ID) == FoundKey(key, APP)
        assert now - 60_000 < made <= now
        made = (await the_token(store)).created_at
        token = UserTokenRecord(TOKEN_ID, APP.id, USER_ID, verifier_of(TOKEN_ID), made, made + DAY)
        assert await store.find_user_token(TOKEN_ID) == FoundUserToken(token, USER, APP)
        seen = await look(store, APP.id, user_id=USER_ID, external_id="customer-17", tokens=(TOKEN_ID,))
        assert (seen.app, dict(seen.keys), dict(seen.users)) == (APP, {KEY_ID: key}, {USER_ID: USER})
        assert (dict(seen.tokens), seen.taken) == ({TOKEN_ID: token}, frozenset())
        assert await the_app(store, OTHER_APP.id) == OTHER_APP


async def check_what_was_not_created_is_not_found(place: Place) -> None:
    """A made-up id would find somebody's record: its neighbour's, the other kind's, or that of another app."""
    made_up = ["", "0" * 16, "5a00000000000000", "5a00000000000003", "f" * 16, "5A00000000000001", "' OR 1=1 --", "%"]
    async with opened(place) as store:
        assert await store.find_key(KEY_ID) is None
        assert await store.find_user_token(TOKEN_ID) is None
        assert await everything(store) == []
    async with filled(place) as store:
        for identifier in [
            *made_up,
            "5a",
            KEY_ID[:-1],
            KEY_ID + "0",
            KEY_ID + "\0",
            "*",
            "5a*",
            "{5a}:x",
            "\ud800"[:0],
        ]:
            assert await store.find_key(identifier) is None
            assert await store.find_user_token(identifier) is None
            assert await the_user(store, APP.id, identifier) is None
            assert await store.last_used([identifier]) == {}
        assert await store.find_key(TOKEN_ID) is None
        assert await store.find_user_token(KEY_ID) is None
        assert await store.find_key(APP.id) is None
        assert await the_app(store, NOBODYS_APP) is None


async def check_an_act_sees_its_own_app_only(place: Place) -> None:
    """An act on one app would change or count what is another's."""
    async with filled(place) as store:
        asked = {"keys": (KEY_ID, "5a000000000000ff"), "tokens": (TOKEN_ID, "5a000000000000fe")}
        seen = await look(store, OTHER_APP.id, user_id=USER_ID, external_id="customer-17", roles=True, **asked)
        assert (seen.app, seen.keys, seen.users, seen.tokens, seen.roles) == (OTHER_APP, {}, {}, {}, {})
        assert seen.taken == {KEY_ID, TOKEN_ID}
        seen = await look(store, APP.id, keys=(TOKEN_ID,), tokens=(KEY_ID,))
        assert seen.taken == {KEY_ID, TOKEN_ID}
        assert (set(seen.keys), set(seen.tokens)) == ({KEY_ID}, set())
        nothing = await look(store, NOBODYS_APP, keys=(KEY_ID,))
        assert (nothing.app, nothing.keys, nothing.taken) == (None, {}, {KEY_ID})


async def check_looks_come_in_the_order_asked_for(place: Place) -> None:
    """An import would judge the rows of one app by the keys of another."""
    async with filled(place) as store:
        ids = [OTHER_APP.id, APP.id, NOBODYS_APP, APP.id, OTHER_APP.id] * 3
        seen = await store.look([acts.asking(app_id) for app_id in ids])
        assert [each.app for each in seen] == [OTHER_APP, APP, None, APP, OTHER_APP] * 3
        assert [len(each.keys) for each in seen] == [0, 1, 0, 1, 0] * 3
        assert await store.look([]) == []
        assert await store.act([]) == []


async def check_all_is_there_after_a_restart(place: Place) -> None:
    """Keys would be lost, or revoked ones revived, by starting the gateway anew."""
    async with filled(place) as store:
        await do(store, acts.revoke(APP.id, KEY_ID, RevokedWhy.LEAKED))
        await store.note_used({KEY_ID: 1400})
        before = await everything(store)
        identity = await store.identity()
    async with opened(place) as store:
        assert await everything(store) == before
        assert (await the_key(store)).revoked_why is RevokedWhy.LEAKED
        assert await store.last_used([KEY_ID]) == {KEY_ID: 1400}
        assert await store.identity() == identity


async def check_every_field_is_kept(place: Place) -> None:
    """An export would lose what a record says, or an import alter it."""
    app = replace(APP, account="a/c 7", switches=2**40 + 1, cut_at=2**41)
    key = KeyRecord(
        KEY_ID,
        APP.id,
        "n",
        frozenset({"A", "B_C", "D"}),
        bytes(range(32)),
        2**41 - 1,
        2**41,
        created_by="cli:søn",
        shutdown_at=2**41 - 2,
        revoked_at=2**41 - 3,
        revoked_why=RevokedWhy.BY_HOLDER,
        successor="5a00000000000003",
    )
    bare = KeyRecord("5a00000000000004", APP.id, "n", frozenset({"A"}), bytes(32), 1, 2)
    user = User("a~!b:c/{d}", APP.id, "søn\u2028 🦜 {}:'\"", switches=3, cut_at=2**41)
    token = UserTokenRecord(TOKEN_ID, APP.id, user.id, b"\xff" * 32, 5, 6, revoked_at=4)
    async with opened(place) as store:
        await do(store, acts.keep(app, keys=(key, bare), users=(user,), tokens=(token,)))
        assert await store.find_key(KEY_ID) == FoundKey(key, app)
        assert await store.find_key(bare.id) == FoundKey(bare, app)
        assert await store.find_user_token(TOKEN_ID) == FoundUserToken(token, user, app)
        assert (await look(store, APP.id, external_id=user.external_id)).users == {user.id: user}
    async with opened(place) as store:
        assert (await store.act([acts.keep(app, keys=(key, bare), users=(user,), tokens=(token,))]))[0].changes == (
            acts.NOTHING
        )


async def check_names_of_every_kind_are_kept(place: Place) -> None:
    """A customer's name would come back altered, or break a list for everybody."""
    async with opened(place) as store:
        for number, name in enumerate(NAMES):
            app = App(f"{number:02x}0000000000000000000a01", name, "eu", account=name)
            key = KeyRecord(f"{number:02x}00000000000001", app.id, name, frozenset({"A"}), bytes(32), 1, 2, name)
            await do(store, acts.keep(app, keys=(key,)))
            assert await store.find_key(key.id) == FoundKey(key, app)
        assert sorted(app.name for app in await listed(store.apps())) == sorted(NAMES)
        assert sorted(key.name for key in await listed(store.keys())) == sorted(NAMES)


async def check_ids_from_elsewhere_are_found(place: Place) -> None:
    """Tokens that existed before the gateway would not work."""
    async with filled(place) as store:
        keys = tuple(
            KeyRecord(identifier, OTHER_APP.id, "legacy", frozenset({"A"}), verifier_of(identifier), 1, 2)
            for identifier in LEGACY_IDS
        )
        tokens = tuple(
            UserTokenRecord(identifier[::-1], APP.id, USER_ID, verifier_of(identifier), 1, 2)
            for identifier in LEGACY_IDS
        )
        await do(store, acts.keep(OTHER_APP, keys=keys), acts.keep(APP, users=(USER,), tokens=tokens))
        for key, token in zip(keys, tokens, strict=True):
            assert await store.find_key(key.id) == FoundKey(key, OTHER_APP)
            assert await store.find_user_token(token.id) == FoundUserToken(token, USER, APP)
            assert await store.find_user_token(key.id) is None
            await refused(store, acts.make_key(APP.id, token.id), ActReason.ID_TAKEN)
            await refused(store, acts.make_key(APP.id, key.id), ActReason.ID_TAKEN)
            await refused(store, acts.make_token(APP.id, key.id, USER_ID), ActReason.ID_TAKEN)
        assert {key.id for key in await listed(store.keys(OTHER_APP.id))} == set(LEGACY_IDS)


async def check_the_identity_is_one_for_all(place: Place) -> None:
    """A gateway could not tell its own store from another, or from one that lost its data."""
    async with opened(place) as store, opened(place) as other:
        identity = await store.identity()
        assert len(bytes.fromhex(identity)) == 16
        await do(store, acts.make_app(APP))
        assert await store.identity() == await other.identity() == identity
        assert {chain.partition("/")[0] for chain in await store.chains()} == {identity}


async def check_last_use_moves_forward_only(place: Place) -> None:
    """A key in use would look unused, because two gateways report in another order than they saw it."""
    other_key = "7b00000000000003"
    async with filled(place) as store:
        await do(store, acts.make_key(OTHER_APP.id, other_key))
        await hearing(store)
        before = (store.revision(), await everything(store))
        await store.note_used({})
        assert await store.last_used([]) == {}
        assert await store.last_used([KEY_ID, other_key]) == {}
        await store.note_used({KEY_ID: 1400, other_key: 1300})
        await store.note_used({KEY_ID: 1200})
        assert await store.last_used([KEY_ID, other_key]) == {KEY_ID: 1400, other_key: 1300}
        await store.note_used({KEY_ID: 1500})
        assert await store.last_used([KEY_ID, "5a000000000000ff"]) == {KEY_ID: 1500}
        assert (store.revision(), await everything(store)) == before


async def check_readiness_answers(place: Place) -> None:
    """The gateway would never report ready, or report warnings of a store that is well."""
    async with opened(place) as store:
        await hearing(store)
        try:
            await store.ping()
        except StoreUnavailable as error:
            pytest.fail(str(error))
