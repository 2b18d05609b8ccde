"""What is asked for on a terminal: the app's name before much is ended, and a token that nobody sees."""

import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.core.records import App
from tests.cli.conftest import Typing

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Terminal:
    """A command at a terminal: what is typed and what is shown there."""

    process: subprocess.Popen[bytes]
    keyboard: int

    def until(self, text: str) -> str:
        """What is shown, once it holds the text."""
        shown = ""
        while text not in shown:
            ready, _, _ = select.select([self.keyboard], [], [], PATIENCE)
            assert ready, shown
            shown += os.read(self.keyboard, 4096).decode()
        return shown

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self.keyboard, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C, as often as people do: one that comes just before the command waits is seen with the next."""
        for _ in range(10):
            self.type("\x03")
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE / 10)
                return

    def ended(self) -> tuple[int, str]:
        """The exit code, and what is shown until then."""
        shown = b""
        with suppress(OSError):  # the terminal is gone with the command
            while select.select([self.keyboard], [], [], PATIENCE)[0]:
                shown += os.read(self.keyboard, 4096)
        return self.process.wait(PATIENCE), shown.decode()


def _own_terminal() -> None:
    """Let Ctrl-C be for this process: a session's terminal is the first that its leader opens."""
    os.close(os.open(os.ttyname(0), os.O_RDWR))


@contextmanager
def at_terminal(local: Typing, *words: str) -> Iterator[Terminal]:
    """A command that a person starts."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "gateway", *words, "--config", str(local.config)]
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        start_new_session=True,
        preexec_fn=_own_terminal,  # noqa: PLW1509 - no threads here
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.parametrize("act", [("apps", "revoke-keys"), ("users", "end-tokens", "--all", "--app")])
def test_the_name_of_the_app_is_asked_for(local: Typing, app: App, act: tuple[str, ...]) -> None:
    """One slip of a person would end everything that an app has."""
    local.key(app)
    with at_terminal(local, *act, app.id) as terminal:
        terminal.until("Type the app's name to go on: ")
        terminal.type("other\n")
        code, shown = terminal.ended()
        assert code == 3
        assert "nothing was done" in shown
    with at_terminal(local, *act, app.id) as terminal:
        terminal.until("Type the app's name to go on: ")
        terminal.type("\n")
        assert terminal.ended()[0] == 3
    with at_terminal(local, *act, app.id) as terminal:
        terminal.until("Type the app's name to go on: ")
        terminal.interrupt()
        assert terminal.ended()[0] == 130
    assert local.told("keys", "list")[0]["state"] == "active"
    assert local.told("apps", "list")[0]["tokens_ended_at"] is None
    with at_terminal(local, *act, app.id) as terminal:
        terminal.until("Type the app's name to go on: ")
        terminal.type("demo\n")
        assert terminal.ended()[0] == 0
    ended = local.told("keys", "list")[0]["state"] == "revoked", local.told("apps", "list")[0]["tokens_ended_at"]
    assert any(ended)


def test_a_token_is_typed_unseen(local: Typing, app: App) -> None:
    """Whoever looks over the shoulder, or records the terminal, would have the token."""
    key = local.key(app)
    with at_terminal(local, "keys", "revoke", "-") as terminal:
        shown = terminal.until("Token: ")
        terminal.type(f"{key['token']}\n")
        code, rest = terminal.ended()
    assert code == 0
    assert "API key revoked." in rest
    assert key["token"] not in shown + rest
