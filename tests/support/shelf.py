"""The edge of a shared store as a gateway sees it: a few records, and switches for what it hears and what answers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from gateway.core.records import App, KeyRecord, User, UserTokenRecord
from gateway.core.token import verifier
from gateway.core.wishes import DAY
from gateway.store.contract import DEAF, FoundKey, FoundUser, FoundUserToken, StoreUnavailable
from tests.support.minting import id_of, stray

APP = App("5a0000000000000000000a01", "demo", "eu")


@dataclass
class Shelf:
    """Keys and user tokens at a time that the test sets.

    What is ended is heard of when the test says so. `away` raises, `in_grace` or not; `meanwhile` is what happens
    between a look at a record and the answer.
    """

    now: int
    app: App = APP
    deaf: bool = False
    away: bool = False
    in_grace: bool = True
    asked: int = 0
    meanwhile: Callable[[], Awaitable[None]] | None = None
    users: dict[str, User] = field(default_factory=dict)  # whom other issuers may speak of
    _keys: dict[str, KeyRecord] = field(default_factory=dict)
    _tokens: dict[str, tuple[UserTokenRecord, User]] = field(default_factory=dict)
    _heard: list[str] = field(default_factory=list)
    _first: int = 0

    # What the gateway asks

    def revision(self) -> int:
        return DEAF if self.deaf else self._first + len(self._heard)

    def ended_since(self, revision: int) -> frozenset[str] | None:
        return None if revision < self._first else frozenset(self._heard[revision - self._first :])

    async def find_key(self, key_id: str) -> FoundKey | None:
        self._ask()
        record = self._keys.get(key_id)
        found = None if record is None else FoundKey(record, self.app)
        await self._wait()
        return found

    async def find_user_token(self, token_id: str) -> FoundUserToken | None:
        self._ask()
        record = self._tokens.get(token_id)
        found = None if record is None else FoundUserToken(*record, self.app)
        await self._wait()
        return found

    async def find_user(self, app_id: str, user_id: str) -> FoundUser | None:
        self._ask()
        found = FoundUser(self.users.get(user_id), self.app) if app_id == self.app.id else None
        await self._wait()
        return found

    def _ask(self) -> None:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("No server answers.", in_grace=self.in_grace)

    async def _wait(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()

    # What the test does

    def key(self, *, ends: int = 365 * DAY) -> str:
        """The token of a new key that ends in so many milliseconds."""
        token = stray("gwk")
        self._keys[id_of(token)] = KeyRecord(
            id_of(token),
            self.app.id,
            "a key",
            frozenset({"USER_READ"}),
            verifier(token.encode()),
            self.now,
            self.now + ends,
        )
        return token

    def user_token(self, *, ends: int = 7 * DAY) -> str:
        """The token of the user `someone`."""
        token = stray("gwu")
        record = UserTokenRecord(
            id_of(token), self.app.id, "someone", verifier(token.encode()), self.now, self.now + ends
        )
        self._tokens[id_of(token)] = record, User("someone", self.app.id)
        return token

    def revoke(self, token: str) -> None:
        """End a key or user token; who has not heard of it does not know."""
        token_id = id_of(token)
        if token_id in self._keys:
            self._keys[token_id] = replace(self._keys[token_id], revoked_at=self.now)
        else:
            record, user = self._tokens[token_id]
            self._tokens[token_id] = replace(record, revoked_at=self.now), user

    def hear(self, subject_id: str) -> None:
        """Hear that something was taken from a key, user token, user or app."""
        self._heard.append(subject_id)

    def hear_again(self) -> None:
        """Hearing is back, after something may have gone unheard."""
        self._first += len(self._heard) + 1
        self._heard.clear()
        self.deaf = False
