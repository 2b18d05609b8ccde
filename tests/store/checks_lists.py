"""Checks of lists, roles, the audit's chains and seals, and leases."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

from gateway.core.audit import AuditAction, AuditEvent, Numbered, Seal
from gateway.core.records import App, Developer, KeyRecord, Role, User, UserTokenRecord
from gateway.store.contract import Store
from tests.store import acts
from tests.store.acts import do, look, verifier_of
from tests.store.place import (
    APP,
    KEY_ID,
    NOBODYS_APP,
    OTHER_APP,
    PATIENCE,
    Place,
    filled,
    listed,
    opened,
    the_events,
)

MANY: Final = 1203  # more than any store reads in one piece
_FOREIGN: Final = f"{'ab' * 16}/7b"  # a chain of another store


async def check_lists_are_whole(place: Place) -> None:
    """An export, or a search for what to revoke, would miss what did not fit on the first page."""
    async with opened(place) as store:
        apps, keys, users, tokens = await _many(store)
        for found, expected in (
            (await listed(store.apps()), apps),
            (await listed(store.keys()), keys),
            (await listed(store.users()), users),
            (await listed(store.user_tokens()), tokens),
        ):
            assert len(found) == len(expected)
            assert {record.id: record for record in found} == expected
        for app_id in (APP.id, OTHER_APP.id):
            of_app = [key for key in keys.values() if key.app_id == app_id]
            found_keys = await listed(store.keys(app_id))
            assert [key.created_at for key in found_keys] == sorted(key.created_at for key in of_app)
            assert {key.id for key in found_keys} == {key.id for key in of_app}
            users_of_app = {user.id for user in users.values() if user.app_id == app_id}
            assert {user.id for user in await listed(store.users(app_id))} == users_of_app
        assert await listed(store.keys(NOBODYS_APP)) == []
        assert await listed(store.users(NOBODYS_APP)) == []


async def check_keys_are_listed_oldest_first(place: Place) -> None:
    """A person could not tell the newest of an app's keys from the others, even after one was revoked or rotated."""
    async with opened(place) as store:
        made = [(app.id, at) for app in (APP, OTHER_APP) for at in (7, 1, 5, 5, 3)]
        for app in (APP, OTHER_APP):
            keys = tuple(
                KeyRecord(f"{number:016x}", app_id, "n", frozenset({"A"}), bytes(32), at, 2**41 - number)
                for number, (app_id, at) in enumerate(made)
                if app_id == app.id
            )
            await do(store, acts.keep(app, keys=keys))
        await do(store, acts.revoke(APP.id, f"{1:016x}"))
        found = await listed(store.keys())
        for app in (APP, OTHER_APP):
            assert [key.created_at for key in found if key.app_id == app.id] == [1, 3, 5, 5, 7]
            assert [key.created_at for key in await listed(store.keys(app.id))] == [1, 3, 5, 5, 7]


async def check_a_list_goes_on_while_others_write(place: Place) -> None:
    """An export of a busy store would fail, hold up revocations, or hide them from the gateway that exports."""
    async with opened(place) as store, opened(place) as other:
        _, keys, _, _ = await _many(store)
        listing = store.keys()
        first = await anext(listing)
        (done,) = await do(other, acts.revoke(first.app_id, first.id))
        found = await store.find_key(first.id)
        assert found is not None
        assert found.record.revoked_at == done.at
        rest = [key.id async for key in listing]
        assert {first.id, *rest} >= set(keys)
        abandoned = store.keys()
        await anext(abandoned)
        await _closed(abandoned)


async def check_roles_are_given_and_taken(place: Place) -> None:
    """A person who left would still end keys, or nobody could."""
    async with filled(place) as store:
        first, second = "a.b+c@example.com", "z'{}@example.org"
        await do(store, acts.grant(APP.id, first, Role.DEVELOPER), acts.grant(APP.id, second, Role.SPECTATOR))
        await do(store, acts.grant(OTHER_APP.id, first, Role.SPECTATOR))
        await do(store, acts.grant(APP.id, second, Role.DEVELOPER))
        assert set(await listed(store.developers(APP.id))) == {
            Developer(APP.id, first, Role.DEVELOPER),
            Developer(APP.id, second, Role.DEVELOPER),
        }
        await do(store, acts.remove(APP.id, first))
        seen = await look(store, APP.id, roles=True)
        assert dict(seen.roles) == {second: Role.DEVELOPER}
        assert (await look(store, APP.id)).roles == {}
    async with opened(place) as store:
        assert {(each.app_id, each.email) for each in await listed(store.developers())} == {
            (APP.id, second),
            (OTHER_APP.id, first),
        }
        assert await listed(store.developers(NOBODYS_APP)) == []
        for event in await the_events(store):
            assert "@" not in repr(event)


async def check_many_roles_are_listed(place: Place) -> None:
    """A large organisation's list of people would end early."""
    emails = {f"person{number}@example.com" for number in range(MANY)}
    async with filled(place) as store:
        await do(store, *(acts.grant(APP.id, email, Role.SPECTATOR) for email in sorted(emails)))
        assert {each.email for each in await listed(store.developers(APP.id))} == emails


async def check_events_are_numbered_without_a_gap(place: Place) -> None:
    """A removed event could not be told from one that never was, or the audit of a busy store be cut off."""
    async with filled(place) as store, opened(place) as other:
        await asyncio.gather(
            *(
                do((store, other)[number % 2], *(acts.rename(APP.id, KEY_ID, f"{number} {part}") for part in range(40)))
                for number in range(30)
            )
        )
        events = await the_events(store)  # which looks at the numbers
        assert sum(each.event.action is AuditAction.KEY_RENAMED for each in events) == 1200
        chain = next(each.chain for each in events if each.event.app_id == APP.id)
        after = [event.number for event in await listed(store.events(chain, 1000))]
        assert after == list(range(1001, after[-1] + 1))
        assert [event async for event in store.events(chain, after[-1])] == []
        assert await listed(store.events(_FOREIGN)) == []


async def check_seals_follow_each_other(place: Place) -> None:
    """A seal could be put in twice or skip what somebody removed, and the audit would verify all the same."""
    async with filled(place) as store, opened(place) as other:
        chain = next(each.chain for each in await the_events(store) if each.event.app_id == APP.id)
        last = max(event.number for event in await listed(store.events(chain)))
        assert set(await store.unsealed()) == set(await store.chains())
        assert await store.last_seal(chain) is None
        first = Seal(chain, 1, 2, 1000, "d" * 64)
        second = Seal(chain, 3, last, 2000, "e" * 64, "signature", "signer")
        assert not await store.append_seal(second)
        assert not await store.append_seal(replace(first, first=2))
        assert sorted(await asyncio.gather(store.append_seal(first), other.append_seal(first))) == [False, True]
        assert chain in await store.unsealed()
        assert not await store.append_seal(replace(first, digest="f" * 64))
        assert await other.append_seal(second)
        assert not await store.append_seal(second)
        assert chain not in await store.unsealed()
        assert await store.last_seal(chain) == second
    async with opened(place) as store:
        assert await listed(store.seals(chain)) == [first, second]
        await do(store, acts.rename(APP.id, KEY_ID, "another"))
        assert chain in await store.unsealed()
        assert await store.last_seal(_FOREIGN) is None
        assert await listed(store.seals(_FOREIGN)) == []


async def check_many_seals_are_listed(place: Place) -> None:
    """An old store's audit would be verified only in its beginning."""
    async with filled(place) as store:
        seals = [Seal(_FOREIGN, number, number, number, f"{number:064x}") for number in range(1, MANY)]
        await store.keep_chain(_FOREIGN, _foreign_events(MANY), seals)
        assert await listed(store.seals(_FOREIGN)) == seals
        assert await store.last_seal(_FOREIGN) == seals[-1]


async def check_a_chain_of_another_store_is_kept_as_it_is(place: Place) -> None:
    """After a move the old audit would not verify, or the new one take over its numbers."""
    events = _foreign_events(30)
    seals = [Seal(_FOREIGN, 1, 10, 7, "d" * 64, "s", "k"), Seal(_FOREIGN, 11, 20, 8, "e" * 64)]
    async with filled(place) as store:
        own = await the_events(store)
        await store.keep_chain(_FOREIGN, events[:15], seals[:1])
        for _ in range(2):
            await store.keep_chain(_FOREIGN, events[10:], seals)
            other = [replace(each, event=replace(each.event, actor="somebody else")) for each in events]
            await store.keep_chain(_FOREIGN, other, [replace(seal, digest="f" * 64) for seal in seals])
            await store.keep_chain(_FOREIGN, [], [])
        assert await listed(store.events(_FOREIGN)) == events
        assert await listed(store.seals(_FOREIGN)) == seals
        assert _FOREIGN in await store.chains()
        assert _FOREIGN not in await store.unsealed()
        assert await store.last_seal(_FOREIGN) == seals[-1]
        assert [each for each in await the_events(store) if each.chain != _FOREIGN] == own
    async with opened(place) as store:
        await do(store, acts.rename(APP.id, KEY_ID, "another"))
        assert await listed(store.events(_FOREIGN)) == events


async def check_a_gap_shows_as_a_gap(place: Place) -> None:
    """An imported audit with a missing event would look whole."""
    events = [each for each in _foreign_events(20) if each.number != 7]
    async with opened(place) as store:
        await store.keep_chain(_FOREIGN, events, [])
        assert await listed(store.events(_FOREIGN)) == events
        assert await listed(store.events(_FOREIGN, 6)) == events[6:]


async def check_one_holds_a_lease(place: Place) -> None:
    """Two gateways would seal the audit at once, or none after one was killed."""
    async with opened(place) as store, opened(place) as other:
        assert await store.lease("seal", "one", 60)
        assert await store.lease("seal", "one", 60)
        assert not await other.lease("seal", "two", 60)
        assert await other.lease("another", "two", 60)
        answers = await asyncio.gather(
            *((store, other)[number % 2].lease("third", f"rival {number}", 60) for number in range(10))
        )
        assert answers.count(True) == 1
        assert await store.lease("brief", "one", 0.05)
        async with asyncio.timeout(PATIENCE):
            while not await other.lease("brief", "two", 60):
                pass
        assert not await store.lease("brief", "one", 60)


def _foreign_events(count: int) -> list[Numbered]:
    """Events as another store had them."""
    return [
        Numbered(
            _FOREIGN,
            number,
            AuditEvent(number, AuditAction.KEY_REVOKED, OTHER_APP.id, f"{number:016x}", "cli:søn", "cli", "leaked"),
        )
        for number in range(1, count + 1)
    ]


async def _many(
    store: Store,
) -> tuple[dict[str, App], dict[str, KeyRecord], dict[str, User], dict[str, UserTokenRecord]]:
    """Many of everything, two thirds of the keys and users in one app."""
    apps = {app.id: app for app in acts.apps(MANY)}
    apps |= {APP.id: APP, OTHER_APP.id: OTHER_APP}
    await do(store, *(acts.make_app(app) for app in apps.values()))
    keys, users, tokens = {}, {}, {}
    for number in range(MANY):
        app = OTHER_APP if number % 3 == 0 else APP
        identifier = f"{app.id[:2]}{(number * 7919) % 65536:014x}"
        keys[identifier] = KeyRecord(
            identifier, app.id, f"{number}", frozenset({"A"}), verifier_of(identifier), number // 2, number // 2 + 9
        )
        user = User(f"{app.id[:2]}{number:06x}", app.id, f"customer {number}" if number % 5 else None)
        users[user.id] = user
        tokens[f"{identifier}0"] = UserTokenRecord(f"{identifier}0", app.id, user.id, verifier_of(identifier), 1, 2)
    calls = [
        acts.keep(APP if key.app_id == APP.id else OTHER_APP, keys=(key,), users=(user,), tokens=(token,))
        for key, user, token in zip(keys.values(), users.values(), tokens.values(), strict=True)
    ]
    await do(store, *calls)
    return apps, keys, users, tokens


async def _closed(listing: AsyncIterator[KeyRecord]) -> None:
    """Give up a list that was begun."""
    close = getattr(listing, "aclose", None)
    if close is not None:
        await close()
