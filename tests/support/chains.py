"""Chains of audit events with their seals, and what is found when something was done to them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from hypothesis import strategies as st

from gateway.core.audit import AuditAction, AuditEvent, Numbered, Seal
from gateway.core.seal import AuditBroken, Checker, Finding, Flaw, Judge, Run, event_bytes, signed_bytes

CHAIN: Final = "c0ffee/main"
_SIGNER: Final = "our key"

_texts = st.text(max_size=8)
_events = st.builds(
    AuditEvent,
    at=st.integers(0, 1 << 42),
    action=st.sampled_from(AuditAction),
    app_id=_texts,
    subject_id=_texts,
    actor=_texts,
    source=_texts,
    about=_texts,
)


@dataclass(frozen=True)
class Chain:
    """Events, all but the last few of them sealed."""

    events: tuple[Numbered, ...]
    seals: tuple[Seal, ...]

    @property
    def sealed(self) -> int:
        """How many events are sealed."""
        return self.seals[-1].last if self.seals else 0

    @property
    def told(self) -> list[tuple[int, str]]:
        """What the log would tell of the seals."""
        return [(seal.last, seal.digest) for seal in self.seals]

    def covering(self, number: int) -> Seal:
        """The seal over an event."""
        return next(seal for seal in self.seals if seal.first <= number <= seal.last)


@st.composite
def chains(draw: st.DrawFn, *, seals: int = 1, signed: bool = True) -> Chain:
    """Chains with at least this many seals."""
    lengths = draw(st.lists(st.integers(1, 4), min_size=seals, max_size=5))
    unsealed = draw(st.integers(0, 3))
    count = sum(lengths) + unsealed
    events = numbered(draw(st.lists(_events, min_size=count, max_size=count)))
    return Chain(events, sealed(events, lengths, signed=signed))


def numbered(events: Iterable[AuditEvent]) -> tuple[Numbered, ...]:
    """Events as a chain counts them."""
    return tuple(Numbered(CHAIN, number, event) for number, event in enumerate(events, start=1))


def sealed(events: Sequence[Numbered], lengths: Iterable[int], *, signed: bool) -> tuple[Seal, ...]:
    """Seals over runs of these lengths."""
    made: list[Seal] = []
    for length in lengths:
        before = made[-1] if made else None
        first = before.last + 1 if before else 1
        seal = Seal(CHAIN, first, first + length - 1, at=1_000 * first, digest="")
        run = Run(before, seal)
        for event in events[first - 1 : first - 1 + length]:
            run.add(event_bytes(event))
        seal = replace(seal, digest=run.digest())
        made.append(replace(seal, signature=signature(seal), signer=_SIGNER) if signed else seal)
    return tuple(made)


def judge(seal: Seal) -> Flaw | None:
    """Judges the signatures of these chains, which are as good as any for whoever does not know how they are made."""
    if seal.signer != _SIGNER:
        return Flaw.SIGNER_UNKNOWN
    return None if seal.signature == signature(seal) else Flaw.SIGNATURE_FALSE


def signature(seal: Seal) -> str:
    """The signature of a seal, which only these chains can make."""
    return sha256(b"only we know this" + signed_bytes(seal)).hexdigest()


def found(
    events: Iterable[Numbered],
    seals: Iterable[Seal],
    judged_by: Judge | None = judge,
    told: Sequence[tuple[int, str]] = (),
) -> tuple[Finding | None, Checker]:
    """The first thing that is wrong, and the checker that found it."""
    checker = Checker(CHAIN, judged_by, told)
    coming = iter(events)
    try:
        for seal in seals:
            checker.seal(seal)
            while checker.wants and (event := next(coming, None)) is not None:
                checker.event(event)
        for event in coming:
            checker.event(event)
        checker.end()
    except AuditBroken as broken:
        return broken.finding, checker
    return None, checker
