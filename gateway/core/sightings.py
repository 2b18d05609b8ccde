"""Where a credential was seen, as somebody outside tells it: texts that are bounded, and rid of secrets."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

LONGEST_TEXT: Final = 2048  # bytes of a URL or a source in UTF-8: a hundred of each stay readable, and small in a store

# The secret half of anything shaped like a token; the id before the dot may be told.
_SECRET: Final = re.compile(r"(?<=[0-9a-f]{8}\.)[0-9A-Za-z]{16,}")
_LEAST_SECRET: Final = 8  # characters: a shorter one guards nothing, and would blot out texts that have none
_LONGEST_READ: Final = 24_000  # characters: what is kept at most, each sign encoded three times, and a token behind it
_ENCODED: Final = 3  # times over: a URL in a parameter of a URL in a parameter of one


@dataclass(frozen=True, slots=True)
class Sighting:
    """Where a credential was seen: never fetched, and escaped wherever it is shown. `source` and `type` are what the
    reporter calls the place and the kind of secret. `at` and `by`, when it was told and by whom, are set by the act."""

    source: str = ""
    url: str = ""
    type: str = ""
    at: int = 0
    by: str = ""


def sighting(token: str, *, source: str = "", url: str = "", type: str = "") -> Sighting:  # noqa: A002 - their word
    """The sighting of a token, or of an id, in which no secret is left, at most 2 KB of each text."""
    return Sighting(_told(source, token), _told(url, token), _told(type, token))


def without_secrets(text: str) -> str:
    """The text without the secret half of anything shaped like a token."""
    return _SECRET.sub("***", text)


def _told(text: str, token: str) -> str:
    text = plain = text[:_LONGEST_READ]
    shown = _masked(text, token)
    for _ in range(_ENCODED):
        plain = unquote(plain)
        if _masked(plain, token) != plain:
            shown = _masked(plain, token)
    # A half of a pair of surrogates, which JSON can spell, has no encoding; a sign cut in two is none.
    return shown.encode("utf-8", "replace")[:LONGEST_TEXT].decode("utf-8", "ignore")


def _masked(text: str, token: str) -> str:
    secret = token.partition(".")[2]
    if len(secret) >= _LEAST_SECRET:
        text = text.replace(secret, "***")
    return without_secrets(text)
