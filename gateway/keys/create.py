"""Making apps, keys and user tokens: what is asked for is judged whole, then kept with its audit event.

Times are UTC milliseconds. The time and the randomness are arguments; `entropy(n)` gives n random bytes.
"""

import re
import unicodedata
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from typing import Final

from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.records import App, KeyRecord, User, UserTokenRecord
from gateway.core.token import IDENTIFIER_BYTES, SECRET_BYTES, Prefixes, Secret, mint, verifier
from gateway.store.contract import Conflict, Store

Entropy = Callable[[int], bytes]

DAY: Final = 24 * 60 * 60 * 1000
KEY_LIFETIME: Final = 365 * DAY
USER_TOKEN_LIFETIME: Final = 7 * DAY
LONGEST_LIFETIME: Final = 366 * DAY  # "at most a year away", and a year may have a leap day

LONGEST_NAME: Final = 100  # code points, so that lists and logs stay readable
ID_BYTES: Final = 12  # of apps and users: written as 24 hex digits

_USER_ID: Final = re.compile(r"[!-~]{1,128}\Z")
_EXTERNAL_ID: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,256}\Z")
# What would break a line of a list (control characters, line and paragraph separators), cannot be written (surrogates),
# or makes a name read as another: the embeddings, overrides and isolates of the bidirectional algorithm (UAX 9, 2).
_BREAKING: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_REORDERING: Final = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


class CannotCreate(Exception):
    """What was asked for cannot be made; `sentences` holds everything that is wrong with it."""

    def __init__(self, *sentences: str) -> None:
        super().__init__(" ".join(sentences))
        self.sentences = sentences


async def create_app(
    store: Store,
    name: str,
    region: str,
    *,
    regions: Collection[str],
    now: int,
    entropy: Entropy,
    actor: str = "gateway",
) -> App:
    """A new app in one of `regions`."""
    name = unicodedata.normalize("NFC", name)
    _require(_name_faults(name), _region_faults(region, regions))
    app = App(entropy(ID_BYTES).hex(), name, region)
    await _kept(store.create_app(app, AuditEvent(now, AuditAction.APP_CREATED, app.id, app.id, actor)))
    return app


async def create_key(
    store: Store,
    app_id: str,
    name: str,
    scopes: Collection[str],
    *,
    known_scopes: Collection[str],
    now: int,
    entropy: Entropy,
    prefixes: Prefixes,
    expires_at: int | None = None,
    actor: str = "gateway",
) -> tuple[KeyRecord, Secret]:
    """A new key of an app, and its token, which is kept nowhere and cannot be had again."""
    name = unicodedata.normalize("NFC", name)
    end = now + KEY_LIFETIME if expires_at is None else expires_at
    _require(
        await _app_faults(store, app_id),
        _name_faults(name),
        _scope_faults(scopes, known_scopes),
        _lifetime_faults(end - now),
    )
    identifier = _id_of(app_id, IDENTIFIER_BYTES, entropy)
    token = mint(prefixes.key, identifier, entropy(SECRET_BYTES))
    record = KeyRecord(identifier.hex(), app_id, name, frozenset(scopes), _verifier(token), now, end)
    await _kept(store.create_key(record, AuditEvent(now, AuditAction.KEY_CREATED, app_id, record.id, actor)))
    return record, token


async def create_user_token(
    store: Store,
    app_id: str,
    *,
    external_id: str | None = None,
    user_id: str | None = None,
    now: int,
    entropy: Entropy,
    prefixes: Prefixes,
    lifetime: int = USER_TOKEN_LIFETIME,
    actor: str = "gateway",
) -> tuple[User, UserTokenRecord, Secret]:
    """A new token for the user of an app with this id or external id, a new user if there is none, and the token.

    A user made here has the id that was given, which is to be the one the upstream knows, or a new one.
    """
    _require(await _app_faults(store, app_id), _user_faults(user_id, external_id), _lifetime_faults(lifetime))
    user = await _find_user(store, app_id, user_id, external_id)
    if user is None:
        user = User(user_id or _id_of(app_id, ID_BYTES, entropy).hex(), app_id, external_id)
    identifier = _id_of(app_id, IDENTIFIER_BYTES, entropy)
    token = mint(prefixes.user, identifier, entropy(SECRET_BYTES))
    record = UserTokenRecord(identifier.hex(), app_id, user.id, _verifier(token), now, now + lifetime)
    event = AuditEvent(now, AuditAction.USER_TOKEN_CREATED, app_id, record.id, actor)
    await _kept(store.create_user_token(user, record, event))
    return user, record, token


async def _find_user(store: Store, app_id: str, user_id: str | None, external_id: str | None) -> User | None:
    """The one user that both ids mean, as far as they are given."""
    by_id = None if user_id is None else await store.find_user(app_id, user_id)
    by_external = None if external_id is None else await store.find_external_user(app_id, external_id)
    if by_external is not None and user_id not in {None, by_external.id}:
        raise CannotCreate(f"The external id belongs to another user of the app, {by_external.id}.")
    if by_id is not None and external_id not in {None, by_id.external_id}:
        raise CannotCreate(f"The user {by_id.id} has another external id, or none.")
    return by_id or by_external


async def _kept(creation: Awaitable[None]) -> None:
    try:
        await creation
    except Conflict as error:
        raise CannotCreate("Somebody else made the same at this moment; try again.") from error


def _id_of(app_id: str, size: int, entropy: Entropy) -> bytes:
    """A new id that begins with its app's first byte, so that a store split by it finds all of an app in one place."""
    return bytes.fromhex(app_id[:2]) + entropy(size - 1)


def _verifier(token: Secret) -> bytes:
    return verifier(token.reveal().encode("ascii"))


def _require(*faults: Iterable[str]) -> None:
    found = [sentence for sentences in faults for sentence in sentences]
    if found:
        raise CannotCreate(*found)


async def _app_faults(store: Store, app_id: str) -> Iterable[str]:
    known = app_id.isascii() and await store.find_app(app_id) is not None
    return () if known else (f"There is no app with the id {app_id!r}.",)


def _region_faults(region: str, regions: Collection[str]) -> Iterable[str]:
    return () if region in regions else (f"There is no region {region!r}; there are {_listed(regions)}.",)


def _name_faults(name: str) -> Iterator[str]:
    if not 0 < len(name) <= LONGEST_NAME:
        yield f"A name has 1 to {LONGEST_NAME} characters; this one has {len(name)}."
    if any(unicodedata.category(sign) in _BREAKING or unicodedata.bidirectional(sign) in _REORDERING for sign in name):
        yield "A name has no control characters, and none that change the direction of writing."


def _scope_faults(scopes: Collection[str], known: Collection[str]) -> Iterator[str]:
    if not scopes:
        yield f"A key needs at least one scope; there are {_listed(known)}."
    for scope in sorted(set(scopes) - set(known)):
        yield f"There is no scope {scope!r}; there are {_listed(known)}."


def _lifetime_faults(lifetime: int) -> Iterable[str]:
    return () if 0 < lifetime <= LONGEST_LIFETIME else ("The end is to lie in the future, at most 366 days away.",)


def _user_faults(user_id: str | None, external_id: str | None) -> Iterator[str]:
    if user_id is not None and not _USER_ID.match(user_id):
        yield "A user id has 1 to 128 visible ASCII characters."
    if external_id is not None and not _EXTERNAL_ID.match(external_id):
        yield "An external id has 1 to 256 characters, none of them a control character."


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
