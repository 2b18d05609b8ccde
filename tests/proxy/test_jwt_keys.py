"""A key checks by its own algorithm, and nothing that is presented as a signature ends in more than a no."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.jwk import Jwk, read_jwks
from gateway.core.jwt_text import unpadded
from gateway.proxy.jwt_keys import VerificationKey
from tests.support.jwts import b64, claims, published, token

KEYS = {kid: VerificationKey(jwk) for kid, jwk in read_jwks(published()).keys.items()}


def parts(by: str, how: str = "right") -> tuple[bytes, bytes]:
    """What was signed, and the signature."""
    signed, _, signature = token(claims(1), by=by, how=how).encode().rpartition(b".")
    return signed, unpadded(signature)


@pytest.mark.parametrize("by", KEYS)
def test_a_key_knows_its_own_signatures_alone(by: str) -> None:
    """Good tokens would be refused, or those of one key taken for another's."""
    assert {kid: key.verifies(*parts(by)) for kid, key in KEYS.items()} == {kid: kid == by for kid in KEYS}
    assert not KEYS[by].verifies(*parts(by, "of something else"))


SIGNATURES = st.binary(max_size=80) | st.binary(min_size=64, max_size=64) | st.binary(min_size=256, max_size=256)


@given(st.sampled_from(sorted(KEYS)), st.binary(max_size=40), SIGNATURES)
def test_no_bytes_are_a_signature_by_chance_or_raise(by: str, signed: bytes, signature: bytes) -> None:
    """Some signature would end a request with 500 and a stack trace, or prove something."""
    assert KEYS[by].verifies(signed, signature) is False


@pytest.mark.parametrize(
    "jwk",
    [
        Jwk("a", "ES256", {"kty": "EC", "crv": "P-256", "x": b64(b"\1" * 32), "y": b64(b"\2" * 32)}),
        Jwk("a", "RS256", {"kty": "RSA", "n": b64(b"\xff" * 256), "e": "AQ"}),
    ],
    ids=["not on the curve", "exponent 1"],
)
def test_numbers_that_make_no_key_are_told(jwk: Jwk) -> None:
    """A key that anybody can sign with would be believed, or a slip in a set would stop the gateway."""
    with pytest.raises(ValueError, match="has numbers that make no key"):
        VerificationKey(jwk)
