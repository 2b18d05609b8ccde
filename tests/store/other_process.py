"""Another process on the same store: does as it is told on standard input, a line a command, and answers each.

python -m tests.store.other_process PATH
"""

import asyncio
import sqlite3
import sys
from pathlib import Path

from gateway.core.records import App
from gateway.store.contract import Store
from gateway.store.open import open_store
from tests.store import acts
from tests.store.acts import do


async def obey(store: Store, path: Path, command: str, word: str) -> str:
    """Do one thing and say what came of it."""
    match command:
        case "disable" | "enable":
            (done,) = await do(store, acts.switch_app(word, disabled=command == "disable"))
            return str(bool(done.changes))
        case "create":
            await do(store, acts.make_app(App(word, "made elsewhere", "eu")))
            return "made"
        case "checkpoint":
            with sqlite3.connect(path) as database:
                ((blocked, _, _),) = database.execute(f"PRAGMA wal_checkpoint({word})").fetchall()
            database.close()
            return "blocked" if blocked else "checkpointed"
    return "what?"


def say(answer: str) -> None:
    """One line to whoever commands."""
    sys.stdout.write(f"{answer}\n")
    sys.stdout.flush()


async def main(path: Path) -> None:
    """Obey until standard input ends."""
    store = open_store(f"sqlite:///{path}", create=True)
    try:
        say("ready")
        for line in sys.stdin:
            say(await obey(store, path, *line.split()))
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
