"""`gateway`: the commands, each in the module of its group, imported only when it is asked for."""

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Final, NoReturn

import typer

from gateway import __version__
from gateway.cli.codes import EPILOG, INTERRUPTED, USAGE
from gateway.cli.guard import refused_argument

# Name, module, attribute. `gateway serve` must not carry the page, the tables and the pretend upstream in its memory.
COMMANDS: Final = (
    ("dev", "gateway.cli.dev", "dev"),
    ("serve", "gateway.cli.serve", "serve"),
    ("mock", "gateway.cli.dev", "mock"),
    ("apps", "gateway.cli.apps", "apps"),
    ("keys", "gateway.cli.keys", "keys"),
    ("users", "gateway.cli.users", "users"),
    ("developers", "gateway.cli.developers", "developers"),
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
        no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, callback=_options, epilog=EPILOG
    )
    for name, module, attribute in _wanted(asked):
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _wanted(asked: str | None) -> Iterator[tuple[str, str, str]]:
    names = {name for name, _, _ in COMMANDS}
    return (command for command in COMMANDS if asked == command[0] or asked not in names)


def main() -> None:
    """The console script."""
    words = sys.argv[1:]
    fault = refused_argument(words)
    if fault is not None:
        _refuse(fault, as_json="--json" in words)
    if isinstance(sys.stdout, TextIOWrapper):
        # A name must not end a command where the terminal cannot show it.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        application(words[0] if words else None)()
    except KeyboardInterrupt:  # while a command is still being imported
        sys.exit(INTERRUPTED)


def _refuse(fault: str, *, as_json: bool) -> NoReturn:
    if as_json:
        print(json.dumps({"error": {"reason": "secret_in_argument", "message": fault}}))
    else:
        print(f"gateway: {fault}", file=sys.stderr)
    sys.exit(USAGE)
