"""The one request and the one answer that every figure of the bench is taken with."""

import json

REQUEST_PATH = "/v4/gql"
REQUEST_BYTES = 390
ANSWER_BYTES = 780
# The alias of one field is ten digits: another number makes another document of the same size and shape.
SAME_DOCUMENT = "0" * 10
ANSWER_TYPE = "application/json"

_USER = "5f0c1e0b2d4e6a0001a1b2c3"
_QUERY = (
    "query UserOverview($user_id: String, $from: String) { user(user_id: $user_id) { id install_id created_at"
    f" s{SAME_DOCUMENT}: segments {{ type }}"
    " event_history(from: $from) { type start end ... on Transport { mode distance } ... on Stationary { duration } }"
    " device { os os_version } } }"
)


def request_body() -> bytes:
    """Exactly 390 bytes: a read of one user, allowed to a key that holds USER_READ."""
    message = {
        "operationName": "UserOverview",
        "query": _QUERY,
        "variables": {"user_id": _USER, "from": "2024-01-01"},
    }
    return _of_length(json.dumps(message, separators=(",", ":")), REQUEST_BYTES)


def answer_body() -> bytes:
    """Exactly 780 bytes: an answer that fits the request."""
    moved = {"type": "Transport", "start": "2024-01-01T08:00:00Z", "end": "2024-01-01T08:30:00Z", "mode": "car"}
    stayed = {"type": "Stationary", "start": "2024-01-01T08:30:00Z", "end": "2024-01-01T17:00:00Z", "duration": 30600}
    user = {
        "id": _USER,
        "install_id": "0f8b9c1d-6a5e-4b7c-9d2f-3e1a5c7b9d0e",
        "created_at": "2023-06-01T12:00:00.000Z",
        f"s{SAME_DOCUMENT}": [{"type": "GenericSegment"}] * 5,
        "event_history": [{**moved, "distance": 11000}, stayed] * 2,
        "device": {"os": "android", "os_version": "14 (API 34)"},
    }
    return _of_length(json.dumps({"data": {"user": user}}, separators=(",", ":")), ANSWER_BYTES)


def _of_length(text: str, length: int) -> bytes:
    if len(text) != length:
        raise ValueError(f"the text has {len(text)} bytes and must have {length}")
    return text.encode("ascii")
