"""A file is brought into a store: into an empty one as it is, into another so that taking away wins."""

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.audit import AuditAction, Numbered
from gateway.core.ledger import Act, ActReason, ActRefused, Who
from gateway.core.lifecycle import places
from gateway.core.portable import kind_of, line_of
from gateway.core.records import MAX_ACTIVE_KEYS, KeyRecord
from gateway.keys.export_file import checked
from gateway.keys.moving import everything, faults
from gateway.store.contract import Store, StoreUnavailable
from tests.keys.conftest import KINDS, Stores
from tests.store import acts
from tests.store.acts import do, look
from tests.store.place import APP, OTHER_APP, listed, the_app, the_events, the_key, the_user
from tests.support.moving import EMAIL, KEYS, USERS, Lossy, brought, fill, lines, saved, tells_of_file

WHO = Who("cli:ada", "cli")


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


# When it breaks off ---------------------------------------------------------------------------------------------------


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
    told = [numbered for numbered in await the_events(into) if tells_of_file(numbered)]
    assert len(told) == 2  # each run brought something


class Breaking(Lossy):
    """A store that takes apps and then is gone."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, StoreUnavailable(""))

    async def act(self, acts: Sequence[Act]) -> Any:
        if any(each.asked.keys or each.asked.users for each in acts):
            raise StoreUnavailable("Gone.")
        return await self._store.act(acts)
