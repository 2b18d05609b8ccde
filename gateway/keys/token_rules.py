"""The settings of user tokens as the rules that the core decides by."""

from typing import Final

from gateway.core.families import TokenRules
from gateway.core.wishes import DAY
from gateway.settings.users import UserTokens

_SECOND: Final = 1000
_HOUR: Final = 60 * 60 * _SECOND


def rules_of(settings: UserTokens) -> TokenRules:
    """The rules, in milliseconds."""
    return TokenRules(
        lifetime=settings.lifetime_days * DAY,
        family=settings.family_days * DAY,
        at_most=settings.at_most,
        overlap=settings.overlap_seconds * _SECOND,
        late=settings.late_hours * _HOUR,
    )
