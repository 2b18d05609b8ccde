"""What `gateway audit verify` says: for programs, and for people."""

import time
from collections.abc import Sequence
from typing import Final

import typer

from gateway.cli.words import distance, printable
from gateway.core.seal import Finding
from gateway.core.times import iso_time
from gateway.keys.sealing import ChainReport

_NOT_JUDGED: Final = (
    "Signatures were not checked: give --public-key FILE. Without them, whoever writes the store can make seals anew."
)
_NOT_LOGGED: Final = (
    "Not held against the log: give --log FILE to see whether the end of a chain was cut off together with its seals."
)


def audit_view(reports: Sequence[ChainReport], *, judged: bool) -> dict[str, object]:
    """What was found, for programs."""
    return {
        "whole": not any(report.finding for report in reports),
        "unsealed": sum(report.unsealed for report in reports),
        "signatures_checked": judged,
        "chains": [_chain_view(report) for report in reports],
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


def print_audit(reports: Sequence[ChainReport], *, judged: bool, logged: bool) -> None:
    """Print what was found, for people, and what was not looked at."""
    findings = [(report.chain, report.finding) for report in reports if report.finding is not None]
    for chain, finding in findings:
        text = f"{chain}: {finding.sentence} ({finding.flaw.value})"
        typer.secho(printable(text), fg=typer.colors.RED)
    if not findings:
        typer.secho("The audit is whole.", fg=typer.colors.GREEN)
    events, seals, signed = (sum(each) for each in zip(*map(_counts, reports), strict=True)) if reports else (0, 0, 0)
    read = f"{counted(events, 'event')} under {counted(seals, 'seal')} in {counted(len(reports), 'chain')}"
    typer.echo(f"Read{' before the faults' if findings else ''}: {read}.")
    typer.echo(f"Not sealed yet: {_unsealed(reports)}.")
    typer.echo(f"Signatures checked: {signed}." if judged else _NOT_JUDGED)
    if not logged:
        typer.echo(_NOT_LOGGED)


def _counts(report: ChainReport) -> tuple[int, int, int]:
    return report.events, report.seals, report.signed


def _unsealed(reports: Sequence[ChainReport]) -> str:
    count = sum(report.unsealed for report in reports)
    since = [report.unsealed_since for report in reports if report.unsealed_since is not None]
    age = f", the oldest made {distance(min(since) - time.time_ns() // 1_000_000)}" if since else ""
    return counted(count, "event") + age


def counted(number: int, name: str) -> str:
    """A number of things, as `1 event`, `2 events`."""
    return f"{number} {name}{'' if number == 1 else 's'}"
