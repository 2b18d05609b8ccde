"""The OpenAPI 3.1 document, made of the route table and of the models that check and answer."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway import __version__
from gateway.control.api.callers import Needs
from gateway.control.api.problems import MEDIA_TYPE, ProblemDetails
from gateway.control.api.routes import PARAMETERS, PREFIX, Route

_REF: Final = "#/components/schemas/{model}"
_ABOUT: Final = (
    "Apps, keys, users, developers, incidents and their history. What you may not see is answered as what there is not."
)
_KEY_HEADER: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Drawn anew for each thing to be done; within 24 hours, a request sent again is not done again.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}
_MATCH_HEADER: Final = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of the record as it is to be still.",
    "schema": {"type": "string", "pattern": '^(\\*|"[0-9a-f]{32}")$'},
}
_NONE_MATCH_HEADER: Final = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of the record as it is known already.",
    "schema": {"type": "string", "pattern": '^(\\*|"[0-9a-f]{32}")$'},
}


def document(rows: Sequence[Route]) -> dict[str, Any]:
    """The whole document."""
    schemas = _Schemas(rows)
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        path = paths.setdefault(PREFIX + row.path, {})
        if row.parameters:
            path["parameters"] = [_parameter(name) for name in row.parameters]
        path[row.method.lower()] = _operation(row, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Gateway management API", "version": __version__, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.definitions,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


class _Schemas:
    """The models that the rows name, each under one name."""

    def __init__(self, rows: Sequence[Route]) -> None:
        asked = [row.body for row in rows if row.body is not None]
        answered: list[type[BaseModel]] = [ProblemDetails, *(row.answer for row in rows if row.answer is not None)]
        inputs: list[tuple[type[BaseModel], Any]] = [(model, "validation") for model in dict.fromkeys(asked)]
        outputs: list[tuple[type[BaseModel], Any]] = [(model, "serialization") for model in dict.fromkeys(answered)]
        references, schema = models_json_schema([*inputs, *outputs], ref_template=_REF)
        self.definitions: dict[str, Any] = schema["$defs"]
        self._of = {model: reference for (model, _), reference in references.items()}

    def of(self, model: type[BaseModel]) -> Mapping[str, Any]:
        """What refers to a model."""
        return self._of[model]


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": PARAMETERS[name]}}


def _operation(row: Route, schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {"summary": row.summary, "operationId": _name(row)}
    parameters = [*_query(row), *_headers(row)]
    if parameters:
        operation["parameters"] = parameters
    if row.body is not None:
        content = {"application/json": {"schema": schemas.of(row.body)}}
        operation["requestBody"] = {"required": True, "content": content}
    operation["responses"] = _responses(row, schemas)
    return operation


def _name(row: Route) -> str:
    return "_".join([row.method.lower(), *(part.strip("{}").replace("-", "_") for part in row.segments)])


def _query(row: Route) -> list[dict[str, Any]]:
    schema = row.query.model_json_schema(mode="validation")
    definitions = schema.get("$defs", {})
    return [
        {"name": name, "in": "query", "required": False, "schema": _inlined(_not_null(one), definitions)}
        for name, one in schema.get("properties", {}).items()
    ]


def _not_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    # A parameter is left out; null would be a text.
    kinds = [kind for kind in schema.get("anyOf", []) if kind.get("type") != "null"]
    rest = {name: value for name, value in schema.items() if name not in {"anyOf", "default", "title"}}
    return {**rest, **(kinds[0] if kinds else {})}


def _inlined(schema: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    reference = schema.pop("$ref", None)
    return schema if reference is None else {**definitions[reference.rpartition("/")[2]], **schema}


def _headers(row: Route) -> list[dict[str, Any]]:
    headers: list[dict[str, Any]] = [_KEY_HEADER] if row.keyed else []
    if row.record is not None:
        headers.append(_NONE_MATCH_HEADER if row.method == "GET" else _MATCH_HEADER)
    return headers


def _responses(row: Route, schemas: _Schemas) -> dict[str, Any]:
    good: dict[str, Any] = {"description": HTTPStatus(row.status).phrase}
    if row.answer is not None:
        good["content"] = {"application/json": {"schema": schemas.of(row.answer)}}
    problem = {MEDIA_TYPE: {"schema": schemas.of(ProblemDetails)}}
    told: dict[str, Any] = {str(row.status): good}
    for status in sorted(_refusals(row)):
        told[str(status)] = {"description": HTTPStatus(status).phrase}
        if status != HTTPStatus.NOT_MODIFIED:
            told[str(status)]["content"] = problem
    return told


def _refusals(row: Route) -> set[int]:
    refused = {400, 401, 503}
    if row.segments != ("apps",) and row.parameters:
        refused.add(404)
    if row.needs in {Needs.KEEPS, Needs.RUNS} or (row.needs is Needs.ANYBODY and row.body is not None):
        refused.add(403)
    if row.body is not None:
        refused |= {408, 413, 415, 422}
    if row.keyed:
        refused |= {409, 422}
    if row.record is not None:
        refused.add(304 if row.method == "GET" else 412)
    return refused
