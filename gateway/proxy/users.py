"""Where SDK users come from: `POST /users/auth-code`, `POST /users` and `POST /users/token`."""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import orjson
import structlog

from gateway.core.credential import bearer, prove_nothing
from gateway.core.decision import Reason, Refused, Unavailable, permitted, refuse
from gateway.core.families import refresh_fault
from gateway.core.headers import Inbound, check_json, check_plain
from gateway.core.ledger import ActReason, ActRefused
from gateway.core.message import json_value
from gateway.core.principal import KeyPrincipal
from gateway.core.records import Fault, UserTokenRecord
from gateway.core.routing import RouteMatch, RouteRule, decide_route
from gateway.core.times import iso_time
from gateway.core.token import Kind, Token, parse_token, verifier
from gateway.core.wishes import user_faults
from gateway.keys.registration import Issued, OpenCode, Registration
from gateway.proxy.authenticate import Authenticator, CredentialRefused
from gateway.proxy.own_routes import Reply
from gateway.proxy.record import Record
from gateway.proxy.regions import Regions
from gateway.proxy.reuse import Reuse
from gateway.store.contract import FoundUserToken, StoreUnavailable

_T = TypeVar("_T")

_log: Final = structlog.get_logger()

LINKING: Final = RouteRule("POST", "/users/auth-code", frozenset({"USER_LINK"}))
REGISTERING: Final = RouteRule("POST", "/users", open=True, passes_credential=True)
REFRESHING: Final = RouteRule("POST", "/users/token", open=True, passes_credential=True)

_AUTH_CODE: Final = RouteMatch(LINKING, {}, {})
_A_MINUTE: Final = 60
_NOTHING: Final = frozenset({b"", b"{}"})


@dataclass(frozen=True, slots=True)
class AuthCode:
    """Gives a backend, by its key, a code with which an app on a device becomes one user of its own."""

    registration: Registration
    authenticator: Authenticator
    regions: Regions
    clock: Callable[[], int]
    method: str = LINKING.method
    path: str = LINKING.template
    body_bytes: int = 4096  # 256 characters, each written as two escapes

    async def admit(self, inbound: Inbound, record: Record) -> KeyPrincipal:
        """The key that is calling, if it holds the scope; anybody else is refused, in report mode too."""
        check_json(inbound)
        token = bearer(inbound.all(b"authorization"), jwts=self.authenticator.jwts)
        record.caller = proven = await self.authenticator.proven(token, verifier(token), self.clock)
        permitted(decide_route(_AUTH_CODE, proven.principal))
        if not isinstance(proven.principal, KeyPrincipal):
            raise refuse(Reason.KEYS_ONLY)
        record.region = self.regions.serving(proven.principal.region, inbound.first.get(b"host")).name
        return proven.principal

    async def answer(self, admitted: KeyPrincipal, body: bytes, record: Record) -> Reply:  # noqa: ARG002 - the route's
        """A new code."""
        external_id = _external_id(body)
        made = await _kept(self.registration.issue_code(admitted.app_id, admitted.region, external_id, admitted.key_id))
        self.authenticator.uses.allowed(admitted, LINKING)
        told = {"authentication_code": made.code.reveal(), "expires_at": iso_time(made.expires_at)}
        return Reply(orjson.dumps(told))


@dataclass(frozen=True, slots=True)
class NewUser:
    """Gives whoever holds a code a first token."""

    registration: Registration
    regions: Regions
    method: str = REGISTERING.method
    path: str = REGISTERING.template
    body_bytes: int = 64

    async def admit(self, inbound: Inbound, record: Record) -> OpenCode:
        """What the code opens; every other credential is false here, and a code is false everywhere else."""
        check_plain(inbound)
        held = await _asked(self.registration.find_code(bearer(inbound.all(b"authorization"))))
        if held is None or self.regions.elsewhere(held.app.region, inbound.first.get(b"host")):
            raise CredentialRefused(Fault.UNKNOWN)
        record.names = {"app": held.app.id}
        return held

    async def answer(self, admitted: OpenCode, body: bytes, record: Record) -> Reply:
        """The user's id, and a token; the code is spent."""
        _check_empty(body)
        return _told(await _kept(self.registration.register(admitted)), record)


@dataclass(frozen=True, slots=True)
class NextToken:
    """Gives whoever holds a user token that lives, or did lately, the next one."""

    registration: Registration
    reuse: Reuse
    regions: Regions
    clock: Callable[[], int]
    method: str = REFRESHING.method
    path: str = REFRESHING.template
    body_bytes: int = 64

    async def admit(self, inbound: Inbound, record: Record) -> UserTokenRecord:
        """The record of the token, which may have expired lately."""
        check_plain(inbound)
        parsed = parse_token(bearer(inbound.all(b"authorization")), self.registration.prefixes)
        if isinstance(parsed, Fault):
            raise CredentialRefused(parsed)
        found = None
        if parsed.kind is not Kind.KEY:
            found = await _asked(self.registration.store.find_user_token(parsed.id))
        if found is None:
            raise CredentialRefused(prove_nothing(parsed.verifier))
        fault = self._fault(parsed, found)
        if fault is Fault.SUPERSEDED:
            await self.reuse.end(found.record)
        if fault is not None:
            raise CredentialRefused(fault)
        record.names = {"app": found.app.id, "user": found.user.id}
        record.region = self.regions.serving(found.app.region, inbound.first.get(b"host")).name
        return found.record

    async def answer(self, admitted: UserTokenRecord, body: bytes, record: Record) -> Reply:
        """The next token; the one presented goes on for a minute."""
        _check_empty(body)
        return _told(await _kept(self.registration.refresh(admitted)), record)

    def _fault(self, presented: Token, found: FoundUserToken) -> Fault | None:
        if not hmac.compare_digest(found.record.verifier, presented.verifier):
            return Fault.WRONG
        return refresh_fault(found.record, found.user, found.app, self.clock(), self.registration.rules.late)


def _external_id(body: bytes) -> str:
    try:
        value = json_value(body)
    except Refused:
        value = None
    if type(value) is not dict or value.keys() != {"external_id"} or type(value["external_id"]) is not str:
        raise refuse(Reason.BODY_MALFORMED, 'It is to be {"external_id": "..."} and nothing else.')
    for sentence in user_faults(None, value["external_id"]):
        raise refuse(Reason.BODY_MALFORMED, sentence)
    return value["external_id"]


def _check_empty(body: bytes) -> None:
    if body.translate(None, b" \t\r\n") not in _NOTHING:
        raise refuse(Reason.BODY_MALFORMED, "Nothing is expected in it.")


def _told(made: Issued, record: Record) -> Reply:
    app_id, user_id = made.record.app_id, made.record.user_id
    record.names = {"app": app_id, "user": user_id}
    if not made.replicated:
        _log.warning("no replica confirmed the next token of a user", app=app_id, user=user_id)
    told = {
        "user_id": user_id,
        "token": made.token.reveal(),
        "token_id": made.record.id,
        "expires_at": iso_time(made.record.expires_at),
    }
    return Reply(orjson.dumps(told))


async def _asked(look: Awaitable[_T]) -> _T:
    try:
        return await look
    except StoreUnavailable as error:
        raise Unavailable(Reason.STORE_UNAVAILABLE, str(error), retry_after=1) from error


async def _kept(act: Awaitable[_T]) -> _T:
    """What was issued. A credential that is no longer good when it is spent is answered as one that never was."""
    try:
        return await act
    except StoreUnavailable as error:
        raise Unavailable(Reason.NOT_ISSUED, str(error), retry_after=1) from error
    except ActRefused as refused:
        if refused.reason is ActReason.TOO_MANY_REFRESHES:
            raise Unavailable(Reason.NOT_ISSUED, refused.message, retry_after=_A_MINUTE) from refused
        raise CredentialRefused(Fault.UNKNOWN) from refused
