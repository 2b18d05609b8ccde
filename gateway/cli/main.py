"""`gateway`: the commands, each in the module of its group, imported only when it is asked for."""

import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Final

import typer

from gateway import __version__

# Name, module, attribute. `gateway serve` must not carry the page, the tables and the pretend upstream in its memory.
COMMANDS: Final = (
    ("dev", "gateway.cli.dev", "dev"),
    ("serve", "gateway.cli.serve", "serve"),
    ("mock", "gateway.cli.dev", "mock"),
    ("apps", "gateway.cli.create", "apps"),
    ("keys", "gateway.cli.create", "keys"),
    ("users", "gateway.cli.create", "users"),
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
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, callback=_options)
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
    application(sys.argv[1] if len(sys.argv) > 1 else None)()
