"""Who is calling, proven."""

from dataclasses import dataclass
from typing import Final

# How long before its end a key is told of it, in milliseconds: two weeks, in one of which somebody is at work.
NOTICE: Final = 14 * 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class KeyPrincipal:
    """An API key of an app, proven: it holds `scopes` until `expires_at` (UTC milliseconds), the first moment at which
    it no longer works: its expiry or its shutdown time."""

    key_id: str
    app_id: str
    region: str
    scopes: frozenset[str]
    expires_at: int

    @property
    def notice_at(self) -> int:
        """From when on its answers tell of its end."""
        return self.expires_at - NOTICE

    @property
    def ids(self) -> tuple[str, ...]:
        """Everything it depends on, as the store names what has ended."""
        return self.key_id, self.app_id


@dataclass(frozen=True, slots=True)
class UserPrincipal:
    """An SDK user of an app, proven: everything, but only in the context of `user_id`, until `expires_at`.

    `token_id` is None where another issuer's token proved it, of which nothing is kept.
    """

    user_id: str
    token_id: str | None
    app_id: str
    region: str
    expires_at: int

    @property
    def ids(self) -> tuple[str, ...]:
        """Everything it depends on, as the store names what has ended."""
        return (self.user_id, self.app_id) if self.token_id is None else (self.token_id, self.user_id, self.app_id)


Principal = KeyPrincipal | UserPrincipal
