"""Acts on Redis: read how an app stands, decide, and write if it still stands so; otherwise once more."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakValueDictionary

from gateway.core.ledger import Act, ActRefused, Asked, Changes, Done, Snapshot
from gateway.core.takings import taken_by
from gateway.store.contract import StoreUnavailable
from gateway.store.redis.draft import Claim, Draft, claiming
from gateway.store.redis.layout import id_key, identity_key, tag_of
from gateway.store.redis.nodes import Kept, Nodes
from gateway.store.redis.register import Register
from gateway.store.redis.standing import Standing, Wanted, standing

TOGETHER: Final = 500  # what is asked for by the acts of one step: some milliseconds of a server's time
AT_ONCE: Final = 200  # apps whose acts are in one round
TRIES: Final = 100  # of one act, while others change the app again and again
LONGEST_PAUSE: Final = 0.05  # seconds between two tries

Result = Done | ActRefused


@dataclass(slots=True)
class _Queue:
    """The acts about one app that are still to be done, with their places among the results."""

    acts: deque[tuple[int, Act]] = field(default_factory=deque)
    tries: int = 0

    def step(self) -> list[tuple[int, Act]]:
        """The acts to be done in one step: fewer after each try that failed, so that a long step gets its turn too."""
        step: list[tuple[int, Act]] = []
        room = max(1, TOGETHER >> self.tries)
        for place, act in self.acts:
            asked = act.asked
            room -= 1 + sum(map(len, (asked.keys, asked.tokens, asked.users, asked.external_ids, asked.items)))
            if step and room < 0:
                break
            step.append((place, act))
        return step


@dataclass(slots=True)
class _Step:
    """Acts about one app that are done together: what they decided, and what came of it.

    `outcome` is whether it is kept (False: somebody else changed the app before), or why that is not known.
    """

    queue: _Queue
    acts: list[tuple[int, Act]]
    standing: Standing
    draft: Draft = field(init=False)
    claims: list[Claim] = field(init=False)
    decided: list[Changes | ActRefused] = field(default_factory=list)
    outcome: bool | StoreUnavailable = True
    replicated: bool = True

    def __post_init__(self) -> None:
        self.draft = Draft(self.standing)
        for _, act in self.acts:
            seen = self.standing.seen_by(act.asked)
            try:
                changes = act.decide(seen)
            except ActRefused as refused:
                self.decided.append(refused)
            else:
                self.decided.append(changes)
                self.draft.add(changes, taken_by(seen, changes))
        self.claims = self.draft.claims()

    def learn(self, outcome: bool | StoreUnavailable, *, replicated: bool) -> None:
        """Take in what came of a part of it; the first that failed counts."""
        self.replicated &= replicated
        if self.outcome is True:
            self.outcome = outcome

    @property
    def tag(self) -> str:
        """The slot tag of the app."""
        return self.standing.names.tag

    def results(self) -> Iterator[tuple[int, Result]]:
        """What came of each act, with its place."""
        for (place, _), one in zip(self.acts, self.decided, strict=True):
            yield place, one if isinstance(one, ActRefused) else Done(one, self.standing.now, self.replicated)


class Acts:
    """Does acts. Within a process, one at a time changes an app; between processes, whoever is quicker."""

    def __init__(self, nodes: Nodes, register: Register) -> None:
        self._nodes = nodes
        self._register = register
        self._locks = WeakValueDictionary[str, asyncio.Lock]()

    @property
    def _identity(self) -> str:
        return self._nodes.identity or ""  # which is known once anything was read

    async def look(self, asked: Sequence[Asked]) -> list[Snapshot]:
        """What acts would see now."""
        stands = await self._standings([Wanted.by([one]) for one in asked])
        return [it.seen_by(one) for it, one in zip(stands, asked, strict=True)]

    async def act(self, acts: Sequence[Act]) -> list[Result]:
        """Do each act; raise `StoreUnavailable` after all were tried when some could not be done."""
        queues: dict[str, _Queue] = {}
        for place, act in enumerate(acts):
            queues.setdefault(act.asked.app_id, _Queue()).acts.append((place, act))
        results: dict[int, Result] = {}
        failures: list[StoreUnavailable] = []
        async with self._alone(sorted(queues)):
            while waiting := [queue for queue in queues.values() if queue.acts]:
                for step in await self._take(waiting[:AT_ONCE]):
                    failures += self._settle(step, results)
                await _pause(max(queue.tries for queue in waiting))
        if failures:
            raise failures[0]
        return [results[place] for place in range(len(acts))]

    async def _take(self, queues: Sequence[_Queue]) -> list[_Step]:
        """One step for each of the apps: read, decided, written."""
        taken = [queue.step() for queue in queues]
        stands = await self._standings([Wanted.by([act.asked for _, act in acts]) for acts in taken])
        steps = [_Step(*each) for each in zip(queues, taken, stands, strict=True)]
        await self._commit([step for step in steps if not step.claims])
        # Then what needs more than one slot, so that of two acts that want the same id the one before has it.
        await self._claim([step for step in steps if step.claims])
        await self._commit([step for step in steps if step.claims and step.outcome is True])
        return steps

    async def _claim(self, steps: Sequence[_Step]) -> None:
        """Claim for the steps the ids that begin with other slot tags than their app's."""
        by_tag: dict[str, list[tuple[_Step, Claim]]] = {}
        for step in steps:
            for claim in step.claims:
                by_tag.setdefault(tag_of(claim.credential_id), []).append((step, claim))
        answers = await self._nodes.keep_many(
            [claiming(tag, self._identity, [claim for _, claim in some]) for tag, some in by_tag.items()]
        )
        for (tag, some), kept in zip(by_tag.items(), answers, strict=True):
            outcome = self._outcome(tag, kept)
            claimed = kept.value[2] if outcome is True else [outcome] * len(some)
            for (step, _), one in zip(some, claimed, strict=True):
                step.learn(one if isinstance(one, StoreUnavailable) else bool(one), replicated=kept.replicated)

    async def _commit(self, steps: Sequence[_Step]) -> None:
        """Write what the steps have changed. One that changes nothing reads, so as to learn whether replicas have all
        that it was decided by."""
        answers = await self._nodes.keep_many([step.draft.writing(self._identity) for step in steps])
        for step, kept in zip(steps, answers, strict=True):
            step.learn(self._outcome(step.tag, kept), replicated=kept.replicated)

    def _outcome(self, tag: str, kept: Kept) -> bool | StoreUnavailable:
        if isinstance(kept.value, StoreUnavailable):
            return kept.value
        try:
            with self._nodes.reading(tag):
                identity, what, *_ = kept.value
                self._nodes.confirmed(tag, identity)
                return {b"kept": True, b"changed": False}[what]
        except StoreUnavailable as error:
            return error

    def _settle(self, step: _Step, results: dict[int, Result]) -> list[StoreUnavailable]:
        """What came of a step, told to everybody; or why it could not be done."""
        queue = step.queue
        if step.outcome is True:
            queue.tries = 0
            for taking in step.draft.takings:
                self._register.note(taking)
            for place, result in step.results():
                queue.acts.popleft()
                results[place] = result
            return []
        queue.tries += 1
        failure = step.outcome
        if failure is False and queue.tries < TRIES:
            return []
        queue.acts.clear()
        return [failure or StoreUnavailable("Others change the app without a pause: nothing was changed. Try again.")]

    async def _standings(self, wanted: Sequence[Wanted]) -> list[Standing]:
        """How the apps stand."""
        strangers: dict[str, list[str]] = {}
        for one in {stranger for each in wanted for stranger in each.strangers}:
            strangers.setdefault(tag_of(one), []).append(one)
        asked = [
            (tag, ("MGET", identity_key(tag), *(id_key(tag, one) for one in some))) for tag, some in strangers.items()
        ]
        answers = await self._nodes.ask_many([*(each.question() for each in wanted), *asked])
        found: dict[str, bytes | None] = {}
        for (tag, some), (identity, *texts) in zip(strangers.items(), answers[len(wanted) :], strict=True):
            self._nodes.confirmed(tag, identity)
            found |= zip(some, texts, strict=True)
        return [self._standing(each, answer, found) for each, answer in zip(wanted, answers, strict=False)]

    def _standing(self, wanted: Wanted, answer: Sequence[Any], strangers: Mapping[str, bytes | None]) -> Standing:
        tag = wanted.names.tag
        with self._nodes.reading(tag):
            self._nodes.confirmed(tag, answer[0])
            return standing(wanted, answer, {one: strangers[one] for one in wanted.strangers})

    @asynccontextmanager
    async def _alone(self, app_ids: Sequence[str]) -> AsyncIterator[None]:
        """Until the end, nobody else in this process changes these apps; they are given in one order by all."""
        async with AsyncExitStack() as held:
            for app_id in app_ids:
                lock = self._locks.setdefault(app_id, asyncio.Lock())
                await held.enter_async_context(lock)
            yield


async def _pause(tries: int) -> None:
    """Wait a little, by chance, so that two that stood in each other's way do not do so again."""
    if tries:
        await asyncio.sleep(random.uniform(0, min(LONGEST_PAUSE, 0.001 * 2**tries)))  # noqa: S311 - no secret
