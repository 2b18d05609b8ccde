"""HTTP as bytes on the wire: what a strict server refuses, and what it must not."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.running import OWN, Running, answer_from, running
from tests.support.vectors import rows

ROWS = rows("http.yaml")
_REFUSED_AND_CLOSED = (400, 431)


def request_of(row: dict[str, Any], gateway: Running) -> bytes:
    """The bytes of one row; lone lines of the table become lines of the request."""
    if "raw" in row:
        return filled(row["raw"], gateway)
    headers = row.get("headers", ["Host: a", "Authorization: Bearer {key}", "Content-Type: application/json"])
    body = row.get("body", OWN)
    lines = [row.get("start", "POST /v4/gql HTTP/1.1"), *headers, *row.get("more", [])]
    if row.get("length", True):
        lines.append(f"Content-Length: {len(body)}")
    return filled("\r\n".join(lines) + "\r\n\r\n", gateway) + body.encode("latin-1")


def filled(text: str, gateway: Running) -> bytes:
    """The text with tokens and repetitions (`{a*20000}`) put in."""
    text = text.replace("{key}", gateway.keys["USER_READ"]).replace("{user}", gateway.user_token)
    text = re.sub(r"\{a\*(\d+)\}", lambda match: "a" * int(match[1]), text)
    return text.encode("latin-1")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """One gateway for all rows, which none of them may harm."""
    directory = tmp_path_factory.mktemp("http")
    async with running(directory, {"timeouts.header": 1.0, "timeouts.idle": 0.2}) as started:
        yield started


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
async def test_requests(row: dict[str, Any], gateway: Running) -> None:
    """A request that two servers could read differently is forwarded, or a plain one is refused."""
    gateway.upstream.received.clear()

    received = await gateway.raw(request_of(row, gateway))

    first = answer_from(received)
    assert first.status == row["status"]
    if "reason" in row:
        assert first.reasons == [row["reason"]]
    closed = row.get("closed", row["status"] in _REFUSED_AND_CLOSED)
    assert (first.header("Connection") == "close") == closed
    assert len(gateway.upstream.received) == (1 if row["status"] == 200 else 0)
    for token in (gateway.user_token, *gateway.keys.values()):
        assert token.encode() not in received
