"""Lists of everything, read page by page.

A page is read together with the store's identity, since a server that has lost its data has empty lists; and, where it
goes on from the page before, with the run id of the server: another process does not know the place where it was left.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from redis.exceptions import RedisError, ResponseError

from gateway.core.ledger import Item, ItemKind
from gateway.core.records import App, Developer, KeyRecord, User, UserTokenRecord
from gateway.store.contract import StoreUnavailable
from gateway.store.redis.encoding import (
    ELSEWHERE,
    KEY,
    decode_app,
    decode_item,
    decode_key,
    decode_roles,
    decode_user,
)
from gateway.store.redis.faults import Garbled, NoAnswer
from gateway.store.redis.layout import TAGS, Names, apps_key, id_key, item_key, items_key, listed_as, owners_key
from gateway.store.redis.node import Command, Node
from gateway.store.redis.nodes import Nodes
from gateway.store.redis.packed import decode_token

T = TypeVar("T")

PAGE: Final = 500  # records read together
_TOGETHER: Final = {ItemKind.INCIDENT: 16}  # records that are long: a megabyte together, as most others are
APPS: Final = 50  # apps whose first pages are read together

_IDS: Final = "{??}:id:*"  # where keys and user tokens lie
_ID: Final = len("{ab}:id:")
_RUN_ID: Final = re.compile(rb"^run_id:(\w+)", re.MULTILINE)

Listed = tuple[Names, str]  # an id of a key, user or item, and whose it is


@dataclass(frozen=True, slots=True)
class _Listing:
    """How a list of an app's is read from a place on: what to ask, and the ids with the next place in an answer."""

    ask: Callable[[Names, int], Command]
    read: Callable[[int, Any], tuple[Sequence[bytes], int]]  # 0 is the end


class Lists:
    """Reads the lists of records."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    async def apps(self) -> AsyncIterator[App]:
        """All apps."""
        for tag in TAGS:
            (ids,) = await self._nodes.read(tag, [("SMEMBERS", apps_key(tag))])
            names = [Names(one.decode()) for one in sorted(ids)]
            for some in pieces(names, PAGE):
                texts = await self._nodes.read(tag, [("GET", each.of("app")) for each in some])
                for each, text in zip(some, texts, strict=True):
                    with self._nodes.reading(tag):
                        app = decode_app(each.of("app"), each.app_id, text).app
                    yield app

    async def keys(self, app_id: str | None) -> AsyncIterator[KeyRecord]:
        """All keys, or those of an app; oldest first within an app."""
        async for tag, some in self._listed(app_id, _KEYS):
            names = [id_key(tag, key_id) for _, key_id in some]
            texts = await self._nodes.read(tag, [("GET", name) for name in names])
            for (_, key_id), name, text in zip(some, names, texts, strict=True):
                with self._nodes.reading(tag):
                    key = decode_key(name, key_id, text)
                yield key

    async def users(self, app_id: str | None) -> AsyncIterator[User]:
        """All users, or those of an app."""
        async for tag, some in self._listed(app_id, _USERS):
            texts = await self._nodes.read(tag, [("GET", of.user(user_id)) for of, user_id in some])
            for (of, user_id), text in zip(some, texts, strict=True):
                with self._nodes.reading(tag):
                    user = decode_user(of.user(user_id), of.app_id, user_id, text)
                yield user

    async def developers(self, app_id: str | None) -> AsyncIterator[Developer]:
        """All roles, or those in an app."""
        async for tag, some in self._together(app_id):
            answers = await self._nodes.read(tag, [("HGETALL", names.of("roles")) for names in some])
            for names, flat in zip(some, answers, strict=True):
                with self._nodes.reading(tag):
                    roles = decode_roles(dict(zip(flat[::2], flat[1::2], strict=True)))
                for email, role in roles.items():
                    yield Developer(names.app_id, email, role)

    async def user_tokens(self) -> AsyncIterator[UserTokenRecord]:
        """All user tokens. A list of them would take a third as much memory again; each server is searched instead."""
        primaries = await self._nodes.primaries()
        generation = self._nodes.generation
        for node in primaries:
            async for token in self._search(node):
                yield token
        await self._nodes.refresh()
        if self._nodes.generation != generation:
            raise _moved()

    async def items(self, kind: ItemKind, owner: str | None) -> AsyncIterator[Item]:
        """All items of a kind, or those of an owner."""
        async for tag, some in self._listed_in(_TOGETHER.get(kind, PAGE), self._listed(owner, _items(kind), kind)):
            names = [item_key(tag, kind, item_id) for _, item_id in some]
            texts = await self._nodes.read(tag, [("GET", name) for name in names])
            await self._demand_dropped(kind, [one for one, text in zip(some, texts, strict=True) if text is None])
            for (_, item_id), name, text in zip(some, names, texts, strict=True):
                if text is not None:
                    with self._nodes.reading(tag):
                        item = decode_item(name, (kind, item_id), text)
                    yield item

    async def _listed_in(
        self, size: int, listed: AsyncIterator[tuple[str, Sequence[Listed]]]
    ) -> AsyncIterator[tuple[str, Sequence[Listed]]]:
        async for tag, page in listed:
            for some in pieces(page, size):
                yield tag, some

    async def _demand_dropped(self, kind: ItemKind, gone: Sequence[Listed]) -> None:
        """Raise `StoreBroken` when one of these items, which are not there any more, is listed still."""
        if not gone:
            return
        tag = gone[0][0].tag
        listed = [("ZSCORE", items_key(tag, kind, of.app_id), item_id) for of, item_id in gone]
        places = await self._nodes.read(tag, listed)
        with self._nodes.reading(tag):
            if any(place is not None for place in places):
                raise Garbled

    async def _search(self, node: Node) -> AsyncIterator[UserTokenRecord]:
        """The user tokens of one server."""
        run, cursor = "", b"0"
        while not run or cursor != b"0":
            now, cursor, names = await self._scan(node, cursor)
            if now != (run or now) or not node.tags:
                raise _moved()
            run = now
            by_tag: dict[str, list[bytes]] = {min(node.tags): []}  # so that an empty page is known to be the store's
            for name in names:
                by_tag.setdefault(name[1:3].decode(), []).append(name)
            answers = await self._nodes.read_all({tag: [("GET", one) for one in of] for tag, of in by_tag.items()})
            for (tag, of), texts in zip(by_tag.items(), answers, strict=True):
                for name, text in zip(of, texts, strict=True):
                    with self._nodes.reading(tag):
                        token = _token(name.decode(), text)
                    if token is not None:
                        yield token

    async def _scan(self, node: Node, cursor: bytes) -> tuple[str, bytes, Sequence[bytes]]:
        """The run id of a server, and a page of names with where to go on."""
        try:
            answers = await node.pipeline(
                [("INFO", "server"), ("SCAN", cursor, "MATCH", _IDS, "COUNT", PAGE)],
            )
            for answer in answers:
                if isinstance(answer, ResponseError):
                    raise answer
        except (NoAnswer, RedisError) as error:
            raise self._nodes.away(error, min(node.tags, default=TAGS[0])) from error
        info, (cursor, names) = answers
        return _run_id(info), cursor, names

    async def _listed(
        self, app_id: str | None, listing: _Listing, kind: ItemKind | None = None
    ) -> AsyncIterator[tuple[str, Sequence[Listed]]]:
        """Ids listed for all apps, or all owners of items of a kind, or for one, in pages of one slot tag."""
        async for tag, some in self._together(app_id, kind):
            run, answers = await self._ask_run(tag, [listing.ask(names, 0) for names in some])
            page: list[Listed] = []
            for names, answer in zip(some, answers, strict=True):
                with self._nodes.reading(tag):
                    ids, place = listing.read(0, answer)
                page += [(names, one.decode()) for one in ids]
                while place or len(page) >= PAGE:
                    yield tag, page
                    page = []
                    if place:
                        ids, place = await self._next(names, listing, place, run)
                        page = [(names, one.decode()) for one in ids]
            if page:
                yield tag, page

    async def _next(self, names: Names, listing: _Listing, place: int, run: str) -> tuple[Sequence[bytes], int]:
        now, (answer,) = await self._ask_run(names.tag, [listing.ask(names, place)])
        if now != run:
            raise _moved()
        with self._nodes.reading(names.tag):
            return listing.read(place, answer)

    async def _together(
        self, app_id: str | None, kind: ItemKind | None = None
    ) -> AsyncIterator[tuple[str, Sequence[Names]]]:
        """All apps, or all owners of items of a kind, or one, some of the same slot tag at a time."""
        if app_id is not None:
            only = Names(app_id)
            yield only.tag, [only]
            return
        prefix = "" if kind is None else listed_as(kind, "")
        for tag in TAGS:
            (found,) = await self._nodes.read(tag, [("SMEMBERS", apps_key(tag) if kind is None else owners_key(tag))])
            ids = [one.decode() for one in sorted(found)]
            names = [Names(one.removeprefix(prefix)) for one in ids if one.startswith(prefix)]
            for some in pieces(names, APPS):
                yield tag, some

    async def _ask_run(self, tag: str, commands: Sequence[Command]) -> tuple[str, list[Any]]:
        """The same, with the run id of the server."""
        info, *answers = await self._nodes.read(tag, [("INFO", "server"), *commands])
        return _run_id(info), answers


def pieces(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in pieces."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _token(name: str, text: bytes | None) -> UserTokenRecord | None:
    """The user token that lies there, unless it is something else of ours."""
    if text is not None and text.startswith((KEY, ELSEWHERE)):
        return None
    return decode_token(name, name[_ID:], text)


def _run_id(info: bytes) -> str:
    found = _RUN_ID.search(info)
    return found[1].decode() if found else ""


def _moved() -> StoreUnavailable:
    return StoreUnavailable("The Redis servers changed while a list was read, which cannot go on; begin anew.")


def _keys_from(names: Names, place: int) -> Command:
    return "ZRANGE", names.of("keys"), place, place + PAGE - 1


def _keys_read(place: int, answer: Any) -> tuple[Sequence[bytes], int]:
    return answer, place + PAGE if len(answer) == PAGE else 0


def _users_from(names: Names, place: int) -> Command:
    return "SSCAN", names.of("users"), place, "COUNT", PAGE


def _users_read(_: int, answer: Any) -> tuple[Sequence[bytes], int]:
    cursor, ids = answer
    return ids, int(cursor)


def _items(kind: ItemKind) -> _Listing:
    def ask(names: Names, place: int) -> Command:
        return "ZSCAN", items_key(names.tag, kind, names.app_id), place, "COUNT", PAGE

    def read(_: int, answer: Any) -> tuple[Sequence[bytes], int]:
        cursor, ids_and_ends = answer
        return list(dict.fromkeys(ids_and_ends[::2])), int(cursor)

    return _Listing(ask, read)


_KEYS: Final = _Listing(_keys_from, _keys_read)
_USERS: Final = _Listing(_users_from, _users_read)
