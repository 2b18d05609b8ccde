"""A token proves what its issuer signed, and no other text proves anything."""

import asyncio
from collections.abc import Coroutine
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.jwt_claims import Claimed
from gateway.core.records import Fault
from gateway.proxy.issuer_keys import KEPT
from gateway.proxy.issuers import Issuers, Vouched, issuers_of
from gateway.settings.issuers import Issuer
from tests.support.examples import many
from tests.support.jwts import APP, AUDIENCE, ISSUER, USER, b64, claims, published, token

NOW = 1_000_000  # seconds
_T = TypeVar("_T")


@pytest.fixture(scope="module")
def issuers(tmp_path_factory: pytest.TempPathFactory) -> Issuers:
    """One issuer with its keys in a file, known already."""
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    file.write_bytes(published())
    settings = Issuer(issuer=ISSUER, apps=(APP,), audience=AUDIENCE, jwks_file=file)
    known = issuers_of({"mobile": settings}, lambda: NOW * 1000, lambda _: None, lambda _: None)
    (keys,) = known.keys
    asyncio.run(keys.refresh())
    return known


def at_once(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """What comes of something that need not wait."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise AssertionError("it waits")


def vouched(issuers: Issuers, text: str) -> Vouched | Fault:
    """What a text proves."""
    return at_once(issuers.vouched(text.encode(), lambda: NOW * 1000))


@cache
def good(by: str) -> str:
    """A good token."""
    return token(claims(NOW), by=by)


@pytest.mark.parametrize("by", ["rsa", "ec", "ed"])
def test_a_good_token_proves_what_it_says(issuers: Issuers, by: str) -> None:
    """A user would be taken for somebody else, or not know for how long."""
    # Said by a clock that may go ahead of ours by the leeway.
    said = Claimed(APP, USER, (NOW - 10 - 60) * 1000, (NOW + 600) * 1000)
    assert vouched(issuers, good(by)) == Vouched(said, f"mobile {by}")


def test_nothing_is_proven_for_longer_than_the_key_is_known(issuers: Issuers) -> None:
    """What is remembered would outlive the keys of an issuer that is gone."""
    found = vouched(issuers, token(claims(NOW, exp=NOW + 10**6)))
    assert isinstance(found, Vouched)
    assert found.said.expires_at == NOW * 1000 + KEPT


CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n"


@many
@given(st.sampled_from(["rsa", "ec", "ed"]), st.data())
def test_any_other_text_proves_nothing(issuers: Issuers, by: str, data: st.DataObject) -> None:
    """Somebody could change a good token, into another user's or into a second one that is not known to have ended."""
    text = good(by)
    places = st.integers(0, len(text) - 1)
    start, end = sorted((data.draw(places), data.draw(places)))
    changed = text[:start] + data.draw(st.text(CHARACTERS, max_size=3)) + text[end:]
    if changed != text:
        assert isinstance(vouched(issuers, changed), Fault)


PARTS = st.sampled_from([part for by in ("rsa", "ec", "ed") for part in good(by).split(".")] + [b64(b"{}"), "AA", ""])


@given(st.lists(PARTS, min_size=3, max_size=3))
def test_no_parts_of_good_tokens_make_another_one(issuers: Issuers, parts: list[str]) -> None:
    """Somebody could put the signature of one token under the claims of another."""
    text = ".".join(parts)
    assert isinstance(vouched(issuers, text), Vouched) == (text in {good("rsa"), good("ec"), good("ed")})


@given(
    st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "cty"]),
        st.none()
        | st.text(max_size=4)
        | st.sampled_from(["none", "HS256", "RS256", "ES256", "EdDSA", "rsa", "ec", "ed", "JWT"]),
    )
)
def test_whatever_a_header_says_only_the_keys_own_algorithm_counts(issuers: Issuers, header: dict[str, Any]) -> None:
    """A header could choose how a token is checked."""
    found = vouched(issuers, token(claims(NOW), by="rsa", **header))
    merged = {"alg": "RS256", "kid": "rsa", **header}
    if isinstance(found, Vouched):
        assert (merged["alg"], merged["kid"]) == ("RS256", "rsa")


def test_a_file_or_a_url(tmp_path: Path) -> None:
    """Keys would be looked for where they are not, or a server be believed without the certificates chosen."""
    asked: list[Path | None] = []
    url = Issuer(issuer=ISSUER, apps=(APP,), audience=AUDIENCE, jwks_url="https://127.0.0.1:1/", ca_file=tmp_path)
    file = Issuer(issuer="other", apps=(APP,), audience=AUDIENCE, jwks_file=tmp_path / "keys.json")
    issuers_of({"a": url, "b": file}, lambda: 0, lambda _: None, asked.append)  # type: ignore[func-returns-value]
    assert asked == [tmp_path]
