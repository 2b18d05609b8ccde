"""What may be wished for: names, scopes, lifetimes, ids and addresses. Each function gives the sentences that say what
is wrong, and none when nothing is."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from typing import Final

DAY: Final = 24 * 60 * 60 * 1000
KEY_LIFETIME: Final = 365 * DAY
USER_TOKEN_LIFETIME: Final = 7 * DAY
LONGEST_LIFETIME: Final = 366 * DAY  # "at most a year away", and a year may have a leap day
SHUTDOWN: Final = 7 * DAY
LONGEST_SHUTDOWN: Final = 30 * DAY

LONGEST_NAME: Final = 100  # code points, so that lists and logs stay readable
LONGEST_EMAIL: Final = 254  # RFC 5321 4.5.3.1.3, less the angle brackets

_USER_ID: Final = re.compile(r"[!-~]{1,128}\Z")
_EXTERNAL_ID: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,256}\Z")
# What a mail can be sent to without quoting: RFC 5322 dot-atom, and a domain of two labels or more (RFC 1123 2.1).
_EMAIL: Final = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+\Z"
)
_ENCODED_WORD: Final = re.compile(r"=\?[^?]+\?[bBqQ]\?")  # RFC 2047 2: programs read another address in it, or several
# What would break a line of a list (control characters, line and paragraph separators), cannot be written (surrogates),
# or makes a name read as another: the embeddings, overrides and isolates of the bidirectional algorithm (UAX 9, 2).
_BREAKING: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_REORDERING: Final = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


def normal_name(name: str) -> str:
    """The one way to write a name: NFC."""
    return unicodedata.normalize("NFC", name)


def normal_email(email: str) -> str:
    """The one way to write an address here: small letters, as mailboxes are told apart nowhere else."""
    return email.lower()


def name_faults(name: str) -> Iterator[str]:
    """What is wrong with a name in NFC."""
    if not 0 < len(name) <= LONGEST_NAME:
        yield f"A name has 1 to {LONGEST_NAME} characters; this one has {len(name)}."
    if any(unicodedata.category(sign) in _BREAKING or unicodedata.bidirectional(sign) in _REORDERING for sign in name):
        yield "A name has no control characters, and none that change the direction of writing."


def scope_faults(scopes: Collection[str], known: Collection[str]) -> Iterator[str]:
    """What is wrong with the scopes of a key, given all that there are."""
    if not scopes:
        yield f"A key needs at least one scope; there are {listed(known)}."
    for scope in sorted(set(scopes) - set(known)):
        yield f"There is no scope {scope!r}; there are {listed(known)}."


def lifetime_faults(lifetime: int) -> Iterable[str]:
    """What is wrong with a length of life in milliseconds."""
    return () if 0 < lifetime <= LONGEST_LIFETIME else ("The end is to lie in the future, at most 366 days away.",)


def shutdown_faults(delay: int) -> Iterable[str]:
    """What is wrong with the time, in milliseconds, that a rotated key goes on for."""
    return () if 0 <= delay <= LONGEST_SHUTDOWN else ("The shutdown time is 0 to 30 days away.",)


def region_faults(region: str, regions: Collection[str]) -> Iterable[str]:
    """What is wrong with the region of an app, given all that there are."""
    return () if region in regions else (f"There is no region {region!r}; there are {listed(regions)}.",)


def user_faults(user_id: str | None, external_id: str | None) -> Iterator[str]:
    """What is wrong with the two names of a user."""
    if user_id is not None and not _USER_ID.match(user_id):
        yield "A user id has 1 to 128 visible ASCII characters."
    if external_id is not None and not _EXTERNAL_ID.match(external_id):
        yield "An external id has 1 to 256 characters, none of them a control character."


def email_faults(email: str) -> Iterable[str]:
    """What is wrong with a developer's address."""
    good = len(email) <= LONGEST_EMAIL and _EMAIL.match(email) and not _ENCODED_WORD.search(email)
    return () if good else ("That is no e-mail address like name@example.com.",)


def listed(names: Iterable[str]) -> str:
    """Names for a sentence."""
    return ", ".join(sorted(names)) or "none"
