"""Issues and ends the tokens that people have for the management API.

As `Keeper`: every method raises `ActRefused` with a sentence for people, and `StoreUnavailable`.
"""

import re
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from gateway.core.developer_tokens import (
    LIFETIME,
    PREFIX,
    DeveloperToken,
    Moved,
    NewDeveloperToken,
    asked_of,
    end_tokens,
    issue_token,
    item_key,
    newest_key,
    require_all_seen,
    revoke_token,
    token_from,
)
from gateway.core.ledger import Act, ActReason, ActRefused, Asked, Changes, Decide, Done, Item, ItemKind, Snapshot, Who
from gateway.core.people import developer_id, person_id
from gateway.core.token import IDENTIFIER_BYTES, SECRET_BYTES, Secret, mint, verifier
from gateway.core.wishes import email_faults, normal_email
from gateway.store.contract import Store, StoreBroken, StoreUnavailable

Around = Callable[[Act], Act]

_ID: Final = re.compile(r"[0-9a-f]{16}\Z")
_TRIES: Final = 10  # of an act, while others issue tokens to the same person
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
    entropy: Callable[[int], bytes] = field(default=secrets.token_bytes, repr=False)
    around: Around = lambda act: act

    async def issue_to(self, email: str, lifetime: int = LIFETIME) -> IssuedToken:
        """A token for whoever has this address and a role in some app: to anybody else it would be of no use."""
        email = normal_email(email)
        for sentence in email_faults(email):
            raise ActRefused(ActReason.WISH_INVALID, sentence)
        return await self.renew(person_of(email), lifetime)

    async def renew(self, person: Person, lifetime: int = LIFETIME, parent: str | None = None) -> IssuedToken:
        """A token for a person, who must still have a role in some app; made with the token `parent`, if one is named,
        which must not have ended then."""
        if await self._has_role(person.id):
            return await self.issue(person, lifetime, parent)
        raise ActRefused(
            ActReason.UNKNOWN_DEVELOPER,
            "Nobody with this address has a role in any app; see 'gateway developers list'.",
        )

    async def issue(self, person: Person, lifetime: int = LIFETIME, parent: str | None = None) -> IssuedToken:
        """A token for a person, for `lifetime` milliseconds."""
        identifier = bytes.fromhex(person.id[:2]) + self.entropy(IDENTIFIER_BYTES - 1)
        token = mint(PREFIX, identifier, self.entropy(SECRET_BYTES))
        token_id = identifier.hex()
        wish = NewDeveloperToken(token_id, person.developer, verifier(token.reveal().encode("ascii")), lifetime, parent)
        named = (token_id,) if parent is None else (token_id, parent)
        done = await self._among(person.id, lambda seen: issue_token(seen, person.id, wish, self.who), *named)
        if not done.replicated:
            asked = Asked(person.id, items=(item_key(token_id),))
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
        """End a token now, and all that descend from it. `changes` is empty when they had been revoked before."""
        found = await self.find(token_id)
        if found is None:
            raise ActRefused(ActReason.UNKNOWN_TOKEN, "There is no developer's token with this id.")
        return await self._among(found.owner, lambda seen: revoke_token(seen, token_id, self.who), token_id)

    async def end_all(self, email: str) -> Done:
        """End every token that the person with this address has now, whether or not there is such a person. The items
        in `changes` are those that were ended."""
        return await self._among(person_id(normal_email(email)), lambda seen: end_tokens(seen, self.who))

    async def end_left(self, email: str) -> None:
        """End what tokens are left of a person who has no role in any app, so that none works again with the next role
        that is granted."""
        if not await self._has_role(person_id(normal_email(email))):
            await self.end_all(email)

    async def _has_role(self, owner: str) -> bool:
        async for each in self.store.developers():
            if person_id(each.email) == owner:
                return True
        return False

    async def _among(self, owner: str, decide: Decide, *named: str) -> Done:
        """Do what is about a person's tokens, with all of them in sight."""
        for _ in range(_TRIES):
            (seen,) = await self.store.look([Asked(owner, items=(newest_key(owner),))])
            whole = _all_seen(owner, seen.items.get(newest_key(owner)), decide)
            asked = asked_of(owner, [token async for token in self.all_of(owner)], seen.now, *named)
            with suppress(Moved):
                return await self._do(self.around(Act(asked, whole)))
        raise StoreUnavailable("The person's tokens are being changed too often; nothing was done. Try again.")

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


def _all_seen(owner: str, newest: Item | None, decide: Decide) -> Decide:
    def whole(seen: Snapshot) -> Changes:
        require_all_seen(seen, owner, newest)
        return decide(seen)

    return whole


def read(item: Item) -> DeveloperToken:
    """The token in an item of the store's. Raises `StoreBroken` when there is none in it."""
    try:
        return token_from(item)
    except ValueError as error:
        raise StoreBroken(f"The store is damaged: the item {item.id} is no developer's token.") from error
