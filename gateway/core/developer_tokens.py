"""The tokens that people have for the management API: issued for at most 90 days, shown once, ended at will.

A token says who somebody is and nothing of what they may do: roles are looked up at each request. It is kept under the
person's id, so that no address is written down with it.

Whoever has a token makes the next one with it, so the end of a token is the end of all that descend from it: each says
which those are that it does. An act about them sees all of a person's tokens that live: which these are is read
beforehand, and the id of the newest one tells whether there has been another since.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from hmac import compare_digest
from typing import Final

from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.ledger import ActReason, ActRefused, Asked, Changes, Item, ItemKey, ItemKind, Snapshot, Who
from gateway.core.records import Fault, KeyRecord, works
from gateway.core.wishes import DAY

PREFIX: Final = "gwd"
OPERATOR_PREFIX: Final = "gwo"  # of the tokens that the settings know
LIFETIME: Final = 30 * DAY
LONGEST_LIFETIME: Final = 90 * DAY

# Of one person at a time: a few machines and scripts, each with a token and its successor. Each act about the person's
# tokens looks at as many.
AT_MOST: Final = 20
# Tokens that one may descend from, each of which it names: about 600 bytes. A program that makes the next one every 90
# days goes on for eight years.
LONGEST_LINE: Final = 32

_VERIFIER: Final = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class DeveloperToken:
    """What is kept of a developer's token. `owner` is the person's id, `developer` what the audit calls the person, and
    `ancestors` are the ids of all tokens that it descends from, the one that it was made with last."""

    id: str
    owner: str
    developer: str
    verifier: bytes = field(repr=False)
    created_at: int
    expires_at: int
    created_by: str
    revoked_at: int | None = None
    ancestors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewDeveloperToken:
    """A token as it is wished for, with the `parent` that asks for it, unless an operator does."""

    id: str
    developer: str
    verifier: bytes = field(repr=False)
    lifetime: int
    parent: str | None = None


class Moved(ActRefused):
    """A token was issued to the person since all were listed: the act has to see it too."""

    def __init__(self) -> None:
        super().__init__(ActReason.CHANGED_SINCE, "The person's tokens are being changed by others; try again.")


def item_key(token_id: str) -> ItemKey:
    """Where a token is kept."""
    return ItemKind.DEVELOPER_TOKEN, token_id


def newest_key(owner: str) -> ItemKey:
    """Where it is kept which token a person was given last."""
    return ItemKind.NEWEST_TOKEN, owner


def asked_of(owner: str, tokens: Iterable[DeveloperToken], now: int, *named: str) -> Asked:
    """What an act about a person's tokens looks at, of all that there are: those that live, and the named ones."""
    ids = dict.fromkeys((*named, *(token.id for token in tokens if _lives(token, now))))
    return Asked(owner, items=(newest_key(owner), *map(item_key, ids)))


def require_all_seen(snapshot: Snapshot, owner: str, newest: Item | None) -> None:
    """Raise `Moved` unless this is still who tells which token the person was given last."""
    if snapshot.items.get(newest_key(owner)) != newest:
        raise Moved


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
            **({"ancestors": token.ancestors} if token.ancestors else {}),  # absent as in those of earlier versions
        }
    )
    return Item(*item_key(token.id), token.owner, text, token.expires_at)


def token_from(item: Item) -> DeveloperToken:
    """The token that was kept. Raises `ValueError` for anything else."""
    values = json.loads(item.text)
    if not isinstance(values, dict) or values.keys() - {"ancestors"} != _MEMBERS:
        raise ValueError("not a developer's token")
    ancestors = values.get("ancestors", [])
    texts = [values["developer"], values["verifier"], values["created_by"]]
    times = [values["created_at"], values["expires_at"], values["revoked_at"] or 0]
    whole = all(type(text) is str for text in texts) and all(type(time) is int for time in times)
    if not whole or not _VERIFIER.match(values["verifier"]) or not _is_line(ancestors):
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
        ancestors=tuple(ancestors),
    )


def token_fault(token: DeveloperToken, verifier: bytes, now: int) -> Fault | None:
    """What is wrong with a token that was presented, if anything is. Takes as long for each secret."""
    if not compare_digest(token.verifier, verifier):
        return Fault.WRONG
    if token.revoked_at is not None:
        return Fault.REVOKED
    return Fault.EXPIRED if token.expires_at <= now else None


def issue_token(snapshot: Snapshot, owner: str, wish: NewDeveloperToken, who: Who) -> Changes:
    """A new token of a person, if the one that it is made with has not ended, and there are not too many."""
    if not 0 < wish.lifetime <= LONGEST_LIFETIME:
        raise ActRefused(ActReason.WISH_INVALID, "A developer's token lives for at most 90 days.")
    kept = snapshot.items.get(item_key(wish.id))
    if kept is not None:
        made = token_from(kept)
        if made.verifier != wish.verifier:
            raise ActRefused(ActReason.ID_TAKEN, "The id is taken, and no id is ever used again.")
        return Changes(items=(kept,))
    now, tokens = snapshot.now, _tokens(snapshot)
    ancestors = _ancestors(tokens, wish.parent, now)
    _require_room(sum(_lives(token, now) for token in tokens), len(ancestors))
    ends = now + wish.lifetime
    token = DeveloperToken(wish.id, owner, wish.developer, wish.verifier, now, ends, who.actor, ancestors=ancestors)
    before = snapshot.items.get(newest_key(owner))
    # It is kept until no token lives that it told of.
    newest = Item(*newest_key(owner), owner, token.id, max(ends, (before and before.ends_at) or 0))
    event = _event(token, AuditAction.DEVELOPER_TOKEN_CREATED, now, who)
    return Changes(items=(token_item(token), newest), events=(event,))


def revoke_token(snapshot: Snapshot, token_id: str, who: Who) -> Changes:
    """The end of a token, now, and of all that descend from it. Nothing changes when all had been revoked before."""
    if item_key(token_id) not in snapshot.items:
        raise ActRefused(ActReason.UNKNOWN_TOKEN, "There is no developer's token with this id.")
    return _ended(snapshot, (token for token in _tokens(snapshot) if token_id in (token.id, *token.ancestors)), who)


def end_tokens(snapshot: Snapshot, who: Who) -> Changes:
    """The end of every token of a person, now."""
    return _ended(snapshot, _tokens(snapshot), who)


def revoked_event(token: DeveloperToken, now: int, who: Who) -> AuditEvent:
    """That a token was revoked."""
    return _event(token, AuditAction.DEVELOPER_TOKEN_REVOKED, now, who)


def keys_shown(snapshot: Snapshot, developer: str) -> list[KeyRecord]:
    """The keys of the app that work and whose tokens this person was shown, as who makes a key is; oldest first."""
    actor = f"developer:{developer}"
    shown = (key for key in snapshot.keys.values() if key.created_by == actor and works(key, snapshot.now))
    return sorted(shown, key=lambda key: (key.created_at, key.id))


def _tokens(snapshot: Snapshot) -> list[DeveloperToken]:
    """The tokens that an act sees."""
    return [token_from(item) for item in snapshot.items.values() if item.kind is ItemKind.DEVELOPER_TOKEN]


def _lives(token: DeveloperToken, now: int) -> bool:
    return token.revoked_at is None and token.expires_at > now


def _is_line(ancestors: object) -> bool:
    return isinstance(ancestors, list) and all(type(each) is str for each in ancestors)


def _ancestors(tokens: Iterable[DeveloperToken], parent: str | None, now: int) -> tuple[str, ...]:
    """What a token descends from that is made with `parent`, which must live."""
    if parent is None:
        return ()
    for token in tokens:
        if token.id == parent and _lives(token, now):
            return (*token.ancestors, parent)
    raise ActRefused(ActReason.TOKEN_INVALID, "The token that asks for another has ended.")


def _require_room(living: int, line: int) -> None:
    if living >= AT_MOST:
        raise ActRefused(
            ActReason.TOO_MANY_TOKENS,
            f"The person has {AT_MOST} tokens that work, and nobody may have more. Revoke one that is no longer needed,"
            " or wait until one expires.",
        )
    if line > LONGEST_LINE:
        raise ActRefused(
            ActReason.TOO_MANY_TOKENS,
            f"The token descends from {LONGEST_LINE} others, and makes no more. An operator can make a new one.",
        )


def _ended(snapshot: Snapshot, tokens: Iterable[DeveloperToken], who: Who) -> Changes:
    now = snapshot.now
    ended = [replace(token, revoked_at=now) for token in tokens if token.revoked_at is None]
    items = map(token_item, ended)
    return Changes(items=tuple(items), events=tuple(revoked_event(token, now, who) for token in ended))


_MEMBERS: Final = {"developer", "verifier", "created_at", "expires_at", "created_by", "revoked_at"}


def _event(token: DeveloperToken, action: AuditAction, now: int, who: Who) -> AuditEvent:
    return AuditEvent(now, action, token.owner, token.id, who.actor, who.source, token.developer)
