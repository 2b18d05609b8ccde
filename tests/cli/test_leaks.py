"""What an operator types when a credential has leaked."""

import json
import re

import pytest

from gateway.core.records import App
from tests.cli.conftest import Typing
from tests.support.minting import stray

EVIL = "https://example.com/\x1b[31m\u202e/x"
SHOWN = "https://example.com/\ufffd[31m\ufffd/x"


def test_a_key_by_its_id(gateway: Typing, app: App) -> None:
    """An operator who is told of a leaked key could not end it, or nothing would tell of it."""
    key = gateway.key(app)
    told = gateway.told("leaks", "report", "--id", key["id"], "--url", EVIL, "--source", "chat")
    assert (told["subject_id"], told["state"], told["ended"], told["proven"]) == (key["id"], "open", True, False)
    assert told["replicated"] is True
    assert gateway.told("keys", "show", key["id"])["revoked_why"] == "leaked"
    (incident,) = gateway.told("incidents", "list", "--app", app.id)
    assert (incident["id"], incident["refused_since"], len(incident["requests"])) == (told["id"], 0, 8)
    (seen,) = gateway.told("leaks", "list")
    assert (seen["incident"], seen["subject_id"], seen["url"], seen["source"]) == (told["id"], key["id"], SHOWN, "chat")
    assert gateway.refused("leaks", "report", "--id", "f" * 16)["reason"] == "unknown_key"


def test_a_whole_token(gateway: Typing, app: App) -> None:
    """Whoever reports a token would learn whether it is good, or the token would not end."""
    key = gateway.key(app)
    said = [
        gateway.typed("leaks", "report", "--stdin", stdin=f"{token}\n").stdout
        for token in (key["token"], stray(), stray("gwk", key["id"]), key["token"])
    ]
    assert len(set(said)) == 1
    assert gateway.told("leaks", "report", "--stdin", stdin=stray()) == {"taken": True}
    (incident,) = gateway.told("incidents", "list")
    assert (incident["subject_id"], incident["count"], incident["ended"]) == (key["id"], 3, True)
    assert key["token"] not in json.dumps(gateway.told("incidents", "show", incident["id"]))


def test_incidents_are_decided_about(gateway: Typing, app: App) -> None:
    """An incident that is over would stay open, or one that nobody looked at be closed."""
    key = gateway.key(app)
    incident = gateway.told("leaks", "report", "--id", key["id"])["id"]
    assert gateway.told("incidents", "acknowledge", incident)["state"] == "acknowledged"
    assert gateway.told("incidents", "close", incident)["state"] == "closed"
    assert gateway.told("incidents", "close", incident)["state"] == "closed"
    assert gateway.told("incidents", "list", "--state", "open") == []
    assert [each["id"] for each in gateway.told("incidents", "list", "--state", "closed")] == [incident]
    for command in ("show", "acknowledge", "close"):
        assert gateway.refused("incidents", command, "5ainc0000000000000000")["reason"] == "unknown_incident"
    events = [json.loads(line) for line in gateway.typed("audit", "export").stdout.splitlines()]
    of_it = [event["action"] for event in events if event["subject"] == incident]
    assert of_it == ["incident.opened", "incident.acknowledged", "incident.closed"]


def test_an_incident_is_told_in_words(local: Typing, app: App) -> None:
    """Whoever is called at night would have to guess what the members of an object mean."""
    key = local.key(app)
    incident, *_ = [local.told("leaks", "report", "--id", key["id"])["id"] for _ in range(3)]
    shown = local.typed("incidents", "show", incident).stdout.splitlines()
    assert "whole token known: no" in shown
    assert "times seen: 3" in shown
    assert "refused since the leak: 0" in shown
    (requests,) = [line for line in shown if line.startswith("requests a day: ")]
    assert re.fullmatch(r"(\d\d \w{3} 0(, )?){8}", requests.removeprefix("requests a day: "))
    assert "times seen" in local.typed("incidents", "list").stdout.splitlines()[0]
    local.told("incidents", "close", incident)
    for command in ("acknowledge", "close"):
        first = local.typed("incidents", command, incident).stdout.splitlines()[0]
        assert first == "Nothing changed: the incident is closed."


def test_they_are_shown_to_people(local: Typing, app: App) -> None:
    """A text from outside could move the cursor, or make an address read as another."""
    key = local.key(app)
    incident = local.told("leaks", "report", "--id", key["id"], "--url", EVIL)["id"]
    assert incident in local.typed("incidents", "list").stdout
    for words in (["leaks", "list"], ["incidents", "show", incident]):
        shown = local.typed(*words)
        assert shown.exit_code == 0
        assert not {"\x1b", "\u202e"} & set(shown.stdout)
        assert incident in shown.stdout
        assert SHOWN in shown.stdout
    (told,) = local.told("incidents", "show", incident)["sightings"]
    assert told["url"] == SHOWN


@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        (["report"], None),
        (["report", "--id", "5a00000000000001", "--stdin"], "x"),
        (["report", "--stdin"], ""),
        (["report", "--stdin"], " \n"),
        (["report", "--stdin"], f"{stray()}\n{stray()}\n"),
        (["report", "--stdin"], f"Authorization: Bearer {stray()}"),
        (["report", "--stdin"], "a" * 10_000),
    ],
    ids=["neither", "both", "nothing", "blanks", "two tokens", "a header", "too long"],
)
def test_wrong_usage_is_told(local: Typing, app: App, words: list[str], stdin: str | None) -> None:
    """A report that says nothing would be taken for one that was taken."""
    assert local.typed("leaks", *words, stdin=stdin).exit_code == 2
