"""The OpenAPI 3.1 document, made of the route table and of the models that check and answer."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from gateway import __version__
from gateway.control.api.callers import Needs
from gateway.control.api.models import Page
from gateway.control.api.problems import MEDIA_TYPE, Code, ProblemDetails, codes_of
from gateway.control.api.routes import PARAMETERS, PREFIX, Route

_SCHEMA: Final = "#/components/schemas/"
_PAGE: Final = re.compile(r"Page_(\w+?)(?:Detail)?_")  # what pydantic calls a page of something
_ABOUT: Final = """\
Apps, keys, users, developers, incidents and their history.

Every request carries a token of an operator or of a developer, as `Authorization: Bearer ...`. Things you may not see
are answered as if they did not exist.

Lists come in pages: send `next` as `cursor` to get the next one. Errors are problem details (RFC 9457) with a `code`
for programs. Every answer has an `X-Request-Id`, which stands in the gateway's log: yours, if you send one."""

_TAGS: Final[Mapping[str, str]] = {
    "Apps": "What keys and users belong to.",
    "Keys": "API keys, with which servers call the GraphQL API.",
    "Users": "SDK users and their tokens, which reach their own data only.",
    "Developers": "People, what they may do in an app, and their tokens for this API.",
    "Leaks": "Reports of credentials that leaked, and the incidents that they open.",
    "History": "What was done, and who was told.",
}
# The first of these parts in a path says where it belongs; all others are about apps themselves.
_TAG_OF: Final[Mapping[str, str]] = {
    "keys": "Keys",
    "advice": "Keys",
    "users": "Users",
    "developers": "Developers",
    "developer-tokens": "Developers",
    "leak-reports": "Leaks",
    "incidents": "Leaks",
    "reminders": "History",
    "history": "History",
}
# What the closed sets of the core are called, and say, outside of it.
_SETS: Final[Mapping[str, tuple[str, str]]] = {
    "Channel": ("ReminderChannel", "How a message is sent."),
    "Code": ("ProblemCode", "What went wrong, for programs."),
    "IncidentState": ("IncidentState", "How far people are with an incident."),
    "KeyState": ("KeyState", "How a key stands. A `rotating` key works until its shutdown time, beside its successor."),
    "Mark": ("ReminderMark", "Why a message is sent: a key ends in 14 or 7 days, or a credential leaked."),
    "NoticeState": ("ReminderState", "How far a message is; a `waiting` one is tried again."),
    "RevokedWhy": ("RevokedWhy", "Why a key was revoked."),
    "Role": ("Role", "What a person may do in an app: everything with its keys, or look at them."),
    "Subject": ("CredentialKind", "What leaked."),
}
_WHO: Final[Mapping[Needs, str]] = {
    Needs.ANYBODY: "For everybody who has a token.",
    Needs.SEES: "For operators, and for developers and spectators of the app.",
    Needs.KEEPS: "For operators and for developers of the app.",
    Needs.RUNS: "For operators.",
}
_IDS: Final[Mapping[str, str]] = {
    "app": "The id of the app.",
    "key": "The id of the key.",
    "user": "The id of the user, percent-encoded.",
    "developer": "The id of the person, as `dev_0f1e2d3c4b5a6978`.",
    "token": "The id of the token.",
    "incident": "The id of the incident.",
}
_TAG_PATTERN: Final = '^(\\*|"[0-9a-f]{32}(@[0-9TZ:.-]{24})?")$'
_REQUEST_HEADERS: Final[Mapping[str, dict[str, Any]]] = {
    "Idempotency-Key": {
        "description": "New for each thing to be done. Within 24 hours, a request sent again with the same one is"
        " answered as before, and nothing is done twice.",
        "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    },
    "If-Match": {
        "description": "The ETag that the record must still have; otherwise nothing is done.",
        "schema": {"type": "string", "pattern": _TAG_PATTERN},
    },
    "If-None-Match": {
        "description": "The ETag of the record as you have it; if it is unchanged, the answer is 304.",
        "schema": {"type": "string", "pattern": _TAG_PATTERN},
    },
}
_ANSWER_HEADERS: Final[Mapping[str, str]] = {
    "X-Request-Id": "The id of the request in the gateway's log.",
    "ETag": "Changes whenever the record does.",
    "Idempotent-Replayed": "`true` if the request had been answered before.",
    "X-Gateway-Replicated": "`false` if a replica of the store did not confirm the change in time.",
    "Allow": "The methods that the path takes.",
    "WWW-Authenticate": "The scheme that is wanted: Bearer.",
    "Retry-After": "Seconds after which to try again.",
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
        "servers": [{"url": "/", "description": "The admin port of the gateway."}],
        "security": [{"token": []}],
        "tags": [{"name": name, "description": about} for name, about in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas.definitions,
            "responses": {_problem_name(status): _problem(status, schemas) for status in _statuses(rows)},
            "headers": {
                name: {"description": about, "schema": {"type": "string"}} for name, about in _ANSWER_HEADERS.items()
            },
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of an operator (`gwo_...`) or of a developer (`gwd_...`).",
                }
            },
        },
    }


class _Untitled(GenerateJsonSchema):
    """Schemas whose members have no titles: generators would make names of them."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - as pydantic asks
        return False


class _Schemas:
    """The models that the rows name, each under one name."""

    def __init__(self, rows: Sequence[Route]) -> None:
        asked = [row.body for row in rows if row.body is not None]
        answered: list[type[BaseModel]] = [ProblemDetails, *(row.answer for row in rows if row.answer is not None)]
        inputs: list[tuple[type[BaseModel], Any]] = [(model, "validation") for model in dict.fromkeys(asked)]
        outputs: list[tuple[type[BaseModel], Any]] = [(model, "serialization") for model in dict.fromkeys(answered)]
        references, schema = models_json_schema(
            [*inputs, *outputs], ref_template=_SCHEMA + "{model}", schema_generator=_Untitled
        )
        found = {_public(name): _renamed(_described(name, one)) for name, one in schema["$defs"].items()}
        self.definitions: dict[str, Any] = {name: found[name] for name in sorted(found)}
        self._of: dict[Any, dict[str, Any]] = {model: _renamed(of) for (model, _), of in references.items()}

    def of(self, model: type[BaseModel]) -> Mapping[str, Any]:
        """What refers to a model."""
        return self._of[model]


def _described(name: str, definition: Mapping[str, Any]) -> dict[str, Any]:
    about = _SETS[name][1] if name in _SETS else definition.get("description", Page.__doc__)
    return {**definition, "title": _public(name), "description": about}


def _public(name: str) -> str:
    page = _PAGE.fullmatch(name)
    if page is not None:
        return f"{page[1]}Page"
    return _SETS[name][0] if name in _SETS else name


def _renamed(value: Any) -> Any:
    """A schema that refers to others by their public names."""
    if isinstance(value, list):
        return [_renamed(each) for each in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref")
    renamed = {name: _renamed(each) for name, each in value.items()}
    return renamed | ({"$ref": _SCHEMA + _public(reference.removeprefix(_SCHEMA))} if reference else {})


# Operations


def _parameter(name: str) -> dict[str, Any]:
    schema = {"type": "string", "pattern": PARAMETERS[name]}
    return {"name": name, "in": "path", "required": True, "description": _IDS[name], "schema": schema}


def _operation(row: Route, schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": row.operation,
        "tags": [next((_TAG_OF[part] for part in row.segments if part in _TAG_OF), "Apps")],
        "summary": row.summary,
        "description": f"{row.about} {_WHO[row.needs]}".strip(),
    }
    parameters = [*_query(row), *_headers(row)]
    if parameters:
        operation["parameters"] = parameters
    if row.body is not None:
        content = {"application/json": {"schema": schemas.of(row.body)}}
        operation["requestBody"] = {"required": row.body_wanted, "content": content}
    operation["responses"] = _responses(row, schemas)
    return operation


def _query(row: Route) -> list[dict[str, Any]]:
    schema = row.query.model_json_schema(mode="validation", schema_generator=_Untitled)
    definitions = schema.get("$defs", {})
    return [_query_parameter(name, one, definitions) for name, one in schema.get("properties", {}).items()]


def _query_parameter(name: str, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    # A parameter is left out; null would be a text.
    kinds = [kind for kind in schema.get("anyOf", []) if kind.get("type") != "null"]
    rest = {name: value for name, value in schema.items() if name not in {"anyOf", "description"}}
    if rest.get("default", 0) is None:
        del rest["default"]
    inlined = _inlined({**rest, **(kinds[0] if kinds else {})}, definitions)
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": schema["description"],
        "schema": inlined,
    }


def _inlined(schema: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    reference = schema.pop("$ref", None)
    if reference is None:
        return schema
    name = reference.rpartition("/")[2]
    return {**_described(name, definitions[name]), **schema}


def _headers(row: Route) -> list[dict[str, Any]]:
    names = ["Idempotency-Key"] if row.keyed else []
    if row.record is not None:
        names.append("If-None-Match" if row.method == "GET" else "If-Match")
    return [{"name": name, "in": "header", "required": False, **_REQUEST_HEADERS[name]} for name in names]


# Answers


def _responses(row: Route, schemas: _Schemas) -> dict[str, Any]:
    names = ["X-Request-Id", *(["ETag"] if row.record is not None and row.answer is not None else [])]
    if row.method != "GET":
        names += [*(["Idempotent-Replayed"] if row.keyed else []), "X-Gateway-Replicated"]
    good: dict[str, Any] = {"description": _good(row), "headers": _named(names)}
    if row.answer is not None:
        good["content"] = {"application/json": {"schema": schemas.of(row.answer)}}
    told: dict[str, Any] = {str(row.status): good}
    for status in sorted(_refusals(row)):
        told[str(status)] = {"$ref": f"#/components/responses/{_problem_name(status)}"}
    if row.record is not None and row.method == "GET":
        told["304"] = {"description": "It is as you have it already.", "headers": _named(["X-Request-Id", "ETag"])}
    return dict(sorted(told.items()))


def _good(row: Route) -> str:
    if row.answer is None:
        return "Done."
    return row.answer.__doc__ or Page.__doc__ or ""


def _named(names: Sequence[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _problem_name(status: int) -> str:
    return "".join(part.capitalize() for part in HTTPStatus(status).phrase.replace("-", " ").split())


def _problem(status: int, schemas: _Schemas) -> dict[str, Any]:
    codes = codes_of()[status]
    names = ["X-Request-Id"]
    if status == HTTPStatus.UNAUTHORIZED:
        names.append("WWW-Authenticate")
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        names.append("Allow")
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        names.append("Retry-After")
    lines = [f"* `{code.value}`: {sentence}" for code, sentence in codes.items()]
    return {
        "description": "\n".join(lines),
        "headers": _named(names),
        "content": {MEDIA_TYPE: {"schema": schemas.of(ProblemDetails), "example": _example(next(iter(codes)))}},
    }


def _example(code: Code) -> dict[str, Any]:
    return ProblemDetails.of(code, ref="3f2b8c1e-7d6a-4f50-9b1c-2a3d4e5f6071").model_dump(mode="json")


def _statuses(rows: Sequence[Route]) -> list[int]:
    return sorted({status for row in rows for status in _refusals(row)})


def _refusals(row: Route) -> set[int]:
    refused = {400, 401, 405, 500, 503}  # 405 for other methods of its path, which have no place of their own
    if row.segments != ("apps",) and row.parameters:
        refused.add(404)
    if row.needs in {Needs.KEEPS, Needs.RUNS} or (row.needs is Needs.ANYBODY and row.body is not None):
        refused.add(403)
    if row.body is not None:
        refused |= {408, 413, 415, 417, 422}
    if row.keyed:
        refused |= {409, 422}
    if row.record is not None and row.method != "GET":
        refused.add(412)
    return refused
