"""Times and texts as people read them in a terminal."""

from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1000, "second"))


def distance(milliseconds: int) -> str:
    """How far off a moment is, in the largest unit that fits: `in 12 days`, `3 hours ago`, `now`."""
    for size, name in _UNITS:
        count = abs(milliseconds) // size
        if count:
            length = f"{count} {name}{'' if count == 1 else 's'}"
            return f"in {length}" if milliseconds > 0 else f"{length} ago"
    return "now"


def day(milliseconds: int) -> str:
    """A time as people read it."""
    return f"{datetime.fromtimestamp(milliseconds // 1000, UTC):%Y-%m-%d %H:%M:%S UTC}"


def printable(text: str) -> str:
    """The text with whatever would move the cursor, colour the screen or hide what is read written as its escape."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)
