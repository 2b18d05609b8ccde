"""The way of a request to the API: who asks, for what, may they; then the body, and what it comes to.

Before it is known who asks nothing of the body is read, and nothing is said but that a token is needed.
"""

import secrets
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import orjson
import structlog
from aiohttp import web
from pydantic import ValidationError

from gateway.control.api.asked import faults_of
from gateway.control.api.callers import Caller, Callers, Needs, role_missing
from gateway.control.api.calls import Call, Desk, Ids, Reply
from gateway.control.api.cursors import Cursors
from gateway.control.api.openapi import document
from gateway.control.api.problems import MEDIA_TYPE, Code, Problem, impossible, invalid, not_found, of_refusal
from gateway.control.api.reading import body_of, key_of, knows, parts_of, query_of, tags_of
from gateway.control.api.routes import PREFIX, Route, Routes
from gateway.control.api.table import ROWS
from gateway.core.decision import Refused
from gateway.core.families import TokenRules
from gateway.core.headers import HeaderRules, request_id
from gateway.core.ledger import ActRefused, Snapshot
from gateway.core.message import json_value
from gateway.core.repeats import Repeat, repeat_of, tag_of
from gateway.core.token import Prefixes
from gateway.settings.api import Operator
from gateway.store.contract import Store, StoreBroken, StoreUnavailable

_DOCUMENT: Final = ("openapi.json",)
_ROOT: Final = ("",)
_HEADERS: Final = HeaderRules()
_SEEN_NOTHING: Final = Snapshot(0)

_LOG: Final = structlog.get_logger()


class Api:
    """Answers everything below `/api/v1/`, on whichever listener it is put."""

    def __init__(
        self,
        store: Store,
        prefixes: Prefixes,
        operators: tuple[Operator, ...],
        *,
        scopes: Callable[[], tuple[str, ...]],
        regions: tuple[str, ...],
        overlap: bool,
        rules: TokenRules,
        realm: str,
        operator_leaked: Callable[[], None] = lambda: None,
    ) -> None:
        self._operator_leaked = operator_leaked
        self._store = store
        self._callers = Callers(store, operators)
        self._prefixes = prefixes
        self._scopes = scopes
        self._regions = regions
        self._overlap = overlap
        self._rules = rules
        self._routes = Routes(ROWS)
        self._challenge = f'Bearer realm="{realm}"'
        self._desk: Desk | None = None
        self._under_way: set[str] = set()  # what is being answered with an Idempotency-Key
        self._document = b""

    def add_to(self, application: web.Application) -> None:
        """Let an application answer the paths of the API."""
        for path in (PREFIX, f"{PREFIX}/{{rest:.*}}"):
            # Whether a body is wanted is said when it is, and not before it is known who asks.
            application.router.add_route("*", path, self.answer, expect_handler=_expected)

    async def answer(self, request: web.Request) -> web.Response:
        """The answer to a request, whatever happens, under an id that stands in its line of the log too."""
        began = time.perf_counter()
        progress = _Progress(_ref_of(request))
        response = await self._response(request, progress)
        response.headers["X-Request-Id"] = progress.ref
        if not request.content.at_eof():
            response.force_close()  # what is left of a body that nobody wants
        _LOG.info(
            "api request",
            request_id=progress.ref,
            method=request.method if progress.route else "",
            route=progress.route,
            caller=progress.caller,
            status=response.status,
            duration_ms=round((time.perf_counter() - began) * 1000, 3),
        )
        return response

    async def _response(self, request: web.Request, progress: "_Progress") -> web.Response:
        ref = progress.ref
        try:
            return await self._reached(request, progress)
        except Problem as problem:
            return self._problem(problem, ref)
        except ActRefused as refused:
            return self._problem(of_refusal(refused), ref)
        except StoreUnavailable as error:
            _LOG.warning("api without store", request_id=ref, error=str(error), exc_info=_damage(error))
            return self._problem(Problem(Code.OUTCOME_UNKNOWN if error.unknown else Code.STORE_UNAVAILABLE), ref)
        except (ConnectionError, web.RequestPayloadError):  # whoever asks has left in the middle of it
            return self._problem(Problem(Code.REQUEST_INVALID), ref)
        except Exception as error:  # noqa: BLE001 - a fault of ours is answered, and told in the log
            _LOG.error("internal error", request_id=ref, error=type(error).__name__, exc_info=error)
            return self._problem(Problem(Code.INTERNAL_ERROR), ref)

    async def _reached(self, request: web.Request, progress: "_Progress") -> web.Response:
        parts = parts_of(request)
        if parts == _DOCUMENT and request.method in {"GET", "HEAD"}:
            progress.route = "/openapi.json"
            return self._open_document()
        caller = await self._proven(request)
        progress.caller = caller.actor
        route, ids = self._found(request, parts)
        progress.route = route.path
        return await self._answered(request, route, caller, ids)

    # The way of a request

    async def _proven(self, request: web.Request) -> Caller:
        caller = await self._callers.prove(request.headers.getall("Authorization", []))
        if caller is None:
            raise Problem(Code.UNAUTHENTICATED)
        return caller

    def _found(self, request: web.Request, parts: tuple[str, ...]) -> tuple[Route, Ids]:
        found, ids = self._routes.find(parts)
        if parts == _ROOT:
            raise Problem(Code.NOT_FOUND, f"The paths below this one are described at {PREFIX}/openapi.json.")
        if not found:
            raise not_found()
        route = found.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            raise Problem(Code.METHOD_NOT_ALLOWED, allow=tuple(sorted(found)))
        return route, ids

    async def _answered(self, request: web.Request, route: Route, caller: Caller, ids: Ids) -> web.Response:
        seen = await self._admit(route, caller, ids)
        query = query_of(request, route)
        key = key_of(request, route)
        wanted, unwanted = _tags(request, route, "If-Match"), _tags(request, route, "If-None-Match")
        body = b""
        if request.can_read_body or (route.body is not None and route.body_wanted):
            body = await body_of(request)
            # A body may take its time, and a token must not outlive its end by that.
            caller = await self._proven(request)
        call = Call(
            desk=await self._open_desk(),
            caller=caller,
            needs=route.needs,
            path=route.path,
            ids=ids,
            seen=seen,
            body=self._checked(route, body),
            query=query,
            record=route.record,
            repeat=_repeat(caller, key, route, ids, body),
            first_byte=tag_of(caller.actor, key) if key else b"",
            if_match=wanted,
            if_none_match=unwanted,
        )
        try:
            reply = await self._once(route, call)
        except ValueError as error:
            raise StoreBroken("The store is damaged: something in it cannot be read.") from error
        if route.method == "GET" and reply.tag is not None and knows(request, reply.tag):
            return _plain(HTTPStatus.NOT_MODIFIED, b"", reply)
        return _plain(route.status, reply.body, reply)

    async def _admit(self, route: Route, caller: Caller, ids: Ids) -> Snapshot:
        asked = route.asked(ids)
        if asked is None:
            if route.needs is Needs.RUNS and caller.person is not None:
                raise role_missing()
            return _SEEN_NOTHING
        (seen,) = await self._store.look([asked])
        caller.require(route.needs, seen)
        return seen

    async def _once(self, route: Route, call: Call) -> Reply:
        if call.repeat is None:
            return await route.handle(call)
        if call.repeat.digest in self._under_way:
            raise Problem(Code.IN_PROGRESS)
        self._under_way.add(call.repeat.digest)
        try:
            return await route.handle(call)
        finally:
            self._under_way.discard(call.repeat.digest)

    def _checked(self, route: Route, body: bytes) -> Any:
        if route.body is None:
            if body.strip() not in {b"", b"{}"}:
                raise invalid([("body", "must be left out: this route takes none")])
            return None
        try:
            value = json_value(body if route.body_wanted else body or b"{}")
        except Refused:
            sentence = "must be one JSON value that all parsers read alike (RFC 8259): UTF-8, no member twice"
            raise invalid([("body", sentence)]) from None
        context = {"scopes": self._scopes(), "regions": self._regions}
        try:
            return route.body.model_validate(value, context=context)
        except ValidationError as error:
            raise impossible(faults_of(error, route.body, "body")) from None

    async def _open_desk(self) -> Desk:
        if self._desk is None:
            cursors = Cursors(await self._store.identity(), secrets.token_bytes)
            self._desk = Desk(
                self._store,
                cursors,
                self._prefixes,
                self._scopes,
                self._regions,
                self._overlap,
                self._rules,
                self._callers.operators,
                self._operator_leaked,
            )
        return self._desk

    # Answers

    def _open_document(self) -> web.Response:
        self._document = self._document or orjson.dumps(document(ROWS))
        return _plain(HTTPStatus.OK, self._document, Reply())

    def _problem(self, problem: Problem, ref: str) -> web.Response:
        response = web.Response(body=problem.body(ref), status=problem.status, headers={"Cache-Control": "no-store"})
        response.headers["Content-Type"] = MEDIA_TYPE
        if problem.code is Code.UNAUTHENTICATED:
            response.headers["WWW-Authenticate"] = self._challenge
        if problem.allow:
            response.headers["Allow"] = ", ".join(problem.allow)
        if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
            response.headers["Retry-After"] = "1"
        return response


@dataclass(slots=True)
class _Progress:
    """How far a request came: its id, the path of its route, and who asks, as soon as they are known."""

    ref: str
    route: str = ""
    caller: str = ""


def _ref_of(request: web.Request) -> str:
    """The client's request id if it is well-formed, as on the port for clients, else a new one."""
    given = request_id(_HEADERS.sort(request.raw_headers))
    return str(uuid.uuid4()) if given is None else given.decode("ascii")


def _damage(error: StoreUnavailable) -> BaseException | None:
    """What to mend, where somebody must."""
    return error.__cause__ if isinstance(error, StoreBroken) else None


async def _expected(_: web.Request) -> None:
    """Nothing yet."""


def _plain(status: int, body: bytes, reply: Reply) -> web.Response:
    response = web.Response(status=status, headers={"Cache-Control": "no-store"})
    if body:
        response.body = body
        response.headers["Content-Type"] = "application/json"
    if reply.tag is not None:
        response.headers["ETag"] = reply.tag
    if reply.repeated:
        response.headers["Idempotent-Replayed"] = "true"
    if not reply.replicated:
        response.headers["X-Gateway-Replicated"] = "false"
    return response


def _tags(request: web.Request, route: Route, name: str) -> frozenset[str]:
    """What the record has to be, or not to be, for it to be changed; nothing where that is not asked for."""
    tags = tags_of(request, name)
    if tags and route.method != "GET" and route.record is None:
        raise invalid([(f"header/{name}", "must be left out: what this route changes has no ETag")])
    return tags


def _repeat(caller: Caller, key: str, route: Route, ids: Ids, body: bytes) -> Repeat | None:
    if not key:
        return None
    named = orjson.dumps([route.method, route.path, sorted(ids.items())]).decode()
    # A key is good for each app by itself: whether two apps lie in one part of a store is nothing to a client.
    scope = ids.get("app", route.path)
    return repeat_of(caller.actor, key, scope, named, body, secrets.token_hex(16))
