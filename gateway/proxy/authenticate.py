"""From a presented token to a principal: out of memory while it may be remembered, else out of the store."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.credential import key_principal, prove_nothing, user_principal
from gateway.core.decision import Reason, Refused, Unavailable, refuse
from gateway.core.headers import identity_lines
from gateway.core.principal import KeyPrincipal, Principal
from gateway.core.records import Fault
from gateway.core.token import Kind, Prefixes, Token, parse_token
from gateway.store.contract import Store, StoreUnavailable


@dataclass(frozen=True, slots=True)
class Proven:
    """A principal, with what every request of it needs again: its identity headers, how the log names it, and until
    when (UTC milliseconds) it may be taken from memory."""

    principal: Principal
    credential_id: str
    identity: bytes
    names: dict[str, str]
    fresh_until: int


class CredentialRefused(Exception):
    """A credential is false; `fault` is for the log alone."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault

    def refused(self) -> Refused:
        """What the caller is told, which is the same for every fault."""
        return refuse(Reason.CREDENTIAL_INVALID)


class Authenticator:
    """Proves tokens against the store and remembers those that were good.

    The memory is keyed by the verifier, never by the token; bounded in entries and seconds; emptied as soon as the
    store's revision moves, that is, when anything that was allowed may have ended. `now` is UTC milliseconds.
    """

    __slots__ = ("_entries", "_memory", "_milliseconds", "_prefixes", "_revision", "_store", "hits", "misses", "used")

    def __init__(self, store: Store, prefixes: Prefixes, *, entries: int, seconds: float) -> None:
        self._store = store
        self._prefixes = prefixes
        self._entries = entries
        self._milliseconds = int(seconds * 1000)
        self._memory: dict[bytes, Proven] = {}
        self._revision = -1
        self.hits = 0
        self.misses = 0
        self.used: dict[str, int] = {}

    def recall(self, digest: bytes, now: int) -> Proven | None:
        """The principal of a token proven before, if nothing can have ended since."""
        try:
            revision = self._store.revision()
        except StoreUnavailable as error:
            raise _away(error) from error
        if revision != self._revision:
            self._memory.clear()
            self._revision = revision
        proven = self._memory.get(digest)
        if proven is None or proven.fresh_until <= now:
            return None
        self.hits += 1
        self.used[proven.credential_id] = now
        return proven

    async def prove(self, token: bytes, digest: bytes, clock: Callable[[], int]) -> Proven:
        """The principal of a token that is not remembered; `digest` is its verifier.

        Raises `CredentialRefused` for a false one, `Unavailable` when nobody can tell.
        """
        self.misses += 1
        parsed = parse_token(token, self._prefixes)
        if isinstance(parsed, Fault):
            raise CredentialRefused(parsed)
        revision = self._revision
        try:
            outcome = await self._look_up(parsed, clock)
        except StoreUnavailable as error:
            raise _away(error) from error
        if isinstance(outcome, Fault):
            raise CredentialRefused(outcome)
        proven = self._proven(outcome, parsed.id, clock())
        self._remember(digest, proven, revision)
        self.used[proven.credential_id] = clock()
        return proven

    async def _look_up(self, token: Token, clock: Callable[[], int]) -> Principal | Fault:
        fault: Fault | None = None
        if token.kind is not Kind.USER_TOKEN:
            key = await self._store.find_key(token.id)
            if key is not None:
                outcome = key_principal(key.record, key.app, token.verifier, clock())
                if not isinstance(outcome, Fault) or token.kind is Kind.KEY:
                    return outcome
                fault = outcome
        if token.kind is not Kind.KEY:
            found = await self._store.find_user_token(token.id)
            if found is not None:
                return user_principal(found.record, found.user, found.app, token.verifier, clock())
        return fault or prove_nothing(token.verifier)

    def _proven(self, principal: Principal, credential_id: str, now: int) -> Proven:
        fresh_until = min(principal.expires_at, now + self._milliseconds)
        return Proven(principal, credential_id, identity_lines(principal), _names(principal), fresh_until)

    def _remember(self, digest: bytes, proven: Proven, revision: int) -> None:
        if revision != self._revision:  # What was read before a revocation must not be remembered after it.
            return
        self._memory.pop(digest, None)
        if len(self._memory) >= self._entries:
            del self._memory[next(iter(self._memory))]
        self._memory[digest] = proven


def _names(principal: Principal) -> dict[str, str]:
    if isinstance(principal, KeyPrincipal):
        return {"app": principal.app_id, "key": principal.key_id}
    return {"app": principal.app_id, "user": principal.user_id}


def _away(error: StoreUnavailable) -> Unavailable:
    return Unavailable(Reason.STORE_UNAVAILABLE, str(error), retry_after=1)
