"""The seeded credentials of `gateway dev`: the same tokens at every start, so that what was pasted goes on working.

Nothing else in the gateway ever keeps a token. They lie in a directory of their own, readable by their owner alone,
and are good for a store that knows no others.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from gateway.core.credential import key_principal, user_principal
from gateway.core.families import TokenRules
from gateway.core.ledger import Asked, Snapshot, Who
from gateway.core.records import Fault
from gateway.core.token import Prefixes, Token, parse_token
from gateway.core.wishes import KEY_LIFETIME
from gateway.dev.relay import Shown
from gateway.keys.keeper import Keeper
from gateway.store.contract import Store

# One key a scope, and one with all, must stay below the ten active keys that an app may have.
MAX_SINGLE: Final = 9
APPS: Final = (("demo", "eu"), ("demo-us", "us"))
USERS: Final = ("alice", "bob")
FILE: Final = "credentials.json"
WHO: Final = Who("dev", "dev")
RULES: Final = TokenRules(lifetime=KEY_LIFETIME, family=KEY_LIFETIME)  # what was pasted goes on working for a year


@dataclass(frozen=True, slots=True)
class SeededApp:
    """An app as it is printed."""

    id: str
    name: str
    region: str


@dataclass(frozen=True, slots=True)
class SeededKey:
    """A key with its token."""

    app: str
    id: str
    scopes: tuple[str, ...]
    token: str


@dataclass(frozen=True, slots=True)
class SeededUser:
    """A user with a token."""

    app: str
    id: str
    token: str


@dataclass(frozen=True, slots=True)
class Seeded:
    """Everything that `gateway dev` shows."""

    apps: tuple[SeededApp, ...]
    keys: tuple[SeededKey, ...]
    users: tuple[SeededUser, ...]

    def shown(self) -> list[Shown]:
        """What the page's drop-down offers."""
        names = {app.id: app.name for app in self.apps}
        keys = [
            Shown(f"key of {names[key.app]}: {' '.join(key.scopes)}", key.token, "key", key.scopes) for key in self.keys
        ]
        return keys + [Shown(f"user {user.id} of {names[user.app]}", user.token, "user") for user in self.users]


def prepare_directory(path: Path) -> None:
    """Make the directory, for its owner alone, and keep what lies in it out of every repository."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    ignore = path / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", "utf-8")


async def seeded(
    store: Store,
    path: Path,
    scopes: Sequence[str],
    *,
    regions: Sequence[str],
    now: int,
    entropy: Callable[[int], bytes],
) -> Seeded:
    """The credentials kept in the directory `path`, completed with what is missing or has ended."""
    seeder = _Seeder(Keeper(store, WHO, entropy, Prefixes(), RULES), _kept(path / FILE), regions=regions, now=now)
    sets = [*((scope,) for scope in scopes[:MAX_SINGLE]), tuple(scopes)]
    apps = [await seeder.app(name, region) for name, region in APPS]
    keys = [await seeder.key(apps[0], held) for held in dict.fromkeys(sets) if held]
    if scopes:
        keys.append(await seeder.key(apps[1], tuple(scopes)))
    users = [await seeder.user(apps[0], name) for name in USERS]
    result = Seeded(tuple(apps), tuple(keys), tuple(users))
    _keep(path / FILE, result)
    return result


class _Seeder:
    def __init__(self, keeper: Keeper, kept: Seeded, *, regions: Sequence[str], now: int) -> None:
        self._keeper = keeper
        self._store = keeper.store
        self._kept = kept
        self._regions = regions
        self._now = now

    async def app(self, name: str, region: str) -> SeededApp:
        for app in self._kept.apps:
            if (app.name, app.region) == (name, region) and (await self._look(Asked(app.id))).app is not None:
                return app
        made = await self._keeper.create_app(name, region, regions=self._regions)
        return SeededApp(made.id, made.name, made.region)

    async def key(self, app: SeededApp, scopes: tuple[str, ...]) -> SeededKey:
        for key in self._kept.keys:
            if (key.app, key.scopes) == (app.id, scopes) and await self._works(key.token):
                return key
        name = scopes[0] if len(scopes) == 1 else "all scopes"
        made = await self._keeper.create_key(app.id, name, scopes, known_scopes=scopes)
        return SeededKey(app.id, made.record.id, scopes, made.token.reveal())

    async def user(self, app: SeededApp, external_id: str) -> SeededUser:
        existing = (await self._look(Asked(app.id, external_id=external_id))).external(external_id)
        for user in self._kept.users:
            if existing is not None and user.id == existing.id and await self._works(user.token):
                return user
        made = await self._keeper.create_user_token(app.id, external_id=external_id)
        return SeededUser(app.id, made.user.id, made.token.reveal())

    async def _look(self, asked: Asked) -> Snapshot:
        (seen,) = await self._store.look([asked])
        return seen

    async def _works(self, text: str) -> bool:
        token = parse_token(text, self._keeper.prefixes)
        if not isinstance(token, Token):
            return False
        key = await self._store.find_key(token.id)
        if key is not None:
            return not isinstance(key_principal(key.record, key.app, token.verifier, self._now), Fault)
        user = await self._store.find_user_token(token.id)
        if user is None:
            return False
        return not isinstance(user_principal(user.record, user.user, user.app, token.verifier, self._now), Fault)


_NOTHING: Final = Seeded((), (), ())


def _kept(path: Path) -> Seeded:
    """What was kept; a file that cannot be read is as good as none, since everything in it can be made anew."""
    try:
        kept: Mapping[str, Any] = json.loads(path.read_text("utf-8"))
        return Seeded(
            tuple(SeededApp(**app) for app in kept["apps"]),
            tuple(SeededKey(**{**key, "scopes": tuple(key["scopes"])}) for key in kept["keys"]),
            tuple(SeededUser(**user) for user in kept["users"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return _NOTHING


def _keep(path: Path, seeded: Seeded) -> None:
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(seeded), file, indent=2)
    unfinished.replace(path)
