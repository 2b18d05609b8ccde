"""What lies in the store of a code, and what it is bound to; the routes' own tests show the rest."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gateway.core.families import DEFAULT_RULES
from gateway.core.ledger import Act, Asked, Changes, Item, ItemKind
from gateway.core.records import App
from gateway.core.token import Prefixes
from gateway.keys.registration import OpenCode, Registration
from gateway.store.contract import Store, StoreBroken, StoreUnavailable
from gateway.store.open import open_store
from tests.support.minting import a_key, an_app, id_of

NAME = "customer-17"


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """An empty store."""
    made = open_store("memory:")
    yield made
    await made.close()


@pytest.fixture
async def app(store: Store) -> App:
    """An app in eu."""
    return await an_app(store)


@pytest.fixture
def registration(store: Store) -> Registration:
    """What registers."""
    return Registration(store, secrets.token_bytes, Prefixes(), DEFAULT_RULES)


async def code_of(registration: Registration, app: App) -> bytes:
    """A new code."""
    key_id = id_of(await a_key(registration.store, app, "USER_LINK"))
    return (await registration.issue_code(app.id, app.region, NAME, key_id)).code.reveal().encode()


async def keep(store: Store, app: App, changes: Changes) -> None:
    """Keep something just as it is."""
    asked = Asked(app.id, items=tuple(item.key for item in changes.items))
    await store.act([Act(asked, lambda _: changes)])


async def test_a_stolen_store_tells_nothing_of_a_code(store: Store, app: App, registration: Registration) -> None:
    """Whoever reads the store, or a copy of it, could log in as a user, or learn who is one."""
    code = await code_of(registration, app)
    (item,) = [item async for item in store.items(ItemKind.CODE)]
    held = await registration.find_code(code)
    assert isinstance(held, OpenCode)
    assert held.external_id == NAME
    for shown in (item.id + item.text, repr(item), repr(held)):
        assert code.decode()[24:] not in shown
        assert NAME not in shown
        assert NAME.encode().hex() not in shown


async def test_a_code_is_bound_to_its_region(store: Store, app: App, registration: Registration) -> None:
    """A user would be made in a region whose data must not go there."""
    code = await code_of(registration, app)
    await keep(store, app, Changes(app=replace(app, region="us")))
    assert await registration.find_code(code) is None


async def test_damage(store: Store, app: App, registration: Registration) -> None:
    """Damage in the store would be told as a false code or token, or as a fault of ours."""
    code = await code_of(registration, app)
    held = await registration.find_code(code)
    assert held is not None
    user = (await registration.register(held)).record
    code = await code_of(registration, app)
    async for item in store.items(ItemKind.CODE):
        await keep(store, app, Changes(items=(Item(item.kind, item.id, item.owner, "{}", item.ends_at),)))
    with pytest.raises(StoreBroken, match="damaged"):
        await registration.find_code(code)
    async for item in store.items(ItemKind.FAMILIES):
        await keep(store, app, Changes(items=(Item(item.kind, item.id, item.owner, "[1]", item.ends_at),)))
    with pytest.raises(StoreUnavailable, match="damaged"):
        await registration.refresh(user)
