"""What every store must do, whatever it keeps its data in. Each check's docstring says what would break for a user.

A store's tests make a `Place`, empty, and run each of `CHECKS` on a fresh one.
"""

from typing import Final

from tests.store import checks_acts, checks_deletion, checks_found, checks_items, checks_life, checks_lists
from tests.store.place import Check, Place

__all__ = ["CHECKS", "Check", "Place"]

CHECKS: Final[list[Check]] = [
    check
    for module in (checks_found, checks_acts, checks_deletion, checks_items, checks_life, checks_lists)
    for name, check in vars(module).items()
    if name.startswith("check_")
]
