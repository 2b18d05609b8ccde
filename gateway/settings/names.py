"""What the models know under a name: the kind of its value, and the nearest name to one they do not know."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gateway.settings.models import Settings
from gateway.settings.yaml_text import Location


def kind_at(location: Location) -> object:
    """The type at a location, without its checks and without `| None`; None where nothing is known."""
    kind: object = Settings
    for step in location:
        fields = _fields(kind)
        if fields:
            kind = _bare(fields[step].annotation) if step in fields else None
        else:
            arguments = get_args(kind)  # Mapping[name, kind] or tuple[kind, ...]
            position = 1 if get_origin(kind) is Mapping else 0
            kind = _bare(arguments[position]) if position < len(arguments) else None
    return kind


def _fields(kind: object) -> Mapping[Any, FieldInfo]:
    return kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else {}


def _bare(kind: object) -> object:
    while get_origin(kind) in (Annotated, Union, UnionType):  # `|` gives the one or the other
        kind = next(part for part in get_args(kind) if part is not NoneType)
    return kind


def is_section(location: Location) -> bool:
    """Whether settings stand below this name, rather than a value."""
    kind = kind_at(location)
    return get_origin(kind) is Mapping or bool(_fields(kind))


def is_text(location: Location) -> bool:
    """Whether the value is written as it stands: text, a path or a choice, where `5` and `true` are words."""
    kind = kind_at(location)
    return kind in (str, Path) or get_origin(kind) is Literal


def description(location: Location) -> str:
    """What the setting at this location is for, as its model says."""
    return _fields(kind_at(location[:-1]))[location[-1]].description or ""


def suggestion(location: Location) -> str:
    """What was probably meant by a name that is not a setting."""
    wrong = str(location[-1])
    known = [str(name) for name in _fields(kind_at(location[:-1]))]
    elsewhere = [name for name in _dotted_names(Settings) if name.rpartition(".")[2] == wrong]
    close = elsewhere or get_close_matches(wrong, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"


def _dotted_names(model: object, prefix: str = "") -> Iterator[str]:
    for name, field in _fields(model).items():
        yield f"{prefix}{name}"
        yield from _dotted_names(field.annotation, f"{prefix}{name}.")
