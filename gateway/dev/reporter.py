"""A reporter of leaks to rehearse with: it signs as GitHub's secret scanning does, with a key of its own.

Only a gateway whose settings name its keys takes its reports; `gateway dev` does.
"""

import base64
import hashlib
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from gateway.listener import QuietRunner

_HOST: Final = "127.0.0.1"
_PATH: Final = "/public_keys"
_DEV: Final = b"the reporter of gateway dev"
_LIFE: Final = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Reporter:
    """Signs reports with one key, under the identifier that its set of public keys has for it."""

    key: ec.EllipticCurvePrivateKey
    identifier: str

    def public_keys(self) -> bytes:
        """The set, as GitHub publishes its own."""
        pem = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
        return json.dumps(
            {"public_keys": [{"key_identifier": self.identifier, "key": pem, "is_current": True}]}
        ).encode()

    def report(self, records: Sequence[Mapping[str, object]]) -> tuple[bytes, dict[str, str]]:
        """The body of a report, and the headers that go with it."""
        body = json.dumps(records).encode()
        return body, self.headers(body)

    def headers(self, body: bytes) -> dict[str, str]:
        """The headers that go with these bytes."""
        signature = self.key.sign(body, ec.ECDSA(SHA256()))
        return {
            "Content-Type": "application/json",
            "Github-Public-Key-Identifier": self.identifier,
            "Github-Public-Key-Signature": base64.b64encode(signature).decode("ascii"),
        }


def reporter(seed: bytes = _DEV) -> Reporter:
    """The reporter of a seed, the same for the same one: another process can sign for a `gateway dev` that runs. The
    default one is known to everybody."""
    digest = hashlib.sha256(seed)
    key = ec.derive_private_key(int.from_bytes(digest.digest()) >> 1, ec.SECP256R1())
    return Reporter(key, digest.hexdigest())


@dataclass(frozen=True, slots=True)
class KeysServed:
    """Where the keys of a reporter are served, and the file with the certificate that vouches for it."""

    url: str
    ca_file: Path


@asynccontextmanager
async def serving_keys(signer: Reporter, directory: Path) -> AsyncIterator[KeysServed]:
    """Serve a reporter's keys by https on loopback, with a certificate made for it."""
    file, secret = directory / "reporter.pem", directory / "reporter-key.pem"
    _make_certificate(file, secret)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file, secret)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=signer.public_keys(), content_type="application/json")

    app = web.Application()
    app.router.add_get(_PATH, answer)
    runner = QuietRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, _HOST, 0, ssl_context=context)
        await site.start()
        yield KeysServed(f"https://{_HOST}:{runner.addresses[0][1]}{_PATH}", file)
    finally:
        await runner.cleanup()


def _make_certificate(file: Path, secret: Path) -> None:
    """Write a certificate for loopback, which vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway dev")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(_HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    secret.touch(mode=0o600)
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    file.write_bytes(made.public_bytes(Encoding.PEM))
