"""What commands print: records and lists, for programs and for people, and what went wrong."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import typer

from gateway.cli.output import Unusable, faults_told, print_array, print_list, print_record
from gateway.cli.tables import Cell
from gateway.core.ledger import ActReason, ActRefused
from gateway.core.records import App
from gateway.core.token import Prefixes, Secret, Token, parse_token
from gateway.settings import Fault, SettingsInvalid
from gateway.store.contract import StoreUnavailable
from tests.cli.conftest import Typing

ROOT = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]


# What went wrong ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "reason", "message"),
    [
        (ActRefused(ActReason.TOO_MANY_KEYS, "Ten."), 3, "too_many_keys", "Ten."),
        (StoreUnavailable("One.\nTwo."), 1, "store_unavailable", "One. Two."),
        (SettingsInvalid([Fault("a.b", "must not")]), 1, "settings_invalid", "a.b must not"),
        (Unusable("schema_invalid", ["One.", "Two."]), 1, "schema_invalid", "One. Two."),
        (FileNotFoundError(2, "No such file", "x"), 1, "file_unusable", "x: cannot be read: No such file."),
        (OSError(28, "No space left"), 1, "file_unusable", "standard output: No space left."),
        (OSError(5, "Input/output error"), 1, "file_unusable", "Input/output error."),
    ],
)
def test_faults_are_told(error: Exception, code: int, reason: str, message: str, capsys: Capture) -> None:
    """A program could not tell a refusal from a store that is away, nor a person what to do about it."""
    with pytest.raises(typer.Exit) as ended, faults_told(as_json=True):
        raise error
    printed = capsys.readouterr()
    assert (ended.value.exit_code, printed.err) == (code, "")
    assert json.loads(printed.out) == {"error": {"reason": reason, "message": message}}
    with pytest.raises(typer.Exit) as ended, faults_told(as_json=False):
        raise error
    printed = capsys.readouterr()
    assert (ended.value.exit_code, printed.out) == (code, "")
    assert printed.err.replace("gateway: ", "").split() == message.split()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_an_interrupt_is_quiet(error: BaseException, capsys: Capture) -> None:
    """Ctrl-C would fill the screen with a stack trace, or give a program nothing to read."""
    with pytest.raises(typer.Exit) as ended, faults_told(as_json=False):
        raise error
    assert ended.value.exit_code == 130
    assert capsys.readouterr() == ("", "")
    with pytest.raises(typer.Exit) as ended, faults_told(as_json=True):
        raise error
    assert ended.value.exit_code == 130
    printed = capsys.readouterr()
    assert (json.loads(printed.out), printed.err) == (
        {"error": {"reason": "interrupted", "message": "Interrupted."}},
        "",
    )


def test_a_message_cannot_paint_the_screen(capsys: Capture) -> None:
    """The name of a file or an id could hide what is said about it."""
    with pytest.raises(typer.Exit), faults_told(as_json=False):
        raise FileNotFoundError(2, "No such file", "\x1b[2Jx")
    assert "\x1b" not in capsys.readouterr().err


# Records and lists ----------------------------------------------------------------------------------------------------


def test_what_a_replica_did_not_confirm_is_told(capsys: Capture) -> None:
    """Somebody would rely on a revocation that a failover can undo."""
    print_record("Revoked.", {"id": "a"}, as_json=True, replicated=False)
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"id": "a", "replicated": False}
    assert "replica" in printed.err
    print_record("Revoked.", {"id": "a"}, as_json=False, replicated=True)
    assert capsys.readouterr() == ("Revoked.\nid: a\n", "")


def test_times_for_programs(capsys: Capture) -> None:
    """Programs would read one kind of time here and another there."""
    print_record("", {"at": 0, "made_at": 1_795_503_000_007, "end_at": None, "b": {"c_at": 1}, "n": 5}, as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "at": "1970-01-01T00:00:00.000Z",
        "made_at": "2026-11-24T06:50:00.007Z",
        "end_at": None,
        "b": {"c_at": "1970-01-01T00:00:00.001Z"},
        "n": 5,
    }


async def _numbers(count: int, *, then: Exception | None = None) -> AsyncIterator[dict[str, object]]:
    for number in range(count):
        yield {"id": number, "name": "é"}
    if then is not None:
        raise then


@pytest.mark.parametrize("count", [0, 1, 3])
def test_arrays(count: int, capsys: Capture) -> None:
    """A program could not read a list of none, of one or of many."""
    asyncio.run(print_array(_numbers(count)))
    printed = capsys.readouterr().out
    assert json.loads(printed) == [{"id": number, "name": "é"} for number in range(count)]
    assert len(printed.splitlines()) == max(count, 1)


def test_half_an_array_is_never_printed(capsys: Capture) -> None:
    """A program would get something that is no JSON when the store goes away in the middle of a list."""
    with pytest.raises(typer.Exit), faults_told(as_json=True):
        asyncio.run(print_array(_numbers(3, then=StoreUnavailable("Away."))))
    assert json.loads(capsys.readouterr().out)["error"]["reason"] == "store_unavailable"


def test_a_list_of_none_is_told(capsys: Capture) -> None:
    """An operator would take an empty answer for a command that failed."""

    def row(_: dict[str, object]) -> list[Cell]:
        return []

    asyncio.run(print_list(_numbers(0), dict, ("id",), row, none="No apps yet.", as_json=False))
    assert capsys.readouterr().out == "No apps yet.\n"


# Tokens ---------------------------------------------------------------------------------------------------------------


def on_a_terminal(*words: str) -> str:
    """What a command shows on a terminal of 40 columns."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "40", "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "gateway", *words]
    subprocess.run(command, stdout=theirs, cwd=ROOT, env=environment, check=True)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    return shown


def test_a_terminal_shows_the_token_in_one_piece(local: Typing, app: App) -> None:
    """A token that is broken at the edge of a narrow terminal cannot be copied, and a name could paint the screen."""
    command = ("keys", "create", "--config", str(local.config), "--app", app.id, "--scope", "USER_READ")
    shown = on_a_terminal(*command, "--name", "[red]k[/red]")
    assert "\x1b[" in shown
    assert "[red]k[/red]" in shown
    assert "will not be shown again" in " ".join(shown.split())
    lines = [line.replace("\x1b[1m", "").replace("\x1b[0m", "").strip() for line in shown.splitlines()]
    assert sum(isinstance(parse_token(line, Prefixes()), Token) for line in lines) == 1


def test_a_terminal_shows_in_colour_what_ends_soon(local: Typing, app: App) -> None:
    """An operator would look over a key that ends within a week."""
    local.key(app, "--days", "5", name="[b]x")
    shown = on_a_terminal("keys", "list", "--config", str(local.config))
    assert "\x1b[1;31m" in shown
    local.told("apps", "revoke-keys", app.id, "--yes")
    assert "\x1b[1;31m" not in on_a_terminal("keys", "list", "--config", str(local.config))


@pytest.mark.parametrize("as_json", [True, False])
def test_a_token_that_could_not_be_printed_is_told_of(as_json: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """A key would go on working that nobody has."""
    secret = "x" * 48
    with Path("/dev/full").open("w") as full:
        before, sys.stdout = sys.stdout, full
        try:
            with pytest.raises(typer.Exit) as ended:
                print_record("Made.", {"id": "5a01"}, as_json=as_json, token=Secret(secret))
        finally:
            sys.stdout = before
            _emptied(full.close)
    told = capfd.readouterr().err
    assert ended.value.exit_code == 1
    assert "5a01 was made" in told
    assert secret not in told


def _emptied(close: Callable[[], None]) -> None:
    """Close a file that has no room for what is still to be written."""
    try:
        close()
    except OSError:
        return
