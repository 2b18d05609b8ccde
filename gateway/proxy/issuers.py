"""From a JWT to what its issuer says of a user, proven by the issuer's key."""

import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.core.jwt_claims import Claimed, Issuer, claimed
from gateway.core.jwt_text import Jwt, read_jwt
from gateway.core.records import Fault
from gateway.proxy.issuer_keys import IssuerKeys
from gateway.proxy.jwks_sources import Source, from_file, from_url
from gateway.proxy.jwt_keys import VerificationKey
from gateway.settings.issuers import Issuer as IssuerSettings

Trust = Callable[[Path | None], ssl.SSLContext | None]


@dataclass(frozen=True, slots=True)
class Vouched:
    """What an issuer has said, and the name of the key that proves it."""

    said: Claimed
    key: str


class Issuers:
    """All issuers whose tokens count, with their keys."""

    def __init__(self, issuers: Iterable[tuple[Issuer, IssuerKeys]]) -> None:
        self._issuers = {issuer.name: (issuer, keys) for issuer, keys in issuers}

    @property
    def keys(self) -> list[IssuerKeys]:
        """The keys of each, to be kept fresh."""
        return [keys for _, keys in self._issuers.values()]

    async def vouched(self, token: bytes, clock: Callable[[], int]) -> Vouched | Fault:
        """What a token says that its issuer has signed, or what is wrong with it; it holds no longer than its key.

        Raises `Unavailable` when the issuer's keys are not known.
        """
        jwt = read_jwt(token)
        if isinstance(jwt, Fault):
            return jwt
        if jwt.issuer not in self._issuers:
            return Fault.ISSUER
        issuer, keys = self._issuers[jwt.issuer]
        fault = _proof_fault(jwt, await keys.find(jwt.kid))
        said = fault or claimed(jwt.claims, issuer, clock())
        if isinstance(said, Fault):
            return said
        ends_at = min(said.expires_at, keys.good_until)
        return Vouched(replace(said, expires_at=ends_at), keys.key_name(jwt.kid))

    def warnings(self) -> Iterator[str]:
        """Sentences about what is not as it should be."""
        for keys in self.keys:
            yield from keys.warnings()

    def ages(self) -> dict[str, float]:
        """How many seconds ago the keys of each were fetched."""
        return {keys.name: keys.age for keys in self.keys}


def _proof_fault(jwt: Jwt, key: VerificationKey | None) -> Fault | None:
    if key is None:
        return Fault.ISSUER_KEY
    # The key says which algorithm counts, and the token has to agree before anything is computed.
    if key.jwk.algorithm != jwt.algorithm:
        return Fault.ALGORITHM
    return None if key.verifies(jwt.signed, jwt.signature) else Fault.SIGNATURE


def issuers_of(
    settings: Mapping[str, IssuerSettings],
    clock: Callable[[], int],
    ended: Callable[[frozenset[str]], None],
    trust: Trust,
) -> Issuers:
    """The issuers that the settings name. `ended` is told of keys that no longer count, `trust` reads certificates."""
    return Issuers(
        (_rules(issuer), IssuerKeys(name, _source(issuer, trust), clock, ended)) for name, issuer in settings.items()
    )


def _rules(issuer: IssuerSettings) -> Issuer:
    return Issuer(
        name=issuer.issuer,
        apps=frozenset(issuer.apps),
        audience=issuer.audience,
        app_claim=issuer.app_claim,
        user_claim=issuer.user_claim,
        leeway=int(issuer.leeway * 1000),
    )


def _source(issuer: IssuerSettings, trust: Trust) -> Source:
    if issuer.jwks_url is not None:
        return from_url(issuer.jwks_url, trust(issuer.ca_file))
    assert issuer.jwks_file is not None  # noqa: S101 - the settings have one of the two
    return from_file(issuer.jwks_file)
