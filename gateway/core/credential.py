"""What was presented: the bearer token out of the Authorization header, and the proof that makes a principal of it."""

import hmac
import re
from collections.abc import Sequence
from typing import Final

from gateway.core.decision import Reason, refuse
from gateway.core.jwt_text import MAX_JWT, is_jwt
from gateway.core.principal import KeyPrincipal, UserPrincipal
from gateway.core.records import App, Fault, KeyRecord, User, UserTokenRecord, ends_at, key_fault, user_token_fault

# The longest token of ours is 323 characters (the seed's shape). It bounds what is hashed for a stranger.
MAX_TOKEN: Final = 512

# RFC 6750 2.1: credentials = "Bearer" 1*SP b64token. RFC 9110 11.1: the scheme is case-insensitive. Possessive
# quantifiers, so that a long header that does not match is read once.
_BEARER: Final = re.compile(rb"(?i:Bearer) ++([A-Za-z0-9._~+/-]++=*+)")

_NO_VERIFIER: Final = bytes(32)


def bearer(values: Sequence[bytes], *, jwts: bool = False) -> bytes:
    """The one bearer token of the request, given every Authorization header's value. Raises nothing but `Refused`.

    A second header is refused even when it repeats the first: whoever reads one only must not read another than ours.
    With `jwts` a token may be longer, if it has the shape of one.
    """
    if len(values) != 1:
        raise refuse(Reason.CREDENTIAL_MALFORMED if values else Reason.CREDENTIAL_MISSING)
    match = _BEARER.fullmatch(values[0])
    if match is None or (len(match[1]) > MAX_TOKEN and not (jwts and len(match[1]) <= MAX_JWT and is_jwt(match[1]))):
        raise refuse(Reason.CREDENTIAL_MALFORMED)
    return match[1]


def key_principal(record: KeyRecord, app: App, presented: bytes, now: int) -> KeyPrincipal | Fault:
    """The principal that a key record proves at `now` for the verifier of the presented token, or what is wrong."""
    # The verifier first: a wrong token is wrong, whatever became of the record that its id names.
    if not hmac.compare_digest(record.verifier, presented):
        return Fault.WRONG
    fault = key_fault(record, now) or _app_fault(app)
    return fault or KeyPrincipal(record.id, app.id, app.region, record.scopes, ends_at(record))


def user_principal(record: UserTokenRecord, user: User, app: App, presented: bytes, now: int) -> UserPrincipal | Fault:
    """The principal that a user token's record proves at `now`, or what is wrong."""
    if not hmac.compare_digest(record.verifier, presented):
        return Fault.WRONG
    fault = user_token_fault(record, user, app, now) or _app_fault(app)
    if fault is None and user.disabled:
        fault = Fault.USER_DISABLED
    return fault or UserPrincipal(user.id, record.id, app.id, app.region, ends_at(record))


def prove_nothing(presented: bytes) -> Fault:
    """The fault of a token that has no record, found with the same work as a wrong one."""
    hmac.compare_digest(_NO_VERIFIER, presented)
    return Fault.UNKNOWN


def _app_fault(app: App) -> Fault | None:
    return Fault.APP_DISABLED if app.disabled else None
