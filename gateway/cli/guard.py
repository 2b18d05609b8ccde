"""No command takes a token or a password as an argument: other users of the machine see it in the list of processes,
and the shell keeps it in its history."""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

# A token of ours, whatever its prefix, anywhere in an argument: nothing else looks like that. The secret may have been
# copied only in part.
_MINTED: Final = re.compile(r"(?<![A-Za-z0-9])[a-z][a-z0-9]{0,15}_[0-9a-f]{16}\.[A-Za-z0-9]{8,}")
# The secret of one alone, as a whole word or value: as random letters and digits it has some of each kind.
_SECRET: Final = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9]{48}")
# One of the older shape, `<8 to 64 hex>.<16 to 256 letters and digits>`, as a whole word or value only: names of files
# look like it, but end in a shorter extension, and a path before one (`./`) makes it no token at all.
_LEGACY: Final = re.compile(r"[0-9a-f]{8,64}\.[A-Za-z0-9]{16,256}")
_BETWEEN: Final = re.compile(r"""[\s=,;:'"]+""")
_PASSWORD: Final = re.compile(r"\A(?:[^=\s]*=)?[a-z0-9+.-]+://[^/@\s]*:[^/@\s]+@")

_SHAPED: Final = (
    "An argument looks like a token. Nothing was done. Arguments can be read in the list of processes and stay in the"
    " history of the shell, so take this token for leaked: rotate its key now (gateway keys rotate KEY_ID), or revoke"
    " it. A command wants the id of a key alone, which stands before the dot and after the prefix's _; with - in its"
    " place the token is read from standard input. If it is the name of a file, write ./ before it."
)
_IN_A_URL: Final = (
    "An argument is a URL with a password. Nothing was done. Arguments can be read in the list of processes and stay in"
    " the history of the shell, so change this password. It belongs in a file, which the setting store.password_file"
    " names."
)


def refused_argument(words: Iterable[str]) -> str | None:
    """What is wrong with the arguments as a whole, in a sentence that repeats none of them, or None."""
    for word in words:
        if looks_like_token(word):
            return _SHAPED
        if _PASSWORD.match(word):
            return _IN_A_URL
    return None


def looks_like_token(word: str) -> bool:
    """Whether a token or its secret is in the word: alone, as `--option=TOKEN`, after `Bearer`, between quotes, in the
    encoding of URLs."""
    return any(map(_holds_token, {word, unquote(word)}))


def _holds_token(text: str) -> bool:
    parts = _BETWEEN.split(text)
    return bool(_MINTED.search(text)) or any(_LEGACY.fullmatch(part) or _SECRET.fullmatch(part) for part in parts)
