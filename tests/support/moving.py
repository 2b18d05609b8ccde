"""Stores in the midst of their lives, saved into files and brought back."""

import io
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.core.audit import AuditAction, Numbered
from gateway.core.developer_tokens import DeveloperToken, token_item
from gateway.core.families import Family, families_item
from gateway.core.ledger import Act, Who
from gateway.core.portable import Portable, line_of
from gateway.core.records import Role
from gateway.keys.export_file import checked
from gateway.keys.moving import everything, export
from gateway.keys.restoring import Restored, Restoring
from gateway.store.contract import Store, StoreUnavailable
from tests.store import acts
from tests.store.acts import do
from tests.store.checks_items import keep
from tests.store.place import APP, OTHER_APP
from tests.support.sealed import seal_new

WHO = Who("cli:ada", "cli")
KEYS = [f"5a{number:014x}" for number in range(4)]
TOKENS = [f"5a{number:014x}" for number in range(4, 8)]
USERS = ["first-user", "5a93deb3d8e7d90600001e6f"]
EMAIL = "ada@example.com"
FAMILIES: Final = families_item(APP.id, USERS[0], [Family(TOKENS[0], 1_790_000_000_000, (TOKENS[0],))])
PERSONS: Final = token_item(DeveloperToken("0c01", "0c" * 12, "dev_00", bytes(32), 1, 2, "operator:ada"))


async def saved(store: Store) -> bytes:
    """The file of a store."""
    file = io.BytesIO()
    await export(store, file, "1.2.3", lambda _: None)
    return file.getvalue()


@dataclass
class Brought:
    """What came of a file that was brought into a store."""

    restored: Restored
    conflicts: list[tuple[int, str]] = field(default_factory=list)


async def brought(store: Store, content: bytes, *, merge: bool = False) -> Brought:
    """A file brought into a store."""
    conflicts: list[tuple[int, str]] = []
    whole = checked(io.BytesIO(content), lambda _: None)
    told: list[int] = []
    restoring = Restoring(store, whole, WHO, told.append, lambda line, sentence: conflicts.append((line, sentence)))
    restored = await restoring.run(merge=merge)
    assert sum(told) == restored.records == sum(whole.counts.values())
    assert restored.conflicts == len(conflicts)
    return Brought(restored, conflicts)


async def lines(store: Store) -> list[bytes]:
    """All that is in a store, but for the event that tells of a file."""
    found = [record async for record in everything(store)]
    return sorted(map(line_of, (record for record in found if not tells_of_file(record))))


def tells_of_file(record: Portable) -> bool:
    """Whether it is the event that tells of a file that was brought in."""
    return isinstance(record, Numbered) and record.event.action is AuditAction.STORE_IMPORTED


async def fill(store: Store, seed: int = 0) -> None:
    """Two apps in the midst of their lives, by acts that chance chooses."""
    chance = random.Random(seed)  # noqa: S311 - the same acts at every run
    await do(store, acts.make_app(APP), acts.make_app(OTHER_APP), acts.grant(APP.id, EMAIL, Role.DEVELOPER))
    await do(store, *(acts.make_key(APP.id, key_id, name=f'"k" {key_id} 株') for key_id in KEYS))
    await do(
        store,
        *(
            acts.make_token(APP.id, token_id, USERS[number % 2], f"customer {number % 2}")
            for number, token_id in enumerate(TOKENS)
        ),
        acts.make_token(OTHER_APP.id, "7b00000000000001", "first-user"),
        acts.make_key(OTHER_APP.id, "7b00000000000002", scopes=("USER_READ", "USER_LINK")),
    )
    # Of another slot tag than its app, as tokens from elsewhere are.
    await do(store, acts.make_key(APP.id, "e5c3b842231543f0"))
    await do(store, keep(FAMILIES), keep(PERSONS, owner=PERSONS.owner))
    await seal_new(store, None, 1_790_000_000_000)
    for number in range(12):
        await do(store, an_act(chance, number))
    await store.note_used({KEYS[0]: 1_790_000_000_000, "7b00000000000002": 1_790_000_000_001})


def an_act(chance: random.Random, number: int) -> Act:
    """Something that takes away, or gives back by a switch."""
    return chance.choice(
        [
            acts.revoke(APP.id, chance.choice(KEYS)),
            acts.rename(APP.id, chance.choice(KEYS), f"name {number}"),
            acts.switch_app(APP.id, disabled=chance.random() < 0.5),
            acts.switch_user(APP.id, chance.choice(USERS), disabled=chance.random() < 0.5),
            acts.end_user_tokens(APP.id, chance.choice(USERS)),
            acts.end_app_tokens(OTHER_APP.id),
        ]
    )


class Lossy:
    """A store the answer of which is lost once, after it has done what was asked."""

    def __init__(self, store: Store, error: StoreUnavailable) -> None:
        self._store = store
        self._errors = [error]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def act(self, acts: Sequence[Act]) -> Any:
        done = await self._store.act(acts)
        while self._errors:
            raise self._errors.pop()
        return done
