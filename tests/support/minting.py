"""Credentials of every kind and state, made as the commands make them."""

import secrets
import time
from typing import Final

from gateway.core.ledger import Act, ActRefused, Asked, Changes, Who
from gateway.core.records import App, KeyRecord, RevokedWhy, User, UserTokenRecord
from gateway.core.token import Prefixes, mint, verifier
from gateway.core.wishes import DAY
from gateway.keys.keeper import Keeper
from gateway.store.contract import Store
from tests.support.running import SCOPES

_ALL: Final = tuple(SCOPES)


def now() -> int:
    """UTC milliseconds."""
    return time.time_ns() // 1_000_000


def keeper(store: Store) -> Keeper:
    """Who makes and ends things in a store, for nobody in particular."""
    return Keeper(store, Who("test", "test"), secrets.token_bytes, Prefixes())


async def an_app(store: Store, region: str = "eu", name: str = "another") -> App:
    """A new app."""
    return await keeper(store).create_app(name, region, regions=[region])


async def a_key(store: Store, app: App, *scopes: str, ends: int | None = None) -> str:
    """The token of a new key; `ends` is when it does, in milliseconds from now, even if that is over."""
    if ends is None:
        made = await keeper(store).create_key(app.id, "a key", scopes or _ALL, known_scopes=SCOPES)
        return made.token.reveal()
    token, at = stray("gwk", app.id[:2] + secrets.token_hex(7)), now()
    scopes_held = frozenset(scopes or _ALL)
    record = KeyRecord(id_of(token), app.id, "a key", scopes_held, verifier(token.encode()), at - DAY, at + ends)
    await keep(store, app, record)
    return token


async def a_user_token(store: Store, app: App, user_id: str | None = None, *, ends: int | None = None) -> str:
    """The token of a user; `ends` is when it does, in milliseconds from now, even if that is over."""
    if ends is None:
        return (await keeper(store).create_user_token(app.id, user_id=user_id)).token.reveal()
    token, at = stray("gwu", app.id[:2] + secrets.token_hex(7)), now()
    user = User(user_id or app.id[:2] + secrets.token_hex(11), app.id)
    record = UserTokenRecord(id_of(token), app.id, user.id, verifier(token.encode()), at - DAY, at + ends)
    await keep(store, app, user, record)
    return token


async def keep(store: Store, app: App, *records: KeyRecord | User | UserTokenRecord) -> None:
    """Keep records of an app just as they are, whatever the rules say of them."""
    changes = Changes(
        keys=tuple(record for record in records if isinstance(record, KeyRecord)),
        users=tuple(record for record in records if isinstance(record, User)),
        tokens=tuple(record for record in records if isinstance(record, UserTokenRecord)),
    )
    user_id = next((user.id for user in changes.users), None)
    keys, tokens = tuple(key.id for key in changes.keys), tuple(token.id for token in changes.tokens)
    asked = Asked(app.id, keys=keys, user_id=user_id, tokens=tokens)
    (outcome,) = await store.act([Act(asked, lambda _: changes)])
    assert not isinstance(outcome, ActRefused)


def stray(prefix: str = "gwk", token_id: str | None = None) -> str:
    """A well-formed token that nobody was given."""
    identifier = bytes.fromhex(token_id) if token_id else secrets.token_bytes(8)
    return mint(prefix, identifier, secrets.token_bytes(48)).reveal()


def id_of(token: str) -> str:
    """The public half."""
    return token.partition("_")[2].partition(".")[0]


async def revoke(store: Store, token: str, why: RevokedWhy = RevokedWhy.REQUESTED) -> None:
    """End a key now."""
    assert (await keeper(store).revoke_key(id_of(token), why)).changes
