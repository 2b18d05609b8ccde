"""The clock of a running gateway, whatever is done to the machine's."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import Clock

MS = 1_000_000
START = 1_800_000_000_000 * MS


@dataclass
class Machine:
    """A machine's two clocks, as a test sets them."""

    wall: int = START
    monotonic: int = 0

    def pass_by(self, nanoseconds: int) -> None:
        """Let time pass."""
        self.wall += nanoseconds
        self.monotonic += nanoseconds

    def clock(self) -> Clock:
        """A gateway's clock on it."""
        return Clock(lambda: self.wall, lambda: self.monotonic)


# Time that passes, and how far the wall clock is set meanwhile, both in milliseconds: a slip, an hour, a year.
STEPS = st.lists(
    st.tuples(
        st.integers(0, 10_000),
        st.one_of(st.just(0), st.integers(-2_000, 2_000), st.sampled_from([-3_600_000, 3_600_000, 31_536_000_000])),
    ),
    max_size=30,
)


@given(STEPS)
def test_time_never_goes_back_and_never_stands_still(steps: Sequence[tuple[int, int]]) -> None:
    """A clock that is set back would revive what has ended, or keep it alive for as long as it was set back by."""
    machine = Machine()
    clock = machine.clock()
    before = clock()

    for passed, step in steps:
        machine.pass_by(passed * MS)
        machine.wall += step * MS
        now = clock()
        assert now - before >= passed
        assert now >= machine.wall // MS
        before = now


@given(STEPS)
def test_it_is_never_ahead_without_a_reason(steps: Sequence[tuple[int, int]]) -> None:
    """Credentials would end before their time on a machine whose clock is right."""
    machine = Machine()
    clock = machine.clock()
    highest = machine.wall

    for passed, step in steps:
        machine.pass_by(passed * MS)
        machine.wall += step * MS
        highest = max(highest + passed * MS, machine.wall)
        assert clock() == highest // MS


@pytest.mark.parametrize("pause", [250, 999_999])
def test_time_passes_in_pieces_of_less_than_a_millisecond(pause: int) -> None:
    """A busy gateway whose machine's clock was set back would live in one moment for ever."""
    machine = Machine()
    clock = machine.clock()
    start = clock()
    machine.wall -= 3_600_000 * MS

    for _ in range(20_000):
        machine.pass_by(pause)
        clock()

    assert clock() - start == 20_000 * pause // MS


@pytest.mark.parametrize("place", range(8))
def test_a_process_that_is_stopped_between_two_looks(place: int) -> None:
    """A gateway that was stopped for an hour, at the wrong moment, would live an hour ahead from then on."""
    machine = Machine()
    looks = iter(range(100))

    def look(name: str) -> int:
        if next(looks) == place:
            machine.pass_by(3_600_000 * MS)
        return int(getattr(machine, name))

    clock = Clock(lambda: look("wall"), lambda: look("monotonic"))

    for _ in range(4):
        clock()
    assert clock() == machine.wall // MS


def test_the_machines_own_clocks() -> None:
    """The gateway would live in another time than everybody else."""
    first, second = Clock(), Clock()

    assert 0 <= second() - first() < 60_000 or 0 <= first() - second() < 60_000


def test_how_far_it_is_ahead() -> None:
    """Nobody would find out why tokens end early at one gateway of many."""
    machine = Machine()
    clock = machine.clock()
    machine.pass_by(5_000 * MS)
    assert clock.ahead() == 0
    machine.wall += 70_000 * MS
    assert clock.ahead() == 0  # it is right, or nobody can know
    assert clock() == machine.wall // MS
    machine.wall -= 70_000 * MS
    machine.pass_by(1_000 * MS)
    assert clock.ahead() == 70_000
