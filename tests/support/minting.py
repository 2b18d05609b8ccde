"""Credentials of every kind and state, made as the commands make them."""

import secrets
import time
from typing import Any, Final

from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.records import App
from gateway.core.token import Prefixes, mint
from gateway.keys.create import DAY, create_app, create_key, create_user_token
from gateway.store.contract import Store
from tests.support.running import SCOPES

_ALL: Final = tuple(SCOPES)


def now() -> int:
    """UTC milliseconds."""
    return time.time_ns() // 1_000_000


async def an_app(store: Store, region: str = "eu", name: str = "another") -> App:
    """A new app."""
    return await create_app(store, name, region, regions=[region], **_made())


async def a_key(store: Store, app: App, *scopes: str, ends: int | None = None) -> str:
    """The token of a new key; `ends` is when it does, in milliseconds from now, even if that is over."""
    made = _made()
    if ends is not None:
        made |= {"now": made["now"] - DAY, "expires_at": made["now"] + ends}
    _, secret = await create_key(
        store, app.id, "a key", scopes or _ALL, known_scopes=SCOPES, prefixes=Prefixes(), **made
    )
    return secret.reveal()


async def a_user_token(store: Store, app: App, user_id: str | None = None, *, ends: int | None = None) -> str:
    """The token of a user; `ends` is when it does, in milliseconds from now, even if that is over."""
    made = _made()
    if ends is not None:
        made |= {"now": made["now"] - DAY, "lifetime": DAY + ends}
    _, _, secret = await create_user_token(store, app.id, user_id=user_id, prefixes=Prefixes(), **made)
    return secret.reveal()


def stray(prefix: str = "gwk", token_id: str | None = None) -> str:
    """A well-formed token that nobody was given."""
    identifier = bytes.fromhex(token_id) if token_id else secrets.token_bytes(8)
    return mint(prefix, identifier, secrets.token_bytes(48)).reveal()


def id_of(token: str) -> str:
    """The public half."""
    return token.partition("_")[2].partition(".")[0]


def event(action: AuditAction, subject: str) -> AuditEvent:
    """A change by nobody in particular."""
    return AuditEvent(now(), action, subject, subject, "test")


async def revoke(store: Store, token: str) -> None:
    """End a key now."""
    assert await store.revoke_key(id_of(token), now(), event(AuditAction.KEY_REVOKED, id_of(token)))


def _made() -> dict[str, Any]:
    return {"now": now(), "entropy": secrets.token_bytes}
