"""Where a credential was seen, as somebody outside tells it: texts that are bounded, and rid of secrets."""

import re
import string
from dataclasses import dataclass
from typing import Final

LONGEST_TEXT: Final = 2048  # bytes of a URL or a source in UTF-8: a hundred of each stay readable, and small in a store

# The secret half of anything shaped like a token; the id before the dot may be told.
_SECRET: Final = re.compile(r"(?<=[0-9A-Fa-f]{8}\.)[0-9A-Za-z]{16,}")
_LEAST_SECRET: Final = 8  # characters: a shorter one guards nothing, and would blot out texts that have none
_UNPRINTABLE: Final = "\ufffd"  # instead of each sign that shows nothing, or turns what is beside it
# Whoever reports an id alone may have written the secret beside it. Secrets are 48 letters and digits at random, and
# what shows nothing may stand between them.
_RUN: Final = re.compile(rf"(?:[0-9A-Za-z]{_UNPRINTABLE}*+){{32,}}")
_DIGEST: Final = re.compile(r"[0-9a-f]+")  # of a commit, say: no 32 characters of a secret are all of these
_LONGEST_NAME: Final = 40  # characters of a run without a digit, as classes and files are named: one secret in 5,000
_ENCODED: Final = 3  # times over: a URL in a parameter of a URL in a parameter of one
_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_LONGEST_READ: Final = 15_000  # characters: 2 KB, each byte of it encoded so often, and a token behind it
_LONGEST_TOKEN: Final = 500  # characters, so often encoded
_OF_TOKENS: Final = string.ascii_letters + string.digits + "%." + _UNPRINTABLE


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
    """The sighting of a token, or of an id, in which no secret is left: at most 2 KB of each text, all of it printable.

    Nor is anything left that might be one, as of an id the secret is not known: 32 letters and digits on end. What is
    all small hex digits stays, as a commit is named, and what has no digit and is shorter than a secret, as a file is.
    """
    return Sighting(_told(source, token), _told(url, token), _told(type, token))


def without_secrets(text: str) -> str:
    """The text without the secret half of anything shaped like a token."""
    return _SECRET.sub("***", text)


def _told(text: str, token: str) -> str:
    plain = _printable(text[:_LONGEST_READ])
    if len(text) > _LONGEST_READ:
        whole = _LONGEST_READ - _LONGEST_TOKEN  # behind it, a token may be cut in two, and not be known as one
        plain = plain[:whole] + plain[whole:].rstrip(_OF_TOKENS)
    shown = _masked(plain, token)
    for _ in range(_ENCODED):
        decoded = _printable(_decoded(plain))
        if decoded == plain:
            break
        plain = decoded
        if (masked := _masked(plain, token)) != plain:
            shown = masked
    return shown.encode()[:LONGEST_TEXT].decode("utf-8", "ignore")  # a sign cut in two is none


def _printable(text: str) -> str:
    """The text with every sign shown: in JSON a control character takes six times its room, half of a pair of
    surrogates cannot be written at all, and some signs make an address read as another."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else _UNPRINTABLE for sign in text)


def _decoded(text: str) -> str:
    """The text percent-decoded once (RFC 3986 2.1), in time that what is no encoding adds nothing to."""
    return _PERCENT.sub(lambda match: bytes((int(match[1], 16),)), text.encode()).decode("utf-8", "replace")


def _masked(text: str, token: str) -> str:
    secret = token.partition(".")[2]
    if len(secret) >= _LEAST_SECRET:
        text = text.replace(secret, "***")
    return without_secrets(_RUN.sub(_without_run, text))


def _without_run(match: re.Match[str]) -> str:
    run = match[0].replace(_UNPRINTABLE, "")
    is_name = len(run) < _LONGEST_NAME and not any(map(str.isdigit, run))
    return match[0] if is_name or _DIGEST.fullmatch(run) else "***"
