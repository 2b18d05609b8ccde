"""A record works until its end, and shows nothing that would help a thief."""

from collections.abc import Callable

import pytest

from gateway.core.records import Fault, KeyRecord, UserTokenRecord, ends_at, key_fault

END = 2000
VERIFIER = bytes(range(32))


def key(expires_at: int = END, revoked_at: int | None = None) -> KeyRecord:
    """A key record with these ends."""
    return KeyRecord("0123456789abcdef", "a" * 24, "key", frozenset({"USER_READ"}), VERIFIER, 0, expires_at, revoked_at)


def token(expires_at: int = END, revoked_at: int | None = None) -> UserTokenRecord:
    """A user token's record with these ends."""
    return UserTokenRecord("fedcba9876543210", "a" * 24, "b" * 24, VERIFIER, 0, expires_at, revoked_at)


@pytest.mark.parametrize("record", [key, token])
@pytest.mark.parametrize(
    ("expires_at", "revoked_at", "now", "fault"),
    [
        (2000, None, 1999, None),
        (2000, None, 2000, Fault.EXPIRED),
        (2000, None, 2001, Fault.EXPIRED),
        (2000, 1000, 999, None),
        (2000, 1000, 1000, Fault.REVOKED),
        (2000, 1000, 2000, Fault.REVOKED),
        (2000, 3000, 2500, Fault.EXPIRED),
        (2000, 3000, 3000, Fault.REVOKED),
        (2000, 0, 0, Fault.REVOKED),
        (0, None, 0, Fault.EXPIRED),
    ],
)
def test_a_record_works_until_its_end(
    record: Callable[[int, int | None], KeyRecord | UserTokenRecord],
    expires_at: int,
    revoked_at: int | None,
    now: int,
    fault: Fault | None,
) -> None:
    """A revoked or expired credential would work for a moment longer, or a good one end a moment early."""
    assert key_fault(record(expires_at, revoked_at), now) is fault


@pytest.mark.parametrize(
    ("expires_at", "revoked_at", "end"), [(2000, None, 2000), (2000, 1000, 1000), (2000, 3000, 2000), (2000, 0, 0)]
)
def test_the_earlier_end_counts(expires_at: int, revoked_at: int | None, end: int) -> None:
    """A remembered credential would outlive its revocation."""
    record = key(expires_at, revoked_at)
    assert ends_at(record) == end
    assert key_fault(record, end) is not None
    assert key_fault(record, end - 1) is None


@pytest.mark.parametrize("record", [key(), token()])
def test_a_record_does_not_show_its_verifier(record: KeyRecord | UserTokenRecord) -> None:
    """A log line would hold what a stolen token list is compared with."""
    assert repr(VERIFIER) not in repr(record)
    assert record.id in repr(record)
