"""Checks of acts: whole or not at all, each change with its event, the rules kept whoever acts at the same time."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Final

from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.ledger import Act, ActReason, ActRefused, Done
from gateway.core.records import Role, works
from gateway.core.takings import Taken, Taking
from tests.store import acts
from tests.store.acts import do, look, refused
from tests.store.place import (
    APP,
    KEY_ID,
    NEW_KEY,
    NEW_TOKEN,
    NOBODYS_APP,
    OTHER_APP,
    TOKEN_ID,
    USER_ID,
    Place,
    everything,
    filled,
    heard,
    hearing,
    listed,
    opened,
    the_app,
    the_events,
    the_key,
    the_token,
    the_user,
    working,
)

_MADE: Final = [
    (AuditAction.APP_CREATED, APP.id),
    (AuditAction.APP_CREATED, OTHER_APP.id),
    (AuditAction.KEY_CREATED, KEY_ID),
    (AuditAction.USER_CREATED, USER_ID),
    (AuditAction.USER_TOKEN_CREATED, TOKEN_ID),
]


async def check_each_change_has_its_event(place: Place) -> None:
    """An auditor could not tell who had made or ended a credential, through which door and when."""
    changes: list[tuple[Act, AuditAction, str, str]] = [
        (acts.rename(APP.id, KEY_ID, "søn"), AuditAction.KEY_RENAMED, KEY_ID, ""),
        (acts.switch_user(APP.id, USER_ID, disabled=True), AuditAction.USER_DISABLED, USER_ID, ""),
        (acts.end_user_tokens(APP.id, USER_ID), AuditAction.USER_TOKENS_ENDED, USER_ID, ""),
        (acts.end_app_tokens(APP.id), AuditAction.APP_TOKENS_ENDED, APP.id, ""),
        (acts.switch_app(APP.id, disabled=True), AuditAction.APP_DISABLED, APP.id, ""),
        (acts.revoke(APP.id, KEY_ID), AuditAction.KEY_REVOKED, KEY_ID, "requested"),
    ]
    async with filled(place) as store:
        made = await the_events(store)
        assert Counter((each.event.action, each.event.subject_id) for each in made) == Counter(_MADE)
        for act, action, subject, about in changes:
            before = await the_events(store)
            (done,) = await do(store, act)
            (event,) = [each.event for each in await the_events(store) if each not in before]
            assert event == AuditEvent(done.at, action, APP.id, subject, "tester", "suite", about)
            assert done.changes.events == (event,)


async def check_an_act_that_changes_nothing_has_no_event(place: Place) -> None:
    """The audit would tell of ends that did not happen, or a repeated command fail."""
    async with filled(place) as store:
        await do(store, acts.switch_app(APP.id, disabled=True), acts.grant(APP.id, "a@example.com", Role.SPECTATOR))
        await do(store, acts.revoke(APP.id, KEY_ID))
        before = await everything(store)
        app = await the_app(store)
        assert app is not None
        repeated = [
            acts.make_app(app),
            acts.make_key(APP.id, KEY_ID),
            acts.make_token(APP.id, TOKEN_ID, USER_ID),
            acts.rename(APP.id, KEY_ID, "nightly export"),
            acts.revoke(APP.id, KEY_ID),
            acts.revoke_all(APP.id),
            acts.switch_app(APP.id, disabled=True),
            acts.switch_user(APP.id, USER_ID, disabled=False),
            acts.grant(APP.id, "a@example.com", Role.SPECTATOR),
        ]
        assert [done.changes.events for done in await do(store, *repeated)] == [()] * len(repeated)
        assert await everything(store) == before


async def check_a_refused_act_changes_nothing(place: Place) -> None:
    """A command that fails would leave half of what it was to do."""
    ended = "5a000000000000e1"
    async with filled(place) as store:
        await do(store, acts.make_key(APP.id, ended), acts.revoke(APP.id, ended))
        before = await everything(store)
        refusals = [
            (acts.make_app(replace(APP, name="again")), ActReason.ID_TAKEN),
            (acts.make_key(NOBODYS_APP, NEW_KEY), ActReason.UNKNOWN_APP),
            (acts.make_key(APP.id, KEY_ID, verifier=b"x" * 32), ActReason.ID_TAKEN),
            (acts.make_key(APP.id, ended, verifier=b"x" * 32), ActReason.ID_TAKEN),
            (acts.make_key(OTHER_APP.id, KEY_ID), ActReason.ID_TAKEN),
            (acts.make_key(APP.id, TOKEN_ID), ActReason.ID_TAKEN),
            (acts.make_key(OTHER_APP.id, TOKEN_ID), ActReason.ID_TAKEN),
            (acts.make_token(NOBODYS_APP, NEW_TOKEN, USER_ID), ActReason.UNKNOWN_APP),
            (acts.make_token(APP.id, KEY_ID, USER_ID), ActReason.ID_TAKEN),
            (acts.make_token(OTHER_APP.id, KEY_ID, USER_ID), ActReason.ID_TAKEN),
            (acts.make_token(OTHER_APP.id, TOKEN_ID, USER_ID), ActReason.ID_TAKEN),
            (acts.make_token(APP.id, NEW_TOKEN, "another", "customer-17"), ActReason.EXTERNAL_ID_TAKEN),
            (acts.make_token(APP.id, NEW_TOKEN, USER_ID, "customer-18"), ActReason.EXTERNAL_ID_TAKEN),
            (acts.rename(OTHER_APP.id, KEY_ID, "theirs"), ActReason.UNKNOWN_KEY),
            (acts.revoke(OTHER_APP.id, KEY_ID), ActReason.UNKNOWN_KEY),
            (acts.revoke(APP.id, TOKEN_ID), ActReason.UNKNOWN_KEY),
            (acts.revoke(APP.id, NEW_KEY), ActReason.UNKNOWN_KEY),
            (acts.rotate(APP.id, ended, NEW_KEY), ActReason.KEY_ENDED),
            (acts.rotate(APP.id, KEY_ID, ended), ActReason.ID_TAKEN),
            (acts.rotate(APP.id, KEY_ID, TOKEN_ID), ActReason.ID_TAKEN),
            (acts.switch_app(NOBODYS_APP, disabled=True), ActReason.UNKNOWN_APP),
            (acts.switch_user(OTHER_APP.id, USER_ID, disabled=True), ActReason.UNKNOWN_USER),
            (acts.end_user_tokens(OTHER_APP.id, USER_ID), ActReason.UNKNOWN_USER),
            (acts.remove(APP.id, "a@example.com"), ActReason.UNKNOWN_DEVELOPER),
        ]
        for act, reason in refusals:
            await refused(store, act, reason)
        assert await everything(store) == before
        results = await store.act([act for act, _ in refusals])
        assert [result.reason for result in results if isinstance(result, ActRefused)] == [
            reason for _, reason in refusals
        ]
        assert await everything(store) == before


async def check_acts_of_one_call_see_each_other(place: Place) -> None:
    """An import would make an eleventh key, or be stopped whole by one bad row."""
    new = [f"5a00000000f0{number:04x}" for number in range(20)]
    async with filled(place) as store:
        results = await store.act(
            [
                *(acts.make_key(APP.id, key_id) for key_id in new),
                acts.make_key(OTHER_APP.id, new[0]),
                acts.make_token(APP.id, NEW_TOKEN, None, "customer-18", new_user_id="5auser"),
                acts.make_token(APP.id, "5a000000000000b3", None, "customer-18", new_user_id="5aother"),
                acts.revoke(APP.id, KEY_ID),
                acts.make_key(APP.id, NEW_KEY),
            ]
        )
        assert [isinstance(result, Done) for result in results] == [*[True] * 9, *[False] * 12, *[True] * 4]
        assert await working(store) == {*new[:9], NEW_KEY}
        assert (await the_token(store, "5a000000000000b3")).user_id == "5auser"
        assert await the_user(store, APP.id, "5aother") is None
        events = await the_events(store)
        assert len(events) == len(_MADE) + 9 + 3 + 1 + 1
        order = [each.event.subject_id for each in events if each.event.app_id == APP.id][4:]
        assert order == [*new[:9], "5auser", NEW_TOKEN, "5a000000000000b3", KEY_ID, NEW_KEY]


async def check_acts_on_many_apps_in_one_call(place: Place) -> None:
    """An import of many customers would lose some of them."""
    apps = [replace(APP, id=f"{number:02x}0000000000000000000a01") for number in range(0, 256, 5)]
    async with opened(place) as store:
        made = await do(store, *(act for app in apps for act in _an_app_with_a_key(app.id)))
        assert len(made) == 2 * len(apps)
        for app in apps:
            assert (await the_key(store, f"{app.id[:2]}00000000000001")).app_id == app.id
        assert len(await the_events(store)) == 2 * len(apps)


async def check_time_does_not_go_back(place: Place) -> None:
    """A key would be made before the act that made room for it."""
    async with filled(place) as store, opened(place) as other:
        times = []
        for number in range(20):
            (done,) = await do((store, other)[number % 2], acts.switch_app(APP.id, disabled=number % 2 == 0))
            times += [done.at, (await look(other, APP.id)).now]
        assert times == sorted(times)
        seen = [each.event.at for each in await the_events(store) if each.event.app_id == APP.id]
        assert seen == sorted(seen)


async def check_one_of_many_at_once_wins(place: Place) -> None:
    """Two callers would each be told that the id is theirs."""
    async with filled(place) as store, opened(place) as other:
        app_ids = [APP.id, OTHER_APP.id]
        results = await asyncio.gather(
            *(
                (store, other)[number % 2].act(
                    [acts.make_key(app_ids[number // 2 % 2], NEW_KEY, verifier=bytes([number]) * 32)]
                )
                for number in range(12)
            )
        )
        won = [number for number, (result,) in enumerate(results) if isinstance(result, Done)]
        assert len(won) == 1
        record = await the_key(store, NEW_KEY)
        assert (record.verifier, record.app_id) == (bytes(won) * 32, app_ids[won[0] // 2 % 2])
        assert [each.event.subject_id for each in await the_events(store)].count(NEW_KEY) == 1


async def check_a_key_and_a_token_at_once_are_not_one(place: Place) -> None:
    """A token from elsewhere, which does not say what it is, would mean two credentials."""
    async with filled(place) as store, opened(place) as other:
        for number in range(5):
            identifier = f"7b{number:014x}"
            (key,), (token,) = await asyncio.gather(
                store.act([acts.make_key(OTHER_APP.id, identifier)]),
                other.act([acts.make_token(APP.id, identifier, USER_ID)]),
            )
            assert isinstance(key, Done) != isinstance(token, Done)
            assert (await store.find_key(identifier) is None) is isinstance(token, Done)
            assert (await store.find_user_token(identifier) is None) is isinstance(key, Done)


async def check_many_at_once_all_arrive(place: Place) -> None:
    """A burst of new tokens for one new user would lose some, or make the user twice."""
    tokens = [f"5a000000000001{number:02x}" for number in range(20)]
    async with filled(place) as store, opened(place) as other:
        await asyncio.gather(
            *(
                do(
                    (store, other)[number % 2],
                    acts.make_token(APP.id, token, None, "customer-18", new_user_id=f"5au{number}"),
                )
                for number, token in enumerate(tokens)
            )
        )
        users = {(await the_token(store, token)).user_id for token in tokens}
        assert len(users) == 1
        assert [user.id for user in await listed(store.users(APP.id)) if user.external_id == "customer-18"] == [*users]


async def check_only_taking_away_moves_the_revision(place: Place) -> None:
    """Each new key would make every gateway forget all proven callers, or a revocation would not."""
    gifts = [
        acts.make_app(replace(APP, id="5c0000000000000000000a03")),
        acts.make_key(APP.id, NEW_KEY),
        acts.make_token(APP.id, NEW_TOKEN, None, "customer-18", new_user_id="5au1"),
        acts.rename(APP.id, KEY_ID, "another"),
        acts.grant(APP.id, "a@example.com", Role.DEVELOPER),
        acts.remove(APP.id, "a@example.com"),
        acts.switch_app(APP.id, disabled=False),
    ]
    takings = [
        (acts.switch_user(APP.id, USER_ID, disabled=True), USER_ID),
        (acts.end_user_tokens(APP.id, USER_ID), USER_ID),
        (acts.end_app_tokens(APP.id), APP.id),
        (acts.rotate(APP.id, KEY_ID, "5a000000000000c1"), KEY_ID),
        (acts.revoke(APP.id, NEW_KEY), NEW_KEY),
        (acts.revoke(APP.id, KEY_ID), KEY_ID),
        (acts.switch_app(APP.id, disabled=True), APP.id),
    ]
    async with filled(place) as store, opened(place) as other:
        await hearing(store)
        await hearing(other)
        before = (store.revision(), other.revision())
        for gift in gifts:
            await do(store, gift)
        assert (store.revision(), other.revision()) == before
        for taking, subject in takings:
            before = (store.revision(), other.revision())
            await do(store, taking)
            for each, revision in zip((store, other), before, strict=True):
                assert await heard(each, revision) > revision
                ended = each.ended_since(revision)
                assert ended is None or subject in ended


async def check_the_revision_never_returns(place: Place) -> None:
    """A gateway that had looked away would take an old answer for a current one."""
    async with filled(place) as store, opened(place) as other:
        await hearing(other)
        seen = [other.revision()]
        for number in range(10):
            await do(store, acts.switch_app(APP.id, disabled=number % 2 == 0))
            seen.append(await heard(other, seen[-1]))
        assert seen == sorted(set(seen))


async def check_another_gateway_finds_it_at_once(place: Place) -> None:
    """A key that one process revoked would be found working in another that looks it up."""
    async with filled(place) as here, opened(place) as there:
        for number in range(10):
            await do(here, acts.make_key(APP.id, f"5a0000000003{number:04x}"))
            assert works(await the_key(there, f"5a0000000003{number:04x}"), (await look(there, APP.id)).now)
            (done,) = await do(here, acts.revoke(APP.id, f"5a0000000003{number:04x}"))
            assert not works(await the_key(there, f"5a0000000003{number:04x}"), done.at)


async def check_what_was_forgotten_is_told_anew(place: Place) -> None:
    """A revocation that a store lost would be lost for good; or telling it twice would fill the audit."""
    async with filled(place) as store:
        now = (await look(store, APP.id)).now
        told = [
            acts.restore(Taking(Taken.KEY, APP.id, KEY_ID, end=now), keys=(KEY_ID,)),
            acts.restore(Taking(Taken.USER_TOKEN, APP.id, TOKEN_ID, end=now), tokens=(TOKEN_ID,)),
            acts.restore(Taking(Taken.USER, APP.id, USER_ID, cut=now, switches=3)),
            acts.restore(Taking(Taken.APP, APP.id, APP.id, cut=now, switches=5)),
        ]
        await do(store, *told)
        token = await store.find_user_token(TOKEN_ID)
        assert token is not None
        assert (await the_key(store)).revoked_at == token.record.revoked_at == now
        assert (token.user.cut_at, token.user.switches, token.app.cut_at, token.app.switches) == (now, 3, now, 5)
        before = await everything(store)
        assert [done.changes for done in await do(store, *told)] == [acts.NOTHING] * 4
        lost = acts.restore(Taking(Taken.KEY, APP.id, NEW_KEY, end=now), keys=(NEW_KEY,))
        assert [done.changes for done in await do(store, lost)] == [acts.NOTHING]
        assert await everything(store) == before


def _an_app_with_a_key(app_id: str) -> list[Act]:
    return [acts.make_app(replace(APP, id=app_id)), acts.make_key(app_id, f"{app_id[:2]}00000000000001")]
