"""`DELETE /keys/self`: a key ends itself, as whoever holds one that leaked can do at once and without a person."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import orjson
import structlog

from gateway.core.credential import bearer
from gateway.core.decision import Reason, Unavailable, refuse
from gateway.core.headers import Inbound
from gateway.core.ledger import ActRefused, Who
from gateway.core.records import Fault, RevokedWhy
from gateway.core.times import iso_time
from gateway.core.token import Prefixes, verifier
from gateway.keys.keeper import Keeper
from gateway.metrics import Metrics
from gateway.proxy.authenticate import Authenticator, CredentialRefused, Proven
from gateway.proxy.own_routes import Reply
from gateway.proxy.record import Record
from gateway.store.contract import Store, StoreUnavailable

_log: Final = structlog.get_logger()

_NOT_REPLICATED: Final = (
    "The key has ended, but no replica of the store has confirmed it yet. Should the store fail over at this moment, it"
    " may be forgotten: send a request with the key in a minute, and expect it to be refused."
)


@dataclass(frozen=True, slots=True)
class OwnKey:
    """Ends keys for their holders, who need no scope for it: a key may always be got rid of."""

    store: Store
    prefixes: Prefixes
    authenticator: Authenticator
    clock: Callable[[], int]
    metrics: Metrics
    method: str = "DELETE"
    path: str = "/keys/self"
    body_bytes: int = 1024  # Nothing is expected in it; some clients send an empty object with every request.

    async def admit(self, inbound: Inbound, record: Record) -> str:
        """The id of the key that is calling; anybody else is refused."""
        token = bearer(inbound.all(b"authorization"), jwts=self.authenticator.jwts)
        record.caller = proven = await self.authenticator.proven(token, verifier(token), self.clock)
        return _key_only(proven)

    async def answer(self, admitted: str, body: bytes, record: Record) -> Reply:  # noqa: ARG002 - the route's
        """The key has ended, for every request from now on; its holder is told so.

        Raises `Unavailable` when the store could not keep it, or nobody can tell: which of the two is the reason.
        """
        key_id = admitted
        keeper = Keeper(self.store, Who(f"key:{key_id}", "traffic"), secrets.token_bytes, self.prefixes)
        try:
            done = await keeper.revoke_key(key_id, RevokedWhy.BY_HOLDER)
        except StoreUnavailable as error:
            reason = Reason.REVOCATION_UNKNOWN if error.unknown else Reason.KEY_NOT_REVOKED
            raise Unavailable(reason, str(error), retry_after=1) from error
        except ActRefused as refused:  # the record, which was there a moment before, is not
            raise CredentialRefused(Fault.UNKNOWN) from refused
        # Nothing changed: it had ended a moment before, by somebody else or by this act, whose first answer was lost.
        revoked_at = next((key.revoked_at for key in done.changes.keys), None) or done.at
        told: dict[str, object] = {"id": key_id, "revoked_at": iso_time(revoked_at), "replicated": done.replicated}
        if not done.replicated:
            self.metrics.unreplicated += 1
            _log.warning("no replica confirmed a revocation", key=key_id)
            told["warning"] = _NOT_REPLICATED
        return Reply(orjson.dumps(told))


def _key_only(proven: Proven) -> str:
    """The id of the key that is calling; anybody else is refused."""
    if proven.key_id is None:
        raise refuse(Reason.KEYS_ONLY, "A user token ends by itself, or with its user.")
    return proven.key_id
