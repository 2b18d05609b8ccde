"""What an operator types to make apps, keys and users, and what is printed."""

import json
import os
import pty
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from gateway.cli.create import apps, keys, users
from gateway.core.token import Kind, Prefixes, Token, parse_token

ROOT = Path(__file__).parents[2]
SCHEMA = """
schema { query: Query }
type Query { me: String @requiresScopes(scopes: [[USER_READ]]) }
"""
SETTINGS = """
store: {url: "sqlite:///data/store.db"}
policy: {schema_file: schema.graphql}
default_region: eu
regions:
  eu: {upstreams: ["http://127.0.0.1:9"], user_scoping: upstream}
  us: {upstreams: ["http://127.0.0.1:9"], user_scoping: upstream}
"""
ONCE = "The token is shown this once and kept nowhere: it will not be shown again."

gateway = typer.Typer()
gateway.add_typer(apps, name="apps")
gateway.add_typer(keys, name="keys")
gateway.add_typer(users, name="users")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A settings file beside a schema; there is no store yet."""
    (tmp_path / "schema.graphql").write_text(SCHEMA)
    file = tmp_path / "gateway.yaml"
    file.write_text(SETTINGS)
    return file


def typed(*words: str) -> Result:
    """What comes of a command."""
    return CliRunner().invoke(gateway, words)


def made(*words: str) -> dict[str, object]:
    """The object that a command prints with --json, which succeeds."""
    result = typed(*words, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    printed = json.loads(result.stdout)
    assert isinstance(printed, dict)
    return printed


@pytest.fixture
def app(config: Path) -> str:
    """The id of an app in the store."""
    return str(made("apps", "create", "--config", str(config), "--name", "demo", "--region", "eu")["id"])


def test_an_app_makes_the_store(config: Path) -> None:
    """A newcomer would be told that there is no store, and not how to get one."""
    app = made("apps", "create", "--config", str(config), "--name", "demo", "--region", "eu")
    assert app == {"id": app["id"], "name": "demo", "region": "eu"}
    with closing(sqlite3.connect(config.parent / "data" / "store.db")) as database:
        assert database.execute("SELECT id, name, region FROM app").fetchall() == [(app["id"], "demo", "eu")]
        ((actor,),) = database.execute("SELECT actor FROM audit").fetchall()
    assert actor.startswith("cli:")


def test_a_key_is_printed_for_programs(config: Path, app: str) -> None:
    """Programs that make keys would not find the members that are promised."""
    key = made(
        "keys", "create", "--config", str(config), "--app", app, "--name", "k", "--scope", "USER_READ", "--scope",
        "USER_LINK",
    )  # fmt: skip
    assert list(key) == ["id", "app", "name", "scopes", "expires_at", "token"]
    assert (key["app"], key["name"], key["scopes"]) == (app, "k", ["USER_LINK", "USER_READ"])
    assert isinstance(key["expires_at"], int)
    token = parse_token(str(key["token"]), Prefixes())
    assert isinstance(token, Token)
    assert (token.kind, token.id) == (Kind.KEY, key["id"])


def test_a_user_is_printed_for_programs(config: Path, app: str) -> None:
    """Programs that make users would not find the members that are promised."""
    command = ("users", "create", "--config", str(config), "--app", app)
    user = made(*command, "--external-id", "customer-17")
    assert list(user) == ["id", "app", "external_id", "expires_at", "token"]
    assert (user["app"], user["external_id"]) == (app, "customer-17")
    token = parse_token(str(user["token"]), Prefixes())
    assert isinstance(token, Token)
    assert token.kind is Kind.USER_TOKEN
    assert made(*command, "--external-id", "customer-17")["id"] == user["id"]
    assert made(*command, "--id", "from-upstream")["id"] == "from-upstream"


def test_a_key_is_printed_for_people(config: Path, app: str) -> None:
    """An operator would not know which line is the token, or that it is shown only once."""
    result = typed("keys", "create", "--config", str(config), "--app", app, "--name", "k", "--scope", "USER_READ")
    assert result.exit_code == 0
    title, *lines, once = result.stdout.splitlines()
    shown = dict(line.split(": ", 1) for line in lines)
    assert (title, once) == ("API key made.", ONCE)
    assert list(shown) == ["id", "app", "name", "scopes", "expires_at", "token"]
    assert shown["expires_at"].endswith(" UTC")
    assert isinstance(parse_token(shown["token"], Prefixes()), Token)


def test_what_is_not_there_is_not_printed(config: Path, app: str) -> None:
    """An operator would read `None` for a user without an external id."""
    result = typed("users", "create", "--config", str(config), "--app", app)
    assert result.exit_code == 0
    assert "external_id" not in result.stdout
    assert "None" not in result.stdout


def on_a_terminal(*words: str) -> str:
    """What a command shows on a terminal of 40 columns."""
    script = "import sys; from tests.cli.test_create import gateway;gateway(sys.argv[1:])"
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "40", "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    subprocess.run([sys.executable, "-c", script, *words], stdout=theirs, cwd=ROOT, env=environment, check=True)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    return shown


def test_a_terminal_shows_the_token_in_one_piece(config: Path, app: str) -> None:
    """A token that is broken at the edge of a narrow terminal cannot be copied, and a name could paint the screen."""
    command = ("keys", "create", "--config", str(config), "--app", app, "--scope", "USER_READ")
    shown = on_a_terminal(*command, "--name", "[red]k[/red]")
    assert "\x1b[" in shown
    assert "[red]k[/red]" in shown
    assert "will not be shown again" in " ".join(shown.split())
    lines = [line.replace("\x1b[1m", "").replace("\x1b[0m", "").strip() for line in shown.splitlines()]
    assert sum(isinstance(parse_token(line, Prefixes()), Token) for line in lines) == 1


def test_an_app_is_shown_to_people(config: Path) -> None:
    """An operator would look for a token that an app does not have, or not find the id that the next command needs."""
    command = ("apps", "create", "--config", str(config), "--name", "demo", "--region", "eu")
    title, *lines = typed(*command).stdout.splitlines()
    assert title == "App made."
    assert [line.split(": ")[0] for line in lines] == ["id", "name", "region"]
    shown = on_a_terminal(*command)
    assert "App made." in shown
    assert "token" not in shown


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        (
            ("apps", "create", "--name", "", "--region", "mars"),
            ["A name has 1 to 100 characters; this one has 0.", "There is no region 'mars'; there are eu, us."],
        ),
        (
            ("keys", "create", "--app", "nobody", "--name", "k", "--scope", "ADMIN"),
            ["There is no app with the id 'nobody'.", "There is no scope 'ADMIN'; there are "],
        ),
        (
            ("users", "create", "--app", "nobody", "--id", "a b"),
            ["There is no app with the id 'nobody'.", "A user id has 1 to 128 visible ASCII characters."],
        ),
    ],
)
def test_what_cannot_be_made_is_told(config: Path, app: str, words: tuple[str, ...], sentences: list[str]) -> None:
    """An operator would see a stack trace, or one fault at a time, or a program take it for success."""
    for extra in ((), ("--json",)):
        result = typed(*words, "--config", str(config), *extra)
        assert (result.exit_code, result.stdout) == (1, "")
        lines = result.stderr.splitlines()
        assert len(lines) == len(sentences)
        assert all(line.startswith(f"gateway: {text}") for line, text in zip(lines, sentences, strict=True))


@pytest.mark.parametrize("kind", ["keys", "users"])
def test_a_missing_store_is_told(config: Path, kind: str) -> None:
    """A mistyped path would become a second, empty store."""
    scope = ("--name", "k", "--scope", "USER_READ") if kind == "keys" else ()
    result = typed(kind, "create", "--config", str(config), "--app", "a", *scope)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "There is no store at" in result.stderr
    assert "gateway apps create" in result.stderr
    assert not (config.parent / "data").exists()


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("gateway.yaml", b"store: {}\n", "gateway.yaml"),
        ("gateway.yaml", None, "gateway.yaml"),
        ("schema.graphql", None, "schema.graphql: No such file or directory."),
        ("schema.graphql", b"\xff", "schema.graphql is not UTF-8."),
        ("schema.graphql", b"type Query {", "The schema, line 1:"),
        ("data/store.db", b"text", "is not a database."),
    ],
)
def test_broken_files_are_told(config: Path, app: str, file: str, text: bytes | None, told: str) -> None:
    """An operator would see a stack trace instead of which file to mend."""
    path = config.parent / file
    path.unlink()
    if text is not None:
        path.write_bytes(text)
    result = typed("keys", "create", "--config", str(config), "--app", app, "--name", "k", "--scope", "USER_READ")
    assert (result.exit_code, result.stdout) == (1, "")
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    "words",
    [
        ("apps", "create", "--name", "demo", "--region", "eu"),
        ("keys", "create", "--config", "c", "--app", "a", "--name", "k"),
        ("keys", "create", "--config", "c", "--app", "a", "--scope", "USER_READ"),
        ("users", "create", "--config", "c"),
        ("users", "create", "--config", "c", "--app", "a", "--token", "t"),
        ("apps",),
    ],
)
def test_wrong_usage_is_told(words: tuple[str, ...]) -> None:
    """A script with a missing option would be taken for one that failed for another reason."""
    result = typed(*words)
    assert (result.exit_code, result.stdout if words != ("apps",) else "") == (2, "")


def test_the_user_of_the_command_may_have_no_name(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container whose user is a bare number, no key could be made."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 123_456_789)
    made("apps", "create", "--config", str(config), "--name", "demo", "--region", "eu")
    with closing(sqlite3.connect(config.parent / "data" / "store.db")) as database:
        assert database.execute("SELECT actor FROM audit").fetchall() == [("cli:123456789",)]
