"""`gateway`: the commands, each in the module of its group."""

from typing import Annotated

import typer

from gateway import __version__
from gateway.cli.create import apps, keys, users
from gateway.cli.dev import dev, mock
from gateway.cli.explain import explain
from gateway.cli.policy import policy
from gateway.cli.serve import serve

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="An authenticating, authorizing reverse proxy for GraphQL.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gateway {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the command itself."""


app.command("dev")(dev)
app.command("serve")(serve)
app.command("mock")(mock)
app.add_typer(apps, name="apps")
app.add_typer(keys, name="keys")
app.add_typer(users, name="users")
app.add_typer(policy, name="policy")
app.command("explain")(explain)


def main() -> None:
    """The console script."""
    app()
