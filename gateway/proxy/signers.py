"""The public keys with which a source signs its reports of leaks: remembered for half an hour, fetched at most once a
minute whatever is asked for."""

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.core.decision import Reason, Unavailable
from gateway.core.jwk import MAX_JWKS
from gateway.proxy.jwks_sources import Source, SourceAway

REMEMBERED: Final = 1_800_000  # milliseconds: how long a key that was withdrawn may still sign
PACE: Final = 60_000  # milliseconds between the beginnings of two fetches
_MOST_KEYS: Final = 100  # GitHub's list has a handful


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key on P-256."""

    key: EllipticCurvePublicKey

    def signed(self, signature: bytes, body: bytes) -> bool:
        """Whether the signature (DER, ECDSA with SHA-256) is the key's and of just these bytes."""
        try:
            self.key.verify(signature, body, ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


class SignerKeys:
    """The keys of one source, by identifier. `close` ends what is being fetched. Times are UTC milliseconds."""

    def __init__(self, source: Source, clock: Callable[[], int]) -> None:
        self._source = source
        self._clock = clock
        self._keys: Mapping[str, PublicKey] = {}
        self._good_at = -REMEMBERED  # when the set was asked for
        self._begun_at = -PACE
        self._trouble = "they were never fetched"
        self._fetch: asyncio.Task[None] | None = None

    async def find(self, identifier: str) -> PublicKey | None:
        """The key with this identifier, or None when the source has none.

        Raises `Unavailable` when nobody can tell: the set cannot be had, or was fetched a moment ago, and a key that
        the source has begun to use since is not in it.
        """
        key = self._present().get(identifier)
        if key is not None:
            return key
        if self._fetch is None:
            wait = self._begun_at + PACE - self._clock()
            if wait > 0:
                raise _unknown("the key is not in the set that was fetched a moment ago", wait)
            self._begun_at = self._clock()
            self._fetch = asyncio.create_task(self._fetched())
        # It goes on for the others when one of those who wait leaves: else a stranger who does would end it each time.
        await asyncio.wait({self._fetch})
        if self._good_at != self._begun_at:
            raise _unknown(self._trouble, self._begun_at + PACE - self._clock())
        return self._keys.get(identifier)

    async def close(self) -> None:
        """Return once nothing is fetched any more."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.gather(self._fetch, return_exceptions=True)

    def _present(self) -> Mapping[str, PublicKey]:
        return self._keys if self._clock() < self._good_at + REMEMBERED else {}

    async def _fetched(self) -> None:
        try:
            self._keys = keys_in(await self._source())
            self._good_at = self._begun_at
        except SourceAway as error:
            self._trouble = str(error)
        except ValueError as error:
            self._trouble = f"what was fetched {error}"
        finally:
            self._fetch = None


def keys_in(data: bytes) -> dict[str, PublicKey]:
    """The keys on P-256 in a set as GitHub publishes it. Raises `ValueError` with the end of a sentence when there are
    none."""
    if len(data) > MAX_JWKS:
        raise ValueError("is too long")
    try:
        values = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise ValueError("is no JSON") from None
    listed = values.get("public_keys") if isinstance(values, dict) else None
    listed = listed if isinstance(listed, list) else []
    keys = dict(found for each in listed[:_MOST_KEYS] if (found := _key(each)) is not None)
    if not keys:
        raise ValueError("holds no key on P-256")
    return keys


def _key(entry: Any) -> tuple[str, PublicKey] | None:
    try:
        identifier, pem = entry["key_identifier"], entry["key"]
        key = load_pem_public_key(pem.encode("ascii"))
    except (KeyError, TypeError, ValueError, AttributeError, UnsupportedAlgorithm):
        return None
    if not (isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)):
        return None
    return (identifier, PublicKey(key)) if isinstance(identifier, str) else None


def _unknown(why: str, wait: int) -> Unavailable:
    sentence = f"The signature of a leak report cannot be checked: {why}."
    return Unavailable(Reason.SIGNATURE_UNCHECKED, sentence, retry_after=max(1, math.ceil(wait / 1000)))
