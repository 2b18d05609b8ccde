"""Who is calling: from when a key is told of its end, and what each caller depends on."""

from gateway.core.principal import NOTICE, KeyPrincipal, UserPrincipal
from gateway.core.wishes import DAY

KEY = KeyPrincipal("0123456789abcdef", "5a0000000000000000000a01", "eu", frozenset({"USER_READ"}), 366 * DAY)
USER = UserPrincipal("someone", "fedcba9876543210", "5a0000000000000000000a01", "eu", 7 * DAY)


def test_a_key_is_told_of_its_end_two_weeks_before() -> None:
    """The holder of a key would have less time to renew it than is promised."""
    assert NOTICE == 14 * DAY
    assert KEY.notice_at == 352 * DAY


def test_what_a_caller_depends_on() -> None:
    """A caller would be remembered although its app, its user or its credential has ended."""
    assert set(KEY.ids) == {KEY.key_id, KEY.app_id}
    assert set(USER.ids) == {USER.token_id, USER.user_id, USER.app_id}
