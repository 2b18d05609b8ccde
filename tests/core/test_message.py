"""Request bodies as tables: what is a message, and what two parsers could read differently."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.decision import Reason, Refused
from gateway.core.message import Message, message_from
from tests.support.vectors import rows

ROWS = rows("message.yaml")


def body_of(row: dict[str, Any]) -> bytes:
    """The bytes of one row."""
    if "body_hex" in row:
        return bytes.fromhex(row["body_hex"])
    if "body_template" in row:
        template = row["body_template"]
        times = template["times"]
        text = (
            template.get("before", "")
            + template["repeat"] * times
            + template.get("close", "") * times
            + template.get("after", "")
        )
        return text.encode()
    return str(row["body"]).encode()


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_bodies(row: dict[str, Any]) -> None:
    """A body that another parser may read differently is taken for a message, or a plain one is refused."""
    try:
        message_from(body_of(row))
        outcome = "ok"
    except Refused as refused:
        outcome = refused.deny.findings[0].reason.value

    assert outcome == row["expect"]


def test_members() -> None:
    """What was asked for is not what is judged."""
    body = b'{"operationName":"A","query":"{ a }","variables":{"v":[1,"x"]}}'

    assert message_from(body) == Message("{ a }", "A", {"v": [1, "x"]})


@pytest.mark.parametrize("member", ["variables", "operationName", "extensions"])
def test_null_members(member: str) -> None:
    """A client that sends null for what it does not use is refused."""
    message = message_from(b'{"query":"{ a }","%b":null}' % member.encode())

    assert message == Message("{ a }", None, {})


@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:\\u0d8query ntlvaibsNaI1e9.-', max_size=80).map(str.encode))
def test_any_bytes(body: bytes) -> None:
    """Some bytes of a stranger's end in a fault of ours instead of a refusal."""
    outcome: Message | Reason
    try:
        outcome = message_from(body)
    except Refused as refused:
        outcome = refused.deny.findings[0].reason

    assert isinstance(outcome, Message) or outcome in (Reason.MESSAGE_MALFORMED, Reason.MESSAGE_TOO_DEEP)
