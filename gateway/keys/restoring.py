"""A file into a store: into an empty one as it is, into another merged so that taking away wins."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import Any

from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.ledger import Act, ActReason, ActRefused, Asked, Changes, Decide, Done, Item, Snapshot, Who
from gateway.core.merging import (
    Merged,
    items_sought,
    keys_sought,
    merge_app,
    merge_items,
    merge_keys,
    merge_tokens,
    merge_users,
    tokens_sought,
    users_sought,
)
from gateway.core.records import App, Role
from gateway.keys.batches import A_CALL, WINDOW, Batch, Verdict, acted, batches
from gateway.keys.export_file import Advance, Export
from gateway.store.contract import Store, StoreBroken, StoreUnavailable

Line = tuple[int, Any]  # the number of a line, and the record in it
Sought = Callable[[str, Sequence[Any]], Asked]
Merge = Callable[[Snapshot, Sequence[Any], Who], Merged]


@dataclass(slots=True)
class Restored:
    """What came of the records of a file."""

    records: int = 0
    changed: int = 0  # or new in the store
    conflicts: int = 0
    unconfirmed: int = 0  # no replica confirmed in time that it has them


@dataclass(slots=True)
class Restoring:
    """Brings an export into a store. `conflict` is told, by line, of what could not be merged."""

    store: Store
    export: Export
    who: Who
    advance: Advance
    conflict: Callable[[int, str], None]
    restored: Restored = field(default_factory=Restored)
    _told: bool = False

    async def run(self, *, merge: bool) -> Restored:
        """Bring all of it in. Refuses a store that is not empty, unless it is to `merge`."""
        if not merge:
            await self._require_empty()
        try:
            await self._records()
            await self._audit()
            await self._last_used()
        except StoreUnavailable as error:
            raise StoreUnavailable(
                f"{error} A part of the file is in the store now; the same command with --merge brings the rest."
            ) from error
        return self.restored

    async def _require_empty(self) -> None:
        async for _ in self.store.apps():
            raise ActRefused(
                ActReason.STORE_NOT_EMPTY,
                "The store is not empty. With --merge the file is merged into it, and what either ended stays ended.",
            )

    async def _records(self) -> None:
        roles: dict[str, dict[str, Role]] = {}
        for _, developer in self._lines("developer"):
            roles.setdefault(developer.app_id, {})[developer.email] = developer.role

        def merge_apps(snapshot: Snapshot, apps: Sequence[App], who: Who) -> Merged:
            return merge_app(snapshot, apps[-1], roles.get(apps[-1].id, {}), who)

        await self._merge("app", lambda app_id, _: Asked(app_id, roles=True), merge_apps)
        await self._merge("user", users_sought, merge_users)
        await self._merge("key", keys_sought, merge_keys)
        await self._merge("user_token", tokens_sought, merge_tokens)
        await self._merge("item", items_sought, merge_items)

    async def _merge(self, kind: str, sought: Sought, merge: Merge) -> None:
        lines = self._lines(kind)
        # Of items few: one may have as many bytes as ten thousand other records.
        while window := list(islice(lines, WINDOW // 100 if kind == "item" else WINDOW)):
            by_app: dict[str, list[Line]] = {}
            for line in window:
                by_app.setdefault(_app_of(line[1]), []).append(line)
            for batch in batches(by_app):
                await self._merge_batch(batch, sought, merge)

    async def _merge_batch(self, batch: Batch[Line], sought: Sought, merge: Merge) -> None:
        verdicts = [self._verdict(lines, merge) for _, lines in batch]
        acts = [
            Act(sought(app_id, [record for _, record in lines]), verdict)
            for (app_id, lines), verdict in zip(batch, verdicts, strict=True)
        ]
        for done in await acted(self.store, await self._telling(acts)):
            self._count(done)
        for (_, lines), verdict in zip(batch, verdicts, strict=True):
            numbers = {_known_by(record): number for number, record in lines}
            for conflict in verdict.last.conflicts:
                self.restored.conflicts += 1
                self.conflict(numbers[_known_by(conflict.record)], conflict.message)

    def _verdict(self, lines: Sequence[Line], merge: Merge) -> Verdict[Merged]:
        records = [record for _, record in lines]

        def judge(snapshot: Snapshot) -> Merged:
            try:
                return merge(snapshot, records, self.who)
            except ValueError as error:
                raise StoreBroken(f"The store is damaged: {error}; 'gateway store verify' names it.") from error

        return Verdict(judge)

    async def _telling(self, acts: list[Act]) -> list[Act]:
        """The acts, the first of which to change something tells in the audit of the file that it comes from."""
        if self._told:
            return acts
        snapshots = await self.store.look([act.asked for act in acts])
        for number, (act, snapshot) in enumerate(zip(acts, snapshots, strict=True)):
            if act.decide(snapshot):
                return [*acts[:number], replace(act, decide=self._with_event(act)), *acts[number + 1 :]]
        return acts

    def _with_event(self, act: Act) -> Decide:
        def decide(snapshot: Snapshot) -> Changes:
            changes = act.decide(snapshot)
            event = AuditEvent(
                snapshot.now,
                AuditAction.STORE_IMPORTED,
                act.asked.app_id,
                self.export.header.identity,
                self.who.actor,
                self.who.source,
                f"sha256 {self.export.sha256}",
            )
            return replace(changes, events=(event, *changes.events)) if changes else changes

        return decide

    def _count(self, done: Done) -> None:
        changes = done.changes
        count = len(changes.keys) + len(changes.users) + len(changes.tokens) + len(changes.items)
        count += changes.app is not None
        self.restored.changed += count
        self.restored.unconfirmed += 0 if done.replicated else count
        self._told = self._told or any(event.action is AuditAction.STORE_IMPORTED for event in changes.events)

    async def _audit(self) -> None:
        """The audit of other stores. Of this store's own, whatever the file has of it is here."""
        own = f"{await self.store.identity()}/"
        for kind in ("event", "seal"):
            for chain, lines in groupby(self._lines(kind), lambda line: str(line[1].chain)):
                while piece := [record for _, record in islice(lines, A_CALL)]:
                    if not chain.startswith(own):
                        events, seals = (piece, []) if kind == "event" else ([], piece)
                        await self.store.keep_chain(chain, events, seals)

    async def _last_used(self) -> None:
        lines = self._lines("last_used")
        while piece := {record.id: record.at for _, record in islice(lines, A_CALL)}:
            await self.store.note_used(piece)

    def _lines(self, kind: str) -> Iterator[Line]:
        for line in self.export.records(kind):
            self.restored.records += 1
            self.advance(1)
            yield line


def _app_of(record: Any) -> str:
    match record:
        case App():
            return record.id
        case Item():
            return record.owner
        case _:
            return str(record.app_id)


def _known_by(record: Any) -> Hashable:
    return record.key if isinstance(record, Item) else record.id
