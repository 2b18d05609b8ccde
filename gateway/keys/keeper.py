"""Makes and ends apps, keys, users: what is wished for is checked for its form, minted, and kept by an act.

Every method raises `ActRefused` with a sentence for people, and `StoreUnavailable` when it was not done, or nobody
knows. A token is returned once, after the store has its record for good; nothing keeps it.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.core import deletion, lifecycle, people
from gateway.core import families as family_rules
from gateway.core.families import DEFAULT_RULES, TokenRules, Unseen, families_key
from gateway.core.ledger import Act, ActReason, ActRefused, Asked, Changes, Decide, Done, Snapshot, Who
from gateway.core.lifecycle import NewKey
from gateway.core.people import NewUserToken
from gateway.core.records import App, KeyRecord, RevokedWhy, Role, User, UserTokenRecord
from gateway.core.token import IDENTIFIER_BYTES, SECRET_BYTES, Prefixes, Secret, mint, verifier
from gateway.core.wishes import (
    KEY_LIFETIME,
    SHUTDOWN,
    email_faults,
    lifetime_faults,
    name_faults,
    normal_email,
    normal_name,
    region_faults,
    scope_faults,
    shutdown_faults,
    user_faults,
)
from gateway.keys.developer_tokens import TokenDesk
from gateway.store.contract import Store, StoreBroken, StoreUnavailable

ID_BYTES: Final = 12  # of apps and users: written as 24 hex digits

_APP_ID: Final = re.compile(r"[0-9a-f]{24}\Z")
_NO_APP_ID: Final = "0" * 2 * ID_BYTES  # which nobody ever draws
_KEY_ID: Final = re.compile(r"[0-9a-f]{8,64}\Z")

# How often an act about a user's tokens is tried anew as others changed them meanwhile; each time one of them was done.
_TRIES: Final = 100


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A new key, and its token."""

    record: KeyRecord
    token: Secret


@dataclass(frozen=True, slots=True)
class Rotated:
    """A successor with its token, and the key it succeeds, as both are now."""

    record: KeyRecord
    token: Secret
    predecessor: KeyRecord
    done: Done


@dataclass(frozen=True, slots=True)
class MadeUserToken:
    """A new user token, whose it is, and its text."""

    user: User
    record: UserTokenRecord
    token: Secret


@dataclass(frozen=True, slots=True)
class Keeper:
    """Makes and ends apps, keys, users: wishes checked, minted, kept."""

    store: Store
    who: Who
    entropy: Callable[[int], bytes] = field(repr=False)
    prefixes: Prefixes
    rules: TokenRules = DEFAULT_RULES
    around: Callable[[Act], Act] = lambda act: act  # what a caller wants to see done with each act, in the same one

    # Apps

    async def create_app(self, name: str, region: str, *, regions: Collection[str], account: str = "") -> App:
        """A new app in one of `regions`; `account` is a name too, or empty."""
        name, account = normal_name(name), normal_name(account)
        _require(name_faults(name), name_faults(account) if account else (), region_faults(region, regions))
        app = App(self.entropy(ID_BYTES).hex(), name, region, account)
        asked = Asked(app.id)
        done = await self._do(asked, lambda seen: lifecycle.create_app(seen, app, self.who))
        if not done.replicated:
            ended = await self.undo(asked, lambda seen: lifecycle.switch_app(seen, self.who, disabled=True))
            raise _unconfirmed("The app", ended=ended)
        return app

    async def switch_app(self, app_id: str, *, disabled: bool) -> Done:
        """Disable or enable an app. `changes` is empty when it was so before."""
        return await self._do(Asked(app_id), lambda seen: lifecycle.switch_app(seen, self.who, disabled=disabled))

    # Keys

    async def create_key(
        self,
        app_id: str,
        name: str,
        scopes: Collection[str],
        *,
        known_scopes: Collection[str],
        lifetime: int = KEY_LIFETIME,
        expires_at: int | None = None,
    ) -> MadeKey:
        """A new key of an app, for `lifetime` milliseconds, or else until `expires_at`."""
        name = normal_name(name)
        if expires_at is not None:
            lifetime = expires_at - (await self._look(app_id)).now
        await self._require(app_id, name_faults(name), scope_faults(scopes, known_scopes), lifetime_faults(lifetime))
        wish, token = self._new_key(app_id, name, frozenset(scopes), lifetime)
        wish = replace(wish, expires_at=expires_at)
        done = await self._do(Asked(app_id, keys=(wish.id,)), lambda seen: lifecycle.create_key(seen, wish, self.who))
        if not done.replicated:
            raise _unconfirmed("The key", ended=await self._end_unconfirmed(app_id, wish.id))
        return MadeKey(_key_in(done.changes, wish.id), token)

    async def rotate_key(
        self, key_id: str, *, shutdown: int = SHUTDOWN, scopes: Collection[str] | None = None
    ) -> Rotated:
        """A successor of a key, which itself goes on for `shutdown` milliseconds, or ends now for 0. With `scopes` it
        holds those only, which must be some of the key's."""
        _require(shutdown_faults(shutdown))
        app_id = (await self._key(key_id)).app_id
        if scopes is not None and not scopes:
            raise ActRefused(ActReason.WISH_INVALID, "A key needs at least one scope.")
        wish, token = self._new_key(app_id, scopes=frozenset(scopes or ()))
        asked = Asked(app_id, keys=(key_id, wish.id))
        done = await self._do(asked, lambda seen: lifecycle.rotate_key(seen, key_id, wish, shutdown, self.who))
        predecessor = _key_in(done.changes, key_id)
        if not done.replicated:
            ended = await self._end_unconfirmed(app_id, wish.id)
            raise _unconfirmed("The successor", ended=ended, more=_what_remains(predecessor), partly=True)
        return Rotated(_key_in(done.changes, wish.id), token, predecessor, done)

    async def rename_key(self, key_id: str, name: str) -> KeyRecord:
        """The key with another name."""
        name = normal_name(name)
        _require(name_faults(name))
        before = await self._key(key_id)
        asked = Asked(before.app_id, keys=(key_id,))
        done = await self._do(asked, lambda seen: lifecycle.rename_key(seen, key_id, name, self.who))
        return _key_in(done.changes, key_id) if done.changes else replace(before, name=name)

    async def revoke_key(self, key_id: str, why: RevokedWhy = RevokedWhy.REQUESTED) -> Done:
        """End a key now. `changes` is empty when it had been revoked before."""
        asked = Asked((await self._key(key_id)).app_id, keys=(key_id,))
        return await self._do(asked, lambda seen: lifecycle.revoke_key(seen, key_id, why, self.who))

    async def revoke_keys(self, app_id: str) -> Done:
        """End every key of an app; `changes.keys` are those that worked until now."""
        return await self._do(Asked(app_id), lambda seen: lifecycle.revoke_keys(seen, self.who))

    # Users

    async def create_user_token(
        self, app_id: str, *, external_id: str | None = None, user_id: str | None = None
    ) -> MadeUserToken:
        """A new token for the user of an app with this id or external id, or for a new user if there is none.

        A user made here has the id that was given, which is to be the one the upstream knows, or a new one.
        """
        await self._require(app_id, user_faults(user_id, external_id))
        wish, token = self.new_user_token(app_id, user_id, external_id)
        asked = self.asked_of(app_id, wish)
        decide = lambda seen, asked: family_rules.issue(seen, asked, wish, self.rules, self.who)  # noqa: E731
        return await self.made_user_token(await self.do_of_user(asked, decide), app_id, wish.id, token)

    async def add_user_token(self, app_id: str, user_id: str) -> MadeUserToken:
        """A new token for a user who is there: a mistyped id makes nobody."""
        await self._require(app_id, user_faults(user_id, None))
        if not _APP_ID.match(app_id):
            raise _no_app(app_id)
        people.the_user((await self.store.look([Asked(app_id, user_id=user_id)]))[0], user_id)
        return await self.create_user_token(app_id, user_id=user_id)

    async def switch_user(self, app_id: str, user_id: str, *, disabled: bool, unknown_too: bool = False) -> Done:
        """Disable or enable a user. `changes` is empty when it was so before. With `unknown_too` also a user of another
        issuer's, who is not known here yet."""
        await self._require(app_id, user_faults(user_id, None))
        asked = Asked(app_id, user_id=user_id)
        return await self._do(
            asked,
            lambda seen: people.switch_user(seen, user_id, self.who, disabled=disabled, unknown_too=unknown_too),
        )

    async def end_user_tokens(self, app_id: str, user_id: str) -> Done:
        """End every token that a user has now."""
        await self._require(app_id, user_faults(user_id, None))
        asked = Asked(app_id, user_id=user_id)
        return await self._do(asked, lambda seen: people.end_user_tokens(seen, user_id, self.who))

    async def delete_user(self, app_id: str, user_id: str) -> Done:
        """End a user for good, a tombstone left, whether or not the store knows of it. `changes` is empty when it had
        been deleted before."""
        await self._require(app_id, user_faults(user_id, None))
        return await self._do(
            deletion.asked_of(app_id, user_id), lambda seen: deletion.delete_user(seen, user_id, self.who)
        )

    async def end_app_tokens(self, app_id: str) -> Done:
        """End every token that any user of an app has now."""
        return await self._do(Asked(app_id), lambda seen: people.end_app_tokens(seen, self.who))

    # How user tokens are made, wherever they are asked for

    def new_user_token(self, app_id: str, user_id: str | None, external_id: str | None) -> tuple[NewUserToken, Secret]:
        """A token as it is wished for, and its text."""
        new_user_id = self._id_of(app_id, ID_BYTES).hex()
        token_id, token = self.minted_user_token(app_id)
        wish = NewUserToken(token_id, verifier_of(token), user_id, external_id, new_user_id, self.rules.lifetime)
        return wish, token

    def minted_user_token(self, app_id: str) -> tuple[str, Secret]:
        """The id and the text of a token that nobody has yet."""
        return self._minted(self.prefixes.user, app_id)

    def asked_of(self, app_id: str, wish: NewUserToken) -> Asked:
        """What the making of a token looks at first."""
        user_id = wish.user_id or wish.new_user_id
        items = (families_key(app_id, user_id),)
        return Asked(app_id, user_id=user_id, external_id=wish.external_id, tokens=(wish.id,), items=items)

    async def do_of_user(self, asked: Asked, decide: Callable[[Snapshot, Asked], Changes]) -> Done:
        """Do what is about a user's tokens, looking at as many of them as it turns out to need."""
        for _ in range(_TRIES):
            try:
                return await self._do(asked, lambda seen, asked=asked: _whole(decide, seen, asked))  # type: ignore[misc]
            except Unseen as unseen:
                asked = unseen.widened(asked)
        raise StoreUnavailable("The user's tokens are being changed too often; nothing was done.")

    async def made_user_token(self, done: Done, app_id: str, token_id: str, token: Secret) -> MadeUserToken:
        """The token that was made, once it is sure to last; else it is ended again, as nobody was given it."""
        if not done.replicated:
            asked, why = Asked(app_id, tokens=(token_id,)), RevokedWhy.UNCONFIRMED
            ended = await self.undo(asked, lambda seen: people.revoke_user_token(seen, token_id, why, self.who))
            older = " The user's oldest device may have lost its place." if len(done.changes.tokens) > 1 else ""
            raise _unconfirmed("The token", ended=ended, more=older, partly=bool(older))
        found = await self.store.find_user_token(token_id)
        if found is None:
            raise StoreUnavailable("The store has lost a token that it had just kept; nobody was given it.")
        return MadeUserToken(found.user, found.record, token)

    # Developers

    async def grant(self, app_id: str, email: str, role: Role) -> Done:
        """Give a person a role in an app, instead of the one before."""
        email = normal_email(email)
        await self._require(app_id, email_faults(email))
        await TokenDesk(self.store, self.who).end_left(email)  # from before the last role was taken
        return await self._do(Asked(app_id, roles=True), lambda seen: people.grant(seen, email, role, self.who))

    async def remove(self, app_id: str, email: str) -> Done:
        """Take a person's role in an app; with the last one, the person's developers' tokens end."""
        email = normal_email(email)
        await self._require(app_id, email_faults(email))
        done = await self._do(Asked(app_id, roles=True), lambda seen: people.remove(seen, email, self.who))
        with suppress(StoreUnavailable):  # then they are of no use, and end before a role is granted again
            await TokenDesk(self.store, self.who).end_left(email)
        return done

    # How each of them is done

    async def _do(self, asked: Asked, decide: Decide) -> Done:
        if not _APP_ID.match(asked.app_id):
            raise _no_app(asked.app_id)
        act = self.around(Act(asked, decide))
        try:
            return await self._once(act)
        except StoreUnavailable as error:
            if not error.unknown:
                raise
            # Perhaps it was done, and only the answer lost. What was done is not done twice.
            return await self._asked_again(act, error)

    async def _once(self, act: Act) -> Done:
        (outcome,) = await self.store.act([act])
        if isinstance(outcome, ActRefused):
            raise outcome
        return outcome

    async def _asked_again(self, act: Act, lost: StoreUnavailable) -> Done:
        try:
            return await self._once(act)
        except StoreUnavailable as error:
            sentence = f"{lost} Nobody can tell whether it was done: look before you try again."
            raise StoreUnavailable(sentence, unknown=True) from error

    async def undo(self, asked: Asked, decide: Decide) -> bool:
        """Whether what was given to nobody could be ended again."""
        with suppress(StoreUnavailable, ActRefused):
            await self._once(Act(asked, decide))
            return True
        return False

    async def _end_unconfirmed(self, app_id: str, key_id: str) -> bool:
        why = RevokedWhy.UNCONFIRMED
        return await self.undo(
            Asked(app_id, keys=(key_id,)), lambda seen: lifecycle.revoke_key(seen, key_id, why, self.who)
        )

    async def _require(self, app_id: str, *faults: Iterable[str]) -> None:
        """Refuse a faulty wish with everything that is wrong with it, an unknown app too."""
        sentences = list(_sentences(*faults))
        if sentences and (await self._look(app_id)).app is None:
            sentences.insert(0, _no_app(app_id).message)
        _require(sentences)

    async def _look(self, app_id: str) -> Snapshot:
        # An id that cannot be any is not asked for: nobody knows in which part of a store it would be.
        (seen,) = await self.store.look([Asked(app_id if _APP_ID.match(app_id) else _NO_APP_ID)])
        return seen

    async def _key(self, key_id: str) -> KeyRecord:
        found = await self.store.find_key(key_id) if _KEY_ID.match(key_id) else None
        if found is None:
            raise ActRefused(ActReason.UNKNOWN_KEY, f"There is no key with the id {key_id!r}; see 'gateway keys list'.")
        return found.record

    def _new_key(
        self, app_id: str, name: str = "", scopes: frozenset[str] = frozenset(), lifetime: int = 0
    ) -> tuple[NewKey, Secret]:
        key_id, token = self._minted(self.prefixes.key, app_id)
        return NewKey(key_id, verifier_of(token), name, scopes, lifetime), token

    def _minted(self, prefix: str, app_id: str) -> tuple[str, Secret]:
        identifier = self._id_of(app_id, IDENTIFIER_BYTES)
        return identifier.hex(), mint(prefix, identifier, self.entropy(SECRET_BYTES))

    def _id_of(self, app_id: str, size: int) -> bytes:
        """A new id that begins with its app's first byte: a store that is split by it has all of an app in one
        place."""
        if not _APP_ID.match(app_id):
            raise _no_app(app_id)
        return bytes.fromhex(app_id[:2]) + self.entropy(size - 1)


def _require(*faults: Iterable[str]) -> None:
    sentences = list(_sentences(*faults))
    if sentences:
        raise ActRefused(ActReason.WISH_INVALID, " ".join(sentences))


def _sentences(*faults: Iterable[str]) -> Iterator[str]:
    return (sentence for found in faults for sentence in found)


def _no_app(app_id: str) -> ActRefused:
    return ActRefused(ActReason.UNKNOWN_APP, f"There is no app with the id {app_id!r}; see 'gateway apps list'.")


def _unconfirmed(what: str, *, ended: bool, more: str = "", partly: bool = False) -> StoreUnavailable:
    """That something was taken back, as no replica has it; `partly` when not all of the act could be."""
    fate = "was ended again" if ended else "may stand in lists until it is ended; nobody was given its token"
    return StoreUnavailable(
        f"{what} was not made: no replica of the store confirmed in time that it would last. What there is of it"
        f" {fate}.{more} Try again once the replicas answer.",
        unknown=partly,
        taken_back=True,
    )


def _what_remains(key: KeyRecord) -> str:
    if key.revoked_at is not None:
        return f" The key {key.id} has ended all the same; create a new one."
    return (
        f" The key {key.id} works until its shutdown time all the same, and cannot be rotated again; create a new one."
    )


def _key_in(changes: Changes, key_id: str) -> KeyRecord:
    return next(key for key in changes.keys if key.id == key_id)


def _whole(decide: Callable[[Snapshot, Asked], Changes], seen: Snapshot, asked: Asked) -> Changes:
    """What is decided. Raises `StoreBroken` when an item that was seen is none of ours."""
    try:
        return decide(seen, asked)
    except ValueError as error:
        raise StoreBroken(f"The store is damaged: {error}.") from error


def verifier_of(token: Secret) -> bytes:
    """What is kept of a token."""
    return verifier(token.reveal().encode("ascii"))
