"""Which gateway a command is for, and its store: a settings file, or the directory of a `gateway dev`."""

import asyncio
import getpass
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer
from pydantic import BaseModel

from gateway.cli.helping import UsageFault
from gateway.cli.output import Unusable
from gateway.clock import Clock
from gateway.core.ledger import Who
from gateway.core.token import Prefixes, Secret
from gateway.keys.keeper import Keeper
from gateway.keys.token_rules import rules_of
from gateway.settings import Fault, Settings, SettingsInvalid, load_settings
from gateway.store.contract import Store, StoreBroken
from gateway.store.open import open_store

if TYPE_CHECKING:  # imported for a store in Redis alone
    from gateway.store.redis.address import RedisOptions

T = TypeVar("T")

VARIABLE: Final = "GATEWAY_CONFIG"
DEV_REGIONS: Final = ("eu", "us", "in")
DEV_DATA: Final = Path(".gateway-dev")
DEV_SCHEMA: Final = Path("config/schema.graphql")
DEV_STORE: Final = "gateway.db"
_DEV_SCHEMA_NOTE: Final = "schema-file"  # where `gateway dev` notes which schema it judges by
_DEV_STORE_NOTE: Final = "store-url"  # and where its store is

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help=f"The settings file that the gateway runs with; if not given, what the variable {VARIABLE} names.",
        show_default=False,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", help="Instead of --config: the directory of a 'gateway dev'.", show_default=False
    ),
]


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command works with: the settings, the open store, and who keeps keys in it."""

    settings: Settings
    store: Store
    keeper: Keeper


def chosen(config: Path | None, data: Path | None) -> Settings:
    """The settings of the gateway that was chosen on the command line. Raises `SettingsInvalid`."""
    if config is not None and data is not None:
        raise UsageFault("Give --config or --data, not both: they name two gateways.")
    if data is not None:
        _require_dev(data)
        return _dev_settings(data)
    if config is None:
        named = os.environ.get(VARIABLE)
        if not named:
            raise UsageFault(_unnamed())
        config = Path(named)
    return load_settings(config, environ=os.environ)


def _unnamed() -> str:
    here = f" There is one here: --data {DEV_DATA}." if DEV_DATA.is_dir() else ""
    return (
        f"No gateway was named. Add --config FILE (or set {VARIABLE}) for its settings, or --data DIR for a 'gateway"
        f" dev'.{here}"
    )


def _require_dev(directory: Path) -> None:
    if not any((directory / name).exists() for name in (_DEV_SCHEMA_NOTE, _DEV_STORE_NOTE, DEV_STORE)):
        raise StoreBroken(f"There is no gateway in {directory}; start 'gateway dev --data {directory}' first.")


def own_files(settings: Settings, config: Path | None, data: Path | None) -> list[Path]:
    """What a command must not write over: the store, the settings, and every file that they name; there or not yet."""
    if data is not None:
        origin = [data / _DEV_SCHEMA_NOTE, data / _DEV_STORE_NOTE]
    else:
        origin = [config or Path(os.environ.get(VARIABLE, ""))]
    return [*origin, *_named_files(settings), *_store_files(settings.store.url)]


def _named_files(section: BaseModel) -> Iterator[Path]:
    for _, value in section:
        for each in value.values() if isinstance(value, dict) else [value]:
            if isinstance(each, Path):
                yield each
            elif isinstance(each, BaseModel):
                yield from _named_files(each)


def _store_files(url: str) -> Iterator[Path]:
    scheme, _, path = url.partition(":///")
    if scheme == "sqlite":
        store = Path(path).resolve()  # SQLite and we put the others beside the file itself, not beside a link to it
        for name in (store.name, f"{store.name}-used"):
            for suffix in ("", "-wal", "-shm", "-journal"):
                yield store.with_name(name + suffix)


def opened(settings: Settings, *, create: bool = False, clock: Callable[[], int] | None = None) -> Store:
    """The store that the settings name. Raises `StoreUnavailable`, and what `store_options` raises."""
    clock = clock or Clock()
    if not in_redis(settings):
        return open_store(settings.store.url, create=create, clock=clock, identity=settings.store.identity)
    return open_store(settings.store.url, create=create, clock=clock, redis=store_options(settings))


def store_options(settings: Settings) -> "RedisOptions":
    """How to come into Redis. Raises `OSError` or `SettingsInvalid` when a file with a password cannot be used."""
    from gateway.store.redis.address import RedisOptions

    store = settings.store
    return RedisOptions(
        username=store.username,
        password=_password("store.password_file", store.password_file),
        sentinel_password=_password("store.sentinel_password_file", store.sentinel_password_file),
        ca_file=store.ca_file,
        identity=store.identity,
        timeout=store.timeout,
        grace=store.grace,
    )


def in_redis(settings: Settings) -> bool:
    """Whether the store is one that many machines share."""
    return settings.store.url.startswith("redis")


def at_desk(settings: Settings, work: Callable[[Desk], Awaitable[T]], *, create: bool = False) -> T:
    """What comes of the work, with the store opened for it and closed again."""

    async def run() -> T:
        store = opened(settings, create=create)
        try:
            rules = rules_of(settings.user_tokens)
            keeper = Keeper(store, who(), secrets.token_bytes, prefixes(settings), rules)
            return await work(Desk(settings, store, keeper))
        finally:
            await store.close()

    return asyncio.run(run())


def who() -> Who:
    """The operating system's user of this command, for the audit: not what variables like LOGNAME say."""
    return Who(f"cli:{_user()}", "cli")


def prefixes(settings: Settings) -> Prefixes:
    """What the tokens of this gateway begin with."""
    return Prefixes(settings.tokens.key_prefix, settings.tokens.user_prefix)


def known_scopes(settings: Settings) -> tuple[str, ...]:
    """All scopes that the gateway's schema names. Raises `Unusable` and `OSError`."""
    from gateway.core.schema import SchemaInvalid, compile_policy

    file = settings.policy.schema_file
    try:
        return compile_policy(file.read_text(encoding="utf-8")).scopes
    except UnicodeDecodeError as error:
        raise Unusable("schema_invalid", [f"The schema {file} is not UTF-8."]) from error
    except SchemaInvalid as error:
        faults = [f"The schema, line {fault.line}: {fault.sentence}" for fault in error.faults]
        raise Unusable("schema_invalid", faults) from error


def note_dev_schema(directory: Path, schema: Path) -> None:
    """Let later commands with `--data` know which schema the `gateway dev` of this directory judges by."""
    (directory / _DEV_SCHEMA_NOTE).write_text(str(schema.absolute()), "utf-8")


def note_dev_store(directory: Path, url: str) -> None:
    """Let later commands with `--data` know where the `gateway dev` of this directory keeps its keys."""
    (directory / _DEV_STORE_NOTE).write_text(url, "utf-8")


def dev_store(directory: Path) -> str:
    """The URL of the store that the `gateway dev` of this directory has if it is told of no other."""
    return f"sqlite:///{directory / DEV_STORE}"


def _user() -> str:
    if sys.platform == "win32":
        return getpass.getuser()
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user may have no name
        return str(os.getuid())


def _password(name: str, file: Path | None) -> Secret | None:
    if file is None:
        return None
    try:
        # Editors end a file with a newline, which is no part of the password.
        text = file.read_text("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise SettingsInvalid([Fault(name, "must name a file in UTF-8", file)]) from error
    if not text:
        raise SettingsInvalid([Fault(name, "must name a file with a password in it", file)])
    return Secret(text)


def _dev_settings(directory: Path) -> Settings:
    note, store_note = directory / _DEV_SCHEMA_NOTE, directory / _DEV_STORE_NOTE
    schema = Path(note.read_text("utf-8")) if note.is_file() else DEV_SCHEMA
    return load_settings(
        None,
        environ={},
        overrides={
            "policy.schema_file": str(schema),
            "store.url": store_note.read_text("utf-8") if store_note.is_file() else dev_store(directory),
            "default_region": DEV_REGIONS[0],
            # Settings want to know where to forward to; a command never does.
            **{f"regions.{region}.upstreams": ["http://127.0.0.1:9"] for region in DEV_REGIONS},
            **{f"regions.{region}.user_scoping": "upstream" for region in DEV_REGIONS},
        },
    )
