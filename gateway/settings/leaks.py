"""Who may report leaked credentials without one of their own."""

from pathlib import Path

from pydantic import Field

from gateway.settings.issuers import KeysUrl
from gateway.settings.kinds import Section, Switch


class GitHub(Section):
    """GitHub's secret scanning, as its partner programme describes it."""

    enabled: Switch = Field(
        default=False, description="Whether `POST /leaks/github` takes reports that GitHub has signed."
    )
    keys_url: KeysUrl = Field(
        default="https://api.github.com/meta/public_keys/secret_scanning",
        description="Where the public keys are fetched from that signatures are checked with, by https.",
    )
    ca_file: Path | None = Field(
        default=None, description="Certificates (PEM) that vouch for `keys_url`, instead of the system's."
    )


class Leaks(Section):
    """Reports of leaked credentials, beside those of people."""

    github: GitHub = GitHub()
