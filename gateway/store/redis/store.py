"""The store on Redis, put together of its parts."""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from gateway.core.audit import Numbered, Seal
from gateway.core.ledger import Act, ActRefused, Asked, Done, Item, ItemKind, Snapshot
from gateway.core.records import App, Developer, KeyRecord, User, UserTokenRecord
from gateway.store.contract import FoundKey, FoundUser, FoundUserToken, Use
from gateway.store.redis.acts import Acts
from gateway.store.redis.address import RedisOptions, address_of
from gateway.store.redis.chains import Chains
from gateway.store.redis.ear import Clocks
from gateway.store.redis.hearing import Hearing
from gateway.store.redis.layout import lease_key, tag_of
from gateway.store.redis.lists import Lists
from gateway.store.redis.lookups import find, find_item, find_user
from gateway.store.redis.nodes import Nodes
from gateway.store.redis.notes import Notes
from gateway.store.redis.register import Register
from gateway.store.redis.scripts import LEASE


class RedisStore:
    """`Store` on Redis. Nothing connects before it is asked."""

    def __init__(self, nodes: Nodes, clocks: Clocks | None = None) -> None:
        self._nodes = nodes
        self._register = Register(time.monotonic, tag_of)
        self._acts = Acts(nodes, self._register)
        self._hearing = Hearing(nodes, self._register, self._acts.act, clocks)
        self._lists = Lists(nodes)
        self._chains = Chains(nodes)
        self._notes = Notes(nodes)

    @classmethod
    def at(cls, url: str, options: RedisOptions | None = None) -> "RedisStore":
        """The store at a URL, or `StoreBroken` when that is none of Redis."""
        return cls(Nodes(address_of(url), options or RedisOptions()))

    # What a request needs

    def revision(self) -> int:
        """Of what was heard and done here, or `DEAF`."""
        return self._hearing.revision()

    def ended_since(self, revision: int) -> frozenset[str] | None:
        """Ids from which something was taken since."""
        return self._hearing.ended_since(revision)

    async def find_key(self, key_id: str) -> FoundKey | None:
        """The key with this id, less what this process knows to be taken from it."""
        found = await find(self._nodes, key_id)
        return self._register.less_key(found) if isinstance(found, FoundKey) else None

    async def find_user_token(self, token_id: str) -> FoundUserToken | None:
        """The user token with this id, less what this process knows to be taken from it."""
        found = await find(self._nodes, token_id)
        return self._register.less_user_token(found) if isinstance(found, FoundUserToken) else None

    async def find_user(self, app_id: str, user_id: str) -> FoundUser | None:
        """The app and the user, less what this process knows to be taken from them."""
        found = await find_user(self._nodes, app_id, user_id)
        return None if found is None else self._register.less_user(found, user_id)

    async def find_item(self, kind: ItemKind, item_id: str) -> Item | None:
        """The item, if there is one."""
        return await find_item(self._nodes, (kind, item_id))

    # Acts

    async def look(self, asked: Sequence[Asked]) -> list[Snapshot]:
        """What acts would see now."""
        return await self._acts.look(asked)

    async def act(self, acts: Sequence[Act]) -> list[Done | ActRefused]:
        """Do acts."""
        return await self._acts.act(acts)

    # Lists

    def apps(self) -> AsyncIterator[App]:
        """All apps."""
        return self._lists.apps()

    def keys(self, app_id: str | None = None) -> AsyncIterator[KeyRecord]:
        """All keys, or those of an app."""
        return self._lists.keys(app_id)

    def users(self, app_id: str | None = None) -> AsyncIterator[User]:
        """All users, or those of an app."""
        return self._lists.users(app_id)

    def user_tokens(self) -> AsyncIterator[UserTokenRecord]:
        """All user tokens."""
        return self._lists.user_tokens()

    def developers(self, app_id: str | None = None) -> AsyncIterator[Developer]:
        """All roles, or those in an app."""
        return self._lists.developers(app_id)

    def items(self, kind: ItemKind, owner: str | None = None) -> AsyncIterator[Item]:
        """All items of a kind, or those of one owner."""
        return self._lists.items(kind, owner)

    async def sweep(self) -> int:
        """Forget some of what ended long ago."""
        return await self._notes.sweep()

    # Audit

    async def chains(self) -> list[str]:
        """All chains."""
        return await self._chains.chains()

    def events(self, chain: str, after: int = 0) -> AsyncIterator[Numbered]:
        """The events of a chain."""
        return self._chains.events(chain, after)

    def seals(self, chain: str) -> AsyncIterator[Seal]:
        """The seals of a chain."""
        return self._chains.seals(chain)

    async def unsealed(self) -> list[str]:
        """Own chains with events after their last seal."""
        return await self._chains.unsealed()

    async def last_seal(self, chain: str) -> Seal | None:
        """The newest seal of a chain."""
        return await self._chains.last_seal(chain)

    async def append_seal(self, seal: Seal) -> bool:
        """Keep a seal right after the last one."""
        return await self._chains.append_seal(seal)

    async def keep_chain(self, chain: str, events: Sequence[Numbered], seals: Sequence[Seal]) -> None:
        """Keep a piece of another store's chain."""
        await self._chains.keep_chain(chain, events, seals)

    async def lease(self, name: str, holder: str, seconds: float) -> bool:
        """Whether `holder` alone may do it for so long."""
        tag = tag_of(name)
        return await self._nodes.write(tag, LEASE, lease_key(tag, name), [holder, max(1, round(seconds * 1000))])

    # Use

    async def note_used(self, used: Mapping[str, int]) -> None:
        """Keep when keys were last used."""
        await self._notes.note_used(used)

    async def last_used(self, key_ids: Sequence[str]) -> dict[str, int]:
        """When keys were last used."""
        return await self._notes.last_used(key_ids)

    async def note_uses(self, uses: Mapping[Use, int]) -> None:
        """Add to the counts of what keys were used for."""
        await self._notes.note_uses(uses)

    async def uses(self, key_ids: Sequence[str]) -> dict[Use, int]:
        """What keys were used for."""
        return await self._notes.uses(key_ids)

    # Life

    async def identity(self) -> str:
        """The identity of the store."""
        return await self._chains.identity()

    async def start(
        self, heard: Callable[[float], None] | None = None, garbled: Callable[[], None] | None = None
    ) -> None:
        """Begin to hear; `heard` is told of each end's age in seconds, `garbled` of each message that is none."""
        self._hearing.observe = heard
        self._hearing.garbled = garbled
        self._hearing.start()

    def warnings(self) -> list[str]:
        """What is not as it should be."""
        return list(self._hearing.warnings())

    async def ping(self) -> None:
        """Return when every primary answers, is fit for a store, and holds this one."""
        for node in await self._nodes.primaries():
            tag = min(node.tags)
            await self._nodes.read(tag, [])
        self._hearing.demand()

    async def close(self) -> None:
        """Hear no more, and close all connections."""
        await self._hearing.close()
        await self._nodes.close()
