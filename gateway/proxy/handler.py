"""The way of a request: read `_operation` from top to bottom, and `_route` for what lies beside the GraphQL path."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import http, streams
from aiohttp.web_protocol import RequestPayloadError

from gateway.core.credential import bearer
from gateway.core.decision import Allow, Deny, Finding, Permission, Reason, Refused, Unavailable, permitted, refuse
from gateway.core.headers import (
    HeaderRules,
    Inbound,
    Media,
    accepted,
    check_framing,
    check_json,
    declared_length,
    expects_continue,
    identity_lines,
    request_id,
)
from gateway.core.judge import decide
from gateway.core.message import message_from
from gateway.core.routing import MethodNotAllowed, RouteMatch, Routes, decide_route
from gateway.proxy.authenticate import Authenticator, CredentialRefused, Proven
from gateway.proxy.documents import Documents
from gateway.proxy.forwarding import Forwarding
from gateway.proxy.record import Record, Recorder
from gateway.proxy.regions import Regions
from gateway.proxy.respond import Shape, refusal
from gateway.proxy.server import BodyTimeout, ClientLeft, Connection
from gateway.proxy.upstream import Endpoint

_log: Final = structlog.get_logger()

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_ACCEPTS: Final = 256  # Accept headers whose meaning is remembered; whoever invents more empties the memory.


@dataclass(frozen=True, slots=True)
class Plane:
    """What requests are judged and forwarded by. One value, swapped whole: a request sees one of them only."""

    graphql_path: str
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
        header_rules: HeaderRules,
        forwarding: Forwarding,
        recorder: Recorder,
        clock: Callable[[], int],
        *,
        realm: str,
        draining: Callable[[], bool],
    ) -> None:
        self.plane = plane
        self._authenticator = authenticator
        self._header_rules = header_rules
        self._forwarding = forwarding
        self._recorder = recorder
        self._clock = clock
        self._realm = realm
        self._draining = draining
        self._accepts: dict[bytes, Media | None] = {}

    async def serve(
        self, client: Connection, message: http.RawRequestMessage, payload: streams.StreamReader
    ) -> bool:
        """Handle one request, and tell whether the client's connection may go on."""
        plane = self.plane
        graphql = message.path.partition("?")[0] == plane.graphql_path
        record = self._recorder.begin(message.method, Shape.GRAPHQL if graphql else Shape.PROBLEM)
        record.keep_alive = message.version == http.HttpVersion11 and not message.should_close and not message.upgrade
        try:
            inbound = self._head(client, message, record)
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
        except Exception as error:  # ours: say nothing of it to the client, everything to the log
            self._broken(client, payload, record, error)
        finally:
            self._recorder.end(record)
        return record.keep_alive and not record.aborted

    def unreadable(self, client: Connection, reason: Reason) -> bytes:
        """The answer to bytes that are no request."""
        record = self._recorder.begin(None, Shape.GRAPHQL)
        record.deny = refuse(reason).deny
        record.status, answer = refusal(record.deny, record.shape, record.request_id, self._realm, close=True)
        self._recorder.end(record)
        return answer

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
        record.shape = self._shape(inbound)
        if message.method != "POST":
            raise MethodNotAllowed(("POST",))
        check_json(inbound)
        _check_length(inbound, plane.body_bytes)
        token = bearer(inbound.all(b"authorization"))
        proven = await self._authenticator.prove(token, self._clock)
        record.caller = proven
        body, proven = await self._body(client, inbound, payload, plane.body_bytes, token, proven, record)
        asked = message_from(body, max_depth=plane.json_depth)
        operation = plane.documents.operation(asked.query, asked.operation_name)
        record.operation = operation
        permission = permitted(decide(plane.documents.policy, proven.principal, operation, asked.variables))
        endpoint = self._endpoint(plane, proven, inbound, record)
        head = self._forwarding.head(
            endpoint, b"POST", plane.upstream_path, proven.identity, client, inbound, record.request_id, len(body)
        )
        await self._relay(client, endpoint, head, body, permission, record, safe=operation.kind == "query")

    async def _route(
        self,
        plane: Plane,
        client: Connection,
        message: http.RawRequestMessage,
        inbound: Inbound,
        payload: streams.StreamReader,
        record: Record,
    ) -> None:
        match = plane.routes.match(message.method, message.path)
        record.route = match.rule.coordinate
        if inbound.all(b"content-encoding"):
            raise refuse(Reason.UNSUPPORTED_MEDIA_TYPE, "Send the body without a Content-Encoding.")
        _check_length(inbound, plane.route_body_bytes)
        proven = None
        body = b""
        if not match.rule.open or inbound.all(b"authorization"):
            token = bearer(inbound.all(b"authorization"))
            proven = await self._authenticator.prove(token, self._clock)
            record.caller = proven
            permitted(self._judged(plane, match, proven))  # a refusal need not wait for the body
            body, proven = await self._body(client, inbound, payload, plane.route_body_bytes, token, proven, record)
        permission = permitted(self._judged(plane, match, proven))
        endpoint = self._endpoint(plane, proven, inbound, record)
        identity = proven.identity if proven else identity_lines(None)
        length = len(body) if body or message.method in ("POST", "PUT", "PATCH") else None
        target = message.path.encode("ascii")
        head = self._forwarding.head(
            endpoint, message.method.encode(), target, identity, client, inbound, record.request_id, length
        )
        await self._relay(client, endpoint, head, body, permission, record, safe=message.method == "GET")

    # Its steps

    def _head(self, client: Connection, message: http.RawRequestMessage, record: Record) -> Inbound:
        """The headers, once everything that two servers could read differently is refused."""
        if client.head_too_long(message):
            record.keep_alive = False
            raise refuse(Reason.HEADERS_TOO_LARGE)
        try:
            http10 = message.version == http.HttpVersion10
            if not http10 and message.version != http.HttpVersion11:
                raise refuse(Reason.REQUEST_MALFORMED, "The version must be HTTP/1.1 or HTTP/1.0.")
            if message.method == "CONNECT" or not message.path.startswith("/"):
                raise refuse(Reason.REQUEST_MALFORMED, "The request target must be a path.")
            inbound = self._header_rules.sort(message.raw_headers)
            check_framing(inbound, http10=http10)
        except Refused:
            record.keep_alive = False
            raise
        record.http10 = http10
        record.expects_continue = expects_continue(inbound, http10=http10)
        given = request_id(inbound)
        if given is not None:
            record.request_id = given.decode("ascii")
        return inbound

    def _shape(self, inbound: Inbound) -> Shape:
        values = inbound.all(b"accept")
        if not values:
            return Shape.GRAPHQL
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

    async def _body(
        self,
        client: Connection,
        inbound: Inbound,
        payload: streams.StreamReader,
        limit: int,
        token: bytes,
        proven: Proven,
        record: Record,
    ) -> tuple[bytes, Proven]:
        """The body, and the principal as it stands once the body is there: a slow one must not outlive a revocation."""
        if payload.is_eof():
            body = await client.body(payload, limit)
        else:
            if record.expects_continue and not payload.total_bytes:
                client.write(_CONTINUE)
            body = await client.body(payload, limit)
            proven = await self._authenticator.prove(token, self._clock)
        if body is None:
            raise refuse(Reason.BODY_TOO_LARGE)
        record.bytes_in = len(body)
        return body, proven

    def _judged(self, plane: Plane, match: RouteMatch, proven: Proven | None) -> Permission | Deny:
        return decide_route(match, proven.principal if proven else None, report=plane.report)

    def _endpoint(self, plane: Plane, proven: Proven | None, inbound: Inbound, record: Record) -> Endpoint:
        home = proven.principal.region if proven else None
        region = plane.regions.serving(home, inbound.all(b"host"))
        record.region = region.name
        endpoint = region.next()
        record.endpoint = endpoint.name
        return endpoint

    async def _relay(
        self,
        client: Connection,
        endpoint: Endpoint,
        head: bytes,
        body: bytes,
        permission: Permission,
        record: Record,
        *,
        safe: bool,
    ) -> None:
        """Forward what was judged, and relay the answer. Demands a permission: nothing is forwarded without one."""
        lines = b"X-Request-Id: %b\r\n" % record.request_id.encode()
        if not isinstance(permission, Allow):
            record.reported = permission.deny
            lines += b"X-Gateway-Would-Refuse: %b\r\n" % _reasons(permission.deny.findings).encode()
        outcome = await endpoint.exchange(
            head,
            body,
            client,
            answer_lines=lines,
            http10=record.http10,
            keep_alive=record.keep_alive and not self._draining(),
            safe=safe,
        )
        record.relayed(outcome)

    # Answers of our own

    def _refuse(
        self, client: Connection, payload: streams.StreamReader, record: Record, deny: Deny, extra: bytes = b""
    ) -> None:
        # A body that is still to come would be read as the next request; `Connection.start` reads a little of it away.
        if not payload.is_eof() or self._draining():
            record.keep_alive = False
        record.deny = deny
        record.status, answer = refusal(
            deny, record.shape, record.request_id, self._realm, close=not record.keep_alive, extra=extra
        )
        if record.method == "HEAD":
            answer = answer[: answer.index(b"\r\n\r\n") + 4]
        client.write(answer)

    def _broken(self, client: Connection, payload: streams.StreamReader, record: Record, error: Exception) -> None:
        record.keep_alive = False
        _log.error("internal error", request_id=record.request_id, error=type(error).__name__, exc_info=error)
        self._refuse(client, payload, record, Deny((Finding(Reason.INTERNAL_ERROR),)))


def _check_length(inbound: Inbound, limit: int) -> None:
    if declared_length(inbound) > limit:
        raise refuse(Reason.BODY_TOO_LARGE)


def _reasons(findings: Iterable[Finding]) -> str:
    return ", ".join(dict.fromkeys(finding.reason.value for finding in findings))

