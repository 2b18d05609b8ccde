"""Telling people: of keys that end soon, and of leaks. Every gateway does it; a row of the ledger that is claimed first
makes sure that each is told once, and a lease that as a rule only one gateway looks."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import structlog

from gateway.control.due import Due, Look, Planned
from gateway.control.senders import Senders
from gateway.control.sends import Sends
from gateway.core import notices
from gateway.core.ledger import Act, ActRefused, Changes, Decide
from gateway.core.notices import SENT, Channel, NoticeState, Outcome, Wanted
from gateway.core.records import works
from gateway.metrics import NoticeCounts
from gateway.store.contract import Store, StoreBroken, StoreUnavailable

LEASE: Final = "notices"
LOOK_SECONDS: Final = 5.0  # how long a leak waits for its notice, as a rule
_TURN_SECONDS: Final = 60.0  # after which another gateway goes on where this one has died
# Of the lease of a claim: to hear that it was had, and to send. The rest of it is for clocks that are apart.
_CLAIM_SECONDS: Final = 60.0
_SEND_SECONDS: Final = 720.0
_AGAIN_SECONDS: Final = 1.0  # before what was sent is noted again, in a store that was away

_LOG: Final = structlog.get_logger()


@dataclass(slots=True)
class Turn:
    """What came of one look at everything."""

    sent: int = 0
    waiting: int = 0
    failed: int = 0
    nobody: int = 0


@dataclass(slots=True)
class Notifier:
    """Claims what is due, sends it, and notes what came of it."""

    store: Store
    senders: Senders
    clock: Callable[[], int]
    counts: NoticeCounts
    every: float
    whole_account: bool = True
    holder: str = field(default_factory=lambda: secrets.token_hex(16))
    fault: str = field(default="", init=False)  # why people are not told at the moment
    _due: Due = field(init=False)

    def __post_init__(self) -> None:
        self._due = Due(self.store, self.senders, self.clock, self.counts, self.whole_account)

    async def run(self) -> None:
        """Tell people until cancelled: of leaks every few seconds, whatever keeps the others waiting."""
        if not self.senders:
            await self._say_that_it_is_off()
            return
        # Of both: no look waits for what others have sent on its way, as a server may be silent for ten minutes.
        async with Sends() as sends, asyncio.TaskGroup() as both:
            both.create_task(self._again(LOOK_SECONDS, sends, keys_too=False))
            both.create_task(self._again(self.every, sends, keys_too=True))

    async def _again(self, every: float, sends: Sends, *, keys_too: bool) -> None:
        while True:
            pause = every if await self._looked(sends, keys_too=keys_too) else LOOK_SECONDS
            await asyncio.sleep(min(pause, self.every))

    async def _looked(self, sends: Sends, *, keys_too: bool) -> bool:
        """Whether this gateway looked; the store being away, or a fault of ours, only delays it."""
        try:
            if not await self.store.lease(LEASE, self.holder, _TURN_SECONDS):
                return True
            look = await self._started(sends, Turn(), keys_too=keys_too)
        except StoreUnavailable as error:
            self._warn_once(str(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours must not leave all later keys untold
            self._warn_once(f"a fault of the gateway: {type(error).__name__}")
        else:
            self.fault = str(look.damage or "")  # of which the log has told
            return True
        return False

    async def turn(self, *, keys_too: bool = True) -> Turn:
        """Send what is due now, once each, whoever else does the same; without the keys, only what is new of leaks.

        Raises `StoreBroken` at the end when something was damaged; it kept nothing else from being sent.
        """
        turn = Turn()
        async with Sends() as sends:
            look = await self._started(sends, turn, keys_too=keys_too)
        turn.nobody = look.nobody
        if look.damage is not None:
            raise look.damage
        return turn

    async def _started(self, sends: Sends, turn: Turn, *, keys_too: bool) -> Look:
        """Set on its way what is due; what comes of it is noted in the turn."""
        look = self._due.look()
        async for planned in self._due.planned(look, keys_too=keys_too):
            wanted = planned.wanted
            road = wanted.recipient if wanted.channel is Channel.WEBHOOK else ""
            sends.start(road, wanted.id, partial(self._try, turn, planned))
        if keys_too:
            self.counts.oldest_waiting_at = look.oldest
        return look

    async def planned(self) -> AsyncIterator[Planned]:
        """What would be sent now, without sending it."""
        told: set[str] = set()
        async for planned in self._due.planned(self._due.look(), keys_too=True):
            if planned.wanted.id not in told:
                told.add(planned.wanted.id)
                yield planned

    async def _say_that_it_is_off(self) -> None:
        try:
            async for key in self.store.keys():
                if key.successor is None and works(key, self.clock()):
                    _LOG.info("no reminders will be sent: set reminders.smtp or reminders.webhooks")
                    return
        except StoreUnavailable as error:
            self._warn_once(str(error))

    # Claim, send, settle

    async def _try(self, turn: Turn, planned: Planned) -> None:
        try:
            self._count(turn, planned.wanted, await self._deliver(planned))
        except StoreUnavailable as error:  # the claim, if any, ends by itself, and then it is tried again
            turn.waiting += 1
            self._warn_once(str(error))
        except Exception as error:  # noqa: BLE001 - one notice that cannot be sent must not keep back the others
            turn.waiting += 1
            self._warn_once(f"a fault of the gateway: {type(error).__name__}")  # whose text might hold an address

    async def _deliver(self, planned: Planned) -> Outcome | None:
        """What came of one notice; None when somebody else has it, or it is no longer due."""
        loop = asyncio.get_running_loop()
        wanted, holder = planned.wanted, secrets.token_hex(8)
        send = self._prepared(planned)
        asked = loop.time()
        claimed = await self._act(wanted, lambda seen: notices.claim(seen, wanted, holder, self.clock()))
        if not claimed or loop.time() - asked > _CLAIM_SECONDS:
            return None
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                outcome = await send()
        except TimeoutError:
            outcome = Outcome(NoticeState.WAITING, "timeout")
        except Exception as error:  # noqa: BLE001 - whatever it is, the claim is to end, and the pauses to grow
            outcome = self._faulty(error)
        await self._settle(wanted, holder, outcome)
        return outcome

    def _prepared(self, planned: Planned) -> Callable[[], Coroutine[Any, Any, Outcome]]:
        """What sends the notice. One that cannot be made is claimed and settled as one that cannot be sent: it is
        seen in the list, and tried again by a gateway that can."""
        wanted = planned.wanted
        try:
            if wanted.channel is Channel.EMAIL and self.senders.mailer is not None:
                return self.senders.mailer.prepared(planned.to, planned.letter, wanted.id)
            hook = next(hook for hook in self.senders.hooks if hook.name == wanted.recipient)
            return hook.sender.prepared(planned.letter, wanted.id, self.clock())
        except Exception as error:  # noqa: BLE001 - as above
            outcome = self._faulty(error)

        async def nothing() -> Outcome:
            return outcome

        return nothing

    def _faulty(self, error: Exception) -> Outcome:
        self._warn_once(f"a fault of the gateway: {type(error).__name__}")  # whose text might hold an address
        return Outcome(NoticeState.WAITING, "fault")

    async def _settle(self, wanted: Wanted, holder: str, outcome: Outcome) -> None:
        """Note what came of it, however long the store is away: what was sent and is not noted is sent again."""
        while True:
            try:
                await self._act(wanted, lambda seen: notices.settle(seen, wanted, holder, outcome, self.clock()))
            except StoreBroken:
                raise
            except StoreUnavailable as error:
                self._warn_once(str(error))
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return

    async def _act(self, wanted: Wanted, decide: Decide) -> Changes:
        (done,) = await self.store.act([Act(wanted.asked, decide)])
        return Changes() if isinstance(done, ActRefused) else done.changes

    def _count(self, turn: Turn, wanted: Wanted, outcome: Outcome | None) -> None:
        if outcome is None:
            return
        match outcome.state:
            case NoticeState.SENT:
                turn.sent += 1
                self.counts.sent += 1
            case NoticeState.FAILED:
                turn.failed += 1
                self.counts.failed += 1
            case _:
                turn.waiting += 1
                self.counts.waiting += 1
        if outcome != SENT:
            _LOG.warning(
                "notice not sent",
                subject=wanted.subject,
                mark=wanted.mark.value,
                channel=wanted.channel.value,
                recipient=wanted.recipient,
                state=outcome.state.value,
                error=outcome.error,
                code=outcome.code,
            )

    def _warn_once(self, fault: str) -> None:
        """Say it once, not every few seconds."""
        if fault != self.fault:
            self.fault = fault
            _LOG.warning("people are not told", error=fault)
