"""What an operator types to make, list, rotate and end keys, and what is printed."""

import json
import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.core.records import App, KeyRecord
from gateway.core.token import Kind, Prefixes, Token, parse_token
from gateway.core.wishes import DAY
from gateway.store.contract import REQUESTS
from tests.cli.conftest import Typing, to_redis
from tests.support.minting import id_of, keep, stray
from tests.support.redis_servers import FORGETFUL, Servers, single, with_replica

ONCE = "The token is shown this once and kept nowhere: it will not be shown again."
MEMBERS = [
    "id",
    "app",
    "name",
    "scopes",
    "state",
    "created_at",
    "expires_at",
    "last_used_at",
    "shutdown_at",
    "revoked_at",
    "revoked_why",
    "successor",
    "created_by",
]


def ended(gateway: Typing, app: App) -> str:
    """The id of a key that expired a day ago."""
    now = time.time_ns() // 1_000_000
    key_id = app.id[:2] + "00000000000001"
    record = KeyRecord(key_id, app.id, "old", frozenset({"USER_READ"}), bytes(32), now - 9 * DAY, now - DAY)
    gateway.in_store(lambda store: keep(store, app, record))
    return key_id


def seconds(time_told: str) -> float:
    """Seconds since 1970 of a time in JSON."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time_told)
    return datetime.fromisoformat(time_told).timestamp()


# Made -----------------------------------------------------------------------------------------------------------------


def test_a_key_is_printed_for_programs(gateway: Typing, app: App) -> None:
    """Programs that make keys would not find the members that are promised."""
    key = gateway.key(app, "--scope", "USER_LINK,USER_DELETE")
    assert list(key) == [*MEMBERS, "token"]
    scopes = ["USER_DELETE", "USER_LINK", "USER_READ"]
    assert (key["app"], key["name"], key["scopes"], key["state"]) == (app.id, "k", scopes, "active")
    assert key["created_by"].startswith("cli:")
    assert seconds(key["expires_at"]) - seconds(key["created_at"]) == 365 * 86_400
    token = parse_token(str(key["token"]), Prefixes())
    assert isinstance(token, Token)
    assert (token.kind, token.id) == (Kind.KEY, key["id"])


def test_a_key_is_printed_for_people(gateway: Typing, app: App) -> None:
    """An operator would not know which line is the token, or that it is shown only once."""
    result = gateway.typed("keys", "create", "--app", app.id, "--name", "k", "--scope", "USER_READ", "--days", "12")
    assert result.exit_code == 0
    title, *lines, once = result.stdout.splitlines()
    shown = dict(line.split(": ", 1) for line in lines)
    assert (title, once) == ("API key made.", ONCE)
    assert list(shown) == [
        "id", "app", "name", "scopes", "state", "created_at", "expires_at", "created_by", "token",
    ]  # fmt: skip
    assert shown["expires_at"].endswith(" UTC, in 12 days")
    assert isinstance(parse_token(shown["token"], Prefixes()), Token)


def test_the_end_of_a_key_is_chosen(gateway: Typing, app: App) -> None:
    """A key for a short task would live for a year, or end at another moment than was asked for."""
    assert gateway.key(app, "--expires", "2027-03-01")["expires_at"] == "2027-03-01T00:00:00.000Z"
    at = gateway.key(app, "--expires-at", "2027-03-01T12:30:00.5+02:00")["expires_at"]
    assert at == "2027-03-01T10:30:00.500Z"
    short = gateway.key(app, "--days", "1")
    assert seconds(short["expires_at"]) - seconds(short["created_at"]) == 86_400


@pytest.mark.parametrize(
    "end",
    [("--days", "0"), ("--days", "367"), ("--days=-1",), ("--expires", "2020-01-01"), ("--expires", "9999-01-01")],
)
def test_ends_that_cannot_be(gateway: Typing, app: App, end: tuple[str, ...]) -> None:
    """A key would outlive the year that it may have, or be dead when it is made."""
    error = gateway.refused("keys", "create", "--app", app.id, "--name", "k", "--scope", "USER_READ", *end)
    assert error == {
        "reason": "wish_invalid",
        "message": "The end is to lie in the future, at most 366 days away.",
    }
    assert gateway.told("keys", "list") == []


def test_what_cannot_be_made_is_told_whole(gateway: Typing, app: App) -> None:
    """An operator would see one fault at a time."""
    error = gateway.refused("keys", "create", "--app", app.id, "--name", "", "--scope", "ADMIN", "--days", "0")
    assert error["reason"] == "wish_invalid"
    for part in ("A name has 1 to 100 characters", "There is no scope 'ADMIN'; there are ", "366 days"):
        assert part in error["message"]


def test_the_eleventh_key(gateway: Typing, app: App) -> None:
    """An app would have more keys than its people can look after, or a script not learn why it got none."""
    for _ in range(10):
        gateway.key(app)
    error = gateway.refused("keys", "create", "--app", app.id, "--name", "k", "--scope", "USER_READ")
    assert error["reason"] == "too_many_keys"


# Listed ---------------------------------------------------------------------------------------------------------------


def test_keys_are_listed_with_their_states(gateway: Typing, app: App) -> None:
    """A program would not see which keys of an app still work, or miss those that ended."""
    expired = ended(gateway, app)
    active, revoked, rotating = (gateway.key(app)["id"] for _ in range(3))
    gateway.told("keys", "revoke", revoked)
    successor = gateway.told("keys", "rotate", rotating)["id"]
    other = gateway.key(gateway.app("other"))["id"]
    states = {
        expired: "expired",
        active: "active",
        revoked: "revoked",
        rotating: "rotating",
        successor: "active",
    }
    listed = gateway.told("keys", "list", "--app", app.id)
    assert all(list(key) == MEMBERS for key in listed)
    assert {key["id"]: key["state"] for key in listed} == states
    assert {key["id"]: key["state"] for key in gateway.told("keys", "list")} == states | {other: "active"}
    some = gateway.told("keys", "list", "--app", app.id, "--state", "revoked", "--state", "rotating")
    assert {key["id"] for key in some} == {revoked, rotating}
    for key in listed:
        assert gateway.told("keys", "show", key["id"]) == key


def test_keys_are_listed_for_people(gateway: Typing, app: App) -> None:
    """An operator would not see at a glance which key ends when."""
    expired = ended(gateway, app)
    soon = gateway.key(app, "--days", "12", name="søn [b]x")["id"]
    heading, first, second = gateway.typed("keys", "list", "--app", app.id).stdout.splitlines()
    assert heading.split() == ["id", "app", "name", "scopes", "state", "created", "ends", "last", "used"]
    assert first.startswith(expired)
    assert "expired" in first
    assert "1 day ago" in first
    assert second.startswith(soon)
    assert "søn [b]x" in second
    assert ", in 12 days" in second  # though some moments have passed
    assert second.endswith("never")


def test_the_last_use_is_told(gateway: Typing, app: App) -> None:
    """Nobody could see that a key is used by nothing any more, and may go."""
    key = gateway.key(app)
    assert key["last_used_at"] is None
    at = time.time_ns() // 1_000_000 - 5000
    gateway.in_store(lambda store: store.note_used({key["id"]: at}))
    (listed,) = gateway.told("keys", "list")
    assert abs(seconds(listed["last_used_at"]) * 1000 - at) < 1
    assert gateway.typed("keys", "list").stdout.splitlines()[1].endswith("seconds ago")


def test_an_unknown_app_has_no_list(gateway: Typing, app: App) -> None:
    """A mistyped id would read as an app without keys."""
    for command in ("list", "history"):
        assert gateway.refused("keys", command, "--app", "f" * 24)["reason"] == "unknown_app"


# Changed and ended ----------------------------------------------------------------------------------------------------


def test_a_key_is_renamed(gateway: Typing, app: App) -> None:
    """A name that says nothing, or the wrong thing, would stay for a year."""
    key = gateway.key(app)
    assert gateway.told("keys", "rename", key["id"], "--name", "e\N{COMBINING ACUTE ACCENT}")["name"] == "é"
    assert gateway.told("keys", "show", key["id"])["name"] == "é"
    assert gateway.refused("keys", "rename", key["id"], "--name", "a\nb")["reason"] == "wish_invalid"


def test_a_key_is_rotated(gateway: Typing, app: App) -> None:
    """A key could not be renewed before it ends without a gap, or the new token would never be seen."""
    key = gateway.key(app, "--days", "100")
    told = gateway.told("keys", "rotate", key["id"])
    assert list(told) == [*MEMBERS, "predecessor", "token"]
    assert (told["name"], told["scopes"], told["state"]) == (key["name"], key["scopes"], "active")
    assert seconds(told["expires_at"]) - seconds(told["created_at"]) == 100 * 86_400
    before = told["predecessor"]
    assert (before["id"], before["state"], before["successor"]) == (key["id"], "rotating", told["id"])
    assert seconds(before["shutdown_at"]) - seconds(told["created_at"]) == 7 * 86_400
    token = parse_token(told["token"], Prefixes())
    assert isinstance(token, Token)
    assert token.id == told["id"]


@pytest.mark.parametrize(
    ("shutdown", "length"),
    [
        (("--shutdown", "0"), 0),
        (("--shutdown", "now"), 0),
        (("--shutdown-days", "0"), 0),
        (("--shutdown", "90m"), 5_400),
        (("--shutdown", "12h"), 43_200),
        (("--shutdown-days", "30"), 30 * 86_400),
    ],
)
def test_the_shutdown_time_is_chosen(gateway: Typing, app: App, shutdown: tuple[str, ...], length: int) -> None:
    """A leaked key would go on for a week, or a partner have less time than was agreed."""
    key = gateway.key(app)
    told = gateway.told("keys", "rotate", key["id"], *shutdown)
    assert seconds(told["predecessor"]["shutdown_at"]) - seconds(told["created_at"]) == length
    assert gateway.told("keys", "show", key["id"])["state"] == ("rotating" if length else "revoked")


def test_a_rotation_is_shown_to_people(gateway: Typing, app: App) -> None:
    """An operator would not see the new token, or until when the old one can be replaced."""
    shown = gateway.typed("keys", "rotate", gateway.key(app)["id"]).stdout
    assert shown.startswith("API key rotated.")
    assert ONCE in shown
    assert "token: gwk_" in shown
    _, _, before = shown.partition("The key before it:\n")
    assert [line.split(": ")[0] for line in before.splitlines()] == ["id", "state", "shutdown_at"]


def test_rotations_that_are_refused(gateway: Typing, app: App) -> None:
    """A program would not learn why it got no successor, and try for ever."""
    first = gateway.key(app)["id"]
    second = gateway.told("keys", "rotate", first)["id"]
    dead = gateway.key(app)["id"]
    gateway.told("keys", "revoke", dead)
    assert gateway.refused("keys", "rotate", second)["reason"] == "rotation_in_progress"
    assert gateway.refused("keys", "rotate", first)["reason"] == "already_rotated"
    assert gateway.refused("keys", "rotate", dead)["reason"] == "key_ended"
    assert gateway.refused("keys", "rotate", gateway.key(app)["id"], "--shutdown", "31d")["reason"] == "wish_invalid"


def test_a_narrower_successor(gateway: Typing, app: App) -> None:
    """The command that the advice names would not work, or would give a key more than it had."""
    key = gateway.key(app, "--scope", "USER_LINK,USER_DELETE")["id"]
    assert gateway.refused("keys", "rotate", key, "--scopes", "USER_READ,OFFLOADS_READ")["reason"] == "wish_invalid"
    assert gateway.refused("keys", "rotate", key, "--scopes", ",")["reason"] == "wish_invalid"
    told = gateway.told("keys", "rotate", key, "--scopes", "USER_READ,USER_LINK")
    assert (told["scopes"], len(told["predecessor"]["scopes"])) == (["USER_LINK", "USER_READ"], 3)


def test_advice(gateway: Typing, app: App) -> None:
    """Nobody would be told which scopes and keys are of no use, or what to type then."""
    assert gateway.typed("keys", "advise").stdout.startswith("No advice: the uses of no key were counted for 7 days")
    now = time.time_ns() // 1_000_000
    busy, idle, young = (f"{app.id[:2]}0000000000000{number}" for number in (2, 3, 4))
    for number, key_id in enumerate((busy, idle, young)):
        made = now - (1 if key_id == young else 60) * DAY
        scopes = frozenset({"USER_READ", "USER_LINK"})
        record = KeyRecord(key_id, app.id, f"key {number}", scopes, bytes(32), made, now + 90 * DAY)
        gateway.in_store(lambda store, record=record: keep(store, app, record))
    today = now // DAY
    counts = {(busy, today - 9, REQUESTS): 2, (busy, today, REQUESTS): 1, (busy, today, "USER_READ"): 1}
    gateway.in_store(lambda store: store.note_uses(counts))

    assert [each["id"] for each in gateway.told("keys", "advise", app.id)] == [busy]
    assert "no use of any key has been noted yet" in gateway.typed("keys", "advise").stderr
    gateway.in_store(lambda store: store.note_used({young: now - 29 * DAY}))
    assert [each["id"] for each in gateway.told("keys", "advise", app.id)] == [busy]
    assert "is not known before" in gateway.typed("keys", "advise").stderr
    gateway.in_store(lambda store: store.note_used({young: now - 30 * DAY}))
    assert gateway.typed("keys", "advise").stderr == ""
    told = {each["id"]: each for each in gateway.told("keys", "advise", app.id)}

    assert told.keys() == {busy, idle}
    assert told[busy] == {
        "id": busy,
        "app": app.id,
        "name": "key 0",
        "used": ["USER_READ"],
        "unused": ["USER_LINK"],
        "idle": False,
        "last_used_at": None,
        "days": 10,
        "command": f"gateway keys rotate {busy} --scopes USER_READ",
    }
    assert (told[idle]["idle"], told[idle]["command"]) == (True, f"gateway keys revoke {idle}")
    table = gateway.typed("keys", "advise").stdout
    assert "without use: USER_LINK" in table
    assert "10 days" in table
    assert gateway.refused("keys", "advise", "5a0000000000000000000fff")["reason"] == "unknown_app"
    gateway.told(*told[busy]["command"].split()[1:])
    assert [each["id"] for each in gateway.told("keys", "advise")] == [idle]


def test_a_gateway_without_overlap(gateway: Typing, app: App) -> None:
    """A gateway that is to have ten keys an app at most would have twenty."""
    gateway.config.write_text(gateway.config.read_text() + "rotation: {overlap: false}\n")
    key = gateway.key(app)["id"]
    assert gateway.refused("keys", "rotate", key, "--shutdown", "1d")["reason"] == "wish_invalid"
    before = gateway.told("keys", "rotate", key)["predecessor"]
    assert (before["state"], before["revoked_why"]) == ("revoked", "rotated")


def test_a_key_is_revoked(gateway: Typing, app: App) -> None:
    """A key could not be ended, or a script that ends it twice would fail."""
    key = gateway.key(app)
    told = gateway.told("keys", "revoke", key["id"])
    assert list(told) == [*MEMBERS, "replicated"]
    assert (told["state"], told["revoked_why"], told["replicated"]) == ("revoked", "requested", True)
    assert gateway.told("keys", "revoke", key["id"]) == told
    assert gateway.typed("keys", "revoke", key["id"]).stdout.startswith("The API key had ended before.")


@pytest.mark.parametrize("act", [("show",), ("rename", "--name", "n"), ("rotate",), ("revoke",), ("history",)])
def test_an_unknown_key(gateway: Typing, app: App, act: tuple[str, ...]) -> None:
    """An operator who mistypes an id would have to search a list, or think that the key was ended."""
    key_id = gateway.key(app)["id"]
    error = gateway.refused("keys", act[0], key_id[:-1] + ("0" if key_id[-1] != "0" else "1"), *act[1:])
    assert error["reason"] == "unknown_key"
    assert f"Did you mean {key_id}?" in error["message"]
    assert gateway.refused("keys", act[0], "../etc", *act[1:])["reason"] == "unknown_key"


def test_the_id_of_a_user_token_is_no_key(gateway: Typing, app: App) -> None:
    """An operator would search for a key where a user's token is meant."""
    user = gateway.told("users", "create", "--app", app.id)
    error = gateway.refused("keys", "revoke", user["token_id"])
    assert error["reason"] == "unknown_key"
    assert "user token" in error["message"]


# Found by its token ---------------------------------------------------------------------------------------------------


def test_a_key_is_found_by_the_token_on_standard_input(gateway: Typing, app: App) -> None:
    """Whoever has nothing but a leaked token would type it as an argument, for all to see."""
    key = gateway.key(app)
    assert gateway.told("keys", "show", "-", stdin=f" {key['token']}\n")["id"] == key["id"]
    assert gateway.told("keys", "revoke", "-", stdin=key["token"])["state"] == "revoked"
    assert gateway.told("keys", "show", f"gwk_{key['id']}")["id"] == key["id"]


@pytest.mark.parametrize("text", ["", "nothing", "gwk_0123456789abcdef." + "0" * 48])
def test_standard_input_without_a_token(gateway: Typing, app: App, text: str) -> None:
    """A mistyped token would end the key of somebody else."""
    result = gateway.typed("keys", "revoke", "-", stdin=text)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "holds no token" in result.stderr
    assert text == "" or text not in result.stderr


def test_a_token_of_nobody(gateway: Typing, app: App) -> None:
    """The token of another gateway would be taken for a key of this one."""
    token = stray()
    error = gateway.refused("keys", "revoke", "-", stdin=token)
    assert error["reason"] == "unknown_key"
    assert token not in json.dumps(error)
    assert id_of(token) in error["message"]


# A store of many machines ---------------------------------------------------------------------------------------------


def test_a_replica_that_does_not_confirm(local: Typing, tmp_path: Path) -> None:
    """Somebody would rely on a revocation that a failover can undo, or hold a token that one can take away."""
    with with_replica(tmp_path / "servers", *FORGETFUL) as servers:
        to_redis(local.config, servers.url)
        local.told("store", "init")
        app = local.app()
        key = local.key(app)
        assert servers.replica is not None
        servers.replica.freeze()
        try:
            result = local.typed("keys", "revoke", key["id"], "--json")
            told = json.loads(result.stdout)
            assert (result.exit_code, told["state"], told["replicated"]) == (0, "revoked", False)
            assert "a replica did not confirm" in result.stderr
            words = ("keys", "create", "--app", app.id, "--name", "unsure", "--scope", "USER_READ", "--json")
            result = local.typed(*words)
            assert (result.exit_code, result.stderr) == (1, "")
            assert json.loads(result.stdout)["error"]["reason"] == "store_unavailable"
            assert "token" not in json.loads(result.stdout)
        finally:
            servers.replica.thaw()
        unsure = [key for key in local.told("keys", "list") if key["name"] == "unsure"]
        assert [(key["state"], key["revoked_why"]) for key in unsure] == [("revoked", "unconfirmed")]


def test_a_server_that_is_away(local: Typing, tmp_path: Path) -> None:
    """A revocation that was not done would be taken for one that was, or a stack trace be all that is said."""
    with single(tmp_path / "servers", *FORGETFUL) as servers:
        to_redis(local.config, servers.url)
        for _ in ("without a store", "without a server"):
            result = local.typed("keys", "revoke", "0123456789abcdef")
            assert (result.exit_code, result.stdout) == (1, "")
            assert result.stderr.startswith("gateway: ")
            assert "Traceback" not in result.stderr
            printed = json.loads(local.typed("keys", "revoke", "0123456789abcdef", "--json").stdout)
            assert printed["error"]["reason"] == "store_unavailable"
            servers.primaries[0].kill()


def test_an_app_does_not_make_a_store_in_redis(local: Typing, redis_server: Servers) -> None:
    """A Redis that lost its data would become a new store, which knows no revocation."""
    redis_server.primaries[0].run("FLUSHALL")
    to_redis(local.config, redis_server.url)
    result = local.typed("apps", "create", "--name", "demo", "--region", "eu")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "gateway store init" in result.stderr
    assert redis_server.primaries[0].run("DBSIZE") == 0


# Wrong usage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("create", "--app", "a", "--name", "k"),
        ("create", "--app", "a", "--scope", "USER_READ"),
        ("create", "--name", "k", "--scope", "USER_READ"),
        ("create", "--app", "a", "--name", "k", "--scope", "S", "--days", "1", "--expires", "2027-01-01"),
        ("create", "--app", "a", "--name", "k", "--scope", "S", "--expires", "soon"),
        ("create", "--app", "a", "--name", "k", "--scope", "S", "--token", "t"),
        ("list", "--state", "asleep"),
        ("rotate", "k", "--shutdown", "7"),
        ("rotate", "k", "--shutdown", "7d", "--shutdown-days", "7"),
        ("rotate",),
        ("history", "k", "--app", "a"),
        ("burn", "k"),
    ],
)
def test_wrong_usage_is_told(local: Typing, words: tuple[str, ...]) -> None:
    """A script with a mistake in it would be taken for one that failed for another reason."""
    for more in ((), ("--json",)):
        result = local.typed("keys", *words, *more)
        assert (result.exit_code, result.stdout) == (2, "")


def test_a_missing_store_is_told(local: Typing) -> None:
    """A mistyped path would become a second, empty store, and a program take it for a refusal."""
    for command in (("list",), ("create", "--app", "a", "--name", "k", "--scope", "USER_READ"), ("show", "abcdef01")):
        result = local.typed("keys", *command)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "There is no store at" in result.stderr
        printed: dict[str, Any] = json.loads(local.typed("keys", *command, "--json").stdout)
        assert printed["error"]["reason"] == "store_unavailable"
        assert not (local.config.parent / "data").exists()


@pytest.mark.parametrize(
    ("file", "text", "reason", "told"),
    [
        ("gateway.yaml", b"store: {}\n", "settings_invalid", "gateway.yaml"),
        ("gateway.yaml", None, "settings_invalid", "gateway.yaml"),
        ("schema.graphql", None, "file_unusable", "schema.graphql: cannot be read: No such file or directory."),
        ("schema.graphql", b"\xff", "schema_invalid", "schema.graphql is not UTF-8."),
        ("schema.graphql", b"type Query {", "schema_invalid", "The schema, line 1:"),
        ("data/store.db", b"text", "store_unavailable", "is not a database."),
    ],
)
def test_broken_files_are_told(local: Typing, app: App, file: str, text: bytes | None, reason: str, told: str) -> None:
    """An operator would see a stack trace instead of which file to mend."""
    path = local.config.parent / file
    path.unlink()
    if text is not None:
        path.write_bytes(text)
    words = ("keys", "create", "--app", app.id, "--name", "k", "--scope", "USER_READ")
    result = local.typed(*words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert json.loads(local.typed(*words, "--json").stdout)["error"]["reason"] == reason
