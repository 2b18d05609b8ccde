"""What an operator types for the people of an app."""

import json

import pytest

from gateway.core.people import developer_id
from gateway.core.records import App
from tests.cli.conftest import Typing


def test_roles_are_given_and_taken(gateway: Typing, app: App) -> None:
    """A person who came would have no role, and one who left would keep it."""
    told = gateway.told("developers", "grant", "--app", app.id, "Jane@Example.com")
    jane = {"id": developer_id("jane@example.com"), "app": app.id, "email": "jane@example.com", "role": "developer"}
    assert told == jane | {"replicated": True}
    gateway.told("developers", "grant", "--app", app.id, "joe@example.com", "--role", "spectator")
    gateway.told("developers", "grant", "--app", gateway.app("other").id, "jane@example.com")
    listed = gateway.told("developers", "list", "--app", app.id)
    assert sorted((each["email"], each["role"]) for each in listed) == [
        ("jane@example.com", "developer"),
        ("joe@example.com", "spectator"),
    ]
    assert len(gateway.told("developers", "list")) == 3
    changed = gateway.told("developers", "grant", "--app", app.id, "jane@example.com", "--role", "spectator")
    assert changed["role"] == "spectator"
    gateway.told("developers", "remove", "--app", app.id, "JANE@example.com")
    assert [each["email"] for each in gateway.told("developers", "list", "--app", app.id)] == ["joe@example.com"]


def test_developers_are_listed_for_people(gateway: Typing, app: App) -> None:
    """An operator would not see who may make keys."""
    gateway.told("developers", "grant", "--app", app.id, "jane@example.com")
    heading, line = gateway.typed("developers", "list").stdout.splitlines()
    assert heading.split() == ["id", "app", "e-mail", "address", "role"]
    assert line.split() == [developer_id("jane@example.com"), app.id, "jane@example.com", "developer"]


def test_who_was_shown_no_token_leaves_nothing_to_rotate(local: Typing, app: App) -> None:
    """An operator would look for the rest of a line that ends in nothing."""
    local.told("developers", "grant", "--app", app.id, "jane@example.com")
    shown = local.typed("developers", "remove", "--app", app.id, "jane@example.com").stdout
    assert "keys_to_rotate: none" in shown.splitlines()


def test_the_audit_names_no_address(gateway: Typing, app: App) -> None:
    """An audit that is kept for ever would keep people's addresses."""
    told = gateway.told("developers", "grant", "--app", app.id, "jane@example.com")
    audit = gateway.typed("audit", "export").stdout
    assert "jane" not in audit
    (event,) = [event for event in map(json.loads, audit.splitlines()) if event["action"] == "developer.granted"]
    assert event["subject"] == told["id"]


def test_roles_that_cannot_be(gateway: Typing, app: App) -> None:
    """A mistyped address or app would be taken for a role that was given or taken."""
    assert gateway.refused("developers", "grant", "--app", app.id, "jane")["reason"] == "wish_invalid"
    assert gateway.refused("developers", "grant", "--app", "f" * 24, "j@example.com")["reason"] == "unknown_app"
    assert gateway.refused("developers", "list", "--app", "f" * 24)["reason"] == "unknown_app"
    assert gateway.refused("developers", "remove", "--app", app.id, "j@example.com")["reason"] == "unknown_developer"


@pytest.mark.parametrize(
    "words", [("grant", "j@example.com"), ("grant", "--app", "a"), ("grant", "--app", "a", "j@x.de", "--role", "admin")]
)
def test_wrong_usage_is_told(local: Typing, words: tuple[str, ...]) -> None:
    """A script with a missing word would be taken for one that failed for another reason."""
    result = local.typed("developers", *words)
    assert (result.exit_code, result.stdout) == (2, "")
