"""The command as a whole."""

import pytest
from typer.testing import CliRunner

from gateway import __version__
from gateway.cli.main import COMMANDS, application


def test_the_version() -> None:
    """Nobody could say which version has a fault."""
    result = CliRunner().invoke(application(None), ["--version"])
    assert (result.exit_code, result.output) == (0, f"gateway {__version__}\n")


@pytest.mark.parametrize("asked", [None, "--help", "srve"])
def test_every_command_is_listed(asked: str | None) -> None:
    """A newcomer would not find out what there is."""
    result = CliRunner().invoke(application(asked), ["--help"])
    assert result.exit_code == 0
    assert all(name in result.output for name, _, _ in COMMANDS)


@pytest.mark.parametrize("name", [name for name, _, _ in COMMANDS])
def test_every_command_has_help(name: str) -> None:
    """A command would fail as soon as somebody asks for it."""
    result = CliRunner().invoke(application(name), [name, "--help"])
    assert result.exit_code == 0
    assert "Usage: " in result.output


def test_a_command_that_is_none() -> None:
    """A typing error would end in a stack trace."""
    result = CliRunner().invoke(application("srve"), ["srve"])
    assert result.exit_code == 2
    assert "No such command 'srve'" in result.output
