"""Taking tokens that exist elsewhere into a store, row by row; or telling what would come of it.

A row that is refused does not keep the others away. Whatever was taken in before is not taken in again, so a run that
broke off is simply begun anew.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Generic, Protocol

from gateway.core.intake import (
    Admitted,
    Promised,
    RowT,
    admit_keys,
    admit_tokens,
    keys_asked,
    tokens_asked,
)
from gateway.core.intake_rows import KeyRow, RowReason, RowRefused, TokenRow, harmless, key_row, token_row
from gateway.core.ledger import Act, Asked, Changes, Done, Snapshot, Who
from gateway.core.records import KeyRecord, User, UserTokenRecord
from gateway.keys.batches import WINDOW, Batch, Verdict, acted, batches
from gateway.keys.intake_file import Values
from gateway.keys.keeper import ID_BYTES
from gateway.store.contract import Store, StoreUnavailable


@dataclass(slots=True)
class Tally:
    """What came of the rows of a file."""

    rows: int = 0
    taken: int = 0
    known: int = 0
    refused: int = 0
    expired: int = 0  # of those taken
    unconfirmed: int = 0  # of those taken: no replica confirmed in time that it has them

    def take(self, done: Done) -> None:
        """Count what was kept."""
        records: tuple[KeyRecord | UserTokenRecord, ...] = (*done.changes.keys, *done.changes.tokens)
        self.taken += len(records)
        self.expired += sum(record.expires_at <= done.at for record in records)
        self.unconfirmed += 0 if done.replicated else len(records)


class Report(Protocol):
    """Who is told of each row while it goes on."""

    def refuse(self, line: int, refusal: RowRefused, columns: dict[str, str]) -> None:
        """A row was refused; `columns` is what may be written of it."""

    def advance(self, rows: int) -> None:
        """So many rows more were judged."""


@dataclass(frozen=True, slots=True)
class Intake(Generic[RowT]):
    """Takes the rows of a file into a store."""

    store: Store
    who: Who
    row: Callable[[int, Values], RowT]
    asked: Callable[[str, Sequence[RowT]], Asked]
    admit: Callable[[Snapshot, Sequence[RowT], Who, Promised], Admitted[RowT]]
    window: int = WINDOW

    async def run(
        self,
        lines: Iterator[tuple[int, Values | RowRefused]],
        report: Report,
        *,
        dry_run: bool,
        tally: Tally | None = None,
    ) -> Tally:
        """Judge every row, in the order of the file as far as one app is concerned, and keep the good ones unless it is
        a dry run. Raises `StoreUnavailable` that says how far it came; `tally`, if given, is what is counted in."""
        tally = tally or Tally()
        ids: set[str] = set()
        trial = _Trial() if dry_run else None
        while window := _Window(self.row, ids, islice(lines, self.window)):
            tally.rows += window.count
            report.advance(len(window.refused))
            for batch in batches(window.by_app):
                admitted = await (self._kept(batch, tally) if trial is None else self._tried(batch, trial, tally))
                for each in admitted:
                    tally.known += each.known
                    window.refused += ((row.line, refusal, row.as_columns()) for row, refusal in each.refused)
                report.advance(sum(len(rows) for _, rows in batch))
            tally.refused += len(window.refused)
            for refused in sorted(window.refused, key=itemgetter(0)):
                report.refuse(*refused)
        return tally

    async def _kept(self, batch: Batch[RowT], tally: Tally) -> list[Admitted[RowT]]:
        verdicts = [Verdict(self._judge(rows)) for _, rows in batch]
        acts = [Act(self.asked(app_id, rows), verdict) for (app_id, rows), verdict in zip(batch, verdicts, strict=True)]
        try:
            outcomes = await acted(self.store, acts)
        except StoreUnavailable as error:
            raise StoreUnavailable(
                f"{error} {tally.taken} rows had been taken in; the same command goes on from there."
            ) from error
        for outcome in outcomes:
            tally.take(outcome)
        return [verdict.last for verdict in verdicts]

    def _judge(self, rows: Sequence[RowT]) -> Callable[[Snapshot], Admitted[RowT]]:
        return lambda snapshot: self.admit(snapshot, rows, self.who, Promised())

    async def _tried(self, batch: Batch[RowT], trial: "_Trial", tally: Tally) -> list[Admitted[RowT]]:
        admitted = []
        snapshots = await self.store.look([self.asked(app_id, rows) for app_id, rows in batch])
        for (app_id, rows), snapshot in zip(batch, snapshots, strict=True):
            each = self.admit(snapshot, rows, self.who, trial.promised(app_id, rows))
            trial.promise(app_id, each.changes, snapshot.now)
            tally.take(Done(each.changes, snapshot.now))
            admitted.append(each)
        return admitted


def key_intake(store: Store, who: Who, known_scopes: Collection[str]) -> Intake[KeyRow]:
    """Takes API keys in."""
    scopes = frozenset(known_scopes)
    return Intake(store, who, lambda line, values: key_row(line, values, scopes), keys_asked, admit_keys)


def token_intake(store: Store, who: Who, entropy: Callable[[int], bytes]) -> Intake[TokenRow]:
    """Takes user tokens in, and makes the users that there are not yet."""

    def row(line: int, values: Values) -> TokenRow:
        # As all ids of an app it begins with the app's first byte; whether there is one, the row will tell.
        return token_row(line, values, f"{str(values.get('app', ''))[:2]}{entropy(ID_BYTES - 1).hex()}")

    return Intake(store, who, row, tokens_asked, admit_tokens)


class _Window(Generic[RowT]):
    """So many rows of the file as are held at once, those of one app together; false when there are none left."""

    def __init__(
        self, row: Callable[[int, Values], RowT], ids: set[str], lines: Iterable[tuple[int, Values | RowRefused]]
    ) -> None:
        self.count = 0
        self.by_app: dict[str, list[RowT]] = {}
        self.refused: list[tuple[int, RowRefused, dict[str, str]]] = []
        for line, values in lines:
            self.count += 1
            if isinstance(values, RowRefused):
                self.refused.append((line, values, {}))
                continue
            try:
                found = row(line, values)
                if found.id in ids:
                    raise RowRefused(RowReason.ID_TAKEN, "A row before this one has the same id.")
            except RowRefused as refusal:
                self.refused.append((line, refusal, harmless(values)))
                continue
            ids.add(found.id)
            self.by_app.setdefault(found.app_id, []).append(found)

    def __bool__(self) -> bool:
        return self.count > 0


class _Trial:
    """What a dry run has promised so far."""

    def __init__(self) -> None:
        self._places: Counter[str] = Counter()
        self._users: dict[tuple[str, str | None, str | None], User] = {}

    def promised(self, app_id: str, rows: Iterable[KeyRow | TokenRow]) -> Promised:
        """What matters of it to these rows of an app."""
        names = {
            name for row in rows if isinstance(row, TokenRow) for name in _names(app_id, row.user_id, row.external_id)
        }
        return Promised(self._places[app_id], tuple(self._users[name] for name in names if name in self._users))

    def promise(self, app_id: str, changes: Changes, now: int) -> None:
        """What rows of an app were promised now."""
        self._places[app_id] += sum(key.expires_at > now for key in changes.keys)
        for user in changes.users:
            self._users.update((name, user) for name in _names(app_id, user.id, user.external_id))


def _names(app_id: str, user_id: str | None, external_id: str | None) -> Iterator[tuple[str, str | None, str | None]]:
    if user_id is not None:
        yield app_id, user_id, None
    if external_id is not None:
        yield app_id, None, external_id
