"""`gateway operators`: those who may use the management API for all apps; the settings name them."""

import hashlib
import re
import secrets
from typing import Annotated, Final

import typer

from gateway.cli.output import AsJson, faults_told, print_record
from gateway.core.developer_tokens import OPERATOR_PREFIX
from gateway.core.token import IDENTIFIER_BYTES, SECRET_BYTES, mint

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")

operators = typer.Typer(no_args_is_help=True, help="Who may use the management API for all apps.")


@operators.callback()
def _group() -> None:
    """Who may use the management API for all apps."""


@operators.command("token")
def token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the audit is to call the operator.")],
    as_json: AsJson = False,
) -> None:
    """Make a token for an operator and print it, once, with what is to be written into the settings.

    Nothing is changed: whoever may write the settings decides. To end the token, take its digest out again.
    """
    if not _NAME.match(name):
        raise typer.BadParameter(f"{name!r} is no name: at most 64 small letters, digits and . _ -")
    made = mint(OPERATOR_PREFIX, secrets.token_bytes(IDENTIFIER_BYTES), secrets.token_bytes(SECRET_BYTES))
    digest = hashlib.sha256(made.reveal().encode("ascii")).hexdigest()
    with faults_told(as_json=as_json):
        print_record("Token made.", {"name": name, "token_sha256": digest}, as_json=as_json, token=made)
    if not as_json:
        typer.echo(
            "Write into the settings, and start the gateway anew:\n"
            f"api:\n  operators:\n    - name: {name}\n      token_sha256: {digest}"
        )
