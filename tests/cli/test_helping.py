"""What the help texts show, and how faults of usage are put."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from gateway.cli.codes import EPILOG, EPILOGS
from gateway.cli.helping import unwrapped
from gateway.cli.main import application


def paths(command: Any, *words: str) -> Iterator[tuple[str, ...]]:
    """The words of every command and group, those of the whole included."""
    yield words
    for name, below in getattr(command, "commands", {}).items():
        yield from paths(below, *words, name)


EVERY = sorted(paths(get_command(application(None))))


def help_of(*words: str) -> str:
    """A help text, as wide as it wants to be."""
    result = CliRunner().invoke(application(words[0] if words else None), [*words, "--help"], env={"COLUMNS": "240"})
    assert result.exit_code == 0
    return result.output


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_help_is_for_people(words: tuple[str, ...]) -> None:
    """A newcomer would be shown the types of a programming language, and wonder what to type."""
    text = help_of(*words)
    assert not re.findall(r"<[a-z\[\]|, ]+>|\[\[|[{}]", text)
    assert "--help " in text
    ends = EPILOGS.get(words[0], EPILOG) if words else EPILOG
    assert " ".join(ends.split()) in " ".join(text.split())


def test_what_is_typed_is_named() -> None:
    """Somebody would not know what an option or an argument takes."""
    assert "gateway keys advise [OPTIONS] [APP]" in help_of("keys", "advise").replace("root", "gateway")
    assert "incidents show [OPTIONS] INCIDENT" in help_of("incidents", "show")
    assert "scan [OPTIONS] PATH..." in help_of("scan")
    assert re.search(r"--state +active\|rotating\|revoked\|expired ", help_of("keys", "list"))
    assert re.search(r"--name +NAME ", help_of("keys", "create"))
    assert re.search(r"--json +Print JSON", help_of("keys", "list"))


def test_the_columns_of_incidents_are_explained() -> None:
    """Whoever is called at night would have to guess whether the credential still works."""
    text = help_of("incidents", "list")
    assert all(said in text for said in ('Ended: "by the report"', '"before" it', '"no", where', "Refused since: "))


def test_paragraphs_are_whole() -> None:
    """A help text would break its lines where the source does."""
    assert unwrapped(None) is None
    assert unwrapped("One\n    line.\n\nTwo\nlines.") == "One line.\n\nTwo lines."
    assert "It is as the store was within the time that the export takes" in help_of("store", "export")


def test_commands_stand_in_the_order_of_use() -> None:
    """A newcomer would read first of what is needed once a year."""
    names = re.findall(r"^. ([a-z-]+)  ", help_of("keys").partition("Commands")[2], re.MULTILINE)
    assert names[:3] == ["list", "show", "create"]
    assert names[-2:] == ["import", "advise"]
    assert re.findall(r"^. ([a-z-]+)  ", help_of("users"), re.MULTILINE)[-2:] == ["import", "token"]


def test_a_value_that_is_none_is_told_plainly() -> None:
    """A person would be told how the gateway checks what is typed."""
    words = ["developers", "grant", "j@example.com", "--app", "a", "--role", "king"]
    result = CliRunner().invoke(application("developers"), words)
    assert result.exit_code == 2
    assert "'king' is not one of" in result.stderr
    assert "Value error" not in result.stderr
