"""What a row may say of a token that exists elsewhere: what it means, or why it is refused."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.intake_rows import (
    EARLIEST,
    LATEST,
    KeyRow,
    RowReason,
    RowRefused,
    TokenRow,
    harmless,
    key_row,
    looks_like_token,
    token_row,
)
from gateway.core.wishes import DAY

SCOPES = ("USER_READ", "USER_LINK")
APP_ID = "5a0000000000000000000a01"
TOKEN = "e5c3b842231543f.mGCUhfi0uI4J13k010V49D2GaBZ3j1E708X4a4396XNx48X3"
DIGEST = hashlib.sha256(TOKEN.encode()).hexdigest()
CREATED = 1_748_779_200_000  # 2025-06-01T12:00:00Z
NEW_USER = "5a0000000000000000000b01"

KEY: dict[str, object] = {
    "id": "e5c3b842231543f",
    "sha256": DIGEST,
    "app": APP_ID,
    "name": "nightly export",
    "scopes": "USER_READ USER_LINK",
    "created_at": "2025-06-01T12:00:00Z",
    "expires_at": str(CREATED + 366 * DAY),
}
USER_TOKEN: dict[str, object] = {
    "id": "e5c3b842231543f",
    "sha256": DIGEST,
    "app": APP_ID,
    "user": "someone",
    "external_id": "customer 17",
    "created_at": CREATED,
    "expires_at": CREATED + DAY,
}


def key(**changed: object) -> KeyRow:
    """The key that a row tells of."""
    return key_row(7, {**KEY, **changed}, SCOPES)


def token(**changed: object) -> TokenRow:
    """The user token that a row tells of."""
    return token_row(7, {**USER_TOKEN, **changed}, NEW_USER)


def refusal(row: Callable[..., object], **changed: object) -> RowRefused:
    """Why a row is refused."""
    with pytest.raises(RowRefused) as refused:
        row(**changed)
    return refused.value


def test_a_row_tells_of_a_key() -> None:
    """A key would be taken in with another verifier, name, scope or time than it has."""
    expected = KeyRow(
        7,
        "e5c3b842231543f",
        bytes.fromhex(DIGEST),
        APP_ID,
        "nightly export",
        frozenset(SCOPES),
        CREATED,
        CREATED + 366 * DAY,
    )
    assert key() == expected


def test_a_row_tells_of_a_user_token() -> None:
    """A user token would be taken in for another user, or with another verifier or time than it has."""
    expected = TokenRow(
        7,
        "e5c3b842231543f",
        bytes.fromhex(DIGEST),
        APP_ID,
        "someone",
        "customer 17",
        CREATED,
        CREATED + DAY,
        NEW_USER,
    )
    assert token() == expected


@pytest.mark.parametrize(
    ("user", "external_id", "expected"),
    [("", "x", (None, "x")), ("x", "", ("x", None)), ("x", "y", ("x", "y"))],
)
def test_a_user_has_one_name_at_least(user: str, external_id: str, expected: tuple[str | None, str | None]) -> None:
    """An empty column would be taken for the name of a user, whom all such rows would share."""
    row = token(user=user, external_id=external_id)
    assert (row.user_id, row.external_id) == expected


@pytest.mark.parametrize(
    "written",
    [
        CREATED,
        str(CREATED),
        "2025-06-01T12:00:00Z",
        "2025-06-01 12:00:00.000+00:00",
        "2025-06-01T14:00:00.0009+02:00",
        "20250601T120000Z",
    ],
)
def test_times_are_written_as_they_are_elsewhere(written: object) -> None:
    """An operator would have to rewrite the times that their other system gives, or find keys hours longer alive."""
    assert key(created_at=written).created_at == CREATED


@pytest.mark.parametrize(
    "written", ["USER_READ USER_LINK", "USER_LINK;USER_READ", " USER_READ | USER_LINK,", ["USER_READ", "USER_LINK"]]
)
def test_scopes_are_written_as_they_are_elsewhere(written: object) -> None:
    """An operator would have to rewrite the lists of scopes that their other system gives."""
    assert key(scopes=written).scopes == set(SCOPES)


def test_a_name_is_kept_in_its_one_form() -> None:
    """Two keys whose names look alike would not be found by the same search."""
    assert key(name="cafe\u0301 株式会社").name == "café 株式会社"


def test_a_digest_is_read_in_capitals_too() -> None:
    """Half of all tools write hex digits so, and their rows would be refused."""
    assert key(sha256=DIGEST.upper()).verifier == bytes.fromhex(DIGEST)


MALFORMED = RowReason.MALFORMED


@pytest.mark.parametrize(
    ("changed", "reason", "told"),
    [
        ({"id": ""}, MALFORMED, "id"),
        ({"id": "e5c3b84"}, MALFORMED, "id"),
        ({"id": "E5C3B842231543F"}, MALFORMED, "id"),
        ({"id": "a" * 65}, MALFORMED, "id"),
        ({"id": "e5c3b842231543f\n"}, MALFORMED, "id"),
        ({"id": 12345678}, MALFORMED, "id"),
        ({"sha256": DIGEST[:-1]}, MALFORMED, "sha256"),
        ({"sha256": DIGEST + "0"}, MALFORMED, "sha256"),
        ({"sha256": None}, MALFORMED, "sha256"),
        ({"app": ""}, RowReason.UNKNOWN_APP, "app"),
        ({"app": "demo"}, RowReason.UNKNOWN_APP, "app"),
        ({"created_at": "yesterday"}, MALFORMED, "created_at"),
        ({"created_at": "2025-06-01"}, MALFORMED, "created_at"),
        ({"created_at": "2025-06-01T12:00:00"}, MALFORMED, "zone"),
        ({"created_at": True}, MALFORMED, "created_at"),
        ({"created_at": 1.5}, MALFORMED, "created_at"),
        ({"created_at": None}, MALFORMED, "created_at"),
        ({"created_at": CREATED // 1000}, MALFORMED, "2000"),
        ({"created_at": EARLIEST - 1}, MALFORMED, "2000"),
        ({"expires_at": LATEST}, MALFORMED, "2100"),
        ({"expires_at": "9" * 16}, MALFORMED, "expires_at"),
        ({"expires_at": CREATED}, RowReason.LIFETIME_INVALID, "366 days"),
        ({"expires_at": CREATED + 366 * DAY + 1}, RowReason.LIFETIME_INVALID, "366 days"),
    ],
)
def test_a_row_is_refused(changed: dict[str, object], reason: RowReason, told: str) -> None:
    """What can be no token's would be taken in, and be of no use or live for longer than a year."""
    for row in (key, token):
        found = refusal(row, **changed)
        assert found.reason is reason
        assert told in found.message
        assert str(found) == found.message


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"name": ""}, MALFORMED),
        ({"name": "x" * 101}, MALFORMED),
        ({"name": "two\nlines"}, MALFORMED),
        ({"name": "\u202eevil"}, MALFORMED),
        ({"name": ["x"]}, MALFORMED),
        ({"scopes": ""}, RowReason.UNKNOWN_SCOPE),
        ({"scopes": []}, RowReason.UNKNOWN_SCOPE),
        ({"scopes": "USER_READ USER_REED"}, RowReason.UNKNOWN_SCOPE),
        ({"scopes": ["USER_READ USER_LINK"]}, RowReason.UNKNOWN_SCOPE),
        ({"scopes": [1]}, MALFORMED),
        ({"scopes": None}, MALFORMED),
    ],
)
def test_a_key_is_refused(changed: dict[str, object], reason: RowReason) -> None:
    """A key would be taken in without a scope, with one that there is not, or with a name that hides what it is."""
    assert refusal(key, **changed).reason is reason


@pytest.mark.parametrize(
    "changed", [{"user": "", "external_id": ""}, {"user": "a b"}, {"external_id": "\x00"}, {"external_id": 17}]
)
def test_a_user_token_is_refused(changed: dict[str, object]) -> None:
    """A token would be taken in for nobody, or for a user whom no header can name to the upstream."""
    assert refusal(token, **changed).reason is MALFORMED


texts = st.one_of(st.text(), st.sampled_from([TOKEN, DIGEST, "0" * 12, "2025-06-01T12:00:00Z", "USER_READ"]))
anything: st.SearchStrategy[Any] = st.one_of(texts, st.integers(), st.none(), st.floats(), st.lists(texts, max_size=3))


def said(row: Callable[[], object]) -> str:
    """What is said of a row, or nothing when it is taken."""
    try:
        row()
    except RowRefused as refused:
        return refused.message
    return ""


@given(st.dictionaries(st.sampled_from([*KEY, *USER_TOKEN]), anything))
def test_no_row_makes_the_import_fail(values: dict[str, object]) -> None:
    """One row of a million would end the import with a traceback, which shows the row."""
    for part in (values, {**KEY, **values}, {**USER_TOKEN, **values}):
        said(lambda part=part: key_row(7, part, SCOPES))
        said(lambda part=part: token_row(7, part, NEW_USER))


@given(st.sampled_from([*KEY, *USER_TOKEN]), st.text(st.characters(min_codepoint=33), min_size=9))
def test_no_message_repeats_a_value(column: str, value: str) -> None:
    """A secret in the wrong column would stand in a terminal and in whatever keeps its output."""
    assert value not in said(lambda: key_row(7, {**KEY, column: value}, SCOPES))
    assert value not in said(lambda: token_row(7, {**USER_TOKEN, column: value}, NEW_USER))


def test_a_row_is_written_as_it_is_read() -> None:
    """The list of refused rows could not be mended and handed in again."""
    assert key_row(7, key().as_columns(), SCOPES) == key()
    assert token_row(7, token().as_columns(), NEW_USER) == token()
    nameless = token(user="")
    assert token_row(7, nameless.as_columns(), NEW_USER) == nameless
    assert token(external_id="").as_columns()["external_id"] == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TOKEN, True),
        (f"a name {TOKEN} with more", True),
        (f"gwk_{'0' * 16}.{'x' * 48}", True),
        (TOKEN.upper(), True),
        (TOKEN[:40], True),
        ("2025-06-01T12:00:00.123456+00:00", False),
        ("deadbeef.example.com", False),
        (DIGEST, False),
    ],
)
def test_a_token_is_seen(text: str, expected: bool) -> None:
    """A file with tokens in it would go unnoticed, or one without be called leaked."""
    assert looks_like_token(text) is expected


def test_what_may_be_a_secret_is_not_written_again() -> None:
    """The list of refused rows would hold tokens, which stand in no file."""
    assert harmless({**KEY, "name": TOKEN}) == {}
    assert harmless({**KEY, "scopes": ["USER_READ", TOKEN]}) == {}
    swapped = {**KEY, "id": "S3cret" * 8, "sha256": TOKEN.split(".")[1], "scopes": ["USER_READ", "USER_LINK"]}
    assert harmless(swapped) == {name: KEY[name] for name in KEY if name not in {"id", "sha256"}}
    assert harmless(KEY) == KEY
