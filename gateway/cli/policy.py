"""`gateway policy check` and `gateway policy init`: what a schema opens to whom, and how to begin with one."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from gateway.cli.files import file_sentence, require_output, writing
from gateway.cli.tables import Cell, print_table
from gateway.core.policy import Policy
from gateway.core.policy_advice import Access, PolicyAdvice, access, advice, closed_sentence
from gateway.core.schema import SchemaFault, SchemaInvalid, compile_policy
from gateway.core.starter import annotate

SCHEMA: Final = Path("config/schema.graphql")

SchemaFile = Annotated[Path, typer.Option("--schema", metavar="FILE", help="The annotated schema.")]

_HEADINGS: Final = ("Root field", "API keys", "User tokens", "Own user")
_NOBODY: Final = "closed"
_SUBSCRIPTIONS: Final = "Subscriptions are refused, whatever their directives say."

policy = typer.Typer(no_args_is_help=True, help="The annotated schema, which is the policy.")


@policy.command("check")
def check(
    schema: SchemaFile = SCHEMA,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where there is advice.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compile a schema, and print who may use each root field and where somebody has still to decide."""
    with faults_told(schema, as_json=as_json):
        compiled = compile_policy(read_text(schema))
    found = advice(compiled)
    if as_json:
        typer.echo(json.dumps(_report(compiled, found)))
    else:
        print_table(_HEADINGS, [_row(each) for each in access(compiled)])
        for line in _remarks(compiled, schema, found):
            typer.echo(line)
    if strict and found:
        raise typer.Exit(1)


@policy.command("init")
def init(
    schema: Annotated[Path, typer.Option("--schema", metavar="FILE", help="A schema without annotations.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where to write it, if not here.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there already.")] = False,
) -> None:
    """Annotate a schema to start from: every root field closed, and what looks like a user id the user's own."""
    with faults_told(schema):
        text = annotate(read_text(schema))
    if out is None:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.flush()
    else:
        with faults_told(out):
            _write(out, text, force=force)
    for line in _next_steps(compile_policy(text), out):
        typer.echo(line, err=True)


# Files and faults, for `explain` too ----------------------------------------------------------------------------------


def read_text(file: Path) -> str:
    """The text of a file as it is, line ends included. Raises `OSError`, and `SchemaInvalid` where it is not UTF-8."""
    return decoded(file.read_bytes())


def decoded(raw: bytes) -> str:
    """Bytes as text. Raises `SchemaInvalid` with the line where they are not UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SchemaInvalid([SchemaFault(line, "This is not UTF-8.")]) from error


@contextmanager
def faults_told(file: Path | str, *, as_json: bool = False) -> Iterator[None]:
    """Tell each fault of a file on standard error, as `FILE:LINE: sentence`, and exit with 1; programs are told in the
    one object of an error."""
    try:
        yield
    except SchemaInvalid as error:
        told = [f"{file}:{fault.line or ''}".rstrip(":") + f": {fault.sentence}" for fault in error.faults]
        if as_json:
            _fail_as_json("schema_invalid", told)
        fail(told)
    except OSError as error:
        sentence = file_sentence(OSError(error.errno, error.strerror, str(file)))
        if as_json:
            _fail_as_json("file_unusable", [sentence])
        fail([f"gateway: {sentence}"])


def _fail_as_json(reason: str, sentences: Iterable[str]) -> NoReturn:
    typer.echo(json.dumps({"error": {"reason": reason, "message": " ".join(sentences)}}))
    raise typer.Exit(1)


def fail(sentences: Iterable[str]) -> NoReturn:
    """Say what is wrong on standard error and exit with 1."""
    for sentence in sentences:
        typer.echo(sentence, err=True)
    raise typer.Exit(1)


def _write(file: Path, text: str, *, force: bool) -> None:
    if force:
        require_output(file, ())
    if not force and file.exists():
        fail([f"{file}: there is a file already; --force writes over it."])
    with writing(file), file.open("wb" if force else "xb") as opened:
        opened.write(text.encode())


# What is said ---------------------------------------------------------------------------------------------------------


def _report(compiled: Policy, found: Iterable[PolicyAdvice]) -> dict[str, object]:
    rows = access(compiled)
    return {
        "fields": [
            {
                "coordinate": row.coordinate,
                "keys": row.keys,
                "scopes": row.scopes,
                "users": row.users,
                "closed": row.closed,
                "own_user": row.own_user,
            }
            for row in rows
        ],
        "advice": [{"line": each.line, "coordinate": each.coordinate, "sentence": each.sentence} for each in found],
        "closed": sum(row.closed for row in rows),
        "total": len(rows),
        "scopes": compiled.scopes,
    }


def _row(row: Access) -> "tuple[Cell, ...]":
    if row.closed:
        return Cell(row.coordinate, "dim"), Cell(_NOBODY, "dim"), Cell(_NOBODY, "dim"), Cell("")
    keys = Cell(scopes_in_words(row.scopes) or "any", "green") if row.keys else Cell("-", "dim")
    users = Cell("yes", "magenta") if row.users else Cell("-", "dim")
    return Cell(row.coordinate), keys, users, Cell(", ".join(row.own_user))


def scopes_in_words(scopes: Iterable[Iterable[str]]) -> str:
    """Sets of scopes, any of which will do, in words."""
    return ", or ".join(" and ".join(inner) for inner in scopes)


def _remarks(compiled: Policy, file: Path, found: Sequence[PolicyAdvice]) -> Iterator[str]:
    if compiled.schema.subscription_type:
        yield _SUBSCRIPTIONS
    closed = closed_sentence(compiled)
    if closed:
        yield closed
    for each in found:
        yield f"{file}:{each.line}: {each.sentence}"


def _next_steps(compiled: Policy, out: Path | None) -> Iterator[str]:
    if out:
        yield f"Written to {out}."
    closed = closed_sentence(compiled)
    if closed:
        yield closed
        yield "Replace @closed on what is needed by who may use it, and look through each @ownUser."
    name = out or "FILE"
    yield f"Check it: gateway policy check --schema {name}, and try it: gateway dev --schema {name}"
