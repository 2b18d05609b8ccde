"""Finding what a command is about, and saying what may have been meant where there is nothing of that id."""

import difflib
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

import typer

from gateway.cli.opening import Desk
from gateway.cli.views import SeenKey
from gateway.core.ledger import ActReason, ActRefused, Asked, Snapshot
from gateway.core.lifecycle import the_app, the_key
from gateway.core.people import the_user
from gateway.core.records import App, KeyRecord, User
from gateway.core.token import Prefixes, Token, parse_token
from gateway.core.wishes import normal_name
from gateway.store.contract import Store, StoreUnavailable

T = TypeVar("T")

AppId = Annotated[str, typer.Argument(metavar="APP", help="The id of the app.")]
OfApp = Annotated[str, typer.Option("--app", metavar="ID", help="The id of the app.")]
OfAnyApp = Annotated[
    str | None, typer.Option("--app", metavar="ID", help="The id of an app; all apps if not given.", show_default=False)
]
KeyId = Annotated[
    str,
    typer.Argument(
        metavar="KEY_ID",
        help="The id of the key, never its token. With - the token is read from standard input (unseen on a terminal)"
        " for the id in it.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; for programs.")]

_APP_ID: Final = re.compile(r"[0-9a-f]{24}\Z")
_KEY_ID: Final = re.compile(r"[0-9a-f]{8,64}\Z")
_NO_APP: Final = "00" * 12  # asked for to learn the store's time
_LOOKED_THROUGH: Final = 2_000  # records, for one that may have been meant
_PIECE: Final = 500  # keys whose last use is asked for at once
_LONGEST_INPUT: Final = 4_096


async def store_now(desk: Desk) -> int:
    """The time by the store's clock, which is what ends are judged by."""
    (snapshot,) = await desk.store.look([Asked(_NO_APP)])
    return snapshot.now


async def app_seen(desk: Desk, app_id: str) -> tuple[App, int]:
    """An app, and the store's time."""
    async with hinted(desk.store, app=app_id):
        snapshot = await _look(desk, Asked(app_id))
        return the_app(snapshot), snapshot.now


async def of_app(desk: Desk, app_id: str | None, records: Callable[[str | None], AsyncIterator[T]]) -> AsyncIterator[T]:
    """The records of an app, or of all; those of an app that there is not are refused, not none."""
    if app_id is not None:
        await app_seen(desk, app_id)
    async for record in records(app_id):
        yield record


async def key_seen(desk: Desk, key_id: str) -> SeenKey:
    """A key as it is now."""
    async with hinted(desk.store, key=key_id):
        found = await desk.store.find_key(key_id) if _KEY_ID.match(key_id) else None
        if found is None:
            raise ActRefused(ActReason.UNKNOWN_KEY, f"There is no key with the id {key_id!r}; see 'gateway keys list'.")
        (snapshot,) = await desk.store.look([Asked(found.app.id, keys=(key_id,))])
        key = the_key(snapshot, key_id)
    return SeenKey(key, snapshot.now, (await desk.store.last_used([key_id])).get(key_id))


async def user_seen(desk: Desk, app_id: str, user_id: str) -> User:
    """A user of an app."""
    async with hinted(desk.store, app=app_id, user=user_id):
        return the_user(await _look(desk, Asked(app_id, user_id=user_id)), user_id)


async def _look(desk: Desk, asked: Asked) -> Snapshot:
    if not _APP_ID.match(asked.app_id):
        return Snapshot(0)  # no id of an app, which a store may not even know where to look for
    return (await desk.store.look([asked]))[0]


async def keys_seen(desk: Desk, app_id: str | None) -> AsyncIterator[SeenKey]:
    """All keys, or those of an app, as they are now."""
    now = await store_now(desk) if app_id is None else (await app_seen(desk, app_id))[1]
    async for piece in _pieces(desk.store.keys(app_id)):
        used = await desk.store.last_used([key.id for key in piece])
        for key in piece:
            yield SeenKey(key, now, used.get(key.id))


async def _pieces(records: AsyncIterator[KeyRecord]) -> AsyncIterator[list[KeyRecord]]:
    piece: list[KeyRecord] = []
    async for record in records:
        piece.append(record)
        if len(piece) == _PIECE:
            yield piece
            piece = []
    if piece:
        yield piece


# What was typed -------------------------------------------------------------------------------------------------------


def key_id_from(typed: str, prefixes: Prefixes) -> str:
    """The id that was typed, or the one in the token on standard input."""
    if typed != "-":
        return typed.removeprefix(f"{prefixes.key}_")
    token = parse_token(secret_input("Token: ").strip(), prefixes)
    if not isinstance(token, Token):
        raise typer.BadParameter("standard input holds no token of this gateway")
    return token.id


def secret_input(prompt: str) -> str:
    """What stands on standard input; on a terminal it is asked for, and not shown."""
    if sys.stdin.isatty():
        return str(typer.prompt(prompt, hide_input=True, prompt_suffix="", err=True))
    return sys.stdin.read(_LONGEST_INPUT)


def confirm(app: App, what: str, *, yes: bool) -> None:
    """Let the app's name be typed before something that ends many things, unless `yes` was said."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise ActRefused(
            ActReason.NOT_CONFIRMED,
            f"{what} Say --yes if that is meant, or run this on a terminal, where the app's name is asked for.",
        )
    typed = str(typer.prompt(f"{what}\nType the app's name to go on", default="", show_default=False, err=True))
    if normal_name(typed).strip() != app.name.strip():
        raise ActRefused(ActReason.NOT_CONFIRMED, "That is not the app's name; nothing was done.")


# What may have been meant ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Typed:
    app: str | None
    key: str | None
    user: str | None


@asynccontextmanager
async def hinted(
    store: Store, *, app: str | None = None, key: str | None = None, user: str | None = None
) -> AsyncIterator[None]:
    """Add to the refusal of an unknown id what may have been meant."""
    try:
        yield
    except ActRefused as refused:
        hint = ""
        with suppress(StoreUnavailable):
            hint = await _hint(store, refused.reason, _Typed(app, key, user))
        if not hint:
            raise
        raise ActRefused(refused.reason, f"{refused.message} {hint}") from refused


async def _hint(store: Store, reason: ActReason, typed: _Typed) -> str:
    match reason:
        case ActReason.UNKNOWN_APP if typed.app:
            apps = [app async for app in _some(store.apps())]
            named = [app.id for app in apps if app.name == normal_name(typed.app)]
            return f"The app of this name has the id {named[0]}." if named else _nearest(typed.app, apps)
        case ActReason.UNKNOWN_KEY if typed.key:
            if await store.find_user_token(typed.key) is not None:
                return "It is the id of a user token: see 'gateway users end-tokens'."
            return _nearest(typed.key, [key async for key in _some(store.keys(typed.app))])
        case ActReason.UNKNOWN_USER if typed.user:
            return _nearest(typed.user, [user async for user in _some(store.users(typed.app))])
    return ""


def _nearest(typed: str, known: list[App] | list[KeyRecord] | list[User]) -> str:
    near = difflib.get_close_matches(typed, [record.id for record in known if record.id != typed], 1, 0.8)
    return f"Did you mean {near[0]}?" if near else ""


async def _some(records: AsyncIterator[T]) -> AsyncIterator[T]:
    left = _LOOKED_THROUGH
    async for record in records:
        yield record
        left -= 1
        if not left:
            return
