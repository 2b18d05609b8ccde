"""Ed25519 signatures over seals: the keys from their files, signing, and judging."""

import errno
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from gateway.core.audit import Seal
from gateway.core.seal import Flaw, Judge, signed_bytes

_LONGEST_FILE: Final = 16_384  # bytes; a key has some 120
_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}\Z")


class KeyFileInvalid(OSError):
    """The file cannot be used as a key: the sentence says why, and what to do. It never tells what the file holds."""

    def __init__(self, file: Path, sentence: str) -> None:
        super().__init__(errno.EINVAL, sentence, str(file))

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}."


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key that signs seals. `warnings` are sentences about its file."""

    fingerprint: str
    warnings: tuple[str, ...] = ()
    key: Ed25519PrivateKey = field(repr=False, kw_only=True)

    def sign(self, message: bytes) -> str:
        """The signature over a message, as 128 hex digits."""
        return self.key.sign(message).hex()

    def public(self) -> Ed25519PublicKey:
        """The public half."""
        return self.key.public_key()


def fingerprint(key: Ed25519PublicKey) -> str:
    """The name of a key: SHA-256 over its SubjectPublicKeyInfo (RFC 5280 4.1), as OpenSSL writes it in DER."""
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def load_signer(file: Path) -> Signer:
    """The private key in a file. Raises `OSError`, `KeyFileInvalid` among them."""
    text, mode = _read(file)
    try:
        key = load_pem_private_key(text, password=None)
    except TypeError as error:
        raise KeyFileInvalid(file, _ENCRYPTED) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileInvalid(file, _no_key(text, "private")) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileInvalid(file, _OTHER_KIND)
    return Signer(fingerprint(key.public_key()), tuple(_warnings(file, mode)), key=key)


def load_public_key(file: Path) -> Ed25519PublicKey:
    """The public key in a file. Raises `OSError`, `KeyFileInvalid` among them."""
    text, _ = _read(file)
    try:
        key = load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileInvalid(file, _no_key(text, "public")) from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileInvalid(file, _OTHER_KIND)
    return key


def judge_with(keys: Iterable[Ed25519PublicKey]) -> Judge:
    """Judges signatures by these keys."""
    known = {fingerprint(key): key for key in keys}

    def judge(seal: Seal) -> Flaw | None:
        key = known.get(seal.signer)
        if key is None:
            return Flaw.SIGNER_UNKNOWN
        if not _SIGNATURE.match(seal.signature):
            return Flaw.SIGNATURE_FALSE
        try:
            key.verify(bytes.fromhex(seal.signature), signed_bytes(seal))
        except InvalidSignature:
            return Flaw.SIGNATURE_FALSE
        return None

    return judge


def private_pem(key: Ed25519PrivateKey) -> bytes:
    """The text of a private key's file."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: Ed25519PublicKey) -> bytes:
    """The text of a public key's file."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


# Each of them is the rest of a sentence that begins with the file and ends with a full stop.
_OTHER_KIND: Final = "the key is of another kind; seals are signed with Ed25519 ('gateway audit keygen' makes a key)"
_ENCRYPTED: Final = (
    "the key is encrypted with a passphrase, for which nobody could be asked; keep it without one, in a file that only"
    " the gateway can read"
)


def _read(file: Path) -> tuple[bytes, int]:
    with file.open("rb") as opened:
        text = opened.read(_LONGEST_FILE + 1)
        mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
    if len(text) > _LONGEST_FILE:
        raise KeyFileInvalid(file, f"this is no key, as it is longer than {_LONGEST_FILE} bytes")
    return text, mode


def _no_key(text: bytes, wanted: str) -> str:
    other = {"private": b"PUBLIC KEY-----", "public": b"PRIVATE KEY-----"}[wanted]
    if other in text:
        half = "public" if wanted == "private" else "private"
        return f"this is a {half} key, and the {wanted} one is wanted here"
    return f"this is no {wanted} key in PEM ('-----BEGIN {wanted.upper()} KEY-----')"


def _warnings(file: Path, mode: int) -> Iterable[str]:
    # A group that may read it is usual where a container is given its secrets.
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        yield f"{file}: others than its owner may use the private key (mode {mode:04o}); run 'chmod 600 {file}'."
