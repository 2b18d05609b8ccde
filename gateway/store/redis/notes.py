"""What is done beside the acts: notes of when keys were used, and for what; items that are over, forgotten."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from gateway.store.contract import USE_DAYS, StoreUnavailable, Use
from gateway.store.redis.draft import KEPT_AFTER_END
from gateway.store.redis.layout import TAGS, noted_key, owners_key, tag_of, used_key, uses_key
from gateway.store.redis.lists import pieces
from gateway.store.redis.nodes import Nodes
from gateway.store.redis.scripts import COUNT, RAISE, SWEEP, Argument, Script

TOGETHER: Final = 100  # keys whose counts are written or read together
SWEPT: Final = 5_000  # items that are forgotten at most
PIECE: Final = 1_000  # and in one step, some milliseconds of a server's time
_SINCE: Final = "since"
_SECONDS: Final = (USE_DAYS + 1) * 24 * 60 * 60


class Notes:
    """Notes of use, whose loss is no fault; and the sweep."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._late: dict[str, int] = {}  # when keys were used while the store was away

    async def note_used(self, used: Mapping[str, int]) -> None:
        """Keep when keys were last used; what the store does not take now is kept with the next ones."""
        if not used:
            return
        noted = {**self._late, **used}
        self._late = noted  # as far as it is not taken; to say it twice changes nothing
        by_tag: dict[str, list[str | int]] = {}
        for key_id, at in noted.items():
            by_tag.setdefault(tag_of(key_id), []).extend((key_id, at))
        with suppress(StoreUnavailable):
            for tag, values in by_tag.items():
                for some in pieces(values, 1000):
                    await self._nodes.write(tag, RAISE, used_key(tag), list(some))
            await self._nodes.write(TAGS[0], RAISE, noted_key(), [_SINCE, -min(noted.values())])
            self._late = {}

    async def last_used(self, key_ids: Sequence[str]) -> dict[str, int]:
        """When keys were last used, as far as it was noted and the store answers."""
        by_tag: dict[str, list[str]] = {}
        for key_id in key_ids:
            by_tag.setdefault(tag_of(key_id), []).append(key_id)
        found: dict[str, int] = {}
        with suppress(StoreUnavailable):
            answers = await self._nodes.read_all({tag: [("HMGET", used_key(tag), *ids)] for tag, ids in by_tag.items()})
            for (tag, ids), (times,) in zip(by_tag.items(), answers, strict=True):
                with self._nodes.reading(tag):
                    found |= {key_id: int(at) for key_id, at in zip(ids, times, strict=True) if at is not None}
        return found

    async def noted_since(self) -> int | None:
        """The first use that was noted, as far as the store answers."""
        with suppress(StoreUnavailable):
            (at,) = await self._nodes.read(TAGS[0], [("HGET", noted_key(), _SINCE)])
            with self._nodes.reading(TAGS[0]):
                return None if at is None else -int(at)
        return None

    async def note_uses(self, uses: Mapping[Use, int]) -> None:
        """Add to the counts of what keys were used for, as far as the store answers."""
        by_key: dict[str, list[Argument]] = {}
        newest: dict[str, int] = {}
        for (key_id, day, what), count in uses.items():
            by_key.setdefault(key_id, []).extend((f"{day}:{what}", count))
            newest[key_id] = max(day, newest.get(key_id, 0))
        wanted: list[tuple[str, Script, str, Sequence[Argument]]] = [
            (tag_of(one), COUNT, uses_key(one), [newest[one] - USE_DAYS + 1, _SECONDS, *counts])
            for one, counts in by_key.items()
        ]
        with suppress(StoreUnavailable):
            for some in pieces(wanted, TOGETHER):
                await self._nodes.write_all(some)

    async def uses(self, key_ids: Sequence[str]) -> dict[Use, int]:
        """What keys were used for, as far as it was noted and the store answers."""
        found: dict[Use, int] = {}
        with suppress(StoreUnavailable):
            for some in pieces(key_ids, TOGETHER):
                by_tag: dict[str, list[str]] = {}
                for key_id in some:
                    by_tag.setdefault(tag_of(key_id), []).append(key_id)
                asked = {tag: [("HGETALL", uses_key(one)) for one in ids] for tag, ids in by_tag.items()}
                for (tag, ids), answers in zip(by_tag.items(), await self._nodes.read_all(asked), strict=True):
                    with self._nodes.reading(tag):
                        for key_id, flat in zip(ids, answers, strict=True):
                            found |= _counts(key_id, flat)
        return found

    async def sweep(self) -> int:
        """Forget items that ended long ago, a slot tag after the other; how many it forgot."""
        swept = 0
        for tag in TAGS:
            forgotten = PIECE
            while forgotten == PIECE and swept < SWEPT:
                forgotten = await self._sweep(tag)
                swept += forgotten
        return swept

    async def _sweep(self, tag: str) -> int:
        arguments: list[Argument] = [f"{{{tag}}}:", KEPT_AFTER_END, PIECE]
        (answer,) = await self._nodes.write_all([(tag, SWEEP, owners_key(tag), arguments)])
        with self._nodes.reading(tag):
            _, forgotten = answer
            return int(forgotten)


def _counts(key_id: str, flat: Sequence[Any]) -> dict[Use, int]:
    """The counts out of a hash."""
    counts: dict[Use, int] = {}
    for field, count in zip(flat[::2], flat[1::2], strict=True):
        day, _, what = field.decode().partition(":")
        counts[key_id, int(day), what] = int(count)
    return counts
