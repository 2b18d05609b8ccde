"""The exit codes of the commands, as the end of each help text tells them."""

from collections.abc import Mapping
from typing import Final

FAILED: Final = 1  # a store that is away, a file that cannot be read
USAGE: Final = 2  # as typer says it
REFUSED: Final = 3
INTERRUPTED: Final = 130  # 128 and SIGINT, as shells say it
TERMINATED: Final = 143  # 128 and SIGTERM

EPILOG: Final = (
    "Exit codes: 0 done, 1 failed (store away, file or settings at fault), 2 wrong usage, 3 refused, 130 interrupted,"
    " 143 terminated. No command takes a token or a password as an argument."
)
# Of commands whose codes mean something of their own.
EPILOGS: Final[Mapping[str, str]] = {
    "dev": "Exit codes: 0 stopped, 1 cannot start, or a file at fault, 2 wrong usage.",
    "serve": "Exit codes: 0 stopped, 1 cannot start, or a file or a setting at fault, 2 wrong usage.",
    "mock": "Exit codes: 0 stopped, 1 cannot start, or a file at fault, 2 wrong usage.",
    "scan": (
        "Exit codes: 0 none found, 1 found, or a file at fault, 2 wrong usage, 130 interrupted, 143 terminated.\n\n"
        "Every file is searched, whatever is in it, but archives and what git keeps of the past are compressed, and not"
        " opened: for the latter 'git log -p --all | gateway scan -'. Symbolic links are not followed."
    ),
    "explain": (
        "Exit codes: 0 allowed, 1 failed (schema, document or variables at fault), 2 wrong usage, 3 refused, 130"
        " interrupted, 143 terminated."
    ),
}
