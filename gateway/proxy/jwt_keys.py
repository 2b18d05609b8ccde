"""Public keys that check the signatures of JWTs, each by the one algorithm that it is for."""

from typing import Final

import jwt

from gateway.core.jwk import Jwk

_JWS: Final = jwt.PyJWS()


class VerificationKey:
    """A public key, and the only algorithm that it ever checks by. Raises `ValueError` for a key that cannot be."""

    __slots__ = ("_key", "jwk")

    def __init__(self, jwk: Jwk) -> None:
        self.jwk = jwk
        try:
            self._key = jwt.PyJWK(dict(jwk.members), algorithm=jwk.algorithm)
        except jwt.PyJWTError as error:
            raise ValueError("has numbers that make no key") from error

    def verifies(self, token: bytes) -> bool:
        """Whether the token was signed with the private half. Never raises, whatever the token is."""
        try:
            _JWS.decode_complete(token, self._key, algorithms=[self.jwk.algorithm])
        except jwt.PyJWTError:
            return False
        return True
