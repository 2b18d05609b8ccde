"""Who is calling, proven."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeyPrincipal:
    """An API key of an app, proven: it holds `scopes` until `expires_at` (UTC milliseconds)."""

    key_id: str
    app_id: str
    region: str
    scopes: frozenset[str]
    expires_at: int


@dataclass(frozen=True, slots=True)
class UserPrincipal:
    """An SDK user of an app, proven: everything, but only in the context of `user_id`."""

    user_id: str
    token_id: str
    app_id: str
    region: str
    expires_at: int


Principal = KeyPrincipal | UserPrincipal
