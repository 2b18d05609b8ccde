"""What fills the stores of bench/store.py: apps, keys, users and user tokens, each found again by its number alone."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from gateway.core.ledger import Act, Asked, Changes, Snapshot, Who
from gateway.core.merging import merge_tokens, merge_users, tokens_sought, users_sought
from gateway.core.records import App, User, UserTokenRecord
from gateway.core.times import iso_time
from gateway.core.wishes import DAY
from gateway.keys.batches import acted
from gateway.store.contract import Store

KEYS = 10  # of an app, all of them active
USERS = 10
TOKENS = 50

_WHO = Who("bench", "bench")
_NOW = time.time_ns() // 1_000_000
_A_CALL = 10  # apps with all of their tokens: five hundred records


@dataclass(frozen=True, slots=True)
class Filling:
    """So many apps, each with as many keys, users and tokens as the others. Ids look like chance, as minted ones do."""

    apps: int
    keys: int = KEYS
    users: int = USERS
    tokens: int = TOKENS

    def app(self, number: int) -> str:
        """The id of an app."""
        return _digest("app", number)[:24]

    def key(self, number: int) -> str:
        """The id of a key."""
        return self._credential("key", number, number // self.keys)

    def token(self, number: int) -> str:
        """The id of a user token."""
        return self._credential("token", number, number // self.tokens)

    def _credential(self, kind: str, number: int, app: int) -> str:
        return self.app(app)[:2] + _digest(kind, number)[:14]

    def write_rows(self, file: Path) -> int:
        """A file of all keys for `gateway keys import`; how many there are."""
        times = f"{iso_time(_NOW - DAY)},{iso_time(_NOW + 300 * DAY)}"
        with file.open("w", encoding="ascii") as out:
            out.write("id,sha256,app,name,scopes,created_at,expires_at\n")
            for number in range(self.apps * self.keys):
                app = self.app(number // self.keys)
                digest = _digest("secret", number)
                out.write(f"{self.key(number)},{digest},{app},key {number},USER_READ USER_DELETE,{times}\n")
        return self.apps * self.keys

    async def make_apps(self, store: Store) -> None:
        """All apps, without events, which are no part of what is measured."""
        acts = (_act(App(self.app(number), f"app {number}", "eu")) for number in range(self.apps))
        await _all(store, acts, 200)

    async def make_users(self, store: Store) -> None:
        """All users."""
        await _all(store, (self._users(number) for number in range(self.apps)), _A_CALL)

    async def make_tokens(self, store: Store) -> None:
        """All user tokens."""
        await _all(store, (self._tokens(number) for number in range(self.apps)), _A_CALL)

    def _users(self, app: int) -> Act:
        app_id = self.app(app)
        users = [User(self._user(app, number), app_id, f"customer-{app}-{number}") for number in range(self.users)]
        return Act(users_sought(app_id, users), lambda seen: merge_users(seen, users, _WHO).changes)

    def _tokens(self, app: int) -> Act:
        app_id = self.app(app)
        tokens = [
            UserTokenRecord(
                self.token(number),
                app_id,
                self._user(app, number % self.users),
                hashlib.sha256(number.to_bytes(8)).digest(),
                _NOW - DAY,
                _NOW + 30 * DAY,
            )
            for number in range(app * self.tokens, (app + 1) * self.tokens)
        ]
        return Act(tokens_sought(app_id, tokens), lambda seen: merge_tokens(seen, tokens, _WHO).changes)

    def _user(self, app: int, number: int) -> str:
        return self.app(app)[:2] + _digest("user", app * self.users + number)[:22]


def _act(app: App) -> Act:
    def decide(seen: Snapshot) -> Changes:
        return Changes(app=None if seen.app else app)

    return Act(Asked(app.id), decide)


async def _all(store: Store, acts: Iterator[Act], at_once: int) -> None:
    while some := list(islice(acts, at_once)):
        await acted(store, some)


def _digest(kind: str, number: int) -> str:
    return hashlib.blake2s(f"{kind} {number}".encode()).hexdigest()
