"""Tokens in bytes of any kind: ours by their prefix and check digits, those of the older shape by their shape alone."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gateway.core.token import CHECK_DIGITS, IDENTIFIER_BYTES, SECRET_DIGITS, minted_id

LEGACY: Final = "legacy"
# What stands before and after a token may belong to it: so many bytes more have to be looked at to tell.
MARGIN: Final = 128

_BODY: Final = 2 * IDENTIFIER_BYTES + 1 + SECRET_DIGITS + CHECK_DIGITS
# The body is looked at and not taken, so that a token which begins within what looks like another is found too.
_MINTED: Final = "(?=[0-9a-f]{16}[.][0-9A-Za-z]{48})"
# 15 hex digits, a dot, 48 letters and digits, as a whole word. The search begins at the dot, the rarest part.
_LEGACY: Final = re.compile(rb"\.(?<=[0-9a-f]{15}\.)(?<![0-9A-Za-z][0-9a-f]{15}\.)(?=[0-9A-Za-z]{48}(?![0-9A-Za-z]))")
_LEGACY_ID: Final = 15


class Trace(NamedTuple):
    """A token in bytes: where it begins, what it is, and its id. Nothing holds the secret."""

    start: int
    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class Shapes:
    """What is looked for: tokens with these prefixes, each with the name of its kind, and those of the older shape."""

    prefixes: Mapping[str, str]
    legacy: bool = False
    _minted: tuple[tuple[str, str, bytes, re.Pattern[bytes]], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        minted = tuple(
            (prefix, kind, f"{prefix}_".encode("ascii"), re.compile(f"{prefix}_{_MINTED}".encode("ascii")))
            for prefix, kind in self.prefixes.items()
        )
        object.__setattr__(self, "_minted", minted)

    def find(self, data: bytes, start: int, end: int) -> Iterator[Trace]:
        """The tokens that begin at `start` or later and before `end`. Of what stands before and after, the data must
        hold `MARGIN` bytes, or all that there is."""
        for prefix, kind, needle, pattern in self._minted:
            # To look for a literal alone is several times as fast as any pattern, and it is nearly never there.
            first = data.find(needle, start)
            while 0 <= first < end and (match := pattern.search(data, first)) is not None and match.start() < end:
                first = match.start()
                token_id = minted_id(data[first : match.end() + _BODY], prefix)
                if token_id is not None:
                    yield Trace(first, kind, token_id)
                first += 1
        if self.legacy:
            for match in _LEGACY.finditer(data, min(start + _LEGACY_ID, len(data))):
                first = match.start() - _LEGACY_ID
                if first >= end:
                    break
                yield Trace(first, LEGACY, data[first : match.start()].decode("ascii"))
