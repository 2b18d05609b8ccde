"""`gateway keys`: API keys, from their making to their end."""

from collections.abc import AsyncIterator
from typing import Annotated

import typer

from gateway.cli.advise import advise_keys
from gateway.cli.durations import length, moment
from gateway.cli.finding import (
    KeyId,
    OfAnyApp,
    OfApp,
    hinted,
    key_id_from,
    key_seen,
    keys_seen,
)
from gateway.cli.helping import either
from gateway.cli.history import HEADINGS, Happening, history
from gateway.cli.intake import import_keys
from gateway.cli.opening import Config, Data, Desk, at_desk, chosen, known_scopes, prefixes
from gateway.cli.output import AsJson, faults_told, print_list, print_record
from gateway.cli.views import KEY_HEADINGS, SeenKey, key_row, key_view
from gateway.core.ledger import ActReason, ActRefused
from gateway.core.records import KeyState, key_state
from gateway.core.token import Secret
from gateway.core.wishes import DAY, KEY_LIFETIME, SHUTDOWN
from gateway.keys.keeper import MadeKey, Rotated
from gateway.settings import Settings

keys = typer.Typer(no_args_is_help=True, help="API keys, which hold scopes.")
keys.command("import")(import_keys)
keys.command("advise")(advise_keys)


@keys.command("create")
def create(
    app: OfApp,
    name: Annotated[str, typer.Option("--name", help="What people call the key.")],
    scope: Annotated[
        list[str], typer.Option("--scope", help="A scope that it holds; once for each, or with commas between them.")
    ],
    days: Annotated[
        int | None, typer.Option("--days", metavar="N", help="How many days it lives: 365 if not given, 366 at most.")
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires",
            "--expires-at",
            metavar="DATE",
            help="When it ends instead: 2027-03-01 (its first moment, UTC), or 2027-03-01T12:00:00Z.",
        ),
    ] = None,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key and print its token, once."""
    if days is not None and expires is not None:
        raise typer.BadParameter("give --days or --expires, not both")
    lifetime = KEY_LIFETIME if days is None else days * DAY
    end = None if expires is None else moment(expires)
    scopes = _listed(scope)

    with faults_told(as_json=as_json):
        settings = chosen(config, data)
        known = known_scopes(settings)

        async def work(desk: Desk) -> MadeKey:
            async with hinted(desk.store, app=app):
                return await desk.keeper.create_key(
                    app, name, scopes, known_scopes=known, lifetime=lifetime, expires_at=end
                )

        made = at_desk(settings, work)
        _print_key("API key made.", SeenKey(made.record, made.record.created_at), as_json=as_json, token=made.token)


@keys.command("list")
def list_keys(
    app: OfAnyApp = None,
    state: Annotated[
        list[KeyState] | None,
        typer.Option(
            "--state",
            metavar=either(KeyState),
            help="Only keys in this state; give the option once for each.",
            show_default=False,
        ),
    ] = None,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """All keys that ever were, with the state that each is in. What ends within 14 days is coloured."""

    async def found(desk: Desk) -> AsyncIterator[SeenKey]:
        async for seen in keys_seen(desk, app):
            if not state or key_state(seen.key, seen.now) in state:
                yield seen

    async def work(desk: Desk) -> None:
        await print_list(found(desk), key_view, KEY_HEADINGS, key_row, none="No keys.", as_json=as_json)

    with faults_told(as_json=as_json):
        at_desk(chosen(config, data), work)


@keys.command("show")
def show(key_id: KeyId, config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """One key, as it is now."""
    with faults_told(as_json=as_json):
        settings = chosen(config, data)
        _print_key("API key.", _seen(settings, key_id_from(key_id, prefixes(settings))), as_json=as_json)


@keys.command("rename")
def rename(
    key_id: KeyId,
    name: Annotated[str, typer.Option("--name", help="What people are to call the key.")],
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Give a key another name, which changes nothing else."""
    with faults_told(as_json=as_json):
        settings = chosen(config, data)
        wanted = key_id_from(key_id, prefixes(settings))

        async def work(desk: Desk) -> None:
            async with hinted(desk.store, key=wanted):
                await desk.keeper.rename_key(wanted, name)

        at_desk(settings, work)
        _print_key("API key renamed.", _seen(settings, wanted), as_json=as_json)


@keys.command("rotate")
def rotate(
    key_id: KeyId,
    shutdown: Annotated[
        str | None,
        typer.Option(
            "--shutdown",
            metavar="LENGTH",
            help="How long the old key goes on: 7d if not given, as 12h or 30m; 0 ends it now; 30d at most.",
        ),
    ] = None,
    shutdown_days: Annotated[int | None, typer.Option("--shutdown-days", metavar="N", help="The same in days.")] = None,
    scopes: Annotated[
        list[str] | None,
        typer.Option(
            "--scopes",
            "--scope",
            metavar="SCOPES",
            help="What the successor holds of the key's scopes, with commas between them: all of them if not given.",
            show_default=False,
        ),
    ] = None,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a successor of a key and print its token, once. The old key goes on until its shutdown time."""
    if shutdown is not None and shutdown_days is not None:
        raise typer.BadParameter("give --shutdown or --shutdown-days, not both")
    wanted_scopes = _listed(scopes) if scopes else None
    asked = None if shutdown is None else length(shutdown)
    if shutdown_days is not None:
        asked = shutdown_days * DAY

    with faults_told(as_json=as_json):
        settings = chosen(config, data)
        wanted = key_id_from(key_id, prefixes(settings))
        overlap = _overlap(settings, asked)

        async def work(desk: Desk) -> Rotated:
            async with hinted(desk.store, key=wanted):
                return await desk.keeper.rotate_key(wanted, shutdown=overlap, scopes=wanted_scopes)

        _print_rotated(at_desk(settings, work), as_json=as_json)


def _print_rotated(rotated: Rotated, *, as_json: bool) -> None:
    new, now = rotated.record, rotated.record.created_at
    before = key_view(SeenKey(rotated.predecessor, now))
    view = {**key_view(SeenKey(new, now)), "predecessor": before}
    print_record("API key rotated. Its successor:", view, as_json=as_json, token=rotated.token, now=now)
    if not as_json:
        ends = {name: before[name] for name in ("id", "state", "shutdown_at")}
        print_record("The key before it:", ends, as_json=False, now=now)


def _overlap(settings: Settings, asked: int | None) -> int:
    """How long the old key goes on."""
    if settings.rotation.overlap:
        return SHUTDOWN if asked is None else asked
    if asked:
        raise ActRefused(
            ActReason.WISH_INVALID,
            "The setting rotation.overlap is false: a rotated key ends at once. Leave out the shutdown time.",
        )
    return 0


@keys.command("revoke")
def revoke(key_id: KeyId, config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """End a key, now and for good. Revoking one that has ended already does nothing and succeeds."""
    with faults_told(as_json=as_json):
        settings = chosen(config, data)
        wanted = key_id_from(key_id, prefixes(settings))

        async def work(desk: Desk) -> tuple[bool, bool]:
            async with hinted(desk.store, key=wanted):
                done = await desk.keeper.revoke_key(wanted)
            return bool(done.changes), done.replicated

        changed, replicated = at_desk(settings, work)
        title = "API key revoked." if changed else "The API key had ended before."
        _print_key(title, _seen(settings, wanted), as_json=as_json, replicated=replicated)


@keys.command("history")
def show_history(
    key_id: Annotated[
        str | None, typer.Argument(metavar="KEY_ID", help="The id of one key.", show_default=False)
    ] = None,
    app: OfAnyApp = None,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """All that happened to keys: made, imported, renamed, rotated, revoked, expired; when, and by whom."""
    if key_id is not None and app is not None:
        raise typer.BadParameter("give KEY_ID or --app, not both")

    with faults_told(as_json=as_json):
        settings = chosen(config, data)
        wanted = None if key_id is None else key_id_from(key_id, prefixes(settings))

        async def work(desk: Desk) -> None:
            told = history(desk, app, wanted)
            await print_list(told, Happening.view, HEADINGS, Happening.row, none="No history yet.", as_json=as_json)

        at_desk(settings, work)


def _listed(given: list[str]) -> list[str]:
    return [each.strip() for texts in given for each in texts.split(",")]


def _seen(settings: Settings, key_id: str) -> SeenKey:
    return at_desk(settings, lambda desk: key_seen(desk, key_id))


def _print_key(
    title: str, seen: SeenKey, *, as_json: bool, token: Secret | None = None, replicated: bool | None = None
) -> None:
    print_record(title, key_view(seen), as_json=as_json, token=token, replicated=replicated, now=seen.now)
