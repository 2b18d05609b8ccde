"""The installed command as a process of its own, as an operator starts it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.vectors import ROOT

_PATIENCE = 30.0  # a cold start on a busy machine takes some seconds
_COMMAND = (sys.executable, "-m", "gateway")


@dataclass(slots=True)
class Command:
    """A running command; what it says is in two files."""

    process: asyncio.subprocess.Process
    out: Path
    err: Path

    async def until(self, found: Callable[[], Any]) -> Any:
        """What is found, as soon as it is something; the command must not have ended by then."""
        async with asyncio.timeout(_PATIENCE):
            while not (result := found()):
                assert self.process.returncode is None, self.said()
                await asyncio.sleep(0.02)
        return result

    async def event(self, name: str) -> dict[str, Any]:
        """The first event of this name in its log."""
        found = await self.until(lambda: [line for line in self.lines() if line.get("event") == name])
        return dict(found[0])

    def lines(self) -> list[dict[str, Any]]:
        """Its log so far."""
        return [json.loads(line) for line in self.err.read_text().splitlines() if line.startswith("{")]

    def said(self) -> str:
        """Everything that it said."""
        return self.out.read_text() + self.err.read_text()

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code, once it has ended."""
        async with asyncio.timeout(_PATIENCE):
            return await self.process.wait()

    async def stop(self) -> int:
        """Ask it to stop; its exit code."""
        self.signal()
        return await self.ended()


@asynccontextmanager
async def command(
    directory: Path, *words: str, environ: Mapping[str, str] | None = None, name: str = "gateway"
) -> AsyncIterator[Command]:
    """A command started in a directory, and killed at the end if it runs still."""
    out, err = directory / f"{name}.out", directory / f"{name}.err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *_COMMAND, *words, cwd=directory, env=_environ(environ), stdout=stdout, stderr=stderr
        )
    try:
        yield Command(process, out, err)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def said(
    directory: Path, *words: str, environ: Mapping[str, str] | None = None, name: str = "gateway"
) -> tuple[int, str]:
    """The exit code of a command that ends by itself, and all that it said."""
    async with command(directory, *words, environ=environ, name=name) as started:
        code = await started.ended()
        return code, started.said()


async def made(directory: Path, *words: str) -> dict[str, Any]:
    """The one object that a command prints with --json."""
    code, text = await said(directory, *words, "--json", name="made")
    assert code == 0, text
    return dict(json.loads(text))


def _environ(more: Mapping[str, str] | None) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY__")}
    return {**plain, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **(more or {})}
