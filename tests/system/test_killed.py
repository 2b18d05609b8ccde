"""Nothing acknowledged is lost, nothing happens without its event, whatever is killed while keys are made and ended."""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from aiohttp import ClientError, ClientSession, ClientTimeout

from gateway.core.audit import AuditAction
from gateway.core.records import RevokedWhy
from gateway.store.contract import Store
from gateway.store.open import open_store
from gateway.store.redis.founding import init
from tests.support.command import Command, command
from tests.support.echo import Echo
from tests.support.minting import an_app
from tests.support.ports import free_port
from tests.support.redis_servers import single
from tests.support.vectors import ROOT, VENDOR_SCHEMA

# 10,000 take a minute or two: GATEWAY_CHANGES=10000 pytest tests/system/test_killed.py
CHANGES: Final = int(os.environ.get("GATEWAY_CHANGES", "1000"))
KILLS: Final = 9
APPS: Final = 12

Place = tuple[str, Callable[[], Awaitable[None]] | None]  # a store's URL, and what kills its server and starts it again

SETTINGS: Final = """
listen: {{host: 127.0.0.1, port: {port}}}
admin: {{port: 0}}
policy: {{schema_file: {schema}}}
store: {{url: "{store}"}}
regions:
  eu: {{upstreams: ["{upstream}"], user_scoping: upstream}}
log: {{format: json}}
"""


class Acknowledged:
    """What was said to be done; what is ended by its holder is asked of the gateway."""

    def __init__(self) -> None:
        self.created: set[str] = set()
        self.revoked: set[str] = set()
        self.tokens: dict[str, str] = {}

    @property
    def count(self) -> int:
        return len(self.created) + len(self.revoked)

    def said(self, line: str) -> None:
        """Take a line of the program that changes keys."""
        what, key_id, *token = line.split()
        if what == "created":
            self.created.add(key_id)
            self.tokens[key_id] = token[0]
        else:
            self.revoked.add(key_id)
            self.tokens.pop(key_id, None)


class Changing:
    """The program that changes keys, which can be killed and comes back."""

    def __init__(self, url: str, apps: list[str], done: Acknowledged) -> None:
        self._words = [sys.executable, "-m", "tests.support.changing", url, *apps]
        self._done = done
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> None:
        """Start it again and again, and take what it says."""
        while True:
            process = await asyncio.create_subprocess_exec(*self._words, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
            self._process = process
            assert process.stdout is not None
            try:
                while line := await process.stdout.readline():
                    if line.endswith(b"\n"):  # what was cut off was not said
                        self._done.said(line.decode())
                assert await process.wait() == -signal.SIGKILL, "the program has failed by itself"
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    async def kill(self) -> None:
        """Kill it as it is."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()


class Serving:
    """`gateway serve`, which can be killed and comes back at the same port."""

    def __init__(self, directory: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._directory = directory
        self._current: Command | None = None

    async def run(self) -> None:
        """Start it again and again."""
        number = 0
        while True:
            number += 1
            words = ("serve", "--config", "gateway.yaml")
            async with command(self._directory, *words, name=f"gateway{number}") as self._current:
                assert await self._current.process.wait() == -signal.SIGKILL, self._current.said()

    async def kill(self) -> None:
        """Kill it as it is."""
        if self._current is not None and self._current.process.returncode is None:
            self._current.process.kill()


async def ending(url: str, done: Acknowledged) -> None:
    """End keys by themselves, through the gateway, again and again."""
    async with ClientSession(timeout=ClientTimeout(total=5)) as session:
        while True:
            await asyncio.sleep(0.01)
            if not done.tokens:
                continue
            key_id, token = random.choice(list(done.tokens.items()))  # noqa: S311 - no secret
            try:
                async with session.delete(f"{url}/keys/self", headers={"Authorization": f"Bearer {token}"}) as answer:
                    status = answer.status
            except (ClientError, TimeoutError):
                continue  # nobody knows whether it was done
            if status == 200:
                done.revoked.add(key_id)
            if status != 503:
                done.tokens.pop(key_id, None)


@asynccontextmanager
async def background(*coroutines: Awaitable[None]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Run these beside, and end them; a fault of one is a fault of the test."""
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    faults = [each for each in results if isinstance(each, Exception)]
    assert not faults, faults


async def check(store: Store, done: Acknowledged) -> None:
    """Hold records, events and what was acknowledged against each other."""
    keys = {key.id: key async for key in store.keys()}  # noqa: SIM118 - a list of the store's
    counted: Counter[tuple[AuditAction, str]] = Counter()
    for chain in await store.chains():
        numbers = []
        async for each in store.events(chain):
            numbers.append(each.number)
            counted[each.event.action, each.event.subject_id] += 1
        assert numbers == list(range(1, len(numbers) + 1))
    made = {key_id for (action, key_id) in counted if action is AuditAction.KEY_CREATED}
    ended = {key_id for (action, key_id) in counted if action is AuditAction.KEY_REVOKED}
    assert made == set(keys)
    assert ended == {key.id for key in keys.values() if key.revoked_at is not None}
    assert set(counted.values()) == {1}
    assert done.created <= made
    assert done.revoked <= ended
    assert {key.revoked_why for key in keys.values()} <= {None, RevokedWhy.REQUESTED, RevokedWhy.BY_HOLDER}


@asynccontextmanager
async def redis_store(directory: Path) -> AsyncIterator[Place]:
    """A Redis that writes to its file before it answers, and to the disk every second."""
    with single(directory / "redis", "appendonly yes", "appendfsync everysec", 'save ""') as servers:
        await init(servers.url)
        (server,) = servers.primaries

        async def killed_and_back() -> None:
            server.kill()
            await asyncio.to_thread(server.start)

        yield servers.url, killed_and_back


@asynccontextmanager
async def sqlite_store(directory: Path) -> AsyncIterator[Place]:
    """A file, which nobody can kill."""
    url = f"sqlite:///{directory / 'store.db'}"
    await open_store(url, create=True).close()
    yield url, None


@pytest.mark.parametrize("where", [sqlite_store, redis_store])
async def test_every_acknowledged_change_is_there_with_its_event_and_none_without(
    tmp_path: Path, where: Callable[[Path], AbstractAsyncContextManager[Place]]
) -> None:
    """A crash would lose a key that was just given out, revive an ended one, or hide from an auditor who did it."""
    async with AsyncExitStack() as stack:
        url, kill_server = await stack.enter_async_context(where(tmp_path))
        upstream = await stack.enter_async_context(Echo())
        port = free_port()
        text = SETTINGS.format(port=port, schema=VENDOR_SCHEMA, store=url, upstream=upstream.url)
        (tmp_path / "gateway.yaml").write_text(text)
        store = open_store(url)
        apps = [(await an_app(store)).id for _ in range(APPS)]
        await store.close()
        done = Acknowledged()
        changing, serving = Changing(url, apps, done), Serving(tmp_path, port)
        async with background(changing.run(), serving.run(), ending(serving.url, done)) as tasks:
            victims = [changing.kill, serving.kill, kill_server or changing.kill]
            for number in range(KILLS + 1):
                goal = CHANGES * (number + 1) // (KILLS + 1)
                async with asyncio.timeout(60 + CHANGES / 50):
                    while done.count < goal:
                        assert not any(task.done() for task in tasks)
                        await asyncio.sleep(0.01)
                if number < KILLS:
                    await victims[number % len(victims)]()
            await changing.kill()
        store = open_store(url)
        try:
            await check(store, done)
        finally:
            await store.close()
