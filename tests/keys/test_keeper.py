"""Apps, keys, users and roles are made and ended as asked for, or everything that is wrong with the wish is said."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.credential import key_principal, user_principal
from gateway.core.families import TokenRules
from gateway.core.ledger import Act, ActReason, ActRefused, Asked, Done, Snapshot, Who
from gateway.core.principal import KeyPrincipal, UserPrincipal
from gateway.core.records import App, KeyRecord, KeyState, RevokedWhy, Role, User, key_state
from gateway.core.token import Kind, Prefixes, Secret, Token, parse_token
from gateway.core.wishes import DAY, KEY_LIFETIME, LONGEST_LIFETIME, LONGEST_SHUTDOWN, SHUTDOWN
from gateway.keys.keeper import Keeper
from gateway.store.contract import Store, StoreBroken, StoreUnavailable
from gateway.store.open import open_store
from tests.support.entropy import counting

NOW = 1_700_000_000_000
SCOPES = ("USER_READ", "USER_DELETE", "USER_LINK")
REGIONS = ("eu", "us", "in")
WHO = Who("cli:ada", "cli")
MISSING = "5a0000000000000000000fff"
NO_KEY = "5a0000000000ffff"


@dataclass(slots=True)
class Clock:
    """The store's clock."""

    now: int = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
async def store(clock: Clock) -> AsyncIterator[Store]:
    """An empty store."""
    store = open_store("memory:", clock=clock)
    yield store
    await store.close()


@pytest.fixture
def keeper(store: Store) -> Keeper:
    """Who makes things in the store."""
    return Keeper(store, WHO, counting(), Prefixes())


@pytest.fixture
async def app(keeper: Keeper) -> App:
    """An app in the store."""
    return await keeper.create_app("demo", "eu", regions=REGIONS)


async def a_key(keeper: Keeper, app: App, name: str = "nightly", **wish: Any) -> KeyRecord:
    """A new key of the app."""
    return (await keeper.create_key(app.id, name, ["USER_READ"], known_scopes=SCOPES, **wish)).record


async def kept(store: Store, key_id: str) -> KeyRecord:
    """The record as the store has it."""
    found = await store.find_key(key_id)
    assert found is not None
    return found.record


async def look(store: Store, app_id: str, **asked: Any) -> Snapshot:
    """What the store shows of an app."""
    (seen,) = await store.look([Asked(app_id, **asked)])
    return seen


async def events(store: Store) -> list[AuditEvent]:
    """Everything that was done."""
    return [numbered.event for chain in await store.chains() async for numbered in store.events(chain)]


async def refused(reason: ActReason, wish: Awaitable[object]) -> str:
    """What is said of a wish that is refused for this reason."""
    with pytest.raises(ActRefused) as refusal:
        await wish
    assert refusal.value.reason is reason
    return refusal.value.message


def presented(token: Secret, prefixes: Prefixes | None = None) -> Token:
    """The token as a gateway reads it."""
    read = parse_token(token.reveal(), prefixes or Prefixes())
    assert isinstance(read, Token)
    return read


# Made -----------------------------------------------------------------------------------------------------------------


async def test_an_app_is_made_and_kept(store: Store, app: App) -> None:
    """An operator would be told the id of an app that does not exist."""
    assert re.fullmatch("[0-9a-f]{24}", app.id)
    assert app == App(app.id, "demo", "eu")
    assert (await look(store, app.id)).app == app
    assert await events(store) == [AuditEvent(NOW, AuditAction.APP_CREATED, app.id, app.id, "cli:ada", "cli")]


async def test_an_app_knows_its_account(store: Store, keeper: Keeper) -> None:
    """Apps of one customer could not be found."""
    app = await keeper.create_app("e\u0301", "us", regions=REGIONS, account="Caf\u0065\u0301")
    assert (await look(store, app.id)).app == App(app.id, "é", "us", "Café")


async def test_a_key_is_made_and_works(store: Store, keeper: Keeper, app: App) -> None:
    """A key that was handed out would be refused, or hold other scopes than were asked for."""
    made = await keeper.create_key(app.id, "nightly", ["USER_READ", "USER_LINK", "USER_READ"], known_scopes=SCOPES)
    token = presented(made.token)
    assert (token.kind, token.id) == (Kind.KEY, made.record.id)
    found = await store.find_key(token.id)
    assert found is not None
    assert (found.record, found.app) == (made.record, app)
    assert (made.record.created_by, made.record.created_at) == ("cli:ada", NOW)
    scopes = frozenset({"USER_READ", "USER_LINK"})
    assert key_principal(found.record, found.app, token.verifier, NOW) == KeyPrincipal(
        token.id, app.id, "eu", scopes, NOW + 365 * DAY
    )


async def test_a_user_token_is_made_and_works(store: Store, keeper: Keeper, app: App) -> None:
    """A user's token would be refused, or let the user in as somebody else."""
    made = await keeper.create_user_token(app.id)
    assert re.fullmatch("[0-9a-f]{24}", made.user.id)
    token = presented(made.token)
    assert (token.kind, token.id) == (Kind.USER_TOKEN, made.record.id)
    found = await store.find_user_token(token.id)
    assert found is not None
    assert (found.record, found.user) == (made.record, made.user)
    assert user_principal(found.record, found.user, found.app, token.verifier, NOW) == UserPrincipal(
        made.user.id, token.id, app.id, "eu", NOW + 7 * DAY
    )


async def test_the_prefixes_of_the_settings_are_used(keeper: Keeper, app: App) -> None:
    """New tokens would not be accepted by a gateway with prefixes of its own."""
    own = replace(keeper, prefixes=Prefixes("acme", "acmeuser"))
    key = await own.create_key(app.id, "k", ["USER_READ"], known_scopes=SCOPES)
    assert key.token.reveal().startswith("acme_")
    assert (await own.rotate_key(key.record.id)).token.reveal().startswith("acme_")
    assert (await own.create_user_token(app.id)).token.reveal().startswith("acmeuser_")


async def test_ids_begin_with_their_apps_first_byte(keeper: Keeper, app: App) -> None:
    """A store that is split by the first byte of an id would have to look for an app's keys in all its parts."""
    key = await a_key(keeper, app)
    successor = (await keeper.rotate_key(key.id)).record
    user = await keeper.create_user_token(app.id)
    ids = [key.id, successor.id, user.user.id, user.record.id]
    assert {made[:2] for made in ids} == {app.id[:2]}
    assert len(set(ids)) == 4
    assert [len(made) for made in ids] == [16, 16, 24, 16]


@pytest.mark.parametrize("lifetime", [1, DAY, KEY_LIFETIME, LONGEST_LIFETIME])
async def test_a_chosen_end_is_kept(keeper: Keeper, app: App, lifetime: int) -> None:
    """A short-lived key would live for a year."""
    assert (await a_key(keeper, app, lifetime=lifetime)).expires_at == NOW + lifetime
    assert (await a_key(keeper, app, expires_at=NOW + lifetime)).expires_at == NOW + lifetime
    own = replace(keeper, rules=TokenRules(lifetime=lifetime, family=lifetime))
    made = await own.create_user_token(app.id)
    assert made.record.expires_at == NOW + lifetime


async def test_names_are_kept_in_one_form(store: Store, keeper: Keeper, app: App) -> None:
    """A name would not be found under the letters that people see."""
    assert (await keeper.create_app("Caf\u0065\u0301", "eu", regions=REGIONS)).name == "Café"
    key = await a_key(keeper, app, "e\u0301" * 100)
    assert (await kept(store, key.id)).name == "é" * 100
    assert (await keeper.rename_key(key.id, "n\u0303")).name == "ñ"
    assert (await kept(store, key.id)).name == "ñ"


@pytest.mark.parametrize("user_id", ["1", "5a93deb3d8e7d90600001e6f", "!~", "x" * 128])
async def test_a_user_that_exists_upstream_keeps_its_id(keeper: Keeper, app: App, user_id: str) -> None:
    """A user of the API could not be given a token."""
    made = await keeper.create_user_token(app.id, user_id=user_id)
    assert made.user.id == made.record.user_id == user_id


async def test_a_user_is_made_once(keeper: Keeper, app: App) -> None:
    """A user with two devices would become two users, or the wrong one be shown."""

    async def user(external_id: str | None = None, user_id: str | None = None) -> User:
        return (await keeper.create_user_token(app.id, external_id=external_id, user_id=user_id)).user

    first = await user("customer-17")
    assert first.external_id == "customer-17"
    assert await user("customer-17") == first
    assert await user(user_id=first.id) == first
    assert await user("customer-17", first.id) == first
    assert await user("customer-18") != first
    assert await user() != await user()


async def test_no_secret_shows(keeper: Keeper, app: App) -> None:
    """A log line or a stack trace would hold a token, or what the next ones are made of."""
    key, user = (
        await keeper.create_key(app.id, "k", SCOPES, known_scopes=SCOPES),
        await keeper.create_user_token(app.id),
    )
    rotated = await keeper.rotate_key(key.record.id)
    shown = repr([key, user, rotated, keeper])
    assert not any(made.token.reveal().partition(".")[2] in shown for made in (key, user, rotated))
    assert "entropy" not in shown


# Refused --------------------------------------------------------------------------------------------------------------


async def test_everything_that_is_wrong_is_said_at_once(store: Store, keeper: Keeper, app: App) -> None:
    """Somebody would correct one thing, try again, and be told the next."""
    no_app = f"There is no app with the id '{MISSING}'; see 'gateway apps list'."
    name = "A name has 1 to 100 characters; this one has 102."
    signs = "A name has no control characters, and none that change the direction of writing."
    scopes = "there are USER_DELETE, USER_LINK, USER_READ."
    end = "The end is to lie in the future, at most 366 days away."
    bad = "a\n" + "x" * 100
    wish = ActReason.WISH_INVALID
    for lifetime in ({"lifetime": 0}, {"expires_at": NOW}, {"expires_at": NOW + LONGEST_LIFETIME + 1}):
        told = await refused(
            wish,
            keeper.create_key(MISSING, bad, ["USER_RAED", "ADMIN"], known_scopes=SCOPES, **lifetime),  # type: ignore[arg-type]
        )
        assert told == " ".join(
            [
                no_app,
                name,
                signs,
                f"There is no scope 'ADMIN'; {scopes}",
                f"There is no scope 'USER_RAED'; {scopes}",
                end,
            ]
        )
    told = await refused(wish, keeper.create_app("", "mars", regions=REGIONS, account="\n"))
    empty = "A name has 1 to 100 characters; this one has 0."
    assert told == f"{empty} {signs} There is no region 'mars'; there are eu, in, us."
    told = await refused(wish, keeper.create_user_token(MISSING, external_id="", user_id="a b"))
    user = "A user id has 1 to 128 visible ASCII characters."
    external = "An external id has 1 to 256 characters, none of them a control character."
    assert told == f"{no_app} {user} {external}"
    assert await refused(wish, keeper.grant(MISSING, "ada", Role.DEVELOPER)) == (
        f"{no_app} That is no e-mail address like name@example.com."
    )
    # With an app that is there, it is not called unknown.
    assert await refused(wish, keeper.create_key(app.id, "", SCOPES, known_scopes=SCOPES)) == empty
    assert len(await events(store)) == 1


@pytest.mark.parametrize("app_id", ["", "demo", "\udc80", "5A" * 12, "zz" * 12, MISSING, "5a" * 12 + "\n"], ids=ascii)
async def test_an_unknown_app_is_told(keeper: Keeper, app_id: str) -> None:
    """A slip on the command line would end in a stack trace."""
    for wish in (
        keeper.create_key(app_id, "k", SCOPES, known_scopes=SCOPES),
        keeper.create_key(app_id, "k", SCOPES, known_scopes=SCOPES, expires_at=NOW + 1),
        keeper.create_user_token(app_id),
        keeper.switch_app(app_id, disabled=True),
        keeper.revoke_keys(app_id),
        keeper.switch_user(app_id, "u", disabled=True),
        keeper.end_user_tokens(app_id, "u"),
        keeper.end_app_tokens(app_id),
        keeper.grant(app_id, "ada@example.com", Role.SPECTATOR),
        keeper.remove(app_id, "ada@example.com"),
    ):
        assert "There is no app with" in await refused(ActReason.UNKNOWN_APP, wish)


@pytest.mark.parametrize("key_id", ["", "demo", "\udc80", "5A" * 8, NO_KEY, "5a" * 8 + "\n", "5a" * 40], ids=ascii)
async def test_an_unknown_key_is_told(keeper: Keeper, app: App, key_id: str) -> None:
    """A slip on the command line would end in a stack trace."""
    for wish in (keeper.revoke_key(key_id), keeper.rotate_key(key_id), keeper.rename_key(key_id, "n")):
        assert "There is no key with" in await refused(ActReason.UNKNOWN_KEY, wish)


async def test_an_unknown_user_is_told(keeper: Keeper, app: App) -> None:
    """A slip on the command line would end in a stack trace, or look as if it had been done."""
    for change in (keeper.switch_user(app.id, "u", disabled=True), keeper.end_user_tokens(app.id, "u")):
        assert "no user with this id" in await refused(ActReason.UNKNOWN_USER, change)
    for change in (keeper.switch_user(app.id, "\udc80", disabled=True), keeper.end_user_tokens(app.id, "a b")):
        assert "A user id has" in await refused(ActReason.WISH_INVALID, change)


@pytest.mark.parametrize("name", ["", "x" * 101, "a\nb", "\u202egnp.exe", "\ud800"], ids=ascii)
async def test_a_bad_name_is_kept_nowhere(store: Store, keeper: Keeper, app: App, name: str) -> None:
    """A name would spoil the lists that it is shown in, or pose as another."""
    key = await a_key(keeper, app)
    for wish in (
        keeper.create_app(name, "eu", regions=REGIONS),
        keeper.create_app("demo", "eu", regions=REGIONS, account=name or "\n"),
        keeper.create_key(app.id, name, SCOPES, known_scopes=SCOPES),
        keeper.rename_key(key.id, name),
    ):
        assert "A name has" in await refused(ActReason.WISH_INVALID, wish)
    assert await kept(store, key.id) == key


@pytest.mark.parametrize("shutdown", [-1, LONGEST_SHUTDOWN + 1])
async def test_a_shutdown_time_out_of_bounds(store: Store, keeper: Keeper, app: App, shutdown: int) -> None:
    """A predecessor would outlive its successor's first months."""
    key = await a_key(keeper, app)
    told = await refused(ActReason.WISH_INVALID, keeper.rotate_key(key.id, shutdown=shutdown))
    assert told == "The shutdown time is 0 to 30 days away."
    assert await kept(store, key.id) == key


async def test_two_ids_of_two_users_are_refused(keeper: Keeper, app: App) -> None:
    """A token would be made for another user than the one that was meant."""
    await keeper.create_user_token(app.id, external_id="customer-1", user_id="user-1")
    await keeper.create_user_token(app.id, external_id="customer-2", user_id="user-2")
    taken = ActReason.EXTERNAL_ID_TAKEN
    told = await refused(taken, keeper.create_user_token(app.id, external_id="customer-1", user_id="user-2"))
    assert told == "The external id belongs to another user of the app, user-1."
    await refused(taken, keeper.create_user_token(app.id, external_id="customer-9", user_id="user-2"))


async def test_an_id_that_is_taken_is_told(store: Store, keeper: Keeper) -> None:
    """A token would be shown that belongs to somebody else's record, or the command end in a stack trace."""
    app = await replace(keeper, entropy=bytes).create_app("demo", "eu", regions=REGIONS)
    same = replace(keeper, entropy=bytes)
    taken = ActReason.ID_TAKEN
    await refused(taken, same.create_app("another", "eu", regions=REGIONS))
    await same.create_key(app.id, "k", SCOPES, known_scopes=SCOPES)
    # The same secret too would be the same act, asked for again.
    other = replace(keeper, entropy=lambda size: bytes(size) if size < 40 else b"\x01" * size)
    await refused(taken, other.create_key(app.id, "k", SCOPES, known_scopes=SCOPES))
    await refused(taken, same.create_user_token(app.id))
    assert len(await events(store)) == 2


async def test_ten_keys_and_no_more(keeper: Keeper, app: App, clock: Clock) -> None:
    """An app would have more active keys than ten."""
    for _ in range(10):
        await a_key(keeper, app, lifetime=DAY)
    assert "10 active keys" in await refused(ActReason.TOO_MANY_KEYS, a_key(keeper, app))
    clock.now += DAY
    assert await a_key(keeper, app)


# Changed and ended ----------------------------------------------------------------------------------------------------


async def test_a_rotation(store: Store, keeper: Keeper, app: App, clock: Clock) -> None:
    """A successor would not work, or its predecessor end before the services that use it were changed."""
    old = await a_key(keeper, app, lifetime=90 * DAY)
    clock.now += DAY
    rotated = await keeper.rotate_key(old.id)
    assert rotated.predecessor == replace(old, successor=rotated.record.id, shutdown_at=clock.now + SHUTDOWN)
    assert (rotated.record.name, rotated.record.scopes) == (old.name, old.scopes)
    assert rotated.record.expires_at == clock.now + 90 * DAY
    assert [await kept(store, key.id) for key in (rotated.predecessor, rotated.record)] == [
        rotated.predecessor,
        rotated.record,
    ]
    assert presented(rotated.token).verifier == rotated.record.verifier
    assert rotated.done.replicated
    assert old.id in await refused(ActReason.ROTATION_IN_PROGRESS, keeper.rotate_key(rotated.record.id))
    await refused(ActReason.ALREADY_ROTATED, keeper.rotate_key(old.id))


async def test_a_rotation_without_overlap(store: Store, keeper: Keeper, app: App) -> None:
    """A key that leaked would go on working beside its successor."""
    old = await a_key(keeper, app)
    rotated = await keeper.rotate_key(old.id, shutdown=0)
    assert key_state(await kept(store, old.id), 0) is KeyState.REVOKED
    assert (await kept(store, old.id)).revoked_why is RevokedWhy.ROTATED
    assert key_state(rotated.record, NOW) is KeyState.ACTIVE


async def test_a_key_is_revoked_once(store: Store, keeper: Keeper, app: App, clock: Clock) -> None:
    """A revocation would not be kept, or a second one change when and why the key had ended."""
    key = await a_key(keeper, app)
    done = await keeper.revoke_key(key.id, RevokedWhy.LEAKED)
    assert (done.at, done.replicated) == (NOW, True)
    clock.now += 5
    assert not (await keeper.revoke_key(key.id)).changes
    assert await kept(store, key.id) == replace(key, revoked_at=NOW, revoked_why=RevokedWhy.LEAKED)
    (*_, event) = await events(store)
    assert event == AuditEvent(NOW, AuditAction.KEY_REVOKED, app.id, key.id, "cli:ada", "cli", "leaked")


async def test_all_keys_of_an_app_end(store: Store, keeper: Keeper, app: App) -> None:
    """One key would go on working after somebody ended all of them."""
    other = await keeper.create_app("other", "us", regions=REGIONS)
    spared = await a_key(keeper, other)
    made = [await a_key(keeper, app) for _ in range(3)]
    await keeper.revoke_key(made[0].id)
    done = await keeper.revoke_keys(app.id)
    assert {key.id for key in done.changes.keys} == {key.id for key in made[1:]}
    assert not (await keeper.revoke_keys(app.id)).changes
    assert await kept(store, spared.id) == spared


async def test_a_name_that_it_has(store: Store, keeper: Keeper, app: App) -> None:
    """A command that changes nothing would end in a stack trace, or in an event that says it did."""
    key = await a_key(keeper, app)
    before = await events(store)
    assert await keeper.rename_key(key.id, key.name) == key
    assert await events(store) == before


async def test_switches(store: Store, keeper: Keeper, app: App) -> None:
    """A disabled app or user would get through, or not again once it is enabled."""
    user = (await keeper.create_user_token(app.id)).user
    for disabled in (True, False):
        assert (await keeper.switch_app(app.id, disabled=disabled)).changes
        assert not (await keeper.switch_app(app.id, disabled=disabled)).changes
        assert (await keeper.switch_user(app.id, user.id, disabled=disabled)).changes
        assert not (await keeper.switch_user(app.id, user.id, disabled=disabled)).changes
        seen = await look(store, app.id, user_id=user.id)
        assert seen.app is not None
        assert (seen.app.disabled, seen.users[user.id].disabled) == (disabled, disabled)


@pytest.mark.parametrize("whose", ["user", "app"])
async def test_the_end_of_all_tokens(store: Store, keeper: Keeper, app: App, whose: str) -> None:
    """A stolen token would outlive the end of all tokens, or a new one be dead at once."""

    async def works(made: Any) -> bool:
        found = await store.find_user_token(made.record.id)
        assert found is not None
        verifier = presented(made.token).verifier
        return isinstance(user_principal(found.record, found.user, found.app, verifier, NOW), UserPrincipal)

    before = await keeper.create_user_token(app.id, user_id="u")
    assert await works(before)
    await (keeper.end_user_tokens(app.id, "u") if whose == "user" else keeper.end_app_tokens(app.id))
    after = await keeper.create_user_token(app.id, user_id="u")
    assert (await works(before), await works(after)) == (False, True)


async def test_roles(store: Store, keeper: Keeper, app: App) -> None:
    """Somebody would keep a role that was taken, or have two by one address."""
    await keeper.grant(app.id, "Ada@Example.com", Role.SPECTATOR)
    await keeper.grant(app.id, "ada@example.COM", Role.DEVELOPER)
    assert (await look(store, app.id, roles=True)).roles == {"ada@example.com": Role.DEVELOPER}
    await keeper.remove(app.id, "ADA@example.com")
    await refused(ActReason.UNKNOWN_DEVELOPER, keeper.remove(app.id, "ada@example.com"))
    assert not (await look(store, app.id, roles=True)).roles
    assert "example" not in repr(await events(store))


# The store is away, or has not confirmed ------------------------------------------------------------------------------


class Wrapped:
    """A store whose answers to acts are lost or altered on the way."""

    def __init__(self, store: Store, answers: Sequence[Callable[[list[Done | ActRefused]], list[Done | ActRefused]]]):
        self._store = store
        self._answers = list(answers)
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def act(self, acts: Sequence[Act]) -> list[Done | ActRefused]:
        """Do them, and say what the next of the answers makes of it."""
        self.calls += 1
        answer = self._answers.pop(0) if self._answers else list
        if answer is not_reached:
            return answer([])
        return answer(await self._store.act(acts))


def lost(_: list[Done | ActRefused]) -> list[Done | ActRefused]:
    """The act was done, and the answer did not arrive."""
    raise StoreUnavailable("The connection to the store was lost.", unknown=True)


def not_reached(_: list[Done | ActRefused]) -> list[Done | ActRefused]:
    """The act did not reach the store, which nobody can tell from an answer that was lost."""
    raise StoreUnavailable("The store fell silent.", unknown=True)


def unconfirmed(outcomes: list[Done | ActRefused]) -> list[Done | ActRefused]:
    """The act was done, and no replica said that it has it."""
    return [replace(outcome, replicated=False) for outcome in outcomes if isinstance(outcome, Done)]


Making = Callable[[Keeper, App, KeyRecord], Awaitable[object]]

ENDS: dict[str, Making] = {
    "revoke": lambda keeper, _, key: keeper.revoke_key(key.id),
    "revoke all": lambda keeper, app, _: keeper.revoke_keys(app.id),
    "disable": lambda keeper, app, _: keeper.switch_app(app.id, disabled=True),
}
MAKINGS: dict[str, Making] = {
    "app": lambda keeper, _, __: keeper.create_app("new", "eu", regions=REGIONS),
    "key": lambda keeper, app, _: a_key(keeper, app),
    "user token": lambda keeper, app, _: keeper.create_user_token(app.id, external_id="customer-17"),
    "unnamed user's token": lambda keeper, app, _: keeper.create_user_token(app.id),
    "rotation": lambda keeper, _, key: keeper.rotate_key(key.id),
    "name": lambda keeper, _, key: keeper.rename_key(key.id, "new"),
}


@pytest.mark.parametrize("what", [*MAKINGS, *ENDS])
@pytest.mark.parametrize("way", [lost, not_reached])
async def test_an_answer_that_was_lost(store: Store, keeper: Keeper, app: App, what: str, way: Any) -> None:
    """A creation would be done twice or its token be lost, a revocation be called failed that was done."""
    key = await a_key(keeper, app)
    before = len(await events(store))
    making = {**MAKINGS, **ENDS}[what]
    plain = await making(replace(keeper, store=Wrapped(store, [way])), app, key)
    assert plain is not None
    done = (await events(store))[before:]
    assert len(done) == (2 if what in {"rotation", "user token", "unnamed user's token"} else 1)
    if isinstance(plain, KeyRecord):
        assert plain == await kept(store, plain.id)
    if isinstance(plain, Done):
        assert bool(plain.changes) is (way is not_reached)


@pytest.mark.parametrize("what", [*MAKINGS, *ENDS])
async def test_a_store_that_stays_away(store: Store, keeper: Keeper, app: App, what: str) -> None:
    """A command would go on for ever, or say that something was done."""
    key = await a_key(keeper, app)
    before = await events(store)
    wrapped = Wrapped(store, [not_reached] * 9)
    with pytest.raises(StoreUnavailable, match=r"fell silent\. Nobody can tell whether it was done") as failed:
        await {**MAKINGS, **ENDS}[what](replace(keeper, store=wrapped), app, key)
    assert failed.value.unknown
    assert wrapped.calls == 2
    assert await events(store) == before


@pytest.mark.parametrize("error", [StoreBroken("The store is damaged."), StoreUnavailable("The store is locked.")])
async def test_what_was_surely_not_done(store: Store, keeper: Keeper, app: App, error: StoreUnavailable) -> None:
    """Somebody would wait twice for what cannot come, or be left in doubt for no reason."""

    def fails(_: list[Done | ActRefused]) -> list[Done | ActRefused]:
        raise error

    wrapped = Wrapped(store, [fails] * 9)
    with pytest.raises(type(error), match=str(error)):
        await replace(keeper, store=wrapped).switch_app(app.id, disabled=True)
    assert wrapped.calls == 1


async def test_a_key_that_was_not_confirmed(store: Store, keeper: Keeper, app: App) -> None:
    """A token would be handed out that a failover forgets, or one that nobody has keep a place."""
    with pytest.raises(StoreUnavailable, match=r"The key was not made: .* was ended again\. Try again"):
        await a_key(replace(keeper, store=Wrapped(store, [unconfirmed])), app)
    (key,) = [key async for key in store.keys(app.id)]
    assert key.revoked_why is RevokedWhy.UNCONFIRMED


async def test_a_key_that_was_not_confirmed_after_its_answer_was_lost(store: Store, keeper: Keeper, app: App) -> None:
    """A creation that was asked for again would be taken for confirmed, as it changes nothing."""
    with pytest.raises(StoreUnavailable, match="The key was not made"):
        await a_key(replace(keeper, store=Wrapped(store, [lost, unconfirmed])), app)
    (key,) = [key async for key in store.keys(app.id)]
    assert key.revoked_why is RevokedWhy.UNCONFIRMED


@pytest.mark.parametrize(
    "answers", [[unconfirmed, not_reached], [unconfirmed, lambda _: [ActRefused(ActReason.UNKNOWN_KEY, "")]]]
)
async def test_what_could_not_be_ended_is_not_called_ended(
    store: Store, keeper: Keeper, app: App, answers: list[Any]
) -> None:
    """Somebody would look for a key that fills a place, and not know where it comes from."""
    with pytest.raises(StoreUnavailable, match="may stand in lists until it is ended; nobody was given its token"):
        await a_key(replace(keeper, store=Wrapped(store, answers)), app)


@pytest.mark.parametrize(
    ("shutdown", "told"),
    [
        (SHUTDOWN, "works until its shutdown time all the same, and cannot be rotated again; create a new one"),
        (0, "has ended all the same; create a new one"),
    ],
)
async def test_a_rotation_that_was_not_confirmed(
    store: Store, keeper: Keeper, app: App, shutdown: int, told: str
) -> None:
    """A service would stop a week later, without anybody having been told that its key ends."""
    key = await a_key(keeper, app)
    with pytest.raises(StoreUnavailable, match=f"The successor was not made: .*The key {key.id} {told}"):
        await replace(keeper, store=Wrapped(store, [unconfirmed])).rotate_key(key.id, shutdown=shutdown)
    old = await kept(store, key.id)
    assert old.successor is not None
    assert (await kept(store, old.successor)).revoked_why is RevokedWhy.UNCONFIRMED
    assert old.shutdown_at == NOW + shutdown


async def test_a_user_token_that_was_not_confirmed(store: Store, keeper: Keeper, app: App) -> None:
    """A token that was shown to nobody would live on."""
    with pytest.raises(StoreUnavailable, match="The token was not made"):
        await replace(keeper, store=Wrapped(store, [unconfirmed])).create_user_token(app.id)
    (token,) = [token async for token in store.user_tokens()]
    assert token.revoked_at == NOW


class Failing(Wrapped):
    """A store that fails over to one which has nothing of what was done."""

    async def find_user_token(self, token_id: str) -> None:
        """Nothing."""


async def test_a_user_token_that_was_lost_at_once(store: Store, keeper: Keeper, app: App) -> None:
    """A token would be handed out that no gateway knows."""
    with pytest.raises(StoreUnavailable, match="nobody was given it"):
        await replace(keeper, store=Failing(store, [])).create_user_token(app.id)


async def test_an_app_that_was_not_confirmed(store: Store, keeper: Keeper) -> None:
    """An app would be worked with that a failover forgets."""
    with pytest.raises(StoreUnavailable, match="The app was not made"):
        await replace(keeper, store=Wrapped(store, [unconfirmed])).create_app("demo", "eu", regions=REGIONS)
    (app,) = [app async for app in store.apps()]
    assert app.disabled


@pytest.mark.parametrize("what", ENDS)
async def test_an_end_that_was_not_confirmed_is_done(store: Store, keeper: Keeper, app: App, what: str) -> None:
    """A revocation would be called failed that was done, or nobody be warned that a failover may forget it."""
    key = await a_key(keeper, app)
    done = await ENDS[what](replace(keeper, store=Wrapped(store, [unconfirmed])), app, key)
    assert isinstance(done, Done)
    assert done.changes
    assert not done.replicated
