"""A set of public keys (RFC 7517), read strictly: what kind a key is says which algorithm it is for."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from gateway.core.jwt_text import MAX_NAME, json_object, unpadded

MAX_JWKS: Final = 65_536  # bytes; real sets have one to five keys of half a KiB


class _Kind(NamedTuple):
    algorithm: str
    numbers: tuple[str, ...]


# By `kty` and `crv` (RFC 7518 6, RFC 8037 2): nothing else is taken, symmetric keys (`oct`) least of all.
_KINDS: Final[Mapping[tuple[object, object], _Kind]] = {
    ("RSA", None): _Kind("RS256", ("n", "e")),
    ("EC", "P-256"): _Kind("ES256", ("x", "y")),
    ("OKP", "Ed25519"): _Kind("EdDSA", ("x",)),
}
_RSA_BITS: Final = range(2_048, 8_193)  # fewer can be factored; more take a hundred times as long to check
_RSA_EXPONENT: Final = 4  # bytes at most: 65537 has 3, and a longer one makes each check as slow as signing
# Points of Ed25519 of which eight times make nothing (RFC 7748 7 has their like): under such a key a signature is good
# for one text in a few, whoever made it. By their y alone, however it is written.
_PRIME: Final = 2**255 - 19
_OF_EIGHT: Final = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_SMALL_ORDER: Final = frozenset({0, 1, _PRIME - 1, _OF_EIGHT, _PRIME - _OF_EIGHT})
_COORDINATE: Final = 32  # bytes of each number of the two curves, no more and no fewer (RFC 7518 6.2.1.2, RFC 8037 2)


@dataclass(frozen=True, slots=True)
class Jwk:
    """A public key whose form is right, for the one algorithm that it is for; `members` are those that make it."""

    kid: str
    algorithm: str
    members: Mapping[str, str]


class KeySet(NamedTuple):
    """The keys of a set that can be used, by `kid`, and a sentence about each of the others."""

    keys: Mapping[str, Jwk]
    faults: tuple[str, ...]


def read_jwks(data: bytes) -> KeySet:
    """The key set in some bytes. Raises `ValueError` when they hold none; single keys that are wrong are left out."""
    if len(data) > MAX_JWKS:
        raise ValueError(f"is longer than {MAX_JWKS} bytes")
    try:
        listed = json_object(data).get("keys")
    except ValueError:
        listed = None
    if type(listed) is not list:
        raise ValueError("is no set of keys, which is one JSON object with a list 'keys' (RFC 7517 5)")
    keys: dict[str, Jwk] = {}
    faults = []
    # Two keys of one name are two answers to one question; nobody can tell which is meant.
    times = Counter(kid for kid in map(_kid, listed) if kid is not None)
    for place, entry in enumerate(listed, 1):
        kid = _kid(entry)
        found = "has no 'kid' of 1 to 256 characters" if kid is None else _key(kid, entry)
        if kid is not None and times[kid] > 1:
            found = "has a 'kid' that another key of the set has too"
        if isinstance(found, str):
            faults.append(f"key {place} of {len(listed)} {found}")
        else:
            keys[found.kid] = found
    return KeySet(keys, tuple(faults))


def _kid(entry: object) -> str | None:
    kid = entry.get("kid") if type(entry) is dict else None
    return kid if type(kid) is str and 0 < len(kid) <= MAX_NAME else None


def _key(kid: str, entry: Mapping[str, Any]) -> Jwk | str:
    """The key, or what is wrong with it."""
    kty, crv = entry.get("kty"), entry.get("crv")
    kind = _KINDS.get((kty, crv)) if type(kty) is str and (crv is None or type(crv) is str) else None
    if kind is None:
        return "is neither RSA nor EC on P-256 nor OKP on Ed25519"
    if entry.get("alg", kind.algorithm) != kind.algorithm:
        return f"says that it is for another algorithm than {kind.algorithm}"
    if entry.get("use", "sig") != "sig" or not _checks(entry.get("key_ops", ["verify"])):
        return "is not for checking signatures"
    if "d" in entry or "k" in entry:
        return "shows its private half, so that anybody may have signed with it"
    numbers = {name: entry.get(name) for name in kind.numbers}
    if not _right(kind.algorithm, numbers):
        return "has numbers that are missing, badly written, too small or too large"
    curve = {} if crv is None else {"crv": crv}
    return Jwk(kid, kind.algorithm, {"kty": str(kty), **curve, **{name: str(text) for name, text in numbers.items()}})


def _checks(operations: object) -> bool:
    return type(operations) is list and "verify" in operations


def _right(algorithm: str, numbers: Mapping[str, object]) -> bool:
    try:
        data = [unpadded(text.encode("ascii")) for text in numbers.values() if type(text) is str]
    except ValueError:
        return False
    if len(data) < len(numbers):
        return False
    if algorithm == "RS256":
        modulus, exponent = data
        return int.from_bytes(modulus).bit_length() in _RSA_BITS and 0 < len(exponent) <= _RSA_EXPONENT
    if any(len(number) != _COORDINATE for number in data):
        return False
    return algorithm != "EdDSA" or int.from_bytes(data[0], "little") % 2**255 % _PRIME not in _SMALL_ORDER
