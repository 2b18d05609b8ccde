"""The way of a request: read `_operation` from top to bottom, `_route` for what lies beside the GraphQL path, and
`_own` for what the gateway answers itself."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiohttp import http, streams
from aiohttp.web_protocol import RequestPayloadError

from gateway.core.credential import bearer
from gateway.core.decision import (
    Allow,
    Decision,
    Deny,
    Finding,
    Permission,
    Reason,
    Refused,
    Unavailable,
    permitted,
    refuse,
)
from gateway.core.headers import (
    HeaderRules,
    Inbound,
    Media,
    accepted,
    check_framing,
    check_host,
    check_json,
    check_plain,
    expects_continue,
    identity_lines,
    request_id,
)
from gateway.core.judge import decide
from gateway.core.message import message_from
from gateway.core.routing import MethodNotAllowed, RouteMatch, Routes, decide_route
from gateway.core.token import verifier
from gateway.proxy import bodies
from gateway.proxy.authenticate import Authenticator, CredentialRefused, Proven
from gateway.proxy.deletions import Deletions
from gateway.proxy.documents import Documents
from gateway.proxy.forwarding import Forwarding
from gateway.proxy.held import Held
from gateway.proxy.own_routes import OwnRoute, OwnRoutes, Reply
from gateway.proxy.record import Record, Recorder
from gateway.proxy.regions import Regions
from gateway.proxy.respond import Shape, answer, refusal
from gateway.proxy.server import BodyTimeout, ClientLeft, Connection
from gateway.proxy.upstream import Endpoint, Outcome
from gateway.proxy.uses import Demand

_log: Final = structlog.get_logger()

_HTTP10: Final = http.HttpVersion10
_HTTP11: Final = http.HttpVersion11
_ACCEPTS: Final = 256  # Accept headers whose meaning is remembered; whoever invents more empties the memory.


@dataclass(frozen=True, slots=True)
class Plane:
    """What requests are judged and forwarded by. One value, swapped whole: a request sees one of them only."""

    graphql_path: str
    graphql_path_and_query: str
    upstream_path: bytes
    documents: Documents
    routes: Routes
    regions: Regions
    body_bytes: int
    route_body_bytes: int
    json_depth: int
    report: bool


class Handler:
    """Handles each request whole: authenticates, judges, forwards, answers, records."""

    def __init__(
        self,
        plane: Plane,
        authenticator: Authenticator,
        own_routes: OwnRoutes,
        header_rules: HeaderRules,
        forwarding: Forwarding,
        recorder: Recorder,
        deletions: Deletions,
        clock: Callable[[], int],
        *,
        realm: str,
    ) -> None:
        self.plane = plane
        self._authenticator = authenticator
        self._jwts = authenticator.jwts
        self._uses = authenticator.uses
        self._own_routes = own_routes
        self._header_rules = header_rules
        self._forwarding = forwarding
        self._recorder = recorder
        self._deletions = deletions
        self._clock = clock
        self._realm = realm
        self.draining = False
        self._accepts: dict[bytes, Media | None] = {}

    async def serve(self, client: Connection, message: http.RawRequestMessage, payload: streams.StreamReader) -> bool:
        """Handle one request, and tell whether the client's connection may go on."""
        plane = self.plane
        graphql = message.path == plane.graphql_path or message.path.startswith(plane.graphql_path_and_query)
        record = self._recorder.begin(message.method, Shape.GRAPHQL)
        try:
            inbound = self._head(client, message, record)
            record.keep_alive = not (message.should_close or message.upgrade or record.http10)
            record.expects_continue = inbound.rare and expects_continue(inbound, http10=record.http10)
            if graphql:
                await self._operation(plane, client, message, inbound, payload, record)
            else:
                await self._route(plane, client, message, inbound, payload, record)
        except Refused as refused:
            self._refuse(client, payload, record, refused.deny)
        except CredentialRefused as false:
            record.fault = false.fault
            self._refuse(client, payload, record, false.refused().deny)
        except MethodNotAllowed as error:
            deny = refuse(Reason.METHOD_NOT_ALLOWED).deny
            self._refuse(client, payload, record, deny, b"Allow: %b\r\n" % error.allowed.encode())
        except Unavailable as error:
            record.cause = error
            after = b"" if error.retry_after is None else b"Retry-After: %d\r\n" % error.retry_after
            self._refuse(client, payload, record, Deny((Finding(error.reason),)), after)
        except (RequestPayloadError, BodyTimeout) as error:
            reason = Reason.BODY_TIMEOUT if isinstance(error, BodyTimeout) else Reason.REQUEST_MALFORMED
            record.keep_alive = False
            self._refuse(client, payload, record, refuse(reason).deny)
        except ClientLeft:
            record.aborted = True
        except asyncio.CancelledError:
            record.aborted = True
            client.abort()
            raise
        except Exception as error:  # noqa: BLE001 - ours: say nothing of it to the client, everything to the log
            self._broken(client, payload, record, error)
        finally:
            self._recorder.end(record)
        return record.keep_alive and not record.aborted

    def unreadable(self, reason: Reason) -> bytes:
        """The answer to bytes that are no request."""
        record = self._recorder.begin(None, Shape.GRAPHQL)
        record.deny = refuse(reason).deny
        record.status, said = refusal(record.deny, record.shape, record.request_id, self._realm, close=True)
        self._recorder.end(record)
        return said

    # The story

    async def _operation(
        self,
        plane: Plane,
        client: Connection,
        message: http.RawRequestMessage,
        inbound: Inbound,
        payload: streams.StreamReader,
        record: Record,
    ) -> None:
        if message.path != plane.graphql_path:
            raise refuse(Reason.PARAMETER_UNKNOWN, "The GraphQL path takes no query string.")
        if b"accept" in inbound.first:
            record.shape = self._shape(inbound)
        if message.method != "POST":
            raise MethodNotAllowed(("POST",))
        if not payload.is_eof():
            bodies.check_length(inbound, plane.body_bytes)
        if inbound.rare or inbound.first.get(b"content-type") != b"application/json":
            check_json(inbound)
        token = bearer(inbound.all(b"authorization"), jwts=self._jwts)
        digest = verifier(token)
        proven = self._authenticator.recall(digest, self._clock()) or await self._authenticator.prove(
            token, digest, self._clock
        )
        record.caller = proven
        if payload.is_eof():
            body = client.whole_body(payload)
        else:
            body = await bodies.arriving(client, payload, plane.body_bytes, record)
            # A slow body must not outlive a revocation.
            proven = self._authenticator.recall(digest, self._clock()) or await self._authenticator.prove(
                token, digest, self._clock
            )
        record.bytes_in = len(body)
        if len(body) > plane.body_bytes:
            raise refuse(Reason.BODY_TOO_LARGE)
        asked = message_from(body, max_depth=plane.json_depth)
        documents = plane.documents
        record.operation = operation = documents.operation(asked.query, asked.operation_name)
        permission = permitted(decide(documents.policy, proven.principal, operation, asked.variables))
        endpoint = self._endpoint(plane, proven.principal.region, inbound, record)
        head = self._forwarding.head(
            endpoint, b"POST", plane.upstream_path, proven.identity, client, inbound, record.request_id, len(body)
        )
        record.relayed(
            await self._relay(
                client, endpoint, head, body, permission, record, operation.demanded, safe=operation.kind == "query"
            )
        )

    async def _route(
        self,
        plane: Plane,
        client: Connection,
        message: http.RawRequestMessage,
        inbound: Inbound,
        payload: streams.StreamReader,
        record: Record,
    ) -> None:
        record.shape = Shape.PROBLEM
        path, query, _ = message.path.partition("?")
        own = self._own_routes.find(message.method, path)
        if own is not None:
            if query:
                raise refuse(Reason.PARAMETER_UNKNOWN)
            await self._own(own, client, inbound, payload, record)
            return
        match = self._match(plane, message.method, message.path)
        record.route = match.rule.coordinate
        check_plain(inbound)
        bodies.check_length(inbound, plane.route_body_bytes)
        token, digest, proven = b"", b"", None
        theirs = match.rule.passes_credential
        if theirs:
            token = bearer(inbound.all(b"authorization"), jwts=True)  # one: of two the upstream might read the other
            if await self._authenticator.is_ours(token):  # which is nobody's to see
                raise refuse(Reason.CREDENTIAL_INVALID)
        elif not match.rule.open or b"authorization" in inbound.first:
            token = bearer(inbound.all(b"authorization"), jwts=self._jwts)
            digest = verifier(token)
            record.caller = proven = await self._authenticator.proven(token, digest, self._clock)
            permitted(_judged(plane, match, proven))  # a refusal need not wait for the body
        late = not payload.is_eof()
        body = await bodies.whole(client, payload, plane.route_body_bytes, record)
        if late and proven is not None:
            proven = await self._authenticator.proven(token, digest, self._clock)
        permission = permitted(_judged(plane, match, proven))
        endpoint = self._endpoint(plane, proven.principal.region if proven else None, inbound, record)
        head = self._forwarding.head(
            endpoint,
            message.method.encode("ascii"),
            message.path.encode("ascii"),
            proven.identity if proven else identity_lines(None),
            client,
            inbound,
            record.request_id,
            len(body) if body or message.method in ("POST", "PUT", "PATCH") else None,
            credential=theirs,
        )
        record.relayed(
            await self._relay(
                client, endpoint, head, body, permission, record, match.rule, safe=message.method == "GET"
            )
        )

    async def _own(
        self, route: OwnRoute[Any], client: Connection, inbound: Inbound, payload: streams.StreamReader, record: Record
    ) -> None:
        record.route = f"{route.method} {route.path}"
        bodies.check_length(inbound, route.body_bytes)
        admitted = await route.admit(inbound, record)
        late = not payload.is_eof()
        body = await bodies.whole(client, payload, route.body_bytes, record)
        if late:
            admitted = await route.admit(inbound, record)
        self._tell(client, record, await route.answer(admitted, body, record))

    # Its steps

    def _head(self, client: Connection, message: http.RawRequestMessage, record: Record) -> Inbound:
        """The headers, once everything that two servers could read differently is refused."""
        if client.long_head and client.head_too_long(message):
            raise refuse(Reason.HEADERS_TOO_LARGE)
        if message.version is not _HTTP11:
            if message.version is not _HTTP10:
                raise refuse(Reason.REQUEST_MALFORMED, "The version must be HTTP/1.1 or HTTP/1.0.")
            record.http10 = True
        if message.path[0] != "/" or message.method == "CONNECT":
            raise refuse(Reason.REQUEST_MALFORMED, "The request target must be a path.")
        inbound = self._header_rules.sort(message.raw_headers)
        if client.forwarded is None or client.forwarded[0] != inbound.first.get(b"host"):
            check_host(inbound)  # else it was found to be one before
        if inbound.rare:
            check_framing(inbound, http10=record.http10)
            record.request_id = request_id(inbound) or record.request_id
        return inbound

    def _match(self, plane: Plane, method: str, target: str) -> RouteMatch:
        ours = self._own_routes.methods(path := target.partition("?")[0])
        try:
            match = plane.routes.match(method, target)
        except (Refused, MethodNotAllowed):
            if ours:
                raise MethodNotAllowed(ours) from None
            raise
        if ours and match.rule.template != path:  # as literal rules, ours come before those with parameters
            raise MethodNotAllowed(ours)
        return match

    def _shape(self, inbound: Inbound) -> Shape:
        values = inbound.all(b"accept")
        key = b",".join(values)
        try:
            media = self._accepts[key]
        except KeyError:
            if len(self._accepts) >= _ACCEPTS:
                self._accepts.clear()
            media = self._accepts[key] = accepted(values)
        if media is None:
            raise refuse(Reason.NOT_ACCEPTABLE)
        return Shape.GRAPHQL if media is Media.JSON else Shape.GRAPHQL_RESPONSE

    def _endpoint(self, plane: Plane, home: str | None, inbound: Inbound, record: Record) -> Endpoint:
        region = plane.regions.serving(home, inbound.first.get(b"host"))
        record.region = region.name
        endpoint = region.next()
        record.endpoint = endpoint.name
        return endpoint

    def _relay(
        self,
        client: Connection,
        endpoint: Endpoint,
        head: bytes,
        body: bytes,
        permission: Permission,
        record: Record,
        demand: Demand,
        *,
        safe: bool,
    ) -> Coroutine[Any, Any, Outcome]:
        """Forward what was judged, and relay the answer. Demands a permission: nothing is forwarded without one."""
        caller = record.caller
        lines = b"X-Request-Id: %b\r\n%b" % (record.request_id, b"" if caller is None else caller.notice)
        if not isinstance(permission, Allow):
            record.reported = permission.deny
            lines += b"X-Gateway-Would-Refuse: %b\r\n" % _reasons(permission.deny.findings).encode()
        held = None
        if caller is not None:
            self._uses.allowed(caller.principal, demand)
            if permission.deletions:
                held = Held(client, self._deletions, caller.principal, permission)
        relaying = endpoint.exchange(
            head,
            body,
            held or client,
            answer_lines=lines,
            http10=record.http10,
            keep_alive=record.keep_alive and not self.draining,
            safe=safe,
            fresh=held is not None,  # an idle one that is just being closed would leave the deletion in doubt
        )
        return relaying if held is None else held.relayed(relaying)

    # Answers of our own

    def _tell(self, client: Connection, record: Record, reply: Reply) -> None:
        record.status = reply.status
        record.keep_alive = record.keep_alive and not self.draining
        extra = reply.extra + (record.caller.notice if record.caller else b"")
        close = not record.keep_alive
        client.write(answer(reply.status, Shape.GRAPHQL, reply.body, record.request_id, close=close, extra=extra))

    def _refuse(
        self, client: Connection, payload: streams.StreamReader, record: Record, deny: Deny, extra: bytes = b""
    ) -> None:
        # A body that is still to come would be read as the next request; `Connection.start` reads a little of it away.
        if not payload.is_eof() or self.draining:
            record.keep_alive = False
        if record.caller is not None and record.fault is None:
            extra += record.caller.notice
        record.deny = deny
        record.status, said = refusal(
            deny, record.shape, record.request_id, self._realm, close=not record.keep_alive, extra=extra
        )
        if record.method == "HEAD":
            said = said[: said.index(b"\r\n\r\n") + 4]
        client.write(said)

    def _broken(self, client: Connection, payload: streams.StreamReader, record: Record, error: Exception) -> None:
        record.keep_alive = False
        _log.error("internal error", request_id=record.request_id.decode(), error=type(error).__name__, exc_info=error)
        self._refuse(client, payload, record, Deny((Finding(Reason.INTERNAL_ERROR),)))


def _judged(plane: Plane, match: RouteMatch, proven: Proven | None) -> Decision:
    return decide_route(match, proven.principal if proven else None, report=plane.report)


def _reasons(findings: Iterable[Finding]) -> str:
    return ", ".join(dict.fromkeys(finding.reason.value for finding in findings))
