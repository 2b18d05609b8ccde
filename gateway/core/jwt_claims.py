"""What another issuer may say of a user, and what comes of it here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from gateway.core.principal import UserPrincipal
from gateway.core.records import App, Fault, User
from gateway.core.wishes import user_faults

_LATEST: Final = 253_402_300_800  # seconds: the year 10000, with which no calendar ends up in an overflow


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens count, for which apps and for whom (`audience`), and in which claims they name app and user.

    `name` is the exact `iss`. `leeway` is how far, in milliseconds, its clock may be from ours.
    """

    name: str
    apps: frozenset[str]
    audience: str
    app_claim: str = "app_id"
    user_claim: str = "sub"
    leeway: int = 60_000


@dataclass(frozen=True, slots=True)
class Claimed:
    """A user of an app, as an issuer that may say so has said; good until `expires_at` (UTC milliseconds), give or take
    the issuer's leeway. `issued_after` is the earliest moment by our clock at which it can have been said."""

    app_id: str
    user_id: str
    issued_after: int | None
    expires_at: int


def claimed(claims: Mapping[str, Any], issuer: Issuer, now: int) -> Claimed | Fault:
    """What the claims of a token that this issuer has signed say at `now`, or what is wrong with them. Never raises.

    Its clock's leeway makes a token count a little earlier and later, and never one count that has no end.
    """
    if not _is_for(claims.get("aud"), issuer.audience):
        return Fault.AUDIENCE
    app_id, user_id = claims.get(issuer.app_claim), claims.get(issuer.user_claim)
    expires_at, issued_at, begins_at = (_moment(claims.get(name)) for name in ("exp", "iat", "nbf"))
    unclear = any(name in claims and _moment(claims[name]) is None for name in ("iat", "nbf"))
    if type(app_id) is not str or not _is_user(user_id) or expires_at is None or unclear:
        return Fault.CLAIMS
    if app_id not in issuer.apps:
        return Fault.FOREIGN_APP
    if now >= expires_at + issuer.leeway:
        return Fault.EXPIRED
    if now < max(issued_at or 0, begins_at or 0) - issuer.leeway:
        return Fault.NOT_YET
    # Were its clock taken at its word, a token from before a cut would outlive it whenever that clock goes ahead.
    issued_after = None if issued_at is None else issued_at - issuer.leeway
    return Claimed(app_id, user_id, issued_after, expires_at)


def claimed_principal(said: Claimed, user: User | None, app: App) -> UserPrincipal | Fault:
    """The principal that a user is of whom an issuer has spoken, or what is wrong; `user` is None if not known here.

    A token that may have been issued at the last cut or before it is over, and so is one that does not say when, after
    any cut.
    """
    cut_at = max(app.cut_at, user.cut_at if user else 0)
    if user is not None and user.deleted:
        return Fault.REVOKED
    if cut_at > 0 and (said.issued_after is None or said.issued_after <= cut_at):
        return Fault.REVOKED
    if app.disabled:
        return Fault.APP_DISABLED
    if user is not None and user.disabled:
        return Fault.USER_DISABLED
    return UserPrincipal(said.user_id, None, app.id, app.region, said.expires_at)


def _is_for(audience: object, ours: str) -> bool:
    """RFC 7519 4.1.3: one string, or a list of them with ours among them."""
    if type(audience) is list:
        return all(type(one) is str for one in audience) and ours in audience
    return type(audience) is str and audience == ours


def _is_user(user_id: object) -> TypeGuard[str]:
    return type(user_id) is str and not any(user_faults(user_id, None))


def _moment(seconds: object) -> int | None:
    """A NumericDate (RFC 7519 2) in milliseconds, the fraction of one cut off; None for what is no moment."""
    if type(seconds) not in (int, float) or not 0 <= seconds < _LATEST:  # type: ignore[operator] # it is a number
        return None
    return int(seconds * 1000)  # type: ignore[operator] # as above
