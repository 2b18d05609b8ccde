"""Other issuers whose tokens (JWT) count for users: whose, for which apps, and where their public keys are."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field, model_validator

from gateway.settings.kinds import HOST_NAME, AppIds, IssuerName, Section, Word

_URL: Final = re.compile(rf"https://(?:{HOST_NAME}|\[[0-9a-f:.]+\])(?::([0-9]{{1,5}}))?(?:/[!-~]*)?", re.IGNORECASE)
# What every token needs in its own meaning (RFC 7519 4.1), and so cannot name an app or a user.
_OTHERWISE_USED: Final = frozenset({"iss", "aud", "exp", "nbf", "iat"})


def _jwks_url(text: str) -> str:
    match = _URL.fullmatch(text)
    if match is None or not 0 < int(match[1] or 1) < 65536 or "#" in text:
        # Whoever can change the keys on their way can be any user.
        raise ValueError("must be https://host/path, without user or password; keys are never fetched in the clear")
    return text


def _claim(name: str) -> str:
    if name in _OTHERWISE_USED:
        raise ValueError(f"must not be {name}, which says something else in every token")
    return name


KeysUrl = Annotated[str, AfterValidator(_jwks_url)]
_Claim = Annotated[Word, AfterValidator(_claim)]


class Issuer(Section):
    """Who issues user tokens (JWT) of its own. The name is how logs and metrics call it."""

    issuer: Word = Field(description="What its tokens say in `iss`, character for character.")
    apps: AppIds = Field(description="The ids of the apps that it may speak for; of no other can it name a user.")
    audience: Word = Field(description="What its tokens must say, or have in their list, in `aud`.")
    jwks_file: Path | None = Field(default=None, description="A file with its public keys (JWK set, RFC 7517).")
    jwks_url: KeysUrl | None = Field(
        default=None, description="Where its public keys are fetched from instead, by https."
    )
    ca_file: Path | None = Field(
        default=None, description="Certificates (PEM) that vouch for `jwks_url`, instead of the system's."
    )
    app_claim: _Claim = Field(default="app_id", description="The claim that holds the id of the app.")
    user_claim: _Claim = Field(default="sub", description="The claim that holds the id of the user.")
    # Machines that keep time at all are a second apart; beyond five minutes a clock is wrong, not late.
    leeway: Annotated[float, Field(strict=True, ge=0, le=300, allow_inf_nan=False)] = Field(
        default=60.0, description="How far its clock may be from ours, in seconds, at most 300."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Issuer":
        faults = {
            "must have one of jwks_file and jwks_url": (self.jwks_file is None) == (self.jwks_url is None),
            "ca_file is for jwks_url": self.ca_file is not None and self.jwks_url is None,
            "app_claim and user_claim must differ": self.app_claim == self.user_claim,
        }
        if any(faults.values()):
            raise ValueError("; ".join(sentence for sentence, wrong in faults.items() if wrong))
        return self


def _apart(issuers: Mapping[str, Issuer]) -> Mapping[str, Issuer]:
    names = [issuer.issuer for issuer in issuers.values()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"must not hold the same issuer twice: {', '.join(twice)}")
    return issuers


Issuers = Annotated[Mapping[IssuerName, Issuer], AfterValidator(_apart)]
