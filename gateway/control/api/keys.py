"""Routes of keys."""

from collections.abc import AsyncIterator

from gateway.control.api.asked import KeyAsked, KeysQuery, RenameAsked, RotationAsked
from gateway.control.api.callers import Needs
from gateway.control.api.calls import Call, Ids, Reply, tagged
from gateway.control.api.models import KeyMade, KeyRotated, KeyTold, Page
from gateway.control.api.problems import impossible
from gateway.control.api.routes import Route
from gateway.core.ledger import Asked, Changes, Snapshot
from gateway.core.lifecycle import the_key
from gateway.core.records import KeyRecord, key_state
from gateway.core.wishes import KEY_LIFETIME, SHUTDOWN


def key_told(key: KeyRecord, now: int) -> KeyTold:
    """A key as it is at a time."""
    return KeyTold(
        id=key.id,
        app=key.app_id,
        name=key.name,
        scopes=sorted(key.scopes),
        state=key_state(key, now),
        created_at=key.created_at,
        created_by=key.created_by,
        expires_at=key.expires_at,
        shutdown_at=key.shutdown_at,
        revoked_at=key.revoked_at,
        revoked_why=key.revoked_why,
        successor=key.successor,
    )


def _ask(ids: Ids) -> Asked:
    return Asked(ids["app"], keys=(ids["key"],), roles=True)


def _record(seen: Snapshot, ids: Ids) -> KeyTold:
    return key_told(the_key(seen, ids["key"]), seen.now)


async def _list(call: Call) -> Reply:
    query: KeysQuery = call.query
    now = call.seen.now

    async def found() -> AsyncIterator[KeyRecord]:
        async for key in call.desk.store.keys(call.app_id):
            if query.state in {None, key_state(key, now)}:
                yield key

    return await call.page(found(), lambda key: (key.created_at, key.id), lambda key: key_told(key, now))


async def _create(call: Call) -> Reply:
    asked: KeyAsked = call.body
    lifetime = KEY_LIFETIME if asked.lifetime_seconds is None else asked.lifetime_seconds * 1000

    def answer(seen: Snapshot, changes: Changes) -> KeyMade:
        return KeyMade(**dict(key_told(changes.keys[0], seen.now)))

    changed = await call.change(
        lambda errand: call.keeper(errand).create_key(
            call.app_id, asked.name, asked.scopes, known_scopes=call.desk.scopes(), lifetime=lifetime
        ),
        answer,
    )
    return changed.disclosing(lambda made: made.token)


async def _show(call: Call) -> Reply:
    return tagged(_record(call.seen, call.ids))


async def _rename(call: Call) -> Reply:
    asked: RenameAsked = call.body
    _record(call.seen, call.ids)
    changed = await call.change(
        lambda errand: call.keeper(errand).rename_key(call.ids["key"], asked.name),
        lambda seen, _: _record(seen, call.ids),
    )
    return changed.reply(tag=True)


async def _rotate(call: Call) -> Reply:
    asked: RotationAsked = call.body
    old_id, shutdown = call.ids["key"], _shutdown(call, asked.shutdown_seconds)
    _record(call.seen, call.ids)

    def answer(seen: Snapshot, changes: Changes) -> KeyRotated:
        new = next(key for key in changes.keys if key.id != old_id)
        return KeyRotated(**dict(key_told(new, seen.now)), predecessor=_record(seen, call.ids))

    changed = await call.change(
        lambda errand: call.keeper(errand).rotate_key(old_id, shutdown=shutdown, scopes=asked.scopes), answer
    )
    return changed.disclosing(lambda made: made.token)


def _shutdown(call: Call, seconds: int | None) -> int:
    if not call.desk.overlap:
        if seconds:
            sentence = "The gateway's settings let a rotated key end at once; leave this out."
            raise impossible([("body/shutdown_seconds", sentence)])
        return 0
    return SHUTDOWN if seconds is None else seconds * 1000


async def _revoke(call: Call) -> Reply:
    _record(call.seen, call.ids)
    changed = await call.change(
        lambda errand: call.keeper(errand).revoke_key(call.ids["key"]), lambda seen, _: _record(seen, call.ids)
    )
    return changed.reply(tag=True)


_KEY = "/apps/{app}/keys/{key}"

ROUTES = (
    Route(
        "GET",
        "/apps/{app}/keys",
        "All keys of an app that ever were.",
        Needs.SEES,
        _list,
        Page[KeyTold],
        query=KeysQuery,
    ),
    Route(
        "POST",
        "/apps/{app}/keys",
        "Make a key; its token is shown once.",
        Needs.KEEPS,
        _create,
        KeyMade,
        201,
        KeyAsked,
        conflicts=True,
    ),
    Route("GET", _KEY, "A key.", Needs.SEES, _show, KeyTold, ask=_ask, record=_record),
    Route(
        "PATCH",
        _KEY,
        "Give a key another name.",
        Needs.KEEPS,
        _rename,
        KeyTold,
        body=RenameAsked,
        ask=_ask,
        record=_record,
    ),
    Route(
        "POST",
        f"{_KEY}/rotate",
        "Make a successor of a key; its token is shown once.",
        Needs.KEEPS,
        _rotate,
        KeyRotated,
        201,
        RotationAsked,
        ask=_ask,
        record=_record,
        conflicts=True,
    ),
    Route("POST", f"{_KEY}/revoke", "End a key.", Needs.KEEPS, _revoke, KeyTold, ask=_ask, record=_record),
)
