"""Acts that are read, decided and written together come to the same as one after the other."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core import people
from gateway.core.ledger import Act, ActRefused, Asked, Changes, Item, ItemKind, Snapshot
from gateway.core.records import DELETED, App, Role
from gateway.store.contract import Store
from gateway.store.open import open_store
from gateway.store.redis.founding import init
from gateway.store.redis.store import RedisStore
from tests.store import acts
from tests.store.checks_items import keep as keep_items
from tests.store.place import listed, the_events
from tests.support.redis_servers import Servers
from tests.support.redis_stores import PATIENT

# Two apps of one slot tag and one of another, with ids of keys and tokens of either tag.
APPS = [
    App("5a0000000000000000000a01", "one", "eu"),
    App("5a0000000000000000000a02", "two", "eu"),
    App("7b03", "three", "us"),
]
IDS = [f"{tag}0{number}" for tag in ("5a", "7b") for number in range(8)]
USERS = ["5au1", "5au2"]
EXTERNAL = ["customer-1", "customer-2"]

app_ids = st.sampled_from([app.id for app in APPS])
ids = st.sampled_from(IDS)
users = st.sampled_from(USERS)
flags = st.booleans()


def delete_user(app_id: str, user_id: str) -> Act:
    """A tombstone."""

    def decide(seen: Snapshot) -> Changes:
        user = people.the_user(seen, user_id)
        return Changes(users=(replace(user, external_id=None, cut_at=DELETED),))

    return Act(Asked(app_id, user_id=user_id), decide)


ACTS: st.SearchStrategy[Act] = st.one_of(
    st.builds(acts.make_app, st.sampled_from(APPS)),
    st.builds(acts.make_key, app_ids, ids),
    st.builds(acts.make_key, app_ids, ids, verifier=st.just(b"v" * 32)),
    st.builds(acts.rotate, app_ids, ids, ids, shutdown=st.sampled_from([0, 10**9])),
    st.builds(acts.rename, app_ids, ids, st.sampled_from(["a", "b"])),
    st.builds(acts.revoke, app_ids, ids),
    st.builds(acts.revoke_all, app_ids),
    st.builds(lambda app_id, off: acts.switch_app(app_id, disabled=off), app_ids, flags),
    st.builds(
        lambda app_id, token, user, external, new: acts.make_token(app_id, token, user, external, new_user_id=new),
        app_ids,
        ids,
        st.none() | users,
        st.none() | st.sampled_from(EXTERNAL),
        st.sampled_from(["5an1", "5an2"]),
    ),
    st.builds(lambda app_id, user, off: acts.switch_user(app_id, user, disabled=off), app_ids, users, flags),
    st.builds(delete_user, app_ids, users),
    st.builds(
        lambda app_id, kept, gone: keep_items(
            *(Item(ItemKind.INCIDENT, f"{app_id[:2]}{one}", app_id, one) for one in kept - gone),
            dropped=tuple((ItemKind.INCIDENT, f"{app_id[:2]}{one}") for one in gone),
            owner=app_id,
        ),
        app_ids,
        st.sets(st.sampled_from("123")),
        st.sets(st.sampled_from("123")),
    ),
    st.builds(acts.end_user_tokens, app_ids, users),
    st.builds(acts.end_app_tokens, app_ids),
    st.builds(acts.grant, app_ids, st.sampled_from(["a@example.com", "b@example.com"]), st.sampled_from(Role)),
    st.builds(acts.remove, app_ids, st.sampled_from(["a@example.com", "b@example.com"])),
)


def without_times(record: Any) -> str:
    """A record to be compared with that of another store: when it was made or changed is another matter."""
    values = {}
    for name in type(record).__dataclass_fields__:
        value = getattr(record, name)
        if name == "switches":
            value %= 2
        elif name == "cut_at":
            value = (bool(value), value >= DELETED)
        elif name == "at" or name.endswith("_at"):
            value = bool(value)
        values[name] = value
    return f"{type(record).__name__} {sorted(values.items(), key=str)}"


async def state(store: Store) -> list[object]:
    """All that there is, and what acts would see of it."""
    lists: list[Any] = [store.apps(), store.keys(), store.users(), store.user_tokens(), store.developers()]
    lists.append(store.items(ItemKind.INCIDENT))
    events = [each.event for each in await the_events(store)]
    asked = [
        each
        for app in APPS
        for each in (
            Asked(app.id, keys=tuple(IDS), more_users=tuple(USERS)),
            Asked(app.id, tokens=tuple(IDS), more_external_ids=tuple(EXTERNAL)),
        )
    ]
    seen = [
        (sorted(one.keys), sorted(one.tokens), sorted(one.users), sorted(one.taken)) for one in await store.look(asked)
    ]
    found = [sorted(map(without_times, await listed(records))) for records in lists]
    told = {app.id: [without_times(event) for event in events if event.app_id == app.id] for app in APPS}
    return [found, told, seen]


def outcomes(results: Sequence[Any]) -> list[object]:
    """What came of acts."""
    return [result.reason if isinstance(result, ActRefused) else bool(result.changes) for result in results]


async def run(store: Store, calls: Sequence[Sequence[Act]]) -> tuple[list[object], list[object]]:
    """What came of calls, and what there is then."""
    try:
        results = [result for call in calls for result in await store.act(call)]
        return outcomes(results), await state(store)
    finally:
        await store.close()


@given(wishes=st.lists(ACTS, min_size=1, max_size=40))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_together_is_as_one_after_the_other(own: Servers, wishes: list[Act]) -> None:
    """An import would end otherwise than the same commands one by one, or on Redis otherwise than on SQLite."""
    # Of one app after the other: between apps, the order within a call is anybody's.
    wishes = [wish for app in APPS for wish in wishes if wish.asked.app_id == app.id]

    async def compared() -> None:
        own.primaries[0].run("FLUSHALL")
        urls = [f"{own.url}/{number}" for number in (0, 1)]
        for url in urls:
            await init(url, PATIENT)
        together = [[wish for wish in wishes if wish.asked.app_id == app.id] for app in APPS]
        expected = await run(open_store("memory:"), [[wish] for wish in wishes])
        assert await run(RedisStore.at(urls[0], PATIENT), [[wish] for wish in wishes]) == expected
        assert await run(RedisStore.at(urls[1], PATIENT), [call for call in together if call]) == expected

    asyncio.run(compared())
