"""Checks of a user's deletion, as the gateway does it: by the rule of `gateway/core/deletion.py`, in one act."""

import asyncio

from gateway.core import deletion
from gateway.core.audit import AuditAction
from gateway.core.ledger import Act, Asked, Changes, Item, ItemKind
from gateway.core.records import DELETED, Fault, User, user_token_fault
from tests.store import acts
from tests.store.acts import do
from tests.store.place import APP, OTHER_APP, TOKEN_ID, USER_ID, Place, filled, opened, the_events, the_user

FAMILIES = Item(ItemKind.FAMILIES, f"{APP.id}.{USER_ID}", APP.id, "{}")


def deleting(user_id: str = USER_ID, app_id: str = APP.id) -> Act:
    """The act."""
    return Act(deletion.asked_of(app_id, user_id), lambda seen: deletion.delete_user(seen, user_id, acts.WHO))


async def check_a_user_is_deleted_once(place: Place) -> None:
    """A deleted user's tokens would work, what stands of the families remain, or the audit tell of it ten times."""
    async with filled(place) as store, opened(place) as second:
        await do(store, Act(Asked(APP.id, items=(FAMILIES.key,)), lambda _: Changes(items=(FAMILIES,))))
        await asyncio.gather(*(one.act([deleting()]) for one in [store, second] * 5))

        assert await the_user(store) == User(USER_ID, APP.id, cut_at=DELETED)
        assert await store.find_item(*FAMILIES.key) is None
        found = await store.find_user_token(TOKEN_ID)
        assert found is not None
        assert user_token_fault(found.record, found.user, found.app, 0) is Fault.REVOKED
        events = [each.event for each in await the_events(store) if each.event.action is AuditAction.USER_DELETED]
        assert [(event.app_id, event.subject_id, event.about) for event in events] == [(APP.id, USER_ID, "")]


async def check_an_unknown_user_is_deleted(place: Place) -> None:
    """Tokens that other issuers gave out for a deleted user would go on, or another app's user would end."""
    async with filled(place) as store, opened(place) as second:
        await do(store, deleting("stranger"), deleting(USER_ID, OTHER_APP.id))
        assert await the_user(second, user_id="stranger") == User("stranger", APP.id, cut_at=DELETED)
        assert await the_user(second, OTHER_APP.id) == User(USER_ID, OTHER_APP.id, cut_at=DELETED)
        mine = await the_user(second)
        assert mine is not None
        assert not mine.deleted
