"""How the store's data lies in Redis: names of keys, and records as text or bytes that are read back strictly.

Everything of an app lies under its slot tag, the first two hex digits of its id; what a person owns lies as an app's:

    {ab}:identity            the store's random id
    {ab}:apps                set of the ids of apps
    {ab}:app:<app>           the app
    {ab}:keys:<app>          sorted set of the ids of all its keys there ever were, by when they were made
    {ab}:living:<app>        set of the ids of those that may still work
    {ab}:users:<app>         set of the ids of its users
    {ab}:user:<app>:<user>   a user
    {ab}:external:<app>      hash from external ids to the ids of users
    {ab}:roles:<app>         hash from e-mail addresses to roles
    {ab}:item:<kind>:<id>    an item
    {ab}:items:<kind>:<app>  sorted set of the ids of an owner's items of a kind, by when they end
    {ab}:owners              set of '<kind>:<app>' of those who have, or had, items of a kind
    {ab}:audit               list of events, each with its number
    {ab}:seals               list of seals
    {ab}:chains              set of the names of imported chains; each has lists of its own, with its name at the end
    {ab}:lease:<name>        who does alone what the name says
    {00}:noted               hash from 'since' to minus the first use that was noted; it only rises
    {ab}:rights              for a moment, what it is tried on whether the user may write

and, under the tag of an id's own first two digits, which for those that we mint is that of the app,

    {ab}:id:<id>             a key or a user token; or the tag under which it lies, for an id that came from elsewhere
    {ab}:used                hash from the ids of keys to when they were last used
    {ab}:uses:<key>          hash from '<day>:<what>' to how often a key was used for it; dropped when it is not used

One name for keys and tokens alike: so no id can be both.
"""

import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from gateway.core.ledger import ItemKind
from gateway.store.redis.encoding import decode_takings, encode_takings

__all__ = ["TAGS", "TAKINGS", "Names", "decode_takings", "encode_takings", "tag_of"]

TAGS: Final = tuple(f"{number:02x}" for number in range(256))
TAKINGS: Final = "gateway:takings"  # with ':<identity>', the channel on which is told what was taken away

_TAGGED: Final = re.compile(r"[0-9a-f]{2}")


def tag_of(subject_id: str) -> str:
    """The slot tag of an id: its first two hex digits; of an id that has none, a digest's."""
    return subject_id[:2] if _TAGGED.match(subject_id) else sha256(subject_id.encode()).hexdigest()[:2]


def identity_key(tag: str) -> str:
    """Where the store's identity lies."""
    return f"{{{tag}}}:identity"


def apps_key(tag: str) -> str:
    """Where the ids of a tag's apps lie."""
    return f"{{{tag}}}:apps"


def audit_key(tag: str) -> str:
    """Where the events of a tag lie."""
    return f"{{{tag}}}:audit"


def seals_key(tag: str) -> str:
    """Where the seals of a tag lie."""
    return f"{{{tag}}}:seals"


def used_key(tag: str) -> str:
    """Where it lies when keys were last used."""
    return f"{{{tag}}}:used"


def lease_key(tag: str, name: str) -> str:
    """Where it lies who has a lease."""
    return f"{{{tag}}}:lease:{name}"


def rights_key(tag: str) -> str:
    """What the user's rights are tried on."""
    return f"{{{tag}}}:rights"


def uses_key(key_id: str) -> str:
    """Where the counts lie of what a key was used for."""
    return f"{{{tag_of(key_id)}}}:uses:{key_id}"


def noted_key() -> str:
    """Where it lies when the first use was noted."""
    return f"{{{TAGS[0]}}}:noted"


def item_key(tag: str, kind: ItemKind, item_id: str) -> str:
    """Where an item lies."""
    return f"{{{tag}}}:item:{kind}:{item_id}"


def items_key(tag: str, kind: ItemKind, owner: str) -> str:
    """Where the ids lie of an owner's items of a kind."""
    return f"{{{tag}}}:items:{listed_as(kind, owner)}"


def owners_key(tag: str) -> str:
    """Where it lies who has items."""
    return f"{{{tag}}}:owners"


def listed_as(kind: ItemKind, owner: str) -> str:
    """What stands among the owners for one who has items of a kind."""
    return f"{kind}:{owner}"


def id_key(tag: str, credential_id: str) -> str:
    """Where a key or a user token lies."""
    return f"{{{tag}}}:id:{credential_id}"


@dataclass(frozen=True, slots=True)
class Names:
    """The names of what belongs to one app, all of them under its slot tag."""

    app_id: str
    tag: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tag", tag_of(self.app_id))

    def of(self, what: str) -> str:
        """The name of `app`, `keys`, `living`, `users`, `external` or `roles`."""
        return f"{{{self.tag}}}:{what}:{self.app_id}"

    def user(self, user_id: str) -> str:
        """The name of a user."""
        return f"{{{self.tag}}}:user:{self.app_id}:{user_id}"
