"""Lengths of time and moments as people type them."""

from datetime import UTC, datetime

import pytest
import typer

from gateway.cli.durations import length, moment


@pytest.mark.parametrize(
    ("typed", "milliseconds"),
    [
        ("0", 0),
        ("now", 0),
        ("45s", 45_000),
        ("30m", 1_800_000),
        ("12h", 43_200_000),
        ("7d", 604_800_000),
        (" 2W ", 1_209_600_000),
    ],
)
def test_lengths(typed: str, milliseconds: int) -> None:
    """A key would go on for another time than was typed."""
    assert length(typed) == milliseconds


@pytest.mark.parametrize(
    "typed", ["", "7", "d", "-7d", "1.5d", "7 days", "9999999999d", "\N{ARABIC-INDIC DIGIT SEVEN}d"]
)
def test_what_is_no_length(typed: str) -> None:
    """A length without a unit would be taken for days by one and for seconds by another."""
    with pytest.raises(typer.BadParameter):
        length(typed)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("2027-03-01", datetime(2027, 3, 1, tzinfo=UTC)),
        ("2027-03-01T12:30", datetime(2027, 3, 1, 12, 30, tzinfo=UTC)),
        ("2027-03-01 12:30:00", datetime(2027, 3, 1, 12, 30, tzinfo=UTC)),
        ("2027-03-01T12:30:00Z", datetime(2027, 3, 1, 12, 30, tzinfo=UTC)),
        ("2027-03-01T12:30:00+02:00", datetime(2027, 3, 1, 10, 30, tzinfo=UTC)),
    ],
)
def test_moments(typed: str, meant: datetime) -> None:
    """A key would end at another moment than was typed, by the zone of the machine."""
    assert moment(typed) == round(meant.timestamp() * 1000)


@pytest.mark.parametrize("typed", ["", "soon", "2027-02-30", "01.03.2027", "2027-03-01T25:00", "2027"])
def test_what_is_no_moment(typed: str) -> None:
    """A slip would become some other day."""
    with pytest.raises(typer.BadParameter):
        moment(typed)
