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
from gateway.core import notices
from gateway.core.incidents import Incident, Subject, incident_of
from gateway.core.ledger import Act, ActRefused, Changes, Decide, Item, ItemKind
from gateway.core.notices import SENT, Channel, Mark, NoticeState, Outcome, Wanted, due_mark, is_open, notice_of, opened
from gateway.core.people import developer_id
from gateway.core.records import App, KeyRecord, Role
from gateway.metrics import NoticeCounts
from gateway.store.contract import Store, StoreBroken, StoreUnavailable

T = TypeVar("T")

LEASE: Final = "notices"
LOOK_SECONDS: Final = 5.0  # how long a leak waits for its notice, as a rule
_TURN_SECONDS: Final = 60.0  # after which another gateway goes on where this one has died
_AT_ONCE: Final = 8  # notices that are sent side by side
_MOST_TOLD: Final = 10_000  # keys of which it is remembered that nobody is there to be told

_LOG: Final = structlog.get_logger()


@dataclass(slots=True)
class Directory:
    """Who is a developer of which app, and which apps are of one account: read whole, at each look."""

    apps: dict[str, App] = field(default_factory=dict)
    developers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    accounts: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    async def read(cls, store: Store) -> "Directory":
        """The directory as it is now."""
        found = cls()
        async for app in store.apps():
            found.apps[app.id] = app
            if app.account:
                found.accounts[app.account].append(app.id)
        async for person in store.developers():
            if person.role is Role.DEVELOPER:
                found.developers[person.app_id].add(person.email)
        return found

    def of_app(self, app: App) -> set[str]:
        """The addresses of an app's developers."""
        return self.developers.get(app.id, set())

    def of_account(self, app: App) -> set[str]:
        """The addresses of the developers of all apps of an app's account; of its own where it has none."""
        apps = self.accounts.get(app.account, [app.id]) if app.account else [app.id]
        return set().union(*(self.developers.get(app_id, ()) for app_id in apps))


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
    fault: str = field(default="", init=False)  # why people are not told at the moment

    async def run(self) -> None:
        """Tell people until cancelled."""
        loop = asyncio.get_running_loop()
        keys_at = 0.0
        while True:
            keys_too = loop.time() >= keys_at
            if await self._looked(keys_too=keys_too) and keys_too:
                keys_at = loop.time() + self.every
            await asyncio.sleep(min(LOOK_SECONDS, self.every))

    async def _looked(self, *, keys_too: bool) -> bool:
        """Whether this gateway looked; the store being away, or a fault of ours, only delays it."""
        try:
            if not await self.store.lease(LEASE, self.holder, _TURN_SECONDS):
                return True
            await self.turn(keys_too=keys_too)
        except StoreUnavailable as error:
            self._tell(str(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours must not leave all later keys untold
            self._tell(repr(error))
        else:
            self.fault = ""
            return True
        return False

    async def turn(self, *, keys_too: bool = True) -> Turn:
        """Send what is due now, once each, whoever else does the same."""
        turn = Turn()
        room = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as sending:

            async def send(planned: Planned) -> None:
                try:
                    self._count(turn, planned.wanted, await self._told(planned))
                except StoreUnavailable as error:  # its claim ends by itself, and then it is tried again
                    turn.waiting += 1
                    self._tell(str(error))
                finally:
                    room.release()

            async for planned in self._due(turn, keys_too=keys_too):
                await room.acquire()
                sending.create_task(send(planned))
        return turn

    async def planned(self) -> AsyncIterator[Planned]:
        """What would be sent now, without sending it."""
        async for planned in self._due(Turn(), keys_too=True):
            yield planned

    # What is due

    async def _due(self, turn: Turn, *, keys_too: bool) -> AsyncIterator[Planned]:
        directory: Directory | None = None
        async for incident in self._open_incidents():
            directory = directory or await Directory.read(self.store)
            app = directory.apps[incident.app_id]
            about = Wanted(app.id, incident.id, Mark.LEAK, "", Channel.EMAIL, incident.changed_at)
            letter = leak(app, incident, await self._name_of(incident))
            async for planned in self._each(turn, app, about, letter, directory.of_app(app)):
                yield planned
        async for key, mark in self._ending_keys(keys_too=keys_too):
            directory = directory or await Directory.read(self.store)
            app = directory.apps[key.app_id]
            about = Wanted(app.id, key.id, mark, "", Channel.EMAIL, ends_at=key.expires_at)
            people = directory.of_account(app) if self.whole_account else directory.of_app(app)
            async for planned in self._each(turn, app, about, reminder(mark, app, key, self.clock()), people):
                yield planned

    async def _open_incidents(self) -> AsyncIterator[Incident]:
        async for item in self.store.items(ItemKind.INCIDENT):
            incident = _read(incident_of, item)
            if opened(incident) is not None:
                yield incident

    async def _ending_keys(self, *, keys_too: bool) -> AsyncIterator[tuple[KeyRecord, Mark]]:
        if keys_too:
            async for key in self.store.keys():
                mark = due_mark(key, self.clock())
                if mark is not None:
                    yield key, mark

    async def _name_of(self, incident: Incident) -> str:
        found = await self.store.find_key(incident.subject_id) if incident.subject is Subject.KEY else None
        return "" if found is None else found.record.name

    async def _each(
        self, turn: Turn, app: App, about: Wanted, letter: Letter, people: set[str]
    ) -> AsyncIterator[Planned]:
        """What is `about` something, for each who is to be told and was not yet."""
        recipients = list(self._recipients(app, people))
        self._noticed(turn, about.subject, about.mark, recipients)
        for channel, recipient, to in recipients:
            wanted = replace(about, channel=channel, recipient=recipient)
            # Most of what is due was told long ago, and a claim takes a lock.
            item = await self.store.find_item(*wanted.key)
            if item is None or is_open(_read(notice_of, item), self.clock()):
                yield Planned(wanted, to, letter)

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
        if (subject, mark) in self._nobody:
            return
        if len(self._nobody) >= _MOST_TOLD:
            del self._nobody[next(iter(self._nobody))]
        self._nobody[subject, mark] = None
        self.counts.nobody += 1
        _LOG.error("nobody to tell", subject=subject, mark=mark.value)

    # Claim, send, settle

    async def _told(self, planned: Planned) -> Outcome | None:
        """What came of one notice; None when somebody else has it, or it is no longer due."""
        wanted, holder = planned.wanted, secrets.token_hex(8)
        claimed = await self._act(wanted, lambda seen: notices.claim(seen, wanted, holder, self.clock()))
        if not claimed:
            return None
        outcome = await self._send(planned)
        await self._act(wanted, lambda seen: notices.settle(seen, wanted, holder, outcome, self.clock()))
        return outcome

    async def _send(self, planned: Planned) -> Outcome:
        wanted = planned.wanted
        if wanted.channel is Channel.EMAIL:
            mailer = self.roads.mailer
            return (
                Outcome(NoticeState.WAITING, "no_road")
                if mailer is None
                else await mailer.send(planned.to, planned.letter, wanted.id)
            )
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


def _read(reader: Callable[[Item], T], item: Item) -> T:
    try:
        return reader(item)
    except ValueError as error:
        raise StoreBroken(f"The store is damaged: {error}, under the id {item.id}.") from error
