"""Checks of what stands round the keys: items, kept and dropped in the act that they belong to, and counts of uses."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.ledger import Act, ActReason, ActRefused, Asked, Changes, Done, Item, ItemKey, ItemKind, Snapshot
from gateway.core.people import person_id
from gateway.core.records import DELETED, User, UserTokenRecord
from gateway.core.wishes import DAY
from gateway.store.contract import REFUSED, REQUESTS, USE_DAYS, FoundUser
from tests.store import acts
from tests.store.acts import do, look
from tests.store.place import (
    APP,
    KEY_ID,
    NEW_TOKEN,
    NOBODYS_APP,
    OTHER_APP,
    TOKEN_ID,
    USER,
    USER_ID,
    Place,
    filled,
    heard,
    hearing,
    listed,
    opened,
    the_events,
    the_token,
    the_user,
)

CODE: Final = Item(ItemKind.CODE, f"{APP.id[:2]}c0de", APP.id, '{"søn": "🦜"}', ends_at=1)
TODAY: Final = 20_000
MANY: Final = 1203  # more than any store reads in one piece


def keep(*items: Item, dropped: tuple[ItemKey, ...] = (), owner: str = APP.id) -> Act:
    """An act that keeps items and drops others, with one event."""

    def decide(seen: Snapshot) -> Changes:
        event = AuditEvent(seen.now, AuditAction.CODE_CREATED, owner, "subject", "tester", "suite")
        return Changes(items=items, dropped=dropped, events=(event,))

    return Act(Asked(owner, items=(*(item.key for item in items), *dropped)), decide)


def spend(key: ItemKey, event: AuditEvent) -> Act:
    """An act that drops an item, if it is there."""

    def decide(seen: Snapshot) -> Changes:
        if key not in seen.items:
            raise ActRefused(ActReason.CODE_INVALID, "It is not there.")
        return Changes(dropped=(key,), events=(replace(event, at=seen.now),))

    return Act(Asked(APP.id, items=(key,)), decide)


def change_token(token_id: str, change: Callable[[UserTokenRecord], UserTokenRecord]) -> Act:
    """An act that changes a user token."""
    asked = Asked(APP.id, tokens=(token_id,))
    return Act(asked, lambda seen: Changes(tokens=(change(seen.tokens[token_id]),)))


def change_user(change: Callable[[User], User]) -> Act:
    """An act that changes the user."""
    return Act(Asked(APP.id, user_id=USER_ID), lambda seen: Changes(users=(change(seen.users[USER_ID]),)))


async def check_items_are_what_was_kept(place: Place) -> None:
    """What stands round the keys would be lost, be another's, or come back changed."""
    person = person_id("ann@example.com")
    theirs = Item(ItemKind.DEVELOPER_TOKEN, f"{person[:2]}01", person, "{}")
    async with filled(place) as store:
        await do(store, keep(CODE), keep(theirs, owner=person))
        assert await store.find_item(*CODE.key) == CODE
        assert await store.find_item(*theirs.key) == theirs
        assert await store.find_item(ItemKind.INCIDENT, CODE.id) is None
        seen = (await store.look([Asked(APP.id, items=(CODE.key, (ItemKind.FAMILIES, CODE.id)))]))[0]
        assert seen.items == {CODE.key: CODE}
        assert (await store.look([Asked(person, items=(theirs.key,))]))[0].items == {theirs.key: theirs}
        assert (await look(store, APP.id)).items == {}
        changed = replace(CODE, text="other", ends_at=None)
        await do(store, keep(changed))
        assert await store.find_item(*CODE.key) == changed
        await do(store, keep(dropped=(CODE.key,)))
        assert await store.find_item(*CODE.key) is None
        await do(store, keep(dropped=(CODE.key,)))  # is nothing, once it is gone
        assert await store.find_item(*theirs.key) == theirs


async def check_items_are_listed(place: Place) -> None:
    """A list would show another's things, or leave some out."""
    mine = {Item(ItemKind.INCIDENT, f"{APP.id[:2]}{number:04x}", APP.id, str(number), number) for number in range(12)}
    others = {Item(ItemKind.INCIDENT, f"{OTHER_APP.id[:2]}{number:04x}", OTHER_APP.id, "x") for number in range(3)}
    notice = Item(ItemKind.NOTICE, f"{APP.id[:2]}0001", APP.id, "notice")
    async with filled(place) as store:
        assert await listed(store.items(ItemKind.INCIDENT)) == []
        await do(store, keep(*mine), keep(*others, owner=OTHER_APP.id), keep(notice))
        found = await listed(store.items(ItemKind.INCIDENT))
        assert len(found) == len(mine | others)
        assert set(found) == mine | others
        assert set(await listed(store.items(ItemKind.INCIDENT, APP.id))) == mine
        assert await listed(store.items(ItemKind.INCIDENT, NOBODYS_APP)) == []
        assert await listed(store.items(ItemKind.NOTICE)) == [notice]
        await do(store, keep(dropped=tuple(item.key for item in mine)))
        assert set(await listed(store.items(ItemKind.INCIDENT))) == others


async def check_lists_of_items_are_whole(place: Place) -> None:
    """An incident or a notice would be missed because it did not fit on the first page."""
    many = [Item(ItemKind.NOTICE, f"{APP.id[:2]}{number:06x}", APP.id, "x" * 100) for number in range(MANY)]
    async with filled(place) as store:
        await do(store, keep(*many))
        for found in (await listed(store.items(ItemKind.NOTICE)), await listed(store.items(ItemKind.NOTICE, APP.id))):
            assert len(found) == MANY
            assert set(found) == set(many)


async def check_texts_of_items_come_back_as_they_were(place: Place) -> None:
    """An incident with a hundred sightings, or one with strange texts, could not be read or written again."""
    texts = ["", "{}", "\x00", "søn 🦜 \u2028", "'; --", '"\\' * 100, "x" * 2_000_000]
    async with filled(place) as store:
        for number, text in enumerate(texts):
            item = Item(ItemKind.INCIDENT, f"{APP.id[:2]}{number:04x}", APP.id, text)
            await do(store, keep(item))
            assert await store.find_item(*item.key) == item
            assert item in await listed(store.items(ItemKind.INCIDENT, APP.id))


async def check_an_act_sees_whose_an_item_is(place: Place) -> None:
    """A rule could not tell that what it asked for belongs to another app, and would change it."""
    neighbour = replace(APP, id=f"{APP.id[:2]}0000000000000000000bbb")
    async with filled(place) as store:
        await do(store, acts.make_app(neighbour), keep(CODE))
        seen = await look(store, neighbour.id, items=(CODE.key,))
        assert seen.items == {CODE.key: CODE}
        assert seen.items[CODE.key].owner == APP.id


async def check_an_item_is_spent_once(place: Place) -> None:
    """Of two that present one code at the same moment both would get a token."""
    event = AuditEvent(0, AuditAction.CODE_CREATED, APP.id, CODE.id, "tester", "spent")
    async with filled(place) as store, opened(place) as second:
        await do(store, keep(CODE))
        tries = [one.act([spend(CODE.key, event)]) for one in [store, second] * 25]
        outcomes = [outcome for (outcome,) in await asyncio.gather(*tries)]
        assert sum(isinstance(outcome, Done) for outcome in outcomes) == 1
        assert {outcome.reason for outcome in outcomes if isinstance(outcome, ActRefused)} == {ActReason.CODE_INVALID}
        assert [each.event.source for each in await the_events(store)].count("spent") == 1


async def check_a_refused_act_keeps_no_item(place: Place) -> None:
    """Half of an act would be kept."""

    def decide(_: Snapshot) -> Changes:
        raise ActRefused(ActReason.CODE_INVALID, "No.")

    async with filled(place) as store:
        outcomes = await store.act([keep(CODE), Act(Asked(APP.id, items=(CODE.key,)), decide)])
        assert isinstance(outcomes[1], ActRefused)
        assert await store.find_item(*CODE.key) == CODE


async def check_what_ended_long_ago_is_forgotten(place: Place) -> None:
    """The store would grow for ever, or forget what somebody may still ask for."""
    async with filled(place) as store:
        now = (await look(store, APP.id)).now
        recent = replace(CODE, id=f"{CODE.id}01", ends_at=now - DAY // 2)
        lasting = replace(CODE, id=f"{CODE.id}02", ends_at=None)
        await do(store, keep(replace(CODE, ends_at=now - DAY - 1), recent, lasting))
        await store.sweep()
        assert set(await listed(store.items(ItemKind.CODE))) == {recent, lasting}
        assert await store.find_item(*CODE.key) is None
        assert await store.sweep() == 0


async def check_users_of_other_issuers_are_looked_up(place: Place) -> None:
    """A user of another issuer would not be let in, or would be although disabled."""
    async with filled(place) as store:
        assert await store.find_user(NOBODYS_APP, USER_ID) is None
        assert await store.find_user(APP.id, "nobody here") == FoundUser(None, APP)
        assert await store.find_user(APP.id, USER_ID) == FoundUser(USER, APP)
        assert await store.find_user(OTHER_APP.id, USER_ID) == FoundUser(None, OTHER_APP)
        await do(store, acts.switch_user(APP.id, USER_ID, disabled=True))
        found = await store.find_user(APP.id, USER_ID)
        assert found is not None
        assert found.user is not None
        assert found.user.disabled


async def check_a_refreshed_token_ends(place: Place) -> None:
    """A token that was refreshed would go on for as long as another gateway remembers it."""
    async with filled(place) as store, opened(place) as second:
        await hearing(store)
        before = store.revision()
        await do(second, change_token(TOKEN_ID, lambda token: replace(token, shutdown_at=token.created_at + 60_000)))
        await heard(store, before)
        token = await the_token(store)
        assert token.shutdown_at == token.created_at + 60_000
        await do(second, acts.make_token(APP.id, NEW_TOKEN, USER_ID))
        await do(second, change_token(NEW_TOKEN, lambda token: replace(token, family="f" * 16)))
        assert (await the_token(store, NEW_TOKEN)).family == "f" * 16
        await do(second, change_token(NEW_TOKEN, lambda token: replace(token, revoked_at=7, shutdown_at=9)))
        changed = await the_token(store, NEW_TOKEN)
        assert (changed.revoked_at, changed.shutdown_at, changed.family) == (7, 9, "f" * 16)
        assert changed in await listed(store.user_tokens())
        for family in ("5a00000000003", "ab" * 32, ""):  # an id from elsewhere may have an odd number of digits
            await do(second, change_token(NEW_TOKEN, lambda token, family=family: replace(token, family=family)))
            assert (await the_token(store, NEW_TOKEN)).family == family


async def check_a_tombstone_keeps_the_id_only(place: Place) -> None:
    """A deleted user would be found by the name that was to be erased, or the name could not be used again."""
    async with filled(place) as store, opened(place) as second:
        await hearing(store)
        before = store.revision()
        await do(second, change_user(lambda user: replace(user, external_id=None, cut_at=DELETED)))
        await heard(store, before)
        user = await the_user(store)
        assert user == User(USER_ID, APP.id, None, 0, DELETED)
        assert user.deleted
        seen = (await store.look([Asked(APP.id, external_id="customer-17")]))[0]
        assert seen.users == {}
        await do(store, acts.make_token(APP.id, NEW_TOKEN, "5a00000000000000000000bb", "customer-17"))
        seen = (await store.look([Asked(APP.id, external_id="customer-17")]))[0]
        assert list(seen.users) == ["5a00000000000000000000bb"]


async def check_the_first_use_is_kept(place: Place) -> None:
    """A key would be said not to be used, as nobody had noted its use so far."""
    async with filled(place) as store, opened(place) as second:
        assert await store.noted_since() is None
        await store.note_used({})
        assert await store.noted_since() is None
        await store.note_used({KEY_ID: 1500, "7b000000000000c1": 1400})
        await second.note_used({KEY_ID: 2000})
        assert await store.noted_since() == await second.noted_since() == 1400
        assert await second.last_used([KEY_ID]) == {KEY_ID: 2000}


async def check_uses_are_added_up(place: Place) -> None:
    """Nobody could tell which scopes of a key are used, or how often a leaked one was."""
    other = f"{KEY_ID[:2]}ffffffffffffff"
    async with filled(place) as store, opened(place) as second:
        assert await store.uses([KEY_ID]) == {}
        await asyncio.gather(
            *(
                one.note_uses(
                    {(KEY_ID, TODAY, "USER_READ"): 2, (KEY_ID, TODAY, REQUESTS): 3, (other, TODAY, REFUSED): 1}
                )
                for one in [store, second] * 5
            )
        )
        await store.note_uses({})
        wanted = {(KEY_ID, TODAY, "USER_READ"): 20, (KEY_ID, TODAY, REQUESTS): 30}
        assert await second.uses([KEY_ID]) == wanted
        assert await second.uses([KEY_ID, other]) == wanted | {(other, TODAY, REFUSED): 10}
        later = (KEY_ID, TODAY + USE_DAYS, REQUESTS)
        await store.note_uses({later: 1})
        assert await store.uses([KEY_ID]) == {later: 1}
