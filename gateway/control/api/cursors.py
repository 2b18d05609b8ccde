"""Where a list goes on, as a text that tells nothing and is good for one caller and one list only.

A place may be a number in a chain of events, which counts what happened to others too: so it is encrypted, under a key
that all processes on a store make alike, and that whoever may not read the store cannot.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Final

import orjson

from gateway.control.api.problems import Problem, invalid

Place = Sequence[str | int]

_NONCE: Final = 12
_LONGEST: Final = 2_000


class Cursors:
    """Writes and reads places. The key is made of the store's identity."""

    def __init__(self, identity: str, entropy: Callable[[int], bytes]) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - once the API is asked
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - as above
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415 - as above

        key = HKDF(SHA256(), 32, salt=None, info=b"gateway api cursors").derive(identity.encode())
        self._cipher = AESGCM(key)
        self._entropy = entropy

    def write(self, place: Place, bound: str) -> str:
        """The cursor of a place, for the list and caller that `bound` names."""
        nonce = self._entropy(_NONCE)
        sealed = nonce + self._cipher.encrypt(nonce, orjson.dumps(list(place)), bound.encode())
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def read(self, text: str, bound: str) -> list[str | int]:
        """The place of a cursor that was written for the same list and caller, else a `Problem`."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as above

        try:
            if len(text) > _LONGEST:
                raise _unknown()
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            place: list[str | int] = orjson.loads(
                self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], bound.encode())
            )
        except (binascii.Error, ValueError, InvalidTag):
            raise _unknown() from None
        return place


def _unknown() -> Problem:
    return invalid([("query/cursor", "is not a cursor of this list; start without one")])
