"""Measures stores with a million keys and five million user tokens: `python bench/store.py [--scale 0.02]`.

Each store is filled by `gateway keys import` and by acts, and then asked for random ids in rounds, by turns with one of
the same kind that holds 1,000 of each. README.md says how to read it.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import redis
from figures import Figure, Goal, figure, ratio
from filling import Filling
from process import BenchError, Launch, free_ports, running
from servers import REPOSITORY, required, which

from gateway.store.contract import Store, StoreUnavailable
from gateway.store.open import open_store
from gateway.store.redis.address import RedisOptions

APPS = 100_000
SMALL = Filling(apps=100, tokens=10)

_MILLION = 1_000_000
_PATIENCE = 10.0  # seconds for one answer, so that something else on the machine does not end the bench
_SETTINGS = """
store: {{url: "{url}", timeout: {patience}}}
policy: {{schema_file: {schema}}}
default_region: eu
regions: {{eu: {{upstreams: ["http://127.0.0.1:9"], user_scoping: upstream}}}}
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of store, and what is expected of it."""

    name: str
    lookup: float  # times what a look-up among 1,000 takes
    token_bytes: int


SQLITE = Kind("SQLite", lookup=2, token_bytes=150)
REDIS = Kind("Redis", lookup=1.2, token_bytes=250)
KINDS = {"sqlite": SQLITE, "redis": REDIS}


@dataclass(frozen=True, slots=True)
class Site:
    """Where a store is, and how many bytes its data takes."""

    url: str
    size: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table."""

    store: str
    what: str
    figure: Figure
    digits: int = 0
    goal: Goal | None = None

    @property
    def verdict(self) -> str:
        """Whether the goal is met."""
        if self.goal is None:
            return ""
        return "met" if self.goal.met(self.figure) else "missed"


def main() -> int:
    """Runs the bench; 0 when every goal is met, 1 when one is missed, 2 when there is nothing to trust."""
    options = _options()
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {1})  # Redis has the first core
    try:
        results = [result for name in options.stores for result in _measured(KINDS[name], options)]
    except (BenchError, StoreUnavailable) as error:
        print(error, file=sys.stderr)
        return 2
    print(_as_json(results, options.scale) if options.json else _table(results))
    missed = any(result.verdict == "missed" for result in results)
    return 1 if missed and not options.no_goals else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/store.py", description=__doc__)
    parser.add_argument("--scale", type=float, default=1, help="a part of all records, to see it run, not to quote (1)")
    parser.add_argument("--stores", nargs="+", choices=list(KINDS), default=list(KINDS), help="these kinds only")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of look-ups that count (20)")
    parser.add_argument("--lookups", type=int, default=2000, help="look-ups of each kind and round (2000)")
    parser.add_argument("--directory", type=Path, help="where the stores are made: room for 2 GB (a temporary one)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("--no-goals", action="store_true", help="exit 0 though a goal is missed")
    return parser.parse_args()


# The stores -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _site(kind: Kind, directory: Path) -> Iterator[Site]:
    """A place for a store, empty."""
    directory.mkdir()
    if kind is SQLITE:
        yield Site(f"sqlite:///{directory / 'store.db'}", lambda: _file_size(directory / "store.db"))
        return
    (port,) = free_ports(1)
    binary = required(which("redis-server"), "redis-server")
    settings = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction")
    command = [binary, "--port", str(port), *settings, "--dir", str(directory)]
    with running(Launch("Redis", command, 0, port, directory, directory / "redis.out")):
        yield Site(f"redis://127.0.0.1:{port}", lambda: _used_memory(port))


def _file_size(file: Path) -> int:
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return file.stat().st_size


def _used_memory(port: int) -> int:
    with redis.Redis(port=port) as client:
        return int(client.info("memory")["used_memory"])


def _command(site: Site, directory: Path, *words: str) -> dict[str, object]:
    """What a command of the gateway prints."""
    settings = directory / "gateway.yaml"
    settings.write_text(
        _SETTINGS.format(url=site.url, patience=_PATIENCE, schema=REPOSITORY / "config" / "schema.graphql")
    )
    command = [sys.executable, "-m", "gateway", *words, "--config", str(settings), "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=REPOSITORY)
    if done.returncode != 0:
        raise BenchError(f"gateway {' '.join(words)} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    said: dict[str, object] = json.loads(done.stdout)
    return said


# What is measured -----------------------------------------------------------------------------------------------------


def _measured(kind: Kind, options: argparse.Namespace) -> list[Result]:
    large = Filling(apps=max(SMALL.apps, round(APPS * options.scale)))
    with tempfile.TemporaryDirectory(prefix="gateway-bench-", dir=options.directory) as name:
        directory = Path(name)
        with _site(kind, directory / "small") as site, _site(kind, directory / "large") as other:
            filled = _filled(kind, site, directory / "small", SMALL)
            filled = _filled(kind, other, directory / "large", large)
            return [*filled, *asyncio.run(_look_ups(kind, (other.url, large), (site.url, SMALL), options))]


def _filled(kind: Kind, site: Site, directory: Path, filling: Filling) -> list[Result]:
    _command(site, directory, "store", "init")
    _in(site, filling.make_apps)
    rows = directory / "keys.csv"
    count = filling.write_rows(rows)
    empty, began = site.size(), time.monotonic()
    _say(f"{kind.name}: importing {count:,} keys")
    said = _command(site, directory, "keys", "import", str(rows))
    seconds = time.monotonic() - began
    if said["taken"] != count:
        raise BenchError(f"Of {count} keys {said['taken']} were taken in.")
    keys = site.size()
    _say(f"{kind.name}: {count:,} keys in {seconds:.0f} s; making {filling.apps * filling.users:,} users")
    _in(site, filling.make_users)
    users, tokens = site.size(), filling.apps * filling.tokens
    _say(f"{kind.name}: making {tokens:,} user tokens")
    _in(site, filling.make_tokens)
    return [
        _one(kind, "seconds to import a million keys", seconds * _MILLION / count, 1, Goal("<=", 120)),
        _one(kind, "bytes a user token", (site.size() - users) / tokens, 1, Goal("<=", kind.token_bytes)),
        _one(kind, "bytes a user", (users - keys) / (filling.apps * filling.users), 1),
        _one(kind, "bytes a key, with the event of its import", (keys - empty) / count, 1),
    ]


async def _look_ups(
    kind: Kind, large: tuple[str, Filling], small: tuple[str, Filling], options: argparse.Namespace
) -> list[Result]:
    stores = _opened(large[0]), _opened(small[0])
    chance = random.Random(1)
    try:
        results = []
        for what in ("key", "user token"):
            p50s: tuple[list[float], list[float]] = [], []
            for _ in range(options.rounds + 1):  # the first warms up
                for store, filling, found in zip(stores, (large[1], small[1]), p50s, strict=True):
                    ids = [_an_id(what, filling, chance) for _ in range(options.lookups)]
                    found.append(await _p50(store.find_key if what == "key" else store.find_user_token, ids))
            ours, theirs = figure(p50s[0][1:]), figure(p50s[1][1:])
            results += [
                Result(kind.name, f"µs to look up a {what}, p50", ours, 1),
                Result(kind.name, f"µs to look up a {what}, p50, among 1,000", theirs, 1),
                Result(kind.name, f"the one by the other, {what}", ratio(ours, theirs), 2, Goal("<=", kind.lookup)),
            ]
        return results
    finally:
        for store in stores:
            await store.close()


def _an_id(what: str, filling: Filling, chance: random.Random) -> str:
    if what == "key":
        return filling.key(chance.randrange(filling.apps * filling.keys))
    return filling.token(chance.randrange(filling.apps * filling.tokens))


async def _p50(find: Callable[[str], Awaitable[object]], ids: list[str]) -> float:
    """Half of the look-ups of these ids take no longer, in microseconds."""
    times = []
    for each in ids:
        began = time.perf_counter_ns()
        found = await find(each)
        times.append(time.perf_counter_ns() - began)
        if found is None:
            raise BenchError(f"The store does not find {each}, with which it was filled.")
    return sorted(times)[len(times) // 2] / 1000


def _opened(url: str) -> Store:
    return open_store(url, redis=RedisOptions(timeout=_PATIENCE))


def _in(site: Site, work: Callable[[Store], Awaitable[None]]) -> None:
    async def run() -> None:
        store = _opened(site.url)
        try:
            await work(store)
        finally:
            await store.close()

    asyncio.run(run())


def _one(kind: Kind, what: str, value: float, digits: int, goal: Goal | None = None) -> Result:
    return Result(kind.name, what, figure([value]), digits, goal)


# What is told ---------------------------------------------------------------------------------------------------------


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def _table(results: list[Result]) -> str:
    lines = [["store", "what", "figure", "goal", ""], ["---"] * 5]
    lines += [
        [one.store, one.what, one.figure.text(one.digits), one.goal.text() if one.goal else "", one.verdict]
        for one in results
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    cells = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _as_json(results: list[Result], scale: float) -> str:
    return json.dumps(
        {
            "scale": scale,
            "results": [
                {
                    "store": one.store,
                    "what": one.what,
                    "median": one.figure.median,
                    "values": list(one.figure.values),
                    "goal": None if one.goal is None else {"compare": one.goal.compare, "bound": one.goal.bound},
                    "met": None if one.goal is None else one.goal.met(one.figure),
                }
                for one in results
            ],
        }
    )


if __name__ == "__main__":
    sys.exit(main())
