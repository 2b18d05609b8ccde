"""The leaves of the pretend data: what their names promise."""

import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from graphql import GraphQLObjectType, GraphQLScalarType, get_named_type

from gateway.dev.execute import schema_from
from gateway.dev.values import Node, key_of, scalar

VENDOR = schema_from((Path(__file__).parents[2] / "config" / "schema.graphql").read_text("utf-8"))
NODES = range(12)

ISO = r"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z"
HEX24 = r"[0-9a-f]{24}"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"

TEXTS = [
    ("User", "id", HEX24),
    ("UserEngagementGroupMember", "user_id", HEX24),
    ("User", "application_id", HEX24),
    ("Order", "customerId", HEX24),
    ("Transport", "transport_id", UUID),
    ("Stationary", "event_id", UUID),
    ("DeleteUserResult", "request_id", UUID),
    ("Trip", "id", UUID),
    ("User", "external_id", r"customer-[0-9]{4}"),
    ("MomentDefinition", "id", r"[a-z]+_[a-z]+"),
    ("MomentDefinition", "display_name", r"[A-Z][a-z]+ [a-z]+"),
    ("User", "created_at", ISO),
    ("User", "createdAt", ISO),
    ("Transport", "start", ISO),
    ("Waypoint", "timestamp", ISO),
    ("LocationCluster", "last_visit", ISO),
    ("Offload", "day", r"20[0-9]{2}-[0-9]{2}-[0-9]{2}"),
    ("UserEngagementChallenge", "image_url", r"https://images\.example\.com/[0-9a-f]+\.png"),
    ("Link", "url", r"https://files\.example\.com/[0-9a-f]+"),
    ("ControlUser", "email", r"[a-z]+\.[a-z]+@example\.com"),
    ("UserEngagementGroup", "name", r"[A-Z][a-z]+ [A-Z][a-z]+"),
    ("UserEngagementGroupMember", "name", r"[A-Z][a-z]+ [A-Z][a-z]+"),
    ("OffloadFile", "name", r"[a-z-]+-20[0-9]{2}-[0-9]{2}-[0-9]{2}\.(parquet|csv\.gz|json\.gz)"),
    ("UserEngagementGroup", "reg_code", r"[0-9A-F]{6}"),
    ("Address", "type", r"Address"),
    ("Address", "city", r"[A-Z][a-z]+"),
    ("Badge", "description", r"[A-Z].*\."),
    ("Thing", "whatever", r"[a-z]+ [a-z]+"),
]
NUMBERS = [
    ("Waypoint", "latitude", "Float", -90, 90),
    ("Waypoint", "longitude", "Float", -180, 180),
    ("CarBehaviorScores", "overall_v2", "Float", 0, 1),
    ("UserEngagementGroupRank", "score", "Float", 0, 1),
    ("UserEngagementScore", "value", "Float", 0, 1),
    ("Branch", "probability", "Float", 0, 1),
    ("Transport", "distance", "Int", 1, 1_000_000),
    ("DistanceAnomaly", "observed_distance", "Float", 1, 1_000_000),
    ("HandheldCallingAnnotation", "duration", "Int", 1, 86_400),
    ("StationaryTimeAggregate", "duration", "Float", 1, 86_400),
    ("CarBehaviorScores", "handheld_calling_duration", "Int", 1, 86_400),
    ("OffloadFile", "size", "Int", 1, 1 << 30),
    ("UserStepCountHourly", "hour", "Float", 0, 23),
    ("Crash", "confidence", "Int", 0, 100),
    ("CrashAnnotation", "confidence", "Float", 0, 1),
    ("Weather", "temperature", "Float", -50, 60),
    ("Transport", "start_ts", "BigInt", 1_700_000_000_000, 1_900_000_000_000),
    ("Transport", "startTs", "Int", 1_700_000_000, 1_900_000_000),
]


@pytest.mark.parametrize(("type_name", "name", "pattern"), TEXTS)
def test_texts_look_like_what_they_are_called(type_name: str, name: str, pattern: str) -> None:
    """A client that parses ids, times, links or codes would fail on the pretend data and not on the real."""
    for key in NODES:
        value = scalar(Node(type_name, key), name, "String")
        assert isinstance(value, str)
        assert re.fullmatch(pattern, value), value


@pytest.mark.parametrize(("type_name", "name", "kind", "low", "high"), NUMBERS)
def test_numbers_stay_in_their_range(type_name: str, name: str, kind: str, low: float, high: float) -> None:
    """A chart or a validator on the client's side would trip over impossible numbers."""
    for key in NODES:
        value = scalar(Node(type_name, key), name, kind)
        assert isinstance(value, float if kind == "Float" else int)
        assert low <= value <= high


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [("DateTime", ISO), ("Date", r"20[0-9]{2}-[0-9]{2}-[0-9]{2}"), ("UUID", UUID), ("Unheard", r"[a-z]+ [a-z]+")],
)
def test_custom_scalars_of_other_schemas_have_their_form(kind: str, pattern: str) -> None:
    """A newcomer's own schema would be answered with texts that its scalars do not allow."""
    assert re.fullmatch(pattern, str(scalar(Node("Order", 7), "whatever", kind)))


def test_the_overall_score_reaches_a_hundred_and_others_one() -> None:
    """A driver with an overall score of 84 would be shown as 0.84, or an attention score of 0.9 as 90."""
    overall = [value_of_score("OVERALL_SCORE", key) for key in NODES]
    others = [value_of_score("LEGAL_SCORE", key) for key in NODES]
    assert 1 < max(overall) <= 100
    assert 0 <= min(others) <= max(others) <= 1


def value_of_score(name: str, key: int) -> float:
    """The value beside that name."""
    value = scalar(Node("Score", key, known={"name": name}), "value", "Float")
    assert isinstance(value, float)
    return value


def test_times_of_one_object_agree() -> None:
    """A trip would end before it starts, or its milliseconds would tell another time than its text."""
    for key in NODES:
        node = Node("Transport", key)
        start, end, created, expires = (
            datetime.fromisoformat(str(scalar(node, name, "String")))
            for name in ("start", "end", "created_at", "expires_at")
        )
        assert created < start < end <= expires
        assert scalar(node, "start_ts", "BigInt") == start.timestamp() * 1000
        assert scalar(node, "duration", "Int") == (end - start).total_seconds()


def test_neighbours_in_a_list_differ() -> None:
    """A list would show the same name or the same day three times, which no developer believes."""
    for name in ("name", "day", "start", "message", "id"):
        values = {scalar(Node("Thing", 5, index), name, "String") for index in range(3)}
        assert len(values) == 3, name


def test_every_scalar_field_of_the_vendors_schema_has_a_value_of_its_type() -> None:
    """A field nobody thought of would answer with an error instead of data."""
    for owner in VENDOR.type_map.values():
        if not isinstance(owner, GraphQLObjectType) or owner.name.startswith("__"):
            continue
        for name, field in owner.fields.items():
            kind = get_named_type(field.type)
            if isinstance(kind, GraphQLScalarType):
                value = scalar(Node(owner.name, 3), name, kind.name)
                assert kind.serialize(value) == value, f"{owner.name}.{name}"


PROGRAM = """
from gateway.dev.values import Node, scalar
print([scalar(Node("User", 9, i), name, "String") for i in range(3) for name in ("id", "name", "created_at", "city")])
"""


def test_another_process_finds_the_same_values() -> None:
    """A user found yesterday would be another one after a restart."""
    said = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


@pytest.mark.parametrize("parts", [((1, 2), (2, 1)), (("a",), ("a", "")), (({"a": 1},), ({"a": 2},)), ((1,), ("1",))])
def test_other_parts_make_another_key(parts: tuple[tuple[object, ...], tuple[object, ...]]) -> None:
    """Two objects would share all their values."""
    assert key_of(*parts[0]) != key_of(*parts[1])


def test_a_key_does_not_depend_on_the_order_of_arguments() -> None:
    """The same field with its arguments written in another order would be another object."""
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
