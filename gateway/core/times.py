"""Moments in words: UTC milliseconds as ISO 8601."""

from datetime import UTC, datetime, timedelta
from typing import Final

LAST_MOMENT: Final = 253_402_300_799_999  # of the year 9999, the last one that ISO 8601 has four digits for

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def iso_time(milliseconds: int) -> str:
    """A moment to the millisecond, as `2027-03-01T12:00:00.000Z`; never raises: one that cannot be, as in a damaged
    record, is told as the nearest that can."""
    told = min(max(milliseconds, 0), LAST_MOMENT)
    moment = _EPOCH + timedelta(milliseconds=told)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{told % 1000:03d}Z"
