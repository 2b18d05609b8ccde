"""`gateway scan`: tokens in files, before somebody else finds them."""

import json
import os
import re
import sys
from itertools import chain
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.cli.codes import FAILED
from gateway.cli.files import STANDARD
from gateway.cli.opening import VARIABLE, Config, Data, chosen, prefixes
from gateway.cli.output import AsJson, faults_told
from gateway.cli.progress import progress
from gateway.cli.words import counted, printable
from gateway.core.developer_tokens import OPERATOR_PREFIX
from gateway.core.developer_tokens import PREFIX as DEVELOPER_PREFIX
from gateway.core.sightings import without_secrets
from gateway.core.token import Kind, Prefixes
from gateway.core.traces import Shapes
from gateway.scan import NO_FILE, Found, Searched, Tree, Unread, search, search_stream, tree_of

_INPUT: Final = "standard input"
_LEAST_SHOWN: Final = 100_000  # bytes
_PREFIX: Final = re.compile(r"[a-z][a-z0-9]{0,15}\Z")
_ADVICE: Final = "Whatever was readable has leaked: 'gateway leaks report --id KEY_ID' ends a key or user token."


def scan(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Files, and directories with all below; - is standard input."),
    ],
    prefix: Annotated[
        list[str] | None,
        typer.Option(
            "--prefix", help="What tokens begin with, before their _; may be given again.", show_default=False
        ),
    ] = None,
    legacy: Annotated[
        bool, typer.Option("--legacy", help="Also what has the shape of the vendor's older keys, which proves nothing.")
    ] = False,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Find tokens of this gateway in files, by their prefixes and check digits; no secret is printed."""
    with faults_told(as_json=as_json):
        shapes = Shapes(_prefixes(prefix, config, data), legacy)
        tree, searched = _searched(paths, shapes)
        (_print_json if as_json else _print)(tree, searched)
        if searched.found or any(each.why != NO_FILE for each in searched.unread):
            raise typer.Exit(FAILED)


def _searched(paths: list[Path], shapes: Shapes) -> tuple[Tree, Searched]:
    """What there is to search, and what came of it."""
    tree = tree_of(path for path in paths if path != STANDARD)
    searched = Searched(unread=tree.unread)
    parts = search(tree, shapes)
    if STANDARD in paths:
        tree.files += 1
        parts = chain(parts, search_stream(sys.stdin.buffer, _INPUT, shapes))
    with progress("Searching", None if STANDARD in paths else tree.bytes, sizes=True) as advance:
        for each in parts:
            advance(each.bytes)
            searched.bytes += each.bytes
            searched.found += each.found
            searched.unread += each.unread
    searched.found.sort()
    searched.unread = sorted({*searched.unread})
    return tree, searched


def _prefixes(given: list[str] | None, config: Path | None, data: Path | None) -> dict[str, str]:
    people = {DEVELOPER_PREFIX: "developer_token", OPERATOR_PREFIX: "operator_token"}
    if given:
        if not all(map(_PREFIX.match, given)):
            raise typer.BadParameter("--prefix: 1 to 16 small letters and digits, a letter first")
        return {prefix: people.get(prefix, "token") for prefix in given}
    named = config is not None or data is not None or bool(os.environ.get(VARIABLE))
    ours = prefixes(chosen(config, data)) if named else Prefixes()
    return {ours.key: Kind.KEY.value, ours.user: Kind.USER_TOKEN.value, **people}


def _print(tree: Tree, searched: Searched) -> None:
    for path, line, kind, token_id in searched.found:
        typer.echo(f"{_named(path)}:{line}: {kind} {token_id}")
    for path, why in searched.unread:
        typer.echo(f"gateway: {_named(path)}: not searched: {why}", err=True)
    told = [f"{counted(tree.files, 'file')}, {_size(searched.bytes)} searched"]
    told += [f"{counted(len(searched.found), 'token')} found"]
    told += [f"{counted(tree.links, 'symbolic link')} not followed"] if tree.links else []
    told += ["what git keeps of the past is compressed, and was not opened"] if tree.repositories else []
    typer.echo(f"{'; '.join(told)}.", err=True)
    if searched.found:
        typer.echo(_ADVICE, err=True)


def _size(count: int) -> str:
    return f"{count / 1_000_000:,.1f} MB" if count >= _LEAST_SHOWN else "less than 0.1 MB"


def _print_json(tree: Tree, searched: Searched) -> None:
    view = {
        "found": [_found(each) for each in searched.found],
        "unread": [_unread(each) for each in searched.unread],
        "files": tree.files,
        "bytes": searched.bytes,
        "links": tree.links,
    }
    typer.echo(json.dumps(view))


def _found(found: Found) -> dict[str, object]:
    return {"file": without_secrets(found.path), "line": found.line, "kind": found.kind, "id": found.id}


def _unread(unread: Unread) -> dict[str, object]:
    return {"file": without_secrets(unread.path), "why": unread.why}


def _named(path: str) -> str:
    """A path for a terminal; files can be named by a token too."""
    return printable(without_secrets(path))
