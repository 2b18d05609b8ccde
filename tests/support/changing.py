"""A program that makes and ends keys without pause, and says so of each once the store has acknowledged it.

`python -m tests.support.changing URL APP...`: lines `created ID TOKEN` and `revoked ID`, until it is killed. What the
store does not take for the moment is tried again, as somebody at a command line would.
"""

import asyncio
import random
import secrets
import sys

from gateway.core.ledger import ActReason, ActRefused, Asked, Who
from gateway.core.records import works
from gateway.core.token import Prefixes
from gateway.keys.keeper import Keeper
from gateway.store.contract import Store, StoreUnavailable
from gateway.store.open import open_store

_SCOPES = ("USER_READ",)
_PAUSE = 0.02  # while the store does not take anything


async def main(url: str, apps: list[str]) -> None:
    """Change the keys of these apps until killed."""
    store = open_store(url)
    keeper = Keeper(store, Who("tester", "test"), secrets.token_bytes, Prefixes())
    while True:
        try:
            await _change(keeper, store, random.choice(apps))  # noqa: S311 - no secret
        except StoreUnavailable:
            await asyncio.sleep(_PAUSE)


async def _change(keeper: Keeper, store: Store, app_id: str) -> None:
    try:
        made = await keeper.create_key(app_id, "a key", _SCOPES, known_scopes=_SCOPES)
        _say(f"created {made.record.id} {made.token.reveal()}")
    except ActRefused as refusal:
        if refusal.reason is not ActReason.TOO_MANY_KEYS:
            raise
        (seen,) = await store.look([Asked(app_id)])
        for key in seen.keys.values():
            if works(key, seen.now):
                done = await keeper.revoke_key(key.id)
                if done.changes or not works(key, done.at):
                    _say(f"revoked {key.id}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
