"""Tables in terminals of all widths."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.core.records import App
from tests.cli.conftest import Typing

ROOT = Path(__file__).parents[2]


def shown(columns: int, *words: str) -> str:
    """What a command shows on a terminal so wide, without its colours."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "dumb", "NO_COLOR": "1"}
    subprocess.run([sys.executable, "-m", "gateway", *words], stdout=theirs, cwd=ROOT, env=environment, check=True)
    os.close(theirs)
    text = os.read(ours, 65536).decode()
    os.close(ours)
    return text.replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [40, 80, 120, 200])
@pytest.mark.parametrize("words", [("keys", "list"), ("incidents", "list"), ("leaks", "list"), ("developers", "list")])
def test_ids_are_never_broken(local: Typing, app: App, columns: int, words: tuple[str, ...]) -> None:
    """An id could not be copied from the one command into the next."""
    key = local.key(app, name="a name that is long enough to be folded somewhere")
    incident = local.told("leaks", "report", "--id", key["id"], "--url", f"https://example.com/{'x' * 150}")["id"]
    person = local.told("developers", "grant", "--app", app.id, "jane@example.com")["id"]
    ids = {"keys": (key["id"], app.id), "incidents": (incident, app.id, key["id"]), "leaks": (incident, key["id"])}
    text = shown(columns, *words, "--config", str(local.config))
    assert all(each in text for each in ids.get(words[0], (person, app.id, "jane@example.com")))


def test_rows_that_do_not_fit_are_blocks_of_lines(local: Typing, app: App) -> None:
    """A row would be spread over so many lines that nobody can read it."""
    made = [local.key(app, name=name) for name in ("one", "two")]
    text = shown(60, "keys", "list", "--config", str(local.config))
    first, second = sorted(text.strip().split("\n\n"), key=lambda block: "two" in block)
    assert f"id: {made[0]['id']}\napp: {app.id}\nname: one\n" in first
    assert f"id: {made[1]['id']}\napp: {app.id}\nname: two\n" in second
    assert shown(200, "keys", "list", "--config", str(local.config)).splitlines()[0].split()[:2] == ["id", "app"]
