"""Seals over the audit: what a seal is a digest of, what is signed, and what is wrong with a chain.

    digest = SHA-256( link, head, event, event, ... )      each with its length before it, in 4 bytes
    link   = 32 zero bytes for the first seal of a chain, else SHA-256 of the seal before, with its signature
    head   = chain, first, last and time of the seal
    event  = its number and what it says, as JSON with sorted names and without spaces

So no event can be changed, left out, added or moved, and no seal either, without every later seal saying so.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile
from typing import Final, NoReturn

from gateway.core.audit import Numbered, Seal
from gateway.core.times import iso_time

# A signature of ours must never be one over something else of ours.
_SIGNED: Final = b"gateway audit seal 1\n"


def event_bytes(numbered: Numbered) -> bytes:
    """The one way to write an event with its number."""
    return _canonical({"number": numbered.number, **numbered.event.as_json()})


def signed_bytes(seal: Seal) -> bytes:
    """What a signature is over: everything of a seal but the signature and whose it is."""
    return _SIGNED + _canonical({**_head(seal), "digest": seal.digest})


class Run:
    """The digest of a seal, from the events that are added one after the other; of `seal` the head counts."""

    def __init__(self, before: Seal | None, seal: Seal) -> None:
        self._sha256 = hashlib.sha256()
        self._add(bytes(32) if before is None else hashlib.sha256(_whole(before)).digest())
        self._add(_canonical(_head(seal)))

    def add(self, event: bytes) -> None:
        """Take the next event in, as `event_bytes` writes it."""
        self._add(event)

    def digest(self) -> str:
        """The digest as 64 hex digits."""
        return self._sha256.hexdigest()

    def _add(self, part: bytes) -> None:
        self._sha256.update(len(part).to_bytes(4))
        self._sha256.update(part)


class Flaw(StrEnum):
    """What can be wrong with a chain of events and its seals."""

    EVENT_MISSING = "event_missing"
    EVENT_MISPLACED = "event_misplaced"
    EVENT_CHANGED = "event_changed"
    SEAL_MISSING = "seal_missing"
    SEAL_MISPLACED = "seal_misplaced"
    SEAL_BROKEN = "seal_broken"
    SIGNATURE_MISSING = "signature_missing"
    SIGNATURE_FALSE = "signature_false"
    SIGNER_UNKNOWN = "signer_unknown"
    UNREADABLE = "unreadable"
    CHAIN_REWRITTEN = "chain_rewritten"  # the log tells of other seals than the store


@dataclass(frozen=True, slots=True)
class Finding:
    """The first thing that is wrong with a chain: what, with which events of it, and the sentence for people."""

    flaw: Flaw
    first: int
    last: int
    sentence: str


class AuditBroken(Exception):
    """The chain is not what was sealed."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.sentence)
        self.finding = finding


# What is wrong with the signature of a seal that has one, if anything.
Judge = Callable[[Seal], Flaw | None]


class Checker:
    """Holds one chain against its seals, and raises `AuditBroken` at the first thing that is wrong.

    It is fed in order: each seal, then the events up to its `last` while it `wants` them; then the events after the
    last seal; then `end`. With a judge, the last seal must be signed: a good signature vouches for all that is before
    it. `told` are the seals that the log tells of, as pairs of their last event and their digest, in order.
    """

    def __init__(self, chain: str, judge: Judge | None = None, told: Sequence[tuple[int, str]] = ()) -> None:
        self.chain = chain
        self.events = self.seals = self.signed = self.unsealed = 0
        self.unsealed_since: int | None = None
        self._judge = judge
        self._told = list(reversed(told))
        self._before: Seal | None = None
        self._open: tuple[Seal, Run] | None = None
        self._vouched = 0
        self._next = 1

    @property
    def wants(self) -> bool:
        """Whether the seal that came last covers further events."""
        return self._open is not None

    def seal(self, seal: Seal) -> None:
        """Take the next seal, whose events come now."""
        self._require_whole()
        self._require_well_formed(seal)
        self._require_in_place(seal)
        if seal.signature and self._judge is not None:
            flaw = self._judge(seal)
            if flaw is not None:
                raise _broken(flaw, seal.first, seal.last, _SIGNATURE_FLAWS[flaw].format(_over(seal), seal.signer))
        self._open = (seal, Run(self._before, seal))

    def event(self, numbered: Numbered) -> None:
        """Take the next event."""
        self._require_next(numbered.number)
        self._next += 1
        self.events += 1
        if self._open is None:
            self.unsealed += 1
            self.unsealed_since = self.unsealed_since or numbered.event.at
            return
        seal, run = self._open
        run.add(event_bytes(numbered))
        if numbered.number == seal.last:
            self._close(seal, run)

    def unreadable(self, message: str) -> NoReturn:
        """Something that comes next is there, and cannot be read. Stores read several events and seals at once."""
        place = self._next
        sentence = f"Event {place}, one that comes soon after it, or a seal over them cannot be read. {message}"
        raise _broken(Flaw.UNREADABLE, place, place, sentence)

    def end(self) -> None:
        """There are no more events and seals."""
        self._require_whole()
        if self._told:
            self._require_told(self._told[0][0], "")
        if self._judge is not None and self._before is not None and self._vouched < self._before.last:
            first, last = self._vouched + 1, self._before.last
            raise _broken(Flaw.SIGNATURE_MISSING, first, last, f"No signature vouches for the {_span(first, last)}.")

    def _close(self, seal: Seal, run: Run) -> None:
        if run.digest() != seal.digest:
            proven = self._judge is not None and all(each is None or each.signature for each in (seal, self._before))
            what = _one_of(seal) if proven else f"{_one_of(seal)}, or their seal or the one before,"
            raise _broken(
                Flaw.EVENT_CHANGED, seal.first, seal.last, f"{what} was changed after {iso_time(seal.at)}, when sealed."
            )
        self._require_told(seal.last, seal.digest)
        self.seals += 1
        if seal.signature:
            self.signed += 1
            self._vouched = seal.last
        self._before = seal
        self._open = None

    def _require_whole(self) -> None:
        if self._open is not None:
            first, last = self._next, self._open[0].last
            raise _broken(Flaw.EVENT_MISSING, first, last, f"{_events(first, last)} missing, though sealed once.")

    def _require_well_formed(self, seal: Seal) -> None:
        if seal.chain != self.chain or not 0 < seal.first <= seal.last:
            raise _broken(Flaw.SEAL_BROKEN, seal.first, seal.last, f"The seal {_over(seal)} is none of this chain.")

    def _require_in_place(self, seal: Seal) -> None:
        first = 1 if self._before is None else self._before.last + 1
        if seal.first > first:
            last = seal.first - 1
            raise _broken(
                Flaw.SEAL_MISSING, first, last, f"A seal over the {_span(first, last)} is missing, before others."
            )
        if seal.first < first:
            raise _broken(
                Flaw.SEAL_MISPLACED, seal.first, seal.last, f"The seal {_over(seal)} comes after one up to {first - 1}."
            )

    def _require_next(self, number: int) -> None:
        if number > self._next:
            first, last = self._next, number - 1
            raise _broken(Flaw.EVENT_MISSING, first, last, f"{_events(first, last)} missing.")
        if number < self._next:
            raise _broken(
                Flaw.EVENT_MISPLACED,
                number,
                number,
                f"An event with the number {number} stands where number {self._next} is to be.",
            )

    def _require_told(self, last: int, digest: str) -> None:
        """What the log tells of seals up to this one must be what this one says."""
        for told in list(takewhile(lambda told: told[0] <= last, reversed(self._told))):
            self._told.pop()
            if told != (last, digest):
                raise _broken(
                    Flaw.CHAIN_REWRITTEN,
                    told[0],
                    told[0],
                    f"The log tells of a seal up to event {told[0]} that the store does not have: what it covered was"
                    " lost, cut off or rewritten.",
                )


_SIGNATURE_FLAWS: Final[Mapping[Flaw, str]] = {
    Flaw.SIGNATURE_FALSE: "The signature of the seal {0} is false: the seal was changed, or another key made it.",
    Flaw.SIGNER_UNKNOWN: "The seal {0} is signed with a key that was not given, {1}.",
}


def _broken(flaw: Flaw, first: int, last: int, sentence: str) -> AuditBroken:
    return AuditBroken(Finding(flaw, first, last, sentence))


def _span(first: int, last: int) -> str:
    return f"event {first}" if first == last else f"events {first} to {last}"


def _events(first: int, last: int) -> str:
    return f"Event {first} is" if first == last else f"Events {first} to {last} are"


def _one_of(seal: Seal) -> str:
    return f"Event {seal.first}" if seal.first == seal.last else f"One of the {_span(seal.first, seal.last)}"


def _over(seal: Seal) -> str:
    return f"over {_span(seal.first, seal.last)}"


def _head(seal: Seal) -> dict[str, object]:
    return {"chain": seal.chain, "first": seal.first, "last": seal.last, "at": seal.at}


def _whole(seal: Seal) -> bytes:
    return _canonical(
        {**_head(seal), "digest": seal.digest, "signature": seal.signature, "signer": seal.signer},
    )


def _canonical(values: Mapping[str, object]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode("ascii")
