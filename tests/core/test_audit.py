"""An audit event is read as it was written, and nothing else is taken for one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.audit import AuditAction, AuditEvent, event_from

EVENT = AuditEvent(1_700_000_000_000, AuditAction.KEY_REVOKED, "app", "key", "cli:ada", "cli", "leaked")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
EVENTS = st.builds(
    AuditEvent, st.integers(-(2**62), 2**62), st.sampled_from(AuditAction), TEXTS, TEXTS, TEXTS, TEXTS, TEXTS
)


@given(EVENTS)
def test_what_was_written_is_read(event: AuditEvent) -> None:
    """An export could not be verified, or say something else than what had happened."""
    assert event_from(json.loads(json.dumps(event.as_json()))) == event


def test_the_form_is_kept() -> None:
    """Seals of events that were written before would no longer fit them."""
    assert EVENT.as_json() == {
        "at": 1_700_000_000_000,
        "action": "key.revoked",
        "app": "app",
        "subject": "key",
        "actor": "cli:ada",
        "source": "cli",
        "about": "leaked",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("at", "1700000000000"),
        ("at", 1.0),
        ("at", True),
        ("at", None),
        ("action", "key.revived"),
        ("action", None),
        ("action", ["key.revoked"]),
        *((name, value) for name in ("app", "subject", "actor", "source", "about") for value in (None, 1, ["a"])),
    ],
)
def test_nothing_else_is_an_event(name: str, value: object) -> None:
    """An event that was tampered with would be taken for a good one, or end the command in a stack trace."""
    values = EVENT.as_json()
    with pytest.raises(ValueError, match=r"not an audit event|not a valid"):
        event_from({**values, name: value})
    del values[name]
    with pytest.raises(ValueError, match=r"not an audit event|not a valid"):
        event_from(values)


def test_actions_are_subject_and_act() -> None:
    """Programs that filter by subject would miss some events."""
    subjects = {action.value.partition(".")[0] for action in AuditAction}
    credentials = {"key", "user_token", "developer_token", "code"}
    assert subjects == credentials | {"app", "user", "developer", "incident", "revocation", "store"}
    assert all(action.value.count(".") == 1 for action in AuditAction)
