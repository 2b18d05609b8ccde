"""Who asks: an operator by a token of the settings, or a developer by one of the store's. All others are told alike."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from hmac import compare_digest
from typing import Final

from gateway.core.developer_tokens import OPERATOR_PREFIX, PREFIX, DeveloperToken, item_key, token_fault
from gateway.core.ledger import ActReason, ActRefused, Asked, Snapshot
from gateway.core.people import person_id
from gateway.core.records import Role
from gateway.core.token import minted_id, verifier
from gateway.keys.developer_tokens import Person, read
from gateway.settings.api import Operator
from gateway.store.contract import Store

_BEARER: Final = "bearer "
_LONGEST: Final = 256  # characters of a header that can hold a token of ours
_NOBODY: Final = "00" * 12
_NOBODYS: Final = DeveloperToken("", "", "", bytes(32), 0, 0, "")  # no token's digest, and ended long ago


class Needs(Enum):
    """What a caller has to be, for a route."""

    ANYBODY = auto()  # who has a token
    SEES = auto()  # an operator, or has a role in the app
    KEEPS = auto()  # an operator, or a developer of the app
    RUNS = auto()  # an operator


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, proven. `person` is None for an operator, and so is `token_id`, of the token that was shown."""

    actor: str
    person: Person | None = None
    token_id: str | None = None

    def role_in(self, snapshot: Snapshot) -> Role | None:
        """What the caller may do in the app of a snapshot that shows roles."""
        if self.person is None:
            return Role.DEVELOPER
        return next((role for email, role in snapshot.roles.items() if person_id(email) == self.person.id), None)

    def require(self, needs: Needs, snapshot: Snapshot) -> None:
        """Raise `ActRefused` unless the caller may do in the app what needs this. An app in which the caller has no
        role is refused as one that there is not."""
        role = self.role_in(snapshot)
        if snapshot.app is None or role is None:
            raise ActRefused(ActReason.UNKNOWN_APP, "There is no app with this id.")
        if needs is Needs.RUNS and self.person is not None:
            raise role_missing()
        if needs is Needs.KEEPS and role is not Role.DEVELOPER:
            raise role_missing()


def role_missing() -> ActRefused:
    """What a caller who may see something is told that may not do it."""
    return ActRefused(ActReason.ROLE_MISSING, "Your role does not allow this.")


@dataclass(frozen=True, slots=True)
class Callers:
    """Proves who asks."""

    store: Store
    operators: Sequence[Operator] = field(repr=False)

    async def prove(self, headers: Sequence[str]) -> Caller | None:
        """Whose token is in the one Authorization header, or None. Raises `StoreUnavailable`."""
        if len(headers) != 1 or len(headers[0]) > _LONGEST or not headers[0].isascii():
            return None
        if headers[0][: len(_BEARER)].lower() != _BEARER:
            return None
        token = headers[0][len(_BEARER) :].strip(" ").encode("ascii")
        if minted_id(token, OPERATOR_PREFIX) is not None:
            return self._operator(verifier(token))
        token_id = minted_id(token, PREFIX)
        return None if token_id is None else await self._developer(token_id, verifier(token))

    def _operator(self, digest: bytes) -> Caller | None:
        # Each is compared, so that the time tells nothing of which one it was.
        found = [each for each in self.operators if compare_digest(bytes.fromhex(each.token_sha256), digest)]
        return Caller(f"operator:{found[0].name}") if found else None

    async def _developer(self, token_id: str, digest: bytes) -> Caller | None:
        item = await self.store.find_item(*item_key(token_id))
        # One that is unknown is compared too, so that the time tells nothing of which ids there are.
        token = _NOBODYS if item is None else read(item)
        # The store's clock, which the end was reckoned by.
        (snapshot,) = await self.store.look([Asked(_NOBODY)])
        fault = token_fault(token, digest, snapshot.now)
        if item is None or fault is not None:
            return None
        return Caller(f"developer:{token.developer}", Person(token.owner, token.developer), token.id)
