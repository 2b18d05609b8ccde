"""What settings change about the policy: report mode and introspection."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from tests.support.running import OWN, Running, message, running
from tests.support.vectors import OTHER_USER, OWN_USER
from tests.support.wire import here, line_of

GRAPHQL_RESPONSE = "application/graphql-response+json"
USER, KEY = "user", "USER_READ"
INTROSPECTION = '{"query":"{ __schema { queryType { name } } }"}'


# Report mode ----------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reporting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A gateway that only reports what the policy refuses."""
    async with running(tmp_path_factory.mktemp("report"), {"policy.mode": "report"}) as started:
        yield started


REPORTED: dict[str, tuple[str, str, int, str | None]] = {
    "allowed": (USER, OWN, 200, None),
    "scope": (KEY, message("{ offloads { day } }"), 200, "scope_missing"),
    "keys-only": (USER, message("{ offloads { day } }"), 200, "keys_only"),
    "not-own": (USER, message('{ user(user_id: "583e08a1cd99250700000002") { id } }'), 200, "not_own_data"),
    "unknown-below-the-root": (KEY, message("{ user { nope } }"), 200, "field_unknown"),
    "two": (KEY, message("{ offloads { day nope } }"), 200, "scope_missing, field_unknown"),
    "unknown-at-the-root": (KEY, message("{ nope }"), 200, None),
    "closed": (KEY, message("mutation { createFeedback { id } }"), 403, None),
    "introspection": (USER, INTROSPECTION, 403, None),
    "document": (KEY, message("{"), 200, None),
    "message": (KEY, "{", 400, None),
    "closed-among-reportable": (USER, message("{ offloads { day } __schema { queryType { name } } }"), 403, None),
}


@here
@pytest.mark.parametrize("row", REPORTED)
async def test_report_mode(reporting: Running, row: str) -> None:
    """Report mode would refuse what it is to let through, or let through what must always be refused."""
    caller, body, status, reported = REPORTED[row]
    token = reporting.user_token if caller == USER else reporting.keys[caller]
    reporting.upstream.received.clear()
    reporting.upstream.answer_headers = {"X-Gateway-Would-Refuse": "the upstream's"}
    answer = await reporting.ask(body, token=token)
    passes = reported is not None or row == "allowed"
    assert (answer.status, len(reporting.upstream.received)) == (status, int(passes))
    told = answer.header("X-Gateway-Would-Refuse")
    assert (set(told.split(", ")) if told else None) == (set(reported.split(", ")) if reported else None)
    line = await line_of(reporting, answer)
    decision = "allow" if row == "allowed" else "allow_reported" if reported else "refuse"
    assert line["decision"] == decision
    if reported:
        assert set(line["reasons"]) == set(reported.split(", "))


@here
@pytest.mark.parametrize(
    ("target", "caller", "status", "reported"),
    [
        (f"/v2/users/{OTHER_USER}", "user", 200, "not_own_data"),
        ("/v2/users/abc/link", "user", 200, "keys_only"),
        ("/v2/users/abc/link", "USER_READ", 200, "scope_missing"),
        ("/v2/users/me", "USER_READ", 403, None),
        ("/v2/users/me", None, 401, None),
        ("/v2/users/me", "gwk_no", 401, None),
        ("/nowhere", "user", 404, None),
        (f"/v2/users/{OWN_USER}?a=b", "user", 400, None),
    ],
)
async def test_report_mode_on_routes(
    reporting: Running, target: str, caller: str | None, status: int, reported: str | None
) -> None:
    """Report mode would judge REST routes differently from operations."""
    token = {**reporting.keys, "user": reporting.user_token}.get(caller or "", caller)
    method = "POST" if target == "/v2/users/abc/link" else "GET"
    answer = await reporting.ask(token=token, target=target, method=method, body=b"")
    assert (answer.status, answer.header("X-Gateway-Would-Refuse")) == (status, reported)


@here
async def test_report_mode_is_told(reporting: Running) -> None:
    """An operator would forget that nothing is enforced."""
    async with ClientSession() as session:
        async with session.get(f"{reporting.app.admin_url}/ready") as answer:
            assert (await answer.json())["policy_mode"] == "report"
        async with session.get(f"{reporting.app.admin_url}/metrics") as answer:
            text = await answer.text()
    assert re.search(r"^gateway_report_mode 1\.0$", text, re.MULTILINE)


# Introspection --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("setting", "key", "user"), [("none", 403, 403), ("keys", 200, 403), ("all", 200, 200)])
async def test_introspection(tmp_path: Path, setting: str, key: int, user: int) -> None:
    """The schema would be shown to somebody whom it is closed to."""
    async with running(tmp_path, {"policy.introspection": setting}) as gateway:
        for token, status in ((gateway.keys[KEY], key), (gateway.user_token, user)):
            answer = await gateway.ask(INTROSPECTION, token=token)
            assert answer.status == status
            unknown, closed = [
                await gateway.ask(message(query), token=token)
                for query in ("mutation { nope }", "mutation { createFeedback }")
            ]
            alike = unknown.reasons == closed.reasons == ["field_closed"]
            assert alike is (status == 403)
