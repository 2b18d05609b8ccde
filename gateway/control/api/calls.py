"""A call of the API: what its handler knows, and the one way in which a handler changes anything."""

import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from heapq import nsmallest
from typing import Any, Final, Generic, TypeVar

import orjson
from pydantic import BaseModel

from gateway.control.api.asked import PageQuery
from gateway.control.api.callers import Caller, Needs
from gateway.control.api.cursors import Cursors
from gateway.core.families import TokenRules
from gateway.core.ledger import Act, ActReason, ActRefused, Asked, Changes, Done, Snapshot, Who
from gateway.core.people import person_id
from gateway.core.repeats import Repeat, Repeated, forget, once
from gateway.core.token import Prefixes, Secret
from gateway.keys.developer_tokens import TokenDesk
from gateway.keys.keeper import Keeper
from gateway.settings.api import Operator
from gateway.store.contract import Store, StoreUnavailable

T = TypeVar("T")
R = TypeVar("R")

Ids = Mapping[str, str]
Record = Callable[[Snapshot, Ids], BaseModel]
Answer = Callable[[Snapshot, Changes], BaseModel]
Place = tuple[str | int, ...]  # where something stands in a list

SOURCE: Final = "api"

_USE: Final = re.compile(r'@[^"@]*"\Z')
_HELD: Final = 5_000  # of a list at once; five of the longest pages


@dataclass(frozen=True, slots=True)
class Desk:
    """What the API works with."""

    store: Store
    cursors: Cursors
    prefixes: Prefixes
    scopes: Callable[[], tuple[str, ...]]
    regions: tuple[str, ...]
    overlap: bool
    rules: TokenRules
    operators: Sequence[Operator] = field(repr=False)
    operator_leaked: Callable[[], None]
    entropy: Callable[[int], bytes] = field(default=secrets.token_bytes, repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered, with the ETag of a record; `repeated` when it was answered before, `replicated` unless a
    replica of the store did not confirm the change in time."""

    body: bytes = b""
    tag: str | None = None
    repeated: bool = False
    replicated: bool = True


def tagged(model: BaseModel) -> Reply:
    """A record, with its ETag."""
    body = model.model_dump_json().encode()
    return Reply(body, tag_of(body))


def tag_of(body: bytes) -> str:
    """The strong ETag of a record: two that are alike have the same, and no others.

    When it was last used stands at its end by itself: a record that is only used more goes on to match.
    """
    record = orjson.loads(body)
    last_used = record.pop("last_used_at", None)
    digest = hashlib.sha256(orjson.dumps(record)).hexdigest()[:32]
    return f'"{digest}"' if last_used is None else f'"{digest}@{last_used}"'


def _without_use(tag: str) -> str:
    """The ETag of the same record, had it never been used."""
    return _USE.sub('"', tag)


def showing(record: Record) -> Callable[["Call"], Awaitable[Reply]]:
    """A handler that shows a record as it was when the call was let in, with its ETag."""

    async def show(call: Call) -> Reply:
        return tagged(record(call.seen, call.ids))

    return show


@dataclass(frozen=True, slots=True)
class Call:
    """A request by somebody who was proven, to a route that is theirs to ask; well-formed, and its model checked.

    `path` is the route's, with names in braces; `seen` is what the route's record and the caller's role looked like
    when it was let in.
    """

    desk: Desk
    caller: Caller
    needs: Needs
    path: str
    ids: Ids
    seen: Snapshot
    body: Any = None
    query: Any = None
    record: Record | None = None
    repeat: Repeat | None = None
    first_byte: bytes = b""
    if_match: frozenset[str] = frozenset()
    if_none_match: frozenset[str] = frozenset()

    @property
    def app_id(self) -> str:
        """The app that the call is about."""
        return self.ids["app"]

    @property
    def who(self) -> Who:
        """Who acts, for the audit."""
        return Who(self.caller.actor, SOURCE)

    def keeper(self, errand: "Errand") -> Keeper:
        """Who makes and ends apps, keys and users on this errand."""
        return Keeper(self.desk.store, self.who, self._entropy, self.desk.prefixes, self.desk.rules, errand.around)

    def token_desk(self, errand: "Errand | None" = None) -> TokenDesk:
        """Who issues and ends developers' tokens."""
        if errand is None:
            return TokenDesk(self.desk.store, self.who, self.desk.entropy)
        return TokenDesk(self.desk.store, self.who, self.desk.entropy, errand.around)

    async def change(
        self, do: Callable[["Errand"], Awaitable[T]], answer: Answer, *, claims: bool = False
    ) -> "Changed[T]":
        """Do something once, and tell what came of it, as it was told the first time. `claims` is for a change that is
        kept with somebody whom the body names, where another body would not meet the Idempotency-Key."""
        errand = Errand(self, answer)
        try:
            if claims:
                await errand.claim()
            result = await do(errand)
        except Repeated as repeated:
            return Changed(repeated.answer.encode(), None, repeated=True)
        except ActRefused:
            await errand.unclaim()
            raise
        except StoreUnavailable as error:
            if error.taken_back or not error.unknown:
                await errand.forget()
            raise
        return Changed(errand.told.encode(), result)

    async def page(
        self, found: AsyncIterator[T], place: Callable[[T], Place], model: Callable[[T], BaseModel]
    ) -> Reply:
        """The answer with the part of a list that is asked for."""
        shown, last = await self.part(found, place)
        return self.paged(map(model, shown), last)

    async def part(self, found: AsyncIterator[T], place: Callable[[T], Place]) -> tuple[list[T], Place | None]:
        """The part of a list, ordered by `place`, that is asked for, and the place after which it goes on, if it does.

        Whoever walks the list meets all that is there from the first to the last page, and nothing twice. Of a list of
        any length no more than some thousands are held.
        """
        after, wanted = self.after(), self.query.limit + 1
        some: list[T] = []
        async for each in found:
            if after is None or place(each) > after:
                some.append(each)
            if len(some) >= _HELD:
                some = nsmallest(wanted, some, key=place)
        some = nsmallest(wanted, some, key=place)
        shown = some[: wanted - 1]
        return shown, place(shown[-1]) if len(some) == wanted else None

    def after(self) -> Place | None:
        """The place from which on a list is asked for."""
        query: PageQuery = self.query
        return None if query.cursor is None else tuple(self.desk.cursors.read(query.cursor, self._list()))

    def paged(self, items: Iterable[BaseModel], last: Place | None) -> Reply:
        """A part of a list that goes on after `last`, if it goes on."""
        cursor = None if last is None else self.desk.cursors.write(last, self._list())
        return Reply(orjson.dumps({"items": [item.model_dump(mode="json") for item in items], "next": cursor}))

    def _list(self) -> str:
        # With the path: lists that are asked for alike, as users and developers are, are not the same list.
        query = self.query.model_dump(mode="json", exclude={"limit", "cursor"})
        return orjson.dumps([self.caller.actor, self.path, dict(self.ids), query]).decode()

    def _entropy(self, size: int) -> bytes:
        # A new app's id begins as its Idempotency-Key says, where a repeat will look. All other ids begin as their
        # app's does, and of a secret not one byte is ever chosen.
        drawn = self.desk.entropy(size)
        return self.first_byte + drawn[1:] if self.first_byte and "app" not in self.ids else drawn


@dataclass(frozen=True, slots=True)
class Changed(Generic[R]):
    """What came of a change: its answer without a token, and what was done, None for a repeat."""

    body: bytes
    result: R | None
    repeated: bool = False

    def reply(self, *, tag: bool = False) -> Reply:
        """The answer."""
        return Reply(self.body, tag_of(self.body) if tag else None, self.repeated, _replicated(self.result))

    def disclosing(self, token: Callable[[R], Secret]) -> Reply:
        """The answer, with the token unless it was shown before."""
        if self.result is None:
            return self.reply()
        shown = {"token": token(self.result).reveal(), "disclosed": False}
        return Reply(orjson.dumps(orjson.loads(self.body) | shown))


def _replicated(result: object) -> bool:
    done = getattr(result, "done", result)
    return done.replicated if isinstance(done, Done) else True


class Errand:
    """Adds to an act what every change by the API obeys, inside the act: the caller's role as it is then, `If-Match`
    and `If-None-Match`, and that a request which is sent again is not done again."""

    def __init__(self, call: Call, answer: Answer) -> None:
        self.told = ""
        self._call = call
        self._answer = answer
        self._owner = ""
        self._claim: tuple[Repeat, str] | None = None
        self._mine: str | None = None  # the record's ETag after our own change, if it is met again

    def around(self, act: Act) -> Act:
        """The act with all of that."""
        call = self._call
        self._owner = act.asked.app_id
        of_app = "app" in call.ids
        inner = Act(replace(act.asked, roles=act.asked.roles or of_app), self._decide(act))
        if call.repeat is not None:
            inner = once(inner, call.repeat, lambda _seen, _changes: self.told)

        def decide(seen: Snapshot) -> Changes:
            if of_app:
                call.caller.require(call.needs, seen)
            return inner.decide(seen)

        return Act(inner.asked, decide)

    async def claim(self) -> None:
        """Bind the Idempotency-Key to this body, with the caller."""
        if self._call.repeat is None:
            return
        claim, owner = self._call.repeat.claim(), person_id(self._call.caller.actor)
        act = once(Act(Asked(owner), lambda _: Changes()), claim, lambda _seen, _changes: "")
        (outcome,) = await self._call.desk.store.act([act])
        if isinstance(outcome, ActRefused) and not isinstance(outcome, Repeated):
            raise outcome
        self._claim = claim, owner

    async def unclaim(self) -> None:
        """Let the key be sent with another body: this one was refused."""
        if self._claim is not None:
            await self._forget(*self._claim)

    async def forget(self) -> None:
        """Let the request be sent again: it came to nothing. Best effort: at worst a repeat is told of what it was."""
        await self.unclaim()
        if self._call.repeat is not None and self._owner:
            await self._forget(self._call.repeat, self._owner)

    async def _forget(self, repeat: Repeat, owner: str) -> None:
        asked = Asked(owner, items=(repeat.key(owner),))
        with suppress(StoreUnavailable):
            await self._call.desk.store.act([Act(asked, lambda seen: forget(seen, repeat, owner))])

    def _decide(self, act: Act) -> Callable[[Snapshot], Changes]:
        def decide(seen: Snapshot) -> Changes:
            self._require_unchanged(seen)
            self._require_none(seen)
            changes = act.decide(seen)
            after = _after(seen, changes)
            self.told = self._answer(after, changes).model_dump_json()
            self._mine = self._tag(after)
            return changes

        return decide

    def _require_unchanged(self, seen: Snapshot) -> None:
        wanted = {_without_use(tag) for tag in self._call.if_match}
        if not wanted:
            return
        tag = self._tag(seen)
        if tag is None or ("*" not in wanted and tag not in wanted and tag != self._mine):
            raise ActRefused(ActReason.CHANGED_SINCE, "It has changed since.")

    def _require_none(self, seen: Snapshot) -> None:
        # RFC 9110, 13.1.2: by the weak comparison, and 412 for every method but GET and HEAD.
        unwanted = {_without_use(tag.removeprefix("W/")) for tag in self._call.if_none_match}
        if not unwanted:
            return
        tag = self._tag(seen)
        if tag is not None and tag != self._mine and ("*" in unwanted or tag in unwanted):
            raise ActRefused(ActReason.CHANGED_SINCE, "It is there, and as it was not to be.")

    def _tag(self, seen: Snapshot) -> str | None:
        if self._call.record is None:
            return None
        with suppress(ActRefused):
            return tag_of(self._call.record(seen, self._call.ids).model_dump_json().encode())
        return None


def _after(seen: Snapshot, changes: Changes) -> Snapshot:
    """What an act that sees this and changes that leaves."""
    kept = {key: item for key, item in seen.items.items() if key not in changes.dropped}
    roles = {**seen.roles, **changes.roles}
    return replace(
        seen,
        app=changes.app or seen.app,
        keys={**seen.keys, **{key.id: key for key in changes.keys}},
        users={**seen.users, **{user.id: user for user in changes.users}},
        tokens={**seen.tokens, **{token.id: token for token in changes.tokens}},
        items={**kept, **{item.key: item for item in changes.items}},
        roles={email: role for email, role in roles.items() if role is not None},
    )
