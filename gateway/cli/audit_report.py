"""What `gateway audit verify` says: for programs, and for people."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import typer

from gateway.cli.words import counted, distance, printable
from gateway.core.seal import Finding
from gateway.core.times import iso_time
from gateway.keys.sealing import ChainReport, Told

_NOT_JUDGED: Final = (
    "Signatures were not checked: give --public-key FILE. Without them, whoever writes the store can make seals anew."
)
_WITHOUT_SEALS: Final = (
    "The log tells of no seal of this store's chains, so nothing was held against it: it is another store's, or begins"
    " too late. Give the older logs too, with --log for each."
)
_NOT_LOGGED: Final = (
    "Not held against the log: give --log FILE to see whether the end of a chain was cut off together with its seals."
)


@dataclass(frozen=True, slots=True)
class Logged:
    """What logs tell of seals, by chain, each once; and where they tell of one that cannot be read."""

    seals: dict[str, set[tuple[int, str]]] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)

    def told(self) -> Told:
        """The seals in the order in which a chain is read."""
        return {chain: sorted(seals) for chain, seals in self.seals.items()}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found of every chain; whether signatures were checked; and the logs, if any were given."""

    reports: Sequence[ChainReport]
    judged: bool
    logged: Logged | None

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong, with what the audit was held against either."""
        return not self.log_faults() and not any(report.finding for report in self.reports)

    @property
    def log_seals(self) -> int | None:
        """How many seals of the logs the chains were held against; None without a log."""
        if self.logged is None:
            return None
        return sum(len(self.logged.seals.get(report.chain, ())) for report in self.reports)

    def log_faults(self) -> list[tuple[str, str]]:
        """Why the logs prove less than they seem to: reasons and sentences. A log of another store proves nothing."""
        faults = []
        if self.logged is not None and self.logged.unreadable:
            first, more = self.logged.unreadable[0], len(self.logged.unreadable) - 1
            places = f"{first}, and in {counted(more, 'other line')}" if more else first
            faults.append(("log_unreadable", f"The log tells of a seal, but so that it cannot be read: {places}."))
        if self.log_seals == 0:
            faults.append(("log_without_seals", _WITHOUT_SEALS))
        return faults


def audit_view(outcome: Outcome) -> dict[str, object]:
    """What was found, for programs."""
    return {
        "whole": outcome.whole,
        "unsealed": sum(report.unsealed for report in outcome.reports),
        "signatures_checked": outcome.judged,
        "log_seals": outcome.log_seals,
        "log_faults": [{"reason": reason, "message": message} for reason, message in outcome.log_faults()],
        "chains": [_chain_view(report) for report in outcome.reports],
    }


def _chain_view(report: ChainReport) -> dict[str, object]:
    since = report.unsealed_since
    return {
        "chain": report.chain,
        "events": report.events,
        "seals": report.seals,
        "signed": report.signed,
        "unsealed": report.unsealed,
        "unsealed_since": None if since is None else iso_time(since),
        "fault": None if report.finding is None else _fault_view(report.finding),
    }


def _fault_view(finding: Finding) -> dict[str, object]:
    return {
        "reason": finding.flaw.value,
        "first": finding.first,
        "last": finding.last,
        "message": finding.sentence,
    }


def print_audit(outcome: Outcome) -> None:
    """Print what was found, for people, and what was not looked at."""
    reports = outcome.reports
    findings = [(report.chain, report.finding) for report in reports if report.finding is not None]
    for chain, finding in findings:
        text = f"{chain}: {finding.sentence} ({finding.flaw.value})"
        typer.secho(printable(text), fg=typer.colors.RED)
    for reason, message in outcome.log_faults():
        typer.secho(printable(f"{message} ({reason})"), fg=typer.colors.RED)
    if outcome.whole:
        typer.secho("The audit is whole.", fg=typer.colors.GREEN)
    events, sealed, signed = (sum(each) for each in zip(*map(_counts, reports), strict=True)) if reports else (0, 0, 0)
    read = f"{counted(events, 'event')} under {counted(sealed, 'seal')} in {counted(len(reports), 'chain')}"
    typer.echo(f"Read{' before the faults' if findings else ''}: {read}.")
    typer.echo(f"Not sealed yet: {_unsealed(reports)}.")
    typer.echo(f"Signatures checked: {signed}." if outcome.judged else _NOT_JUDGED)
    seals = outcome.log_seals
    typer.echo(_NOT_LOGGED if seals is None else f"Held against the log: {counted(seals, 'seal')} that it tells of.")


def _counts(report: ChainReport) -> tuple[int, int, int]:
    return report.events, report.seals, report.signed


def _unsealed(reports: Sequence[ChainReport]) -> str:
    count = sum(report.unsealed for report in reports)
    since = [report.unsealed_since for report in reports if report.unsealed_since is not None]
    age = f", the oldest made {distance(min(since) - time.time_ns() // 1_000_000)}" if since else ""
    return counted(count, "event") + age
