"""Pydantic's findings in the words of this project: for settings, and for whatever else is checked by models."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from gateway.settings.names import description, suggestion
from gateway.settings.yaml_text import Location

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


@dataclass(frozen=True, slots=True)
class Format:
    """What a format calls a value with names in it, and no value."""

    mapping: str
    nothing: str


YAML: Final = Format("a section", "empty")
JSON: Final = Format("an object", "null")

_MAPPINGS: Final = frozenset({"dict_type", "mapping_type", "model_attributes_type", "model_type"})
_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bool_type": "true or false",
        "float_type": "a number",
        "int_from_float": "a whole number",
        "int_type": "a whole number",
        "list_type": "a list",
        "path_type": "a path",
        "string_type": "text",
        "tuple_type": "a list",
    }
)
_FOUND: Final[Mapping[type, str]] = MappingProxyType(
    {
        bool: "true or false",  # before int, which it is too
        int: "a number",
        float: "a decimal number",
        str: "text",
        list: "a list",
        tuple: "a list",
        date: "a date",
    }
)
_BOUNDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "enum": "must be {expected}",
        "finite_number": "must be a finite number",
        "greater_than": "must be more than {gt}",
        "greater_than_equal": "must be at least {ge}",
        "int_parsing_size": "must be a whole number with fewer digits",
        "less_than_equal": "must be at most {le}",
        "literal_error": "must be {expected}",
        "string_pattern_mismatch": "must match {pattern}",
        "string_too_long": "must have at most {max_length} characters",
        "string_too_short": "must have at least {min_length} characters",
        "string_unicode": "must be Unicode text",
        "too_long": "must have at most {max_length} items",
        "too_short": "must have at least {min_length} items",
        "value_error": "{error}",
    }
)


def sentence(detail: "ErrorDetails", location: Location) -> str:
    """What is wrong, to be read after the setting's name. Never shows the value: it may be a secret one day."""
    kind = detail["type"]
    if kind == "extra_forbidden":
        return f"is not a setting; {suggestion(location)}"
    if kind == "missing":
        return f"is required. {description(location)}"
    return wording(detail, YAML)


def wording(detail: "ErrorDetails", form: Format) -> str:
    """What is wrong with a value, to be read after its name. Never shows the value, and never what pydantic says."""
    kind = detail["type"]
    if kind in _MAPPINGS:
        return f"must be {form.mapping}, not {_kind_of(detail['input'], form)}"
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}, not {_kind_of(detail['input'], form)}"
    context = {name: _plain(value) for name, value in detail.get("ctx", {}).items()}
    if kind in {"string_too_short", "too_short"} and context.get("min_length") == 1:
        return "must not be empty"
    return _BOUNDS.get(kind, "cannot be what it is").format_map(context)


def _plain(value: object) -> object:
    return f"{value:g}" if isinstance(value, float) else value


def _kind_of(value: object, form: Format) -> str:
    if value is None:
        return form.nothing
    if isinstance(value, dict):
        return form.mapping
    return next((words for kind, words in _FOUND.items() if isinstance(value, kind)), "another kind of value")
