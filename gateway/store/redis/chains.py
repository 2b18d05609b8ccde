"""The audit on Redis: the chains of events, one for each slot tag and those that were imported, and their seals."""

from collections.abc import AsyncIterator, Callable, Sequence
from hashlib import sha256
from typing import TypeVar

from gateway.core.audit import Numbered, Seal
from gateway.store.redis.encoding import decode_event, decode_seal, encode_numbered, encode_seal
from gateway.store.redis.faults import Garbled
from gateway.store.redis.layout import TAGS, audit_key, seals_key
from gateway.store.redis.lists import PAGE, pieces
from gateway.store.redis.nodes import Nodes
from gateway.store.redis.scripts import APPEND, MERGE

T = TypeVar("T")

Decode = Callable[[str, object], T]


class Chains:
    """Reads and keeps chains."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    async def identity(self) -> str:
        """The identity of the store."""
        if self._nodes.identity is None:
            await self._nodes.read(TAGS[0], [])
        return self._nodes.identity or ""

    async def chains(self) -> list[str]:
        """All chains in which there is anything."""
        identity = await self.identity()
        answers = await self._nodes.read_all(
            {tag: [("EXISTS", audit_key(tag), seals_key(tag)), ("SMEMBERS", _imported_key(tag))] for tag in TAGS}
        )
        own = [f"{identity}/{tag}" for tag, (there, _) in zip(TAGS, answers, strict=True) if there]
        return [*own, *sorted(name.decode() for _, imported in answers for name in imported)]

    async def unsealed(self) -> list[str]:
        """The store's own chains with events after their last seal."""
        identity = await self.identity()
        answers = await self._nodes.read_all(
            {tag: [("LINDEX", audit_key(tag), -1), ("LINDEX", seals_key(tag), -1)] for tag in TAGS}
        )
        found = []
        for tag, (event, seal) in zip(TAGS, answers, strict=True):
            chain = f"{identity}/{tag}"
            try:
                last = 0 if event is None else decode_event(chain, event).number
                sealed = 0 if seal is None else decode_seal(chain, seal).last
            except Garbled:  # which is met again where that chain is read; the others are to be sealed all the same
                last, sealed = 1, 0
            if last > sealed:
                found.append(chain)
        return found

    async def events(self, chain: str, after: int) -> AsyncIterator[Numbered]:
        """The events of a chain with a number above `after`."""
        tag, events, _ = await self._keys(chain)
        start = await self._place(chain, tag, events, after) if after else 0
        async for event in self._pages(chain, tag, events, start, decode_event):
            yield event

    async def seals(self, chain: str) -> AsyncIterator[Seal]:
        """The seals of a chain."""
        tag, _, seals = await self._keys(chain)
        async for seal in self._pages(chain, tag, seals, 0, decode_seal):
            yield seal

    async def last_seal(self, chain: str) -> Seal | None:
        """The newest seal of a chain."""
        tag, _, seals = await self._keys(chain)
        (text,) = await self._nodes.read(tag, [("LINDEX", seals, -1)])
        with self._nodes.reading(tag):
            return None if text is None else decode_seal(chain, text)

    async def append_seal(self, seal: Seal) -> bool:
        """Keep a seal that begins right after the last one."""
        tag, _, seals = await self._keys(seal.chain)
        (text,) = await self._nodes.read(tag, [("LINDEX", seals, -1)])
        with self._nodes.reading(tag):
            last = 0 if text is None else decode_seal(seal.chain, text).last
        if seal.first != last + 1:
            return False
        return await self._nodes.write(tag, APPEND, seals, [text or b"", encode_seal(seal)])

    async def keep_chain(self, chain: str, events: Sequence[Numbered], seals: Sequence[Seal]) -> None:
        """Keep a piece of a chain; what has a number that is there already stays as it is there."""
        identity = await self.identity()
        tag, events_key, seals_list = await self._keys(chain)
        if not chain.startswith(f"{identity}/") and (events or seals):
            await self._nodes.read(tag, [("SADD", _imported_key(tag), chain)])
        for some in pieces(events, PAGE):
            await self._nodes.write(tag, MERGE, events_key, [encode_numbered(event) for event in some])
        for others in pieces(seals, PAGE):
            await self._nodes.write(tag, MERGE, seals_list, [encode_seal(seal) for seal in others])

    async def _keys(self, chain: str) -> tuple[str, str, str]:
        """Where a chain lies: its slot tag, its events, its seals. One that was imported lies under a tag that is made
        of its name."""
        store, _, part = chain.rpartition("/")
        if part in TAGS and store == await self.identity():
            return part, audit_key(part), seals_key(part)
        tag = sha256(chain.encode()).hexdigest()[:2]
        return tag, f"{audit_key(tag)}:{chain}", f"{seals_key(tag)}:{chain}"

    async def _place(self, chain: str, tag: str, key: str, after: int) -> int:
        """Where in the list the first number above `after` is. Numbers rise, and some may be missing."""
        low, high = 0, int((await self._nodes.read(tag, [("LLEN", key)]))[0])
        middle = after - 1  # where the number is when none is missing
        while low < high:
            middle = min(middle, high - 1)
            (text,) = await self._nodes.read(tag, [("LINDEX", key, middle)])
            with self._nodes.reading(tag):
                number = decode_event(chain, text).number
            if number == after:
                return middle + 1
            low, high = (middle + 1, high) if number < after else (low, middle)
            middle = (low + high) // 2
        return low

    async def _pages(self, chain: str, tag: str, key: str, start: int, decode: "Decode[T]") -> AsyncIterator[T]:
        while True:
            (page,) = await self._nodes.read(tag, [("LRANGE", key, start, start + PAGE - 1)])
            for text in page:
                with self._nodes.reading(tag):
                    item = decode(chain, text)
                yield item
            if len(page) < PAGE:
                return
            start += PAGE


def _imported_key(tag: str) -> str:
    """Where the names of imported chains lie."""
    return f"{{{tag}}}:chains"
