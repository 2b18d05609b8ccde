"""Which gateway a command is for."""

import json
import os
import pwd
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.main import application
from gateway.cli.opening import chosen, known_scopes, note_dev_schema, note_dev_store, store_options, who
from gateway.settings import load_settings
from tests.cli.conftest import SCHEMA, Typing
from tests.support.command import command, said

LIST = ["apps", "list", "--json"]


def test_exactly_one_gateway_is_chosen(local: Typing, tmp_path: Path) -> None:
    """A key would be made in another gateway than the one that was meant."""
    neither = CliRunner().invoke(application("apps"), LIST)
    both = CliRunner().invoke(application("apps"), [*LIST, "--config", str(local.config), "--data", str(tmp_path)])
    for result in (neither, both):
        assert (result.exit_code, result.stdout) == (2, "")
        assert "--config" in result.stderr
        assert "--data" in result.stderr


def test_a_gateway_beside_is_pointed_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A newcomer would start a gateway, and every command that the docs name would ask which one is meant."""
    monkeypatch.chdir(tmp_path)
    for here in (False, True):
        result = CliRunner().invoke(application("apps"), ["apps", "list"], env={"COLUMNS": "400"})
        assert result.exit_code == 2
        assert "No gateway was named. Add --config FILE (or set GATEWAY_CONFIG)" in result.stderr
        assert "Invalid value" not in result.stderr
        assert ("There is one here: --data .gateway-dev." in result.stderr) == here
        (tmp_path / ".gateway-dev").mkdir(exist_ok=True)


def test_a_directory_without_a_gateway(tmp_path: Path) -> None:
    """A mistyped directory would be answered with what only a gateway with settings needs."""
    data = tmp_path / "none"
    result = CliRunner().invoke(application("apps"), ["apps", "list", "--data", str(data)])
    assert result.exit_code == 1
    assert result.stderr == f"gateway: There is no gateway in {data}; start 'gateway dev --data {data}' first.\n"


def test_the_environment_names_a_gateway(local: Typing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever has one gateway would type its settings file every time."""
    local.app()
    monkeypatch.setenv("GATEWAY_CONFIG", str(local.config))
    result = CliRunner().invoke(application("apps"), LIST)
    assert [app["name"] for app in json.loads(result.stdout)] == ["demo"]
    other = CliRunner().invoke(application("apps"), [*LIST, "--data", str(tmp_path / "other")])
    assert json.loads(other.stdout)["error"]["reason"] == "store_unavailable"


def test_the_directory_of_a_dev_gateway(tmp_path: Path) -> None:
    """The keys of a `gateway dev` could not be listed, or its schema's scopes not be given to new ones."""
    schema = tmp_path / "mine.graphql"
    schema.write_text(SCHEMA.replace("USER_LINK", "MINE") + "enum Scope { USER_READ MINE }")
    data = tmp_path / "dev"
    data.mkdir()
    note_dev_schema(data, schema)
    made = CliRunner().invoke(
        application("apps"), ["apps", "create", "--data", str(data), "--name", "a", "--region", "in", "--json"]
    )
    app = json.loads(made.stdout)["id"]
    assert (data / "gateway.db").exists()
    key = ["keys", "create", "--data", str(data), "--app", app, "--name", "k", "--scope", "MINE", "--json"]
    assert json.loads(CliRunner().invoke(application("keys"), key).stdout)["scopes"] == ["MINE"]


def test_a_dev_gateway_with_a_store_elsewhere(tmp_path: Path) -> None:
    """The keys of a `gateway dev` with Redis would be looked for in a file that holds none."""
    note_dev_store(tmp_path, "redis://127.0.0.1:6379/2")
    assert chosen(None, tmp_path).store.url == "redis://127.0.0.1:6379/2"


def test_a_dev_gateway_without_a_note_has_the_usual_schema(tmp_path: Path) -> None:
    """The directory of an older `gateway dev` could not be used."""
    (tmp_path / "gateway.db").touch()
    settings = chosen(None, tmp_path)
    assert settings.policy.schema_file == Path.cwd() / "config" / "schema.graphql"
    assert "USER_READ" in known_scopes(settings)
    assert list(settings.regions) == ["eu", "us", "in"]


def test_passwords_come_out_of_files(config: Path, tmp_path: Path) -> None:
    """A password would have to be in the settings or in the URL, where it is shown."""
    (tmp_path / "password").write_text("hunter2\n")
    (tmp_path / "sentinels").write_text("hunter3")
    settings = load_settings(
        config,
        environ={},
        overrides={
            "store.url": "redis+sentinel://127.0.0.1:26379/primary",
            "store.username": "app",
            "store.password_file": str(tmp_path / "password"),
            "store.sentinel_password_file": str(tmp_path / "sentinels"),
            "store.timeout": 0.25,
            "store.grace": 0,
        },
    )
    options = store_options(settings)
    assert options.password is not None
    assert options.sentinel_password is not None
    assert (options.password.reveal(), options.sentinel_password.reveal()) == ("hunter2", "hunter3")
    assert (options.username, options.timeout, options.grace) == ("app", 0.25, 0)
    assert "hunter" not in repr(options)
    assert "hunter" not in repr(settings)


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (None, "cannot be read: No such file or directory."),
        (b"\xff", "store.password_file must name a file in UTF-8"),
        (b"\n", "store.password_file must name a file with a password in it"),
    ],
)
def test_a_password_file_that_cannot_be_used(local: Typing, tmp_path: Path, held: bytes | None, told: str) -> None:
    """An operator would see a stack trace instead of which file to mend, or come to Redis without the password."""
    file = tmp_path / "password"
    if held is not None:
        file.write_bytes(held)
    text = local.config.read_text().replace("sqlite:///data/store.db", "redis://127.0.0.1:1")
    local.config.write_text(text.replace("store: {", f"store: {{password_file: {file}, "))
    result = local.typed("apps", "list")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"gateway: {file}: {told}\n"


def test_the_actor_is_the_user_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sets a variable could act in somebody else's name."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    assert who().actor == f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
    assert who().source == "cli"


def test_the_user_of_the_system_may_have_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container whose user is a bare number, no key could be made."""
    monkeypatch.setattr("os.getuid", lambda: 123_456_789)
    assert who().actor == "cli:123456789"


async def test_the_store_of_a_dev_gateway_is_reached_beside_it(tmp_path: Path) -> None:
    """Whoever tries things out could not make a further key without stopping `gateway dev`."""
    schema = tmp_path / "schema.graphql"
    schema.write_text(SCHEMA)
    words = ("dev", "--schema", str(schema), "--port", "0", "--admin-port", "0", "--json")
    async with command(tmp_path, *words) as running:
        line = await running.until(lambda: running.out.read_text().partition("\n")[0])
        seeded = {key["id"] for key in json.loads(line)["keys"]}
        code, text = await said(tmp_path, "keys", "list", "--data", ".gateway-dev", "--json", name="list")
        assert code == 0
        assert {key["id"] for key in json.loads(text)} == seeded
