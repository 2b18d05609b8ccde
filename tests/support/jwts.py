"""An issuer of JWTs, honest or not: its keys, the set that it publishes, and tokens put together by hand."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER: Final = "https://login.example.com/"
AUDIENCE: Final = "https://api.example.com/"
APP: Final = "5a0000000000000000000a01"
USER: Final = "someone"

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_HEADS: Final[Mapping[str, dict[str, Any]]] = {
    "rsa": {"alg": "RS256", "kid": "rsa"},
    "ec": {"alg": "ES256", "kid": "ec"},
    "ed": {"alg": "EdDSA", "kid": "ed"},
}


@cache
def private(name: str) -> Private:
    """A key, made once: `rsa`, `ec` and `ed` are published, those of `attacker-...` are not."""
    match name.rpartition("-")[2]:
        case "rsa":
            return rsa.generate_private_key(65537, 2048)
        case "small":
            return rsa.generate_private_key(65537, 1024)  # noqa: S505 - to be refused
        case "ec":
            return ec.generate_private_key(ec.SECP256R1())
        case "p384":
            return ec.generate_private_key(ec.SECP384R1())
        case "k1":
            return ec.generate_private_key(ec.SECP256K1())
    return ed25519.Ed25519PrivateKey.generate()


def b64(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def public(name: str, **members: object) -> dict[str, Any]:
    """The public half as a JWK, with these members beside or instead of the usual ones; None takes one away."""
    key = private(name).public_key()
    match key:
        case rsa.RSAPublicKey():
            numbers = key.public_numbers()
            jwk = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
        case ec.EllipticCurvePublicKey():
            size = (key.curve.key_size + 7) // 8
            point = key.public_numbers()
            curve = {"secp256r1": "P-256", "secp384r1": "P-384", "secp256k1": "secp256k1"}[key.curve.name]
            jwk = {"kty": "EC", "crv": curve, "x": _number(point.x, size), "y": _number(point.y, size)}
        case _:
            jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(key.public_bytes(Encoding.Raw, PublicFormat.Raw))}
    return _merged({"kid": name, **jwk}, members)


def _number(value: int, size: int | None = None) -> str:
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8))


def published(*names: str) -> bytes:
    """The set of these keys, or of the usual three."""
    return json.dumps({"keys": [public(name) for name in names or _HEADS]}).encode()


def claims(now: int, **others: object) -> dict[str, Any]:
    """What a good token claims at `now` (seconds), with these claims instead; None takes one away."""
    usual = {"iss": ISSUER, "aud": AUDIENCE, "app_id": APP, "sub": USER, "iat": now - 10, "exp": now + 600}
    return _merged(usual, others)


def token(said: Mapping[str, Any] | str, *, by: str = "rsa", how: str = "right", **header: object) -> str:
    """A token that says this (a text goes in as it is), its header changed, signed in one of the ways below."""
    head = json.dumps(_merged(_HEADS.get(by, {"alg": "RS256", "kid": by}), header))
    return assembled(head, said if isinstance(said, str) else json.dumps(said), by=by, how=how)


def assembled(head: str, said: str, *, by: str = "rsa", how: str = "right") -> str:
    """A token of these texts, surrogates in them and all."""
    signed = f"{b64(head.encode('utf-8', 'surrogatepass'))}.{b64(said.encode('utf-8', 'surrogatepass'))}"
    return f"{signed}.{b64(_WAYS[how](by, signed.encode()))}"


def _right(by: str, data: bytes) -> bytes:
    match private(by):
        case rsa.RSAPrivateKey() as key:
            return key.sign(data, padding.PKCS1v15(), SHA256())
        case ec.EllipticCurvePrivateKey() as curve:
            r, s = decode_dss_signature(curve.sign(data, ec.ECDSA(SHA256())))
            size = (curve.curve.key_size + 7) // 8
            return r.to_bytes(size) + s.to_bytes(size)
        case other:
            return other.sign(data)


def _der(by: str, data: bytes) -> bytes:
    key = private(by)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.sign(data, ec.ECDSA(SHA256()))


def _hmac(form: Callable[[str], bytes]) -> Callable[[str, bytes], bytes]:
    """With what everybody knows for a secret."""
    return lambda by, data: hmac.digest(form(by), data, hashlib.sha256)


def _pem(by: str) -> bytes:
    return private(by).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256
_WAYS: Final[Mapping[str, Callable[[str, bytes], bytes]]] = {
    "right": _right,
    "empty-ish": lambda by, data: b"\0",
    "der": _der,
    "short": lambda by, data: _right(by, data)[:-1],
    "long": lambda by, data: _right(by, data) + b"\0",
    "zeros": lambda by, data: bytes(64),
    "order": lambda by, data: _ORDER.to_bytes(32) * 2,
    "of something else": lambda by, data: _right(by, data + b"."),
    "hmac of the PEM": _hmac(_pem),
    "hmac of the JWK": _hmac(lambda by: json.dumps(public(by)).encode()),
    "hmac of nothing": _hmac(lambda by: b""),
}


def _merged(usual: Mapping[str, Any], others: Mapping[str, object]) -> dict[str, Any]:
    return {name: value for name, value in {**usual, **others}.items() if value is not None}


def of_row(row: Mapping[str, Any], now: int) -> str:
    """The token of a row of tests/vectors/jwt.yaml, at `now` (seconds)."""
    by = row.get("by", "rsa")
    header = {name: _meant(value, now) for name, value in row.get("header", {}).items()}
    if header.get("jwk"):
        header["jwk"] = public(header["jwk"])
    said = _meant(row["said"], now) if "said" in row else json.dumps(claims(now, **_all_meant(row, now)))
    head = row.get("head") or json.dumps(_merged(_HEADS.get(by, {"alg": "RS256", "kid": by}), header))
    return _changed(assembled(head, said, by=by, how=row.get("how", "right")), **row.get("text", {}))


def _changed(text: str, *, after: str = "", padded: bool = False, **signature: str | None) -> str:
    head, said, signed = text.split(".")
    if signature:
        return f"{head}.{said}" if signature["signature"] is None else f"{head}.{said}.{signature['signature']}"
    return f"{head}{'=' * padded}.{said}.{signed}{'=' * padded}{after}"


def _all_meant(row: Mapping[str, Any], now: int) -> dict[str, Any]:
    return {name: _meant(value, now) for name, value in row.get("claims", {}).items()}


def _meant(value: Any, now: int) -> Any:
    """What a value of a row stands for."""
    if type(value) is not str:
        return value
    if value == "{deep}":
        return '{"a":' * 800 + "1" + "}" * 800
    length = re.fullmatch(r"\{(\d+)\}", value)
    if length:
        return "x" * int(length[1])
    return now + int(value) if re.fullmatch(r"[+-]\d+", value) else value


def meant_user(text: str) -> str:
    """The user id that a row expects."""
    return str(_meant(text, 0))
