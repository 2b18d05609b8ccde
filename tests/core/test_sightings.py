"""Where a credential was seen, as somebody outside tells it."""

from time import process_time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.sightings import LONGEST_TEXT, sighting, without_secrets
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
        ("\ud800", "\ufffd"),
        ("a\r\nb\x00c\u202ed", "a\ufffd\ufffdb\ufffdc\ufffdd"),
        ("a%0d%0ab", "a%0d%0ab"),
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


ID = "00112233445566ff"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"https://example.com/?key={SECRET}", "https://example.com/?key=***"),
        (f"https://example.com/?key={SECRET[:32]}", "https://example.com/?key=***"),
        (f"https://example.com/?key={SECRET[:31]}", f"https://example.com/?key={SECRET[:31]}"),
        ("\x00".join(SECRET) + "!", "***!"),
        ("https://example.com/%3f" + "".join(f"%{ord(sign):02x}" for sign in SECRET), "https://example.com/?***"),
        (f"https://example.com/blob/{COMMIT}/a", f"https://example.com/blob/{COMMIT}/a"),
        (f"https://example.com/{COMMIT[:-1]}g", "https://example.com/***"),
        ("AbstractSingletonProxyFactoryBeanOfBeans", "***"),  # forty letters may be a secret's
        ("AbstractSingletonProxyFactoryBeanOfBean", "AbstractSingletonProxyFactoryBeanOfBean"),
    ],
)
def test_beside_an_id_nothing_like_a_secret_is_left(text: str, kept: str) -> None:
    """Whoever reports an id alone would write its secret into our incidents, or lose the place where it was seen."""
    assert sighting(ID, url=text).url == kept


@pytest.mark.parametrize("times", range(4))
@pytest.mark.parametrize("known", [TOKEN, ID], ids=["token", "id"])
@pytest.mark.parametrize("before", [0, 2000, 2040, 14_400, 14_560, 14_960, 14_999, 15_000])
def test_no_part_of_a_secret_is_left_where_a_text_is_cut(before: int, known: str, times: int) -> None:
    """The better half of a secret would be told, as what was cut in two looks like no token."""
    url = TOKEN
    for _ in range(times):
        url = "".join(f"%{ord(sign):02x}" for sign in url) if times == 1 else quote(url.replace(".", "%2e"), safe="")
    secrets = f"/{SECRET}" * (before // 49)  # which shrink as they are blotted out
    for start in ("-" * before, secrets + "-" * (before - len(secrets))):
        told = sighting(known, url=start + url + "!" * 500).url
        assert SECRET[:16] not in told
        assert len(told.encode()) <= LONGEST_TEXT


@pytest.mark.parametrize(
    "text",
    [
        "%" * 1_000_000,
        "%25" * 300_000,
        "a" * 1_000_000,
        ("a" * 31 + "-") * 30_000,
        ("a" + "\x00" * 480) * 31 + "!" * 90,
        "\x00" * 1_000_000,
        "0123456f." * 100_000,
        "%c3" * 300_000,
    ],
)
def test_long_texts_take_no_time(text: str) -> None:
    """One report would hold up everybody's requests."""
    begun = process_time()
    sighting(TOKEN, url=text)
    sighting(ID, url=text)
    assert process_time() - begun < 0.5


def test_what_may_be_printed() -> None:
    """The name of a file that was scanned would hold a secret."""
    assert without_secrets(f"/a/{TOKEN}/{COMMIT}") == f"/a/{TOKEN.partition('.')[0]}.***/{COMMIT}"
