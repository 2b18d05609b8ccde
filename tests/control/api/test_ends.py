"""What has ended, or is not whole, is of no use at the management API, and what was half done is told as that."""

import asyncio
import json

import pytest

from gateway.core.people import developer_id
from tests.support.managing import DEVELOPER, OPERATOR, STRANGER, Managed, email

KEY = {"name": "late", "scopes": ["USER_READ"]}


@pytest.mark.parametrize("path", ["/developer-tokens", "/apps/{app}/keys"])
async def test_a_token_that_ends_while_a_body_comes(api: Managed, path: str) -> None:
    """Whoever stole a token could keep a request half sent, and make another one after the end of the first."""
    reader, writer = await asyncio.open_connection(*api.address)
    body = json.dumps({} if path == "/developer-tokens" else KEY).encode()
    token = api.tokens[DEVELOPER]
    writer.write(
        f"POST /api/v1{path.format(app=api.ours.id)} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n"
        "Connection: close\r\n\r\n".encode()
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"

    await api.desk.revoke(token.removeprefix("gwd_").partition(".")[0])
    writer.write(body)

    assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
    writer.close()
    assert [key async for key in api.store.keys(api.ours.id)] == []


async def test_one_key_for_the_tokens_of_several_people(api: Managed) -> None:
    """A program that repeats by mistake what it meant for somebody else would make tokens that nobody asked for."""
    headers = {"Idempotency-Key": "one"}
    first = await api.ask(OPERATOR, "POST", "/developer-tokens", {"email": email(DEVELOPER)}, headers=headers)
    again = await api.ask(OPERATOR, "POST", "/developer-tokens", {"email": email(DEVELOPER)}, headers=headers)
    other = await api.ask(OPERATOR, "POST", "/developer-tokens", {"email": email(STRANGER)}, headers=headers)

    assert (first.status, again.status, again.json["token"]) == (201, 201, None)
    assert (other.status, other.code) == (422, "repeat_differs")
    made = [token async for token in api.desk.all_of() if token.created_by == "operator:root"]
    assert [token.developer for token in made] == [developer_id(email(DEVELOPER))]


async def test_a_star_is_not_what_does_not_exist(api: Managed) -> None:
    """A change would be made to what is not there, though it was to be there."""
    path = f"/apps/{api.ours.id}/users/never"
    for tags in ("*", '"x"'):
        refused = await api.ask(DEVELOPER, "DELETE", path, headers={"If-Match": tags})
        assert (refused.status, refused.code) == (412, "changed_since")
    assert [user async for user in api.store.users(api.ours.id)] == []


async def test_an_etag_where_there_is_none(api: Managed) -> None:
    """A change would be made that was asked for under a condition which nobody looks at."""
    key = await api.make_key()
    await api.ask(DEVELOPER, "POST", f"/apps/{api.ours.id}/leak-reports", {"id": key["id"]})
    (incident,) = (await api.ask(DEVELOPER, "GET", f"/apps/{api.ours.id}/incidents")).json["items"]
    path = f"/apps/{api.ours.id}/incidents/{incident['id']}/close"
    for headers in ({"If-Match": '"x"'}, {"If-None-Match": "*"}):
        refused = await api.ask(DEVELOPER, "POST", path, headers=headers)
        assert (refused.status, refused.code) == (400, "request_invalid")
    assert (await api.ask(DEVELOPER, "POST", path)).json["state"] == "closed"


async def test_a_token_that_is_not_whole(api: Managed) -> None:
    """Developers of one app could open incidents in another, and have its people told, by ids alone."""
    key = await api.make_key()
    for token in (f"gwk_{key['id']}", f"gwk_{key['id']}.{'A' * 48}", key["token"][:-1] + "!"):
        assert (await api.ask(STRANGER, "POST", "/leak-reports", {"token": token})).status == 204
    assert (await api.ask(DEVELOPER, "GET", f"/apps/{api.ours.id}/incidents")).json["items"] == []
    assert (await api.ask(OPERATOR, "POST", "/leak-reports", {"token": f"gwk_{key['id']}"})).status == 204
    (incident,) = (await api.ask(DEVELOPER, "GET", f"/apps/{api.ours.id}/incidents")).json["items"]
    assert (incident["proven"], incident["ended"]) == (False, False)


@pytest.mark.parametrize("limit", ["1_0", "%201", "%2B1", "1.0", "-1", "%D9%A3"])
async def test_numbers_are_digits(api: Managed, limit: str) -> None:
    """Two readers of a URL could take it for different pages."""
    assert (await api.ask(OPERATOR, "GET", f"/apps?limit={limit}")).status == 400
    assert (await api.ask(OPERATOR, "GET", "/apps?limit=10")).status == 200


async def test_a_member_that_is_a_secret(api: Managed) -> None:
    """A token that was pasted into the wrong place would be repeated, and stand in somebody's log."""
    key = await api.make_key()
    refused = await api.ask(DEVELOPER, "POST", f"/apps/{api.ours.id}/keys", {key["token"]: 1, **KEY})
    assert refused.status == 422
    assert key["token"].partition(".")[2][:8].encode() not in refused.text


async def test_who_leaves_in_the_middle(api: Managed, capsys: pytest.CaptureFixture[str]) -> None:
    """Anybody with a token could fill the log with faults of ours that are none."""
    reader, writer = await asyncio.open_connection(*api.address)
    writer.write(
        f"POST /api/v1/apps/{api.ours.id}/keys HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {api.tokens[DEVELOPER]}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n".encode()
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b'{"na')
    writer.transport.abort()
    await api.ask(OPERATOR, "GET", "/apps")
    assert "internal error" not in capsys.readouterr().out
