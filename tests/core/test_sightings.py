"""Where a credential was seen, as somebody outside tells it."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.sightings import LONGEST_TEXT, sighting
from gateway.core.token import mint

TOKEN = mint("gwk", bytes(range(8)), bytes(range(48))).reveal()
SECRET = TOKEN.partition(".")[2]


@given(st.text(), st.text(), st.integers(0, 3))
def test_no_text_keeps_the_secret(before: str, after: str, times: int) -> None:
    """Whoever looks at an incident would be shown the token that leaked."""
    url = f"{before}{TOKEN}{after}"
    for _ in range(times):
        url = quote(url.encode("utf-8", "replace"), safe="")
    told = sighting(TOKEN, source=url, url=url, type=url)
    for text in (told.source, told.url, told.type):
        assert SECRET not in text
        assert len(text.encode()) <= LONGEST_TEXT


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://example.com/a?b=c%20d", "https://example.com/a?b=c%20d"),
        ("a" * 2047 + "é", "a" * 2047),
        ("a" * 2046 + "é", "a" * 2046 + "é"),
        ("\ud800", "?"),
        (f"gwk_00112233445566ff.{'x' * 40}", "gwk_00112233445566ff.***"),
        ("%67wk_00112233445566ff%2e" + "x" * 40, "gwk_00112233445566ff.***"),
        (SECRET, "***"),
        ("", ""),
    ],
)
def test_what_is_kept(text: str, kept: str) -> None:
    """An address would be cut within a sign, or changed where it holds no secret."""
    assert sighting(TOKEN, url=text).url == kept


def test_an_id_has_no_secret() -> None:
    """A text would be blotted out for an id that says nothing."""
    told = sighting("00112233445566ff", url="https://example.com/00112233445566ff", source="x.y")
    assert (told.url, told.source) == ("https://example.com/00112233445566ff", "x.y")
