"""A store is saved into a file and brought back, into an empty store or another: nothing is lost, nothing revived."""

import asyncio
import io
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from gateway.core.audit import AuditAction, Numbered
from gateway.core.ledger import Act, ActReason, ActRefused, Asked, Changes, Who
from gateway.core.lifecycle import places
from gateway.core.portable import Portable, kind_of, line_of
from gateway.core.records import MAX_ACTIVE_KEYS, App, KeyRecord, Role
from gateway.core.wishes import DAY
from gateway.keys.export_file import checked
from gateway.keys.moving import everything, export, faults
from gateway.keys.restoring import Restored, Restoring
from gateway.keys.sealing import seal_new
from gateway.store.contract import Store, StoreUnavailable
from tests.keys.conftest import KINDS, Stores
from tests.keys.test_intake import Lossy
from tests.store import acts
from tests.store.acts import do, look
from tests.store.place import APP, OTHER_APP, PATIENCE, listed, the_app, the_events, the_key, the_user

WHO = Who("cli:ada", "cli")
KEYS = [f"5a{number:014x}" for number in range(4)]
TOKENS = [f"5a{number:014x}" for number in range(4, 8)]
USERS = ["first-user", "5a93deb3d8e7d90600001e6f"]
EMAIL = "ada@example.com"


async def saved(store: Store) -> bytes:
    """The file of a store."""
    file = io.BytesIO()
    await export(store, file, "1.2.3", lambda _: None)
    return file.getvalue()


@dataclass
class Brought:
    """What came of a file that was brought into a store."""

    restored: Restored
    conflicts: list[tuple[int, str]] = field(default_factory=list)


async def brought(store: Store, content: bytes, *, merge: bool = False) -> Brought:
    """A file brought into a store."""
    conflicts: list[tuple[int, str]] = []
    whole = checked(io.BytesIO(content), lambda _: None)
    told: list[int] = []
    restoring = Restoring(store, whole, WHO, told.append, lambda line, sentence: conflicts.append((line, sentence)))
    restored = await restoring.run(merge=merge)
    assert sum(told) == restored.records == sum(whole.counts.values())
    assert restored.conflicts == len(conflicts)
    return Brought(restored, conflicts)


async def lines(store: Store) -> list[bytes]:
    """All that is in a store, but for the event that tells of a file."""
    found = [record async for record in everything(store)]
    return sorted(map(line_of, (record for record in found if not _tells_of_file(record))))


def _tells_of_file(record: Portable) -> bool:
    return isinstance(record, Numbered) and record.event.action is AuditAction.STORE_IMPORTED


async def fill(store: Store, seed: int = 0) -> None:
    """Two apps in the midst of their lives, by acts that chance chooses."""
    chance = random.Random(seed)  # noqa: S311 - the same acts at every run
    await do(store, acts.make_app(APP), acts.make_app(OTHER_APP), acts.grant(APP.id, EMAIL, Role.DEVELOPER))
    await do(store, *(acts.make_key(APP.id, key_id, name=f'"k" {key_id} 株') for key_id in KEYS))
    await do(
        store,
        *(
            acts.make_token(APP.id, token_id, USERS[number % 2], f"customer {number % 2}")
            for number, token_id in enumerate(TOKENS)
        ),
        acts.make_token(OTHER_APP.id, "7b00000000000001", "first-user"),
        acts.make_key(OTHER_APP.id, "7b00000000000002", scopes=("USER_READ", "USER_LINK")),
    )
    # Of another slot tag than its app, as tokens from elsewhere are.
    await do(store, acts.make_key(APP.id, "e5c3b842231543f0"))
    await seal_new(store, None, 1_790_000_000_000)
    for number in range(12):
        await do(store, an_act(chance, number))
    await store.note_used({KEYS[0]: 1_790_000_000_000, "7b00000000000002": 1_790_000_000_001})


def an_act(chance: random.Random, number: int) -> Act:
    """Something that takes away, or gives back by a switch."""
    return chance.choice(
        [
            acts.revoke(APP.id, chance.choice(KEYS)),
            acts.rename(APP.id, chance.choice(KEYS), f"name {number}"),
            acts.switch_app(APP.id, disabled=chance.random() < 0.5),
            acts.switch_user(APP.id, chance.choice(USERS), disabled=chance.random() < 0.5),
            acts.end_user_tokens(APP.id, chance.choice(USERS)),
            acts.end_app_tokens(OTHER_APP.id),
        ]
    )


# Out and in -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("seed", range(2))
async def test_what_was_saved_is_brought_back(stores: Stores, kind: str, target: str, seed: int) -> None:
    """A backup would bring back fewer records, or others, than were saved; or none on the other kind of store."""
    source, into = await stores.new(kind), await stores.new(target)
    await fill(source, seed)
    content = await saved(source)
    outcome = await brought(into, content)
    assert outcome.conflicts == []
    assert await lines(into) == await lines(source)
    assert [sentence async for sentence in faults(into, lambda _: None)] == []
    assert await brought(into, await saved(source), merge=True) == Brought(
        Restored(records=outcome.restored.records, changed=0)
    )
    second = await stores.new(kind)
    await brought(second, await saved(into))
    assert await lines(second) == await lines(source)


async def test_the_audit_comes_along_and_tells_of_the_file(stores: Stores, kind: str) -> None:
    """The history of the keys would be lost with the old store, or nobody see where the new one came from."""
    source, into = await stores.new(kind), await stores.new(kind)
    await fill(source)
    content = await saved(source)
    await brought(into, content)
    await brought(into, content, merge=True)
    identity = await source.identity()
    own = [numbered for numbered in await the_events(into) if not numbered.chain.startswith(identity)]
    assert [numbered.event for numbered in await the_events(into) if numbered.chain.startswith(identity)] == [
        numbered.event for numbered in await the_events(source)
    ]
    (told,) = own
    digest = checked(io.BytesIO(content), lambda _: None).sha256
    assert (told.event.action, told.event.subject_id, told.event.actor, told.event.about) == (
        AuditAction.STORE_IMPORTED,
        identity,
        WHO.actor,
        f"sha256 {digest}",
    )
    for chain in await source.chains():
        assert await listed(into.seals(chain)) == await listed(source.seals(chain))


async def test_a_store_that_is_not_empty_is_left_alone(stores: Stores, kind: str) -> None:
    """A file would be poured into the store of another gateway by mistake."""
    source, into = await stores.new(kind), await stores.new(kind)
    await fill(source)
    await do(into, acts.make_app(OTHER_APP))
    before = await lines(into)
    with pytest.raises(ActRefused) as refused:
        await brought(into, await saved(source))
    assert refused.value.reason is ActReason.STORE_NOT_EMPTY
    assert await lines(into) == before


async def test_a_large_store_is_brought_back_whole(stores: Stores) -> None:
    """Of more records than are held at once, those at the edges would be lost or doubled."""
    source, into = await stores.new("sqlite"), await stores.new("sqlite")
    await fill(source)
    for number in range(120):
        app = App(f"5c{number:022x}", "an app", "eu")
        await do(source, acts.make_app(app))
        await do(source, *(acts.make_key(app.id, f"5c{number:010x}{each:04x}") for each in range(10)))
        await do(source, acts.make_token(app.id, f"5c{number:010x}ffff", "first-user"))
    await source.note_used({key.id: key.created_at for key in await listed(source.keys())})
    assert (await brought(into, await saved(source))).conflicts == []
    assert await lines(into) == await lines(source)


async def test_no_token_is_in_the_file(empty: Store) -> None:
    """Whoever finds a backup could use the keys in it."""
    await fill(empty)
    content = await saved(empty)
    for key_id in KEYS:
        assert f'"id":"{key_id}"'.encode() in content
    assert b'"sha256"' in content
    assert b'"token"' not in content
    assert b'"secret"' not in content


# Merged ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", KINDS)
async def test_an_old_backup_revives_nothing(stores: Stores, kind: str, target: str) -> None:
    """A key that was revoked after the backup would work again when the backup is brought back."""
    store = await stores.new(kind)
    await fill(store)
    content = await saved(store)
    await do(
        store,
        acts.revoke_all(APP.id),
        acts.rotate(OTHER_APP.id, "7b00000000000002", "7b00000000000003", shutdown=0),
        acts.end_user_tokens(APP.id, USERS[0]),
        acts.switch_app(OTHER_APP.id, disabled=True),
        acts.remove(APP.id, EMAIL),
    )
    later = await saved(store)
    before = await lines(store)
    outcome = await brought(store, content, merge=True)
    assert await lines(store) == before
    assert [sentence.split()[1] for _, sentence in outcome.conflicts] == ["role"]

    other = await stores.new(target)  # which is given the later state first, then the older one
    await brought(other, later)
    state = await lines(other)
    assert (await brought(other, content, merge=True)).restored.changed == 0
    assert await lines(other) == state

    third = await stores.new(target)  # and the other way round
    await brought(third, content)
    await brought(third, later, merge=True)
    for key_id in [*KEYS, "e5c3b842231543f0", "7b00000000000002"]:
        assert _end(await the_key(third, key_id)) == _end(await the_key(store, key_id))
    assert (await the_app(third, OTHER_APP.id)) == (await the_app(store, OTHER_APP.id))
    assert (await the_user(third, APP.id, USERS[0])) == (await the_user(store, APP.id, USERS[0]))
    restored = {numbered.event.subject_id for numbered in await the_events(third) if _restores(numbered)}
    assert {"7b00000000000002", OTHER_APP.id} <= restored


def _end(key: KeyRecord) -> tuple[int | None, int | None]:
    return key.revoked_at, key.shutdown_at


def _restores(numbered: Numbered) -> bool:
    return numbered.event.action is AuditAction.REVOCATION_RESTORED


async def test_what_does_not_fit_is_named_by_line(stores: Stores, kind: str) -> None:
    """An operator would not know which records of the file are not in the store."""
    source, into = await stores.new(kind), await stores.new(kind)
    await do(source, acts.make_app(APP), *(acts.make_key(APP.id, f"5a{number:014x}") for number in range(10)))
    await do(source, acts.make_token(APP.id, "5a000000000000f1", "first-user", "a"))
    await do(into, acts.make_app(replace(APP, region="us")), acts.make_app(OTHER_APP))
    await do(into, *(acts.make_key(APP.id, f"5a{number:014x}") for number in range(20, 26)))
    await do(
        into, acts.make_key(OTHER_APP.id, "5a00000000000000"), acts.make_token(APP.id, "5a000000000000f0", "u", "a")
    )
    content = await saved(source)
    outcome = await brought(into, content, merge=True)
    records = dict(enumerate(content.decode().splitlines(), start=1))
    told = sorted((records[line].partition(",")[0], sentence) for line, sentence in outcome.conflicts)
    kinds = [each.removeprefix('{"kind":').strip('"') for each, _ in told]
    # A place was left for four; the token's user is here under another id.
    assert kinds == ["app", *["key"] * 6, "user", "user_token"]
    seen = await look(into, APP.id)
    assert places(seen.keys.values(), seen.now) == MAX_ACTIVE_KEYS
    assert [sentence async for sentence in faults(into, lambda _: None)] == []


async def test_two_halves_of_a_store_become_one(stores: Stores, kind: str) -> None:
    """After a failover that left two stores, what either had revoked would work on."""
    one = await stores.new(kind)
    await fill(one)
    content = await saved(one)
    two = await stores.new(kind)
    await brought(two, content)
    await do(one, acts.revoke(APP.id, KEYS[0]), acts.switch_user(APP.id, USERS[0], disabled=True))
    await do(two, acts.revoke(APP.id, "e5c3b842231543f0"), acts.end_app_tokens(APP.id))
    files = await saved(one), await saved(two)
    await brought(one, files[1], merge=True)
    await brought(two, files[0], merge=True)
    assert await _records(one) == await _records(two)


async def _records(store: Store) -> list[bytes]:
    kinds = ("app", "key", "user", "user_token")
    return sorted([line_of(record) async for record in everything(store) if kind_of(record) in kinds])


# While others change the store, and when it goes away -----------------------------------------------------------------


async def test_a_file_is_whole_though_the_store_is_changed_meanwhile(stores: Stores, kind: str) -> None:
    """A backup that is made while the gateway is in use would be refused just when it is needed."""
    url = await stores.url(kind)
    store, other = await stores.opened(url), await stores.opened(url)
    await fill(store)
    for number in range(20):
        await do(store, acts.make_app(App(f"5b{number:022x}", "an app", "eu")))
        await do(store, *(acts.make_key(f"5b{number:022x}", f"5b{number:010x}{each:04x}") for each in range(10)))
    stopped = asyncio.Event()

    async def change() -> int:
        count = 0
        while not stopped.is_set():
            count += 1
            app_id = f"5b{count % 20:022x}"
            found = [key.id for key in (await look(other, app_id)).keys.values() if key.successor is None]
            new = f"5b{count:06x}{'c' * 8}"
            await other.act([acts.rotate(app_id, min(found), new, shutdown=DAY)])
            await do(other, acts.make_token(app_id, f"5b{count:06x}{'d' * 8}", f"user-{count}"))
        return count

    changing = asyncio.create_task(change())
    try:
        contents = [await saved(store) for _ in range(2)]
    finally:
        stopped.set()
        async with asyncio.timeout(PATIENCE):
            changes = await changing
    assert changes > 0
    for content in contents:
        into = await stores.new("sqlite")
        assert (await brought(into, content)).conflicts == []


async def test_a_key_that_is_rotated_while_it_is_saved_stays_in_its_pair(stores: Stores, kind: str) -> None:
    """A backup would hold an eleventh active key, which could not be brought back, and clients have just been given."""
    store = await stores.new(kind)
    now = (await look(store, APP.id)).now
    active = [a_key(number, now - DAY, now + DAY) for number in range(MAX_ACTIVE_KEYS)]
    history = [a_key(number, now - DAY + number, now - 1) for number in range(100, 700)]
    await do(store, acts.make_app(APP))
    for start in range(0, 600, 100):
        await do(store, acts.keep(APP, keys=tuple(history[start : start + 100])))
    await do(store, acts.keep(APP, keys=tuple(active)))
    rotating: Any = Rotating(store, acts.rotate(APP.id, active[0].id, "5a0000000000ffff"))
    into = await stores.new("sqlite")
    assert (await brought(into, await saved(rotating))).conflicts == []
    assert (await the_key(into, active[0].id)).successor == "5a0000000000ffff"
    assert len(await listed(into.keys())) == len(active) + len(history) + 1


def a_key(number: int, created_at: int, expires_at: int) -> KeyRecord:
    """A key, another for each number."""
    scopes = frozenset({"USER_READ"})
    return KeyRecord(f"5a{number:014x}", APP.id, "k", scopes, number.to_bytes(32), created_at, expires_at)


class Rotating(Lossy):
    """A store in which a key is rotated just when the first keys have been listed."""

    def __init__(self, store: Store, act: Act) -> None:
        super().__init__(store, StoreUnavailable(""))
        self._acts = [act]

    async def keys(self, app_id: str | None = None) -> AsyncIterator[KeyRecord]:
        async for key in self._store.keys(app_id):
            yield key
            while self._acts:
                await do(self._store, self._acts.pop())


async def test_an_import_that_broke_off_is_begun_anew(stores: Stores, kind: str) -> None:
    """A store that goes away in the midst would leave a part of a backup, and no way to get the rest in."""
    source, into = await stores.new(kind), await stores.new(kind)
    await fill(source)
    content = await saved(source)
    breaking: Any = Breaking(into)
    with pytest.raises(
        StoreUnavailable, match=r"^Gone\. A part of the file is in the store now; .* with --merge brings"
    ):
        await brought(breaking, content)
    assert await the_app(into) is not None
    assert (await brought(into, content, merge=True)).conflicts == []
    assert await lines(into) == await lines(source)
    told = [numbered for numbered in await the_events(into) if _tells_of_file(numbered)]
    assert len(told) == 2  # each run brought something


class Breaking(Lossy):
    """A store that takes apps and then is gone."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, StoreUnavailable(""))

    async def act(self, acts: Sequence[Act]) -> Any:
        if any(each.asked.keys or each.asked.users for each in acts):
            raise StoreUnavailable("Gone.")
        return await self._store.act(acts)


# Whether a store is whole ---------------------------------------------------------------------------------------------


async def test_a_store_that_is_not_whole_is_told(stores: Stores) -> None:
    """Damage in a store would be noticed only by those whom it locks out."""
    store = await stores.new("sqlite")
    await fill(store)
    many = tuple(
        KeyRecord(f"5a{number:014x}", APP.id, "k", frozenset({"X"}), bytes(32), 0, 1 << 50) for number in range(50, 61)
    )
    stray = KeyRecord("5a000000000000ff", APP.id, "k", frozenset({"X"}), bytes(32), 0, 1, successor="5affffffffffffff")
    keys = (*many, stray)
    asked = Asked(APP.id, keys=tuple(key.id for key in keys))
    await do(store, Act(asked, lambda _: Changes(keys=keys)))
    told = [sentence async for sentence in faults(store, lambda _: None)]
    assert told == [
        f"The app {APP.id} has more than 10 active keys.",
        f"key {stray.id}: What it belongs to is not there.",
    ]
