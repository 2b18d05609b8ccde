"""Times and texts as people read them in a terminal."""

from typing import Final

from gateway.core.times import iso_time

# What is less than one of the next smaller unit short of a whole one counts as whole: a key of 365 days would end in
# 364 as soon as it is made.
_UNITS: Final = (
    (86_400_000, "day", 3_600_000),
    (3_600_000, "hour", 60_000),
    (60_000, "minute", 1000),
    (1000, "second", 1),
)


def distance(milliseconds: int) -> str:
    """How far off a moment is, in the largest unit that fits: `in 12 days`, `3 hours ago`, `now`."""
    for size, name, short in _UNITS:
        count = (milliseconds + short - 1 if milliseconds > 0 else -milliseconds) // size
        if count:
            length = f"{count} {name}{'' if count == 1 else 's'}"
            return f"in {length}" if milliseconds > 0 else f"{length} ago"
    return "now"


def day(milliseconds: int) -> str:
    """A time as people read it."""
    date, _, time = iso_time(milliseconds).partition("T")
    return f"{date} {time[:8]} UTC"


def printable(text: str) -> str:
    """The text with whatever would move the cursor, colour the screen or hide what is read written as its escape."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)


def counted(number: int, name: str) -> str:
    """A number of things, as `1 event`, `2 events`."""
    return f"{number:,} {name}{'' if number == 1 else 's'}"
