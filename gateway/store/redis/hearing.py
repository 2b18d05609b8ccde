"""Hearing of what is taken away, on every primary; and telling primaries what they have forgotten.

There is an ear for each primary (`gateway/store/redis/ear.py`). The whole is deaf as soon as one of them is, which is
judged when it is asked, by comparing times: a blocked event loop would hold up a timer, and so be deaf unawares.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

import structlog

from gateway.core.ledger import Act, ActRefused, Asked, Done, Who
from gateway.core.people import restore
from gateway.core.takings import Taken, Taking
from gateway.store.contract import DEAF, StoreBroken, StoreUnavailable
from gateway.store.redis.ear import SILENCE, Clocks, Ear
from gateway.store.redis.encoding import decode_takings
from gateway.store.redis.faults import NoAnswer
from gateway.store.redis.health import EXAMINED, examine
from gateway.store.redis.layout import TAKINGS, identity_key, tag_of
from gateway.store.redis.node import Node
from gateway.store.redis.nodes import Nodes
from gateway.store.redis.register import Register

Do = Callable[[Sequence[Act]], Awaitable[list[Done | ActRefused]]]

WHO: Final = Who("gateway", "memory")

LOOK: Final = 1.0  # seconds from one look at who the primaries are to the next
BATCH: Final = 50  # takings told anew at once: some milliseconds, in which nothing else runs
AFTERTHOUGHT: Final = 2.0  # longer than an act may wait for its answer

_log = structlog.get_logger()


class Hearing:
    """What a gateway hears. Owns every task of it, from `start` to `close`.

    `last_lag` is how many seconds the last revocation of another process took from its commit to here, as far as the
    two clocks can be compared; `observe` is told of each, and `garbled` of each message that could not be read.
    """

    def __init__(
        self,
        nodes: Nodes,
        register: Register,
        do: Do,
        clocks: Clocks | None = None,
        *,
        examined: float = EXAMINED,
        afterthought: float = AFTERTHOUGHT,
    ) -> None:
        self.last_lag = 0.0
        self.observe: Callable[[float], None] | None = None
        self.garbled: Callable[[], None] | None = None
        self._nodes = nodes
        self._register = register
        self._do = do
        self._clocks = clocks or Clocks()
        self._examined = examined
        self._afterthought = afterthought
        self._ears: dict[Ear, asyncio.Task[None]] = {}
        self._followed = -1  # the generation of the primaries that there are ears for
        self._until = -math.inf  # to when, by the monotonic clock, everything is heard
        self._interrupted = True  # since the last jump of the revision
        self._logged_deaf: bool | None = None  # what the log says; nothing yet
        self._moved = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to hear. Never waits."""
        self._nodes.on_change(self.lost)
        self._running = _started(self._run())

    async def close(self) -> None:
        """Hear no more."""
        self._logged_deaf = True  # no news
        tasks = list(self._ears.values())
        if self._running is not None:
            tasks.append(self._running)
        await _ended(tasks)
        self._ears.clear()
        self.proved()

    # What the store says of it

    def revision(self) -> int:
        """The register's revision, or `DEAF`."""
        return DEAF if self._clocks.monotonic() > self._until else self._register.revision

    def ended_since(self, revision: int) -> frozenset[str] | None:
        """As the store's. While deaf, the ids that were heard of all the same; once that is over, None."""
        return self._register.ended_since(revision)

    def warnings(self) -> Iterator[str]:
        """What is not as it should be."""
        if self._logged_deaf is not None and self.revision() == DEAF:  # at the start it may take a moment
            yield f"Revocations are not heard now, and every credential is looked up each time. {self._trouble()}"
        if self._register.overflowed:
            yield (
                f"More was revoked in a day than is remembered ({self._register.overflowed} forgotten early); a"
                " failover of Redis could undo what was forgotten."
            )
        for ear in self._ears:
            yield from ear.node.condition.warnings if ear.node.condition else ()
            warning = ear.offset.warning(str(ear.node.place))
            if warning is not None:
                yield warning

    def demand(self) -> None:
        """Raise `StoreBroken` when a primary lacks what the store needs, or its clock is too far from ours."""
        for ear in self._ears:
            if ear.broken:
                raise StoreBroken(ear.trouble)
            if ear.offset.unbearable:
                raise StoreBroken(str(ear.offset.warning(str(ear.node.place))))

    # As the mind of its ears

    def proved(self) -> None:
        """See anew to when everything is heard."""
        now = self._clocks.monotonic()
        self._interrupted |= now > self._until
        whole = self._followed == self._nodes.generation
        self._until = min((ear.proven for ear in self._ears), default=-math.inf) + SILENCE if whole else -math.inf
        if self._interrupted and now <= self._until:
            self._register.jump()
            self._interrupted = False
        if self._logged_deaf is not None or now <= self._until:  # at the start it may take a moment
            self._log_state()

    def lost(self) -> None:
        """Whoever is not heard any more may be no primary any more."""
        self.proved()
        self._moved.set()

    def heard(self, ear: Ear, message: bytes) -> None:
        """Take in what was taken away."""
        try:
            at, takings = decode_takings(message)
        except ValueError:
            # Something ended, and nobody knows what.
            if self.garbled is not None:
                self.garbled()
            self._register.jump()
            _log.warning("revocation not understood", server=str(ear.node.place))
            return
        for taking in takings:
            if self._register.note(taking):
                self._lagged(at, tag_of(taking.app_id))

    async def channel(self, node: Node) -> str:
        """The channel of takings, when all that the node has belongs to this store."""
        await self._examine(node)
        return f"{TAKINGS}:{self._nodes.identity}"

    def confirm(self, tag: str, identity: object) -> None:
        """Raise `StoreBroken` unless it is the identity of the store."""
        self._nodes.confirmed(tag, identity)

    async def prepare(self, node: Node) -> None:
        """Tell the node what it may have forgotten."""
        told = await self._told_anew(self._register.of(node.tags))
        if told:
            _log.warning("revocations written back", server=str(node.place), count=told)

    async def attend(self, node: Node) -> None:
        """Examine the node again and again."""
        # An act that the primary before kept may have been answered, and noted, only after `prepare` had looked.
        await asyncio.sleep(self._afterthought)
        await self._told_anew(self._register.of(node.tags, 2 * self._afterthought))
        while True:
            await asyncio.sleep(self._examined)
            with suppress(NoAnswer):  # whether it is heard is not for this to say
                await self._examine(node)

    async def _examine(self, node: Node) -> None:
        node.condition = await examine(node)
        tags = sorted(node.tags)
        for tag, identity in zip(tags, await node.pipeline([("GET", identity_key(tag)) for tag in tags]), strict=True):
            self._nodes.confirmed(tag, identity)

    async def _told_anew(self, takings: Sequence[Taking]) -> int:
        """Tell the store; how much of it was news."""
        news = 0
        for start in range(0, len(takings), BATCH):
            done = await self._do([_telling(taking) for taking in takings[start : start + BATCH]])
            news += sum(isinstance(one, Done) and bool(one.changes) for one in done)
        return news

    def _lagged(self, at: int, tag: str) -> None:
        # A cluster passes messages on, so that another server's ear may have been the first to hear.
        ahead = next((ear.offset.seconds for ear in self._ears if tag in ear.tags), 0.0)
        self.last_lag = max(0.0, self._clocks.wall() + ahead - at / 1000)
        if self.observe is not None:
            self.observe(self.last_lag)

    # Its tasks

    async def _run(self) -> None:
        while True:
            self._moved.clear()
            with suppress(StoreUnavailable):
                await self._nodes.refresh()
            with suppress(StoreUnavailable):
                await self._follow(await self._nodes.primaries())
            try:
                async with asyncio.timeout(LOOK):
                    await self._moved.wait()
            except TimeoutError:
                self._log_state()

    async def _follow(self, primaries: Sequence[Node]) -> None:
        """Have one ear for each primary, a new one where the primary has other slot tags than before."""
        self._followed = self._nodes.generation
        kept = {
            ear.node: ear
            for ear, task in self._ears.items()
            if ear.node in primaries and ear.tags == ear.node.tags and not task.done()
        }
        gone = {ear: task for ear, task in self._ears.items() if ear not in kept.values()}
        for node in primaries:
            if node not in kept:
                ear = Ear(node, self, self._clocks)
                self._ears[ear] = _started(ear.listen())
        for ear in gone:
            del self._ears[ear]
        self.proved()
        await _ended(list(gone.values()))

    def _trouble(self) -> str:
        if not self._ears:
            return "The store was not reached yet."
        return next((ear.trouble for ear in self._ears if ear.trouble), "Heartbeats do not come back.")

    def _log_state(self) -> None:
        """Say once that hearing is lost, or is back."""
        deaf = self.revision() == DEAF
        if deaf == self._logged_deaf:
            return
        if deaf:
            _log.warning("store deaf", cause=self._trouble())
        elif self._logged_deaf:
            _log.info("store heard again")
        self._logged_deaf = deaf


def _telling(taking: Taking) -> Act:
    return Act(_asked(taking), lambda snapshot: restore(snapshot, taking, WHO))


def _asked(taking: Taking) -> Asked:
    match taking.kind:
        case Taken.KEY:
            return Asked(taking.app_id, keys=(taking.id,))
        case Taken.USER_TOKEN:
            return Asked(taking.app_id, tokens=(taking.id,))
        case Taken.USER:
            return Asked(taking.app_id, user_id=taking.id)
        case Taken.APP:
            return Asked(taking.app_id)


def _started(life: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.create_task(life)
    task.add_done_callback(_looked_at)
    return task


def _looked_at(task: asyncio.Task[None]) -> None:
    """Log what ended a task and nobody foresaw."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        _log.error("hearing failed", exc_info=error)


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
