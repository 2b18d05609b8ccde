"""The tokens that people have for the management API: issued for at most 90 days, shown once, ended at will.

A token says who somebody is and nothing of what they may do: roles are looked up at each request. It is kept under the
person's id, so that no address is written down with it.
"""

import json
import re
from dataclasses import dataclass, field, replace
from hmac import compare_digest
from typing import Final

from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.ledger import ActReason, ActRefused, Changes, Item, ItemKey, ItemKind, Snapshot, Who
from gateway.core.records import Fault, KeyRecord, works
from gateway.core.wishes import DAY

PREFIX: Final = "gwd"
OPERATOR_PREFIX: Final = "gwo"  # of the tokens that the settings know
LIFETIME: Final = 30 * DAY
LONGEST_LIFETIME: Final = 90 * DAY

_VERIFIER: Final = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class DeveloperToken:
    """What is kept of a developer's token. `owner` is the person's id, `developer` what the audit calls the person."""

    id: str
    owner: str
    developer: str
    verifier: bytes = field(repr=False)
    created_at: int
    expires_at: int
    created_by: str
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True)
class NewDeveloperToken:
    """A token as it is wished for."""

    id: str
    developer: str
    verifier: bytes = field(repr=False)
    lifetime: int


def item_key(token_id: str) -> ItemKey:
    """Where a token is kept."""
    return ItemKind.DEVELOPER_TOKEN, token_id


def token_item(token: DeveloperToken) -> Item:
    """A token, as it is kept."""
    text = json.dumps(
        {
            "developer": token.developer,
            "verifier": token.verifier.hex(),
            "created_at": token.created_at,
            "expires_at": token.expires_at,
            "created_by": token.created_by,
            "revoked_at": token.revoked_at,
        }
    )
    return Item(*item_key(token.id), token.owner, text, token.expires_at)


def token_from(item: Item) -> DeveloperToken:
    """The token that was kept. Raises `ValueError` for anything else."""
    values = json.loads(item.text)
    if not isinstance(values, dict) or set(values) != _MEMBERS:
        raise ValueError("not a developer's token")
    texts = [values["developer"], values["verifier"], values["created_by"]]
    times = [values["created_at"], values["expires_at"], values["revoked_at"] or 0]
    whole = all(type(text) is str for text in texts) and all(type(time) is int for time in times)
    if not whole or not _VERIFIER.match(values["verifier"]):
        raise ValueError("not a developer's token")
    return DeveloperToken(
        id=item.id,
        owner=item.owner,
        developer=values["developer"],
        verifier=bytes.fromhex(values["verifier"]),
        created_at=values["created_at"],
        expires_at=values["expires_at"],
        created_by=values["created_by"],
        revoked_at=values["revoked_at"],
    )


def token_fault(token: DeveloperToken, verifier: bytes, now: int) -> Fault | None:
    """What is wrong with a token that was presented, if anything is. Takes as long for each secret."""
    if not compare_digest(token.verifier, verifier):
        return Fault.WRONG
    if token.revoked_at is not None:
        return Fault.REVOKED
    return Fault.EXPIRED if token.expires_at <= now else None


def issue_token(snapshot: Snapshot, owner: str, wish: NewDeveloperToken, who: Who) -> Changes:
    """A new token of a person."""
    if not 0 < wish.lifetime <= LONGEST_LIFETIME:
        raise ActRefused(ActReason.WISH_INVALID, "A developer's token lives for at most 90 days.")
    kept = snapshot.items.get(item_key(wish.id))
    if kept is not None:
        made = token_from(kept)
        if made.verifier != wish.verifier:
            raise ActRefused(ActReason.ID_TAKEN, "The id is taken, and no id is ever used again.")
        return Changes(items=(kept,))
    now = snapshot.now
    token = DeveloperToken(wish.id, owner, wish.developer, wish.verifier, now, now + wish.lifetime, who.actor)
    return Changes(items=(token_item(token),), events=(_event(token, AuditAction.DEVELOPER_TOKEN_CREATED, now, who),))


def revoke_token(snapshot: Snapshot, token_id: str, who: Who) -> Changes:
    """The end of a token, now. Nothing changes when it had been revoked before."""
    kept = snapshot.items.get(item_key(token_id))
    if kept is None:
        raise ActRefused(ActReason.UNKNOWN_TOKEN, "There is no developer's token with this id.")
    token = token_from(kept)
    if token.revoked_at is not None:
        return Changes()
    ended = replace(token, revoked_at=snapshot.now)
    event = _event(token, AuditAction.DEVELOPER_TOKEN_REVOKED, snapshot.now, who)
    return Changes(items=(token_item(ended),), events=(event,))


def keys_shown(snapshot: Snapshot, developer: str) -> list[KeyRecord]:
    """The keys of the app that work and whose tokens this person was shown, as who makes a key is; oldest first."""
    actor = f"developer:{developer}"
    shown = (key for key in snapshot.keys.values() if key.created_by == actor and works(key, snapshot.now))
    return sorted(shown, key=lambda key: (key.created_at, key.id))


_MEMBERS: Final = {"developer", "verifier", "created_at", "expires_at", "created_by", "revoked_at"}


def _event(token: DeveloperToken, action: AuditAction, now: int, who: Who) -> AuditEvent:
    return AuditEvent(now, action, token.owner, token.id, who.actor, who.source, token.developer)
