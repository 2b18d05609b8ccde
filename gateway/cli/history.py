"""`gateway keys history`: everything that happened to keys, with who did it and when."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from gateway.cli.finding import key_seen, keys_seen
from gateway.cli.opening import Desk
from gateway.cli.tables import Cell
from gateway.cli.views import SeenKey, View, key_view
from gateway.cli.words import day
from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.records import KeyState, ends_at, key_state
from gateway.core.takings import Taken

HEADINGS: Final = ("at", "key", "name", "what", "by", "about")

_OF_KEYS: Final = frozenset(
    {
        AuditAction.KEY_CREATED,
        AuditAction.KEY_IMPORTED,
        AuditAction.KEY_RENAMED,
        AuditAction.KEY_ROTATED,
        AuditAction.KEY_REVOKED,
    }
)
_WHOLE: Final = "main"  # the part of a chain's name where a store has one chain


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened to a key. Nobody does an expiry, and no event tells of it: it is read off the key."""

    at: int
    action: str
    key_id: str
    app_id: str
    actor: str = ""
    source: str = ""
    about: str = ""
    key: View | None = None

    def view(self) -> View:
        """For programs: the event, and the key as it is now."""
        return {
            "at": self.at,
            "action": self.action,
            "actor": self.actor,
            "source": self.source,
            "about": self.about,
            **(self.key or {"id": self.key_id, "app": self.app_id}),
        }

    def row(self) -> list[Cell]:
        """A line of a table."""
        name = str((self.key or {}).get("name", ""))
        what = self.action.removeprefix("key.")
        return [Cell(day(self.at)), Cell(self.key_id), Cell(name), Cell(what), Cell(self.actor), Cell(self.about)]


async def history(desk: Desk, app_id: str | None, key_id: str | None) -> AsyncIterator[Happening]:
    """What happened to one key, to those of an app, or to all, oldest first."""
    if key_id is None:
        seen = {each.key.id: each async for each in keys_seen(desk, app_id)}
    else:
        seen = {key_id: await key_seen(desk, key_id)}
        app_id = seen[key_id].key.app_id
    told = [_happening(event, seen.get(event.subject_id)) async for event in _events(desk, app_id, key_id)]
    ended = [_expiry(each) for each in seen.values() if key_state(each.key, each.now) is KeyState.EXPIRED]
    for happening in sorted([*told, *ended], key=lambda each: each.at):
        yield happening


async def _events(desk: Desk, app_id: str | None, key_id: str | None) -> AsyncIterator[AuditEvent]:
    for chain in await desk.store.chains():
        part = chain.rpartition("/")[2]
        # All events of an app are in the chain of its slot tag, or in the one chain that there is.
        if app_id is not None and part not in {_WHOLE, app_id[:2]}:
            continue
        async for numbered in desk.store.events(chain):
            event = numbered.event
            if _is_of_key(event) and app_id in {None, event.app_id} and key_id in {None, event.subject_id}:
                yield event


def _is_of_key(event: AuditEvent) -> bool:
    restored = event.action is AuditAction.REVOCATION_RESTORED and event.about == Taken.KEY.value
    return restored or event.action in _OF_KEYS


def _happening(event: AuditEvent, seen: SeenKey | None) -> Happening:
    return Happening(
        event.at,
        event.action.value,
        event.subject_id,
        event.app_id,
        event.actor,
        event.source,
        event.about,
        None if seen is None else key_view(seen),
    )


def _expiry(seen: SeenKey) -> Happening:
    key = seen.key
    end = ends_at(key)
    about = "shutdown time" if end == key.shutdown_at else "expiry"
    return Happening(end, "key.expired", key.id, key.app_id, about=about, key=key_view(seen))
