"""From a presented token to a principal: out of memory while it may be remembered, else out of the store."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from gateway.core.credential import key_principal, prove_nothing, user_principal
from gateway.core.decision import Reason, Refused, Unavailable, refuse
from gateway.core.headers import expiry_line, identity_lines
from gateway.core.jwt_claims import claimed_principal
from gateway.core.jwt_text import is_jwt
from gateway.core.principal import KeyPrincipal, Principal
from gateway.core.records import Fault, UserTokenRecord
from gateway.core.token import Kind, Prefixes, Token, parse_token
from gateway.proxy.uses import Uses
from gateway.store.contract import DEAF, Store, StoreUnavailable

if TYPE_CHECKING:
    from gateway.proxy.issuers import Issuers, Vouched

_K = TypeVar("_K")
_V = TypeVar("_V")

# Told only to whoever has the right secret: these tokens were good once.
_ENDED: Final = frozenset({Fault.REVOKED, Fault.EXPIRED, Fault.SUPERSEDED, Fault.APP_DISABLED, Fault.USER_DISABLED})
_OVER: Final = frozenset({Fault.REVOKED, Fault.EXPIRED})  # of them those that are a key's own end
_ENDS: Final = 10_000  # keys whose end the metrics show: one series each


@dataclass(frozen=True, slots=True)
class Proven:
    """A principal, with what every request of it needs again.

    `identity` are its headers for the upstream, `notice` the line for its own answers when it ends soon, `names` is how
    the log names it, `ids` what it depends on, `key_id` whose last use is noted. Until `fresh_until` (UTC milliseconds)
    it may be taken from memory; until its own end, while the store is away.
    """

    principal: Principal
    identity: bytes
    notice: bytes
    names: dict[str, str]
    ids: tuple[str, ...]
    key_id: str | None
    fresh_until: int


class CredentialRefused(Exception):
    """A credential is false; `fault` is for the log alone."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault

    def refused(self) -> Refused:
        """What the caller is told, which is the same for every fault."""
        return refuse(Reason.CREDENTIAL_INVALID)


@dataclass(slots=True)
class _Proofs:
    """The proofs of one token that are under way, and whether one of them was refused meanwhile."""

    open: int = 0
    refused: bool = False


class Authenticator:
    """Proves tokens against the store and remembers those that were good.

    The memory is keyed by the verifier, never by the token, and bounded. An entry is used for some seconds, and dropped
    as soon as the store's revision moves and what it depends on may have ended. While the store is deaf every token is
    looked up, and the memory is only there for when the store does not answer. `used` is when keys were used last,
    by key id, `uses` what for; times are UTC milliseconds. `issuers`, if there are any, prove tokens of their own.
    `came_back` is told of each user token that is presented after it was refreshed and its last minute was over.
    """

    __slots__ = (
        "_came_back", "_ends", "_entries", "_epoch", "_heard", "_issuers", "_memory", "_milliseconds", "_prefixes",
        "_proofs", "_revision", "_store", "hits", "misses", "used", "uses",
    )  # fmt: skip

    def __init__(
        self,
        store: Store,
        prefixes: Prefixes,
        *,
        entries: int,
        seconds: float,
        issuers: "Issuers | None" = None,
        came_back: Callable[[UserTokenRecord], Awaitable[None]] | None = None,
    ) -> None:
        self._store = store
        self._prefixes = prefixes
        self._issuers = issuers
        self._came_back = came_back
        self._entries = entries
        self._milliseconds = int(seconds * 1000)
        self._memory: dict[bytes, Proven] = {}
        self._proofs: dict[bytes, _Proofs] = {}
        self._revision: int | None = None  # what the memory is up to; None, which no revision equals, while it is not
        self._heard = DEAF  # the last revision that was one
        self._epoch = 0
        self.hits = 0
        self.misses = 0
        self.used: dict[str, int] = {}
        self.uses = Uses()
        self._ends: dict[str, int] = {}

    async def is_ours(self, token: bytes) -> bool:
        """Whether a token is one that only the gateway may see: a key or user token of ours by its form, or a key of
        the older form that is known here. Raises `Unavailable` when nobody can tell."""
        parsed = parse_token(token, self._prefixes)
        if isinstance(parsed, Fault):
            return False
        if parsed.kind is not Kind.LEGACY:
            return True
        try:
            return await self._store.find_key(parsed.id) is not None
        except StoreUnavailable as error:
            raise _away(error) from error

    @property
    def jwts(self) -> bool:
        """Whether tokens of other issuers can be good ones."""
        return self._issuers is not None

    def recall(self, digest: bytes, now: int) -> Proven | None:
        """The principal of a token proven before, if nothing can have ended since."""
        try:
            revision = self._store.revision()
            if revision != self._revision and not self._catch_up(revision):
                return None
        except StoreUnavailable as error:
            raise _away(error) from error
        proven = self._memory.get(digest)
        if proven is None or proven.fresh_until <= now:
            return None
        self.hits += 1
        key_id = proven.key_id
        if key_id is not None:
            self.used[key_id] = now
        return proven

    async def prove(self, token: bytes, digest: bytes, clock: Callable[[], int]) -> Proven:
        """The principal of a token that is not remembered; `digest` is its verifier.

        Raises `CredentialRefused` for a false one, `Unavailable` when nobody can tell.
        """
        self.misses += 1
        proofs = self._proofs.setdefault(digest, _Proofs())
        proofs.open += 1
        try:
            proven = await self._prove(token, digest, clock, proofs)
        finally:
            proofs.open -= 1
            if not proofs.open:
                del self._proofs[digest]
        if proven.key_id is not None:
            self.used[proven.key_id] = clock()
        return proven

    async def proven(self, token: bytes, digest: bytes, clock: Callable[[], int]) -> Proven:
        """The principal of a token, remembered or proven now; raises as `prove` does."""
        return self.recall(digest, clock()) or await self.prove(token, digest, clock)

    def endings(self, now: int) -> dict[str, int]:
        """When the keys that were proved here end (UTC milliseconds, by key id), less those that have."""
        with suppress(StoreUnavailable):
            revision = self._store.revision()
            if revision != self._revision:
                self._catch_up(revision)
        return {key_id: end for key_id, end in self._ends.items() if end > now}

    def forget(self, ids: frozenset[str]) -> None:
        """Take nothing from memory any more that depends on one of these."""
        self._epoch += 1
        for digest in [digest for digest, proven in self._memory.items() if not ids.isdisjoint(proven.ids)]:
            self._forget(digest)

    async def _prove(self, token: bytes, digest: bytes, clock: Callable[[], int], proofs: "_Proofs") -> Proven:
        epoch = self._epoch
        presented = await self._presented(token, clock)
        if isinstance(presented, Fault):
            raise self._refused(digest, None, presented, proofs)
        try:
            outcome = await self._look_up(presented, clock)
        except StoreUnavailable as error:
            proven = self._in_grace(digest, clock()) if error.in_grace else None
            if proven is None:
                raise _away(error) from error
            return proven
        if isinstance(outcome, Fault):
            raise self._refused(digest, presented, outcome, proofs)
        proven = self._proven(outcome, presented, clock())
        if epoch == self._epoch and not proofs.refused:
            self._remember(digest, proven)
        return proven

    async def _presented(self, token: bytes, clock: Callable[[], int]) -> "Token | Vouched | Fault":
        if self._issuers is not None and is_jwt(token):
            return await self._issuers.vouched(token, clock)
        return parse_token(token, self._prefixes)

    async def _look_up(self, token: "Token | Vouched", clock: Callable[[], int]) -> Principal | Fault:
        if not isinstance(token, Token):
            known = await self._store.find_user(token.said.app_id, token.said.user_id)
            return Fault.UNKNOWN if known is None else claimed_principal(token.said, known.user, known.app)
        fault: Fault | None = None
        if token.kind is not Kind.USER_TOKEN:
            key = await self._store.find_key(token.id)
            if key is not None:
                outcome = key_principal(key.record, key.app, token.verifier, clock())
                if outcome in _OVER:
                    self.uses.refused(token.id)
                if not isinstance(outcome, Fault) or token.kind is Kind.KEY:
                    return outcome
                fault = outcome
        if token.kind is not Kind.KEY:
            found = await self._store.find_user_token(token.id)
            if found is not None:
                user = user_principal(found.record, found.user, found.app, token.verifier, clock())
                if user is Fault.SUPERSEDED and self._came_back is not None:
                    await self._came_back(found.record)
                return user
        return fault or prove_nothing(token.verifier)

    def _proven(self, principal: Principal, token: "Token | Vouched", now: int) -> Proven:
        fresh_until = min(principal.expires_at, now + self._milliseconds)
        key_id = None
        if isinstance(principal, KeyPrincipal):
            key_id = principal.key_id
            if now < principal.notice_at < fresh_until:
                fresh_until = principal.notice_at
        notice = expiry_line(principal, now)
        ids = principal.ids if isinstance(token, Token) else (*principal.ids, token.key)
        return Proven(principal, identity_lines(principal), notice, _names(principal), ids, key_id, fresh_until)

    def _in_grace(self, digest: bytes, now: int) -> Proven | None:
        """What may go on while the store is away: remembered, not expired, and not ended as far as anybody heard."""
        proven = self._memory.get(digest)
        if proven is None or proven.principal.expires_at <= now:
            return None
        ended = self._store.ended_since(self._heard)
        return proven if ended is not None and ended.isdisjoint(proven.ids) else None

    # What is remembered. The epoch moves whenever something may have ended: what was read before must not be remembered
    # after it. A refusal concerns its own token alone, or whoever has one that ended could keep all others from being
    # remembered.

    def _catch_up(self, revision: int) -> bool:
        """Forget what has ended since the revision before; whether the memory may be used now."""
        if revision == DEAF:
            if self._revision is not None:
                self._revision = None
                self._epoch += 1
            return False
        ended = None if self._revision is None else self._store.ended_since(self._revision)
        if ended is None:
            self._epoch += 1
            self._memory.clear()
        else:
            self.forget(ended)
        self._revision = self._heard = revision
        return True

    def _refused(
        self, digest: bytes, token: "Token | Vouched | None", fault: Fault, proofs: "_Proofs"
    ) -> CredentialRefused:
        """Forget a token that the store no longer takes, so that it does not go on either once the store is away."""
        proofs.refused = True
        if fault in _ENDED and isinstance(token, Token):
            self._ends.pop(token.id, None)
        self._forget(digest)
        return CredentialRefused(fault)

    def _forget(self, digest: bytes) -> None:
        proven = self._memory.pop(digest, None)
        if proven is not None and proven.key_id is not None:
            self._ends.pop(proven.key_id, None)

    def _remember(self, digest: bytes, proven: Proven) -> None:
        _keep(self._memory, digest, proven, self._entries)
        if proven.key_id is not None:
            _keep(self._ends, proven.key_id, proven.principal.expires_at, _ENDS)


def _keep(memory: dict[_K, _V], key: _K, value: _V, bound: int) -> None:
    """Put it in as the newest, in the place of the oldest if there is no other."""
    memory.pop(key, None)
    if len(memory) >= bound:
        del memory[next(iter(memory))]
    memory[key] = value


def _names(principal: Principal) -> dict[str, str]:
    if isinstance(principal, KeyPrincipal):
        return {"app": principal.app_id, "key": principal.key_id}
    return {"app": principal.app_id, "user": principal.user_id}


def _away(error: StoreUnavailable) -> Unavailable:
    return Unavailable(Reason.STORE_UNAVAILABLE, str(error), retry_after=1)
