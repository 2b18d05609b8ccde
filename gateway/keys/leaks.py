"""What becomes of a credential that leaked: it ends, and an incident is opened, in one act.

Every method raises `ActRefused` with a sentence for people, and `StoreUnavailable` when it was not done, or nobody
knows; to report again does no harm. A reported token is kept nowhere, and no place where it was seen is ever fetched.
"""

import asyncio
import hmac
import math
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from gateway.core import developer_tokens, incidents
from gateway.core.credential import MAX_TOKEN
from gateway.core.incidents import Incident, LeakReport, Subject
from gateway.core.ledger import Act, ActReason, ActRefused, Asked, Changes, Decide, Done, Item, ItemKind, Who
from gateway.core.records import Fault
from gateway.core.sightings import Sighting
from gateway.core.token import Kind, Prefixes, Token, minted_id, parse_token, verifier
from gateway.core.wishes import DAY
from gateway.store.contract import REFUSED, REQUESTS, FoundKey, FoundUserToken, Store, StoreBroken, Use

# The answer to a report takes a whole number of these, so that its time does not tell what was found: looking for an
# unknown token takes far less than one, and so does ending a known one.
PACE: Final = 0.25
_A_CALL: Final = 50  # acts to a call of the store: some hundredths of a second of the lock that others wait for

# As much of a token as its id: what a scanner has that saw only a part, or a person who would not send the rest.
_NAMED: Final = re.compile(r"(?:([a-z][a-z0-9]{0,15})_)?([0-9a-f]{8,64})(?:\.|\Z)")
_CREDENTIAL_ID: Final = re.compile(r"[0-9a-f]{8,64}\Z")
_INCIDENT_ID: Final = re.compile(r"[0-9a-f]{2}inc[0-9a-f]{16}\Z")

_Told = tuple[str, Sighting]


@dataclass(frozen=True, slots=True)
class Reported:
    """The incident, as it is after a report or a decision about it, and the act that made it so."""

    incident: Incident
    done: Done


@dataclass(frozen=True, slots=True)
class LeakDesk:
    """Takes reports of leaks, and what people decide about the incidents.

    `around` may add to an act what its caller wants to see done with it. `flags` says that a token which is not whole
    opens an incident too: for scanners, and for those who see every app.
    """

    store: Store
    who: Who
    prefixes: Prefixes
    around: Callable[[Act], Act] = lambda act: act
    flags: bool = True
    pace: float = PACE

    # Reports

    async def report_token(self, token: str, sighting: Sighting) -> list[Reported]:
        """End what the whole token proves, and open or extend its incident; flag what it only names. Of an unknown one
        nothing is kept. Whoever reported must not be told which of these it was."""
        return await self.report_tokens([(token, sighting)])

    async def report_tokens(self, told: Iterable[_Told]) -> list[Reported]:
        """The same for many; each credential is dealt with once, however often it is told of."""
        places: dict[str, list[Sighting]] = {}
        for token, sighting in told:
            places.setdefault(token, []).append(sighting)
        async with _evenly(self.pace):
            reports = [await self._meant(token, seen) for token, seen in places.items()]
            known = await self._with_use([report for report in reports if report is not None])
            return [
                each
                for start in range(0, len(known), _A_CALL)
                for each in await self._reported(known[start : start + _A_CALL])
            ]

    async def report_id(self, credential_id: str, sighting: Sighting) -> Reported:
        """End a key or user token by its id alone. The caller makes sure who may: a developer of its app, or an
        operator."""
        found = await self._find(credential_id)
        if found is None:
            raise ActRefused(
                ActReason.UNKNOWN_KEY,
                f"There is no key and no user token with the id {credential_id!r}; see 'gateway keys list'.",
            )
        (report,) = await self._with_use([_leak_report(found, (sighting,), proven=False, ends=True)])
        act = self.around(Act(report.asked, self._reporting(report)))
        done = await self._done(act)
        return Reported(_incident_after(done.changes, report.incident_id), done)

    # Incidents

    async def acknowledge(self, incident_id: str) -> Reported:
        """Somebody sees to it. Nothing changes unless it is open."""
        return await self._decided(incident_id, lambda seen: incidents.acknowledge(seen, incident_id, self.who))

    async def close(self, incident_id: str) -> Reported:
        """It is over. Nothing changes when it had been closed before."""
        return await self._decided(incident_id, lambda seen: incidents.close(seen, incident_id, self.who))

    async def incident(self, incident_id: str) -> Incident:
        """The incident with this id."""
        item = None
        if _INCIDENT_ID.match(incident_id):
            item = await self.store.find_item(ItemKind.INCIDENT, incident_id)
        if item is None:
            raise incidents.no_incident(incident_id)
        return _incident_in(item)

    async def incidents(self, app_id: str | None = None) -> AsyncIterator[Incident]:
        """All incidents, or those of an app."""
        async for item in self.store.items(ItemKind.INCIDENT, app_id):
            yield _incident_in(item)

    async def refused_since(self, told: Sequence[Incident]) -> dict[str, int]:
        """How often the key of each incident, by the incident's id, was presented after its end, since the day on which
        the incident was opened. Of user tokens it is not counted."""
        uses = await self.store.uses([incident.subject_id for incident in told])
        return {
            incident.id: sum(
                times
                for (key_id, day, what), times in uses.items()
                if key_id == incident.subject_id and what == REFUSED and day >= incident.opened_at // DAY
            )
            for incident in told
        }

    # How each of them is done

    async def _meant(self, text: str, seen: Sequence[Sighting]) -> LeakReport | None:
        if len(text) > MAX_TOKEN or not text.isascii():
            return None
        token = text.encode("ascii")
        if minted_id(token, developer_tokens.PREFIX) is not None:
            await self._end_developer_token(token)
            return None
        named = _named(token, self.prefixes)
        found = None if named is None else await self._find(named.id, named.kind)
        if named is None or found is None:
            return None
        proven = hmac.compare_digest(found.record.verifier, named.verifier)
        if not proven and not self.flags:
            return None
        return _leak_report(found, tuple(seen), proven=proven, ends=proven)

    async def _find(self, credential_id: str, kind: Kind = Kind.LEGACY) -> FoundKey | FoundUserToken | None:
        if not _CREDENTIAL_ID.match(credential_id):
            return None
        key = None if kind is Kind.USER_TOKEN else await self.store.find_key(credential_id)
        if key is not None or kind is Kind.KEY:
            return key
        return await self.store.find_user_token(credential_id)

    async def _end_developer_token(self, token: bytes) -> None:
        token_id = minted_id(token, developer_tokens.PREFIX) or ""
        key = developer_tokens.item_key(token_id)
        item = await self.store.find_item(*key)
        if item is None:
            return
        try:
            kept = developer_tokens.token_from(item)
        except ValueError as error:
            raise _damaged(item) from error
        if hmac.compare_digest(kept.verifier, verifier(token)):
            asked = Asked(kept.owner, items=(key,))
            await self._done(Act(asked, lambda seen: developer_tokens.revoke_token(seen, token_id, self.who)))

    async def _with_use(self, reports: Sequence[LeakReport]) -> list[LeakReport]:
        """The reports, each with when the key was last used, and how often on which day, as far as it was noted."""
        key_ids = [report.subject_id for report in reports if report.subject is Subject.KEY]
        if not key_ids:
            return list(reports)
        last_used, uses = await self.store.last_used(key_ids), await self.store.uses(key_ids)
        requests: dict[str, dict[int, int]] = {}
        for (key_id, day, what), times in uses.items():
            if what == REQUESTS:
                requests.setdefault(key_id, {})[day] = times
        return [_used(report, last_used, requests) for report in reports]

    async def _reported(self, reports: Sequence[LeakReport]) -> list[Reported]:
        outcomes = await self._acted([Act(each.asked, self._reporting(each)) for each in reports])
        return [
            Reported(_incident_after(outcome.changes, report.incident_id), outcome)
            for report, outcome in zip(reports, outcomes, strict=True)
            if not isinstance(outcome, ActRefused)  # the app, which was there a moment before, is not
        ]

    def _reporting(self, report: LeakReport) -> Decide:
        return lambda seen: incidents.report(seen, report, self.who)

    async def _decided(self, incident_id: str, decide: Decide) -> Reported:
        before = await self.incident(incident_id)
        asked = Asked(before.app_id, items=((ItemKind.INCIDENT, incident_id),))
        done = await self._done(self.around(Act(asked, decide)))
        return Reported(_incident_after(done.changes, incident_id, before), done)

    async def _done(self, act: Act) -> Done:
        (outcome,) = await self._acted([act])
        if isinstance(outcome, ActRefused):
            raise outcome
        return outcome

    async def _acted(self, acts: Sequence[Act]) -> list[Done | ActRefused]:
        try:
            return await self.store.act(acts)
        except ValueError as error:
            raise StoreBroken("The store is damaged: an incident or a token in it cannot be read.") from error


async def with_later_notes(store: Store, found: Sequence[Incident]) -> list[Incident]:
    """The incidents, each with what was noted meanwhile of its key's use before it was opened: notes of use come some
    seconds late."""
    key_ids = [incident.subject_id for incident in found if incident.subject is Subject.KEY]
    if not key_ids:
        return list(found)
    last_used, uses = await store.last_used(key_ids), await store.uses(key_ids)
    return [_with_notes(incident, last_used.get(incident.subject_id), uses) for incident in found]


def _with_notes(incident: Incident, last_used: int | None, uses: Mapping[Use, int]) -> Incident:
    first = incident.opened_at // DAY - len(incident.requests) + 1
    noted = (uses.get((incident.subject_id, first + number, REQUESTS), 0) for number in range(len(incident.requests)))
    requests = tuple(max(pair) for pair in zip(incident.requests, noted, strict=True))
    if incident.subject is not Subject.KEY:
        return incident
    if last_used is None or last_used > incident.opened_at:  # of a key that goes on
        last_used = incident.last_used_at
    return replace(incident, requests=requests, last_used_at=last_used)


def _incident_in(item: Item) -> Incident:
    """The incident in an item of the store's. Raises `StoreBroken` when there is none in it."""
    try:
        return incidents.incident_of(item)
    except ValueError as error:
        raise _damaged(item) from error


@asynccontextmanager
async def _evenly(pace: float) -> AsyncIterator[None]:
    """Takes a whole number of paces, whatever is done meanwhile."""
    # Not the loop's own time, which stands still within one turn of it.
    began = time.monotonic()
    yield
    spent = time.monotonic() - began
    await asyncio.sleep(max(1, math.ceil(spent / pace)) * pace - spent if pace else 0)


def _named(token: bytes, prefixes: Prefixes) -> Token | None:
    """The token, or as much of one as its id: no record has an empty verifier."""
    parsed = parse_token(token, prefixes)
    if not isinstance(parsed, Fault):
        return parsed
    match = _NAMED.match(token.decode("ascii"))
    kinds = {prefixes.key: Kind.KEY, prefixes.user: Kind.USER_TOKEN, None: Kind.LEGACY}
    if match is None or match[1] not in kinds:
        return None
    return Token(kinds[match[1]], match[2], b"")


def _leak_report(
    found: FoundKey | FoundUserToken, seen: tuple[Sighting, ...], *, proven: bool, ends: bool
) -> LeakReport:
    subject = Subject.KEY if isinstance(found, FoundKey) else Subject.USER_TOKEN
    return LeakReport(found.app.id, subject, found.record.id, seen, proven=proven, ends=ends)


def _used(report: LeakReport, last_used: Mapping[str, int], requests: Mapping[str, Mapping[int, int]]) -> LeakReport:
    key_id = report.subject_id
    return replace(report, last_used_at=last_used.get(key_id), requests=requests.get(key_id, {}))


def _incident_after(changes: Changes, incident_id: str, *unchanged: Incident) -> Incident:
    items = (_incident_in(item) for item in changes.items if item.key == (ItemKind.INCIDENT, incident_id))
    return next(chain(items, unchanged))


def _damaged(item: Item) -> StoreBroken:
    return StoreBroken(f"The store is damaged: its item {item.id} cannot be read.")
