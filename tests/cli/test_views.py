"""What a list says of a key, and in which colour."""

from dataclasses import replace

import pytest

from gateway.cli.views import SeenKey, end_style, key_row
from gateway.core.records import KeyRecord, RevokedWhy
from gateway.core.wishes import DAY

NOW = 1_800_000_000_000
KEY = KeyRecord("5a00000000000001", "5a" * 12, "k", frozenset({"B", "A"}), bytes(32), NOW - DAY, NOW + 300 * DAY)


@pytest.mark.parametrize(
    ("left", "style"),
    [
        (300 * DAY, ""),
        (14 * DAY + 1, ""),
        (14 * DAY, "yellow"),
        (7 * DAY + 1, "yellow"),
        (7 * DAY, "bold red"),
        (1, "bold red"),
        (0, "dim"),
        (-1, "dim"),
    ],
)
def test_what_ends_soon_is_coloured(left: int, style: str) -> None:
    """A key would end without anybody having seen that it was about to."""
    assert end_style(replace(KEY, expires_at=NOW + left), NOW) == style
    rotating = replace(KEY, successor="5a00000000000002", shutdown_at=NOW + left)
    assert end_style(rotating, NOW) == style


def test_a_revoked_key_does_not_end_soon() -> None:
    """The list would ask for the renewal of what is over."""
    assert end_style(replace(KEY, revoked_at=NOW - 1, revoked_why=RevokedWhy.REQUESTED), NOW) == "dim"


def test_the_end_is_the_one_that_comes_first() -> None:
    """The list would show the expiry of a key that shuts down next week."""
    rotating = replace(KEY, successor="5a00000000000002", shutdown_at=NOW + 6 * DAY)
    texts = [cell.text for cell in key_row(SeenKey(rotating, NOW, NOW - 60_000))]
    assert texts[3:5] == ["A B", "rotating"]
    assert texts[6].endswith(", in 6 days")
    assert texts[7] == "1 minute ago"
