"""The contract of a store: SQLite on one machine, Redis for many, both held to one suite."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.core.audit import Numbered, Seal
from gateway.core.ledger import Act, ActRefused, Asked, Done, Item, ItemKind, Snapshot
from gateway.core.records import App, Developer, KeyRecord, User, UserTokenRecord


class StoreUnavailable(Exception):
    """The store cannot be asked now. It is nobody's credential that is at fault: answer 503, never 401.

    `in_grace` says that the store answered lately enough for what is remembered to go on without it; `unknown`, that
    it was asked to change something and nobody can tell whether it did; otherwise it did not.
    """

    def __init__(self, message: str, *, in_grace: bool = False, unknown: bool = False) -> None:
        super().__init__(message)
        self.in_grace = in_grace
        self.unknown = unknown


class StoreBroken(StoreUnavailable):
    """The store will not answer until somebody mends it: missing, not one of ours, damaged, or of a newer version."""


# What `Store.revision` gives while the store may have been told of an end that was not heard here.
DEAF: Final = -1


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key record and the app it belongs to."""

    record: KeyRecord
    app: App


@dataclass(frozen=True, slots=True)
class FoundUserToken:
    """A user token record, its user and their app."""

    record: UserTokenRecord
    user: User
    app: App


@dataclass(frozen=True, slots=True)
class FoundUser:
    """An app, and the user of it that was asked for, if it has one: other issuers' users need not be known here."""

    user: User | None
    app: App


# What a key was used for on one day: its id, the day (whole days since 1970, UTC), and a scope or one of the two below.
Use = tuple[str, int, str]
REQUESTS: Final = "*"  # every request that was allowed
REFUSED: Final = "!"  # every time that it was presented, whole, after its end
USE_DAYS: Final = 90  # how many days of it are kept


class Store(Protocol):
    """Every method raises `StoreUnavailable` when the store is away. A change and its audit event are one act."""

    # At every request; neither waits.

    def revision(self) -> int:
        """A number that moves whenever something that was allowed may have ended, or `DEAF`: then nothing that is
        remembered may be used while the store answers. Once hearing is back, it is a number it never was before."""

    def ended_since(self, revision: int) -> frozenset[str] | None:
        """Ids of the keys, user tokens, users and apps from which something was taken since the revision was this;
        None when that is not known, and anything may have been. While deaf, what was heard of all the same."""

    # Looking up a credential

    async def find_key(self, key_id: str) -> FoundKey | None:
        """The key with this id and its app, or None."""

    async def find_user_token(self, token_id: str) -> FoundUserToken | None:
        """The user token with this id, its user and its app, or None."""

    async def find_user(self, app_id: str, user_id: str) -> FoundUser | None:
        """The app with this id and what is known of a user of it, or None when there is no such app."""

    async def find_item(self, kind: ItemKind, item_id: str) -> Item | None:
        """The item of this kind with this id, whoever owns it, or None. It may have ended."""

    # Acts

    async def look(self, asked: Sequence[Asked]) -> list[Snapshot]:
        """What acts would see now, in the order asked for."""

    async def act(self, acts: Sequence[Act]) -> list[Done | ActRefused]:
        """Do each act whole or not at all, in the order given where they are about the same app.

        `decide` may be called several times, each time with a newer snapshot; only its last answer is kept. Raises
        `StoreUnavailable` when any of them could not be kept, or it is not known whether it was; `act` may then be
        called again with the same acts, if each of them changes nothing the second time.
        """

    # Lists, each read in pieces, so that memory stays bounded

    def apps(self) -> AsyncIterator[App]:
        """All apps."""

    def keys(self, app_id: str | None = None) -> AsyncIterator[KeyRecord]:
        """All keys that ever were, or those of one app, oldest first within an app."""

    def users(self, app_id: str | None = None) -> AsyncIterator[User]:
        """All users, or those of one app."""

    def user_tokens(self) -> AsyncIterator[UserTokenRecord]:
        """All user tokens."""

    def developers(self, app_id: str | None = None) -> AsyncIterator[Developer]:
        """All roles that people have, or those in one app."""

    def items(self, kind: ItemKind, owner: str | None = None) -> AsyncIterator[Item]:
        """All items of a kind, or those of one owner. Some may have ended."""

    async def sweep(self) -> int:
        """Forget items that ended a day ago or earlier, some thousands at most; how many it forgot."""

    # Audit. A chain is named `<identity of the store>/<part>`; one that was imported keeps its name.

    async def chains(self) -> list[str]:
        """All chains in which there are events, those that were imported too."""

    def events(self, chain: str, after: int = 0) -> AsyncIterator[Numbered]:
        """The events of a chain with a number above `after`, in order; a gap shows as a gap."""

    def seals(self, chain: str) -> AsyncIterator[Seal]:
        """The seals of a chain, in order."""

    async def unsealed(self) -> list[str]:
        """The store's own chains that have events after their last seal."""

    async def last_seal(self, chain: str) -> Seal | None:
        """The newest seal of a chain, or None."""

    async def append_seal(self, seal: Seal) -> bool:
        """Keep a seal, if it begins right after the last one of its chain; else False."""

    async def keep_chain(self, chain: str, events: Sequence[Numbered], seals: Sequence[Seal]) -> None:
        """Keep a piece of a chain of another store as it is; what is there already stays."""

    async def lease(self, name: str, holder: str, seconds: float) -> bool:
        """Whether `holder` alone may do what `name` says for this long; asked again in time, it is prolonged."""

    # Last use: best effort, never a fault, and nothing of it moves the revision

    async def note_used(self, used: Mapping[str, int]) -> None:
        """Keep when each key (by id) was last used; it never moves back."""

    async def last_used(self, key_ids: Sequence[str]) -> dict[str, int]:
        """When these keys were last used, as far as it was noted."""

    async def note_uses(self, uses: Mapping[Use, int]) -> None:
        """Add to the counts of what keys were used for. Days older than `USE_DAYS` are forgotten."""

    async def uses(self, key_ids: Sequence[str]) -> dict[Use, int]:
        """What these keys were used for, as far as it was noted."""

    # Life

    async def identity(self) -> str:
        """The random id of the store, made with it."""

    async def start(
        self, heard: Callable[[float], None] | None = None, garbled: Callable[[], None] | None = None
    ) -> None:
        """Begin to hear of changes that others make, for a gateway that remembers. Never waits for the store.

        `heard` is told, of each end that is heard of, how many seconds ago it was made; `garbled` is called for each
        message of ends that cannot be read.
        """

    def warnings(self) -> list[str]:
        """Sentences about what is not as it should be while the store answers all the same."""

    async def ping(self) -> None:
        """Return when the store answers and may be relied upon; for the readiness check."""

    async def close(self) -> None:
        """Release everything; the store is not used again."""
