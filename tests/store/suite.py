"""What every store must do, whatever it keeps its data in. Each check's docstring says what would break for a user."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import pytest

from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.records import App, KeyRecord, User, UserTokenRecord
from gateway.store.contract import Conflict, FoundKey, FoundUserToken, Store


@dataclass(frozen=True, slots=True)
class Place:
    """Where the data of one check lives: any number of stores can be opened on it, and its audit be read."""

    open: Callable[[], Store]
    events: Callable[[], list[AuditEvent]]


Check = Callable[[Place], Awaitable[None]]

APP: Final = App("5a0000000000000000000a01", "demo", "eu")
OTHER_APP: Final = App("5a0000000000000000000a02", 'O\'Neill & "søn" 株式会社', "us")
USER: Final = User("5a93deb3d8e7d90600001e6f", APP.id, "customer-17")
KEY: Final = KeyRecord(
    "5a00000000000001", APP.id, "nightly export", frozenset({"USER_READ", "USER_LINK"}), b"k" * 32, 1000, 2000
)
TOKEN: Final = UserTokenRecord("5a00000000000002", APP.id, USER.id, b"t" * 32, 1001, 2001)


def event(action: AuditAction, subject: str, *, app: str = APP.id, at: int = 1000) -> AuditEvent:
    """An audit event by a tester."""
    return AuditEvent(at, action, app, subject, "tester")


APP_MADE: Final = event(AuditAction.APP_CREATED, APP.id)
OTHER_MADE: Final = event(AuditAction.APP_CREATED, OTHER_APP.id, app=OTHER_APP.id)
KEY_MADE: Final = event(AuditAction.KEY_CREATED, KEY.id)
USER_MADE: Final = event(AuditAction.USER_CREATED, USER.id)
TOKEN_MADE: Final = event(AuditAction.USER_TOKEN_CREATED, TOKEN.id)
KEY_REVOKED: Final = event(AuditAction.KEY_REVOKED, KEY.id, at=1500)


@asynccontextmanager
async def opened(place: Place) -> AsyncIterator[Store]:
    """A store on the place, closed at the end."""
    store = place.open()
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def filled(place: Place) -> AsyncIterator[Store]:
    """A store with two apps, a key, a user and a user token."""
    async with opened(place) as store:
        await store.create_app(APP, APP_MADE)
        await store.create_app(OTHER_APP, OTHER_MADE)
        await store.create_key(KEY, KEY_MADE)
        await store.create_user_token(USER, TOKEN, TOKEN_MADE)
        yield store


async def check_what_was_created_is_found(place: Place) -> None:
    """A credential that was handed out would not work, or with other rights than were given."""
    async with filled(place) as store:
        assert await store.find_app(APP.id) == APP
        assert await store.find_app(OTHER_APP.id) == OTHER_APP
        assert await store.find_key(KEY.id) == FoundKey(KEY, APP)
        assert await store.find_user_token(TOKEN.id) == FoundUserToken(TOKEN, USER, APP)
        assert await store.find_user(APP.id, USER.id) == USER
        assert await store.find_external_user(APP.id, "customer-17") == USER


async def check_what_was_not_created_is_not_found(place: Place) -> None:
    """A made-up id would find somebody's record: its neighbour's, the other kind's, or that of another app."""
    made_up = ["", "0" * 16, "5a00000000000000", "5a00000000000003", "f" * 16, "5A00000000000001", "' OR 1=1 --", "%"]
    async with opened(place) as store:
        assert await store.find_key(KEY.id) is None
        assert await store.find_user_token(TOKEN.id) is None
        assert await store.find_app(APP.id) is None
    async with filled(place) as store:
        for identifier in made_up:
            assert await store.find_key(identifier) is None
            assert await store.find_user_token(identifier) is None
            assert await store.find_app(identifier) is None
            assert await store.find_user(APP.id, identifier) is None
            assert await store.find_external_user(APP.id, identifier) is None
            assert await store.last_used(identifier) is None
        assert await store.find_key(TOKEN.id) is None
        assert await store.find_user_token(KEY.id) is None
        assert await store.find_user(OTHER_APP.id, USER.id) is None
        assert await store.find_external_user(OTHER_APP.id, "customer-17") is None


async def check_all_is_there_after_a_restart(place: Place) -> None:
    """Keys would be lost, or revoked ones revived, by starting the gateway anew."""
    async with filled(place) as store:
        assert await store.revoke_key(KEY.id, 1500, KEY_REVOKED)
        await store.note_used({KEY.id: 1400})
        revision = store.revision()
    async with opened(place) as store:
        found = await store.find_key(KEY.id)
        assert found is not None
        assert found.record.revoked_at == 1500
        assert await store.find_user_token(TOKEN.id) == FoundUserToken(TOKEN, USER, APP)
        assert await store.last_used(KEY.id) == 1400
        assert store.revision() == revision


async def check_each_change_has_its_event(place: Place) -> None:
    """An auditor could not tell who had made or ended a credential."""
    async with filled(place) as store:
        await store.revoke_key(KEY.id, 1500, KEY_REVOKED)
    assert place.events() == [APP_MADE, OTHER_MADE, KEY_MADE, USER_MADE, TOKEN_MADE, KEY_REVOKED]


async def check_a_taken_id_is_refused(place: Place) -> None:
    """A second credential would take the place of one that somebody uses."""
    async with filled(place) as store:
        creations = [
            store.create_app(App(APP.id, "again", "us"), APP_MADE),
            store.create_key(KeyRecord(KEY.id, APP.id, "again", frozenset(), b"x" * 32, 1, 2), KEY_MADE),
            store.create_key(KeyRecord(KEY.id, OTHER_APP.id, "again", frozenset(), b"x" * 32, 1, 2), KEY_MADE),
            store.create_key(KeyRecord(TOKEN.id, APP.id, "a token's", frozenset(), b"x" * 32, 1, 2), KEY_MADE),
            store.create_user_token(USER, UserTokenRecord(TOKEN.id, APP.id, USER.id, b"x" * 32, 1, 2), TOKEN_MADE),
            store.create_user_token(USER, UserTokenRecord(KEY.id, APP.id, USER.id, b"x" * 32, 1, 2), TOKEN_MADE),
        ]
        await refused(place, *creations)
        assert await store.find_app(APP.id) == APP
        assert await store.find_key(KEY.id) == FoundKey(KEY, APP)
        assert await store.find_user_token(TOKEN.id) == FoundUserToken(TOKEN, USER, APP)


async def check_nothing_belongs_to_an_unknown_app(place: Place) -> None:
    """A key would belong to nobody, so that nobody could end it."""
    missing = "5a0000000000000000000fff"
    lost = User("5a93deb3d8e7d90600000001", missing)
    async with filled(place) as store:
        await refused(
            place,
            store.create_key(KeyRecord("5a00000000000009", missing, "key", frozenset(), b"x" * 32, 1, 2), KEY_MADE),
            store.create_user_token(
                lost, UserTokenRecord("5a0000000000000a", missing, lost.id, b"x" * 32, 1, 2), TOKEN_MADE
            ),
        )
        assert await store.find_user(missing, lost.id) is None


async def check_an_external_id_is_one_user(place: Place) -> None:
    """A customer would be two users, each with half of the data."""
    double = User("5a93deb3d8e7d90600000001", APP.id, "customer-17")
    async with filled(place) as store:
        await refused(
            place,
            store.create_user_token(
                double, UserTokenRecord("5a0000000000000a", APP.id, double.id, b"x" * 32, 1, 2), TOKEN_MADE
            ),
        )
        assert await store.find_user(APP.id, double.id) is None
        elsewhere = User("5a93deb3d8e7d90600000001", OTHER_APP.id, "customer-17")
        token = UserTokenRecord("5a0000000000000b", OTHER_APP.id, elsewhere.id, b"x" * 32, 1, 2)
        await store.create_user_token(elsewhere, token, TOKEN_MADE)
        assert await store.find_external_user(OTHER_APP.id, "customer-17") == elsewhere
        assert await store.find_external_user(APP.id, "customer-17") == USER


async def check_a_user_has_many_tokens(place: Place) -> None:
    """A second device of a user could not be let in, or would become another user."""
    second = UserTokenRecord("5a0000000000000a", APP.id, USER.id, b"x" * 32, 1, 2)
    async with filled(place) as store:
        await store.create_user_token(User(USER.id, APP.id, "ignored: the user exists"), second, TOKEN_MADE)
        assert await store.find_user_token(second.id) == FoundUserToken(second, USER, APP)
        assert await store.find_user_token(TOKEN.id) == FoundUserToken(TOKEN, USER, APP)
        assert place.events().count(USER_MADE) == 1


async def check_users_without_external_id_are_apart(place: Place) -> None:
    """Only one user of an app could be without an external id."""
    async with filled(place) as store:
        for number in range(3):
            user = User(f"5a93deb3d8e7d9060000000{number}", APP.id)
            token = UserTokenRecord(f"5a0000000000001{number}", APP.id, user.id, b"x" * 32, 1, 2)
            await store.create_user_token(user, token, TOKEN_MADE)
            assert await store.find_user(APP.id, user.id) == user


async def check_a_revocation_ends_a_key(place: Place) -> None:
    """A leaked key would go on working after it was revoked."""
    async with filled(place) as store:
        before = store.revision()
        assert await store.revoke_key(KEY.id, 1500, KEY_REVOKED)
        assert store.revision() > before
        found = await store.find_key(KEY.id)
        assert found is not None
        assert found.record.revoked_at == 1500


async def check_an_end_only_moves_nearer(place: Place) -> None:
    """A second revocation would give a revoked key some more time."""
    async with filled(place) as store:
        for at, changes, end in [(1500, True, 1500), (1500, False, 1500), (1600, False, 1500), (1400, True, 1400)]:
            before = (store.revision(), len(place.events()))
            assert await store.revoke_key(KEY.id, at, KEY_REVOKED) is changes
            found = await store.find_key(KEY.id)
            assert found is not None
            assert found.record.revoked_at == end
            assert (store.revision() > before[0], len(place.events()) - before[1]) == (changes, int(changes))


async def check_an_app_is_disabled_and_enabled(place: Place) -> None:
    """A customer's access could not be stopped, or not be given back."""
    async with filled(place) as store:
        await stopped_and_restarted(
            place,
            store,
            lambda disabled, what: store.set_app_disabled(APP.id, disabled, what),
            (AuditAction.APP_DISABLED, AuditAction.APP_ENABLED, APP.id),
        )
        disabled = event(AuditAction.APP_DISABLED, APP.id)
        assert await store.set_app_disabled(APP.id, True, disabled)
        found = await store.find_key(KEY.id)
        token = await store.find_user_token(TOKEN.id)
        assert found is not None
        assert token is not None
        assert found.app.disabled
        assert token.app.disabled
        assert await store.find_app(OTHER_APP.id) == OTHER_APP


async def check_a_user_is_disabled_and_enabled(place: Place) -> None:
    """A user's access could not be stopped, or not be given back, or another app's user would be stopped."""
    async with filled(place) as store:
        twin = User(USER.id, OTHER_APP.id)
        token = UserTokenRecord("5a0000000000000b", OTHER_APP.id, twin.id, b"x" * 32, 1, 2)
        await store.create_user_token(twin, token, TOKEN_MADE)
        await stopped_and_restarted(
            place,
            store,
            lambda disabled, what: store.set_user_disabled(APP.id, USER.id, disabled, what),
            (AuditAction.USER_DISABLED, AuditAction.USER_ENABLED, USER.id),
        )
        assert await store.set_user_disabled(APP.id, USER.id, True, event(AuditAction.USER_DISABLED, USER.id))
        found = await store.find_user_token(TOKEN.id)
        assert found is not None
        assert found.user.disabled
        assert not found.app.disabled
        assert await store.find_user(OTHER_APP.id, USER.id) == twin


async def check_nothing_is_taken_from_the_unknown(place: Place) -> None:
    """A mistyped id would be reported as revoked while the key goes on working."""
    async with filled(place) as store:
        before = (store.revision(), place.events())
        assert not await store.revoke_key("5a00000000000009", 1500, KEY_REVOKED)
        assert not await store.revoke_key(TOKEN.id, 1500, KEY_REVOKED)
        assert not await store.set_app_disabled("5a0000000000000000000fff", True, APP_MADE)
        assert not await store.set_user_disabled(OTHER_APP.id, USER.id, True, USER_MADE)
        assert (store.revision(), place.events()) == before


async def check_only_taking_away_moves_the_revision(place: Place) -> None:
    """Each new key and each note of use would make every gateway forget all proven callers."""
    async with filled(place) as store:
        before = store.revision()
        await store.create_app(App("5a0000000000000000000a03", "third", "in"), APP_MADE)
        await store.create_key(KeyRecord("5a0000000000000b", APP.id, "key", frozenset(), b"x" * 32, 1, 2), KEY_MADE)
        await store.note_used({KEY.id: 1})
        assert not await store.set_app_disabled(APP.id, False, APP_MADE)
        assert store.revision() == before


async def check_the_revision_never_returns(place: Place) -> None:
    """A gateway that had looked away would take an old answer for a current one."""
    async with filled(place) as store:
        seen = [store.revision()]
        for number in range(10):
            await store.set_app_disabled(APP.id, number % 2 == 0, APP_MADE)
            seen.append(store.revision())
        assert seen == sorted(seen)
        assert len(set(seen)) == 6


async def check_another_gateway_sees_it_at_once(place: Place) -> None:
    """A key that one process revoked would go on working in another."""
    async with filled(place) as here, opened(place) as there:
        for number in range(20):
            before = there.revision()
            assert before == here.revision()
            await here.set_app_disabled(APP.id, number % 2 == 0, APP_MADE)
            assert there.revision() == here.revision()
            found = await there.find_key(KEY.id)
            assert found is not None
            assert found.app.disabled is (number % 2 == 0)
            assert (there.revision() > before) is (number % 2 == 0)


async def check_last_use_moves_forward_only(place: Place) -> None:
    """A key in use would look unused, because two gateways report in another order than they saw it."""
    async with filled(place) as store:
        await store.note_used({})
        assert await store.last_used(KEY.id) is None
        await store.note_used({KEY.id: 1400, TOKEN.id: 1300})
        await store.note_used({KEY.id: 1200})
        assert await store.last_used(KEY.id) == 1400
        await store.note_used({KEY.id: 1500})
        assert await store.last_used(KEY.id) == 1500
        assert await store.last_used(TOKEN.id) == 1300
        assert await store.find_key(KEY.id) == FoundKey(KEY, APP)


async def check_one_of_many_at_once_wins(place: Place) -> None:
    """Two callers would each be told that the id is theirs."""
    async with filled(place) as store, opened(place) as other:
        rivals = [
            KeyRecord("5a0000000000000b", APP.id, f"rival {number}", frozenset(), bytes([number]) * 32, 1, 2)
            for number in range(20)
        ]
        results = await asyncio.gather(
            *((store, other)[number % 2].create_key(rival, KEY_MADE) for number, rival in enumerate(rivals)),
            return_exceptions=True,
        )
        won = [rival for rival, result in zip(rivals, results, strict=True) if result is None]
        assert [type(result) for result in results if result is not None] == [Conflict] * 19
        assert await store.find_key("5a0000000000000b") == FoundKey(won[0], APP)
        assert place.events().count(KEY_MADE) == 2


async def check_many_at_once_all_arrive(place: Place) -> None:
    """A burst of new tokens for one new user would lose some, or make the user twice."""
    user = User("5a93deb3d8e7d90600000001", APP.id, "customer-18")
    tokens = [UserTokenRecord(f"5a000000000001{number:02x}", APP.id, user.id, b"x" * 32, 1, 2) for number in range(20)]
    async with filled(place) as store, opened(place) as other:
        await asyncio.gather(
            *(store.create_user_token(user, token, TOKEN_MADE) for token in tokens[::2]),
            *(other.create_user_token(user, token, TOKEN_MADE) for token in tokens[1::2]),
        )
        for token in tokens:
            assert await store.find_user_token(token.id) == FoundUserToken(token, user, APP)
        made = event(AuditAction.USER_CREATED, user.id)
        assert place.events().count(made) == 1


async def check_readiness_answers(place: Place) -> None:
    """The gateway would never report ready."""
    async with opened(place) as store:
        await store.ping()


async def refused(place: Place, *creations: Awaitable[None]) -> None:
    """Every creation raises `Conflict` and leaves no event."""
    before = place.events()
    for creation in creations:
        with pytest.raises(Conflict):
            await creation
    assert place.events() == before


async def stopped_and_restarted(
    place: Place,
    store: Store,
    switch: Callable[[bool, AuditEvent], Awaitable[bool]],
    names: tuple[AuditAction, AuditAction, str],
) -> None:
    """Off, off again, on, on again: each change once, each with its event, and only the first takes away."""
    off, on, subject = names
    for disabled, changes in [(True, True), (True, False), (False, True), (False, False)]:
        what = event(off if disabled else on, subject)
        before = (store.revision(), place.events())
        assert await switch(disabled, what) is changes
        assert place.events() == [*before[1], *([what] if changes else [])]
        assert (store.revision() > before[0]) is (changes and disabled)


CHECKS: Final[list[Check]] = [item for name, item in list(globals().items()) if name.startswith("check_")]
