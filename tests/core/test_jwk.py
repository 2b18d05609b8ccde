"""A set of keys is read strictly: what cannot be used is left out and told, the rest works."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.jwk import MAX_JWKS, KeySet, read_jwks
from tests.support.jwts import b64, private, public, published


def read(*keys: object) -> KeySet:
    """A set of these keys."""
    return read_jwks(json.dumps({"keys": keys}).encode())


def test_each_kind_is_for_its_algorithm() -> None:
    """A token could choose how its signature is checked, and a public key would be taken for a secret."""
    found = read_jwks(published())
    assert {kid: key.algorithm for kid, key in found.keys.items()} == {"rsa": "RS256", "ec": "ES256", "ed": "EdDSA"}
    assert found.faults == ()
    for name, key in found.keys.items():
        assert {"kid": name, **key.members} == public(name)


def test_what_says_the_same_as_its_kind_is_taken() -> None:
    """A key would be refused for saying more than it has to."""
    more = {"alg": "RS256", "use": "sig", "key_ops": ["verify"], "x5c": ["AAAA"], "x5u": "https://attacker.test/"}
    found = read(public("rsa", **more))
    assert found.keys["rsa"].members == {name: public("rsa")[name] for name in ("kty", "n", "e")}


OTHER_KIND = "is neither RSA nor EC on P-256 nor OKP on Ed25519"
NUMBERS = "has numbers that are missing, badly written, too small or too large"
PRIVATE = "shows its private half, so that anybody may have signed with it"
NAMELESS = "has no 'kid' of 1 to 256 characters"
NO_CHECK = "is not for checking signatures"
MODULUS = b64(private("rsa").public_key().public_numbers().n.to_bytes(256))  # type: ignore[union-attr]
# Every way to write a point of Ed25519 whose eightfold is nothing: each y, with either sign, and beyond the prime.
PRIME, EIGHTH = 2**255 - 19, 2707385501144840649318225287225658788936804267575313519463743609750303402022
SMALL = [y + sign for y in (0, 1, PRIME - 1, EIGHTH, PRIME - EIGHTH, PRIME, PRIME + 1) for sign in (0, 2**255)]
FALSE: dict[str, tuple[object, str]] = {
    "symmetric": ({"kty": "oct", "kid": "a", "k": "AAAA"}, OTHER_KIND),
    "another curve": (public("attacker-p384"), OTHER_KIND),
    "a curve of the same size": (public("attacker-k1"), OTHER_KIND),
    "X25519": (public("ed", crv="X25519"), OTHER_KIND),
    "an RSA key with a curve": (public("rsa", crv="P-256"), OTHER_KIND),
    "no kind": (public("rsa", kty=None), OTHER_KIND),
    "several kinds": (public("rsa", kty=["RSA"]), OTHER_KIND),
    "several curves": (public("ec", crv=["P-256"]), OTHER_KIND),
    "another algorithm": (public("rsa", alg="RS512"), "says that it is for another algorithm than RS256"),
    "symmetric algorithm": (public("rsa", alg="HS256"), "says that it is for another algorithm than RS256"),
    "for encryption": (public("rsa", use="enc"), NO_CHECK),
    "for signing only": (public("rsa", key_ops=["sign"]), NO_CHECK),
    "operations as text": (public("rsa", key_ops="verify"), NO_CHECK),
    "private": (public("rsa", d="AAAA"), PRIVATE),
    "private, on a curve": (public("ec", d="AAAA"), PRIVATE),
    "with a secret": (public("ed", k="AAAA"), PRIVATE),
    "1024 bits": (public("small"), NUMBERS),
    "2047 bits": (public("rsa", n=b64((1 << 2046 | 1).to_bytes(256))), NUMBERS),
    "8193 bits": (public("rsa", n=b64((1 << 8192 | 1).to_bytes(1025))), NUMBERS),
    "a long exponent": (public("rsa", e="AQAAAAE"), NUMBERS),
    "no exponent": (public("rsa", e=""), NUMBERS),
    "a number missing": (public("ec", y=None), NUMBERS),
    "a number as such": (public("rsa", e=65537), NUMBERS),
    "padded": (public("rsa", n=MODULUS + "=="), NUMBERS),
    "not base64url": (public("rsa", n="é"), NUMBERS),
    "a short coordinate": (public("ec", x=b64(bytes(31))), NUMBERS),
    "a long coordinate": (public("ed", x=b64(bytes(33))), NUMBERS),
    **{f"of small order: {point:x}": (public("ed", x=b64(point.to_bytes(32, "little"))), NUMBERS) for point in SMALL},
    "no name": (public("rsa", kid=None), NAMELESS),
    "an empty name": (public("rsa", kid=""), NAMELESS),
    "a long name": (public("rsa", kid="k" * 257), NAMELESS),
    "a number for a name": (public("rsa", kid=1), NAMELESS),
    "no object": (["rsa"], NAMELESS),
}


@pytest.mark.parametrize(("entry", "sentence"), FALSE.values(), ids=FALSE)
def test_a_wrong_key_is_left_out_and_the_good_ones_work(entry: object, sentence: str) -> None:
    """One bad key would shut out all users of an issuer, or a weak one would let somebody in who can break it."""
    found = read(public("ed", kid="good"), entry)
    assert list(found.keys) == ["good"]
    assert found.faults == (f"key 2 of 2 {sentence}",)


def test_of_two_keys_of_one_name_neither_counts() -> None:
    """Which of two keys checks a token would be up to the order of a list."""
    found = read(public("rsa"), public("ec", kid="rsa"), public("ed"))
    assert list(found.keys) == ["ed"]
    assert len(found.faults) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":[],"keys":[]}',
        b"\xff",
        b"<html>",
        b'{"keys":' + b"[" * 100_000,
        b'{"keys":' + b"[" * 17 + b"]" * 17 + b"}",
    ],
)
def test_what_is_no_set_is_refused_whole(data: bytes) -> None:
    """An error page would take all keys away, as a set of none."""
    with pytest.raises(ValueError, match=r"is (no set of keys|longer than)"):
        read_jwks(data)


def test_a_set_has_64_kib_at_most() -> None:
    """Somebody who holds the server could have the gateway hold whatever it sends."""
    whole = published()
    assert read_jwks(whole + b" " * (MAX_JWKS - len(whole))).keys
    with pytest.raises(ValueError, match="longer than 65536 bytes"):
        read_jwks(whole + b" " * (MAX_JWKS + 1 - len(whole)))


def test_an_empty_set_is_one() -> None:
    """An issuer could not withdraw all of its keys."""
    assert read() == KeySet({}, ())


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kty", "kid", "n", "e"]), inner),
    max_leaves=8,
)


@given(st.lists(JSON | st.dictionaries(st.sampled_from(sorted(public("ec"))), JSON), max_size=4))
def test_no_set_raises(entries: list[object]) -> None:
    """A strange key would end the refreshing of keys for good."""
    found = read(*entries)
    assert len(found.keys) + len(found.faults) == len(entries)
