"""Looking up what lies under an id: one question to one server, or two for an id that came from elsewhere."""

from collections.abc import Sequence
from typing import Any

from gateway.core.ledger import Item, ItemKey
from gateway.store.contract import FoundKey, FoundUser, FoundUserToken
from gateway.store.redis.encoding import (
    ELSEWHERE,
    KEY,
    decode_app,
    decode_elsewhere,
    decode_item,
    decode_key,
    decode_user,
)
from gateway.store.redis.faults import Garbled
from gateway.store.redis.layout import Names, id_key, item_key, tag_of
from gateway.store.redis.nodes import Nodes
from gateway.store.redis.packed import decode_token
from gateway.store.redis.standing import lookup

Lying = tuple[bytes | None, bytes | None, bytes | None]  # what lies under an id, its app and its user


def what_lies_there(nodes: Nodes, tag: str, credential_id: str, answer: Sequence[Any]) -> Lying:
    """What an answer to a look-up says, once it is sure that it is one, and that of the store."""
    with nodes.reading(tag):
        identity, name, there, app, user = answer
        nodes.confirmed(tag, identity)
        if name != id_key(tag, credential_id).encode():
            raise Garbled
        return there, app, user


async def find(nodes: Nodes, credential_id: str) -> FoundKey | FoundUserToken | None:
    """The key or the user token with this id, with whom it belongs to."""
    tag = tag_of(credential_id)
    there, app, user = await _look(nodes, tag, credential_id)
    if there is not None and there.startswith(ELSEWHERE):
        with nodes.reading(tag):
            tag = decode_elsewhere(id_key(tag, credential_id), there)
        there, app, user = await _look(nodes, tag, credential_id)
    if there is None:
        return None
    with nodes.reading(tag):
        name = id_key(tag, credential_id)
        if there.startswith(KEY):
            key = decode_key(name, credential_id, there)
            names = Names(key.app_id)
            return FoundKey(key, decode_app(names.of("app"), key.app_id, app).app)
        token = decode_token(name, credential_id, there)
        names = Names(token.app_id)
        return FoundUserToken(
            token,
            decode_user(names.user(token.user_id), token.app_id, token.user_id, user),
            decode_app(names.of("app"), token.app_id, app).app,
        )


async def find_user(nodes: Nodes, app_id: str, user_id: str) -> FoundUser | None:
    """The app with this id, and the user of it."""
    names = Names(app_id)
    ((app, user),) = await nodes.read(names.tag, [("MGET", names.of("app"), names.user(user_id))])
    with nodes.reading(names.tag):
        if app is None:
            return None
        known = None if user is None else decode_user(names.user(user_id), app_id, user_id, user)
        return FoundUser(known, decode_app(names.of("app"), app_id, app).app)


async def find_item(nodes: Nodes, key: ItemKey) -> Item | None:
    """The item with this key."""
    tag = tag_of(key[1])
    name = item_key(tag, *key)
    (text,) = await nodes.read(tag, [("GET", name)])
    with nodes.reading(tag):
        return None if text is None else decode_item(name, key, text)


async def _look(nodes: Nodes, tag: str, credential_id: str) -> Lying:
    return what_lies_there(nodes, tag, credential_id, await nodes.ask(*lookup(credential_id, tag)))
