"""Lengths of time and days, as they are typed."""

import re
from datetime import UTC, datetime
from typing import Final

import typer

from gateway.core.wishes import DAY

_UNITS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": DAY, "w": 7 * DAY}
_LENGTH: Final = re.compile(r"([0-9]{1,9})([smhdw])")


def length(typed: str) -> int:
    """Milliseconds for `7d`, `12h`, `30m`, `0` or `now`."""
    text = typed.strip().lower()
    if text in {"0", "now"}:
        return 0
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{typed!r} is no length of time: write 7d, 12h, 30m or 0")
    return int(match[1]) * _UNITS[match[2]]


def moment(typed: str) -> int:
    """UTC milliseconds for an ISO 8601 date or time: a date is its first moment, and without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(typed.strip())
    except ValueError:
        raise typer.BadParameter(
            f"{typed!r} is no date: write 2027-03-01, or 2027-03-01T12:00:00Z for a moment of it"
        ) from None
    aware = found.replace(tzinfo=UTC) if found.tzinfo is None else found
    return round(aware.timestamp() * 1000)
