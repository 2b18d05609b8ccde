"""`gateway apps create`, `gateway keys create` and `gateway users create`."""

import asyncio
import getpass
import json
import os
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from gateway.core.schema import SchemaInvalid, compile_policy
from gateway.core.token import Prefixes, Secret
from gateway.keys.create import CannotCreate, create_app, create_key, create_user_token
from gateway.settings import Settings, SettingsInvalid, load_settings
from gateway.store.contract import Store, StoreUnavailable
from gateway.store.open import open_store

T = TypeVar("T")

Config = Annotated[Path, typer.Option("--config", metavar="FILE", help="The settings file that the gateway runs with.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
OfApp = Annotated[str, typer.Option("--app", metavar="ID", help="The id of the app.")]

apps = typer.Typer(no_args_is_help=True, help="Apps, to which keys and users belong.")
keys = typer.Typer(no_args_is_help=True, help="API keys, which hold scopes.")
users = typer.Typer(no_args_is_help=True, help="SDK users and their tokens, which reach their own data only.")


@apps.command("create")
def create_app_command(
    config: Config,
    name: Annotated[str, typer.Option("--name", help="What people call the app.")],
    region: Annotated[str, typer.Option("--region", help="The region that its data lives in.")],
    as_json: AsJson = False,
) -> None:
    """Make an app, and the store if there is none yet."""
    with _faults_told():
        settings = _settings(config)
        app = _in_store(
            settings,
            lambda store: create_app(
                store,
                name,
                region,
                regions=settings.regions,
                now=_now(),
                entropy=secrets.token_bytes,
                actor=_actor(),
            ),
            create=True,
        )
        _show("App made.", {"id": app.id, "name": app.name, "region": app.region}, None, as_json=as_json)


@keys.command("create")
def create_key_command(
    config: Config,
    app: OfApp,
    name: Annotated[str, typer.Option("--name", help="What people call the key.")],
    scope: Annotated[list[str], typer.Option("--scope", help="A scope that it holds; give the option once for each.")],
    as_json: AsJson = False,
) -> None:
    """Make an API key and print it, once."""
    with _faults_told():
        settings = _settings(config)
        known = _known_scopes(settings.policy.schema_file)
        record, token = _in_store(
            settings,
            lambda store: create_key(
                store,
                app,
                name,
                scope,
                known_scopes=known,
                now=_now(),
                entropy=secrets.token_bytes,
                prefixes=_prefixes(settings),
                actor=_actor(),
            ),
        )
        made = {
            "id": record.id,
            "app": record.app_id,
            "name": record.name,
            "scopes": sorted(record.scopes),
            "expires_at": record.expires_at,
        }
        _show("API key made.", made, token, as_json=as_json)


@users.command("create")
def create_user_command(
    config: Config,
    app: OfApp,
    external_id: Annotated[str | None, typer.Option(help="What the user is called elsewhere.")] = None,
    user_id: Annotated[str | None, typer.Option("--id", help="The id of a user that exists upstream.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token for a user, and the user if there is none yet, and print it, once."""
    with _faults_told():
        settings = _settings(config)
        user, record, token = _in_store(
            settings,
            lambda store: create_user_token(
                store,
                app,
                external_id=external_id,
                user_id=user_id,
                now=_now(),
                entropy=secrets.token_bytes,
                prefixes=_prefixes(settings),
                actor=_actor(),
            ),
        )
        made = {
            "id": user.id,
            "app": user.app_id,
            "external_id": user.external_id,
            "expires_at": record.expires_at,
        }
        _show("User token made.", made, token, as_json=as_json)


def _in_store(settings: Settings, act: Callable[[Store], Awaitable[T]], *, create: bool = False) -> T:
    async def run() -> T:
        store = open_store(settings.store.url, create=create)
        try:
            return await act(store)
        finally:
            await store.close()

    return asyncio.run(run())


def _settings(config: Path) -> Settings:
    return load_settings(config, environ=os.environ)


def _known_scopes(schema_file: Path) -> tuple[str, ...]:
    try:
        return compile_policy(schema_file.read_text(encoding="utf-8")).scopes
    except UnicodeDecodeError as error:
        raise CannotCreate(f"The schema {schema_file} is not UTF-8.") from error


def _prefixes(settings: Settings) -> Prefixes:
    return Prefixes(settings.tokens.key_prefix, settings.tokens.user_prefix)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _actor() -> str:
    """The operating system's user of this command, for the audit."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user may have no name
        return f"cli:{os.getuid()}"


@contextmanager
def _faults_told() -> Iterator[None]:
    """Tell what went wrong on standard error and exit with 1."""
    try:
        yield
    except (CannotCreate, SchemaInvalid, SettingsInvalid, StoreUnavailable, OSError) as error:
        for sentence in _sentences(error):
            typer.echo(f"gateway: {sentence}", err=True)
        raise typer.Exit(1) from error


def _sentences(error: Exception) -> Iterable[str]:
    match error:
        case CannotCreate():
            return error.sentences
        case SettingsInvalid():
            return map(str, error.faults)
        case SchemaInvalid():
            return (f"The schema, line {fault.line}: {fault.sentence}" for fault in error.faults)
        case OSError():
            return (f"{error.filename}: {error.strerror}.",)
    return (str(error),)


def _show(title: str, made: Mapping[str, object], token: Secret | None, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({**made, "token": token.reveal()} if token else made))
        return
    lines = [(name, _readable(name, value)) for name, value in made.items() if value is not None]
    if sys.stdout.isatty():
        _show_in_colour(title, lines, token)
        return
    typer.echo(title)
    for name, value in lines:
        typer.echo(f"{name}: {value}")
    if token:
        typer.echo(f"token: {token.reveal()}\n{_ONCE}")


_ONCE = "The token is shown this once and kept nowhere: it will not be shown again."


def _show_in_colour(title: str, lines: Iterable[tuple[str, str]], token: Secret | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(title, style="bold green"))
    table = Table.grid(padding=(0, 2))
    for name, value in lines:
        table.add_row(Text(name, style="dim"), Text(value))
    console.print(table)
    if token:
        # Never folded, so that it can be copied whole from a narrow terminal.
        console.print(Text(token.reveal(), style="bold"), soft_wrap=True)
        console.print(Text(_ONCE, style="yellow"))


def _readable(name: str, value: object) -> str:
    if name == "expires_at" and isinstance(value, int):
        return datetime.fromtimestamp(value // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
