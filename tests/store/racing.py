"""Processes that create keys of one app at the same time, on any store: never may more than ten be active.

As a program it is one of the racers: it opens the store at a URL, says "ready", waits for the time to come as a line,
and says of each creation what became of it.

    python -m tests.store.racing URL APP_ID FIRST_ID COUNT BATCH
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.core.intake_rows import RowRefused
from gateway.core.ledger import ActRefused
from gateway.core.lifecycle import places
from gateway.core.records import MAX_ACTIVE_KEYS, KeyRecord
from gateway.core.wishes import DAY
from gateway.keys.intake import key_intake
from gateway.store.contract import Store
from gateway.store.open import open_store
from tests.store import acts
from tests.store.acts import do, look
from tests.store.place import APP, PATIENCE, listed

_ROOT: Final = Path(__file__).parents[2]

_BRIEF: Final = 500  # milliseconds until three keys and the first half of a pair end, in the midst of the race
_BATCHES: Final = (1, 1, 5, 25, 0)  # acts in one call, for each racer; the last is an import, of as many rows
_EACH: Final = 50  # creations of a racer, half of them after that end

_EXPIRING: Final = ("5a0000000000e001", "5a0000000000e002", "5a0000000000e003")
_PAIRS: Final = {"5a0000000000d001": _BRIEF, "5a0000000000d002": DAY}  # the old key of each, and how long it goes on


@dataclass(frozen=True, slots=True)
class Race:
    """What a race left: what each creation came to, and every key that the app ever had."""

    results: list[str]
    keys: list[KeyRecord]
    now: int

    def most(self) -> int:
        """The most places that were ever taken at once."""
        return max(
            places([key for key in self.keys if key.created_at <= moment], moment)
            for moment in {key.created_at for key in self.keys}
        )

    def check(self) -> None:
        """The rules were kept, and no place was lost by it."""
        assert self.most() <= MAX_ACTIVE_KEYS
        made = self.results.count("made")
        assert len(self.results) == len(_BATCHES) * _EACH
        assert self.results.count("too_many_keys") == len(self.results) - made
        assert made == MAX_ACTIVE_KEYS - len(_PAIRS)
        assert len(self.keys) == made + len(_EXPIRING) + 2 * len(_PAIRS)
        assert places(self.keys, self.now) == MAX_ACTIVE_KEYS


async def race(url: str, store: Store) -> Race:
    """200 creations in four processes, and an import in a fifth.

    It is on the store at `url`, which `store` has open and which knows no `APP`.
    """
    await do(store, acts.make_app(APP))
    async with _racers(url) as racers:
        await _keys_at_the_start(store)
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write(f"{await _end(store)}\n".encode())
        results = [line for racer in racers for line in (await _output(racer)).split()]
    return Race(results, await listed(store.keys(APP.id)), (await look(store, APP.id)).now)


async def _keys_at_the_start(store: Store) -> None:
    """Three keys that end in a moment, and two pairs in rotation."""
    await do(store, *(acts.make_key(APP.id, key_id) for key_id in _PAIRS))
    await do(
        store,
        *(acts.make_key(APP.id, key_id, lifetime=_BRIEF) for key_id in _EXPIRING),
        *(acts.rotate(APP.id, key_id, f"{key_id}f", shutdown=shutdown) for key_id, shutdown in _PAIRS.items()),
    )


async def _end(store: Store) -> int:
    """When the last of the keys that end in a moment has."""
    return max(key.expires_at for key in await listed(store.keys(APP.id)) if key.id in _EXPIRING)


@asynccontextmanager
async def _racers(url: str) -> AsyncIterator[list[Process]]:
    """Processes that are ready, and gone at the end."""
    started: list[Process] = []
    try:
        for number, batch in enumerate(_BATCHES):
            words = ("-m", __name__, url, APP.id, str(number * _EACH), str(_EACH), str(batch))
            started.append(
                await asyncio.create_subprocess_exec(sys.executable, *words, cwd=_ROOT, stdin=PIPE, stdout=PIPE)
            )
        for racer in started:
            assert racer.stdout is not None
            async with asyncio.timeout(PATIENCE):
                assert await racer.stdout.readline() == b"ready\n"
        yield started
    finally:
        for racer in started:
            if racer.returncode is None:
                racer.kill()
            await racer.communicate()


async def _output(racer: Process) -> str:
    async with asyncio.timeout(2 * PATIENCE):
        output, _ = await racer.communicate()
    assert racer.returncode == 0
    return output.decode()


async def _run(store: Store, app_id: str, wishes: list[str], batch: int) -> None:
    """Create keys, half of them at once and half after a time that is told."""
    print("ready", flush=True)  # noqa: T201
    moment = int(sys.stdin.readline())
    half = len(wishes) // 2
    await _create(store, app_id, wishes[:half], batch)
    async with asyncio.timeout(PATIENCE):
        while (await look(store, app_id)).now < moment:
            pass
    await _create(store, app_id, wishes[half:], batch)


async def _create(store: Store, app_id: str, wishes: list[str], batch: int) -> None:
    if not batch:
        await _import(store, app_id, wishes)
        return
    for start in range(0, len(wishes), batch):
        results = await store.act([acts.make_key(app_id, wish) for wish in wishes[start : start + batch]])
        for result in results:
            print(result.reason.value if isinstance(result, ActRefused) else "made", flush=True)  # noqa: T201


class _Refusals:
    """Says of each row that is refused why."""

    def refuse(self, line: int, refusal: RowRefused, columns: dict[str, str]) -> None:
        print(refusal.reason.value, flush=True)  # noqa: T201

    def advance(self, rows: int) -> None:
        """How far it has come is of no interest."""


async def _import(store: Store, app_id: str, wishes: list[str]) -> None:
    """Take the wishes in as keys that exist elsewhere, as `gateway keys import` does."""
    now = (await look(store, app_id)).now
    common = {
        "app": app_id,
        "name": "a key",
        "scopes": "USER_READ",
        "created_at": f"{now}",
        "expires_at": f"{now + DAY}",
    }
    rows = [{"id": wish, "sha256": acts.verifier_of(wish).hex(), **common} for wish in wishes]
    tally = await key_intake(store, acts.WHO, ["USER_READ"]).run(
        iter(list(enumerate(rows, start=2))), _Refusals(), dry_run=False
    )
    for _ in range(tally.taken):
        print("made", flush=True)  # noqa: T201


async def _main(url: str, app_id: str, first: int, count: int, batch: int) -> None:
    store = open_store(url, patience=PATIENCE)
    try:
        await _run(store, app_id, [f"5a{number:014x}" for number in range(first, first + count)], batch)
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])))
