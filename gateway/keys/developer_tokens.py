"""Issues and ends the tokens that people have for the management API.

As `Keeper`: every method raises `ActRefused` with a sentence for people, and `StoreUnavailable`.
"""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from gateway.core.developer_tokens import (
    LIFETIME,
    PREFIX,
    DeveloperToken,
    NewDeveloperToken,
    issue_token,
    item_key,
    revoke_token,
    token_from,
)
from gateway.core.ledger import Act, ActReason, ActRefused, Asked, Done, Item, ItemKind, Who
from gateway.core.people import developer_id, person_id
from gateway.core.token import IDENTIFIER_BYTES, SECRET_BYTES, Secret, mint, verifier
from gateway.core.wishes import email_faults, normal_email
from gateway.store.contract import Store, StoreBroken, StoreUnavailable

Around = Callable[[Act], Act]

_ID: Final = re.compile(r"[0-9a-f]{16}\Z")
_AGAIN: Final = "No replica of the store confirmed in time that the token would last; it was not issued. Try again."


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody, as the store's items and the audit name people."""

    id: str
    developer: str


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token, and its text."""

    record: DeveloperToken
    token: Secret


def person_of(email: str) -> Person:
    """The person with this address."""
    return Person(person_id(email), developer_id(email))


@dataclass(frozen=True, slots=True)
class TokenDesk:
    """Issues, lists and ends tokens. `around` may add to each act what its caller wants to see done with it."""

    store: Store
    who: Who
    entropy: Callable[[int], bytes] = field(repr=False)
    around: Around = lambda act: act

    async def issue_to(self, email: str, lifetime: int = LIFETIME) -> IssuedToken:
        """A token for whoever has this address and a role in some app: to anybody else it would be of no use."""
        email = normal_email(email)
        for sentence in email_faults(email):
            raise ActRefused(ActReason.WISH_INVALID, sentence)
        return await self.renew(person_of(email), lifetime)

    async def renew(self, person: Person, lifetime: int = LIFETIME) -> IssuedToken:
        """A token for a person, who must still have a role in some app."""
        async for each in self.store.developers():
            if person_id(each.email) == person.id:
                return await self.issue(person, lifetime)
        raise ActRefused(
            ActReason.UNKNOWN_DEVELOPER,
            "Nobody with this address has a role in any app; see 'gateway developers list'.",
        )

    async def issue(self, person: Person, lifetime: int = LIFETIME) -> IssuedToken:
        """A token for a person, for `lifetime` milliseconds."""
        identifier = bytes.fromhex(person.id[:2]) + self.entropy(IDENTIFIER_BYTES - 1)
        token = mint(PREFIX, identifier, self.entropy(SECRET_BYTES))
        token_id = identifier.hex()
        wish = NewDeveloperToken(token_id, person.developer, verifier(token.reveal().encode("ascii")), lifetime)
        asked = Asked(person.id, items=(item_key(token_id),))
        done = await self._do(self.around(Act(asked, lambda seen: issue_token(seen, person.id, wish, self.who))))
        if not done.replicated:
            with suppress(StoreUnavailable, ActRefused):
                await self._once(Act(asked, lambda seen: revoke_token(seen, token_id, self.who)))
            raise StoreUnavailable(_AGAIN)
        kept = next(item for item in done.changes.items if item.key == item_key(token_id))
        return IssuedToken(token_from(kept), token)

    async def find(self, token_id: str) -> DeveloperToken | None:
        """What is kept of a token, or None."""
        item = await self.store.find_item(*item_key(token_id)) if _ID.match(token_id) else None
        return None if item is None else read(item)

    async def all_of(self, person: str | None = None) -> AsyncIterator[DeveloperToken]:
        """All tokens, or a person's. Those that ended long ago are forgotten."""
        async for item in self.store.items(ItemKind.DEVELOPER_TOKEN, person):
            yield read(item)

    async def revoke(self, token_id: str) -> Done:
        """End a token now. `changes` is empty when it had been revoked before."""
        found = await self.find(token_id)
        if found is None:
            raise ActRefused(ActReason.UNKNOWN_TOKEN, "There is no developer's token with this id.")
        asked = Asked(found.owner, items=(item_key(token_id),))
        return await self._do(self.around(Act(asked, lambda seen: revoke_token(seen, token_id, self.who))))

    async def _do(self, act: Act) -> Done:
        try:
            return await self._once(act)
        except StoreUnavailable as error:
            if not error.unknown:
                raise
        try:
            return await self._once(act)  # perhaps it was done; what was done is not done twice
        except StoreUnavailable as error:
            raise StoreUnavailable(f"{error} Nobody can tell whether it was done.", unknown=True) from error

    async def _once(self, act: Act) -> Done:
        (outcome,) = await self.store.act([act])
        if isinstance(outcome, ActRefused):
            raise outcome
        return outcome


def read(item: Item) -> DeveloperToken:
    """The token in an item of the store's. Raises `StoreBroken` when there is none in it."""
    try:
        return token_from(item)
    except ValueError as error:
        raise StoreBroken(f"The store is damaged: the item {item.id} is no developer's token.") from error
