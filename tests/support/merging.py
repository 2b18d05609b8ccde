"""Records merged into a ledger, as an import does it."""

from collections.abc import Mapping

from gateway.core.ledger import Asked, Item
from gateway.core.merging import (
    Merged,
    items_sought,
    keys_sought,
    merge_app,
    merge_items,
    merge_keys,
    merge_tokens,
    merge_users,
    tokens_sought,
    users_sought,
)
from gateway.core.records import (
    App,
    KeyRecord,
    Role,
    User,
    UserTokenRecord,
)
from tests.support.ledgers import WHO, Ledger

APP = App("5a0000000000000000000a01", "demo", "eu")


def kept(ledger: Ledger, merged: Merged) -> Merged:
    """What was merged, kept."""
    ledger.keep(APP.id, merged.changes)
    return merged


def merge_app_into(ledger: Ledger, app: App, roles: Mapping[str, Role] | None = None) -> Merged:
    """An app merged."""
    return kept(ledger, merge_app(ledger.seen(Asked(app.id, roles=True)), app, roles or {}, WHO))


def merge_keys_into(ledger: Ledger, *keys: KeyRecord) -> Merged:
    """Keys merged."""
    return kept(ledger, merge_keys(ledger.seen(keys_sought(APP.id, keys)), keys, WHO))


def merge_users_into(ledger: Ledger, *users: User) -> Merged:
    """Users merged."""
    return kept(ledger, merge_users(ledger.seen(users_sought(APP.id, users)), users, WHO))


def merge_tokens_into(ledger: Ledger, *tokens: UserTokenRecord) -> Merged:
    """User tokens merged."""
    return kept(ledger, merge_tokens(ledger.seen(tokens_sought(APP.id, tokens)), tokens, WHO))


def merge_items_into(ledger: Ledger, *items: Item) -> Merged:
    """Items of one owner merged."""
    return kept(ledger, merge_items(ledger.seen(items_sought(items[0].owner, items)), items, WHO))
