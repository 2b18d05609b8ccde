"""The exit codes of the commands, as the end of each help text tells them."""

from typing import Final

FAILED: Final = 1  # a store that is away, a file that cannot be read
USAGE: Final = 2  # as typer says it
REFUSED: Final = 3
INTERRUPTED: Final = 130  # 128 and SIGINT, as shells say it
TERMINATED: Final = 143  # 128 and SIGTERM

EPILOG: Final = (
    "Exit codes: 0 done, 1 store away or a file at fault, 2 wrong usage, 3 refused, 130 interrupted, 143 terminated. No"
    " command takes a token or a password as an argument."
)
