"""`gateway store`: the store as a whole: made, saved into a file, brought back, looked through."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, BinaryIO, Final, NoReturn

import typer

from gateway import __version__
from gateway.cli.codes import REFUSED
from gateway.cli.files import named, require_output
from gateway.cli.opening import Config, Data, Desk, at_desk, chosen, in_redis, known_scopes, own_files, store_options
from gateway.cli.output import AsJson, Unusable, as_json_text, faults_told, print_record
from gateway.cli.progress import lines, progress
from gateway.cli.words import printable
from gateway.keys.export_file import Export, ExportFaulty, ExportWriter, checked, made_whole
from gateway.keys.moving import export, faults
from gateway.keys.restoring import Restored, Restoring
from gateway.settings import Settings
from gateway.store.contract import StoreUnavailable

store = typer.Typer(no_args_is_help=True, help="The store as a whole: made, saved, brought back.")

Saved = Annotated[Path, typer.Argument(metavar="FILE", help="The file of an export.")]

_SHOWN: Final = 100  # sentences on what does not fit


@store.command("init")
def init(config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """Make the store, and print its identity, which the setting store.identity may hold it to. One that is there stays
    as it is."""
    with faults_told(as_json=as_json):
        settings = chosen(config, data)
        before = _identity(settings)
        identity = _made(settings)
        title = "The store was made before." if before else "Store made."
        print_record(title, {"identity": identity, "made_now": not before}, as_json=as_json)


@store.command("export")
def export_command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file to make, or to replace once the new is whole.")
    ],
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Save all that is in the store into a file that only its owner may read.

    It holds no token and nothing to make one from, but what apps, keys, users and people are called. It is as the store
    was within the time that the export takes; the gateway goes on meanwhile.
    """
    with faults_told(as_json=as_json):
        settings = chosen(config, data)
        require_output(file, own_files(settings, config, data))

        async def work(desk: Desk) -> ExportWriter:
            with named(file), made_whole(file) as target:
                return await export(desk.store, target, __version__, advance)

        with progress("records") as advance:
            written = at_desk(settings, work)
        view = {"file": str(file), **written.counts, "sha256": written.sha256}
        print_record("Store exported.", view, as_json=as_json)


@store.command("import")
def import_command(
    file: Saved,
    merge: Annotated[
        bool,
        typer.Option("--merge", help="Into a store that is not empty. What either has ended stays ended."),
    ] = False,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Bring an export into the store, once the whole file was found to be good.

    Exits with 3 when something of it could not be merged; the rest is in the store all the same.
    """
    with faults_told(as_json=as_json):
        settings = chosen(config, data)
        conflicts: list[str] = []

        def conflict(line: int, sentence: str) -> None:
            if len(conflicts) < _SHOWN:
                conflicts.append(f"Line {line}: {sentence}")

        with file.open("rb") as source:
            saved = _checked(source, as_json=as_json)
            with progress("records", sum(saved.counts.values())) as advance:

                async def work(desk: Desk) -> Restored:
                    return await Restoring(desk.store, saved, desk.keeper.who, advance, conflict).run(merge=merge)

                try:
                    restored = at_desk(settings, work)
                except ExportFaulty as faulty:
                    _tell({}, "export_faulty", "A part of the file is in the store", faulty.sentences, as_json=as_json)
        warnings = [*_unknown(settings, saved)][:_SHOWN]
        view = {"file": str(file), **asdict(restored), "sha256": saved.sha256}
        if as_json:
            view["warnings"] = warnings
        else:
            _say(warnings)
        if restored.conflicts:
            _tell(
                view,
                "not_merged",
                f"Records not merged, or not wholly: {restored.conflicts:,}",
                conflicts,
                as_json=as_json,
            )
        print_record("Store imported.", view, as_json=as_json)


@store.command("verify")
def verify(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="The file of an export; the store if not given.", show_default=False),
    ] = None,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Read a file, or the store, to its end and find whether all of it belongs together. Exits with 3 when it does not.

    Of the audit 'gateway audit verify' tells more.
    """
    with faults_told(as_json=as_json):
        if file is None:
            _verify_store(chosen(config, data), as_json=as_json)
        else:
            _verify_file(file, as_json=as_json)


def _verify_file(file: Path, *, as_json: bool) -> None:
    with file.open("rb") as source:
        saved = _checked(source, as_json=as_json)
    header = {"identity": saved.header.identity, "version": saved.header.version, "made_at": saved.header.made_at}
    view = {"file": str(file), **header, **saved.counts, "sha256": saved.sha256}
    print_record("The file is whole.", view, as_json=as_json)


def _verify_store(settings: Settings, *, as_json: bool) -> None:
    async def work(desk: Desk) -> tuple[str, list[str]]:
        return await desk.store.identity(), [sentence async for sentence in faults(desk.store, advance)]

    with progress("records") as advance:
        identity, sentences = at_desk(settings, work)
    view = {"identity": identity}
    if sentences:
        _tell(view, "store_faulty", f"What does not belong together: {len(sentences):,}", sentences, as_json=as_json)
    print_record("The records of the store belong together.", view, as_json=as_json)


def _checked(source: BinaryIO, *, as_json: bool) -> Export:
    try:
        with progress("lines checked", lines(source)) as advance:
            return checked(source, advance)
    except ExportFaulty as faulty:
        _tell(
            {}, "export_faulty", "The file is not good, and nothing of it was used", faulty.sentences, as_json=as_json
        )


def _unknown(settings: Settings, saved: Export) -> Iterator[str]:
    """What the file names and the settings do not. It comes in all the same: a schema or settings may follow."""
    try:
        scopes = saved.scopes - set(known_scopes(settings))
    except (Unusable, OSError):
        scopes = frozenset()
        yield f"The schema {settings.policy.schema_file} cannot be read: the scopes of keys were not held against it."
    for scope in sorted(scopes):
        yield f"Keys of the file have the scope {scope!r}, which the schema does not name: it opens nothing."
    for region in sorted(saved.regions - set(settings.regions)):
        yield f"Apps of the file live in the region {region!r}, which the settings do not name: they are not served."


def _tell(
    view: Mapping[str, object], reason: str, message: str, sentences: Sequence[str], *, as_json: bool
) -> NoReturn:
    """Say what does not fit, and exit."""
    if as_json:
        typer.echo(
            as_json_text({**view, "faults": sentences[:_SHOWN], "error": {"reason": reason, "message": f"{message}."}})
        )
    else:
        _say(sentences[:_SHOWN])
        typer.echo(f"gateway: {message}.", err=True)
    raise typer.Exit(REFUSED)


def _say(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        typer.echo(f"gateway: {printable(sentence)}", err=True)


def _identity(settings: Settings) -> str | None:
    """The identity of the store, if it is there."""
    try:
        return at_desk(settings, lambda desk: desk.store.identity())
    except StoreUnavailable:
        return None  # and why, the attempt to make it will say


def _made(settings: Settings) -> str:
    if not in_redis(settings):
        return at_desk(settings, lambda desk: desk.store.identity(), create=True)
    from gateway.store.redis.founding import init as found

    return asyncio.run(found(settings.store.url, store_options(settings)))
