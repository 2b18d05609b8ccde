"""What acts see and change, as values."""

import pytest

from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.ledger import ActReason, ActRefused, Asked, Changes, Snapshot
from gateway.core.records import App, KeyRecord, Role, User, UserTokenRecord

APP = App("5a0000000000000000000a01", "demo", "eu")
KEY = KeyRecord("5a00000000000001", APP.id, "key", frozenset(), b"v", 0, 1)
TOKEN = UserTokenRecord("5a00000000000002", APP.id, "u", b"v", 0, 1)
EVENT = AuditEvent(0, AuditAction.APP_CREATED, APP.id, APP.id, "tester")


@pytest.mark.parametrize(
    "changes",
    [
        Changes(app=APP),
        Changes(keys=(KEY,)),
        Changes(users=(User("u", APP.id),)),
        Changes(tokens=(TOKEN,)),
        Changes(roles={"ada@example.com": Role.SPECTATOR}),
        Changes(roles={"ada@example.com": None}),
        Changes(events=(EVENT,)),
    ],
)
def test_changes_are_told_from_none(changes: Changes) -> None:
    """A store would not write what was decided, or a command say that nothing had to be done."""
    assert changes
    assert not Changes()


def test_a_user_by_the_name_that_its_app_has_for_it() -> None:
    """A second token of a user would make a second user."""
    users = {user.id: user for user in (User("u", APP.id), User("v", APP.id, "customer-17"))}
    snapshot = Snapshot(0, APP, users=users)
    assert snapshot.external("customer-17") == users["v"]
    assert snapshot.external("u") is None


def test_what_is_asked_for() -> None:
    """An import would not see the users whom its tokens are for."""
    assert Asked(APP.id).users == Asked(APP.id).external_ids == ()
    asked = Asked(APP.id, user_id="a", external_id="b", more_users=("c",), more_external_ids=("d",))
    assert (asked.users, asked.external_ids) == (("a", "c"), ("b", "d"))
    assert Asked(APP.id, more_users=("c",), more_external_ids=("d",)).users == ("c",)
    assert Asked(APP.id, more_external_ids=("d",)).external_ids == ("d",)
    assert "customer" not in repr(Asked(APP.id, external_id="customer-17", more_external_ids=("customer-18",)))


def test_a_refusal_is_for_programs_and_people() -> None:
    """A command could not say what is wrong, or a program not tell what to do."""
    refusal = ActRefused(ActReason.KEY_ENDED, "The key has ended.")
    assert (refusal.reason, refusal.message, str(refusal)) == (
        ActReason.KEY_ENDED,
        "The key has ended.",
        refusal.message,
    )
