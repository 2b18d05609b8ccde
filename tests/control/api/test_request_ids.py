"""Every answer of the API has an id that its line of the log has too."""

from typing import Final

import pytest
import structlog
from structlog.testing import LogCapture

from tests.support.managing import DEVELOPER, NOBODY, OPERATOR, Managed

GIVEN: Final = ["7c1e", "A-b_c.d~e", "x" * 128]
REPLACED: Final = ["", "a b", "x" * 129, "\u00e9", "gwk_98bc3a451c30a4b7.yblsmSo5heQ2"]


@pytest.fixture
def lines() -> LogCapture:
    """What is logged."""
    return LogCapture()


@pytest.fixture(autouse=True)
def _captured(lines: LogCapture) -> None:
    structlog.configure(processors=[lines])


@pytest.mark.parametrize("given", GIVEN)
async def test_the_clients_id_is_taken_over(api: Managed, lines: LogCapture, given: str) -> None:
    """Nobody could find a client's request in the log of the gateway."""
    for who, path, status in [(DEVELOPER, "/apps", 200), (DEVELOPER, "/nowhere", 404), (NOBODY, "/apps", 401)]:
        answer = await api.ask(who, "GET", path, headers={"X-Request-Id": given})
        assert (answer.status, answer.headers["X-Request-Id"]) == (status, given)
        assert lines.entries[-1]["request_id"] == given
        if status != 200:
            assert answer.json["ref"] == given


@pytest.mark.parametrize("given", REPLACED)
async def test_an_id_that_is_none_is_replaced(api: Managed, given: str) -> None:
    """A client could write what it likes into the log, a token by mistake among it."""
    first = await api.ask(NOBODY, "GET", "/apps", headers={"X-Request-Id": given})
    second = await api.ask(NOBODY, "GET", "/apps", headers={"X-Request-Id": given})
    assert first.json["ref"] == first.headers["X-Request-Id"]
    assert given not in {first.json["ref"], second.json["ref"]}
    assert len({given, first.json["ref"], second.json["ref"]}) == 3


async def test_one_line_for_each_call(api: Managed, lines: LogCapture) -> None:
    """Nobody could tell who called what; or the log would hold what a client sent."""
    body = {"name": "Secret9", "scopes": ["USER_READ"]}
    before = len(lines.entries)
    made = await api.ask(DEVELOPER, "POST", f"/apps/{api.ours.id}/keys", body)
    await api.ask(OPERATOR, "GET", "/apps?limit=Secret9")
    await api.ask(NOBODY, "GET", "/openapi.json")
    called = lines.entries[before:]
    told = [(each["event"], each["method"], each["route"], each["caller"], each["status"]) for each in called]
    developer = told[0][3]
    assert developer.startswith("developer:dev_")
    assert told == [
        ("api request", "POST", "/apps/{app}/keys", developer, 201),
        ("api request", "GET", "/apps", "operator:root", 400),
        ("api request", "GET", "/openapi.json", "", 200),
    ]
    assert called[0]["request_id"] == made.headers["X-Request-Id"]
    assert all(0 < each["duration_ms"] < 60_000 for each in called)
    for secret in ("Secret9", made.json["token"], api.tokens[DEVELOPER], api.tokens[OPERATOR]):
        assert secret.rpartition(".")[2] not in str(called)
