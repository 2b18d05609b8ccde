"""What an operator types to make, list, switch and empty apps."""

import json
import sqlite3
from contextlib import closing

import pytest

from gateway.core.records import App
from tests.cli.conftest import Typing


def test_an_app_makes_the_store(local: Typing) -> None:
    """A newcomer would be told that there is no store, and not how to get one."""
    made = local.told("apps", "create", "--name", "demo", "--region", "eu", "--account", "acme")
    assert made == {
        "id": made["id"],
        "name": "demo",
        "account": "acme",
        "region": "eu",
        "disabled": False,
        "tokens_ended_at": None,
    }
    with closing(sqlite3.connect(local.config.parent / "data" / "store.db")) as database:
        assert database.execute("SELECT count(*) FROM app").fetchall() == [(1,)]


def test_an_app_is_shown_to_people(gateway: Typing) -> None:
    """An operator would not find the id that the next command needs."""
    title, *lines = gateway.typed("apps", "create", "--name", "demo", "--region", "eu").stdout.splitlines()
    assert title == "App made."
    assert [line.split(": ")[0] for line in lines] == ["id", "name", "region", "disabled"]


def test_apps_are_listed(gateway: Typing) -> None:
    """An operator would not find the id of an app again."""
    made = [gateway.told("apps", "create", "--name", name, "--region", "us") for name in ("one", "two")]
    assert sorted(gateway.told("apps", "list"), key=lambda app: app["name"]) == made
    heading, *lines = gateway.typed("apps", "list").stdout.splitlines()
    assert heading.split() == ["id", "name", "account", "region", "state"]
    assert sorted(line.split() for line in lines) == sorted([app["id"], app["name"], "us", "enabled"] for app in made)


def test_no_apps(gateway: Typing) -> None:
    """An operator would take an empty store for a command that does not work."""
    gateway.app()
    assert gateway.typed("developers", "list").stdout == "Nobody has a role yet.\n"
    assert gateway.told("developers", "list") == []


def test_an_app_is_disabled_and_enabled(gateway: Typing, app: App) -> None:
    """An app could not be switched off and on, or the one who does would not see that it worked."""
    for act, disabled in (("disable", True), ("disable", True), ("enable", False), ("enable", False)):
        told = gateway.told("apps", act, app.id)
        assert (told["id"], told["disabled"], told["replicated"]) == (app.id, disabled, True)
        assert [each["disabled"] for each in gateway.told("apps", "list")] == [disabled]
    assert gateway.told("apps", "disable", app.id, "--yes")["disabled"]


def test_all_keys_of_an_app_are_revoked(gateway: Typing, app: App) -> None:
    """After an incident somebody would revoke keys one by one, and forget one."""
    other = gateway.app("other")
    ids = {gateway.key(app)["id"] for _ in range(3)}
    left = gateway.key(other)["id"]
    gateway.told("keys", "revoke", next(iter(ids)))
    told = gateway.told("apps", "revoke-keys", app.id, "--yes")
    assert told == {"app": app.id, "revoked": told["revoked"], "replicated": True}
    assert set(told["revoked"]) < ids
    assert len(told["revoked"]) == 2
    states = {key["id"]: key["state"] for key in gateway.told("keys", "list")}
    assert states == dict.fromkeys(ids, "revoked") | {left: "active"}


def test_many_ends_want_a_yes(gateway: Typing, app: App) -> None:
    """A script with a mistyped word would end all keys of an app, with nobody asked."""
    key = gateway.key(app)
    error = gateway.refused("apps", "revoke-keys", app.id)
    assert error["reason"] == "not_confirmed"
    assert "--yes" in error["message"]
    assert gateway.told("keys", "show", key["id"])["state"] == "active"


def test_what_cannot_be_made_is_told_whole(gateway: Typing) -> None:
    """An operator would see a stack trace, or one fault at a time, or a program take it for success."""
    error = gateway.refused("apps", "create", "--name", "", "--region", "mars")
    assert error == {
        "reason": "wish_invalid",
        "message": "A name has 1 to 100 characters; this one has 0. There is no region 'mars'; there are eu, us.",
    }


@pytest.mark.parametrize("act", [("disable",), ("enable",), ("revoke-keys", "--yes")])
def test_an_unknown_app(gateway: Typing, app: App, act: tuple[str, ...]) -> None:
    """An operator who types the name for the id, or mistypes the id, would have to search a list."""
    named = gateway.refused("apps", *act, "demo")
    assert named["reason"] == "unknown_app"
    assert f"The app of this name has the id {app.id}." in named["message"]
    mistyped = gateway.refused("apps", *act, app.id[:-1] + "x")
    assert mistyped["reason"] == "unknown_app"
    assert f"Did you mean {app.id}?" in mistyped["message"]
    far = gateway.refused("apps", *act, "0" * 24)
    assert far["reason"] == "unknown_app"
    assert "Did you mean" not in far["message"]


def test_names_do_not_paint_the_screen(gateway: Typing) -> None:
    """A name with markup could hide lines of a list, or look like another one."""
    gateway.app("[red]x[/red]")
    assert "[red]x[/red]" in gateway.typed("apps", "list").stdout


def test_names_of_every_script(gateway: Typing) -> None:
    """Names that are not ASCII would break programs or tables."""
    gateway.app("søn 株式会社 🦜")
    assert [each["name"] for each in gateway.told("apps", "list")] == ["søn 株式会社 🦜"]
    assert json.dumps("søn 株式会社 🦜") in gateway.typed("apps", "list", "--json").stdout
    assert "søn 株式会社 🦜" in gateway.typed("apps", "list").stdout
