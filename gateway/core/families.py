"""The rules for families of user tokens: each begins with a registration, goes on by refreshes, and ends by its age, by
newer ones, or by a token that comes back after its last minute.

As in `gateway/core/lifecycle.py`: what an `Act` decides. Which tokens there are is known by the item that is asked for
with them, so a rule may find that it has seen too little; then it raises `Unseen`, and is asked again with more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.codes import spent
from gateway.core.ledger import ActReason, ActRefused, Asked, Changes, Item, ItemKey, ItemKind, Snapshot, Who
from gateway.core.lifecycle import the_app
from gateway.core.people import CLOCKS_APART, NewUserToken, create_user_token
from gateway.core.records import App, Fault, User, UserTokenRecord, user_token_fault
from gateway.core.wishes import DAY, USER_TOKEN_LIFETIME

# Within its last minute a token can be refreshed again and again; so many of a family work side by side at most, and
# then no more are given out until the first ones are over.
SIDE_BY_SIDE: Final = 8

_MAY_RETURN: Final = frozenset({None, Fault.EXPIRED})
_BACK_AGAIN: Final = "The token cannot be refreshed."


@dataclass(frozen=True, slots=True)
class TokenRules:
    """How long user tokens live, in milliseconds, and how many families of them a user has at most.

    A refreshed token goes on for `overlap`; one that has expired can be refreshed for another `late`.
    """

    lifetime: int = USER_TOKEN_LIFETIME
    family: int = 90 * DAY
    at_most: int = 5
    overlap: int = 60_000
    late: int = DAY


DEFAULT_RULES: Final = TokenRules()


@dataclass(frozen=True, slots=True)
class Family:
    """The tokens that one registration led to. `id` is that of the first one, `tokens` are those that may still work,
    the newest last; none of them does at `ends_at` or later."""

    id: str
    ends_at: int
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NextToken:
    """The token that is to follow one that was presented."""

    id: str
    verifier: bytes = field(repr=False)


class Unseen(ActRefused):
    """The act has to see more to be decided: these items and these tokens."""

    def __init__(self, items: Iterable[ItemKey] = (), tokens: Iterable[str] = ()) -> None:
        super().__init__(ActReason.CHANGED_SINCE, "The user's tokens are being changed by others; try again.")
        self.items = tuple(items)
        self.tokens = tuple(tokens)

    def widened(self, asked: Asked) -> Asked:
        """What was asked for, and this."""
        return replace(
            asked,
            items=tuple(dict.fromkeys((*asked.items, *self.items))),
            tokens=tuple(dict.fromkeys((*asked.tokens, *self.tokens))),
        )


def families_key(app_id: str, user_id: str) -> ItemKey:
    """What the families of a user are kept under."""
    return ItemKind.FAMILIES, f"{app_id}.{user_id}"


def families_from(item: Item) -> tuple[Family, ...]:
    """The families in an item, the one that was refreshed last at the end. Raises `ValueError` for anything else."""
    try:
        families = tuple(map(_family, orjson.loads(item.text)))
    except (TypeError, KeyError) as error:
        raise ValueError("not the families of a user") from error
    if not families:
        raise ValueError("a user without families has no item")
    return families


def families_item(app_id: str, user_id: str, families: Sequence[Family]) -> Item:
    """The item that holds at least one family."""
    text = orjson.dumps([{"id": each.id, "ends_at": each.ends_at, "tokens": each.tokens} for each in families])
    kind, item_id = families_key(app_id, user_id)
    return Item(kind, item_id, app_id, text.decode(), max(each.ends_at for each in families))


def refresh_fault(record: UserTokenRecord, user: User, app: App, now: int, late: int) -> Fault | None:
    """What keeps a token from being refreshed at `now`, or None: that it has expired does not, if it did lately."""
    fault = user_token_fault(record, user, app, now)
    if fault is Fault.EXPIRED and now < record.expires_at + late:
        fault = None
    if fault is None and app.disabled:
        fault = Fault.APP_DISABLED
    return Fault.USER_DISABLED if fault is None and user.disabled else fault


def issue(seen: Snapshot, asked: Asked, wish: NewUserToken, rules: TokenRules, who: Who) -> Changes:
    """A new token, the first of a family, and its user unless there is one. The oldest family beyond the limit ends."""
    made = create_user_token(seen, wish, who)
    if not made.events:
        return made  # asked for again, as its answer was lost
    (token,) = made.tokens
    user = next(user for user in (*made.users, *seen.users.values()) if user.id == token.user_id)
    families = _living(seen, asked, user, rules.late)
    ends_at = seen.now + rules.family
    token = replace(token, family=token.id, expires_at=min(token.expires_at, ends_at))
    families = [*families, Family(token.id, ends_at, (token.id,))]
    return _with(replace(made, tokens=(token,)), _bounded(seen, user, families, rules, who))


def register(seen: Snapshot, asked: Asked, wish: NewUserToken, code: ItemKey, rules: TokenRules, who: Who) -> Changes:
    """A new token for a code, which is spent. Raises `ActRefused` when the code is not, or no longer, good."""
    if wish.id in seen.tokens:
        return issue(seen, asked, wish, rules, who)
    user = seen.external(wish.external_id or "")
    dropped = spent(seen, code, user)
    if the_app(seen).disabled or (user is not None and user.disabled):
        raise ActRefused(ActReason.CODE_INVALID, "The app or the user is disabled.")
    made = issue(seen, asked, wish, rules, who)
    # So that what was registered with the codes of a key that leaked can be found.
    events = tuple(
        replace(event, about=f"{event.about}, code {code[1]}")
        if event.action is AuditAction.USER_TOKEN_CREATED
        else event
        for event in made.events
    )
    return _with(replace(made, events=events), Changes(dropped=(dropped,)))


def refresh(seen: Snapshot, asked: Asked, token_id: str, wish: NextToken, rules: TokenRules, who: Who) -> Changes:
    """The next token of a family; the one presented, and any other of the family, goes on for the overlap.

    A token that has no family, as it was imported, begins one.
    """
    app = the_app(seen)
    made = seen.tokens.get(wish.id)
    if wish.id in seen.taken or (made is not None and made.verifier != wish.verifier):
        raise ActRefused(ActReason.ID_TAKEN, "The id is taken, and no id is ever used again.")
    if made is not None:
        return Changes(tokens=(made,))
    old = seen.tokens.get(token_id)
    user = None if old is None else seen.users.get(old.user_id)
    if old is None or user is None or refresh_fault(old, user, app, seen.now, rules.late) is not None:
        raise ActRefused(ActReason.TOKEN_INVALID, _BACK_AGAIN)
    families = _living(seen, asked, user, rules.late)
    family = _continued(old, families, seen.now + rules.family)
    if family is None or family.ends_at <= seen.now:
        raise ActRefused(ActReason.TOKEN_INVALID, _BACK_AGAIN)
    created_at = max(seen.now, user.cut_at + 1, app.cut_at + 1)
    ends_at = min(seen.now + rules.lifetime, family.ends_at)
    new = UserTokenRecord(wish.id, app.id, user.id, wish.verifier, created_at, ends_at, family=family.id)
    others = [token for token in family.tokens if token != old.id]
    if len(others) > SIDE_BY_SIDE - 2:
        # None of them is ended to make room: a thief would end the user's so, and nobody would find that it came back.
        raise ActRefused(ActReason.TOO_MANY_REFRESHES, "The token was refreshed too often within a minute; wait.")
    kept = (old.id, *others)
    shutdown_at = seen.now + rules.overlap
    superseded = [
        replace(token, shutdown_at=shutdown_at, family=family.id)
        for token in map(seen.tokens.__getitem__, kept)
        if token.shutdown_at is None
    ]
    event = _event(seen, AuditAction.USER_TOKEN_REFRESHED, old.id, who, f"successor {new.id}, user {user.id}")
    families = [*(each for each in families if each.id != family.id), replace(family, tokens=(*kept, new.id))]
    changes = Changes(tokens=(*superseded, new), events=(event,))
    return _with(changes, _bounded(seen, user, families, rules, who))


def reused(seen: Snapshot, asked: Asked, token_id: str, who: Who) -> Changes:
    """The end of a family of which a token was presented after it was refreshed and its overlap was over.

    The token is marked as ended, so that it is told once, however often it comes.
    """
    app = the_app(seen)
    token = seen.tokens.get(token_id)
    user = None if token is None else seen.users.get(token.user_id)
    if token is None or user is None or user_token_fault(token, user, app, seen.now) is not Fault.SUPERSEDED:
        return Changes()
    families = _seen_families(seen, asked, user)
    ids = {token.id, *(each for family in families if family.id == token.family for each in family.tokens)}
    records = (seen.tokens[each] for each in sorted(ids) if each in seen.tokens)
    ended = tuple(replace(each, revoked_at=seen.now) for each in records if each.revoked_at is None)
    event = _event(seen, AuditAction.USER_TOKEN_REUSE, token.id, who, f"family {token.family}, user {user.id}")
    left = [family for family in families if family.id != token.family]
    changes = Changes(tokens=ended, events=(event,))
    return changes if len(left) == len(families) else _with(changes, _kept(user, left))


def _family(value: Any) -> Family:
    family = Family(value["id"], value["ends_at"], tuple(value["tokens"]))
    good = type(family.id) is str and type(family.ends_at) is int and type(value["tokens"]) is list and family.tokens
    if not good or not all(type(token) is str for token in family.tokens) or len(value) != len(Family.__slots__):
        raise ValueError("not a family of user tokens")
    return family


def _seen_families(seen: Snapshot, asked: Asked, user: User) -> tuple[Family, ...]:
    key = families_key(user.app_id, user.id)
    if key not in asked.items:
        raise Unseen(items=(key,))
    families = families_from(seen.items[key]) if key in seen.items else ()
    tokens = {token for family in families for token in family.tokens}
    if not tokens.issubset(asked.tokens):
        raise Unseen(tokens=sorted(tokens))
    return families


def _living(seen: Snapshot, asked: Asked, user: User, late: int) -> list[Family]:
    """The user's families, each with those tokens that may still work by some clock, or be refreshed."""
    app = the_app(seen)
    earlier = seen.now - CLOCKS_APART

    def may_live(token_id: str) -> bool:
        token = seen.tokens.get(token_id)
        if token is None or token.expires_at + late <= earlier:
            return False
        return user_token_fault(token, user, app, earlier) in _MAY_RETURN

    families = _seen_families(seen, asked, user)
    left = (replace(family, tokens=tuple(filter(may_live, family.tokens))) for family in families)
    return [family for family in left if family.tokens]


def _continued(old: UserTokenRecord, families: Sequence[Family], ends_at: int) -> Family | None:
    """The family that a token belongs to; a new one for a token that never had any."""
    if not old.family:
        return Family(old.id, ends_at, (old.id,))
    return next((family for family in families if family.id == old.family and old.id in family.tokens), None)


def _bounded(seen: Snapshot, user: User, families: list[Family], rules: TokenRules, who: Who) -> Changes:
    """The newest families, as many as there may be, and the end of the others."""
    over, kept = families[: -rules.at_most], families[-rules.at_most :]
    ended = [seen.tokens[token] for family in over for token in family.tokens]
    events = (_event(seen, AuditAction.USER_TOKEN_REVOKED, each.id, who, "newer_family") for each in ended)
    tokens = tuple(replace(each, revoked_at=seen.now) for each in ended)
    return _with(Changes(tokens=tokens, events=tuple(events)), _kept(user, kept))


def _kept(user: User, families: Sequence[Family]) -> Changes:
    if families:
        return Changes(items=(families_item(user.app_id, user.id, families),))
    return Changes(dropped=(families_key(user.app_id, user.id),))


def _with(one: Changes, other: Changes) -> Changes:
    return replace(
        one,
        tokens=(*other.tokens, *one.tokens),
        items=(*one.items, *other.items),
        dropped=(*one.dropped, *other.dropped),
        events=(*one.events, *other.events),
    )


def _event(seen: Snapshot, action: AuditAction, subject_id: str, who: Who, about: str) -> AuditEvent:
    return AuditEvent(seen.now, action, the_app(seen).id, subject_id, who.actor, who.source, about)
