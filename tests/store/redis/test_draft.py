"""What acts leave in Redis: nothing but what is meant, for as long as it is meant, and not much of it."""

from dataclasses import replace

import pytest

from gateway.core.ledger import Act, Asked, Changes, Item, ItemKind, Snapshot
from gateway.core.records import DELETED, KeyRecord, RevokedWhy, User, UserTokenRecord
from gateway.core.wishes import DAY
from gateway.store.redis.layout import Names, identity_key
from gateway.store.redis.store import RedisStore
from tests.store import acts
from tests.store.acts import do, look, verifier_of
from tests.store.checks_items import change_user
from tests.store.checks_items import keep as keep_items
from tests.store.place import APP, KEY_ID, OTHER_APP, TOKEN_ID, USER_ID, the_key
from tests.support.redis_servers import Servers

NAMES = Names(APP.id)
HOUR = DAY // 24
MANY = 20_000


async def test_keys_that_ended_are_not_looked_at_again(own: Servers, store: RedisStore) -> None:
    """An app that makes and ends keys every day would get slower with each; or a clock set back revive an eleventh."""
    now = (await look(store, APP.id)).now
    key = KeyRecord("", APP.id, "n", frozenset({"A"}), bytes(32), 1, now + DAY)
    kept = {
        "5a01": key,
        "5a02": replace(key, expires_at=now - HOUR // 2),
        "5a03": replace(key, expires_at=now - 2 * HOUR),
        "5a04": replace(key, shutdown_at=now - HOUR // 2),
        "5a05": replace(key, shutdown_at=now - 2 * HOUR),
        "5a06": replace(key, revoked_at=now, revoked_why=RevokedWhy.IMPORTED),
        "5a07": replace(key, revoked_at=now + DAY, revoked_why=RevokedWhy.IMPORTED),
    }
    await do(store, acts.keep(APP, keys=tuple(replace(one, id=key_id) for key_id, one in kept.items())))
    server = own.primaries[0]
    assert server.run("SMEMBERS", NAMES.of("living")) == {KEY_ID.encode(), b"5a01", b"5a02", b"5a04"}
    await do(store, acts.revoke(APP.id, KEY_ID), acts.revoke(APP.id, "5a02"))
    assert server.run("SMEMBERS", NAMES.of("living")) == {b"5a01", b"5a04"}
    assert server.run("ZCARD", NAMES.of("keys")) == 8


async def test_nothing_that_is_kept_ends_by_itself(own: Servers, store: RedisStore) -> None:
    """The history of keys would have holes, or a revocation be forgotten, after some time."""
    await do(store, acts.rotate(APP.id, KEY_ID, "5a01", shutdown=0), acts.revoke_all(APP.id))
    await store.note_used({KEY_ID: 1})
    server = own.primaries[0]
    assert {server.run("PTTL", key) for key in server.contents()} == {-1}


async def test_what_changes_nothing_writes_nothing(own: Servers, store: RedisStore) -> None:
    """Commands that are repeated would fill the disk, and hold up those that change something."""
    await do(store, acts.revoke(APP.id, KEY_ID))
    before = (own.primaries[0].contents(), own.primaries[0].info("persistence")["rdb_changes_since_last_save"])
    await do(store, acts.revoke(APP.id, KEY_ID), acts.switch_app(APP.id, disabled=False))
    await store.act([acts.make_token(APP.id, KEY_ID, USER_ID)])
    assert (own.primaries[0].contents(), own.primaries[0].info("persistence")["rdb_changes_since_last_save"]) == before


async def test_what_it_takes_away_is_told_once(own: Servers, store: RedisStore) -> None:
    """Every gateway would forget what it remembers for each new key, or not hear of a revocation."""
    server = own.primaries[0]
    channel = f"gateway:takings:{server.run('GET', identity_key('5a')).decode()}"
    with server.monitored() as lines:
        await do(store, acts.make_key(APP.id, "5a01"), acts.rename(APP.id, "5a01", "another"))
        await do(store, acts.revoke(APP.id, "5a01"), acts.revoke(APP.id, "5a01"), acts.end_user_tokens(APP.id, USER_ID))
    told = [line for line in lines if line.startswith("lua PUBLISH")]
    assert len(told) == 1
    assert channel in told[0]
    assert ("5a01" in told[0], USER_ID in told[0]) == (True, True)


async def test_a_user_token_is_small(own: Servers, store: RedisStore) -> None:
    """Five million users would need a larger machine than was said."""
    server = own.primaries[0]
    before = server.info("memory")["used_memory"]
    for start in range(0, MANY, 1000):
        ids = [f"5a{number:014x}" for number in range(2**40 + start, 2**40 + start + 1000)]
        tokens = [UserTokenRecord(one, APP.id, USER_ID, verifier_of(one), 2**40, 2**40 + DAY) for one in ids]
        await do(store, *(acts.keep(APP, tokens=tuple(tokens[at : at + 100])) for at in range(0, 1000, 100)))
    assert (server.info("memory")["used_memory"] - before) / MANY <= 250
    assert await store.find_user_token(TOKEN_ID) is not None


async def test_an_external_id_leads_to_its_user_only(own: Servers, store: RedisStore) -> None:
    """A customer would be given the data of another, whose external id was the same before."""
    user = next(iter((await look(store, APP.id, user_id=USER_ID)).users.values()))
    await do(store, acts.keep(APP, users=(replace(user, external_id="customer-99"),)))
    assert (await look(store, APP.id, external_id="customer-17")).users == {}
    assert set((await look(store, APP.id, external_id="customer-99")).users) == {USER_ID}
    await the_key(store)


@pytest.mark.parametrize(
    "astray",
    [
        Item(ItemKind.INCIDENT, "7b01", APP.id, "{}"),
        Item(ItemKind.INCIDENT, "5a01", OTHER_APP.id, "{}"),
    ],
)
async def test_an_item_that_would_be_looked_for_elsewhere_is_not_kept(
    own: Servers, store: RedisStore, astray: Item
) -> None:
    """An incident would be kept where nobody finds it."""
    before = own.primaries[0].contents()
    with pytest.raises(ValueError, match="slot tag"):
        await do(store, keep_items(astray))
    assert own.primaries[0].contents() == before


async def test_a_deleted_user_gives_the_external_id_to_another_in_one_act(own: Servers, store: RedisStore) -> None:
    """Whoever is registered anew with a name that was erased would not be found by it."""
    after = User("5au1", APP.id, "customer-17")

    def decide(seen: Snapshot) -> Changes:
        (before,) = seen.users.values()
        return Changes(users=(after, replace(before, external_id=None, cut_at=DELETED)))

    await do(store, Act(Asked(APP.id, external_id="customer-17", more_users=("5au1",)), decide))
    assert list((await look(store, APP.id, external_id="customer-17")).users) == ["5au1"]
    tombstone = own.primaries[0].run("GET", NAMES.user(USER_ID))
    assert b"customer-17" not in tombstone


async def test_acts_of_one_call_see_that_a_user_was_deleted(store: RedisStore) -> None:
    """Whoever registers in the moment of the deletion would get a token of the user who is gone."""
    seen: list[Snapshot] = []

    def decide(snapshot: Snapshot) -> Changes:
        seen.append(snapshot)
        return Changes()

    delete = change_user(lambda user: replace(user, external_id=None, cut_at=DELETED))
    await do(store, delete, Act(Asked(APP.id, external_id="customer-17"), decide))
    assert [snapshot.users for snapshot in seen] == [{}]


async def test_acts_of_one_call_see_what_became_of_an_item(store: RedisStore) -> None:
    """A code presented twice at the same moment would be spent twice, or one just made would not be known."""
    seen: list[Snapshot] = []

    def decide(snapshot: Snapshot) -> Changes:
        seen.append(snapshot)
        return Changes()

    item = Item(ItemKind.CODE, "5a01", APP.id, "{}")
    see = Act(Asked(APP.id, items=(item.key,)), decide)
    await do(store, see, keep_items(item), see, keep_items(dropped=(item.key,)), see)
    assert [snapshot.items for snapshot in seen] == [{}, {item.key: item}, {}]
    assert await store.find_item(*item.key) is None
