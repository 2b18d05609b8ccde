"""Public keys that check the signatures of JWTs, each by the one algorithm that it is for."""

import jwt

from gateway.core.jwk import Jwk


class VerificationKey:
    """A public key, and the only algorithm that it ever checks by. Raises `ValueError` for a key that cannot be."""

    __slots__ = ("_key", "jwk")

    def __init__(self, jwk: Jwk) -> None:
        self.jwk = jwk
        try:
            self._key = jwt.PyJWK(dict(jwk.members), algorithm=jwk.algorithm)
        except jwt.PyJWTError as error:
            raise ValueError("has numbers that make no key") from error

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        """Whether the signature was made with the private half over these bytes. Never raises, whatever they are."""
        # Not by the library's decoder of tokens, which looks at each character of one that was read strictly before.
        return bool(self._key.Algorithm.verify(signed, self._key.key, signature))
