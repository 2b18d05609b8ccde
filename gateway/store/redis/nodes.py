"""The servers of a store: which one has a slot tag, found out when needed, and asked with every fault translated."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import AskError, MovedError, NoScriptError, RedisError, ResponseError

from gateway.store.contract import StoreBroken, StoreUnavailable
from gateway.store.redis import topology
from gateway.store.redis.address import Address, Place, RedisOptions
from gateway.store.redis.faults import Garbled, NoAnswer, meaning
from gateway.store.redis.health import require
from gateway.store.redis.layout import TAGS, identity_key
from gateway.store.redis.node import Command, Node
from gateway.store.redis.scripts import Argument, Script, in_full

Question = tuple[str, Command]  # a slot tag, and what to ask its primary

PAUSE: Final = 0.1  # seconds between two searches for the primaries


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer to a change, and whether a replica has it; true also where there is none."""

    value: Any
    replicated: bool


class Nodes:
    """Where the primary of each slot tag is. `generation` moves whenever one of them is another than before."""

    def __init__(self, address: Address, options: RedisOptions) -> None:
        self.address = address
        self.generation = 0
        self._options = options
        self._identity = options.identity
        self._nodes: dict[Place, Node] = {}  # all that ever were primaries
        self._owners: dict[str, Node] = {}
        self._answered = dict.fromkeys(TAGS, -math.inf)  # by owners that are no longer
        self._listeners: list[Callable[[], None]] = []
        self._search: asyncio.Task[None] | None = None
        self._searched_at = -math.inf
        self._stale = False

    # Who they are

    @property
    def identity(self) -> str | None:
        """The store that they are to hold, as soon as it is known."""
        return self._identity

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each move of the generation."""
        self._listeners.append(listener)

    async def primaries(self) -> list[Node]:
        """All primaries, each once."""
        await self._know()
        return list(dict.fromkeys(self._owners.values()))

    async def of(self, tag: str) -> Node:
        """The primary of a slot tag."""
        await self._know()
        return self._owner(tag)

    async def refresh(self) -> None:
        """Find out anew who the primaries are, unless that was done a moment ago."""
        if self._search is None:
            if time.monotonic() < self._searched_at + PAUSE:
                return
            self._search = asyncio.ensure_future(self._find())
            self._search.add_done_callback(self._found)
        # Whoever leaves early must not end the search for the others.
        await asyncio.shield(self._search)

    async def close(self) -> None:
        """Close all connections."""
        if self._search is not None:
            self._search.cancel()
            await asyncio.wait([self._search])
        for node in self._nodes.values():
            await node.close()

    # Asking them

    async def ask(self, tag: str, command: Command) -> Any:
        """The answer of the tag's primary to one command. Every fault is `StoreUnavailable`."""
        (answer,) = await self.ask_many([(tag, command)])
        return answer

    async def ask_many(self, questions: Sequence[Question]) -> list[Any]:
        """The answers in order; what goes to the same primary goes together, in order."""
        values = [kept.value for kept in await self._ask_all(questions, confirm=False)]
        for value in values:
            if isinstance(value, StoreUnavailable):
                raise value
        return values

    async def keep_many(self, changes: Sequence[Question]) -> list[Kept]:
        """As `ask_many`, and whether each change is known to a replica. Some may be kept while others could not be:
        a `StoreUnavailable` then stands in the place of the answer."""
        return await self._ask_all(changes, confirm=True)

    async def read(self, tag: str, commands: Sequence[Command]) -> list[Any]:
        """The answers to commands about one slot tag, of a server that is known to hold the store."""
        (answers,) = await self.read_all({tag: commands})
        return answers

    async def read_all(self, asked: Mapping[str, Sequence[Command]]) -> list[list[Any]]:
        """The same for several slot tags, all together."""
        questions = [(tag, one) for tag, some in asked.items() for one in (("GET", identity_key(tag)), *some)]
        answers = iter(await self.ask_many(questions))
        found = []
        for tag, some in asked.items():
            self.confirmed(tag, next(answers))
            found.append([next(answers) for _ in some])
        return found

    async def write(self, tag: str, script: Script, key: str, arguments: Sequence[Argument]) -> bool:
        """Whether a script that writes under one key has done so; not when it found what it was not to find."""
        (answer,) = await self.write_all([(tag, script, key, arguments)])
        with self.reading(tag):
            (what,) = answer
            return {b"kept": True, b"changed": False}[what]

    async def write_all(self, wanted: Sequence[tuple[str, Script, str, Sequence[Argument]]]) -> list[list[Any]]:
        """What such scripts answer after the identity, all together; each by its slot tag, key and arguments."""
        if self._identity is None and wanted:
            await self.read(wanted[0][0], [])
        answers = await self.ask_many(
            [
                (tag, script.call([identity_key(tag), key], [self._identity or "", *arguments]))
                for tag, script, key, arguments in wanted
            ]
        )
        found = []
        for (tag, *_), answer in zip(wanted, answers, strict=True):
            with self.reading(tag):
                identity, *rest = answer
                self.confirmed(tag, identity)
                found.append(rest)
        return found

    def confirmed(self, tag: str, identity: object) -> None:
        """Take note of the identity found under a slot tag. `StoreBroken` when there is none, or another's."""
        node = self._owner(tag)
        if not isinstance(identity, bytes):
            raise StoreBroken(
                f"The Redis server {node.place} holds no store (nothing under the slot tag {tag}): it was never made,"
                " by 'gateway store init', or its data is lost. Restore it from a backup."
            )
        found = identity.decode("ascii", "replace")
        if self._identity is None:
            self._identity = found
        if found != self._identity:
            raise StoreBroken(
                f"The Redis server {node.place} holds another store than the one that was there (under the slot tag"
                f" {tag}). If that is meant to be, set store.identity and restart."
            )
        node.last_answer = time.monotonic()

    @contextmanager
    def reading(self, tag: str) -> Iterator[None]:
        """Where answers are understood: whatever is not as this store writes it is `StoreBroken`, and never nothing."""
        try:
            yield
        except (Garbled, ValueError, TypeError, LookupError) as error:
            raise StoreBroken(
                f"What the Redis server {self._owner(tag).place} holds under the slot tag {tag} is not what this store"
                " wrote, or was garbled on its way. Restore it from a backup."
            ) from error

    def in_grace(self, tag: str) -> bool:
        """Whether the owner of a slot tag answered lately enough for what is remembered to go on without it."""
        owner = self._owners.get(tag)
        last = max(self._answered[tag], -math.inf if owner is None else owner.last_answer)
        return time.monotonic() - last <= self._options.grace

    def away(self, error: Exception, tag: str) -> StoreUnavailable:
        """What an error met at a slot tag's primary means for whoever asked."""
        if isinstance(error, StoreUnavailable):
            return error
        if not isinstance(error, RedisError):
            self._stale = True
            return StoreUnavailable(f"{error}", in_grace=self.in_grace(tag))
        what = meaning(error)
        self._stale |= what.moved
        owner = self._owners.get(tag)
        where = self.address if owner is None else f"the Redis server {owner.place}"
        sentence = f"{where} {what.sentence}."
        if what.broken:
            return StoreBroken(sentence[0].upper() + sentence[1:])
        return StoreUnavailable(sentence[0].upper() + sentence[1:], in_grace=what.silent and self.in_grace(tag))

    # Behind it

    def _owner(self, tag: str) -> Node:
        owner = self._owners.get(tag)
        if owner is None:
            self._stale = True
            raise StoreUnavailable(f"Nobody in {self.address} has the slot tag {tag}.", in_grace=self.in_grace(tag))
        return owner

    async def _know(self) -> None:
        if not self._owners:
            await self.refresh()
        elif self._stale and self._search is None and time.monotonic() >= self._searched_at + PAUSE:
            # One call looks for the new primaries; the others learn from the old one, at once, that it is gone.
            try:
                await self.refresh()
            except StoreUnavailable:
                return  # then those known from before may still do
        if not self._owners:
            raise StoreUnavailable(f"{self.address} cannot be reached.", in_grace=False)

    async def _find(self) -> None:
        places = [node.place for node in dict.fromkeys(self._owners.values())]
        try:
            primaries = await topology.primaries(self.address, self._options, places)
        except RedisError as error:
            raise StoreUnavailable(f"Of {self.address}, one {meaning(error).sentence}.") from error
        except (OSError, ValueError, TypeError, LookupError, topology.Unknown) as error:
            raise StoreUnavailable(f"The primary of {self.address} cannot be found out.") from error
        self._stale = False
        await self._adopt(primaries)

    def _found(self, search: asyncio.Task[None]) -> None:
        self._search = None
        self._searched_at = time.monotonic()
        if not search.cancelled():
            search.exception()  # also when nobody waits for it any more

    async def _adopt(self, primaries: topology.Primaries) -> None:
        owners = {tag: self._node(place) for tag, place in primaries.items()}
        if owners == self._owners:
            return
        for tag, node in self._owners.items():
            if owners.get(tag) is not node:
                self._answered[tag] = max(self._answered[tag], node.last_answer)
        self._owners = owners
        for node in self._nodes.values():
            node.tags = frozenset(tag for tag, owner in owners.items() if owner is node)
            if not node.tags:
                await node.rest()
        self.generation += 1
        for listener in self._listeners:
            listener()

    def _node(self, place: Place) -> Node:
        if place not in self._nodes:
            self._nodes[place] = Node(place, self.address, self._options)
        return self._nodes[place]

    async def _ask_all(self, questions: Sequence[Question], *, confirm: bool) -> list[Kept]:
        """The answers; a `StoreUnavailable` in the place of what could not be asked, or was answered with an error."""
        await self._know()
        by_owner: dict[Node, list[int]] = {}
        kept: list[Kept] = [Kept(None, replicated=False)] * len(questions)
        for number, (tag, _) in enumerate(questions):
            by_owner.setdefault(self._owner(tag), []).append(number)

        async def ask(node: Node, numbers: list[int]) -> None:
            answers = await self._ask_one(node, [questions[number][1] for number in numbers], confirm=confirm)
            for number, answer in zip(numbers, answers, strict=True):
                kept[number] = answer

        waiting = [ask(node, numbers) for node, numbers in by_owner.items()]
        if len(waiting) == 1:
            await waiting[0]
        else:
            await asyncio.gather(*waiting)
        return [
            Kept(self._failed(one.value, tag, confirm), replicated=False) if isinstance(one.value, Exception) else one
            for one, (tag, _) in zip(kept, questions, strict=True)
        ]

    def _failed(self, error: Exception, tag: str, change: bool) -> StoreUnavailable:
        failed = self.away(error, tag)
        # An error that a server answers with comes before anything is written; silence may come after.
        failed.unknown = change and not isinstance(error, (ResponseError, StoreUnavailable))
        return failed

    async def _ask_one(self, node: Node, commands: Sequence[Command], *, confirm: bool) -> list[Kept]:
        """The answers of one primary, or of those it sends us to. An error is the value in place of an answer."""
        kept = await _sent(node, commands, confirm=confirm)
        unread = [number for number, one in enumerate(kept) if isinstance(one.value, NoScriptError)]
        if unread:
            again = await _sent(node, [in_full(commands[number]) for number in unread], confirm=confirm)
            for number, one in zip(unread, again, strict=True):
                kept[number] = one
        for number, one in enumerate(kept):
            if isinstance(one.value, AskError):  # or MOVED, which is one of them; in both cases nothing was done yet
                kept[number] = await self._follow(node, one.value, commands[number], confirm=confirm)
        return kept

    async def _follow(self, node: Node, sign: AskError, command: Command, *, confirm: bool) -> Kept:
        """Ask where a server of a cluster sends us, once."""
        self._stale = True
        there = self._node(Place(sign.host or node.place.host, sign.port))
        asking: list[Command] = [] if isinstance(sign, MovedError) else [("ASKING",)]
        kept = await _sent(there, [*asking, in_full(command)], confirm=confirm)
        return kept[-1]


async def _sent(node: Node, commands: Sequence[Command], *, confirm: bool) -> list[Kept]:
    try:
        await require(node)
        if confirm:
            answers, replicated = await node.confirmed(commands)
        else:
            answers, replicated = await node.pipeline(commands), True
    except (NoAnswer, RedisError, StoreUnavailable) as error:
        return [Kept(error, replicated=False)] * len(commands)
    return [Kept(answer, replicated) for answer in answers]
