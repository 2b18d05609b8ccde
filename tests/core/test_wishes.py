"""What may be wished for, and every sentence of what may not."""

import unicodedata
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import wishes
from gateway.core.wishes import (
    DAY,
    KEY_LIFETIME,
    LONGEST_LIFETIME,
    LONGEST_SHUTDOWN,
    SHUTDOWN,
    USER_TOKEN_LIFETIME,
    email_faults,
    lifetime_faults,
    name_faults,
    normal_email,
    normal_name,
    region_faults,
    scope_faults,
    shutdown_faults,
    user_faults,
)

SCOPES = ("USER_READ", "USER_DELETE", "USER_LINK")
LENGTH = "A name has 1 to 100 characters; this one has {}."
SIGNS = "A name has no control characters, and none that change the direction of writing."


def test_lives_are_as_documented() -> None:
    """Keys and tokens would end sooner or later than people plan for."""
    assert DAY == 24 * 3600 * 1000
    assert (KEY_LIFETIME, LONGEST_LIFETIME) == (365 * DAY, 366 * DAY)
    assert USER_TOKEN_LIFETIME == 7 * DAY
    assert (SHUTDOWN, LONGEST_SHUTDOWN) == (7 * DAY, 30 * DAY)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a", "a"),
        ("x" * 100, "x" * 100),
        ("株" * 100, "株" * 100),
        ('O\'Neill & "søn" <b>', 'O\'Neill & "søn" <b>'),
        ("e\u0301" * 100, "é" * 100),
        ("עברית", "עברית"),
        ("\U0001f469\u200d\U0001f4bb", "\U0001f469\u200d\U0001f4bb"),
        (" ", " "),
    ],
)
def test_names_of_all_languages(name: str, kept: str) -> None:
    """People could not give their app the name it has, or find it under the name they see."""
    assert normal_name(name) == kept
    assert not list(name_faults(kept))


@pytest.mark.parametrize(
    "name", [*"\n\0\x1b\x7f\x85\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ud800"], ids=ascii
)
def test_signs_that_no_name_has(name: str) -> None:
    """A name would spoil the lists that it is shown in, or pose as another."""
    assert list(name_faults(f"a{name}b")) == [SIGNS]


@pytest.mark.parametrize("length", [0, 101, 10_000])
def test_names_that_are_too_long_or_none(length: int) -> None:
    """A name would fill a screen, or be nothing that can be read."""
    assert list(name_faults("x" * length)) == [LENGTH.format(length)]
    assert list(name_faults("\n" * 101)) == [LENGTH.format(101), SIGNS]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=120))
def test_a_name_is_normal_once(name: str) -> None:
    """A name would change each time it is read, and not be found under the one that was typed."""
    normal = normal_name(name)
    assert normal_name(normal) == normal == unicodedata.normalize("NFC", name)
    assert normal_name(unicodedata.normalize("NFD", name)) == normal
    if not list(name_faults(normal)):
        assert 0 < len(normal) <= 100
        assert not any(unicodedata.category(sign) == "Cc" for sign in normal)


@pytest.mark.parametrize(
    ("scopes", "known", "told"),
    [
        (SCOPES, SCOPES, []),
        (["USER_READ", "USER_READ"], SCOPES, []),
        ([], SCOPES, ["A key needs at least one scope; there are USER_DELETE, USER_LINK, USER_READ."]),
        ([], (), ["A key needs at least one scope; there are none."]),
        (
            ["USER_RAED", "USER_READ", "ADMIN"],
            SCOPES,
            [
                "There is no scope 'ADMIN'; there are USER_DELETE, USER_LINK, USER_READ.",
                "There is no scope 'USER_RAED'; there are USER_DELETE, USER_LINK, USER_READ.",
            ],
        ),
        (["user_read"], ["USER_READ"], ["There is no scope 'user_read'; there are USER_READ."]),
    ],
)
def test_scopes(scopes: list[str], known: tuple[str, ...], told: list[str]) -> None:
    """A key that may do nothing would be handed out, and its holder wonder."""
    assert list(scope_faults(scopes, known)) == told


@pytest.mark.parametrize(
    ("faults", "least", "most"),
    [(lifetime_faults, 1, LONGEST_LIFETIME), (shutdown_faults, 0, LONGEST_SHUTDOWN)],
)
def test_lengths_of_time(faults: Callable[[int], Iterable[str]], least: int, most: int) -> None:
    """A key would be dead when it is handed out, live for ever, or outlive its successor by months."""
    assert [bool(list(faults(length))) for length in (least - 1, least, most, most + 1)] == [True, False, False, True]
    assert len(list(faults(-(10**30)))) == len(list(faults(10**30))) == 1


def test_regions() -> None:
    """An app would be made whose data lies nowhere."""
    assert not list(region_faults("eu", ["us", "eu"]))
    assert list(region_faults("mars", ["us", "eu"])) == ["There is no region 'mars'; there are eu, us."]


@pytest.mark.parametrize(
    ("user_id", "good"),
    [
        (None, True),
        ("1", True),
        ("5a93deb3d8e7d90600001e6f", True),
        ("!~", True),
        ("x" * 128, True),
        ("", False),
        (" ", False),
        ("a b", False),
        ("a\n", False),
        ("é", False),
        ("x" * 129, False),
        ("a\x7f", False),
        ("\udc80", False),
    ],
    ids=ascii,
)
def test_user_ids(user_id: str | None, good: bool) -> None:
    """An id would break the identity headers, or be read there as another."""
    assert list(user_faults(user_id, None)) == ([] if good else ["A user id has 1 to 128 visible ASCII characters."])


@pytest.mark.parametrize(
    ("external_id", "good"),
    [
        (None, True),
        ("customer 17", True),
        ("é株", True),
        ("x" * 256, True),
        ("", False),
        ("x" * 257, False),
        ("a\n", False),
        ("a\0", False),
        ("\x85", False),
        ("\udc80", False),
    ],
    ids=ascii,
)
def test_external_ids(external_id: str | None, good: bool) -> None:
    """A slip on the command line would end in a stack trace, or in a user that nobody finds again."""
    told = "An external id has 1 to 256 characters, none of them a control character."
    assert list(user_faults(None, external_id)) == ([] if good else [told])


def test_both_ids_of_a_user_at_once() -> None:
    """Somebody would correct one thing, try again, and be told the next."""
    assert len(list(user_faults("", ""))) == 2


@pytest.mark.parametrize(
    "email",
    [
        "ada@example.com",
        "a@b.c",
        "first.last+tag@sub.example-one.com",
        "!#$%&'*+/=?^_`{|}~-@example.com",
        "x" * 240 + "@example.co.uk",
    ],
)
def test_addresses(email: str) -> None:
    """Somebody with a good address could not be given a role."""
    assert not list(email_faults(email))


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "ada@localhost",
        "ada@example..com",
        "ada@-example.com",
        "ada@example-.com",
        ".ada@example.com",
        "ada.@example.com",
        "a..b@example.com",
        "ada lovelace@example.com",
        "ada@example.com\n",
        "ada@exa_mple.com",
        "ada@ex\u00e4mple.com",
        '"ada"@example.com',
        "=?utf-8?q?ada?=@example.com",
        "=?utf-8*en?B?YWRh?=@example.com",
        "Ada <ada@example.com>",
        "ada@example.com,bob@example.com",
        "x" * 243 + "@example.com",
        "ada@" + "x" * 64 + ".com",
    ],
    ids=ascii,
)
def test_what_is_no_address(email: str) -> None:
    """A role would go to nobody, as its address was mistyped."""
    assert list(email_faults(email)) == ["That is no e-mail address like name@example.com."]


def test_an_address_is_written_one_way() -> None:
    """One person would have two roles, and keep one of them when it is removed."""
    assert normal_email("Ada.Lovelace@Example.COM") == "ada.lovelace@example.com"


def test_lists_read_alike() -> None:
    """A sentence would end in nothing."""
    assert (wishes.listed([]), wishes.listed({"b", "a"})) == ("none", "a, b")
