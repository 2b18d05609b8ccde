"""Acts as the suite of the stores does them, each built by the rules of `gateway/core`; and how they are done."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

import pytest

from gateway.core import lifecycle, people
from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.ledger import Act, ActReason, ActRefused, Asked, Changes, Done, Snapshot, Who
from gateway.core.lifecycle import NewKey
from gateway.core.people import NewUserToken
from gateway.core.records import App, KeyRecord, RevokedWhy, Role, User, UserTokenRecord
from gateway.core.takings import Taking
from gateway.core.wishes import DAY
from gateway.store.contract import Store

WHO: Final = Who("tester", "suite")
NOTHING: Final = Changes()


def verifier_of(credential_id: str) -> bytes:
    """A verifier that only this id has."""
    return hashlib.sha256(credential_id.encode()).digest()


def apps(count: int) -> Iterator[App]:
    """Different apps."""
    return (App(f"{number % 256:02x}{number:022x}", "x" * 100, "eu") for number in range(count))


def asking(app_id: str) -> Asked:
    """What an act on an app asks for that wants nothing else."""
    return Asked(app_id)


def make_app(app: App) -> Act:
    """A new app."""
    return Act(Asked(app.id), lambda seen: lifecycle.create_app(seen, app, WHO))


def make_key(
    app_id: str,
    key_id: str,
    *,
    name: str = "a key",
    scopes: Iterable[str] = ("USER_READ",),
    lifetime: int = DAY,
    verifier: bytes | None = None,
) -> Act:
    """A new key."""
    wish = NewKey(key_id, verifier or verifier_of(key_id), name, frozenset(scopes), lifetime)
    return Act(Asked(app_id, keys=(key_id,)), lambda seen: lifecycle.create_key(seen, wish, WHO))


def rotate(app_id: str, key_id: str, new_id: str, *, shutdown: int = 7 * DAY) -> Act:
    """A successor."""
    wish = NewKey(new_id, verifier_of(new_id), "", frozenset(), 0)
    asked = Asked(app_id, keys=(key_id, new_id))
    return Act(asked, lambda seen: lifecycle.rotate_key(seen, key_id, wish, shutdown, WHO))


def rename(app_id: str, key_id: str, name: str) -> Act:
    """Another name."""
    return Act(Asked(app_id, keys=(key_id,)), lambda seen: lifecycle.rename_key(seen, key_id, name, WHO))


def revoke(app_id: str, key_id: str, why: RevokedWhy = RevokedWhy.REQUESTED) -> Act:
    """The end of a key."""
    return Act(Asked(app_id, keys=(key_id,)), lambda seen: lifecycle.revoke_key(seen, key_id, why, WHO))


def revoke_all(app_id: str) -> Act:
    """The end of every key of an app."""
    return Act(Asked(app_id), lambda seen: lifecycle.revoke_keys(seen, WHO))


def switch_app(app_id: str, *, disabled: bool) -> Act:
    """An app disabled or enabled."""
    return Act(Asked(app_id), lambda seen: lifecycle.switch_app(seen, WHO, disabled=disabled))


def make_token(
    app_id: str, token_id: str, user_id: str | None = None, external_id: str | None = None, *, new_user_id: str = ""
) -> Act:
    """A new user token, and its user unless there is one."""
    wish = NewUserToken(token_id, verifier_of(token_id), user_id, external_id, new_user_id, DAY)
    asked = Asked(app_id, user_id=user_id, external_id=external_id, tokens=(token_id,))
    return Act(asked, lambda seen: people.create_user_token(seen, wish, WHO))


def switch_user(app_id: str, user_id: str, *, disabled: bool) -> Act:
    """A user disabled or enabled."""
    return Act(Asked(app_id, user_id=user_id), lambda seen: people.switch_user(seen, user_id, WHO, disabled=disabled))


def end_user_tokens(app_id: str, user_id: str) -> Act:
    """The end of every token that a user has."""
    return Act(Asked(app_id, user_id=user_id), lambda seen: people.end_user_tokens(seen, user_id, WHO))


def end_app_tokens(app_id: str) -> Act:
    """The end of every user token of an app."""
    return Act(Asked(app_id), lambda seen: people.end_app_tokens(seen, WHO))


def grant(app_id: str, email: str, role: Role) -> Act:
    """A role for a person."""
    return Act(Asked(app_id, roles=True), lambda seen: people.grant(seen, email, role, WHO))


def remove(app_id: str, email: str) -> Act:
    """No role for a person."""
    return Act(Asked(app_id, roles=True), lambda seen: people.remove(seen, email, WHO))


def restore(taking: Taking, *, keys: tuple[str, ...] = (), tokens: tuple[str, ...] = ()) -> Act:
    """What was taken away, told anew."""
    asked = Asked(taking.app_id, keys=keys, user_id=taking.id, tokens=tokens)
    return Act(asked, lambda seen: people.restore(seen, taking, WHO))


def keep(
    app: App,
    *,
    keys: tuple[KeyRecord, ...] = (),
    users: tuple[User, ...] = (),
    tokens: tuple[UserTokenRecord, ...] = (),
) -> Act:
    """Records just as they are, as an import brings them: nothing where they are there already. At most one user."""
    asked = Asked(
        app.id,
        keys=tuple(key.id for key in keys),
        user_id=next((user.id for user in users), None),
        tokens=tuple(token.id for token in tokens),
    )

    def decide(seen: Snapshot) -> Changes:
        if seen.taken:
            raise ActRefused(ActReason.ID_TAKEN, "The id is taken.")
        changes = Changes(
            app=None if seen.app == app else app,
            keys=tuple(key for key in keys if seen.keys.get(key.id) != key),
            users=tuple(user for user in users if seen.users.get(user.id) != user),
            tokens=tuple(token for token in tokens if seen.tokens.get(token.id) != token),
        )
        event = AuditEvent(seen.now, AuditAction.STORE_IMPORTED, app.id, app.id, WHO.actor, WHO.source)
        return replace(changes, events=(event,)) if changes else changes

    return Act(asked, decide)


async def do(store: Store, *acts: Act) -> list[Done]:
    """What came of acts, none of which is refused, kept in one call."""
    results = await store.act(acts)
    for result in results:
        if isinstance(result, ActRefused):
            raise result
    assert len(results) == len(acts)
    return [result for result in results if isinstance(result, Done)]


async def refused(store: Store, act: Act, reason: ActReason) -> None:
    """The act is refused, for this reason."""
    with pytest.raises(ActRefused) as refusal:
        await do(store, act)
    assert refusal.value.reason is reason


async def look(store: Store, app_id: str, **asked: object) -> Snapshot:
    """What an act would see of an app."""
    (seen,) = await store.look([Asked(app_id, **asked)])  # type: ignore[arg-type]
    return seen
