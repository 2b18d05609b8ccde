"""What another issuer says of a user counts for its own apps, in its time, and for nobody who was locked out."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.jwt_claims import Claimed, Issuer, claimed, claimed_principal
from gateway.core.people import CLOCKS_APART
from gateway.core.principal import UserPrincipal
from gateway.core.records import DELETED, App, Fault, User
from tests.support.jwts import APP, AUDIENCE, ISSUER, USER, claims

NOW = 1_000_000  # seconds
MS = NOW * 1000
ISSUING = Issuer(ISSUER, frozenset({APP}), AUDIENCE)


def test_what_is_claimed_is_what_comes_of_it() -> None:
    """A user would be taken for another, or for longer than the issuer said."""
    assert claimed(claims(NOW), ISSUING, MS) == Claimed(APP, USER, MS - 70_000, MS + 600_000)
    assert claimed(claims(NOW, iat=None), ISSUING, MS) == Claimed(APP, USER, None, MS + 600_000)
    named = Issuer(ISSUER, frozenset({APP}), AUDIENCE, app_claim="tenant", user_claim="uid")
    said = claims(NOW, tenant=APP, uid="u7", app_id="x", sub="y")
    assert claimed(said, named, MS) == Claimed(APP, "u7", MS - 70_000, MS + 600_000)


FALSE: list[tuple[dict[str, Any], Fault]] = [
    ({"aud": None}, Fault.AUDIENCE),
    ({"aud": [AUDIENCE, None]}, Fault.AUDIENCE),
    ({"aud": ["other"]}, Fault.AUDIENCE),
    ({"app_id": "5a0000000000000000000a02"}, Fault.FOREIGN_APP),
    ({"app_id": 1}, Fault.CLAIMS),
    ({"sub": "a b"}, Fault.CLAIMS),
    ({"sub": True}, Fault.CLAIMS),
    *(({name: value}, Fault.CLAIMS) for name in ("exp", "nbf", "iat") for value in (True, "1", [], -1, 10**13, 1e300)),
    *(({name: value}, Fault.CLAIMS) for name in ("exp", "nbf", "iat") for value in (math.nan, math.inf, 10**4000)),
    ({"exp": None}, Fault.CLAIMS),
    ({"exp": NOW - 60}, Fault.EXPIRED),
    ({"nbf": NOW + 61}, Fault.NOT_YET),
    ({"iat": NOW + 61}, Fault.NOT_YET),
]


@pytest.mark.parametrize(("changed", "fault"), FALSE)
def test_claims_that_are_not_taken(changed: dict[str, Any], fault: Fault) -> None:
    """A token for somebody else, of nobody's, or of another time would make a user."""
    assert claimed(claims(NOW, **changed), ISSUING, MS) is fault


@given(
    leeway=st.integers(0, 300_000),
    ends=st.floats(NOW - 400, NOW + 400),
    begins=st.floats(NOW - 400, NOW + 400),
    issued=st.floats(NOW - 400, NOW + 400),
)
def test_leeway_is_all_that_clocks_may_differ(leeway: int, ends: float, begins: float, issued: float) -> None:
    """A token would work before its time or after it by more than was chosen."""
    issuer = Issuer(ISSUER, frozenset({APP}), AUDIENCE, leeway=leeway)
    found = claimed(claims(NOW, exp=ends, nbf=begins, iat=issued), issuer, MS)
    over, early = int(ends * 1000) + leeway <= MS, int(max(begins, issued) * 1000) - leeway > MS
    assert found == (
        Fault.EXPIRED
        if over
        else Fault.NOT_YET
        if early
        else Claimed(APP, USER, int(issued * 1000) - leeway, int(ends * 1000))
    )


@given(
    st.dictionaries(
        st.sampled_from(["aud", "app_id", "sub", "exp", "nbf", "iat"]),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text(max_size=5)
            | st.just(AUDIENCE)
            | st.just(APP),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
            max_leaves=4,
        ),
    )
)
def test_no_claims_raise(said: dict[str, Any]) -> None:
    """Some claim would end a request with 500 and a stack trace."""
    assert isinstance(claimed(said, ISSUING, MS), Fault | Claimed)


SAID = Claimed(APP, USER, 500, 2000)
NEVER_SAID = Claimed(APP, USER, None, 2000)


@pytest.mark.parametrize(
    ("said", "user", "app", "expected"),
    [
        (SAID, None, {}, None),
        (NEVER_SAID, None, {}, None),
        (SAID, {}, {}, None),
        (NEVER_SAID, {}, {}, None),
        (SAID, {"cut_at": 499}, {"cut_at": 499}, None),
        (SAID, {"cut_at": 500}, {}, Fault.REVOKED),
        (SAID, None, {"cut_at": 500}, Fault.REVOKED),
        (NEVER_SAID, {"cut_at": 1}, {}, Fault.REVOKED),
        (NEVER_SAID, None, {"cut_at": 1}, Fault.REVOKED),
        (SAID, {"cut_at": DELETED}, {}, Fault.REVOKED),
        (SAID, {"switches": 1}, {}, Fault.USER_DISABLED),
        (SAID, {"switches": 2}, {}, None),
        (SAID, None, {"switches": 1}, Fault.APP_DISABLED),
        (SAID, {"switches": 1}, {"switches": 1}, Fault.APP_DISABLED),
    ],
)
def test_nobody_who_was_locked_out_gets_in(
    said: Claimed, user: dict[str, int] | None, app: dict[str, int], expected: Fault | None
) -> None:
    """A user who was disabled, deleted or logged out everywhere would go on with a token that nobody can take back."""
    found = claimed_principal(said, None if user is None else User(USER, APP, **user), App(APP, "demo", "eu", **app))
    assert found == (expected or UserPrincipal(USER, None, APP, "eu", 2000))


def test_it_depends_on_user_and_app() -> None:
    """What is remembered of a user would outlive the user, or what was remembered of everybody would be thrown away."""
    assert UserPrincipal(USER, None, APP, "eu", 1).ids == (USER, APP)


@given(st.integers(0, 300), st.integers(-300, 300), st.integers(0, 3_000))
def test_no_token_outlives_the_end_of_all(leeway: int, ahead: int, later: int) -> None:
    """A token that an issuer with a fast clock gave out just before a user's tokens were ended would go on for good."""
    issuer = Issuer(ISSUER, frozenset({APP}), AUDIENCE, leeway=leeway * 1000)
    cut = User(USER, APP, cut_at=MS + CLOCKS_APART)
    for now in (MS, MS + later * 1000):
        said = claimed(claims(NOW, iat=NOW + ahead, exp=NOW + 9_000), issuer, now)
        if not isinstance(said, Fault) and ahead <= leeway:
            assert claimed_principal(said, cut, App(APP, "demo", "eu")) is Fault.REVOKED
    again = Claimed(APP, USER, cut.cut_at + 1, 2 * MS)
    assert isinstance(claimed_principal(again, cut, App(APP, "demo", "eu")), UserPrincipal)
