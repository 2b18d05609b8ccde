"""Help texts and faults of usage in plain words: typer shows the types of Python, and pydantic's prefixes."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Final, cast

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from gateway.cli.codes import EPILOG

# What every fault of usage is. Typer has no public name for it, and another module's by its version.
UsageFault: Final = cast(type[typer.BadParameter], typer.BadParameter.__bases__[0])

# What is looked for most comes first, what is needed once or seldom last; the others stand as they were written.
_FIRST: Final = ("list", "show", "create")
_LAST: Final = ("import", "advise", "token", "tokens")
_SLIP: Final = "Value error, "  # pydantic's, before a sentence that is enough


class PlainCommand(TyperCommand):
    """A command whose help shows no types of Python."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.help = unwrapped(self.help)

    def get_params(self, ctx: Any) -> list[Any]:
        return _plain(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except UsageFault as fault:
            fault.message = fault.message.replace(_SLIP, "")
            raise


class PlainGroup(TyperGroup):
    """A group of commands that lists them by use, and whose help shows no types of Python."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _plain(super().get_params(ctx))

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=_rank) if ctx.parent else super().list_commands(ctx)


def make_plain(app: typer.Typer) -> None:
    """Let every command of a group, and of those below it, show plain help that ends with the exit codes."""
    for command in app.registered_commands:
        command.cls = PlainCommand
        command.epilog = command.epilog or EPILOG
    for group in app.registered_groups:
        group.cls = PlainGroup
        group.epilog = EPILOG
        if group.typer_instance is not None:
            make_plain(group.typer_instance)


def either(kinds: type[StrEnum]) -> str:
    """The values that an option takes, as its help shows them."""
    return "|".join(kinds)


def unwrapped(text: str | None) -> str | None:
    """The text with its paragraphs whole: where its lines end in the source says nothing to who reads the help."""
    return None if text is None else "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _plain(params: Iterable[Any]) -> list[Any]:
    """The parameters, those that take no value without the name of a type, the others with one for the value."""
    told = list(params)
    for param in told:
        if isinstance(param, TyperArgument):
            param.display_type_rich = _nothing  # type: ignore[method-assign] # its name says what it is
        elif isinstance(param, TyperOption) and param.metavar is None:
            param.metavar = "" if param.is_flag else (param.name or "").upper()
    return told


def _nothing(ctx: Any) -> str:  # noqa: ARG001 - asked by the help of a command
    return ""


def _rank(name: str) -> int:
    order: Sequence[str] = (*_FIRST, "", *_LAST)
    return order.index(name if name in order else "")
