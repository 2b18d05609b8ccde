"""What is wrong with a request, and whatever else goes wrong, is told in the API's own words."""

import re
from typing import Any, Final
from urllib.parse import quote

import pytest

from gateway.control.api.problems import Code, ProblemDetails
from gateway.control.api.routes import Route
from gateway.control.api.table import ROWS
from tests.control.api.test_visibility import filled
from tests.support.managing import DEVELOPER, OPERATOR, Managed

# How pydantic says it: "Input should be a valid string", "Extra inputs are not permitted", "Field required" ...
FOREIGN: Final = re.compile(
    r"should|Extra inputs|Field required|Value error|Unable to|permitted"
    r"|valid (string|list|integer|boolean|dictionary)",
    re.IGNORECASE,
)
WRONG: Final[list[Any]] = [
    *(None, True, 0, -1, 1.5, 10**18, 10**40, "", "x", "Secret9" * 500, "a\nb", "x@", "\u202e"),
    *([], [1], [None], ["x"], ["USER_READ"] * 200, {}, {"a": 1}),
]
QUERIES: Final = ["", "0", "-1", "1.5", "9" * 50, "9" * 5000, "x" * 3000, "Secret9", "dev_x", "\u00e9"]
WITH_BODIES: Final = [row for row in ROWS if row.body is not None]
WITH_QUERIES: Final = [row for row in ROWS if row.query.model_fields]


def told(body: Any) -> list[str]:
    """What is said of a request that is refused."""
    details = [fault["detail"] for fault in body["faults"]]
    assert [each for each in details if not each or FOREIGN.search(each)] == []
    assert "Secret9" not in str(body)
    return details


@pytest.mark.parametrize("row", WITH_BODIES, ids=lambda row: row.operation)
async def test_no_words_of_a_library_about_a_body(api: Managed, row: Route) -> None:
    """People would be told of inputs, strings and dictionaries, and differently after each update."""
    assert row.body is not None
    path = row.path.format(**await filled(api))
    bodies = [*WRONG, {"Secret9 ": 1}, {"other": 1}]
    bodies += [{name: wrong} for name in row.body.model_fields for wrong in WRONG]
    seen = []
    for body in bodies:
        answer = await api.ask(OPERATOR, row.method, path, b"null" if body is None else body)
        if answer.text and "faults" in answer.json:  # a report of a text that is no credential is taken too
            seen += told(answer.json)
    assert "must be an object, not null" in seen
    assert f"is not a member here; known are {', '.join(row.body.model_fields)}" in seen


@pytest.mark.parametrize("row", WITH_QUERIES, ids=lambda row: row.operation)
async def test_no_words_of_a_library_about_a_query(api: Managed, row: Route) -> None:
    """As with bodies."""
    path = row.path.format(**await filled(api))
    seen = []
    for name in (*row.query.model_fields, "other"):
        for wrong in QUERIES:
            answer = await api.ask(OPERATOR, "GET", f"{path}?{name}={quote(wrong)}")
            if answer.status != 200:
                assert answer.status == 400
                seen += told(answer.json)
    assert {"must be a whole number, in digits", "must be at least 1", "must be at most 1000"} <= set(seen)
    assert f"is not a parameter here; known are {', '.join(row.query.model_fields)}" in seen


SENTENCES: Final = [
    ({"scopes": ["USER_READ"]}, "body/name", "is required"),
    ({"name": "", "scopes": ["USER_READ"]}, "body/name", "must not be empty"),
    ({"name": "x" * 101, "scopes": ["USER_READ"]}, "body/name", "must have at most 100 characters"),
    ({"name": 1, "scopes": ["USER_READ"]}, "body/name", "must be text, not a number"),
    ({"name": None, "scopes": ["USER_READ"]}, "body/name", "must be text, not null"),
    ({"name": "k", "scopes": []}, "body/scopes", "must not be empty"),
    ({"name": "k", "scopes": {}}, "body/scopes", "must be a list, not an object"),
    ({"name": "k", "scopes": [1.5]}, "body/scopes/0", "must be text, not a decimal number"),
    ({"name": "k", "scopes": ["USER_READ"] * 101}, "body/scopes", "must have at most 100 items"),
    (
        {"name": "k", "scopes": ["USER_READ"], "lifetime_seconds": 40_000_000},
        "body/lifetime_seconds",
        "must be at most 31622400",
    ),
    (
        {"name": "k", "scopes": ["USER_READ"], "life": 1},
        "body/life",
        "is not a member here; known are name, scopes, lifetime_seconds",
    ),
]


@pytest.mark.parametrize(("body", "place", "sentence"), SENTENCES)
async def test_what_is_wrong_is_said_of_its_place(api: Managed, body: object, place: str, sentence: str) -> None:
    """Somebody would have to guess what to send instead."""
    answer = await api.ask(DEVELOPER, "POST", f"/apps/{api.ours.id}/keys", body)
    assert answer.status == 422
    assert answer.json["faults"] == [{"place": place, "detail": sentence}]


@pytest.mark.parametrize("code", Code)
def test_every_problem_has_a_short_title_and_a_sentence(code: Code) -> None:
    """A person would see a code alone, or a title that is a paragraph."""
    details = ProblemDetails.of(code, ref="r")
    assert len(details.title) <= 30
    assert not details.title.endswith(".")
    assert details.detail.endswith(".")
    assert details.detail != details.title


@pytest.mark.parametrize("path", ["", "/", "?x=1"])
async def test_the_root_leads_to_the_description(api: Managed, path: str) -> None:
    """Whoever opens the API in a browser would not learn where its description is."""
    answer = await api.ask(OPERATOR, "GET", path)
    assert (answer.status, answer.code, answer.headers["Content-Type"]) == (
        404,
        "not_found",
        "application/problem+json",
    )
    assert answer.json["detail"].endswith(" /api/v1/openapi.json.")
    stranger = await api.ask("", "GET", path)
    assert (stranger.status, "/api/v1/openapi.json" in stranger.json["detail"]) == (401, True)
