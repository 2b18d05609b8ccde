"""What an operator types to take in tokens that exist elsewhere, and what is told of each row."""

import csv
import hashlib
import io
import json
import os
import pty
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.core.intake_rows import RowReason
from gateway.core.records import App
from gateway.core.times import iso_time
from gateway.core.wishes import DAY
from tests.cli.conftest import Typing
from tests.support.vectors import ROOT

TOKEN = "e5c3b842231543f.mGCUhfi0uI4J13k010V49D2GaBZ3j1E708X4a4396XNx48X3"
HEADINGS = "id,sha256,app,name,scopes,created_at,expires_at"
USER_HEADINGS = "id,sha256,app,user,external_id,created_at,expires_at"
NOW = time.time_ns() // 1_000_000


def row(number: int, app: App, scopes: str = "USER_READ", days: int = 300) -> str:
    """The row of a key."""
    digest = hashlib.sha256(number.to_bytes(8)).hexdigest()
    times = f"{iso_time(NOW - 2 * DAY)},{iso_time(NOW + days * DAY)}"
    return f"{number:08x}ab,{digest},{app.id},key {number},{scopes},{times}"


def user_row(number: int, app: App, user: str, external_id: str) -> str:
    """The row of a user token."""
    digest = hashlib.sha256(number.to_bytes(8)).hexdigest()
    return f"{number:08x}ab,{digest},{app.id},{user},{external_id},{NOW - DAY},{NOW + DAY}"


@pytest.fixture(autouse=True)
def _in_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no other name is given, refused rows are written into the working directory."""
    monkeypatch.chdir(tmp_path)


def of(*lines: str) -> str:
    """Lines as a file."""
    return "".join(f"{line}\n" for line in lines)


def bad(path: str = "bad.csv") -> list[dict[str, str]]:
    """The refused rows, as written."""
    return list(csv.DictReader(io.StringIO(Path(path).read_text())))


def test_keys_are_taken_in(gateway: Typing, app: App) -> None:
    """Clients with tokens of the system before would be locked out on the day of the move."""
    text = of(HEADINGS, row(1, app), row(2, app, "USER_LINK;USER_READ"), row(3, app, days=-1))
    Path("keys.csv").write_text(text)
    tally = gateway.told("keys", "import", "keys.csv")
    assert tally == {
        "rows": 3, "taken": 3, "known": 0, "refused": 0, "expired": 1, "unconfirmed": 0, "dry_run": False,
    }  # fmt: skip
    listed = {key["id"]: key for key in gateway.told("keys", "list", "--app", app.id)}
    assert [(key["name"], key["state"]) for key in listed.values()] == [
        ("key 1", "active"), ("key 2", "active"), ("key 3", "expired"),
    ]  # fmt: skip
    assert listed["00000002ab"]["scopes"] == ["USER_LINK", "USER_READ"]
    assert not Path("bad.csv").exists()
    again = gateway.typed("keys", "import", "-", stdin=text)
    assert (again.exit_code, again.stdout) == (0, "0 of 3 rows were taken in; 3 had been taken in before.\n")


def test_users_are_taken_in(gateway: Typing, app: App) -> None:
    """Apps in the field would lose their users on the day of the move."""
    text = of(USER_HEADINGS, user_row(1, app, "", "a"), user_row(2, app, "own-id", ""), user_row(3, app, "", "a"))
    result = gateway.typed("users", "import", "-", stdin=text)
    assert (result.exit_code, result.stdout) == (0, "3 of 3 rows were taken in.\n")
    users = gateway.told("users", "list", "--app", app.id)
    assert sorted(str(user["external_id"]) for user in users) == ["None", "a"]


def test_refused_rows_are_listed_and_the_others_kept(gateway: Typing, app: App) -> None:
    """An operator would not know which rows of a large file to mend, or hand the good ones in twice."""
    rows = [row(1, app), row(2, app, "USER_REED"), row(3, app).replace("key 3", TOKEN), "x", row(4, app)]
    result = gateway.typed("keys", "import", "-", stdin=of(HEADINGS, *rows))
    assert (result.exit_code, result.stdout) == (3, "2 of 5 rows were taken in.\n")
    *told, summary = result.stderr.splitlines()
    assert [line.split(":")[1:3] for line in told] == [
        [" line 3", " unknown_scope"], [" line 4", " holds_token"], [" line 5", " row_malformed"],
    ]  # fmt: skip
    assert summary == "gateway: 3 rows were refused; see bad.csv."
    assert [key["id"] for key in gateway.told("keys", "list", "--app", app.id)] == ["00000001ab", "00000004ab"]

    written = bad()
    assert list(written[0]) == ["line", "reason", "message", *HEADINGS.split(",")]
    assert [(one["line"], one["reason"]) for one in written] == [
        ("3", "unknown_scope"), ("4", "holds_token"), ("5", "row_malformed"),
    ]  # fmt: skip
    assert [one["id"] for one in written] == ["00000002ab", "", ""]
    assert stat.S_IMODE(Path("bad.csv").stat().st_mode) == 0o600
    for text in (Path("bad.csv").read_text(), result.output):
        assert TOKEN.partition(".")[2] not in text


def test_mended_rows_are_handed_in_again(gateway: Typing, app: App) -> None:
    """The list of refused rows could not be mended and handed in, or would be gone while it is read."""
    gateway.typed("keys", "import", "-", stdin=of(HEADINGS, row(1, app, "USER_REED"), row(2, app, "NONE")))
    mended = Path("bad.csv").read_text().replace("USER_REED", "USER_READ")
    Path("bad.csv").write_text(mended)
    result = gateway.typed("keys", "import", "bad.csv", "--json")
    assert (result.exit_code, json.loads(result.stdout)["error"]["reason"]) == (1, "file_unusable")
    assert Path("bad.csv").read_text() == mended
    result = gateway.typed("keys", "import", "bad.csv", "--bad", "still.csv")
    assert (result.exit_code, result.stdout) == (3, "1 of 2 rows were taken in.\n")
    assert [(one["line"], one["id"]) for one in bad("still.csv")] == [("3", "00000002ab")]


def test_programs_are_told_what_was_refused(gateway: Typing, app: App) -> None:
    """A script would take an import for whole of which rows are missing."""
    wanted = ("keys", "import", "-", "--bad", "elsewhere.csv", "--json")
    result = gateway.typed(*wanted, stdin=of(HEADINGS, row(1, app), row(1, app)))
    printed = json.loads(result.stdout)
    assert (result.exit_code, result.stderr, printed["taken"], printed["refused"]) == (3, "", 1, 1)
    assert printed["bad"] == "elsewhere.csv"
    assert printed["error"] == {"reason": "rows_refused", "message": "1 row was refused; see elsewhere.csv."}
    assert [one["reason"] for one in bad("elsewhere.csv")] == [RowReason.ID_TAKEN.value]


@pytest.mark.parametrize("kind", ["keys", "users"])
def test_a_dry_run_changes_nothing(gateway: Typing, app: App, kind: str) -> None:
    """An operator could not see what will become of a file without doing it."""
    rows = [row(number, app) for number in range(11)] if kind == "keys" else [user_row(1, app, "", "")]
    headings = HEADINGS if kind == "keys" else USER_HEADINGS
    result = gateway.typed(kind, "import", "-", "--dry-run", stdin=of(headings, *rows))
    assert result.exit_code == 3
    assert f"{len(rows) - 1} of {len(rows)} rows would be taken in" in result.stdout
    assert result.stderr.endswith("gateway: 1 row would be refused; see bad.csv.\n")
    assert gateway.told(kind, "list", "--app", app.id) == []


def test_many_refused_rows_do_not_flood_the_terminal(gateway: Typing, app: App) -> None:
    """An operator would see a million sentences, and not the one that says where they are."""
    result = gateway.typed("keys", "import", "-", stdin=of(HEADINGS, *["x"] * 200))
    assert len(result.stderr.splitlines()) < 20
    assert len(bad()) == 200


@pytest.mark.parametrize("text", ["", "[]", "id;sha256", f"{TOKEN}\n"])
def test_another_file_is_refused(gateway: Typing, app: App, text: str) -> None:
    """Every row of the wrong file would be refused, one by one."""
    error = gateway.refused("keys", "import", "-", stdin=text)
    assert error["reason"] == "wish_invalid"
    assert TOKEN not in error["message"]


def test_what_no_encoding_has_is_written_all_the_same(gateway: Typing, app: App) -> None:
    """Half a sign in a name would end the import with a traceback."""
    result = gateway.typed("keys", "import", "-", stdin='{"id":"x","name":"\\ud800"}\n')
    assert result.exit_code == 3
    assert bad()[0]["name"] == "\\ud800"


def test_a_file_that_is_not_there_is_told(gateway: Typing, app: App) -> None:
    """A mistyped path would look like an empty file."""
    result = gateway.typed("keys", "import", "nothing.csv")
    assert result.exit_code == 1
    assert result.stderr == "gateway: nothing.csv: cannot be read: No such file or directory.\n"


@pytest.mark.parametrize("name", ["nowhere/bad.csv", "keys.csv/bad.csv", "x" * 254, "-", "."])
def test_a_list_of_refused_rows_that_cannot_be_written_is_told_first(local: Typing, app: App, name: str) -> None:
    """An import would end in its midst, at the first row that it refuses."""
    Path("keys.csv").touch()
    result = local.typed("keys", "import", "-", "--bad", name, stdin=of(HEADINGS, row(1, app), "x"))
    assert (result.exit_code, result.stderr.startswith(f"gateway: {name}: ")) == (1, True)
    assert local.told("keys", "list") == []


def test_what_came_of_it_is_told_in_words(local: Typing, app: App) -> None:
    """An operator would not see that what was taken in opens nothing any more."""
    rows = [row(1, app, days=-1), row(2, app)]
    result = local.typed("keys", "import", "-", stdin=of(HEADINGS, *rows))
    assert result.stdout == "2 of 2 rows were taken in; 1 of them expired before, and are history.\n"


def test_a_terminal_shows_how_far_it_is(gateway: Typing, app: App) -> None:
    """Whoever waits for a million rows would not know whether anything goes on."""
    Path("keys.csv").write_text(of(HEADINGS, *(row(number, app) for number in range(5))))
    ours, theirs = pty.openpty()
    command: list[Any] = [sys.executable, "-m", "gateway", "keys", "import", "keys.csv", "--config", gateway.config]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "100"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, env=environment, check=True)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.stdout == b"5 of 5 rows were taken in.\n"
    assert "5/6" in shown
