"""The search for secrets: whatever a test did, no token may lie anywhere afterwards."""

from collections.abc import Iterable
from pathlib import Path

# Where tokens lie on purpose: what `gateway dev` keeps to show again, and what commands print once.
ALLOWED = ("credentials.json", "gateway.out", "made.out")


class Sweep:
    """Directories and the secrets that were used in them."""

    def __init__(self) -> None:
        self._places: list[Path] = []
        self._secrets: set[str] = set()

    def add(self, place: Path, tokens: Iterable[str]) -> None:
        """Search this directory for these tokens, and authentication codes, in the end."""
        self._places.append(place)
        self._secrets.update(token.partition(".")[2] or token[24:] for token in tokens)

    def found(self) -> list[str]:
        """Every file that holds the secret half of a token."""
        files = [file for place in self._places for file in place.rglob("*") if file.is_file()]
        return [
            f"{file.name}: ...{secret[-6:]}"
            for file in files
            if file.name not in ALLOWED
            for secret in self._secrets
            if secret.encode() in file.read_bytes()
        ]

    @property
    def used(self) -> bool:
        """Whether there is anything to search for, and somewhere."""
        return bool(self._places and self._secrets)
