"""What is wrong with settings, told in sentences: every fault at once, each with its place."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong: the setting's dotted name (empty for the file as a whole), a sentence, and where it was set.

    `file` and `line` (from 1) are given where a file set it, `variable` where the environment did.
    """

    name: str
    sentence: str
    file: Path | None = None
    line: int | None = None
    variable: str | None = None

    def __str__(self) -> str:
        place = self.variable or (str(self.file) if self.file else "")
        numbered = f"{place}:{self.line}" if self.line else place
        return ": ".join(part for part in (numbered, f"{self.name} {self.sentence}".strip()) if part)


class SettingsInvalid(Exception):
    """The settings cannot be used; `faults` holds everything that is wrong with them, the file's first, by line."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: (fault.file is None, fault.line or 0)))
        super().__init__("\n".join(map(str, self.faults)))


def dotted(location: tuple[str | int, ...]) -> str:
    """The name of a setting as people write it: `regions.eu.upstreams[0]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
