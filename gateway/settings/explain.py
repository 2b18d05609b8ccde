"""Pydantic's findings in the words of this project."""

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from gateway.settings.names import description, suggestion
from gateway.settings.yaml_text import Location

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bool_type": "true or false",
        "float_type": "a number",
        "int_type": "a whole number",
        "mapping_type": "a section",
        "model_type": "a section",
        "path_type": "a path",
        "string_type": "text",
        "tuple_type": "a list",
    }
)
_FOUND: Final[Mapping[type, str]] = MappingProxyType(
    {
        type(None): "empty",
        bool: "true or false",  # before int, which it is too
        int: "a number",
        float: "a decimal number",
        str: "text",
        list: "a list",
        tuple: "a list",
        dict: "a section",
        date: "a date",
    }
)
_BOUNDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "finite_number": "must be a finite number",
        "greater_than": "must be more than {gt:g}",
        "greater_than_equal": "must be at least {ge:g}",
        "less_than_equal": "must be at most {le:g}",
        "literal_error": "must be {expected}",
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
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}, not {_kind_of(detail['input'])}"
    return _BOUNDS[kind].format_map(detail.get("ctx", {})) if kind in _BOUNDS else detail["msg"]


def _kind_of(value: object) -> str:
    return next((words for kind, words in _FOUND.items() if isinstance(value, kind)), "another kind of value")
