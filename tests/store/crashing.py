"""A process that creates and revokes keys until it is killed, on any store; and whether what it was told is true.

    python -m tests.store.crashing URL APP_ID FIRST_ID

says of each change that was acknowledged "made" or "revoked" and the key's id, a line each, without end.
"""

import asyncio
import itertools
import sys
import time
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Final

from gateway.core.audit import AuditAction
from gateway.store.contract import Store
from gateway.store.open import open_store
from tests.store import acts
from tests.store.acts import do
from tests.store.place import APP, PATIENCE, listed, the_events

_ROOT: Final = Path(__file__).parents[2]
_ROOM: Final = 100_000  # ids between the first of one process and of the next


async def killed(url: str, number: int, lines: int, part: float) -> list[tuple[str, str]]:
    """What the `number`-th process was told before it was killed: in the change after so many `lines`, when as great a
    `part` of the time has passed that a change takes."""
    words = ("-m", __name__, url, APP.id, str(number * _ROOM))
    process = await asyncio.create_subprocess_exec(sys.executable, *words, cwd=_ROOT, stdout=PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            told = [await process.stdout.readline()]
            began = time.monotonic()
            told += [await process.stdout.readline() for _ in range(lines)]
            await asyncio.sleep(part * (time.monotonic() - began) / lines)
    finally:
        process.kill()
        rest = await process.stdout.read()
        await process.wait()
    # What it had said by then, too, but a line that was cut.
    told += [line for line in rest.splitlines(keepends=True) if line.endswith(b"\n")]
    changes = [line.decode().split() for line in told]
    assert len(changes) >= lines > 0
    return [(change, key_id) for change, key_id in changes]


async def check(store: Store, told: list[tuple[str, str]]) -> None:
    """Every change that was acknowledged is there with its event, and no event without its change."""
    keys = {key.id: key for key in await listed(store.keys())}
    events = [(each.event.action, each.event.subject_id) for each in await the_events(store)]
    made = [key_id for action, key_id in events if action is AuditAction.KEY_CREATED]
    revoked = [key_id for action, key_id in events if action is AuditAction.KEY_REVOKED]
    assert sorted(made) == sorted(keys)
    assert sorted(revoked) == sorted(key.id for key in keys.values() if key.revoked_at is not None)
    assert {key_id for change, key_id in told if change == "made"} <= set(made)
    assert {key_id for change, key_id in told if change == "revoked"} <= set(revoked)


async def _main(url: str, app_id: str, first: int) -> None:
    store = open_store(url)
    for number in itertools.count(first):
        key_id = f"5a{number:014x}"
        await do(store, acts.make_key(app_id, key_id))
        print("made", key_id, flush=True)  # noqa: T201
        await do(store, acts.revoke(app_id, key_id))
        print("revoked", key_id, flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
