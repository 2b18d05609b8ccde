"""What an operator types for users and their tokens."""

import pytest

from gateway.core.records import App
from gateway.core.token import Kind, Prefixes, Token, parse_token
from tests.cli.conftest import Typing
from tests.support.minting import keeper

USER = ["id", "app", "external_id", "disabled", "deleted", "tokens_ended_at"]


def test_a_user_is_printed_for_programs(gateway: Typing, app: App) -> None:
    """Programs that make users would not find the members that are promised."""
    command = ("users", "create", "--app", app.id)
    user = gateway.told(*command, "--external-id", "customer-17")
    assert list(user) == [*USER, "token_id", "created_at", "expires_at", "token"]
    assert (user["app"], user["external_id"], user["disabled"]) == (app.id, "customer-17", False)
    token = parse_token(str(user["token"]), Prefixes())
    assert isinstance(token, Token)
    assert (token.kind, token.id) == (Kind.USER_TOKEN, user["token_id"])
    assert gateway.told(*command, "--external-id", "customer-17")["id"] == user["id"]
    assert gateway.told(*command, "--id", "from-upstream")["id"] == "from-upstream"


def test_another_token_for_a_user(gateway: Typing, app: App) -> None:
    """A slip of the pen would make a user, and a token that reaches nobody's data."""
    user = gateway.told("users", "create", "--app", app.id)
    made = gateway.told("users", "token", "--app", app.id, user["id"])
    assert list(made) == [*USER, "token_id", "created_at", "expires_at", "token"]
    assert (made["id"], made["token"] == user["token"]) == (user["id"], False)
    assert gateway.refused("users", "token", "--app", app.id, user["id"][:-1] + "x")["reason"] == "unknown_user"
    for missing in ("nothing", "0" * 24):
        assert gateway.refused("users", "token", "--app", missing, user["id"])["reason"] == "unknown_app"
    assert len(gateway.told("users", "list")) == 1


def test_a_user_of_another_issuer_is_disabled(gateway: Typing, app: App) -> None:
    """A user who has tokens of another issuer alone could not be locked out, or a slip of the pen go unseen."""
    assert gateway.refused("users", "disable", "--app", app.id, "far")["reason"] == "unknown_user"
    told = gateway.told("users", "disable", "--app", app.id, "far", "--unknown")
    assert (told["id"], told["disabled"]) == ("far", True)
    assert gateway.told("users", "enable", "--app", app.id, "far")["disabled"] is False


def test_a_deleted_user_is_listed(gateway: Typing, app: App) -> None:
    """Nobody could tell a user who was deleted from one who never was."""
    user = gateway.told("users", "create", "--app", app.id, "--external-id", "customer-17")["id"]
    gateway.in_store(lambda store: keeper(store).delete_user(app.id, user))
    (listed,) = gateway.told("users", "list", "--app", app.id)
    assert (listed["deleted"], listed["external_id"], listed["tokens_ended_at"]) == (True, None, None)
    assert gateway.typed("users", "list", "--app", app.id).stdout.splitlines()[1].split() == [user, app.id, "deleted"]
    for act in ("disable", "enable", "end-tokens", "token"):
        assert gateway.refused("users", act, "--app", app.id, user)["reason"] == "unknown_user"


def test_what_is_not_there_is_not_printed(gateway: Typing, app: App) -> None:
    """An operator would read `None` for a user without an external id."""
    result = gateway.typed("users", "create", "--app", app.id)
    assert result.exit_code == 0
    assert "external_id" not in result.stdout
    assert "None" not in result.stdout


def test_users_are_listed(gateway: Typing, app: App) -> None:
    """Nobody could find the user that is to be disabled."""
    other = gateway.app("other")
    ids = [gateway.told("users", "create", "--app", each.id, "--external-id", "søn")["id"] for each in (app, other)]
    listed = gateway.told("users", "list", "--app", app.id)
    assert [(list(user), user["id"], user["external_id"]) for user in listed] == [(USER, ids[0], "søn")]
    assert {user["id"] for user in gateway.told("users", "list")} == set(ids)
    heading, line = gateway.typed("users", "list", "--app", app.id).stdout.splitlines()
    assert heading.split() == ["id", "app", "external", "id", "state", "tokens", "ended"]
    assert line.split() == [ids[0], app.id, "søn", "enabled"]


def test_a_user_is_disabled_and_enabled(gateway: Typing, app: App) -> None:
    """A user that was disabled elsewhere would go on here, or be locked out for good."""
    user = gateway.told("users", "create", "--app", app.id)["id"]
    for act, disabled in (("disable", True), ("disable", True), ("enable", False), ("enable", False)):
        told = gateway.told("users", act, "--app", app.id, user)
        assert (told["id"], told["disabled"], told["replicated"]) == (user, disabled, True)
        assert [each["disabled"] for each in gateway.told("users", "list")] == [disabled]


def test_the_tokens_of_a_user_are_ended(gateway: Typing, app: App) -> None:
    """The tokens of a lost phone would go on."""
    user, other = (gateway.told("users", "create", "--app", app.id)["id"] for _ in range(2))
    told = gateway.told("users", "end-tokens", "--app", app.id, user)
    assert list(told) == [*USER, "replicated"]
    assert told["tokens_ended_at"] is not None
    listed = {each["id"]: each["tokens_ended_at"] for each in gateway.told("users", "list")}
    assert listed == {user: told["tokens_ended_at"], other: None}
    assert gateway.typed("users", "end-tokens", "--app", app.id, user).exit_code == 0


def test_all_tokens_of_an_app_are_ended(gateway: Typing, app: App) -> None:
    """After an incident tokens would be ended user by user, or a slip end all of them with nobody asked."""
    gateway.told("users", "create", "--app", app.id)
    error = gateway.refused("users", "end-tokens", "--app", app.id, "--all")
    assert error["reason"] == "not_confirmed"
    assert gateway.told("apps", "list")[0]["tokens_ended_at"] is None
    told = gateway.told("users", "end-tokens", "--app", app.id, "--all", "--yes")
    assert (told["id"], told["replicated"]) == (app.id, True)
    assert gateway.told("apps", "list")[0]["tokens_ended_at"] == told["tokens_ended_at"] is not None


@pytest.mark.parametrize("act", ["disable", "enable", "end-tokens"])
def test_an_unknown_user(gateway: Typing, app: App, act: str) -> None:
    """A mistyped id would be taken for a user that was disabled."""
    user = gateway.told("users", "create", "--app", app.id)["id"]
    error = gateway.refused("users", act, "--app", app.id, user[:-1] + "x")
    assert error["reason"] == "unknown_user"
    assert f"Did you mean {user}?" in error["message"]
    assert gateway.refused("users", act, "--app", "f" * 24, user)["reason"] == "unknown_app"


def test_what_cannot_be_made_is_told_whole(gateway: Typing, app: App) -> None:
    """An operator would see one fault at a time."""
    error = gateway.refused("users", "create", "--app", "demo", "--id", "a b")
    assert error["reason"] == "wish_invalid"
    assert "There is no app with the id 'demo'" in error["message"]
    assert "A user id has 1 to 128 visible ASCII characters." in error["message"]
    assert gateway.refused("users", "create", "--app", "demo")["reason"] == "unknown_app"


@pytest.mark.parametrize(
    "words",
    [
        ("create",),
        ("create", "--app", "a", "--token", "t"),
        ("end-tokens", "--app", "a"),
        ("end-tokens", "--app", "a", "u", "--all"),
        ("disable", "u"),
        ("disable", "--app", "a"),
    ],
)
def test_wrong_usage_is_told(local: Typing, words: tuple[str, ...]) -> None:
    """A script with a missing word would be taken for one that failed for another reason."""
    result = local.typed("users", *words)
    assert (result.exit_code, result.stdout) == (2, "")
