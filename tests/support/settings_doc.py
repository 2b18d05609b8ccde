"""docs/settings.md, made from the models. `UPDATE_DOCS=1 pytest tests/settings/test_settings_doc.py` writes it anew."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import orjson
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gateway.settings import Region, Route, Settings
from gateway.settings.api import Operator
from gateway.settings.issuers import Issuer
from gateway.settings.reminders import Webhook

DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"

_HEAD = """\
# Settings

`gateway serve --config FILE` reads one YAML file. `config/gateway.yaml` shows every setting with its default. Only
`store.url` and one region with its `upstreams` and `user_scoping` must be given.

* **Order.** The file, then variables of the environment, then the command line; the later wins.
* **Environment.** `GATEWAY__` and the name in capitals, with `__` for the dot: `GATEWAY__LISTEN__PORT=9090`,
  `GATEWAY__REGIONS__EU__UPSTREAMS='["https://eu.internal"]'`. Lists and sections are written as YAML. An empty variable
  counts as not set.
* **Faults.** A setting that does not exist, or a value that cannot be, keeps the gateway from starting; all of them are
  told at once, with file and line.
* **Paths.** Relative paths in the file are relative to the file, others to the working directory.
* **Bounds.** Sizes are bytes, times are seconds. Why each bound is what it is stands beside it in
  `gateway/settings/models.py`.

This page is made from that module, and a test keeps the two alike.
"""
_NAMES = {int: "whole number", float: "number", bool: "true or false", str: "text", Path: "path"}


def document() -> str:
    """The whole page."""
    single = {name: field for name, field in Settings.model_fields.items() if _section(field) is None}
    return "\n".join(
        [
            _HEAD,
            _rows("At the top", "", single, ""),
            _table("Each region", Region, "regions.NAME."),
            _table("Each route", Route, "routes[]."),
            _table("Each issuer", Issuer, "issuers.NAME."),
            _table("Each webhook", Webhook, "reminders.webhooks.NAME."),
            _table("Each of `api.operators`", Operator, "api.operators[]."),
            *(_table(f"`{name}`", section, f"{name}.") for name, section in _sections("", Settings)),
        ]
    )


def _sections(prefix: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """The sections in a section, and those in them, less those that hold nothing but sections."""
    for name, field in model.model_fields.items():
        section = _section(field)
        if section is None:
            continue
        if not all(map(_section, section.model_fields.values())):
            yield prefix + name, section
        yield from _sections(f"{prefix}{name}.", section)


def _table(title: str, model: type[BaseModel], prefix: str) -> str:
    own = {name: field for name, field in model.model_fields.items() if _section(field) is None}
    return _rows(title, model.__doc__ or "", own, prefix)


def _rows(title: str, about: str, fields: Mapping[str, FieldInfo], prefix: str) -> str:
    head = [
        f"## {title}",
        "",
        *([about, ""] if about else []),
        "| setting | kind | default | what |",
        "| --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *(_row(prefix + name, field) for name, field in fields.items()), ""])


def _row(name: str, field: FieldInfo) -> str:
    return f"| `{name}` | {_kind(field.annotation)} | {_default(name, field)} | {field.description} |"


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kinds = get_args(field.annotation) if get_origin(field.annotation) in (Union, UnionType) else (field.annotation,)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _default(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    if name == "routes":
        return "those of the vendor, as in `config/gateway.yaml`"
    if name == "default_region":
        return "the only region"
    return f"`{orjson.dumps(field.default, default=str).decode()}`".replace('"', "")


def _kind(kind: Any) -> str:
    arguments = get_args(kind)
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if get_origin(kind) in (Union, UnionType):
        return _kind(next(part for part in arguments if part is not NoneType))
    if get_origin(kind) is Annotated:
        return _kind(arguments[0])
    if get_origin(kind) is tuple:
        return "list"
    if get_origin(kind) is Mapping:
        return "sections"
    return _NAMES[kind]
