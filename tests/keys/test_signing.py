"""Keys that sign seals: their files, with all that can be wrong with one, and what their signatures are worth."""

import base64
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gateway.core.audit import Seal
from gateway.core.seal import Flaw, signed_bytes
from gateway.keys.signing import (
    KeyFileInvalid,
    fingerprint,
    judge_with,
    load_public_key,
    load_signer,
    private_pem,
    public_pem,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = ec.generate_private_key(ec.SECP256R1())
SEAL = Seal("c0ffee/main", 1, 2, 3, "ab" * 32)


def file(directory: Path, text: bytes, mode: int = 0o600) -> Path:
    """A file with this in it."""
    made = directory / "key.pem"
    made.write_bytes(text)
    made.chmod(mode)
    return made


def test_what_a_key_signs_its_public_half_proves(tmp_path: Path) -> None:
    """Seals that the gateway signed look forged, or forged ones look signed."""
    signer = load_signer(file(tmp_path, private_pem(KEY)))
    judge = judge_with([load_public_key(file(tmp_path, public_pem(KEY.public_key())))])
    signed = replace(SEAL, signature=signer.sign(signed_bytes(SEAL)), signer=signer.fingerprint)
    stranger = Ed25519PrivateKey.generate()
    forged = stranger.sign(signed_bytes(SEAL)).hex()

    assert judge(signed) is None
    assert judge(replace(signed, last=3)) is Flaw.SIGNATURE_FALSE
    assert judge(replace(signed, signature=forged)) is Flaw.SIGNATURE_FALSE
    assert judge(replace(signed, signature=forged, signer=fingerprint(stranger.public_key()))) is Flaw.SIGNER_UNKNOWN
    for text in ("", "zz" * 64, signed.signature.upper() + " ", "é" * 128):
        assert judge(replace(signed, signature=text)) is Flaw.SIGNATURE_FALSE


def test_a_fingerprint_is_what_openssl_makes_of_the_public_key() -> None:
    """An auditor who computes the name of a key with ordinary tools finds another name."""
    body = b"".join(public_pem(KEY.public_key()).splitlines()[1:-1])

    assert fingerprint(KEY.public_key()) == sha256(base64.b64decode(body)).hexdigest()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (public_pem(KEY.public_key()), "this is a public key, and the private one is wanted here"),
        (b"", "this is no private key in PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "this is no private key in PEM"),
        (private_pem(KEY)[:60], "this is no private key in PEM"),
        (b"\xff" * 20_000, "longer than 16384 bytes"),
        (OTHER.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "signed with Ed25519"),
        (
            KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"words")),
            "encrypted with a passphrase",
        ),
    ],
    ids=["public", "empty", "not a key", "cut off", "too long", "another kind", "encrypted"],
)
def test_a_file_without_a_signing_key_is_refused_with_the_reason(tmp_path: Path, text: bytes, sentence: str) -> None:
    """An operator who configured the wrong file reads a traceback, or the key itself, or runs without signatures."""
    path = file(tmp_path, text)

    with pytest.raises(KeyFileInvalid) as fault:
        load_signer(path)

    assert str(fault.value).startswith(f"{path}: ")
    assert sentence in str(fault.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (private_pem(KEY), "this is a private key, and the public one is wanted here"),
        (b"no key", "this is no public key in PEM"),
        (
            OTHER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "signed with Ed25519",
        ),
    ],
    ids=["private", "not a key", "another kind"],
)
def test_a_file_without_a_public_key_is_refused_with_the_reason(tmp_path: Path, text: bytes, sentence: str) -> None:
    """An auditor who took the wrong file is told that the audit was forged."""
    with pytest.raises(KeyFileInvalid) as fault:
        load_public_key(file(tmp_path, text))

    assert sentence in str(fault.value.strerror)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """An operator does not learn which file the gateway looked for."""
    with pytest.raises(FileNotFoundError) as fault:
        load_signer(tmp_path / "nothing.pem")

    assert fault.value.filename == str(tmp_path / "nothing.pem")


@pytest.mark.parametrize(
    ("mode", "warned"), [(0o600, False), (0o400, False), (0o440, False), (0o660, True), (0o644, True), (0o604, True)]
)
def test_a_key_that_others_may_use_is_warned_of(tmp_path: Path, mode: int, warned: bool) -> None:
    """Everybody on the machine can sign what the gateway signs, and nobody is told."""
    signer = load_signer(file(tmp_path, private_pem(KEY), mode))

    assert bool(signer.warnings) is warned
    assert not warned or f"chmod 600 {tmp_path}" in signer.warnings[0]


def test_a_signer_hides_its_key(tmp_path: Path) -> None:
    """The private key gets into a log with the object that holds it."""
    signer = load_signer(file(tmp_path, private_pem(KEY)))

    assert "Private" not in repr(signer)
    assert bytes(range(32)).hex() not in repr(signer)
