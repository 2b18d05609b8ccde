"""What comes out of the bench: figures with their spread, rows of a table, and the goals they are held to."""

import operator
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

_COMPARE: Final = {">=": operator.ge, "<=": operator.le, "<": operator.lt}
_IN_WORDS: Final = {">=": "at least", "<=": "at most", "<": "less than"}


@dataclass(frozen=True, slots=True)
class Figure:
    """One value a round, never none."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The value that stands for all."""
        return statistics.median(self.values)

    def text(self, digits: int) -> str:
        """The median, and the spread from least to most where there is one."""
        middle = f"{self.median:,.{digits}f}"
        if len(self.values) == 1:
            return middle
        return f"{middle} ({min(self.values):,.{digits}f} to {max(self.values):,.{digits}f})"


def figure(values: Iterable[float]) -> Figure:
    """The figure of these values, one a round."""
    return Figure(tuple(values))


def ratio(ours: Figure, theirs: Figure) -> Figure:
    """Round by round, ours divided by theirs."""
    return figure(our / their for our, their in zip(ours.values, theirs.values, strict=True))


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on the median of a figure."""

    compare: str
    bound: float

    def met(self, value: Figure) -> bool:
        """Whether the median keeps the bound."""
        return bool(_COMPARE[self.compare](value.median, self.bound))

    def text(self) -> str:
        """The bound in words."""
        return f"{_IN_WORDS[self.compare]} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a figure for each subject, the gateway's by Envoy's, and the goal of the one or the other.

    The goal holds for the ratio if there is one, else for the gateway's own figure.
    """

    key: str
    what: str
    figures: Mapping[str, Figure]
    digits: int = 0
    ratio: Figure | None = None
    goal: Goal | None = None

    @property
    def judged(self) -> Figure:
        """The figure that the goal is about."""
        return self.ratio or self.figures[GATEWAY]

    @property
    def missed(self) -> str | None:
        """A sentence when the goal is missed."""
        if self.goal is None or self.goal.met(self.judged):
            return None
        about = "the gateway's by Envoy's" if self.ratio else "the gateway's"
        return f"Missed: {self.what}, {about}, is {self.judged.text(3)} and must be {self.goal.text()}."


DIRECT: Final = "nginx directly"
ENVOY: Final = "Envoy"
GATEWAY: Final = "gateway"
PEER: Final = "Hive Gateway"
SHARED: Final = "gateway on Redis"
SUBJECTS: Final = (DIRECT, ENVOY, GATEWAY, PEER)


def compared(key: str, what: str, figures: Mapping[str, Figure], digits: int = 0, goal: Goal | None = None) -> Row:
    """A row with the gateway's figure by Envoy's, round by round."""
    return Row(key, what, figures, digits, ratio(figures[GATEWAY], figures[ENVOY]), goal)
