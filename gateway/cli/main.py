"""`gateway`: the commands, each in the module of its group, imported only when it is asked for."""

import json
import signal
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from io import TextIOWrapper
from types import FrameType
from typing import Annotated, Final, NoReturn

import typer

from gateway import __version__
from gateway.cli.codes import EPILOG, EPILOGS, INTERRUPTED, REFUSED, TERMINATED, USAGE
from gateway.cli.guard import refused_argument
from gateway.cli.helping import PlainGroup, UsageFault, make_plain

# Name, module, attribute. `gateway serve` must not carry the page, the tables and the pretend upstream in its memory.
COMMANDS: Final = (
    ("dev", "gateway.cli.dev", "dev"),
    ("serve", "gateway.cli.serve", "serve"),
    ("mock", "gateway.cli.dev", "mock"),
    ("apps", "gateway.cli.apps", "apps"),
    ("keys", "gateway.cli.keys", "keys"),
    ("users", "gateway.cli.users", "users"),
    ("developers", "gateway.cli.developers", "developers"),
    ("operators", "gateway.cli.operators", "operators"),
    ("leaks", "gateway.cli.leaks", "leaks"),
    ("incidents", "gateway.cli.incidents", "incidents"),
    ("reminders", "gateway.cli.reminders", "reminders"),
    ("scan", "gateway.cli.scan", "scan"),
    ("audit", "gateway.cli.audit", "audit"),
    ("store", "gateway.cli.store", "store"),
    ("policy", "gateway.cli.policy", "policy"),
    ("explain", "gateway.cli.explain", "explain"),
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gateway {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """An authenticating, authorizing reverse proxy for GraphQL."""


def application(asked: str | None) -> typer.Typer:
    """The command that is asked for, or all of them where none of that name exists, so that help can list them."""
    app = typer.Typer(
        cls=PlainGroup,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        callback=_options,
        epilog=EPILOG,
    )
    for name, module, attribute in _wanted(asked):
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name, epilog=EPILOGS.get(name))(command)
    make_plain(app)
    return app


def _wanted(asked: str | None) -> Iterator[tuple[str, str, str]]:
    names = {name for name, _, _ in COMMANDS}
    return (command for command in COMMANDS if asked == command[0] or asked not in names)


def main() -> None:
    """The console script."""
    signal.signal(signal.SIGTERM, _terminated)
    if isinstance(sys.stdout, TextIOWrapper):
        # A name must not end a command where the terminal cannot show it.
        sys.stdout.reconfigure(errors="backslashreplace")
    run(sys.argv[1:])


def run(words: Sequence[str]) -> NoReturn:
    """Do what the words ask for, and exit. With --json, what goes wrong is an object, whoever finds it."""
    as_json = "--json" in words
    fault = refused_argument(words)
    if fault is not None:
        _end(REFUSED, "secret_in_argument", fault, as_json=as_json)
    try:
        app = application(words[0] if words else None)
        sys.exit(app(list(words), standalone_mode=not as_json))  # standing alone, typer draws faults for people
    except UsageFault as usage:
        _end(USAGE, "usage", " ".join(usage.format_message().split()), as_json=True)
    except UnicodeEncodeError:
        # Names of files may be any bytes and work. Ids and addresses are UTF-8, and what looks for them fails.
        if not any(map(_is_undecoded, words)):
            raise
        _end(USAGE, "usage", "An argument is not UTF-8, in which ids, names and addresses are.", as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):  # while a command is still being imported, or its options are read
        _end(INTERRUPTED, "interrupted", "Interrupted." if as_json else "", as_json=as_json)


def _is_undecoded(word: str) -> bool:
    """Whether the word has bytes that are no text, which Python hands over as halves of characters."""
    return any("\ud800" <= sign <= "\udfff" for sign in word)


def _end(code: int, reason: str, sentence: str, *, as_json: bool) -> NoReturn:
    if as_json:
        print(json.dumps({"error": {"reason": reason, "message": sentence}}))
    elif sentence:
        print(f"gateway: {sentence}", file=sys.stderr)
    sys.exit(code)


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    """Exit on SIGTERM through the usual clean-up."""
    sys.exit(TERMINATED)
