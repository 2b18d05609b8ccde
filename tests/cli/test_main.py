"""The command as a whole."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway import __version__
from gateway.cli.main import COMMANDS, application
from gateway.cli.main import run as run_words
from gateway.keys.batches import WINDOW
from tests.cli.conftest import Typing
from tests.support.command import said
from tests.support.minting import stray

CONTRACT = {
    "apps": {"create", "list", "disable", "enable", "revoke-keys"},
    "keys": {"create", "list", "show", "rename", "rotate", "revoke", "history", "import"},
    "users": {"create", "list", "disable", "enable", "end-tokens", "import"},
    "developers": {"list", "grant", "remove"},
    "audit": {"export", "verify"},
    "store": {"init", "export", "import", "verify"},
}
ROOT = Path(__file__).parents[2]
AT_ROOT = {**os.environ, "PYTHONPATH": str(ROOT)}
LEGACY = "e5c3b842231543f.mGCUhfi0uI4J13k010V49D2GaBZ3j1E708X4a4396XNx48X3"


def test_the_version() -> None:
    """Nobody could say which version has a fault."""
    result = CliRunner().invoke(application(None), ["--version"])
    assert (result.exit_code, result.output) == (0, f"gateway {__version__}\n")


@pytest.mark.parametrize("asked", [None, "--help", "srve"])
def test_every_command_is_listed(asked: str | None) -> None:
    """A newcomer would not find out what there is."""
    result = CliRunner().invoke(application(asked), ["--help"])
    assert result.exit_code == 0
    assert all(name in result.output for name, _, _ in COMMANDS)
    assert "Exit codes:" in result.output


@pytest.mark.parametrize("name", [name for name, _, _ in COMMANDS])
def test_every_command_has_help(name: str) -> None:
    """A command would fail as soon as somebody asks for it."""
    result = CliRunner().invoke(application(name), [name, "--help"])
    assert result.exit_code == 0
    assert "Usage: " in result.output


@pytest.mark.parametrize(
    ("group", "name"), [(group, name) for group, names in CONTRACT.items() for name in sorted(names)]
)
def test_every_command_of_the_contract(group: str, name: str) -> None:
    """A script could not rely on a command, on --config, --data and --json, or on the exit codes."""
    result = CliRunner().invoke(application(group), [group, name, "--help"])
    assert result.exit_code == 0
    assert "Usage: " in result.output
    assert "Exit codes:" in result.output
    assert all(option in result.output for option in ("--config", "--data", "--json"))


def test_a_command_that_is_none() -> None:
    """A typing error would end in a stack trace."""
    result = CliRunner().invoke(application("srve"), ["srve"])
    assert result.exit_code == 2
    assert "No such command 'srve'" in result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("keys", "create"), "Missing option '--app'"),
        (("keys", "list", "--state", "lost"), "'lost' is not one of 'active'"),
        (("keys", "list", "--config", "a", "--data", "b"), "not both"),
        (("keys", "list"), "No gateway was named."),
        (("keys", "create", "--app", "a", "--name", "b", "--scope", "c", "--days", "x"), "--days"),
        (("keys", "list", "--loud"), "No such option"),
        (("keys", "lost"), "No such command 'lost'"),
        (("srve",), "No such command 'srve'"),
        (("explain",), "say who calls"),
        ((), "No such option"),
    ],
)
def test_programs_are_told_of_wrong_usage(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program would have to read a drawn box, on standard error, in place of the object that it is promised."""
    with pytest.raises(SystemExit) as ended:
        run_words([*words, "--json"])
    printed = capsys.readouterr()
    assert (ended.value.code, printed.err) == (2, "")
    error = json.loads(printed.out)["error"]
    assert error["reason"] == "usage"
    assert said in error["message"]
    assert error["message"].isprintable()


def test_people_are_told_of_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """A person would see JSON, and not how the command is used."""
    with pytest.raises(SystemExit) as ended:
        run_words(["keys", "create"])
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    assert "Usage: " in printed.err


@pytest.mark.parametrize(
    "words",
    [
        ("keys", "show", "a\udcff"),
        ("keys", "history", "\udcff"),
        ("leaks", "report", "--id", "\udcff"),
    ],
)
def test_arguments_that_are_no_text(words: tuple[str, ...], capsys: pytest.CaptureFixture[str], local: Typing) -> None:
    """A slip in another encoding would end in a stack trace."""
    local.app()
    for more in ((), ("--json",)):
        with pytest.raises(SystemExit) as ended:
            run_words([*words, "--config", str(local.config), *more])
        printed = capsys.readouterr()
        assert ended.value.code == 2
        told, quiet = (printed.out, printed.err) if more else (printed.err, printed.out)
        assert "An argument is not UTF-8" in told
        assert quiet == ""
        assert len(told.splitlines()) == 1


def test_codes_and_help_with_json(capsys: pytest.CaptureFixture[str], local: Typing) -> None:
    """With --json a refusal or a success would end with another code than without it."""
    app = local.app()
    for words, code in (
        (("apps", "list", "--config", str(local.config)), 0),
        (("keys", "show", "0123456789abcdef", "--config", str(local.config)), 3),
        (("keys", "list", "--config", str(local.config.parent / "nothing")), 1),
        (("keys", "list", "--help"), 0),
    ):
        with pytest.raises(SystemExit) as ended:
            run_words([*words, "--json"])
        assert (ended.value.code or 0) == code
    assert app.id in capsys.readouterr().out


# Secrets among the arguments ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("keys", "show"),
        ("keys", "revoke", "--config", "nothing.yaml"),
        ("explain", "--app"),
        ("serve", "--config"),
        ("nonsense",),
        (),
    ],
)
@pytest.mark.parametrize("token", [stray(), stray("other"), LEGACY], ids=["minted", "other prefix", "legacy"])
async def test_a_token_is_refused_before_anything_else(tmp_path: Path, words: tuple[str, ...], token: str) -> None:
    """A token would lie in the history of a shell with nobody told, or be printed into a log on top of it."""
    code, text = await said(tmp_path, *words, token)
    assert code == 3
    assert "An argument looks like a token." in text
    assert "rotate" in text
    assert token.partition(".")[2] not in text
    assert len(text.splitlines()) == 1
    code, text = await said(tmp_path, *words, f"--key={token}", "--json")
    assert code == 3
    assert json.loads(text)["error"]["reason"] == "secret_in_argument"
    assert token.partition(".")[2] not in text


def test_a_file_that_resembles_a_token(local: Typing) -> None:
    """Settings in a file of an unlucky name could not be used."""
    local.app()
    directory = local.config.parent
    for name in ("abcdef12.yaml", "./20261124.settingsofthegateway"):
        local.config.rename(directory / name)
        result = run(directory, "apps", "list", "--config", name, "--json")
        assert (result.returncode, result.stderr) == (0, "")
        (directory / name).rename(local.config)


# Ends of every kind ---------------------------------------------------------------------------------------------------


def run(directory: Path, *words: str, encoding: str = "utf-8") -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}
    return subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding=encoding,
        check=False,
    )


def test_an_interrupt_is_quiet(local: Typing) -> None:
    """Ctrl-C would fill the screen with a stack trace, and a script not see that it was interrupted."""
    local.app()
    words = [sys.executable, "-m", "gateway", "keys", "show", "-", "--config", str(local.config)]
    with subprocess.Popen(words, cwd=ROOT, stdin=-1, stdout=-1, stderr=-1) as process:
        try:
            until(lambda: waits_for_input(process.pid))
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=30) == (b"", b"")
            assert process.returncode == 130
        finally:
            process.kill()


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_an_interrupt_while_it_starts_is_quiet(tmp_path: Path, more: tuple[str, ...]) -> None:
    """Ctrl-C in the first moment, while the libraries are loaded, would fill the screen with a stack trace."""
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "gateway", "keys", "list", *more]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert (result.returncode, result.stderr) == (130, b"")
    assert [json.loads(result.stdout)["error"]["reason"]] if more else result.stdout == b""


@pytest.mark.parametrize(
    "words",
    [
        ("keys", "show", "-", "--config", "gateway.yaml"),
        ("explain", "--scope", "USER_READ", "--schema", "schema.graphql"),
    ],
)
def test_a_program_is_told_of_an_interrupt(local: Typing, words: tuple[str, ...]) -> None:
    """A program would read nothing where it is promised an object."""
    local.app()
    command = [sys.executable, "-m", "gateway", *words, "--json"]
    with subprocess.Popen(command, cwd=local.config.parent, env=AT_ROOT, stdin=-1, stdout=-1, stderr=-1) as process:
        try:
            until(lambda: waits_for_input(process.pid))
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
            assert (json.loads(out)["error"]["reason"], err, process.returncode) == ("interrupted", b"", 130)
        finally:
            process.kill()


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_an_interrupted_import_says_how_far_it_came(local: Typing, more: tuple[str, ...]) -> None:
    """An operator would not know whether anything of a large file is in the store, nor what to do now."""
    app = local.app()
    with importing(local, *more) as process:
        assert process.stdin is not None
        process.stdin.write(rows(app.id, 60_000))
        process.stdin.close()
        until(lambda: users_in(local) > 2_000)  # more than it has in hand at once
        process.send_signal(signal.SIGINT)
        assert (process.wait(30), process.stdout is None, process.stderr is None) == (130, False, False)
        out, err = (each.read().decode() for each in (process.stdout, process.stderr) if each)
    told = json.loads(out)["error"]["message"] if more else err
    number = re.search(r"At least ([0-9,]+) rows had been taken in; the same command goes on from there\.", told)
    assert number is not None, told
    assert 1_000 < int(number[1].replace(",", "")) <= users_in(local) < 60_000


def test_a_command_that_is_told_to_stop_cleans_up(local: Typing) -> None:
    """Each import or export that a service manager ends would leave a temporary file with what it holds."""
    directory = local.config.parent / "reports"
    directory.mkdir()
    local.app()
    with importing(local, "--bad", str(directory / "bad.csv")) as process:
        assert process.stdin is not None
        process.stdin.write(b"id,sha256,app,external_id,created_at,expires_at\n" + b"x\n" * WINDOW)
        process.stdin.flush()
        until(lambda: any(directory.iterdir()) and waits_for_input(process.pid))
        process.send_signal(signal.SIGTERM)
        assert (process.wait(30), list(directory.iterdir())) == (143, [])


@contextmanager
def importing(local: Typing, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """An import from its standard input, in a process of its own."""
    words = [sys.executable, "-m", "gateway", "users", "import", "-", "--config", str(local.config), *more]
    with subprocess.Popen(words, cwd=local.config.parent, env=AT_ROOT, stdin=-1, stdout=-1, stderr=-1) as process:
        try:
            yield process
        finally:
            process.kill()


def rows(app_id: str, count: int) -> bytes:
    """So many rows of user tokens, each of a user of its own."""
    now = time.time_ns() // 1_000_000
    times = f"{now - 1000},{now + 80_000_000}"
    lines = (f"{each:08x}ab,{each:064x},{app_id},user {each},{times}\n" for each in range(count))
    return f"id,sha256,app,external_id,created_at,expires_at\n{''.join(lines)}".encode()


def users_in(local: Typing) -> int:
    """How many users the store has."""
    with closing(sqlite3.connect(local.config.parent / "data" / "store.db")) as database:
        ((count,),) = database.execute("SELECT count(*) FROM user").fetchall()
    return int(count)


def until(found: Callable[[], bool]) -> None:
    """Return once it is found."""
    end = time.monotonic() + 30
    while not found():
        assert time.monotonic() < end
        time.sleep(0.02)


def waits_for_input(pid: int) -> bool:
    """Whether the process is in the system call that reads standard input."""
    return Path(f"/proc/{pid}/syscall").read_text().split()[:2] == ["0", "0x0"]


def test_who_reads_may_have_enough(local: Typing) -> None:
    """`gateway keys list | head -1` would end in a stack trace."""
    app = local.app()
    for _ in range(3):
        local.key(app)
    read, write = os.pipe()
    os.close(read)
    words = [sys.executable, "-m", "gateway", "keys", "list", "--config", str(local.config)]
    result = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert b"Traceback" not in result.stderr


def test_a_terminal_that_cannot_show_a_name(local: Typing) -> None:
    """One name with a sign that the terminal does not know would hide the whole list."""
    local.app("søn 🦜")
    result = run(local.config.parent, "apps", "list", "--config", str(local.config), encoding="latin-1")
    assert (result.returncode, result.stderr) == (0, "")
    assert "søn \\U0001f99c" in result.stdout


def test_serve_carries_no_tables() -> None:
    """A gateway would hold in its memory what only people at a terminal need."""
    script = "import sys; from gateway.cli.main import application; application('serve'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"gateway.cli.keys", "gateway.cli.views", "gateway.dev.page", "redis"} & set(loaded)


def test_commands_of_many_processes_at_once(local: Typing) -> None:
    """Two operators at once would give an app an eleventh key."""
    app = local.app()
    for _ in range(8):
        local.key(app)
    words = ("keys", "create", "--config", str(local.config), "--app", app.id, "--name", "k", "--scope", "USER_READ")
    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(lambda _: run(ROOT, *words, "--json"), range(4)))
    assert sorted(each.returncode for each in ended) == [0, 0, 3, 3]
    refused = [json.loads(each.stdout) for each in ended if each.returncode]
    assert {each["error"]["reason"] for each in refused} == {"too_many_keys"}
    assert len(local.told("keys", "list", "--state", "active")) == 10
