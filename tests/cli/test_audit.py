"""What an auditor types: is the audit whole, what does it tell, and with which key is it signed."""

import asyncio
import json
import secrets
import sqlite3
import stat
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import typer
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from gateway.cli.audit import audit
from gateway.control.sealer import Sealer
from gateway.core.ledger import Who
from gateway.core.records import Role
from gateway.core.token import Prefixes
from gateway.keys.keeper import Keeper
from gateway.keys.sealing import Signs
from gateway.keys.signing import load_public_key, load_signer
from gateway.store.contract import Store
from gateway.store.open import open_store
from tests.support.sealed import seal_new

SETTINGS = """
store: {{url: "sqlite:///{store}"}}
policy: {{schema_file: schema.graphql}}
default_region: eu
regions:
  eu: {{upstreams: ["http://127.0.0.1:9"], user_scoping: upstream}}
{more}
"""
EMAIL: Final = "ann.other@example.com"
EXTERNAL_ID: Final = "customer-17"
DAY: Final = 86_400_000

gateway = typer.Typer()
gateway.add_typer(audit, name="audit")


def typed(*words: str, stdin: bytes | None = None) -> Result:
    """What comes of a command."""
    return CliRunner().invoke(gateway, ["audit", *words], input=stdin)


@dataclass
class Place:
    """A store with its settings file, and a clock for it."""

    directory: Path
    now: int = 1_790_000_000_000

    @property
    def store_file(self) -> Path:
        """Where the store is."""
        return self.directory / "store.db"

    @property
    def config(self) -> str:
        """The settings file."""
        return str(self.directory / "gateway.yaml")

    def configure(self, more: str = "") -> None:
        """Write the settings file."""
        (self.directory / "schema.graphql").write_text("type Query { me: String }")
        Path(self.config).write_text(SETTINGS.format(store=self.store_file, more=more))

    def work(self, act: Callable[[Store], Awaitable[Any]]) -> Any:
        """Do something in the store."""

        async def run() -> Any:
            store = open_store(f"sqlite:///{self.store_file}", create=True, clock=lambda: self.now)
            try:
                return await act(store)
            finally:
                await store.close()

        return asyncio.run(run())

    def app(self, name: str) -> str:
        """The id of a new app, which is one event."""
        return str(self.work(lambda store: _keeper(store).create_app(name, "eu", regions=["eu"])).id)

    def seal(self, signer: Signs | None = None) -> None:
        """Seal what is there."""
        self.work(lambda store: seal_new(store, signer, self.now))

    def tampered(self, statement: str) -> None:
        """Somebody changes the file past the store."""
        with closing(sqlite3.connect(self.store_file)) as database, database:
            for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                database.execute(f"DROP TRIGGER {trigger}")
            database.execute(statement)

    def verified(self, *words: str, code: int = 0, stdin: bytes | None = None) -> dict[str, Any]:
        """What is said of the audit with --json."""
        result = typed("verify", "--config", self.config, "--json", *words, stdin=stdin)
        assert result.exit_code == code, result.output
        return dict(json.loads(result.stdout))

    def exported(self, *words: str) -> list[dict[str, Any]]:
        """The exported events."""
        result = typed("export", "--config", self.config, *words)
        assert (result.exit_code, result.stderr) == (0, "")
        return [json.loads(line) for line in result.stdout.splitlines()]


def _keeper(store: Store) -> Keeper:
    return Keeper(store, Who("cli:ann", "cli"), secrets.token_bytes, Prefixes())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A store with two events, sealed, and one that is not."""
    made = Place(tmp_path)
    made.configure()
    made.app("first")
    made.app("second")
    made.seal()
    made.app("third")
    return made


# verify ---------------------------------------------------------------------------------------------------------------


def test_a_whole_audit_is_said_to_be_whole(place: Place) -> None:
    """An auditor is not told how far the seals reach, or that signatures were not looked at."""
    result = typed("verify", "--config", place.config)

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:2] == ["The audit is whole.", "Read: 3 events under 1 seal in 1 chain."]
    assert lines[2].startswith("Not sealed yet: 1 event, the oldest made ")
    assert lines[3].startswith("Signatures were not checked: give --public-key FILE.")
    assert lines[4].startswith("Not held against the log: give --log FILE")


def test_a_program_reads_what_is_whole(place: Place) -> None:
    """A program that watches the audit does not find the members that are promised."""
    told = place.verified()

    (chain,) = told.pop("chains")
    assert told == {"whole": True, "unsealed": 1, "signatures_checked": False, "log_seals": None, "log_faults": []}
    assert chain.pop("chain").endswith("/main")
    assert chain == {
        "events": 3,
        "seals": 1,
        "signed": 0,
        "unsealed": 1,
        "unsealed_since": "2026-09-21T14:13:20.000Z",
        "fault": None,
    }


def test_a_store_in_which_nothing_happened_is_whole(tmp_path: Path) -> None:
    """Verifying a new store ends with a traceback."""
    place = Place(tmp_path)
    place.configure()
    place.work(lambda store: store.ping())

    told = place.verified()
    assert (told["whole"], told["unsealed"], told["chains"]) == (True, 0, [])
    assert typed("verify", "--config", place.config).stdout.startswith("The audit is whole.\nRead: 0 events")


def test_a_fault_is_named_with_its_place(place: Place) -> None:
    """A changed audit passes in a nightly job, or nobody can tell where to look."""
    place.tampered("UPDATE audit SET actor = 'cli:' || char(27) || '[31mbob' WHERE number = 2")

    result = typed("verify", "--config", place.config)
    told = place.verified(code=3)

    assert result.exit_code == 3
    assert "/main: One of the events 1 to 2, or their seal or the one before, was changed after " in result.stdout
    assert "(event_changed)" in result.stdout
    assert "Not sealed yet: 1 event" in result.stdout
    fault = told["chains"][0]["fault"]
    assert (told["whole"], fault["reason"], fault["first"], fault["last"]) == (False, "event_changed", 1, 2)
    assert fault["message"] in result.stdout


def test_a_store_that_is_away_is_not_called_forged(place: Place) -> None:
    """A job takes a store that cannot be read for one that was tampered with, or for a whole one."""
    place.store_file.unlink()

    result = typed("verify", "--config", place.config, "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["reason"] == "store_unavailable"


def test_signatures_are_checked_with_the_keys_that_are_given(place: Place, tmp_path: Path) -> None:
    """Somebody who may write the store but does not have the key makes seals that are believed."""
    ours, others = _key(tmp_path / "ours.pem"), _key(tmp_path / "others.pem")
    place.seal(load_signer(ours))

    good = place.verified("--public-key", f"{ours}.pub")
    both = place.verified("--public-key", f"{others}.pub", "--public-key", f"{ours}.pub")
    strange = place.verified("--public-key", f"{others}.pub", code=3)

    assert good["signatures_checked"]
    assert good == both
    assert (good["chains"][0]["seals"], good["chains"][0]["signed"]) == (2, 1)
    assert strange["chains"][0]["fault"]["reason"] == "signer_unknown"
    shown = typed("verify", "--config", place.config, "--public-key", f"{ours}.pub").stdout
    assert "Signatures checked: 1." in shown


def test_the_gateways_own_key_is_taken_when_none_is_given(place: Place, tmp_path: Path) -> None:
    """Whoever forgets an option does not see that the newest seals have no signature."""
    key = _key(tmp_path / "ours.pem")
    place.seal(load_signer(key))
    place.configure(f"audit: {{signing_key_file: {key}}}")

    assert place.verified()["signatures_checked"]
    place.app("fourth")
    place.seal(signer=None)
    fault = place.verified(code=3)["chains"][0]["fault"]
    assert (fault["reason"], fault["first"], fault["last"]) == ("signature_missing", 4, 4)


def test_a_wrong_key_file_is_not_called_forgery(place: Place, tmp_path: Path) -> None:
    """Whoever gives the private key by mistake is told that the audit was forged."""
    key = _key(tmp_path / "ours.pem")

    result = typed("verify", "--config", place.config, "--public-key", str(key))

    assert result.exit_code == 1
    assert result.stderr == f"gateway: {key}: this is a private key, and the public one is wanted here.\n"


def test_the_log_shows_what_was_cut_off(place: Place, tmp_path: Path) -> None:
    """The log has what proves that the end of the audit is gone, and nobody looks."""
    with capture_logs() as lines:
        place.work(lambda store: Sealer(store, None).turn())
    log = tmp_path / "gateway.log"
    other = {"event": "audit sealed", "chain": "an0ther/main", "last": 9, "digest": "00"}
    others = ['{"event":"request","status":200}', '{"event":"odd","path":"audit sealed"}', "audit not sealed", "\xff"]
    told = "\n".join([*others, *(json.dumps(line) for line in [*lines, *lines, other])])
    log.write_text(told)
    assert place.verified("--log", str(log))["log_seals"] == 1
    shown = typed("verify", "--config", place.config, "--log", str(log)).stdout
    assert "Held against the log: 1 seal that it tells of." in shown

    place.tampered("DELETE FROM audit WHERE number = 3")
    place.tampered("DELETE FROM seal WHERE last = 3")

    place.verified()
    fault = place.verified("--log", str(log), code=3)["chains"][0]["fault"]
    assert (fault["reason"], fault["first"]) == ("chain_rewritten", 3)
    assert place.verified("--log", "-", code=3, stdin=told.encode())["chains"][0]["fault"] == fault
    assert "--log FILE" not in typed("verify", "--config", place.config, "--log", str(log)).stdout


@pytest.mark.parametrize(
    "text", ["", '{"event":"audit sealed","chain":"an0ther/main","last":9,"digest":"00"}\n', '{"event":"request"}\n']
)
def test_a_log_without_seals_of_the_store_proves_nothing(place: Place, tmp_path: Path, text: str) -> None:
    """A log that was rotated, or is another gateway's, lets an audit pass that was emptied together with its seals."""
    log = tmp_path / "gateway.log"
    log.write_text(text)
    place.tampered("DELETE FROM audit")
    place.tampered("DELETE FROM seal")
    assert place.verified()["whole"]

    told = place.verified("--log", str(log), code=3)
    assert (told["whole"], told["log_seals"]) == (False, 0)
    (fault,) = told["log_faults"]
    assert fault["reason"] == "log_without_seals"
    result = typed("verify", "--config", place.config, "--log", str(log))
    assert result.exit_code == 3
    assert "The audit is whole." not in result.stdout
    assert f"{fault['message']} (log_without_seals)" in result.stdout


@pytest.mark.parametrize(
    "line",
    ["audit sealed, says nobody", '{"event":"audit sealed"}', '{"event":"audit sealed","chain":"', '["audit sealed"]'],
)
def test_a_seal_in_the_log_that_cannot_be_read_is_told(place: Place, tmp_path: Path, line: str) -> None:
    """Somebody spoils the lines of the log that would prove what was cut off."""
    with capture_logs() as lines:
        place.work(lambda store: Sealer(store, None).turn())
    log = tmp_path / "gateway.log"
    log.write_text("\n".join([line, *map(json.dumps, lines), line]))

    told = place.verified("--log", str(log), code=3)
    assert (told["whole"], told["log_seals"], told["chains"][0]["fault"]) == (False, 1, None)
    (fault,) = told["log_faults"]
    assert fault["reason"] == "log_unreadable"
    assert f"{log}, line 1, and in 1 other line" in fault["message"]


# export ---------------------------------------------------------------------------------------------------------------


def test_events_are_exported_a_line_each(place: Place) -> None:
    """What reads the export does not find the members that are promised."""
    events = place.exported()

    assert [event["number"] for event in events] == [1, 2, 3]
    first = events[0]
    app = first["app"]
    assert first.pop("chain").endswith("/main")
    assert first == {
        "number": 1,
        "at": "2026-09-21T14:13:20.000Z",
        "at_ms": 1_790_000_000_000,
        "action": "app.created",
        "app": app,
        "subject": app,
        "actor": "cli:ann",
        "source": "cli",
        "about": "",
    }


def test_events_are_exported_by_app_and_time(place: Place) -> None:
    """An auditor of one app is given what happened in others, or misses the first moment of a day."""
    place.now += DAY
    app = place.app("fourth")
    place.now += DAY
    place.work(lambda store: _keeper(store).switch_app(app, disabled=True))

    assert [event["action"] for event in place.exported("--app", app)] == ["app.created", "app.disabled"]
    assert place.exported("--app", "nobody") == []
    day, next_day = "2026-09-22T14:13:20Z", "2026-09-23T16:13:20+02:00"
    assert [event["number"] for event in place.exported("--since", day)] == [4, 5]
    assert [event["number"] for event in place.exported("--until", day)] == [1, 2, 3]
    assert [event["number"] for event in place.exported("--since", day, "--until", next_day)] == [4]
    assert [event["number"] for event in place.exported("--since", "2026-09-23", "--app", app)] == [5]


def test_a_time_that_is_none_is_refused(place: Place) -> None:
    """A mistyped time exports everything, or nothing."""
    result = typed("export", "--config", place.config, "--since", "yesterday")

    assert result.exit_code == 2
    assert "write 2027-03-01" in result.stderr


def test_an_exported_file_is_for_its_owner(place: Place, tmp_path: Path) -> None:
    """Everybody on the machine reads who did what, or half an export looks like a whole one."""
    file = tmp_path / "audit.jsonl"
    file.write_text("of yesterday")

    result = typed("export", "--config", place.config, "--output", str(file))

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"Exported: 3 events to {file}.\n"
    assert [json.loads(line) for line in file.read_text().splitlines()] == place.exported()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert place.exported("--output", "-") == place.exported()
    place.tampered("UPDATE audit SET action = 'key.painted' WHERE number = 3")
    assert typed("export", "--config", place.config, "--output", str(file), "--app", "nobody").exit_code == 1
    assert len(file.read_text().splitlines()) == 3
    assert [path.name for path in tmp_path.iterdir() if file.name in path.name] == [file.name]


def test_no_event_holds_what_it_must_not(place: Place) -> None:
    """An address, a customer's name elsewhere or a token leaks through the audit, which is kept for ever."""
    tokens: list[str] = []

    async def everything(store: Store) -> None:
        keeper = _keeper(store)
        app = (await keeper.create_app("shop", "eu", regions=["eu"], account="the account")).id
        key = await keeper.create_key(app, "nightly", ["USER_READ"], known_scopes=["USER_READ"])
        rotated = await keeper.rotate_key(key.record.id)
        await keeper.rename_key(rotated.record.id, "daily")
        await keeper.revoke_key(rotated.record.id)
        await keeper.revoke_keys(app)
        user = await keeper.create_user_token(app, external_id=EXTERNAL_ID)
        tokens.extend(made.token.reveal() for made in (key, rotated, user))
        for disabled in (True, False):
            await keeper.switch_user(app, user.user.id, disabled=disabled)
            await keeper.switch_app(app, disabled=disabled)
        await keeper.end_user_tokens(app, user.user.id)
        await keeper.end_app_tokens(app)
        await keeper.grant(app, EMAIL, Role.DEVELOPER)
        await keeper.remove(app, EMAIL)

    place.work(everything)
    events = place.exported()
    text = json.dumps(events, ensure_ascii=False)

    assert len({event["action"] for event in events}) == 15
    hidden = [EMAIL, EXTERNAL_ID, "nightly", "daily", *(token.partition(".")[2] for token in tokens)]
    assert [secret for secret in hidden if secret in text] == []


# keygen ---------------------------------------------------------------------------------------------------------------


def _key(file: Path) -> Path:
    result = typed("keygen", "--output", str(file))
    assert result.exit_code == 0, result.output
    return file


def test_a_key_is_made_for_the_gateway_and_for_the_auditor(tmp_path: Path) -> None:
    """Others than the gateway can read the key it signs with, or the two halves do not belong together."""
    file = tmp_path / "seals.pem"

    made = json.loads(typed("keygen", "--output", str(file), "--json").stdout)

    signer = load_signer(file)
    assert made == {
        "fingerprint": signer.fingerprint,
        "private_key_file": str(file),
        "public_key_file": f"{file}.pub",
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert signer.warnings == ()
    assert load_public_key(Path(f"{file}.pub")) == signer.public()


@pytest.mark.parametrize("name", ["seals.pem", "seals.pem.pub"])
def test_no_key_is_overwritten(tmp_path: Path, name: str) -> None:
    """A second call ends the key that all seals so far are signed with."""
    (tmp_path / name).write_text("precious")

    result = typed("keygen", "--output", str(tmp_path / "seals.pem"))

    assert result.exit_code == 1
    assert f"{tmp_path / name}: there is a file of this name" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "precious"


def test_a_key_follows_no_link(tmp_path: Path) -> None:
    """A link that somebody left where the public key goes makes a file where it points to."""
    (tmp_path / "seals.pem.pub").symlink_to(tmp_path / "elsewhere")
    assert typed("keygen", "--output", str(tmp_path / "seals.pem")).exit_code == 1
    assert not (tmp_path / "elsewhere").exists()
