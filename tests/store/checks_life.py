"""Checks of the lives of keys, users and apps: they end, are renewed and counted by the rules, whoever acts at once."""

import asyncio
from dataclasses import replace

from gateway.core.ledger import ActReason, Done
from gateway.core.lifecycle import places
from gateway.core.records import MAX_ACTIVE_KEYS, KeyRecord, KeyState, User, key_state, user_token_fault
from gateway.core.wishes import DAY
from tests.store import acts
from tests.store.acts import do, look, refused
from tests.store.place import (
    APP,
    KEY_ID,
    NEW_KEY,
    OTHER_APP,
    TOKEN_ID,
    USER_ID,
    Place,
    filled,
    opened,
    the_app,
    the_key,
    the_user,
    working,
)


async def check_a_revocation_ends_a_key(place: Place) -> None:
    """A leaked key would go on working after it was revoked, or a second revocation give it more time."""
    async with filled(place) as store:
        (done,) = await do(store, acts.revoke(APP.id, KEY_ID))
        assert done.replicated
        ended = await the_key(store)
        assert ended.revoked_at == done.at
        assert key_state(ended, done.at) is KeyState.REVOKED
        await do(store, acts.revoke(APP.id, KEY_ID))
        assert await the_key(store) == ended


async def check_all_keys_of_an_app_end(place: Place) -> None:
    """After a leak of everything some keys of the app would go on working, or other apps' end too."""
    async with filled(place) as store:
        await do(store, *(acts.make_key(APP.id, f"5a00000000f0{number:04x}") for number in range(9)))
        await do(store, acts.rotate(APP.id, KEY_ID, NEW_KEY), acts.make_key(OTHER_APP.id, "7b00000000000001"))
        (done,) = await do(store, acts.revoke_all(APP.id))
        assert len(done.changes.keys) == 11
        assert await working(store) == set()
        assert await working(store, OTHER_APP.id) == {"7b00000000000001"}


async def check_a_rotation_at_the_cap(place: Place) -> None:
    """An app with ten keys could not renew one, or get an eleventh by it."""
    async with filled(place) as store:
        await do(store, *(acts.make_key(APP.id, f"5a00000000f0{number:04x}") for number in range(9)))
        (done,) = await do(store, acts.rotate(APP.id, KEY_ID, NEW_KEY, shutdown=DAY // 2))
        old, new = await the_key(store), await the_key(store, NEW_KEY)
        assert (old.successor, old.shutdown_at, old.revoked_at) == (NEW_KEY, done.at + DAY // 2, None)
        assert (new.name, new.scopes, new.expires_at) == (old.name, old.scopes, done.at + DAY)
        assert key_state(old, done.at) is KeyState.ROTATING
        await refused(store, acts.rotate(APP.id, KEY_ID, "5a000000000000c1"), ActReason.ALREADY_ROTATED)
        await refused(store, acts.rotate(APP.id, NEW_KEY, "5a000000000000c1"), ActReason.ROTATION_IN_PROGRESS)
        await refused(store, acts.make_key(APP.id, "5a000000000000c1"), ActReason.TOO_MANY_KEYS)
        await do(store, acts.revoke(APP.id, KEY_ID))
        await refused(store, acts.make_key(APP.id, "5a000000000000c1"), ActReason.TOO_MANY_KEYS)
        await do(store, acts.rotate(APP.id, NEW_KEY, "5a000000000000c1", shutdown=0))
        assert len(await working(store)) == 10
        await refused(store, acts.make_key(APP.id, "5a000000000000c2"), ActReason.TOO_MANY_KEYS)


async def check_rotations_at_once_give_one_successor(place: Place) -> None:
    """A key would have two successors, of which one is known to nobody."""
    async with filled(place) as store, opened(place) as other:
        rivals = [f"5a00000000001{number:03x}" for number in range(12)]
        results = await asyncio.gather(
            *(
                (store, other)[number % 2].act([acts.rotate(APP.id, KEY_ID, rival)])
                for number, rival in enumerate(rivals)
            )
        )
        won = [rival for rival, (result,) in zip(rivals, results, strict=True) if isinstance(result, Done)]
        assert len(won) == 1
        assert (await the_key(store)).successor == won[0]
        assert await working(store) == {KEY_ID, won[0]}


async def check_never_more_than_ten(place: Place) -> None:
    """An app would have more keys than it may, by asking at several gateways at once."""
    wishes = [f"5a0000000001{number:04x}" for number in range(60)]
    async with filled(place) as store, opened(place) as second, opened(place) as third:
        stores = (store, second, third)
        calls = [[acts.make_key(APP.id, key_id) for key_id in wishes[start : start + 3]] for start in range(0, 60, 3)]
        results = await asyncio.gather(*(stores[number % 3].act(call) for number, call in enumerate(calls)))
        done = [isinstance(result, Done) for results_of_call in results for result in results_of_call]
        assert done.count(True) == MAX_ACTIVE_KEYS - 1
        assert await working(store) == {KEY_ID, *(wish for wish, kept in zip(wishes, done, strict=True) if kept)}
        seen = await look(third, APP.id)
        assert places(seen.keys.values(), seen.now) == MAX_ACTIVE_KEYS


async def check_ended_keys_leave_their_places(place: Place) -> None:
    """An app with ten expired keys could not get a new one; or its history, kept for good, would slow each act."""
    async with filled(place) as store:
        old = tuple(
            KeyRecord(f"5a0000000002{number:04x}", APP.id, "old", frozenset({"A"}), bytes(32), 1, 2)
            for number in range(200)
        )
        await do(store, acts.keep(APP, keys=old))
        seen = await look(store, APP.id)
        assert set(seen.keys) == {KEY_ID}
        await do(store, *(acts.make_key(APP.id, f"5a00000000f0{number:04x}") for number in range(9)))
        await refused(store, acts.make_key(APP.id, NEW_KEY), ActReason.TOO_MANY_KEYS)
        seen = await look(store, APP.id, keys=(old[7].id,))
        assert seen.keys[old[7].id] == old[7]
        assert len(seen.keys) == 11


async def check_users_are_apart(place: Place) -> None:
    """Only one user of an app could be without an external id, or a customer of one app would be another's."""
    async with filled(place) as store:
        for number in range(3):
            await do(store, acts.make_token(APP.id, f"5a0000000000001{number}", f"5a9{number}"))
            assert await the_user(store, APP.id, f"5a9{number}") == User(f"5a9{number}", APP.id)
        await do(store, acts.make_token(OTHER_APP.id, "7b00000000000011", USER_ID, "customer-17"))
        assert await the_user(store, OTHER_APP.id) == User(USER_ID, OTHER_APP.id, "customer-17")
        await do(store, acts.switch_user(APP.id, USER_ID, disabled=True))
        assert await the_user(store, OTHER_APP.id) == User(USER_ID, OTHER_APP.id, "customer-17")
        user = await the_user(store)
        assert user is not None
        assert user.disabled
        assert replace(user, switches=0) == User(USER_ID, APP.id, "customer-17")


async def check_an_app_and_a_user_are_disabled_and_enabled(place: Place) -> None:
    """A customer's access could not be stopped, or not be given back."""
    async with filled(place) as store, opened(place) as other:
        for disabled in (True, False, True, False):
            await do(store, acts.switch_app(APP.id, disabled=disabled))
            await do(other, acts.switch_user(APP.id, USER_ID, disabled=disabled))
            key, token = await other.find_key(KEY_ID), await store.find_user_token(TOKEN_ID)
            assert key is not None
            assert token is not None
            assert key.app == token.app
            assert key.app.disabled is token.user.disabled is disabled
        assert await the_app(store, OTHER_APP.id) == OTHER_APP


async def check_tokens_of_a_user_or_an_app_are_ended(place: Place) -> None:
    """A lost telephone's token would go on working, or no new one could be had."""
    async with filled(place) as store:
        for number, act in enumerate([acts.end_user_tokens(APP.id, USER_ID), acts.end_app_tokens(APP.id)]):
            new = f"5a0000000000b00{number}"
            await do(store, act, acts.make_token(APP.id, new, USER_ID))
            now = (await look(store, APP.id)).now
            for token_id, faulty in ((TOKEN_ID, True), (new, False)):
                found = await store.find_user_token(token_id)
                assert found is not None
                assert (user_token_fault(found.record, found.user, found.app, now) is not None) is faulty
