"""Authentication codes: what a registration begins with, bound to an app, its region and an external id, good once.

    <24 hex digits of the app's id><104 random hex digits>

Of a code the store has a digest; the external id lies beside it, sealed under a key that is made of the code itself, so
that nobody reads it who does not hold the code. What ends the user's tokens ends codes too, and so does the revocation
of the key that asked for them: a stock of codes must not outlive the leak that it was made from.
"""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final

import orjson

from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.ledger import ActReason, ActRefused, Changes, Item, ItemKey, ItemKind, Snapshot, Who
from gateway.core.lifecycle import the_app
from gateway.core.records import User
from gateway.core.token import Secret

CODE_BYTES: Final = 52  # random ones; with the app's 12 they make the vendor's 128 hex digits
CODE_LIFETIME: Final = 10 * 60 * 1000

_CODE: Final = re.compile(rb"([0-9a-f]{24})[0-9a-f]{104}\Z")
_SEALED: Final = re.compile(r"(?:[0-9a-f]{2}){17,1040}\Z")  # one byte to 256 characters, and the 16 of the tag


@dataclass(frozen=True, slots=True)
class Code:
    """A code as it was presented, unproven: whose it says it is, where it would be kept, what opens what lies there."""

    app_id: str
    key: ItemKey
    opener: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewCode:
    """A code as it is wished for by the API key `key_id`, with its external id sealed, and as it is to be looked up."""

    key: ItemKey
    key_id: str
    external_id: str = field(repr=False)
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeptCode:
    """What is kept of a code: the sealed external id, the API key that asked for it, the user who had that external id
    then, if there was one, and since when it counts (UTC milliseconds)."""

    sealed: bytes = field(repr=False)
    key_id: str
    user_id: str | None
    made_at: int


def minted_code(app_id: str, random: bytes) -> Secret:
    """The code made of an app's id and `CODE_BYTES` random bytes, the same for the same bytes."""
    if len(random) != CODE_BYTES:
        raise ValueError(f"a code is made of {CODE_BYTES} random bytes")
    return Secret(app_id + random.hex())


def code_from(text: bytes) -> Code | None:
    """The code in `text`, or None when that is none. Never raises."""
    match = _CODE.match(text)
    if match is None:
        return None
    app_id = match[1].decode("ascii")
    # Begins as everything of the app does, so that a store that is split by it has all of that in one place.
    item_id = app_id[:2] + hashlib.sha256(text).hexdigest()
    return Code(app_id, (ItemKind.CODE, item_id), hashlib.sha256(b"opens the external id:" + text).digest())


def code_in(item: Item | None, now: int) -> KeptCode | None:
    """What is kept of a code that has not expired at `now`, or None. Raises `ValueError` for any other item."""
    if item is None:
        return None
    kept = _kept(orjson.loads(item.text))
    if kept is None or item.ends_at is None:
        raise ValueError("not an authentication code")
    return kept if now < item.ends_at else None


def create_code(seen: Snapshot, wish: NewCode, who: Who) -> Changes:
    """A new code of an app, for ten minutes."""
    app = the_app(seen)
    kind, item_id = wish.key
    known = seen.items.get(wish.key)
    if known is not None:  # asked for again, as the answer was lost
        return Changes(items=(known,))
    user = seen.external(wish.external_id)
    made_at = max(seen.now, app.cut_at + 1, user.cut_at + 1 if user else 0)  # what was cut before does not concern it
    kept = {
        "sealed": wish.sealed.hex(),
        "key": wish.key_id,
        "user": user.id if user else None,
        "made_at": made_at,
    }
    event = AuditEvent(seen.now, AuditAction.CODE_CREATED, app.id, item_id, who.actor, who.source)
    item = Item(kind, item_id, app.id, orjson.dumps(kept).decode(), seen.now + CODE_LIFETIME)
    return Changes(items=(item,), events=(event,))


def drop_code(seen: Snapshot, key: ItemKey) -> Changes:
    """No such code any more."""
    return Changes(dropped=(key,)) if key in seen.items else Changes()


def spent(seen: Snapshot, key: ItemKey, user: User | None) -> ItemKey:
    """What is dropped when a code is spent for `user`, who has its external id now. Raises `ActRefused` unless the code
    is good now: neither the user nor the app was cut off since, nor the user deleted, nor the key revoked."""
    kept = code_in(seen.items.get(key), seen.now)
    if seen.app is None or kept is None or not _still_counts(seen, kept, user):
        raise ActRefused(ActReason.CODE_INVALID, "The code is unknown, spent, expired or taken back.")
    return key


def _still_counts(seen: Snapshot, kept: KeptCode, user: User | None) -> bool:
    key = seen.keys.get(kept.key_id)
    if key is None or key.revoked_at is not None:
        return False
    if kept.user_id is not None and (user is None or user.id != kept.user_id):
        return False  # the one that it was for is deleted
    app_cut = seen.app.cut_at if seen.app else 0
    return kept.made_at > max(app_cut, user.cut_at if user else 0)


def _kept(told: object) -> KeptCode | None:
    match told:
        case {
            "sealed": str(sealed), "key": str(key_id), "user": str() | None as user_id, "made_at": int(made_at), **more
        } if not more and _SEALED.match(sealed):  # fmt: skip
            return KeptCode(bytes.fromhex(sealed), key_id, user_id, made_at)
    return None
