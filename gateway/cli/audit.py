"""`gateway audit`: whether the audit is whole, what it tells, and a key to sign its seals with."""

import errno
import json
from collections.abc import AsyncIterator, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Final

import typer

from gateway.cli.audit_report import Logged, Outcome, audit_view, print_audit
from gateway.cli.codes import REFUSED
from gateway.cli.durations import moment
from gateway.cli.files import STANDARD, named, private_file, reading, require_output, written
from gateway.cli.opening import Config, Data, Desk, at_desk, chosen, own_files
from gateway.cli.output import AsJson, as_json_text, faults_told, print_record
from gateway.cli.words import counted
from gateway.core.audit import Numbered
from gateway.core.seal import Judge
from gateway.core.times import iso_time
from gateway.keys.sealing import ChainReport, verify
from gateway.settings import Settings
from gateway.store.contract import Store

audit = typer.Typer(no_args_is_help=True, help="The audit of changes in what is permitted.")

PublicKeys = Annotated[
    list[Path] | None,
    typer.Option(
        "--public-key",
        metavar="FILE",
        help="A public key that seals are signed with, in PEM; give the option once for each. If not given, that of"
        " the gateway's own signing key.",
        show_default=False,
    ),
]
Logs = Annotated[
    list[Path] | None,
    typer.Option(
        "--log",
        metavar="FILE",
        help="A log of the gateways, or - for standard input: every seal that it tells of must still be there.",
        show_default=False,
    ),
]


# Whole? ---------------------------------------------------------------------------------------------------------------


@audit.command("verify")
def verify_command(
    public_keys: PublicKeys = None,
    logs: Logs = None,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Read the whole audit and hold it against its seals. Exits with 3 when anything is missing or was changed."""
    with faults_told(as_json=as_json):
        settings = chosen(config, data)
        judge = _judge(public_keys or [], settings)
        logged = _logged_by(logs) if logs else None

        async def work(desk: Desk) -> list[ChainReport]:
            return [report async for report in verify(desk.store, judge, logged.told() if logged else None)]

        reports = at_desk(settings, work)
        outcome = Outcome(reports, judge is not None, logged)
        if as_json:
            typer.echo(as_json_text(audit_view(outcome)))
        else:
            print_audit(outcome)
        if not outcome.whole:
            raise typer.Exit(REFUSED)


def _judge(files: Collection[Path], settings: Settings) -> Judge | None:
    own = settings.audit.signing_key_file
    if not files and own is None:
        return None
    from gateway.keys.signing import judge_with, load_public_key, load_signer

    if files:
        return judge_with([load_public_key(file) for file in files])
    return judge_with([load_signer(own).public()]) if own else None


_SEALED: Final = b"audit sealed"


def _logged_by(files: Collection[Path]) -> Logged:
    with ExitStack() as closing:
        return logged_by([closing.enter_context(reading(file)) for file in files])


def logged_by(logs: Collection[IO[bytes]]) -> Logged:
    """What logs tell of seals. Lines that are not about any are passed over."""
    logged = Logged()
    for log in logs:
        for number, line in enumerate(log, 1):
            if _SEALED in line:
                match _json_of(line):
                    case {"event": "audit sealed", "chain": str(chain), "last": int(last), "digest": str(digest)}:
                        logged.seals.setdefault(chain, set()).add((last, digest))
                    case {"event": str(event)} if event != "audit sealed":
                        pass
                    case _:
                        logged.unreadable.append(f"{getattr(log, 'name', '-')}, line {number}")
    return logged


def _json_of(line: bytes) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None


# Told -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The events of an app, of a span of time (UTC milliseconds, the end not in it), or all."""

    app: str | None
    since: int | None
    until: int | None

    def has(self, numbered: Numbered) -> bool:
        event = numbered.event
        return (
            self.app in {None, event.app_id}
            and (self.since is None or self.since <= event.at)
            and (self.until is None or event.at < self.until)
        )


@audit.command("export")
def export(
    app: Annotated[
        str | None, typer.Option("--app", metavar="ID", help="Only the events of this app.", show_default=False)
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Only from this date or time on, UTC.", show_default=False),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="TIME", help="Only before this date or time, UTC.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE",
            help="Write here, for its owner's eyes only, once all is read; - is standard output.",
            show_default=False,
        ),
    ] = None,
    config: Config = None,
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="What goes wrong is told in JSON too.")] = False,
) -> None:
    """Print the events as JSON lines, one an event, by chain and number."""
    with faults_told(as_json=as_json):
        wanted = _Wanted(app, None if since is None else moment(since), None if until is None else moment(until))

        settings = chosen(config, data)
        target = None if output == STANDARD else output
        if target is not None:
            require_output(target, own_files(settings, config, data))

        async def work(desk: Desk) -> int:
            with written(target) as file:
                return await _write(desk.store, wanted, file)

        count = at_desk(settings, work)
        if target is not None:
            typer.echo(f"Exported: {counted(count, 'event')} to {target}.", err=True)


async def _write(store: Store, wanted: _Wanted, file: IO[str]) -> int:
    count = 0
    async for numbered in _events(store):
        if wanted.has(numbered):
            file.write(json.dumps(_event_view(numbered)) + "\n")
            count += 1
    file.flush()
    return count


async def _events(store: Store) -> AsyncIterator[Numbered]:
    for chain in sorted(await store.chains()):
        async for numbered in store.events(chain):
            yield numbered


def _event_view(numbered: Numbered) -> dict[str, object]:
    values = numbered.event.as_json()
    at = numbered.event.at
    return {"chain": numbered.chain, "number": numbered.number, **values, "at": iso_time(at), "at_ms": at}


# A key ----------------------------------------------------------------------------------------------------------------


@audit.command("keygen")
def keygen(
    output: Annotated[
        Path, typer.Option("--output", metavar="FILE", help="Where the private key goes; the public one beside it.")
    ],
    as_json: AsJson = False,
) -> None:
    """Make a key to sign seals with: the private one for the gateways, the public one for whoever verifies."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from gateway.keys.signing import fingerprint, private_pem, public_pem

    public_file = output.with_name(f"{output.name}.pub")
    with faults_told(as_json=as_json):
        for file in (output, public_file):
            if file.exists():
                raise FileExistsError(errno.EEXIST, "there is a file of this name, which is left as it is", str(file))
            require_output(file, ())
        key = Ed25519PrivateKey.generate()
        with named(output), private_file(output) as private:
            private.write(private_pem(key).decode())
        with named(public_file), public_file.open("xb") as public:  # which follows no link
            public.write(public_pem(key.public_key()))
        made = {
            "fingerprint": fingerprint(key.public_key()),
            "private_key_file": str(output),
            "public_key_file": str(public_file),
        }
        print_record("Signing key made.", made, as_json=as_json)
