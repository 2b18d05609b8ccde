"""The full history of keys: made, renamed, rotated, revoked and expired, by whom and when."""

import time

from gateway.core.records import App, KeyRecord
from gateway.core.wishes import DAY
from tests.cli.conftest import Typing
from tests.support.minting import keep

KEY = ("id", "app", "name", "scopes", "state", "created_at", "expires_at", "last_used_at")
EVENT = ["at", "action", "actor", "source", "about"]


def test_the_history_of_an_app(gateway: Typing, app: App) -> None:
    """Nobody could tell afterwards who ended a key, when, and what took its place."""
    key = gateway.key(app)["id"]
    gateway.told("keys", "rename", key, "--name", "new")
    successor = gateway.told("keys", "rotate", key)["id"]
    gateway.told("keys", "revoke", key)
    gateway.key(gateway.app("other"))
    told = gateway.told("keys", "history", "--app", app.id)
    assert [(each["id"], each["action"]) for each in told[:2]] == [(key, "key.created"), (key, "key.renamed")]
    assert sorted((each["id"], each["action"]) for each in told[2:]) == sorted(
        [(successor, "key.created"), (key, "key.rotated"), (key, "key.revoked")]
    )
    assert [each["at"] for each in told] == sorted(each["at"] for each in told)
    assert all(list(each)[: len(EVENT)] == EVENT and set(KEY) < set(each) for each in told)
    assert all(each["actor"].startswith("cli:") and each["source"] == "cli" for each in told)
    of_one = gateway.told("keys", "history", key)
    assert of_one == [each for each in told if each["id"] == key]
    assert {each["state"] for each in of_one} == {"revoked"}
    assert len(gateway.told("keys", "history")) == len(told) + 1


def test_an_expiry_is_part_of_the_history(gateway: Typing, app: App) -> None:
    """A key that ended by itself would look as if it still worked."""
    now = time.time_ns() // 1_000_000
    made = {"name": "k", "scopes": frozenset({"USER_READ"}), "verifier": bytes(32), "created_at": now - 9 * DAY}
    by_date = KeyRecord(app.id[:2] + "00000000000001", app.id, expires_at=now - DAY, **made)
    rotated = KeyRecord(
        app.id[:2] + "00000000000002", app.id, expires_at=now + DAY, shutdown_at=now - 2 * DAY, successor="x", **made
    )
    gateway.in_store(lambda store: keep(store, app, by_date, rotated))
    told = gateway.told("keys", "history", "--app", app.id)
    assert [(each["id"], each["action"], each["about"]) for each in told] == [
        (rotated.id, "key.expired", "shutdown time"),
        (by_date.id, "key.expired", "expiry"),
    ]


def test_the_history_for_people(gateway: Typing, app: App) -> None:
    """An operator would have to read JSON after an incident."""
    key = gateway.key(app, name="søn")["id"]
    gateway.told("keys", "revoke", key)
    heading, made, ended = gateway.typed("keys", "history", key).stdout.splitlines()
    assert heading.split() == ["at", "key", "name", "what", "by", "about"]
    assert f"{key}  søn   created" in made
    assert ended.split()[-3] == "revoked"
    assert ended.endswith("requested")
