"""What is due: of which keys and incidents people are to be told, who they are, and what each is told. Nothing is sent
here."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar

import structlog

from gateway.control.letters import Letter, leak, reminder
from gateway.control.senders import Senders
from gateway.core.incidents import Incident, Subject, incident_of
from gateway.core.ledger import Asked, Item, ItemKind, Snapshot
from gateway.core.notices import Channel, Mark, Wanted, due_mark, is_open, is_settled, leak_mark, notice_of, opened
from gateway.core.people import developer_id
from gateway.core.records import App, KeyRecord, Role
from gateway.keys.leaks import with_later_notes
from gateway.metrics import NoticeCounts
from gateway.store.contract import Store, StoreBroken

K = TypeVar("K")
V = TypeVar("V")

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
class Occasion:
    """What there is to tell, to whomever: `subject` is the id of a key that ends or of an incident. The other members
    are as in `Wanted`."""

    app: App
    subject: str
    mark: Mark
    letter: Letter
    occasion: int = 0
    ends_at: int | None = None

    def wanted(self, channel: Channel, recipient: str) -> Wanted:
        """The notice of it to one recipient."""
        return Wanted(self.app.id, self.subject, self.mark, recipient, channel, self.occasion, self.ends_at)


@dataclass(frozen=True, slots=True)
class Planned:
    """One notice that may be due, with what it needs to be sent."""

    wanted: Wanted
    to: str = field(repr=False)
    letter: Letter = field(repr=False)


@dataclass(slots=True)
class Look:
    """What one look finds beside what is due: of how much there is nobody to be told, since when the oldest notice that
    is not settled has been waiting, and the last thing that was damaged."""

    nobody: int = 0
    oldest: int | None = None
    damage: StoreBroken | None = None


@dataclass(slots=True)
class Due:
    """Looks what is due, and remembers what it need not read again."""

    store: Store
    senders: Senders
    clock: Callable[[], int]
    counts: NoticeCounts
    whole_account: bool
    _nobody: dict[tuple[str, Mark], None] = field(default_factory=dict, init=False)
    _quiet: dict[str, int] = field(default_factory=dict, init=False)  # incidents of which all was told, as they were

    async def planned(self, look: Look, *, keys_too: bool) -> AsyncIterator[Planned]:
        """Every notice that may be claimed now; without the keys, only what is new of leaks.

        What is damaged is noted in the look, and keeps back nothing else.
        """
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

    async def _of_incident(self, look: Look, item: Item) -> tuple[list[Planned], bool]:
        """What is to be told of an incident, and whether all of it was."""
        try:
            incident = incident_of(item)
        except ValueError as error:
            look.damage = _broken(item, error)
            return [], False
        opened_at = opened(incident)
        seen = await self._seen(incident) if opened_at else None
        if seen is None or seen.app is None:
            return [], True
        key = seen.keys.get(incident.subject_id)
        (fresh,) = await with_later_notes(self.store, [incident])
        letter = leak(seen.app, fresh, "" if key is None else key.name)
        occasion = Occasion(seen.app, incident.id, leak_mark(incident), letter, opened_at or 0)
        people = {email for email, role in seen.roles.items() if role is Role.DEVELOPER}
        return await self._each(look, occasion, people)

    async def _seen(self, incident: Incident) -> Snapshot:
        keys = (incident.subject_id,) if incident.subject is Subject.KEY else ()
        (seen,) = await self.store.look([Asked(incident.app_id, keys=keys, roles=True)])
        return seen

    async def _of_key(self, look: Look, key: KeyRecord, mark: Mark, directory: Directory) -> list[Planned]:
        found = await self.store.find_key(key.id)
        if found is None:
            return []
        letter = reminder(mark, found.app, key, self.clock())
        occasion = Occasion(found.app, key.id, mark, letter, ends_at=key.expires_at)
        return (await self._each(look, occasion, directory.of(found.app, whole_account=self.whole_account)))[0]

    async def _each(self, look: Look, occasion: Occasion, people: set[str]) -> tuple[list[Planned], bool]:
        """The notices on one occasion still to be sent, one per recipient, and whether all are settled."""
        recipients = list(self._recipients(occasion.app, people))
        if not recipients:
            self._note_nobody(look, occasion)
        found, all_settled = [], bool(recipients)
        for channel, recipient, to in recipients:
            wanted = occasion.wanted(channel, recipient)
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
                found.append(Planned(wanted, to, occasion.letter))
        return found, all_settled

    def _recipients(self, app: App, people: set[str]) -> Iterator[tuple[Channel, str, str]]:
        """The recipients: channel, name in the ledger, address."""
        if self.senders.mailer is not None:
            for email in sorted(people):
                yield Channel.EMAIL, developer_id(email), email
        for hook in self.senders.hooks:
            if hook.apps is None or app.id in hook.apps:
                yield Channel.WEBHOOK, hook.name, hook.name

    def _note_nobody(self, look: Look, occasion: Occasion) -> None:
        """Say once that there is nobody to be told."""
        look.nobody += 1
        subject, mark = occasion.subject, occasion.mark
        if (subject, mark) not in self._nobody:
            _remember(self._nobody, (subject, mark), None)
            self.counts.nobody += 1
            _LOG.error("nobody to tell", subject=subject, mark=mark.value)


def _broken(item: Item | Wanted, error: ValueError) -> StoreBroken:
    return StoreBroken(f"The store is damaged: {error}, under the id {item.id}.")


def _remember(notes: dict[K, V], key: K, value: V) -> None:
    """Note it, and forget what was noted first when there is too much."""
    notes.pop(key, None)
    if len(notes) >= _MOST_NOTED:
        del notes[next(iter(notes))]
    notes[key] = value
