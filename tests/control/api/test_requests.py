"""How the API reads a request: who asks before what is asked, and every fault of it at once."""

import asyncio
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

import pytest

from gateway.core.ledger import Act, Asked, Changes, Item, ItemKind
from gateway.core.token import mint
from gateway.store.contract import Store
from tests.support.managing import DEVELOPER, NOBODY, OPERATOR, Managed, served

GOOD: Final = {"name": "k", "scopes": ["USER_READ"]}


async def test_all_faults_of_a_body_are_told_at_once(api: Managed) -> None:
    """Somebody would mend one fault after another."""
    wrong = {"name": "a\nb", "scopes": ["NO"], "lifetime_seconds": 0, "more": "Secret9"}
    answer = await api.ask(DEVELOPER, "POST", f"/apps/{api.ours.id}/keys", wrong)
    assert (answer.status, answer.code, answer.headers["Content-Type"]) == (
        422,
        "wish_invalid",
        "application/problem+json",
    )
    places = {fault["place"] for fault in answer.json["faults"]}
    assert places == {"body/name", "body/scopes", "body/lifetime_seconds", "body/more"}
    assert "Secret9" not in str(answer.text)


BODIES: Final[list[tuple[bytes, Mapping[str, str], int, str]]] = [
    (b"", {}, 400, "request_invalid"),
    (b"[]", {}, 422, "wish_invalid"),
    (b'{"name":"a","name":"b","scopes":["USER_READ"]}', {}, 400, "request_invalid"),
    (json.dumps(GOOD).encode() + b"x", {}, 400, "request_invalid"),
    (b'{"name":"\xff","scopes":["USER_READ"]}', {}, 400, "request_invalid"),
    (b'{"name":1,"scopes":["USER_READ"]}', {}, 422, "wish_invalid"),
    (b'{"name":"a","scopes":["USER_READ"],"lifetime_seconds":"60"}', {}, 422, "wish_invalid"),
    (b"[" * 1000 + b"]" * 1000, {}, 400, "request_invalid"),
    (b" " * 70_000, {}, 413, "body_too_large"),
    (json.dumps(GOOD).encode(), {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
    (json.dumps(GOOD).encode(), {"Content-Type": "application/json; charset=latin1"}, 415, "unsupported_media_type"),
    (json.dumps(GOOD).encode(), {"Content-Encoding": "gzip"}, 415, "unsupported_media_type"),
    (json.dumps(GOOD).encode(), {"Content-Type": "application/json;charset=UTF-8", "Accept": "text/html"}, 201, ""),
]


@pytest.mark.parametrize(("body", "headers", "status", "code"), BODIES)
async def test_bodies(api: Managed, body: bytes, headers: Mapping[str, str], status: int, code: str) -> None:
    """A key would be made of what two readers understand differently, or the gateway would hold what anybody sends."""
    answer = await api.ask(DEVELOPER, "POST", f"/apps/{api.ours.id}/keys", body, headers=headers)
    assert (answer.status, "" if status == 201 else answer.code) == (status, code)


@pytest.mark.parametrize(
    ("method", "path", "status", "place"),
    [
        ("GET", "/apps?limit=0", 400, "query/limit"),
        ("GET", "/apps?limit=1001", 400, "query/limit"),
        ("GET", "/apps?limit=1&limit=2", 400, "query/limit"),
        ("GET", "/apps?token=x", 400, "query/token"),
        ("POST", "/developer-tokens?email=x", 400, "query/email"),
        ("GET", "/nowhere", 404, None),
        ("GET", "/apps/", 404, None),
        ("GET", "//apps", 404, None),
        ("GET", "/apps/../apps", 404, None),
        ("GET", "/apps/%ff", 404, None),
        ("GET", "/", 404, None),
        ("PUT", "/apps", 405, None),
        ("HEAD", "/apps", 200, None),
    ],
)
async def test_what_is_asked_for(api: Managed, method: str, path: str, status: int, place: str | None) -> None:
    """A mistyped parameter would be passed over, or a path be read in two ways."""
    answer = await api.ask(OPERATOR, method, path, {} if method == "POST" else None)
    assert answer.status == status
    assert answer.headers["Cache-Control"] == "no-store"
    if place:
        assert answer.json["faults"][0]["place"] == place
    if status == 405:
        assert answer.headers["Allow"] == "GET, POST"


async def test_a_body_without_a_length_is_bounded_too(api: Managed) -> None:
    """A developer could fill the gateway's memory."""
    reader, writer = await asyncio.open_connection(*api.address)
    writer.write(
        f"POST /api/v1/apps/{api.ours.id}/keys HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {api.tokens[DEVELOPER]}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    )
    for _ in range(9):
        writer.write(b"2000\r\n" + b" " * 0x2000 + b"\r\n")
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_no_body_of_a_stranger_is_asked_for(api: Managed) -> None:
    """Anybody who reaches the port could make the gateway take what they send."""
    reader, writer = await asyncio.open_connection(*api.address)
    writer.write(
        b"POST /api/v1/apps HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        b"Content-Length: 60000\r\nExpect: 100-continue\r\n\r\n"
    )
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"onnection: close" in answer


@pytest.mark.parametrize(
    ("headers", "status", "place"),
    [
        ({"If-Match": "x"}, 400, "header/If-Match"),
        ({"If-Match": '"a" "b"'}, 400, "header/If-Match"),
        ({"If-Match": '"a", W/"b"'}, 412, None),
        ({"If-None-Match": "*"}, 412, None),
        ({"If-None-Match": "x"}, 400, "header/If-None-Match"),
        ({"Expect": "the-best"}, 417, None),
    ],
)
async def test_headers(api: Managed, headers: Mapping[str, str], status: int, place: str | None) -> None:
    """A client's condition would be passed over, and its change done all the same."""
    key = await api.make_key()
    answer = await api.ask(
        DEVELOPER, "PATCH", f"/apps/{api.ours.id}/keys/{key['id']}", {"name": "new"}, headers=headers
    )
    assert answer.status == status
    if place:
        assert answer.json["faults"][0]["place"] == place


class Counting:
    """A store that knows what it was asked for."""

    def __init__(self, store: Store) -> None:
        self.asked: list[str] = []
        self._store = store

    def __getattr__(self, name: str) -> object:
        self.asked.append(name)
        return getattr(self._store, name)


async def test_an_unknown_token_takes_as_long_as_a_wrong_one(api: Managed) -> None:
    """Somebody could tell by the time which ids of tokens there are, and how many people use the API."""
    counting = Counting(api.store)
    known = bytes.fromhex(api.tokens[DEVELOPER].removeprefix("gwd_").partition(".")[0])
    asked = []
    async with served(cast("Store", counting)) as url:
        for token_id in (known, secrets.token_bytes(8)):
            counting.asked.clear()
            token = mint("gwd", token_id, secrets.token_bytes(48)).reveal()
            answer = await api.ask(NOBODY, "GET", "/apps", headers={"Authorization": f"Bearer {token}"}, url=url)
            assert (answer.status, answer.code) == (401, "unauthenticated")
            asked.append(list(counting.asked))
    assert asked[0] == asked[1] == ["find_item", "look"]


async def test_a_body_where_none_is_wanted_is_told(api: Managed) -> None:
    """A client would believe that what it sent was heeded."""
    key = await api.make_key()
    path = f"/apps/{api.ours.id}/keys/{key['id']}/revoke"
    assert (await api.ask(DEVELOPER, "POST", path, {"why": "leaked"})).status == 400
    assert (await api.ask(DEVELOPER, "POST", path, {})).status == 200


async def test_damage_in_the_store_is_not_the_clients_fault(api: Managed) -> None:
    """A client would be told that a leak was never reported."""
    item = Item(ItemKind.INCIDENT, f"{api.ours.id[:2]}inc{'0' * 16}", api.ours.id, "rubbish")
    await api.store.act([Act(Asked(api.ours.id, items=(item.key,)), lambda _: Changes(items=(item,)))])
    for path in ("/incidents", f"/incidents/{item.id}"):
        answer = await api.ask(DEVELOPER, "GET", f"/apps/{api.ours.id}{path}")
        assert (answer.status, answer.code) == (503, "store_unavailable")


async def test_the_document_is_there_for_everybody(api: Managed) -> None:
    """A client could not be generated."""
    answer = await api.ask(NOBODY, "GET", "/openapi.json")
    assert (answer.status, answer.json["openapi"]) == (200, "3.1.0")


async def test_a_store_that_is_away_is_nobodys_fault(api: Managed, tmp_path: Path) -> None:
    """A client would throw away a good token, or believe that a key was made."""
    (tmp_path / "gateway.db").unlink()
    answer = await api.ask(DEVELOPER, "POST", f"/apps/{api.ours.id}/keys", GOOD)
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "store_unavailable", "1")
