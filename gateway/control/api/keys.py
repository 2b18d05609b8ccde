"""Routes of keys."""

from collections.abc import AsyncIterator, Callable

from gateway.control.api import models
from gateway.control.api.asked import KeysQuery, NewKey, RenameKey, RotateKey
from gateway.control.api.callers import Needs
from gateway.control.api.calls import Call, Ids, Reply, tagged
from gateway.control.api.problems import impossible
from gateway.control.api.routes import Route
from gateway.core.ledger import Asked, Changes, Snapshot
from gateway.core.lifecycle import the_key
from gateway.core.records import KeyRecord, key_state
from gateway.core.wishes import KEY_LIFETIME, SHUTDOWN


def key_told(key: KeyRecord, now: int, last_used: int | None = None) -> models.Key:
    """A key as it is at a time, and when it was last used as far as that was noted."""
    return models.Key(
        id=key.id,
        app=key.app_id,
        name=key.name,
        scopes=sorted(key.scopes),
        state=key_state(key, now),
        created_at=key.created_at,
        created_by=key.created_by,
        expires_at=key.expires_at,
        last_used_at=last_used,
        shutdown_at=key.shutdown_at,
        revoked_at=key.revoked_at,
        revoked_why=key.revoked_why,
        successor=key.successor,
    )


def _ask(ids: Ids) -> Asked:
    return Asked(ids["app"], keys=(ids["key"],), roles=True)


def _record(seen: Snapshot, ids: Ids) -> models.Key:
    return key_told(the_key(seen, ids["key"]), seen.now)


async def _with_use(call: Call) -> Callable[[Snapshot], models.Key]:
    """What tells of the call's key, with when it was last used: looked up before an act, which cannot wait for it."""
    key_id = call.ids["key"]
    the_key(call.seen, key_id)
    last_used = (await call.desk.store.last_used([key_id])).get(key_id)
    return lambda seen: key_told(the_key(seen, key_id), seen.now, last_used)


async def _list(call: Call) -> Reply:
    query: KeysQuery = call.query
    now = call.seen.now

    async def found() -> AsyncIterator[KeyRecord]:
        async for key in call.desk.store.keys(call.app_id):
            if query.state in {None, key_state(key, now)}:
                yield key

    shown, last = await call.part(found(), lambda key: (key.created_at, key.id))
    last_used = await call.desk.store.last_used([key.id for key in shown])
    return call.paged((key_told(key, now, last_used.get(key.id)) for key in shown), last)


async def _create(call: Call) -> Reply:
    asked: NewKey = call.body
    lifetime = KEY_LIFETIME if asked.lifetime_seconds is None else asked.lifetime_seconds * 1000

    def answer(seen: Snapshot, changes: Changes) -> models.IssuedKey:
        return models.IssuedKey(**dict(key_told(changes.keys[0], seen.now)))

    changed = await call.change(
        lambda errand: call.keeper(errand).create_key(
            call.app_id, asked.name, asked.scopes, known_scopes=call.desk.scopes(), lifetime=lifetime
        ),
        answer,
    )
    return changed.disclosing(lambda made: made.token)


async def _show(call: Call) -> Reply:
    told = await _with_use(call)
    return tagged(told(call.seen))


async def _rename(call: Call) -> Reply:
    asked: RenameKey = call.body
    told = await _with_use(call)
    changed = await call.change(
        lambda errand: call.keeper(errand).rename_key(call.ids["key"], asked.name), lambda seen, _: told(seen)
    )
    return changed.reply(tag=True)


async def _rotate(call: Call) -> Reply:
    asked: RotateKey = call.body
    old_id, shutdown = call.ids["key"], _shutdown(call, asked.shutdown_seconds)
    told = await _with_use(call)

    def answer(seen: Snapshot, changes: Changes) -> models.RotatedKey:
        new = next(key for key in changes.keys if key.id != old_id)
        return models.RotatedKey(**dict(key_told(new, seen.now)), predecessor=told(seen))

    changed = await call.change(
        lambda errand: call.keeper(errand).rotate_key(old_id, shutdown=shutdown, scopes=asked.scopes), answer
    )
    return changed.disclosing(lambda made: made.token)


def _shutdown(call: Call, seconds: int | None) -> int:
    if not call.desk.overlap:
        if seconds:
            sentence = "must be left out: by the gateway's settings a rotated key ends at once"
            raise impossible([("body/shutdown_seconds", sentence)])
        return 0
    return SHUTDOWN if seconds is None else seconds * 1000


async def _revoke(call: Call) -> Reply:
    told = await _with_use(call)
    changed = await call.change(
        lambda errand: call.keeper(errand).revoke_key(call.ids["key"]), lambda seen, _: told(seen)
    )
    return changed.reply(tag=True)


_KEYS = "/apps/{app}/keys"
_KEY = "/apps/{app}/keys/{key}"

ROUTES = (
    Route(
        "GET",
        _KEYS,
        "listKeys",
        "List the keys of an app",
        Needs.SEES,
        _list,
        models.Page[models.Key],
        query=KeysQuery,
        about="Keys that have ended are listed too.",
    ),
    Route(
        "POST",
        _KEYS,
        "createKey",
        "Create a key",
        Needs.KEEPS,
        _create,
        models.IssuedKey,
        201,
        NewKey,
        about="Its token is in this answer alone. An app has at most ten active keys.",
    ),
    Route("GET", _KEY, "getKey", "Get a key", Needs.SEES, _show, models.Key, ask=_ask, record=_record),
    Route(
        "PATCH",
        _KEY,
        "renameKey",
        "Rename a key",
        Needs.KEEPS,
        _rename,
        models.Key,
        body=RenameKey,
        ask=_ask,
        record=_record,
    ),
    Route(
        "POST",
        f"{_KEY}/rotate",
        "rotateKey",
        "Rotate a key",
        Needs.KEEPS,
        _rotate,
        models.RotatedKey,
        201,
        RotateKey,
        ask=_ask,
        record=_record,
        about="Makes its successor, whose token is in this answer alone, while the old key goes on for a while.",
    ),
    Route(
        "POST",
        f"{_KEY}/revoke",
        "revokeKey",
        "Revoke a key",
        Needs.KEEPS,
        _revoke,
        models.Key,
        ask=_ask,
        record=_record,
        about="It ends with the next request, for good.",
    ),
)
