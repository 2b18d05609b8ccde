"""Telling people: of keys that end soon, and of leaks. Every gateway does it; a row of the ledger that is claimed first
makes sure that each is told once, and a lease that as a rule only one gateway looks."""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import structlog

from gateway.control.letters import Letter, leak, reminder
from gateway.control.roads import Roads
from gateway.control.sends import Sends
from gateway.core import notices
from gateway.core.incidents import Subject, incident_of
from gateway.core.ledger import Act, ActRefused, Asked, Changes, Decide, Item, ItemKind
from gateway.core.notices import (
    SENT,
    Channel,
    Mark,
    NoticeState,
    Outcome,
    Wanted,
    due_mark,
    is_open,
    is_settled,
    leak_mark,
    notice_of,
    opened,
)
from gateway.core.people import developer_id
from gateway.core.records import App, KeyRecord, Role, works
from gateway.keys.leaks import brought_up
from gateway.metrics import NoticeCounts
from gateway.store.contract import Store, StoreBroken, StoreUnavailable

K = TypeVar("K")
V = TypeVar("V")

LEASE: Final = "notices"
LOOK_SECONDS: Final = 5.0  # how long a leak waits for its notice, as a rule
_TURN_SECONDS: Final = 60.0  # after which another gateway goes on where this one has died
# Of the lease of a claim: to hear that it was had, and to send. The rest of it is for clocks that are apart.
_CLAIM_SECONDS: Final = 60.0
_SEND_SECONDS: Final = 720.0
_AGAIN_SECONDS: Final = 1.0  # before what was sent is noted again, in a store that was away
_MOST_NOTED: Final = 10_000  # incidents, and keys that nobody is told of, that are remembered

_LOG: Final = structlog.get_logger()


@dataclass(slots=True)
class Directory:
    """Who is a developer of which app and which account: read whole, at a look at the keys. It grows with the roles
    that people have, and not with the apps."""

    apps: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    accounts: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    @classmethod
    async def read(cls, store: Store) -> "Directory":
        """The directory as it is now."""
        found = cls()
        async for person in store.developers():
            if person.role is Role.DEVELOPER:
                found.apps[person.app_id].add(person.email)
        async for app in store.apps():
            if app.account and app.id in found.apps:
                found.accounts[app.account] |= found.apps[app.id]
        return found

    def of(self, app: App, *, whole_account: bool) -> set[str]:
        """The addresses of the developers of an app; of every app of its account, if it has one and they are wanted."""
        own = self.apps.get(app.id, set())
        return own | self.accounts.get(app.account, set()) if whole_account else own


@dataclass(frozen=True, slots=True)
class Planned:
    """One notice that may be due, with what it needs to be sent."""

    wanted: Wanted
    to: str = field(repr=False)
    letter: Letter = field(repr=False)


@dataclass(slots=True)
class Turn:
    """What came of one look at everything."""

    sent: int = 0
    waiting: int = 0
    failed: int = 0
    nobody: int = 0


@dataclass(slots=True)
class _Look:
    """What one look has found: `oldest` is since when the oldest notice that is not settled has been waiting."""

    turn: Turn = field(default_factory=Turn)
    oldest: int | None = None
    damage: StoreBroken | None = None


@dataclass(slots=True)
class Notifier:
    """Looks what is due, claims it, sends it, and notes what came of it."""

    store: Store
    roads: Roads
    clock: Callable[[], int]
    counts: NoticeCounts
    every: float
    whole_account: bool = True
    holder: str = field(default_factory=lambda: secrets.token_hex(16))
    _nobody: dict[tuple[str, Mark], None] = field(default_factory=dict, init=False)
    _quiet: dict[str, int] = field(default_factory=dict, init=False)  # incidents of which all was told, as they were
    fault: str = field(default="", init=False)  # why people are not told at the moment

    async def run(self) -> None:
        """Tell people until cancelled: of leaks every few seconds, whatever keeps the others waiting."""
        if not self.roads:
            await self._tell_off()
            return
        async with asyncio.TaskGroup() as both:
            both.create_task(self._again(LOOK_SECONDS, keys_too=False))
            both.create_task(self._again(self.every, keys_too=True))

    async def _again(self, every: float, *, keys_too: bool) -> None:
        while True:
            pause = every if await self._looked(keys_too=keys_too) else LOOK_SECONDS
            await asyncio.sleep(min(pause, self.every))

    async def _looked(self, *, keys_too: bool) -> bool:
        """Whether this gateway looked; the store being away, or a fault of ours, only delays it."""
        try:
            if not await self.store.lease(LEASE, self.holder, _TURN_SECONDS):
                return True
            await self.turn(keys_too=keys_too)
        except StoreUnavailable as error:
            self._tell(str(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours must not leave all later keys untold
            self._tell(f"a fault of the gateway: {type(error).__name__}")
        else:
            self.fault = ""
            return True
        return False

    async def turn(self, *, keys_too: bool = True) -> Turn:
        """Send what is due now, once each, whoever else does the same; without the keys, only what is new of leaks.

        Raises `StoreBroken` at the end when something was damaged; it kept nothing else from being sent.
        """
        look = _Look()
        async with Sends() as sends:
            async for planned in self._due(look, keys_too=keys_too):
                await sends.start(self._try(look.turn, planned))
        if keys_too:
            self.counts.oldest_waiting_at = look.oldest
        if look.damage is not None:
            raise look.damage
        return look.turn

    async def planned(self) -> AsyncIterator[Planned]:
        """What would be sent now, without sending it."""
        async for planned in self._due(_Look(), keys_too=True):
            yield planned

    async def _tell_off(self) -> None:
        try:
            async for key in self.store.keys():
                if key.successor is None and works(key, self.clock()):
                    _LOG.info("no reminders will be sent: set reminders.smtp or reminders.webhooks")
                    return
        except StoreUnavailable as error:
            self._tell(str(error))

    # What is due

    async def _due(self, look: _Look, *, keys_too: bool) -> AsyncIterator[Planned]:
        async for item in self.store.items(ItemKind.INCIDENT):
            # A gateway that has told all of it need not read it again, every few seconds for as long as it is open.
            known = hash(item.text)
            if keys_too or self._quiet.get(item.id) != known:
                found, settled = await self._of_incident(look, item)
                for planned in found:
                    yield planned
                if settled:
                    _remember(self._quiet, item.id, known)
        if keys_too:
            directory = await Directory.read(self.store)
            async for key in self.store.keys():
                mark = due_mark(key, self.clock())
                if mark is not None:
                    for planned in await self._of_key(look, key, mark, directory):
                        yield planned
                    await asyncio.sleep(0)  # requests have their turn, whether or not the store ever waits

    async def _of_incident(self, look: _Look, item: Item) -> tuple[list[Planned], bool]:
        """What is to be told of an incident, and whether all of it was."""
        try:
            incident = incident_of(item)
        except ValueError as error:
            look.damage = _broken(item, error)
            return [], False
        occasion = opened(incident)
        keys = (incident.subject_id,) if incident.subject is Subject.KEY else ()
        (seen,) = await self.store.look([Asked(incident.app_id, keys=keys, roles=True)]) if occasion else (None,)
        if seen is None or seen.app is None:
            return [], True
        key = seen.keys.get(incident.subject_id)
        (fresh,) = await brought_up(self.store, [incident])
        letter = leak(seen.app, fresh, "" if key is None else key.name)
        about = Wanted(seen.app.id, incident.id, leak_mark(incident), "", Channel.EMAIL, occasion or 0)
        people = {email for email, role in seen.roles.items() if role is Role.DEVELOPER}
        return await self._each(look, seen.app, about, letter, people)

    async def _of_key(self, look: _Look, key: KeyRecord, mark: Mark, directory: Directory) -> list[Planned]:
        found = await self.store.find_key(key.id)
        if found is None:
            return []
        about = Wanted(key.app_id, key.id, mark, "", Channel.EMAIL, ends_at=key.expires_at)
        people = directory.of(found.app, whole_account=self.whole_account)
        return (await self._each(look, found.app, about, reminder(mark, found.app, key, self.clock()), people))[0]

    async def _each(
        self, look: _Look, app: App, about: Wanted, letter: Letter, people: set[str]
    ) -> tuple[list[Planned], bool]:
        """What is `about` something, for each who is to be told and was not yet; and whether all of it is settled."""
        recipients = list(self._recipients(app, people))
        self._noticed(look.turn, about.subject, about.mark, recipients)
        found, all_settled = [], bool(recipients)
        for channel, recipient, to in recipients:
            wanted = replace(about, channel=channel, recipient=recipient)
            # Most of what is due was told long ago, and a claim takes a lock.
            item = await self.store.find_item(*wanted.key)
            try:
                row = None if item is None else notice_of(item)
            except ValueError as error:
                look.damage = _broken(wanted, error)
                continue
            if row is not None and is_settled(row):
                continue
            all_settled = False
            if row is not None:
                look.oldest = min(look.oldest or row.made_at, row.made_at)
            if row is None or is_open(row, self.clock()):
                found.append(Planned(wanted, to, letter))
        return found, all_settled

    def _recipients(self, app: App, people: set[str]) -> Iterator[tuple[Channel, str, str]]:
        """Whom to tell: by what, as the ledger names them, and where to."""
        if self.roads.mailer is not None:
            for email in sorted(people):
                yield Channel.EMAIL, developer_id(email), email
        for hook in self.roads.hooks:
            if hook.apps is None or app.id in hook.apps:
                yield Channel.WEBHOOK, hook.name, hook.name

    def _noticed(self, turn: Turn, subject: str, mark: Mark, recipients: Sequence[object]) -> None:
        """Say once that there is nobody to be told."""
        if recipients:
            return
        turn.nobody += 1
        if (subject, mark) not in self._nobody:
            _remember(self._nobody, (subject, mark), None)
            self.counts.nobody += 1
            _LOG.error("nobody to tell", subject=subject, mark=mark.value)

    # Claim, send, settle

    async def _try(self, turn: Turn, planned: Planned) -> None:
        try:
            self._count(turn, planned.wanted, await self._told(planned))
        except StoreUnavailable as error:  # the claim, if any, ends by itself, and then it is tried again
            turn.waiting += 1
            self._tell(str(error))
        except Exception as error:  # noqa: BLE001 - one notice that cannot be sent must not keep back the others
            turn.waiting += 1
            self._tell(f"a fault of the gateway: {type(error).__name__}")  # whose text might hold an address

    async def _told(self, planned: Planned) -> Outcome | None:
        """What came of one notice; None when somebody else has it, or it is no longer due."""
        loop = asyncio.get_running_loop()
        wanted, holder = planned.wanted, secrets.token_hex(8)
        asked = loop.time()
        claimed = await self._act(wanted, lambda seen: notices.claim(seen, wanted, holder, self.clock()))
        if not claimed or loop.time() - asked > _CLAIM_SECONDS:
            return None
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                outcome = await self._send(planned)
        except TimeoutError:
            outcome = Outcome(NoticeState.WAITING, "timeout")
        await self._settled(wanted, holder, outcome)
        return outcome

    async def _settled(self, wanted: Wanted, holder: str, outcome: Outcome) -> None:
        """Note what came of it, however long the store is away: what was sent and is not noted is sent again."""
        while True:
            try:
                await self._act(wanted, lambda seen: notices.settle(seen, wanted, holder, outcome, self.clock()))
            except StoreBroken:
                raise
            except StoreUnavailable as error:
                self._tell(str(error))
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return

    async def _send(self, planned: Planned) -> Outcome:
        wanted = planned.wanted
        if wanted.channel is Channel.EMAIL and self.roads.mailer is not None:
            return await self.roads.mailer.send(planned.to, planned.letter, wanted.id)
        hook = next(hook for hook in self.roads.hooks if hook.name == wanted.recipient)
        return await hook.sender.send(planned.letter, wanted.id, self.clock())

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

    def _tell(self, fault: str) -> None:
        """Say it once, not every few seconds."""
        if fault != self.fault:
            self.fault = fault
            _LOG.warning("people are not told", error=fault)


def _broken(item: Item | Wanted, error: ValueError) -> StoreBroken:
    return StoreBroken(f"The store is damaged: {error}, under the id {item.id}.")


def _remember(notes: dict[K, V], key: K, value: V) -> None:
    """Note it, and forget what was noted first when there is too much."""
    notes.pop(key, None)
    if len(notes) >= _MOST_NOTED:
        del notes[next(iter(notes))]
    notes[key] = value
