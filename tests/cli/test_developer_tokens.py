"""What an operator types for tokens of the management API."""

import hashlib

import pytest
from typer.testing import CliRunner

from gateway.cli.main import application
from gateway.core.people import developer_id
from gateway.core.records import App
from tests.cli.conftest import Typing


def test_a_token_is_made_listed_and_revoked(gateway: Typing, app: App) -> None:
    """A person could not use the API, or could go on after the token was lost."""
    gateway.told("developers", "grant", "--app", app.id, "jane@example.com")
    made = gateway.told("developers", "token", "Jane@example.com", "--lifetime", "7d")
    assert made["token"].startswith(f"gwd_{made['id']}.")
    assert made["developer"] == developer_id("jane@example.com")
    other = gateway.told("developers", "token", "jane@example.com")
    listed = gateway.told("developers", "tokens", "list", "--developer", "jane@example.com")
    assert {each["id"] for each in listed} == {made["id"], other["id"]}
    assert gateway.told("developers", "tokens", "list", "--developer", "joe@example.com") == []
    revoked = gateway.told("developers", "tokens", "revoke", made["id"])
    assert (revoked["id"], revoked["replicated"]) == (made["id"], True)
    assert revoked["revoked_at"] is not None
    assert gateway.told("developers", "tokens", "revoke", made["id"])["revoked_at"] == revoked["revoked_at"]
    assert made["token"] not in str(listed)
    heading, *lines = gateway.typed("developers", "tokens", "list").stdout.splitlines()
    assert heading.split() == ["id", "developer", "e-mail", "address", "made", "by", "ends", "revoked"]
    assert len(lines) == 2


def test_tokens_are_listed_with_addresses(local: Typing, app: App) -> None:
    """An operator would not see whose token it is, or take a mistyped address for somebody without tokens."""
    local.told("developers", "grant", "--app", app.id, "jane@example.com")
    assert local.typed("developers", "tokens", "list").stdout == "No tokens.\n"
    local.told("developers", "token", "jane@example.com")
    line = local.typed("developers", "tokens", "list").stdout.splitlines()[1].split()
    assert line[1:3] == [developer_id("jane@example.com"), "jane@example.com"]
    for address in ("joe@example.com", "\x1b[2J"):
        shown = local.typed("developers", "tokens", "list", "--developer", address)
        assert shown.exit_code == 0
        assert shown.stdout.endswith("has a role.\n")
        assert "\x1b" not in shown.stdout


def test_tokens_that_cannot_be(gateway: Typing, app: App) -> None:
    """A token would be made that is of no use, or one that outlives its person's job."""
    gateway.told("developers", "grant", "--app", app.id, "jane@example.com")
    assert gateway.refused("developers", "token", "jane")["reason"] == "wish_invalid"
    assert gateway.refused("developers", "token", "joe@example.com")["reason"] == "unknown_developer"
    assert gateway.refused("developers", "token", "jane@example.com", "--lifetime", "91d")["reason"] == "wish_invalid"
    for token_id in ("0" * 16, "x", "zz" * 8):
        assert gateway.refused("developers", "tokens", "revoke", token_id)["reason"] == "unknown_token"


def test_who_leaves_leaves_keys_to_rotate(local: Typing, app: App) -> None:
    """A key whose token somebody took along would go on unseen."""
    local.told("developers", "grant", "--app", app.id, "jane@example.com")
    local.key(app)
    removed = local.told("developers", "remove", "--app", app.id, "jane@example.com")
    assert removed["keys_to_rotate"] == []


def test_an_operators_token_comes_with_what_the_settings_need(local: Typing) -> None:
    """An operator would have a token that the gateway does not know, or settings would hold a secret."""
    shown = CliRunner().invoke(application("operators"), ["operators", "token", "root"])
    assert shown.exit_code == 0
    token = next(line for line in shown.stdout.splitlines() if line.startswith("token: ")).removeprefix("token: ")
    digest = hashlib.sha256(token.encode()).hexdigest()
    settings = shown.stdout.partition("anew:\n")[2]
    assert token not in settings
    local.config.write_text(local.config.read_text() + settings)
    assert f"token_sha256: {digest}" in settings
    assert local.told("apps", "create", "--name", "x", "--region", "eu")["name"] == "x"


@pytest.mark.parametrize("name", ["", "Root", "a b", "x" * 65, "-"])
def test_a_name_that_the_settings_refuse_is_refused_at_once(name: str) -> None:
    """An operator would be given a token for settings that keep the gateway from starting."""
    assert CliRunner().invoke(application("operators"), ["operators", "token", name]).exit_code == 2
