"""Authentication codes: what a registration begins with, bound to an app, its region and an external id, good once.

    <24 hex digits of the app's id><104 random hex digits>

Of a code the store has a digest; the external id lies beside it, sealed under a key that is made of the code itself, so
that nobody reads it who does not hold the code.
"""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final

import orjson

from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.ledger import ActReason, ActRefused, Changes, Item, ItemKey, ItemKind, Snapshot, Who
from gateway.core.lifecycle import the_app
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
    """A code as it is wished for, with its external id sealed."""

    key: ItemKey
    sealed: bytes = field(repr=False)


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


def sealed_in(item: Item | None, now: int) -> bytes | None:
    """The sealed external id of a code that is good at `now`, or None. Raises `ValueError` for any other item."""
    if item is None:
        return None
    told = orjson.loads(item.text)
    good = type(told) is dict and told.keys() == {"sealed"} and type(told["sealed"]) is str
    if not good or _SEALED.match(told["sealed"]) is None or item.ends_at is None:
        raise ValueError("not an authentication code")
    return bytes.fromhex(told["sealed"]) if now < item.ends_at else None


def create_code(seen: Snapshot, wish: NewCode, who: Who) -> Changes:
    """A new code of an app, for ten minutes."""
    app = the_app(seen)
    kind, item_id = wish.key
    known = seen.items.get(wish.key)
    if known is not None:  # asked for again, as the answer was lost
        return Changes(items=(known,))
    text = orjson.dumps({"sealed": wish.sealed.hex()}).decode()
    event = AuditEvent(seen.now, AuditAction.CODE_CREATED, app.id, item_id, who.actor, who.source)
    return Changes(items=(Item(kind, item_id, app.id, text, seen.now + CODE_LIFETIME),), events=(event,))


def drop_code(seen: Snapshot, key: ItemKey) -> Changes:
    """No such code any more."""
    return Changes(dropped=(key,)) if key in seen.items else Changes()


def spent(seen: Snapshot, key: ItemKey) -> ItemKey:
    """What is dropped when a code is spent. Raises `ActRefused` unless it is good now."""
    if seen.app is None or sealed_in(seen.items.get(key), seen.now) is None:
        raise ActRefused(ActReason.CODE_INVALID, "The code is unknown, spent or expired.")
    return key
