"""What the API does, and how its records and lists are told."""

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.control.api.asked import PageQuery
from gateway.control.api.table import ROWS
from gateway.core.ledger import Act, Asked, Changes
from gateway.core.notices import Channel, Mark, Notice, NoticeState, Wanted, item_of
from gateway.core.people import developer_id
from gateway.core.records import User
from gateway.core.wishes import DAY
from gateway.store.open import open_store
from tests.support.managing import DEVELOPER, OPERATOR, OPERATOR_TOKEN, SPECTATOR, STRANGER, Managed, email, managed

YEAR: Final = 365 * DAY


async def test_the_life_of_a_key(either: Managed) -> None:
    """A developer could not make, renew or end a key."""
    path = f"/apps/{either.ours.id}/keys"
    key = await either.make_key()
    assert key["token"].startswith(f"gwk_{key['id']}.")
    renamed = await either.ask(DEVELOPER, "PATCH", f"{path}/{key['id']}", {"name": "other"})
    assert (renamed.status, renamed.json["name"]) == (200, "other")
    rotated = (await either.ask(DEVELOPER, "POST", f"{path}/{key['id']}/rotate", {"shutdown_seconds": 60})).json
    assert (rotated["name"], rotated["predecessor"]["state"]) == ("other", "rotating")
    assert rotated["predecessor"]["successor"] == rotated["id"]
    again = await either.ask(DEVELOPER, "POST", f"{path}/{key['id']}/rotate", {})
    assert (again.status, again.code) == (409, "already_rotated")
    ended = await either.ask(DEVELOPER, "POST", f"{path}/{key['id']}/revoke")
    assert (ended.json["state"], ended.json["revoked_why"]) == ("revoked", "requested")
    shown = (await either.ask(SPECTATOR, "GET", f"{path}?state=active")).json["items"]
    assert [each["id"] for each in shown] == [rotated["id"]]
    assert shown[0]["created_by"] == f"developer:{developer_id(email(DEVELOPER))}"


async def test_a_successor_may_hold_less_and_never_more(either: Managed) -> None:
    """A key that holds too much could not be narrowed without a gap, or be widened by a rotation."""
    path = f"/apps/{either.ours.id}/keys"
    both = {"name": "both", "scopes": ["USER_READ", "USER_LINK"]}
    key = (await either.ask(DEVELOPER, "POST", path, both)).json["id"]
    for wrong in (["OFFLOADS_READ"], []):
        answer = await either.ask(DEVELOPER, "POST", f"{path}/{key}/rotate", {"scopes": wrong})
        assert (answer.status, answer.code) == (422, "wish_invalid")
    narrower = await either.ask(DEVELOPER, "POST", f"{path}/{key}/rotate", {"scopes": ["USER_READ"]})
    assert (narrower.status, narrower.json["scopes"]) == (201, ["USER_READ"])


async def test_the_life_of_a_user(either: Managed) -> None:
    """A developer could not see to a user whose device was lost."""
    user = (await either.keeper.create_user_token(either.ours.id, external_id="ada")).user.id
    path = f"/apps/{either.ours.id}/users/{user}"
    assert (await either.ask(SPECTATOR, "GET", path)).json["external_id"] == "ada"
    assert (await either.ask(DEVELOPER, "POST", f"{path}/disable")).json["disabled"] is True
    assert (await either.ask(DEVELOPER, "POST", f"{path}/enable")).json["disabled"] is False
    token = (await either.ask(DEVELOPER, "POST", f"{path}/tokens")).json
    assert (token["user"], token["token"][:4]) == (user, "gwu_")
    assert (await either.ask(DEVELOPER, "POST", f"{path}/end-tokens")).json["tokens_ended_at"] is not None
    assert (await either.ask(DEVELOPER, "DELETE", path)).status == 204
    gone = (await either.ask(DEVELOPER, "GET", path)).json
    assert (gone["deleted"], gone["external_id"]) == (True, None)
    unknown = f"/apps/{either.ours.id}/users/nobody"
    assert (await either.ask(DEVELOPER, "POST", f"{unknown}/tokens")).status == 404


async def test_a_user_of_another_issuer_is_disabled_before_any_request(either: Managed) -> None:
    """A stolen device whose tokens another issuer makes could be stopped by no call of the API."""
    path = f"/apps/{either.ours.id}/users/theirs%2F7"
    assert (await either.ask(DEVELOPER, "POST", f"{path}/disable")).status == 404
    assert (await either.ask(DEVELOPER, "POST", f"{path}/disable", {"unknown": False})).status == 404
    disabled = await either.ask(DEVELOPER, "POST", f"{path}/disable", {"unknown": True})
    assert (disabled.status, disabled.json["id"], disabled.json["disabled"]) == (200, "theirs/7", True)
    assert (await either.ask(SPECTATOR, "GET", path)).json["disabled"] is True
    assert (await either.ask(DEVELOPER, "POST", f"{path}/enable")).json["disabled"] is False


async def test_an_app_is_made_and_given_to_people(either: Managed) -> None:
    """An operator could not hand an app over, nor take it from somebody with all that was shown."""
    app = (await either.ask(OPERATOR, "POST", "/apps", {"name": "new", "region": "us"})).json
    path = f"/apps/{app['id']}"
    granted = await either.ask(OPERATOR, "POST", f"{path}/developers", {"email": email(DEVELOPER).upper()})
    person = developer_id(email(DEVELOPER))
    assert granted.json == {"id": person, "app": app["id"], "role": "developer"}
    assert (await either.ask(DEVELOPER, "POST", f"{path}/disable")).json["disabled"] is True
    assert (await either.ask(OPERATOR, "POST", f"{path}/enable")).json["disabled"] is False
    asked = {"name": "k", "scopes": ["USER_READ"]}
    mine = [(await either.ask(DEVELOPER, "POST", f"{path}/keys", asked)).json["id"] for _ in range(2)]
    await either.ask(OPERATOR, "POST", f"{path}/keys", asked)
    await either.ask(DEVELOPER, "POST", f"{path}/keys/{mine[0]}/revoke")
    removed = await either.ask(OPERATOR, "DELETE", f"{path}/developers/{person}")
    assert [key["id"] for key in removed.json["keys_to_rotate"]] == mine[1:]
    assert (await either.ask(DEVELOPER, "GET", path)).status == 404
    assert (await either.ask(OPERATOR, "DELETE", f"{path}/developers/{person}")).status == 404


async def test_history_says_who_did_it(either: Managed) -> None:
    """Nobody could tell later who ended a key, or it would be told of the wrong person."""
    key = await either.make_key()
    await either.ask(OPERATOR, "POST", f"/apps/{either.ours.id}/keys/{key['id']}/revoke")
    history = (await either.ask(SPECTATOR, "GET", f"/apps/{either.ours.id}/history")).json["items"]
    told = [(each["action"], each["actor"], each["source"]) for each in history if each["subject"] == key["id"]]
    assert told == [
        ("key.created", f"developer:{developer_id(email(DEVELOPER))}", "api"),
        ("key.revoked", "operator:root", "api"),
    ]


# ETags


async def test_a_change_to_what_has_changed_is_refused(either: Managed) -> None:
    """Of two people who rename a key at once one would undo what the other did, and not know."""
    key = await either.make_key()
    path = f"/apps/{either.ours.id}/keys/{key['id']}"
    first = await either.ask(DEVELOPER, "GET", path)
    tag = first.headers["ETag"]
    same = await either.ask(DEVELOPER, "GET", path, headers={"If-None-Match": f'"x", W/{tag}'})
    assert (same.status, same.text, same.headers["ETag"]) == (304, b"", tag)
    answers = await asyncio.gather(
        *(either.ask(DEVELOPER, "PATCH", path, {"name": f"n{n}"}, headers={"If-Match": tag}) for n in range(5))
    )
    assert sorted(answer.status for answer in answers) == [200, 412, 412, 412, 412]
    (done,) = [answer for answer in answers if answer.status == 200]
    now = await either.ask(DEVELOPER, "GET", path, headers={"If-None-Match": tag})
    assert (now.status, now.headers["ETag"], now.json) == (200, done.headers["ETag"], done.json)
    weak = await either.ask(DEVELOPER, "POST", f"{path}/revoke", headers={"If-Match": f"W/{now.headers['ETag']}"})
    assert (weak.status, weak.code) == (412, "changed_since")
    assert (await either.ask(DEVELOPER, "POST", f"{path}/revoke", headers={"If-Match": "*"})).status == 200


async def test_a_change_that_wants_no_such_record_is_refused(either: Managed) -> None:
    """A change that was asked for unless the record is there, or is as it is, would be made all the same."""
    key = await either.make_key()
    path = f"/apps/{either.ours.id}/keys/{key['id']}"
    tag = (await either.ask(DEVELOPER, "GET", path)).headers["ETag"]
    for unwanted in ("*", tag, f"W/{tag}", f'"x", {tag}'):
        for method, rest in (("PATCH", ""), ("POST", "/revoke")):
            body = {"name": "new"} if method == "PATCH" else None
            refused = await either.ask(DEVELOPER, method, path + rest, body, headers={"If-None-Match": unwanted})
            assert (refused.status, refused.code) == (412, "changed_since"), (method, unwanted)
    assert (await either.ask(DEVELOPER, "GET", path)).headers["ETag"] == tag
    other = await either.ask(DEVELOPER, "PATCH", path, {"name": "new"}, headers={"If-None-Match": '"x"'})
    assert (other.status, other.json["name"]) == (200, "new")
    user = f"/apps/{either.ours.id}/users/unknown"
    statuses = [(await either.ask(DEVELOPER, "DELETE", user, headers={"If-None-Match": "*"})).status for _ in range(2)]
    assert statuses == [204, 412]


# Lists


@pytest.mark.parametrize("kind", ["keys", "users", "history"])
async def test_a_list_is_walked_whole_while_it_changes(either: Managed, kind: str) -> None:
    """Somebody who looks through a list would miss a key that leaked, or meet one twice."""
    for number in range(7):
        await either.make_key(name=str(number))
        await either.keeper.create_user_token(either.ours.id, external_id=str(number))
    path = f"/apps/{either.ours.id}/{kind}"
    before = (await either.ask(SPECTATOR, "GET", f"{path}?limit=1000")).json["items"]
    walked: list[Any] = []
    cursor = ""
    while True:
        page = (await either.ask(SPECTATOR, "GET", f"{path}?limit=3{cursor}")).json
        assert 0 < len(page["items"]) <= 3
        walked += page["items"]
        if page["next"] is None or len(walked) > 60:
            break
        cursor = f"&cursor={page['next']}"
        if len(walked) < 9:
            await either.keeper.create_user_token(either.ours.id, external_id=f"new {len(walked)}")
    shown = [str(each) for each in walked]
    assert len(set(shown)) == len(shown)
    assert {str(each) for each in before} <= set(shown)


async def test_a_long_list_is_walked_whole(api: Managed) -> None:
    """Users beyond the first few thousand would be seen by nobody."""
    users = tuple(User(f"{number:05d}", api.ours.id) for number in range(5_001))
    asked = Asked(api.ours.id, more_users=tuple(user.id for user in users))
    await api.store.act([Act(asked, lambda _: Changes(users=users))])
    seen: list[str] = []
    cursor = ""
    for _ in range(6):
        page = (await api.ask(SPECTATOR, "GET", f"/apps/{api.ours.id}/users?limit=1000{cursor}")).json
        seen += [user["id"] for user in page["items"]]
        cursor = f"&cursor={page['next']}"
    assert (page["next"], seen) == (None, [user.id for user in users])


async def test_a_cursor_is_good_for_its_own_list_and_caller(api: Managed) -> None:
    """Somebody would go on in a list that is not theirs, or count what others do by the numbers in a cursor."""
    for _ in range(3):
        await api.make_key()
    path = f"/apps/{api.ours.id}/keys"
    cursor = (await api.ask(DEVELOPER, "GET", f"{path}?limit=1")).json["next"]
    assert (await api.ask(DEVELOPER, "GET", f"{path}?cursor={cursor}")).status == 200
    for who, wrong in [
        (SPECTATOR, f"{path}?cursor={cursor}"),
        (DEVELOPER, f"{path}?cursor={cursor}&state=active"),
        (DEVELOPER, f"/apps/{api.ours.id}/users?cursor={cursor}"),
        (DEVELOPER, f"{path}?cursor={cursor[:-2]}AA"),
        (DEVELOPER, f"{path}?cursor=AAAA"),
        (DEVELOPER, f"{path}?cursor=%00"),
        (DEVELOPER, f"{path}?cursor={'A' * 1999}"),
    ]:
        answer = await api.ask(who, "GET", wrong)
        assert (answer.status, answer.json["faults"][0]["place"]) == (400, "query/cursor"), wrong


async def test_a_cursor_is_good_for_no_other_list_of_the_app(api: Managed) -> None:
    """Somebody would go on in a list from a place that is none there, and take its end for all that there is."""
    lists = {row.path.partition("{app}")[2] for row in ROWS if issubclass(row.query, PageQuery)} - {""}
    assert {"/keys", "/users", "/developers", "/advice", "/reminders", "/incidents", "/history"} <= lists
    for _ in range(2):
        await api.make_key()
        await api.keeper.create_user_token(api.ours.id)
    for kind in ("/keys", "/users", "/developers", "/history"):
        cursor = (await api.ask(DEVELOPER, "GET", f"/apps/{api.ours.id}{kind}?limit=1")).json["next"]
        assert cursor
        for other in lists:
            answer = await api.ask(DEVELOPER, "GET", f"/apps/{api.ours.id}{other}?cursor={cursor}")
            assert answer.status == (200 if other == kind else 400), (kind, other)
            if other != kind:
                assert (answer.code, answer.json["faults"][0]["place"]) == ("request_invalid", "query/cursor")


# Tokens


async def test_developers_issue_and_end_their_own_tokens(either: Managed) -> None:
    """Somebody would have to ask an operator each month, or could end or list others' tokens."""
    made = (await either.ask(DEVELOPER, "POST", "/developer-tokens", {"lifetime_seconds": 3600})).json
    either.tokens["new"] = made["token"]
    assert (await either.ask("new", "GET", "/apps")).json["items"][0]["id"] == either.ours.id
    assert (await either.ask(STRANGER, "POST", f"/developer-tokens/{made['id']}/revoke")).status == 404
    assert (await either.ask("new", "POST", f"/developer-tokens/{made['id']}/revoke")).json["revoked_at"]
    unauthenticated = await either.ask("new", "GET", "/apps")
    assert (unauthenticated.status, unauthenticated.code) == (401, "unauthenticated")
    for_other = {"email": email(STRANGER)}
    assert (await either.ask(DEVELOPER, "POST", "/developer-tokens", for_other)).status == 403
    assert (await either.ask(OPERATOR, "POST", "/developer-tokens", {})).status == 422
    issued = (await either.ask(OPERATOR, "POST", "/developer-tokens", for_other)).json
    assert issued["developer"] == developer_id(email(STRANGER))
    for wrong in (
        {"email": "stranger@exampel.com"},
        {"email": "stranger"},
        for_other | {"lifetime_seconds": 91 * 86_400},
    ):
        assert (await either.ask(OPERATOR, "POST", "/developer-tokens", wrong)).status == 422


async def test_no_false_token_is_told_from_another(api: Managed) -> None:
    """Whoever guesses would learn which part of a guess was right."""
    good = api.tokens[DEVELOPER]
    key = (await api.make_key())["token"]
    told = set()
    for header in [
        "",
        "Bearer",
        "Bearer ",
        f"Basic {good}",
        good,
        f"Bearer {good}x",
        f"Bearer {good[:-1]}",
        f"Bearer {good}, Bearer {good}",
        f"Bearer {key}",
        f"Bearer {OPERATOR_TOKEN[:-1]}",
        f"Bearer {good.replace('gwd', 'gwo')}",
        "Bearer " + "x" * 4000,
        "Bearer ü",
    ]:
        answer = await api.ask("", "GET", "/apps", headers={"Authorization": header})
        told.add((*answer.but_for_its_id[::2], answer.headers["WWW-Authenticate"]))
    assert len(told) == 1
    assert next(iter(told))[0] == 401


# Advice and reminders


async def test_what_a_key_could_do_without(tmp_path: Path) -> None:
    """Nobody would see that a key holds more than it needs."""
    now = [1_800_000_000_000]
    store = open_store(f"sqlite:///{tmp_path / 'gateway.db'}", create=True, clock=lambda: now[0])
    async with managed(store) as api:
        both = {"name": "both", "scopes": ["USER_READ", "USER_LINK"]}
        key = (await api.ask(DEVELOPER, "POST", f"/apps/{api.ours.id}/keys", both)).json["id"]
        now[0] += 20 * DAY
        today = now[0] // DAY
        await store.note_uses({(key, today - 15, "USER_READ"): 3, (key, today, "USER_READ"): 1})

        (advice,) = (await api.ask(SPECTATOR, "GET", f"/apps/{api.ours.id}/advice")).json["items"]

        assert (advice["id"], advice["used"], advice["unused"]) == (key, ["USER_READ"], ["USER_LINK"])
        assert (advice["days"], advice["idle"]) == (16, False)
        assert key in advice["command"]
    await store.close()


async def test_who_was_told_is_listed(either: Managed) -> None:
    """A developer would not see that nobody could be told of a key's end."""
    key = await either.make_key()
    person = developer_id(email(DEVELOPER))
    wanted = Wanted(either.ours.id, key["id"], Mark.ONE_WEEK, person, Channel.EMAIL)
    at = 1_700_000_000_000
    row = Notice(wanted, NoticeState.FAILED, "holder", 0, 3, changed_at=at, made_at=at, error="refused", code=550)
    await either.store.act([Act(wanted.asked, lambda _: Changes(items=(item_of(row),)))])

    listed = (await either.ask(SPECTATOR, "GET", f"/apps/{either.ours.id}/reminders")).json["items"]

    assert listed == [
        {
            "subject": key["id"],
            "mark": "7d",
            "recipient": person,
            "channel": "email",
            "state": "failed",
            "attempts": 3,
            "changed_at": "2023-11-14T22:13:20.000Z",
            "error": "refused",
            "code": 550,
        }
    ]
