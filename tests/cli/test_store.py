"""What an operator types to make a store, save it, bring it back and look whether it is whole."""

import json
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.main import application
from gateway.core.ledger import Act, Asked, Changes
from gateway.core.records import App, KeyRecord
from gateway.store.contract import Store
from tests.cli.conftest import Typing
from tests.store.acts import do

IDENTITY = 32


@pytest.fixture(autouse=True)
def _in_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the files of these tests are."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def other(tmp_path: Path, config: Path) -> Typing:
    """Commands for another gateway, the store of which is in SQLite and not there yet."""
    file = tmp_path / "other.yaml"
    file.write_text(config.read_text().replace("data/store.db", "data/other.db"))
    return Typing(file)


# Made -----------------------------------------------------------------------------------------------------------------


def test_a_store_is_made_once(local: Typing) -> None:
    """An operator could not make a store before its first app, or would get a second one in its place."""
    made = local.told("store", "init")
    assert len(made["identity"]) == IDENTITY
    assert made["made_now"] is True
    assert local.told("store", "init") == {"identity": made["identity"], "made_now": False}
    assert local.typed("store", "init").stdout.splitlines()[0] == "The store was made before."
    assert local.told("apps", "list") == []


def test_a_store_in_redis_is_made_once(gateway: Typing) -> None:
    """A second `init` would put another store in the place of the one that gateways remember."""
    first, second = gateway.told("store", "init"), gateway.told("store", "init")
    assert (first["identity"], second["made_now"]) == (second["identity"], False)
    app = gateway.app()
    assert gateway.told("store", "init")["identity"] == first["identity"]
    assert [each["id"] for each in gateway.told("apps", "list")] == [app.id]


def test_what_is_no_store_is_not_made_one(local: Typing, config: Path) -> None:
    """A damaged store would be replaced by an empty one, which knows no key."""
    path = config.parent / "data" / "store.db"
    path.parent.mkdir()
    path.write_bytes(b"something else entirely, of some length")
    result = local.typed("store", "init", "--json")
    assert (result.exit_code, json.loads(result.stdout)["error"]["reason"]) == (1, "store_unavailable")
    assert path.read_bytes() == b"something else entirely, of some length"


# Saved and brought back -----------------------------------------------------------------------------------------------


def test_a_store_is_saved_and_brought_back(other: Typing, gateway: Typing, app: App) -> None:
    """After the loss of a store every key would have to be made anew."""
    key = gateway.key(app)
    gateway.told("developers", "grant", "ada@example.com", "--app", app.id, "--role", "developer")
    user = gateway.told("users", "create", "--app", app.id, "--external-id", "customer 17")
    told = gateway.told("store", "export", "backup.jsonl")
    assert (told["app"], told["key"], told["user"], told["user_token"], told["developer"]) == (1, 1, 1, 1, 1)
    file = Path("backup.jsonl")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for token in (key["token"], user["token"]):
        assert token.partition(".")[2] not in file.read_text()

    checked = other.told("store", "verify", "backup.jsonl")
    assert {name: checked[name] for name in ("app", "key", "sha256")} == {
        "app": 1, "key": 1, "sha256": told["sha256"],
    }  # fmt: skip
    other.told("store", "init")
    brought = other.told("store", "import", "backup.jsonl")
    assert (brought["conflicts"], brought["sha256"]) == (0, told["sha256"])
    assert other.told("keys", "list") == gateway.told("keys", "list")
    assert other.told("developers", "list") == gateway.told("developers", "list")
    assert other.told("users", "list") == gateway.told("users", "list")
    assert other.typed("audit", "verify").exit_code == 0
    assert other.typed("store", "verify").stdout.splitlines()[0] == "The records of the store belong together."


def test_a_store_that_is_not_empty_is_merged_into_when_asked(gateway: Typing, app: App) -> None:
    """A file would be poured into a store by mistake, or an old backup revive a key that was revoked."""
    key = gateway.key(app)
    gateway.told("store", "export", "backup.jsonl")
    gateway.told("keys", "revoke", key["id"])
    assert gateway.refused("store", "import", "backup.jsonl")["reason"] == "store_not_empty"
    assert gateway.told("store", "import", "backup.jsonl", "--merge")["changed"] == 0
    assert gateway.told("keys", "show", key["id"])["state"] == "revoked"


def test_what_could_not_be_merged_is_told(gateway: Typing, app: App) -> None:
    """A script would take a merge for whole of which records are missing."""
    gateway.told("developers", "grant", "ada@example.com", "--app", app.id, "--role", "developer")
    gateway.told("store", "export", "backup.jsonl")
    gateway.told("developers", "remove", "ada@example.com", "--app", app.id)
    result = gateway.typed("store", "import", "backup.jsonl", "--merge")
    assert (result.exit_code, result.stdout) == (3, "")
    line, summary = result.stderr.splitlines()
    assert line.startswith("gateway: Line ")
    assert "was not given" in line
    assert summary == "gateway: Records not merged, or not wholly: 1."
    result = gateway.typed("store", "import", "backup.jsonl", "--merge", "--json")
    printed = json.loads(result.stdout)
    assert (result.exit_code, printed["conflicts"], printed["error"]["reason"]) == (3, 1, "not_merged")
    assert len(printed["faults"]) == 1
    assert "ada@example.com" not in result.stdout


def test_no_merge_enables_what_is_disabled_here(gateway: Typing, app: App) -> None:
    """A backup from when an app was enabled, some switches later, would let it through again."""
    for _ in range(2):
        gateway.told("apps", "disable", app.id)
        gateway.told("apps", "enable", app.id)
    gateway.told("store", "export", "backup.jsonl")

    async def disable(store: Store) -> None:
        disabled = App(app.id, app.name, app.region, switches=1)  # as by a store that has seen fewer switches
        await do(store, Act(Asked(app.id), lambda _: Changes(app=disabled)))

    gateway.in_store(disable)
    assert gateway.told("store", "import", "backup.jsonl", "--merge")["changed"] == 1
    assert [each["disabled"] for each in gateway.told("apps", "list")] == [True]
    assert gateway.told("store", "import", "backup.jsonl", "--merge")["changed"] == 0


def test_what_the_settings_do_not_name_is_told(other: Typing, local: Typing, app: App) -> None:
    """Keys of another gateway would open nothing here, or an app's requests fail, and nobody know why."""
    local.key(app)
    local.told("store", "export", "backup.jsonl")
    other.told("store", "init")
    assert other.told("store", "import", "backup.jsonl")["warnings"] == []

    strange = tuple(
        KeyRecord(f"{app.id[:2]}{number:014x}", app.id, "k", frozenset({"OLD", "USER_LINK"}), number.to_bytes(32), 0, 1)
        for number in range(2)
    )

    async def add(store: Store) -> None:
        asked = Asked(app.id, keys=tuple(key.id for key in strange))
        await do(store, Act(asked, lambda _: Changes(app=replace(app, region="mars"), keys=strange)))

    local.in_store(add)
    local.told("store", "export", "backup.jsonl")
    into = Typing(other.config.with_name("third.yaml"))
    into.config.write_text(other.config.read_text().replace("other.db", "third.db"))
    into.told("store", "init")
    result = into.typed("store", "import", "backup.jsonl")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "Store imported.")
    assert result.stderr.splitlines() == [
        "gateway: Keys of the file have the scope 'OLD', which the schema does not name: it opens nothing.",
        "gateway: Apps of the file live in the region 'mars', which the settings do not name: they are not served.",
    ]
    assert into.told("keys", "list") == local.told("keys", "list")
    warnings = into.told("store", "import", "backup.jsonl", "--merge")["warnings"]
    assert [f"gateway: {sentence}" for sentence in warnings] == result.stderr.splitlines()

    Path("schema.graphql").unlink()  # which must not keep a backup from being brought back
    scopes, _ = into.told("store", "import", "backup.jsonl", "--merge")["warnings"]
    assert "cannot be read" in scopes


# Looked through -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["verify", "import"])
def test_a_file_that_is_not_good_is_not_used(gateway: Typing, app: App, command: str) -> None:
    """Half of a damaged backup would be in the store before the fault is found."""
    gateway.key(app)
    gateway.told("store", "export", "backup.jsonl")
    before = gateway.told("keys", "list")
    file = Path("backup.jsonl")
    file.write_text(file.read_text().replace('"name":"k"', '"name":"x"'))
    words = ("store", command, "backup.jsonl", *(("--merge",) if command == "import" else ()))
    result = gateway.typed(*words)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "was changed, or damaged" in result.stderr
    printed = json.loads(gateway.typed(*words, "--json").stdout)
    assert printed["error"]["reason"] == "export_faulty"
    assert gateway.told("keys", "list") == before


def test_a_file_is_looked_through_without_a_store(gateway: Typing, app: App) -> None:
    """Nobody could see whether a backup is good on the machine where it lies."""
    gateway.told("store", "export", "backup.jsonl")
    result = CliRunner().invoke(application("store"), ["store", "verify", "backup.jsonl"])
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "The file is whole.")


def test_a_store_that_is_not_whole_is_told(local: Typing, app: App) -> None:
    """Damage in a store would be noticed only by those whom it locks out."""
    stray = KeyRecord(f"{app.id[:2]}00000000000001", app.id, "k", frozenset({"X"}), bytes(32), 0, 1, successor="f" * 16)

    async def damage(store: Store) -> None:
        act = Act(Asked(app.id, keys=(stray.id,)), lambda _: Changes(keys=(stray,)))
        await do(store, act)

    local.in_store(damage)
    result = local.typed("store", "verify")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.splitlines() == [
        f"gateway: key {stray.id}: What it belongs to is not there.",
        "gateway: What does not belong together: 1.",
    ]
    printed = json.loads(local.typed("store", "verify", "--json").stdout)
    assert printed["error"]["reason"] == "store_faulty"


@pytest.mark.parametrize("at", [(1 << 63) - 1, -(1 << 63)])
def test_a_record_with_an_impossible_time_is_listed_and_named(local: Typing, app: App, at: int) -> None:
    """One damaged record would end every list with a traceback, and nobody find it."""
    key = local.key(app)
    local.told("users", "create", "--app", app.id, "--id", "someone")
    with closing(sqlite3.connect(local.config.parent / "data" / "store.db")) as database, database:
        database.execute("UPDATE api_key SET created_at = 0, expires_at = ?", (at,))
        database.execute("UPDATE user SET cut_at = ?", (at,))
        database.execute("DROP TRIGGER audit_keeps_its_words")  # as whoever damages the file would
        database.execute("UPDATE audit SET at = ?", (at,))
    shown = "9999-12-31T23:59:59.999Z" if at > 0 else "1970-01-01T00:00:00.000Z"
    assert [each["expires_at"] for each in local.told("keys", "list")] == [shown]
    (user,) = local.told("users", "list", "--app", app.id)
    assert (user["deleted"], user["tokens_ended_at"]) == ((True, None) if at > 0 else (False, shown))
    for words in (("keys", "list"), ("keys", "show", key["id"]), ("users", "list"), ("audit", "verify")):
        assert local.typed(*words).exit_code == 0
    events = [json.loads(line) for line in local.typed("audit", "export").stdout.splitlines()]
    assert {(each["at"], each["at_ms"]) for each in events} == {(shown, at)}
    told = local.typed("store", "verify")
    assert told.exit_code == 3
    for name in (f"key {key['id']}: Its expires_at", "user someone: Its cut_at", "event ", "main: Its at"):
        assert any(name in line and "not within the years" in line for line in told.stderr.splitlines())


@pytest.mark.parametrize("words", [("verify", "nothing"), ("import", "nothing"), ("export", "nowhere/backup")])
def test_a_file_that_cannot_be_used_is_told(local: Typing, app: App, words: tuple[str, ...]) -> None:
    """An operator would see a traceback in place of the name of the file."""
    result = local.typed("store", *words)
    assert result.exit_code == 1
    assert result.stderr.startswith("gateway: ")
    assert "No such file" in result.stderr
