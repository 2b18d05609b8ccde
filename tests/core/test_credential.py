"""The Authorization header is read strictly, and a principal is proven only by a record that works now."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.credential import MAX_TOKEN, bearer, key_principal, prove_nothing, user_principal
from gateway.core.decision import TABLE, Reason, Refused
from gateway.core.principal import KeyPrincipal, Principal, UserPrincipal
from gateway.core.records import App, Fault, KeyRecord, User, UserTokenRecord
from gateway.core.token import Kind, Prefixes, Token, parse_token, verifier

VECTORS: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parents[1] / "vectors" / "credential.yaml").read_text(encoding="utf-8")
)
HEADERS = [row for row in VECTORS if "headers" in row]
PROOFS = [row for row in VECTORS if "proof" in row]

NOW = 1000
KEY = b"gwk_0123456789abcdef.PCkeK8fsOOHCGbYdCUyWx6xd2ivh2DOxR816N56NAd3Wzsts"
APP = App("5a0000000000000000000a01", "demo", "eu")
USER = User("5a93deb3d8e7d90600001e6f", APP.id)


def read(headers: list[str]) -> dict[str, str]:
    """What a vector expects: what the header holds, or the reason or fault."""
    try:
        token = parse_token(bearer([value.encode("latin-1") for value in headers]), Prefixes())
    except Refused as refused:
        (finding,) = refused.deny.findings
        return {"reason": finding.reason.value}
    return {"kind": token.kind.value, "id": token.id} if isinstance(token, Token) else {"fault": token.value}


@pytest.mark.parametrize("row", HEADERS, ids=[row["id"] for row in HEADERS])
def test_what_the_header_holds(row: dict[str, Any]) -> None:
    """A client with a good token would be turned away, or two readers of one request would see two callers."""
    assert read(row["headers"]) == row["expect"]


def proven(kind: str, *, record: dict[str, Any] | str, app: str | int = 0, user: str | int = 0) -> Principal | Fault:
    """What a vector's store proves of a token at the moment 1000."""
    presented = verifier(KEY)
    if isinstance(record, str):
        return prove_nothing(presented)
    held = {"verifier": presented, "created_at": 100, "expires_at": 2000, **record}
    if held["verifier"] == "wrong":
        held["verifier"] = bytes(32)
    app_found = App(APP.id, APP.name, APP.region, **ended(app))
    if kind == "key":
        key = KeyRecord("0123456789abcdef", APP.id, "key", frozenset({"USER_READ"}), **held)
        return key_principal(key, app_found, presented, NOW)
    token = UserTokenRecord("fedcba9876543210", APP.id, USER.id, **held)
    return user_principal(token, User(USER.id, USER.app_id, **ended(user)), app_found, presented, NOW)


def ended(what: str | int) -> dict[str, int]:
    """How a vector writes that an app or user is disabled, or when its tokens were cut off."""
    return {"switches": 1} if what == "disabled" else {"cut_at": int(what)}


def told(result: Principal | Fault) -> dict[str, str]:
    """A result as a vector writes it."""
    match result:
        case KeyPrincipal():
            return {"kind": Kind.KEY.value, "id": result.key_id}
        case UserPrincipal():
            return {"kind": Kind.USER_TOKEN.value, "id": result.token_id}
    return {"fault": result.value}


@pytest.mark.parametrize("row", PROOFS, ids=[row["id"] for row in PROOFS])
def test_what_a_record_proves(row: dict[str, Any]) -> None:
    """An ended or stolen credential would go on working, or a good one would not."""
    assert told(proven(**row["proof"])) == row["expect"]


def test_the_table_is_whole() -> None:
    """A row would be skipped, or a kind of fault would be shown by none."""
    assert len(VECTORS) == len({row["id"] for row in VECTORS}) == len(HEADERS) + len(PROOFS)
    elsewhere = yaml.safe_load((Path(__file__).parents[1] / "vectors" / "jwt.yaml").read_text(encoding="utf-8"))
    shown = {row["expect"]["fault"] for row in (*VECTORS, *elsewhere) if "fault" in row["expect"]}
    assert shown == {fault.value for fault in Fault}


def test_every_false_credential_is_answered_alike() -> None:
    """An answer would tell a guesser how near the guess was."""
    assert TABLE[Reason.CREDENTIAL_MALFORMED] == TABLE[Reason.CREDENTIAL_INVALID]


@pytest.mark.parametrize("length", [1, MAX_TOKEN - 1, MAX_TOKEN])
def test_tokens_up_to_the_limit_are_read(length: int) -> None:
    """A long token of another issuer would be refused although the limit allows it."""
    assert bearer([b"Bearer " + b"a" * length]) == b"a" * length


@pytest.mark.parametrize(
    "value",
    [
        b"Bearer " + b"a" * (MAX_TOKEN + 1),
        b"Bearer " + b"a" * 511 + b"==",
        b"Bearer " + b"a" * 1_000_000,
        b"Bearer " + b" " * 1_000_000,
        b"Bearer " + b"a" * 1_000_000 + b"!",
        b"Bearer a" + b"=" * 1_000_000 + b"!",
    ],
    ids=["one more", "padding counts", "long", "long blank", "long and wrong", "long padding"],
)
def test_longer_tokens_are_refused(value: bytes) -> None:
    """A stranger could have us hash whatever fits into a header, or search it again and again."""
    with pytest.raises(Refused):
        bearer([value])


@given(st.lists(st.one_of(st.binary(max_size=80), st.from_regex(rb"(?i)bearer +.{0,80}")), max_size=3))
def test_reading_raises_nothing_but_refused(values: list[bytes]) -> None:
    """Some byte in a header would end a request with 500 and a stack trace instead of a 401."""
    match read([value.decode("latin-1") for value in values]):
        case {"reason": reason}:
            assert reason == (Reason.CREDENTIAL_MALFORMED if values else Reason.CREDENTIAL_MISSING)
        case _:
            assert len(values) == 1
            assert values[0].isascii()


@given(st.lists(st.text(alphabet="abc._~+/-", min_size=20), min_size=1, max_size=2))
def test_a_refusal_does_not_quote_what_was_presented(tokens: list[str]) -> None:
    """A token would end in a log or in somebody else's answer by way of an error's text."""
    with pytest.raises(Refused) as refused:
        bearer([f"Bearer {token}!".encode() for token in tokens])
    assert not any(token in str(refused.value) + repr(refused.value.deny) for token in tokens)


MOMENTS = st.integers(0, 3000)


@given(st.binary(min_size=32, max_size=32), MOMENTS, MOMENTS | st.none(), MOMENTS | st.none(), MOMENTS)
def test_nothing_but_the_right_verifier_in_time_proves_anything(
    presented: bytes, expires_at: int, revoked_at: int | None, shutdown_at: int | None, now: int
) -> None:
    """Somebody without the secret, or after its end, would get in."""
    record = KeyRecord(
        "0123456789abcdef",
        APP.id,
        "key",
        frozenset(),
        verifier(KEY),
        0,
        expires_at,
        revoked_at=revoked_at,
        shutdown_at=shutdown_at,
    )
    assert isinstance(key_principal(record, APP, presented, now), Fault)
    principal = key_principal(record, APP, verifier(KEY), now)
    end = expires_at if shutdown_at is None else min(expires_at, shutdown_at)
    assert isinstance(principal, KeyPrincipal) == (now < end and revoked_at is None)
    if isinstance(principal, KeyPrincipal):
        assert principal.expires_at == end


@given(MOMENTS, MOMENTS, MOMENTS | st.none(), MOMENTS, MOMENTS, MOMENTS)
def test_no_user_token_works_after_its_end(
    created_at: int, expires_at: int, revoked_at: int | None, of_user: int, of_app: int, now: int
) -> None:
    """A device would get in after its user logged out, or everybody was made to."""
    record = UserTokenRecord("fedcba9876543210", APP.id, USER.id, verifier(KEY), created_at, expires_at, revoked_at)
    user, app = User(USER.id, APP.id, cut_at=of_user), App(APP.id, "demo", "eu", cut_at=of_app)
    principal = user_principal(record, user, app, verifier(KEY), now)
    works = now < expires_at and revoked_at is None and created_at > max(of_user, of_app)
    assert isinstance(principal, UserPrincipal) == works
    if isinstance(principal, UserPrincipal):
        assert principal.expires_at == expires_at


def test_a_principal_carries_what_was_recorded() -> None:
    """A caller would act for another app, region or user, or with other scopes, than the credential was made for."""
    presented = verifier(KEY)
    scopes = frozenset({"USER_READ", "USER_LINK"})
    key = KeyRecord("0123456789abcdef", APP.id, "key", scopes, presented, 0, 2000)
    assert key_principal(key, APP, presented, NOW) == KeyPrincipal("0123456789abcdef", APP.id, "eu", scopes, 2000)
    token = UserTokenRecord("fedcba9876543210", APP.id, USER.id, presented, 1, 2000)
    assert user_principal(token, USER, APP, presented, NOW) == UserPrincipal(
        USER.id, "fedcba9876543210", APP.id, "eu", 2000
    )


@pytest.mark.parametrize("presented", [b"", b"\x00" * 31, b"\x00" * 33])
def test_an_empty_verifier_proves_nothing(presented: bytes) -> None:
    """A record without a verifier, or a comparison cut short, would let anybody in."""
    record = KeyRecord("0123456789abcdef", APP.id, "key", frozenset(), bytes(32), 0, 2000)
    assert key_principal(record, APP, presented, NOW) is Fault.WRONG
