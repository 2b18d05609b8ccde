"""What commands say of apps, keys, users and developers: the members for programs, the columns for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.cli.tables import Cell
from gateway.cli.words import day, distance
from gateway.core.people import developer_id
from gateway.core.records import App, Developer, KeyRecord, KeyState, User, ends_at, key_state, works
from gateway.core.wishes import DAY

View = dict[str, object]

SOON: Final = 14 * DAY  # when the page's first reminder goes out
VERY_SOON: Final = 7 * DAY  # and its second

KEY_HEADINGS: Final = ("id", "app", "name", "scopes", "state", "created", "ends", "last used")
APP_HEADINGS: Final = ("id", "name", "account", "region", "state")
USER_HEADINGS: Final = ("id", "app", "external id", "state", "tokens ended")
DEVELOPER_HEADINGS: Final = ("id", "app", "e-mail address", "role")

_STATE_STYLES: Final[Mapping[KeyState, str]] = {
    KeyState.ACTIVE: "green",
    KeyState.ROTATING: "cyan",
    KeyState.REVOKED: "dim",
    KeyState.EXPIRED: "dim",
}


def app_view(app: App) -> View:
    """An app."""
    return {
        "id": app.id,
        "name": app.name,
        "account": app.account,
        "region": app.region,
        "disabled": app.disabled,
        "tokens_ended_at": app.cut_at or None,
    }


def app_row(app: App) -> list[Cell]:
    """An app as a line of a table."""
    return [Cell(app.id), Cell(app.name), Cell(app.account), Cell(app.region), _switch(disabled=app.disabled)]


@dataclass(frozen=True, slots=True)
class SeenKey:
    """A key as a store showed it at `now`, and when it was last used."""

    key: KeyRecord
    now: int
    last_used: int | None = None


def key_view(seen: SeenKey) -> View:
    """A key as it was seen."""
    key = seen.key
    return {
        "id": key.id,
        "app": key.app_id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "state": key_state(key, seen.now).value,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": seen.last_used,
        "shutdown_at": key.shutdown_at,
        "revoked_at": key.revoked_at,
        "revoked_why": None if key.revoked_why is None else key.revoked_why.value,
        "successor": key.successor,
        "created_by": key.created_by,
    }


def key_row(seen: SeenKey) -> list[Cell]:
    """A key as a line of a table; what ends soon is coloured."""
    key, now = seen.key, seen.now
    state = key_state(key, now)
    end = ends_at(key)
    return [
        Cell(key.id),
        Cell(key.app_id),
        Cell(key.name),
        Cell(" ".join(sorted(key.scopes))),
        Cell(state.value, _STATE_STYLES[state]),
        Cell(day(key.created_at)[:10]),
        Cell(f"{day(end)[:10]}, {distance(end - now)}", end_style(key, now)),
        Cell("never" if seen.last_used is None else distance(seen.last_used - now)),
    ]


def end_style(key: KeyRecord, now: int) -> str:
    """The colour of a key's end: red in its last 7 days, yellow in its last 14."""
    if not works(key, now):
        return "dim"
    left = ends_at(key) - now
    if left <= VERY_SOON:
        return "bold red"
    return "yellow" if left <= SOON else ""


def user_view(user: User) -> View:
    """A user."""
    return {
        "id": user.id,
        "app": user.app_id,
        "external_id": user.external_id,
        "disabled": user.disabled,
        "deleted": user.deleted,
        "tokens_ended_at": None if user.deleted else user.cut_at or None,
    }


def user_row(user: User) -> list[Cell]:
    """A user as a line of a table."""
    ended = day(user.cut_at) if user.cut_at and not user.deleted else ""
    return [
        Cell(user.id),
        Cell(user.app_id),
        Cell(user.external_id or ""),
        Cell("deleted", "dim") if user.deleted else _switch(disabled=user.disabled),
        Cell(ended),
    ]


def developer_view(developer: Developer) -> View:
    """A developer; `id` is what the audit calls the person."""
    return {
        "id": developer_id(developer.email),
        "app": developer.app_id,
        "email": developer.email,
        "role": developer.role.value,
    }


def developer_row(developer: Developer) -> list[Cell]:
    """A developer as a line of a table."""
    name = developer_id(developer.email)
    return [Cell(name), Cell(developer.app_id), Cell(developer.email), Cell(developer.role.value)]


def _switch(*, disabled: bool) -> Cell:
    return Cell("disabled", "red") if disabled else Cell("enabled", "green")
