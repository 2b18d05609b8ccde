"""Acts about a user's tokens on a ledger, each looking at as much as it turns out to need."""

from collections.abc import Callable

from gateway.core.families import Unseen
from gateway.core.ledger import Asked, Changes, Snapshot
from tests.support.ledgers import Ledger


def of_user(ledger: Ledger, asked: Asked, decide: Callable[[Snapshot, Asked], Changes]) -> Changes:
    """What is done; after three looks at most, as nobody else changes the ledger."""
    for _ in range(2):
        try:
            return ledger.do(asked, lambda seen, asked=asked: decide(seen, asked))  # type: ignore[misc]
        except Unseen as unseen:
            asked = unseen.widened(asked)
    return ledger.do(asked, lambda seen: decide(seen, asked))
