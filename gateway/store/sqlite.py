"""The embedded store: one SQLite file, for any number of processes of one machine."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

from gateway.clock import Clock
from gateway.core.audit import AuditEvent, Numbered, Seal
from gateway.core.ledger import Act, ActRefused, Asked, Done, Item, ItemKind, Snapshot
from gateway.core.records import App, Developer, KeyRecord, User, UserTokenRecord
from gateway.core.takings import taken_by
from gateway.core.wishes import DAY
from gateway.store import acting, listing, rows, trail
from gateway.store.contract import FoundKey, FoundUser, FoundUserToken, StoreUnavailable, Use
from gateway.store.database import READER_PATIENCE, connect, erase, reading, transaction, translating, write_ahead
from gateway.store.file import check, require_file, require_identity, require_sqlite
from gateway.store.listing import PAGE, Listing
from gateway.store.migrations import migrate
from gateway.store.used import UsedFile
from gateway.store.walindex import WalIndex

T = TypeVar("T")

_IDENTITY_SECONDS: Final = 1.0  # How long a replaced file may go unseen, against a system call each time.
_FIRST: Final = -(2**63)  # comes before every integer

_SWEEP: Final = """
    DELETE FROM item WHERE (kind, id) IN (SELECT kind, id FROM item WHERE ends_at <= ? ORDER BY ends_at LIMIT 5000)
"""
_LEASE: Final = """
    INSERT INTO lease VALUES (?1, ?2, ?4) ON CONFLICT DO UPDATE SET holder = ?2, ends_at = ?4
    WHERE holder = ?2 OR ends_at <= ?3
"""


class SqliteStore:
    """`Store` on one SQLite file. Reads run inline and to the end of the rows; writes run in turn in one thread."""

    def __init__(
        self,
        path: Path,
        reader: sqlite3.Connection,
        writer: sqlite3.Connection,
        header: Callable[[], bytes] | None,
        closing: ExitStack,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._path = path
        self._reader = reader
        self._writer = writer
        self._stamp: Callable[[], object] = header or self._data_version
        self._seen: object = None
        status = path.stat()
        self._file = (status.st_dev, status.st_ino)
        self._look_again_at = 0.0
        self._revision = 0
        self._clock = clock or Clock()
        self._latest = 0
        self._clock_lock = threading.Lock()
        self._used = UsedFile(path)
        self._closing = closing
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-writer")
        self._to_erase = True  # what a process before this one may not have come to

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        create: bool,
        patience: float,
        clock: Callable[[], int] | None = None,
        identity: str | None = None,
        scratch: TemporaryDirectory[str] | None = None,
    ) -> "SqliteStore":
        """The store in the file at `path`, checked, with the newest tables, and of the `identity` if one is given.

        `scratch` is removed with the store.
        """
        with ExitStack() as opened, translating(path):
            if scratch is not None:
                opened.callback(scratch.cleanup)
            require_sqlite()
            require_file(path, create=create)
            index = WalIndex.claim(path)
            opened.callback(index.release)
            # The writer closes last: whoever does, copies the log into the database, and the reader may not write.
            writer = connect(path, mode="rw", patience=patience)
            opened.callback(writer.close)
            check(writer, path)
            write_ahead(writer, path)
            migrate(writer)
            require_identity(writer, path, identity)
            reader = connect(path, mode="ro", patience=READER_PATIENCE)
            opened.callback(reader.close)
            reader.execute("PRAGMA query_only = ON")
            return cls(path, reader, writer, index.header(), opened.pop_all(), clock)

    def revision(self) -> int:
        """Raised by every transaction that takes something away. Read anew only when the database has changed."""
        self._check_file()
        stamp = self._stamp()
        if stamp != self._seen:
            # The stamp was taken before: what is committed between the two is met at the next call again.
            ((self._revision,),) = self._read("SELECT revision FROM meta")
            self._seen = stamp
        return self._revision

    def ended_since(self, revision: int) -> frozenset[str] | None:  # noqa: ARG002 - the contract's
        """None: the file says that something was taken, not what; a look-up is cheap here."""
        return None

    async def find_key(self, key_id: str) -> FoundKey | None:
        """The key with this id and its app, or None."""
        found = self._found(rows.found_key, rows.FIND_KEY, key_id)
        return found[0] if found and found[0].record.id == key_id else None

    async def find_user_token(self, token_id: str) -> FoundUserToken | None:
        """The user token with this id, its user and its app, or None."""
        found = self._found(rows.found_user_token, rows.FIND_USER_TOKEN, token_id)
        return found[0] if found and found[0].record.id == token_id else None

    async def find_user(self, app_id: str, user_id: str) -> FoundUser | None:
        """The app with this id and what is known of a user of it, or None."""
        return next(iter(self._found(rows.found_user, rows.FIND_USER, app_id, user_id)), None)

    async def find_item(self, kind: ItemKind, item_id: str) -> Item | None:
        """The item of this kind with this id, or None."""
        return next(iter(self._found(rows.item, rows.FIND_ITEM, kind, item_id)), None)

    async def look(self, asked: Sequence[Asked]) -> list[Snapshot]:
        """What acts would see now."""
        with translating(self._path), reading(self._reader):
            return [acting.snapshot(self._reader, each, self._now()) for each in asked]

    async def act(self, acts: Sequence[Act]) -> list[Done | ActRefused]:
        """Do each act whole or not at all, in the order given, all in one transaction."""
        return await self._write(lambda database: self._acted(database, acts)) if acts else []

    def apps(self) -> AsyncIterator[App]:
        """All apps."""
        return self._list(listing.APPS, None, "")

    def keys(self, app_id: str | None = None) -> AsyncIterator[KeyRecord]:
        """All keys that ever were, or those of one app, oldest first within an app."""
        return self._list(listing.KEYS, app_id, app_id or "", _FIRST, "")

    def users(self, app_id: str | None = None) -> AsyncIterator[User]:
        """All users, or those of one app."""
        return self._list(listing.USERS, app_id, app_id or "", "")

    def user_tokens(self) -> AsyncIterator[UserTokenRecord]:
        """All user tokens."""
        return self._list(listing.USER_TOKENS, None, "")

    def developers(self, app_id: str | None = None) -> AsyncIterator[Developer]:
        """All roles that people have, or those in one app."""
        return self._list(listing.DEVELOPERS, app_id, app_id or "", "")

    def items(self, kind: ItemKind, owner: str | None = None) -> AsyncIterator[Item]:
        """All items of a kind, or those of one owner."""
        return self._list(listing.ITEMS, owner, kind, owner or "", "")

    async def sweep(self) -> int:
        """Forget items that ended a day ago or earlier."""

        def forget(database: sqlite3.Connection) -> int:
            self._to_erase = True  # what a command, which has ended since, could not erase for somebody who read
            return database.execute(_SWEEP, (self._now() - DAY,)).rowcount

        return await self._write(forget)

    async def chains(self) -> list[str]:
        """All chains in which there are events."""
        return [name for (name,) in self._read(trail.CHAINS)]

    def events(self, chain: str, after: int = 0) -> AsyncIterator[Numbered]:
        """The events of a chain with a number above `after`, in order."""
        return self._list(listing.EVENTS, chain, after)

    def seals(self, chain: str) -> AsyncIterator[Seal]:
        """The seals of a chain, in order."""
        return self._list(listing.SEALS, chain, 0)

    async def unsealed(self) -> list[str]:
        """The store's own chain, if it has events after its last seal."""
        return [name for (name,) in self._read(trail.UNSEALED)]

    async def last_seal(self, chain: str) -> Seal | None:
        """The newest seal of a chain, or None."""
        return next(iter(self._found(trail.seal_of, trail.LAST_SEAL, chain)), None)

    async def append_seal(self, seal: Seal) -> bool:
        """Keep a seal, if it begins right after the last one of its chain; else False."""
        return await self._write(lambda database: trail.append_seal(database, seal))

    async def keep_chain(self, chain: str, events: Sequence[Numbered], seals: Sequence[Seal]) -> None:
        """Keep a piece of a chain of another store as it is; what is there already stays."""
        await self._write(lambda database: trail.keep_chain(database, chain, events, seals))

    async def lease(self, name: str, holder: str, seconds: float) -> bool:
        """Whether `holder` alone may do what `name` says for this long."""

        def take(database: sqlite3.Connection) -> bool:
            now = self._now()
            return database.execute(_LEASE, (name, holder, now, now + round(seconds * 1000))).rowcount == 1

        return await self._write(take)

    async def note_used(self, used: Mapping[str, int]) -> None:
        """Keep when each key was last used."""
        await self._used.note(used)

    async def last_used(self, key_ids: Sequence[str]) -> dict[str, int]:
        """When these keys were last used, as far as it was noted."""
        return await self._used.read(key_ids)

    async def note_uses(self, uses: Mapping[Use, int]) -> None:
        """Add to the counts of what keys were used for."""
        await self._used.note_uses(uses)

    async def uses(self, key_ids: Sequence[str]) -> dict[Use, int]:
        """What these keys were used for, as far as it was noted."""
        return await self._used.uses(key_ids)

    async def identity(self) -> str:
        """The random id of the store, made with it."""
        ((identity,),) = self._read("SELECT identity FROM meta")
        return str(identity)

    async def start(
        self, heard: Callable[[float], None] | None = None, garbled: Callable[[], None] | None = None
    ) -> None:
        """Nothing: what others change is seen in the file, at the next look."""

    def warnings(self) -> list[str]:
        """What is wrong with the notes of last use, if anything is."""
        return [self._used.fault] if self._used.fault else []

    async def ping(self) -> None:
        """Return when the store answers."""
        self._require_file()
        self._read("SELECT revision FROM meta")

    async def close(self) -> None:
        """Release everything, after the writes that were begun."""
        await self._used.close()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._closing.close)
        self._thread.shutdown()

    def _check_file(self) -> None:
        """Raise `StoreUnavailable` when the file is no longer the one that was opened, which is seen once a second."""
        now = time.monotonic()
        if now >= self._look_again_at:
            self._require_file()
            self._look_again_at = now + _IDENTITY_SECONDS

    def _require_file(self) -> None:
        """Raise `StoreUnavailable` when the file at the path is no longer the one that was opened: whoever revokes a
        key there writes into a file that nobody here reads, and the other way about."""
        try:
            status = self._path.stat()
            is_ours = (status.st_dev, status.st_ino) == self._file
        except OSError:
            is_ours = False
        if not is_ours:
            self._look_again_at = 0.0
            raise StoreUnavailable(f"The store at {self._path} was removed or replaced while it was in use; restart.")

    def _acted(self, database: sqlite3.Connection, acts: Sequence[Act]) -> list[Done | ActRefused]:
        results: list[Done | ActRefused] = []
        events: list[AuditEvent] = []
        takes = False
        for act in acts:
            seen = acting.snapshot(database, act.asked, self._now())
            try:
                changes = act.decide(seen)
            except ActRefused as refusal:
                results.append(refusal.with_traceback(None))
                continue
            acting.keep(database, seen, act.asked.app_id, changes)
            self._to_erase |= acting.erases(seen, changes)
            events += changes.events
            takes = takes or any(taken_by(seen, changes))
            results.append(Done(changes, seen.now))
        if events:
            trail.append(database, events)
        if takes:
            database.execute("UPDATE meta SET revision = revision + 1")
        return results

    def _now(self) -> int:
        """The time, which never goes back: what has ended here stays ended when the machine's clock is set back."""
        with self._clock_lock:
            self._latest = max(self._latest, self._clock())
            return self._latest

    def _data_version(self) -> object:
        return self._read("PRAGMA data_version")

    def _read(self, query: str, *arguments: object) -> list[rows.Row]:
        return self._found(lambda row: row, query, *arguments)

    def _found(self, record: Callable[[rows.Row], T], query: str, *arguments: object) -> list[T]:
        with translating(self._path):
            return [record(row) for row in self._reader.execute(query, arguments).fetchall()]

    async def _list(self, items: Listing[T], bound: str | None, *place: object) -> AsyncIterator[T]:
        while page := self._found(items.placed, items.statement, bound, *place, PAGE):
            for _, record in page:
                yield record
            place, _ = page[-1]
            await asyncio.sleep(0)  # others get their turn between two pages

    async def _write(self, act: Callable[[sqlite3.Connection], T]) -> T:
        """Do `act` whole or not at all, in the writer's thread."""

        def write() -> T:
            with translating(self._path), transaction(self._writer):
                done = act(self._writer)
            # What was overwritten is to leave the log of writes too: now, or with the next write, a seal's if no other.
            self._to_erase = self._to_erase and not erase(self._writer)
            self._require_file()  # else what was written is lost with the file, and must not be reported as done
            return done

        return await asyncio.get_running_loop().run_in_executor(self._thread, write)
