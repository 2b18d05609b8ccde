"""The document is what a client is generated from: its names, and what it says of each operation."""

import re
from typing import Any, Final

import pytest

from gateway.control.api import models
from gateway.control.api.openapi import document
from gateway.control.api.table import ROWS

DOCUMENT: Final[dict[str, Any]] = document(ROWS)
SCHEMAS: Final[dict[str, Any]] = DOCUMENT["components"]["schemas"]
OPERATIONS: Final = [
    operation
    for path in DOCUMENT["paths"].values()
    for method, operation in path.items()
    if method in {"get", "post", "patch", "delete"}
]
OPERATION_ID: Final = re.compile(
    r"(list|get|create|rename|rotate|revoke|disable|enable|end|delete|grant|remove|report|acknowledge|close)[A-Z][A-Za-z]+"
)
WITH_BODIES: Final = [row for row in ROWS if row.body is not None]


def test_the_models_have_names_for_clients() -> None:
    """A generated client would have classes that nobody can tell apart, and they could never be named otherwise."""
    assert {"App", "Key", "User", "UserDetail", "Developer", "Incident", "IncidentDetail", "Event"} <= set(SCHEMAS)
    assert {"AppPage", "KeyPage", "UserPage", "NewApp", "NewKey", "RotateKey", "LeakReport", "Reminder"} <= set(SCHEMAS)
    for name, schema in SCHEMAS.items():
        assert re.fullmatch(r"[A-Z][A-Za-z]+", name)
        assert not name.endswith(("Told", "Asked", "Seen", "Made"))
        assert schema["title"] == name
        assert schema["description"]
        assert not any("title" in member for member in schema.get("properties", {}).values())


def test_no_two_models_share_a_name() -> None:
    """One of two models would be described as the other."""
    pages = {row.answer for row in ROWS if row.answer is not None and issubclass(row.answer, models.Page)}
    assert len(pages) == len([name for name in SCHEMAS if name.endswith("Page")])


def test_operations_are_called_by_what_they_do() -> None:
    """A generated client would have methods that are called after paths."""
    names = [operation["operationId"] for operation in OPERATIONS]
    assert {"listKeys", "createKey", "revokeKey", "disableUser", "reportLeak"} <= set(names)
    assert len(set(names)) == len(names) == len(ROWS)
    assert [name for name in names if not OPERATION_ID.fullmatch(name)] == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation["operationId"])
def test_every_operation_says_what_it_does_and_for_whom(operation: dict[str, Any]) -> None:
    """Somebody who generates a client would have to read the source to see who may call it."""
    assert not operation["summary"].endswith(".")
    assert len(operation["summary"]) <= 60
    assert "For " in operation["description"]
    assert {tag["name"] for tag in DOCUMENT["tags"]} >= set(operation["tags"]) != set()
    assert all(parameter["description"] for parameter in operation.get("parameters", []))
    assert {"400", "401", "405", "500", "503"} < set(operation["responses"])
    problems = DOCUMENT["components"]["responses"]
    for status, answer in operation["responses"].items():
        if "$ref" in answer:
            named = problems[answer["$ref"].rpartition("/")[2]]
            (content,) = named["content"].values()
            assert content["example"]["status"] == int(status)
            assert f"`{content['example']['code']}`: " in named["description"]
        else:
            assert answer["description"]


def test_every_header_that_is_answered_is_described() -> None:
    """A generated client would drop the id of a request, or when to try again."""
    problems = DOCUMENT["components"]["responses"]
    assert all("X-Request-Id" in problem["headers"] for problem in problems.values())
    named = {name: set(problem["headers"]) - {"X-Request-Id"} for name, problem in problems.items()}
    assert {name: headers for name, headers in named.items() if headers} == {
        "Unauthorized": {"WWW-Authenticate"},
        "MethodNotAllowed": {"Allow"},
        "ServiceUnavailable": {"Retry-After"},
    }
    renames = DOCUMENT["paths"]["/api/v1/apps/{app}/keys/{key}"]["patch"]["responses"]["200"]["headers"]
    assert set(renames) == {"X-Request-Id", "ETag", "X-Gateway-Replicated"}
    assert all(header["description"] for header in DOCUMENT["components"]["headers"].values())


@pytest.mark.parametrize("row", WITH_BODIES, ids=lambda row: row.operation)
def test_the_examples_of_bodies_are_accepted(row: Any) -> None:
    """Whoever tries the API with the examples of its document would be refused."""
    body = {
        name: each["examples"][0]
        for name, each in row.body.model_json_schema()["properties"].items()
        if "examples" in each
    }
    context = {"scopes": ("OFFLOADS_READ",), "regions": ("eu",)}
    missing = {"token": "gwk_..."} if row.operation == "reportLeak" else {}
    assert row.body.model_validate(body | missing, context=context)
