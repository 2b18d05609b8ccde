"""Acts on Redis: whole or not at all, whatever the servers do, and however many want the same."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from gateway.core.audit import AuditAction
from gateway.core.ledger import Act, ActRefused, Changes, Done, Snapshot
from gateway.core.records import DELETED, Role
from gateway.store.contract import StoreUnavailable
from gateway.store.redis.founding import init
from gateway.store.redis.layout import Names, apps_key, audit_key, id_key, item_key, items_key, owners_key
from gateway.store.redis.store import RedisStore
from tests.store import acts
from tests.store.acts import do, look
from tests.store.checks_items import CODE, change_user
from tests.store.checks_items import keep as keep_items
from tests.store.place import (
    APP,
    KEY_ID,
    OTHER_APP,
    PATIENCE,
    TOKEN_ID,
    USER_ID,
    everything,
    listed,
    the_events,
    the_key,
)
from tests.store.racing import race
from tests.support.redis_servers import RedisServer, Servers, with_replica
from tests.support.redis_stores import HASTY, PATIENT, filled_at, once_it_answers, store_at
from tests.support.waiting import eventually

NAMES = Names(APP.id)
NEW = "5a000000000000b1"
ELSEWHERE = "7b000000000000b1"  # as it may be imported: of another tag than the app's
CLAIM = id_key("7b", ELSEWHERE).encode()

# One act of each kind.
EVERY_ACT: dict[str, Act] = {
    "make app": acts.make_app(replace(APP, id="5a0000000000000000000b01")),
    "switch app": acts.switch_app(APP.id, disabled=True),
    "make key": acts.make_key(APP.id, NEW),
    "make key with an id from elsewhere": acts.make_key(APP.id, ELSEWHERE),
    "rotate key": acts.rotate(APP.id, KEY_ID, NEW),
    "revoke key": acts.revoke(APP.id, KEY_ID),
    "make token": acts.make_token(APP.id, NEW, None, "customer-18", new_user_id="5au"),
    "make token for a known user": acts.make_token(APP.id, NEW, USER_ID),
    "switch user": acts.switch_user(APP.id, USER_ID, disabled=True),
    "end tokens": acts.end_app_tokens(APP.id),
    "grant": acts.grant(APP.id, "a@example.com", Role.DEVELOPER),
    "keep an item": keep_items(replace(CODE, text="another"), replace(CODE, id="5a01")),
    "drop an item": keep_items(dropped=(CODE.key,)),
    "delete user": change_user(lambda user: replace(user, external_id=None, cut_at=DELETED)),
}

# What an act reads or writes of an app, each name with something of another type to lie there.
EVERY_NAME: dict[str, str] = {
    "the app": NAMES.of("app"),
    "the list of apps": apps_key(NAMES.tag),
    "the list of keys": NAMES.of("keys"),
    "the list of living keys": NAMES.of("living"),
    "the list of users": NAMES.of("users"),
    "the external ids": NAMES.of("external"),
    "the roles": NAMES.of("roles"),
    "the events": audit_key(NAMES.tag),
    "a key": id_key(NAMES.tag, KEY_ID),
    "the new id": id_key(NAMES.tag, NEW),
    "a user": NAMES.user(USER_ID),
    "an item": item_key(NAMES.tag, *CODE.key),
    "the list of items": items_key(NAMES.tag, CODE.kind, APP.id),
    "the list of owners": owners_key(NAMES.tag),
}


@asynccontextmanager
async def filled_pair(directory: Path) -> AsyncIterator[tuple[Servers, RedisStore]]:
    """A store on a primary with a replica."""
    with with_replica(directory) as servers:
        async with filled_at(servers.url) as store:
            yield servers, store


def out_of_memory(server: RedisServer) -> None:
    """Nothing more fits in."""
    server.run("CONFIG", "SET", "maxmemory", 1)


def alone(server: RedisServer) -> None:
    """Too few replicas are there."""
    server.run("CONFIG", "SET", "min-replicas-to-write", 3)


def demoted(server: RedisServer) -> None:
    """It is a replica now, of nobody that there is."""
    server.run("REPLICAOF", "127.0.0.1", 1)


@pytest.mark.parametrize(
    ("fault", "words"),
    [(out_of_memory, "no memory left"), (alone, "fewer replicas"), (demoted, "replica and takes no changes")],
)
@pytest.mark.parametrize("what", EVERY_ACT)
async def test_what_cannot_be_written_is_said_and_reads_go_on(
    own: Servers, store: RedisStore, what: str, fault: Any, words: str
) -> None:
    """A revocation would be reported as done that is not; or good keys be refused because nothing can be written."""
    server = own.primaries[0]
    await do(store, keep_items(CODE))
    before = (await everything(store), server.contents())
    fault(server)
    with pytest.raises(StoreUnavailable, match=words) as refusal:
        await store.act([EVERY_ACT[what]])
    assert "nothing was changed" in str(refusal.value)
    assert not refusal.value.in_grace
    assert (await everything(store), server.contents()) == before
    assert await store.find_key(KEY_ID) is not None
    assert await store.find_user_token(TOKEN_ID) is not None
    assert (await look(store, APP.id)).keys.keys() == {KEY_ID}


@pytest.mark.parametrize("name", EVERY_NAME)
async def test_foreign_data_is_never_half_an_act(own: Servers, store: RedisStore, name: str) -> None:
    """Part of an act would be written, without its event or without what counts keys, because something is in the
    way."""
    server, key = own.primaries[0], EVERY_NAME[name]
    await do(store, keep_items(CODE))
    server.run("DEL", key)
    server.run("XADD", key, "*", "foreign", "data")
    before = server.contents()
    for what, act in EVERY_ACT.items():
        failed = False
        try:
            await store.act([act])
        except StoreUnavailable:
            failed = True
        after = server.contents()
        assert after[key.encode()] == before[key.encode()]
        if failed:  # but for the claim of an id of another tag, which is written before
            assert after.items() - before.items() <= {item for item in after.items() if item[0] == CLAIM}, what
        before = after


@pytest.mark.parametrize("event", [b"", b"foreign", b'{"number":"1"}', b'{"at":1,"number":7}'])
async def test_a_foreign_event_stops_acts(own: Servers, store: RedisStore, event: bytes) -> None:
    """Events would be numbered anew from one, and what was done before look forged."""
    own.primaries[0].run("RPUSH", audit_key(NAMES.tag), event)
    before = own.primaries[0].contents()
    with pytest.raises(StoreUnavailable):
        await do(store, acts.revoke(APP.id, KEY_ID))
    assert own.primaries[0].contents() == before


async def test_what_is_written_is_confirmed_by_a_replica(tmp_path: Path) -> None:
    """A new key would be handed out that the next failover makes unknown, and nobody would know."""
    async with filled_pair(tmp_path / "pair") as (servers, store):
        assert servers.replica is not None
        (done,) = await do(store, acts.make_key(APP.id, NEW))
        assert done.replicated
        servers.replica.freeze()
        (done,) = await do(store, acts.make_key(APP.id, "5a000000000000b2"))
        assert not done.replicated
        # Asked again, as one does whose answer was lost: still only one machine has it.
        for again in (
            acts.make_key(APP.id, "5a000000000000b2"),
            acts.revoke(APP.id, KEY_ID),
            acts.revoke(APP.id, KEY_ID),
        ):
            (done,) = await do(store, again)
            assert not done.replicated
        servers.replica.thaw()
        async with asyncio.timeout(PATIENCE):
            while not done.replicated:
                (done,) = await do(store, acts.revoke(APP.id, KEY_ID))


async def test_without_replicas_an_act_is_as_safe_as_it_gets(own: Servers, store: RedisStore) -> None:
    """Each creation on a single server would be revoked again."""
    (done,) = await do(store, acts.make_key(APP.id, NEW))
    assert done.replicated
    assert "cmdstat_wait" not in own.primaries[0].info("commandstats")


async def test_racing_processes_keep_the_rules(servers: Servers) -> None:
    """An app would have more than ten active keys, by asking at several gateways, commands and imports at once."""
    await init(servers.url, PATIENT)
    async with store_at(servers.url) as store:
        (await race(servers.url, store)).check()


async def test_an_act_that_others_overtake_is_done_once_more(servers: Servers) -> None:
    """Under load, acts would be refused for no reason, or overwrite each other."""
    async with filled_at(servers.url) as store, store_at(servers.url) as other:
        calls = [
            each.act([acts.grant(APP.id, f"{name}{number}@example.com", Role.DEVELOPER)])
            for number in range(20)
            for name, each in (("a", store), ("b", other))
        ]
        for (result,) in await asyncio.gather(*calls):
            assert isinstance(result, Done)
        assert len(await listed(store.developers(APP.id))) == 40


# What is wished for, and what somebody else does after the wish was judged and before it is written.
OVERTAKEN: dict[str, tuple[Act, Act]] = {
    "a token, and its user is disabled": (
        acts.make_token(APP.id, NEW, USER_ID),
        acts.switch_user(APP.id, USER_ID, disabled=True),
    ),
    "a token, and its user's tokens are ended": (
        acts.make_token(APP.id, NEW, USER_ID),
        acts.end_user_tokens(APP.id, USER_ID),
    ),
    "a token, and the app's tokens are ended": (
        acts.make_token(APP.id, NEW, USER_ID),
        acts.end_app_tokens(APP.id),
    ),
    "a token, and its user is made": (
        acts.make_token(APP.id, NEW, None, "customer-18", new_user_id="5au1"),
        acts.make_token(APP.id, "5a000000000000b2", None, "customer-18", new_user_id="5au2"),
    ),
    "a key, and its id is taken by a token": (
        acts.make_key(APP.id, NEW),
        acts.make_token(APP.id, NEW, USER_ID),
    ),
    "a key, and its id is taken by another app": (
        acts.make_key(APP.id, NEW),
        acts.make_key(OTHER_APP.id, NEW),
    ),
    "a key with an id from elsewhere, which is taken there": (
        acts.make_key(APP.id, ELSEWHERE),
        acts.make_key(OTHER_APP.id, ELSEWHERE),
    ),
    "a key, and another key is made": (acts.make_key(APP.id, NEW), acts.make_key(APP.id, "5a000000000000b2")),
    "a rotation, and the key is revoked": (acts.rotate(APP.id, KEY_ID, NEW), acts.revoke(APP.id, KEY_ID)),
    "a rotation, and another one": (acts.rotate(APP.id, KEY_ID, NEW), acts.rotate(APP.id, KEY_ID, "5a000000000000b2")),
    "a name, and the key is revoked": (acts.rename(APP.id, KEY_ID, "another"), acts.revoke(APP.id, KEY_ID)),
    "an item, and another one is kept in its place": (
        keep_items(CODE),
        keep_items(replace(CODE, text="another")),
    ),
    "a role, and the app is closed": (
        acts.grant(APP.id, "a@example.com", Role.DEVELOPER),
        acts.switch_app(APP.id, disabled=True),
    ),
}


@pytest.mark.parametrize("what", OVERTAKEN)
async def test_what_an_act_was_decided_by_is_so_when_it_is_written(servers: Servers, what: str) -> None:
    """A token would be given to somebody whose access had just been ended, or an id twice, or a key revived."""
    wish, overtaking = OVERTAKEN[what]
    async with filled_at(servers.url) as store:
        seen: list[Snapshot] = []

        def decide(snapshot: Snapshot) -> Changes:
            seen.append(snapshot)
            if len(seen) == 1:
                done_elsewhere(servers.url, overtaking)
            return wish.decide(snapshot)

        (result,) = await store.act([Act(wish.asked, decide)])
        first, second = seen
        assert replace(first, now=0) != replace(second, now=0)
        assert outcome(result) == outcome(decided(wish, second))
        assert await everything(store)


def decided(act: Act, seen: Snapshot) -> Changes | ActRefused:
    """What an act decides."""
    try:
        return act.decide(seen)
    except ActRefused as refusal:
        return refusal


def outcome(result: Done | Changes | ActRefused) -> object:
    """What was changed, or why nothing was."""
    if isinstance(result, ActRefused):
        return result.reason
    return result.changes if isinstance(result, Done) else result


def done_elsewhere(url: str, act: Act) -> None:
    """Do an act in another thread, through a store of its own, and wait for it."""

    async def done() -> None:
        async with store_at(url) as other:
            await do(other, act)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, done()).result(PATIENCE)


async def test_an_act_that_is_always_overtaken_ends(own: Servers, store: RedisStore) -> None:
    """A command would never come back while an import runs."""
    numbers = count()
    async with store_at(own.url) as other:

        def decide(snapshot: Snapshot) -> Changes:
            done_elsewhere(own.url, acts.rename(APP.id, KEY_ID, f"{next(numbers)}"))
            return acts.revoke(APP.id, KEY_ID).decide(snapshot)

        with pytest.raises(StoreUnavailable, match="nothing was changed"):
            await store.act([Act(acts.revoke(APP.id, KEY_ID).asked, decide)])
        assert (await the_key(other)).revoked_at is None


async def test_a_server_that_is_killed_has_all_that_it_acknowledged(own: Servers) -> None:
    """A key that was handed out would be unknown, a revocation undone, or the audit tell of what never was."""
    server = own.primaries[0]
    async with filled_at(own.url, HASTY) as store:
        made: set[str] = set()
        ended: set[str] = set()

        async def live_and_die(number: int) -> None:
            app = replace(APP, id=f"5a{number:022x}")
            with suppress(StoreUnavailable):
                await do(store, acts.make_app(app))
                for key in range(number * 1000, (number + 1) * 1000):
                    await do(store, acts.make_key(app.id, f"5a{key:014x}"))
                    made.add(f"5a{key:014x}")
                    await do(store, acts.revoke(app.id, f"5a{key:014x}"))
                    ended.add(f"5a{key:014x}")

        for start in (1, 11, 21):
            known = len(ended)
            lives = asyncio.gather(*(live_and_die(number) for number in range(start, start + 10)))
            await eventually(lambda known=known: len(ended) > known + 100)
            server.kill()
            await lives
            server.start()
            await once_it_answers(lambda: store.find_key(KEY_ID))
        keys = {key.id: key for key in await listed(store.keys())}
        events = [each.event for each in await the_events(store)]
    created = {event.subject_id for event in events if event.action is AuditAction.KEY_CREATED}
    revoked = {event.subject_id for event in events if event.action is AuditAction.KEY_REVOKED}
    assert made <= keys.keys()
    assert ended <= revoked
    assert created == keys.keys()
    assert revoked == {key.id for key in keys.values() if key.revoked_at is not None}
