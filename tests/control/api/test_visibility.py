"""What somebody may not see is answered as what there is not: every route, tried by everybody."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from gateway.control.api.callers import Needs
from gateway.control.api.routes import Route
from gateway.control.api.table import ROWS
from gateway.core.records import Role
from tests.support.managing import DEVELOPER, NOBODY, OPERATOR, SPECTATOR, STRANGER, Managed, email

OF_APPS: Final = [row for row in ROWS if "app" in row.parameters]
CHANGES: Final = [row for row in OF_APPS if row.method != "GET"]

# A body that is as it should be, for each route that wants one: a new route without one fails here.
BODIES: Final[Mapping[tuple[str, str], object]] = {
    ("POST", "/apps"): {"name": "n", "region": "eu"},
    ("POST", "/apps/{app}/keys"): {"name": "n", "scopes": ["USER_READ"]},
    ("PATCH", "/apps/{app}/keys/{key}"): {"name": "n"},
    ("POST", "/apps/{app}/keys/{key}/rotate"): {},
    ("POST", "/apps/{app}/users/{user}/disable"): {},
    ("POST", "/apps/{app}/developers"): {"email": "new@example.com"},
    ("POST", "/apps/{app}/leak-reports"): {"id": "0" * 16},
    ("POST", "/leak-reports"): {"token": "x"},
    ("POST", "/developer-tokens"): {},
}

NOWHERE: Final = [("GET", "/nowhere"), ("PUT", "/apps"), ("GET", "/"), ("GET", "")]


def name_of(row: Route) -> str:
    """What it is called when it fails."""
    return f"{row.method} {row.path}"


def body_of(row: Route) -> object:
    """What is sent."""
    return None if row.body is None else BODIES[row.method, row.path]


async def filled(api: Managed) -> dict[str, str]:
    """An id for each parameter, of things that are there, and ours."""
    key = await api.make_key()
    user = (await api.keeper.create_user_token(api.ours.id, user_id="a/b%c")).user
    developer = next(
        each["id"] for each in (await api.ask(OPERATOR, "GET", f"/apps/{api.ours.id}/developers")).json["items"]
    )
    token = (await api.ask(DEVELOPER, "GET", "/developer-tokens")).json["items"][0]["id"]
    leaked = (await api.make_key())["id"]
    incident = (await api.ask(DEVELOPER, "POST", f"/apps/{api.ours.id}/leak-reports", {"id": leaked})).json["id"]
    return {
        "app": api.ours.id,
        "key": key["id"],
        "user": user.id.replace("%", "%25").replace("/", "%2F"),
        "developer": developer,
        "token": token,
        "incident": incident,
    }


async def test_a_stranger_is_told_of_nothing(api: Managed) -> None:
    """A developer of one app would learn which apps, keys, users and people others have."""
    ids = await filled(api)
    before = [dict(each) for each in await _all(api)]
    for row in OF_APPS:
        path = row.path.format(**ids)
        unknown = row.path.format(**ids | {"app": "f" * 24})
        for headers in ({}, {"Idempotency-Key": "k", "If-Match": '"0"', "If-None-Match": "*"}):
            answer = await api.ask(STRANGER, row.method, path, body_of(row), headers=headers)
            same = await api.ask(STRANGER, row.method, unknown, body_of(row), headers=headers)
            assert answer.but_for_its_id == same.but_for_its_id, name_of(row)
            assert (answer.status, answer.code) == (404, "not_found"), name_of(row)
    assert await _all(api) == before


async def test_the_things_of_one_app_are_not_found_in_another(either: Managed) -> None:
    """A developer of two apps, or of one, would reach another's keys by an app of their own."""
    ids = await filled(either)
    for row in OF_APPS:
        if row.parameters == ("app",) or (row.method == "DELETE" and "user" in row.parameters):
            continue
        path = row.path.format(**ids | {"app": either.theirs.id})
        for who in (STRANGER, OPERATOR):
            answer = await either.ask(who, row.method, path, body_of(row))
            wanted = 403 if who == STRANGER and row.needs is Needs.RUNS else 404
            assert answer.status == wanted, (name_of(row), who)


async def test_spectators_look_and_change_nothing(api: Managed) -> None:
    """Somebody who may only look would end a key."""
    ids = await filled(api)
    before = await _all(api)
    for row in OF_APPS:
        answer = await api.ask(SPECTATOR, row.method, row.path.format(**ids), body_of(row))
        assert answer.status == (403 if row in CHANGES else 200), name_of(row)
    assert await _all(api) == before


async def test_operators_alone_do_what_is_theirs(api: Managed) -> None:
    """A developer would give a friend a role, or switch an app on that an operator had switched off."""
    ids = await filled(api)
    theirs = {name_of(row) for row in ROWS if row.needs is Needs.RUNS}
    assert theirs == {
        "POST /apps",
        "POST /apps/{app}/enable",
        "POST /apps/{app}/developers",
        "DELETE /apps/{app}/developers/{developer}",
    }
    for row in ROWS:
        if row.needs is Needs.RUNS:
            answer = await api.ask(DEVELOPER, row.method, row.path.format(**ids), body_of(row))
            assert (answer.status, answer.code) == (403, "role_missing"), name_of(row)


async def test_nobody_is_told_anything(api: Managed) -> None:
    """Whoever reaches the port would learn what there is, or have a body read."""
    ids = await filled(api)
    answers = []
    for row in ROWS:
        answer = await api.ask(NOBODY, row.method, row.path.format(**ids), body_of(row))
        answers.append(answer.but_for_its_id)
    answers += [(await api.ask(NOBODY, method, path)).but_for_its_id for method, path in NOWHERE]
    assert all(each[::2] == answers[0][::2] for each in answers)
    assert (answers[0][0], answers[0][1]["WWW-Authenticate"]) == (401, 'Bearer realm="gateway"')


async def test_lists_hold_only_what_one_may_see(api: Managed) -> None:
    """A list would tell of others' apps."""
    assert [each["id"] for each in (await api.ask(STRANGER, "GET", "/apps")).json["items"]] == [api.theirs.id]
    assert {each["id"] for each in (await api.ask(OPERATOR, "GET", "/apps")).json["items"]} == {
        api.ours.id,
        api.theirs.id,
    }
    tokens = (await api.ask(STRANGER, "GET", "/developer-tokens")).json["items"]
    assert len(tokens) == 1
    assert len((await api.ask(OPERATOR, "GET", "/developer-tokens")).json["items"]) == 3
    history = (await api.ask(STRANGER, "GET", f"/apps/{api.theirs.id}/history")).json["items"]
    assert {each["app"] for each in history} == {api.theirs.id}


async def test_a_role_that_is_taken_ends_at_the_next_request(either: Managed) -> None:
    """Somebody who was sent away would go on for as long as the token lives."""
    path = f"/apps/{either.ours.id}/keys"
    assert (await either.ask(DEVELOPER, "GET", path)).status == 200
    await either.keeper.grant(either.theirs.id, email(DEVELOPER), Role.SPECTATOR)  # so that the token goes on
    await either.keeper.remove(either.ours.id, email(DEVELOPER))
    assert (await either.ask(DEVELOPER, "GET", path)).status == 404
    assert [app["id"] for app in (await either.ask(DEVELOPER, "GET", "/apps")).json["items"]] == [either.theirs.id]
    assert (await either.ask(DEVELOPER, "POST", path, BODIES["POST", "/apps/{app}/keys"])).status == 404
    await either.keeper.grant(either.ours.id, email(DEVELOPER), Role.SPECTATOR)
    assert (await either.ask(DEVELOPER, "GET", path)).status == 200
    assert (await either.ask(DEVELOPER, "POST", path, BODIES["POST", "/apps/{app}/keys"])).status == 403


async def test_a_role_that_is_taken_while_a_body_comes_ends_too(api: Managed) -> None:
    """Who is sent away could keep a request half sent, and make a key with it a day later."""
    reader, writer = await asyncio.open_connection(*api.address)
    body = json.dumps(BODIES["POST", "/apps/{app}/keys"]).encode()
    writer.write(
        f"POST /api/v1/apps/{api.ours.id}/keys HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {api.tokens[DEVELOPER]}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n"
        "Connection: close\r\n\r\n".encode()
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"

    await api.keeper.grant(api.theirs.id, email(DEVELOPER), Role.DEVELOPER)  # so that the token goes on
    await api.keeper.remove(api.ours.id, email(DEVELOPER))
    writer.write(body)

    assert (await reader.read()).startswith(b"HTTP/1.1 404 ")
    writer.close()
    assert [key async for key in api.store.keys(api.ours.id)] == []


async def _all(api: Managed) -> list[dict[str, Any]]:
    """Everything that is kept of both apps, as an operator sees it."""
    found = []
    for app in (api.ours, api.theirs):
        for part in ("", "/keys", "/advice", "/users", "/developers", "/incidents", "/reminders", "/history"):
            found += [(await api.ask(OPERATOR, "GET", f"/apps/{app.id}{part}")).json]
    return found
