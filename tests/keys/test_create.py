"""Apps, keys and user tokens are made as asked for, or everything that is wrong with the wish is said at once."""

import hashlib
import re
from collections.abc import AsyncIterator, Callable

import pytest

from gateway.core.credential import key_principal, user_principal
from gateway.core.principal import KeyPrincipal, UserPrincipal
from gateway.core.records import App
from gateway.core.token import Kind, Prefixes, Token, parse_token
from gateway.keys.create import (
    DAY,
    KEY_LIFETIME,
    LONGEST_LIFETIME,
    USER_TOKEN_LIFETIME,
    CannotCreate,
    create_app,
    create_key,
    create_user_token,
)
from gateway.store.contract import Store
from gateway.store.open import open_store

NOW = 1_700_000_000_000
SCOPES = ("USER_READ", "USER_DELETE", "USER_LINK")
REGIONS = ("eu", "us", "in")
PREFIXES = Prefixes()
MISSING = "5a0000000000000000000fff"


def counting() -> Callable[[int], bytes]:
    """Entropy that is different each time, and the same in each test."""
    calls = iter(range(1, 10_000))
    return lambda size: hashlib.shake_128(str(next(calls)).encode()).digest(size)


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """An empty store."""
    store = open_store("memory:")
    yield store
    await store.close()


@pytest.fixture
def entropy() -> Callable[[int], bytes]:
    """Where randomness comes from."""
    return counting()


@pytest.fixture
async def app(store: Store, entropy: Callable[[int], bytes]) -> App:
    """An app in the store."""
    return await create_app(store, "demo", "eu", regions=REGIONS, now=NOW, entropy=entropy)


async def test_an_app_is_made_and_kept(store: Store, app: App) -> None:
    """An operator would be told the id of an app that does not exist."""
    assert re.fullmatch("[0-9a-f]{24}", app.id)
    assert (app.name, app.region, app.disabled) == ("demo", "eu", False)
    assert await store.find_app(app.id) == app


async def test_a_key_is_made_and_works(store: Store, app: App, entropy: Callable[[int], bytes]) -> None:
    """A key that was handed out would be refused, or hold other scopes than were asked for."""
    record, token = await create_key(
        store,
        app.id,
        "nightly",
        ["USER_READ", "USER_LINK", "USER_READ"],
        known_scopes=SCOPES,
        now=NOW,
        entropy=entropy,
        prefixes=PREFIXES,
    )
    presented = parse_token(token.reveal(), PREFIXES)
    assert isinstance(presented, Token)
    assert (presented.kind, presented.id) == (Kind.KEY, record.id)
    found = await store.find_key(presented.id)
    assert found is not None
    assert found.record == record
    scopes = frozenset({"USER_READ", "USER_LINK"})
    assert key_principal(found.record, found.app, presented.verifier, NOW) == KeyPrincipal(
        record.id, app.id, "eu", scopes, NOW + 365 * DAY
    )


async def test_a_user_token_is_made_and_works(store: Store, app: App, entropy: Callable[[int], bytes]) -> None:
    """A user's token would be refused, or let the user in as somebody else."""
    user, record, token = await create_user_token(store, app.id, now=NOW, entropy=entropy, prefixes=PREFIXES)
    assert re.fullmatch("[0-9a-f]{24}", user.id)
    presented = parse_token(token.reveal(), PREFIXES)
    assert isinstance(presented, Token)
    assert (presented.kind, presented.id) == (Kind.USER_TOKEN, record.id)
    found = await store.find_user_token(presented.id)
    assert found is not None
    assert user_principal(found.record, found.user, found.app, presented.verifier, NOW) == UserPrincipal(
        user.id, record.id, app.id, "eu", NOW + 7 * DAY
    )


async def test_the_prefixes_of_the_settings_are_used(store: Store, app: App, entropy: Callable[[int], bytes]) -> None:
    """New tokens would not be accepted by a gateway with prefixes of its own."""
    own = Prefixes("acme", "acmeuser")
    _, key = await create_key(
        store, app.id, "k", ["USER_READ"], known_scopes=SCOPES, now=NOW, entropy=entropy, prefixes=own
    )
    _, _, user = await create_user_token(store, app.id, now=NOW, entropy=entropy, prefixes=own)
    assert key.reveal().startswith("acme_")
    assert user.reveal().startswith("acmeuser_")


async def test_ids_begin_with_their_apps_first_byte(store: Store, app: App, entropy: Callable[[int], bytes]) -> None:
    """A store that is split by the first byte of an id would have to look for an app's keys in all its parts."""
    key, _ = await create_key(
        store, app.id, "k", ["USER_READ"], known_scopes=SCOPES, now=NOW, entropy=entropy, prefixes=PREFIXES
    )
    user, token, _ = await create_user_token(store, app.id, now=NOW, entropy=entropy, prefixes=PREFIXES)
    assert {key.id[:2], user.id[:2], token.id[:2]} == {app.id[:2]}
    assert len({key.id, token.id}) == 2
    assert len(key.id) == len(token.id) == 16


@pytest.mark.parametrize("lifetime", [1, DAY, KEY_LIFETIME, LONGEST_LIFETIME])
async def test_a_chosen_end_is_kept(store: Store, app: App, entropy: Callable[[int], bytes], lifetime: int) -> None:
    """A short-lived key would live for a year."""
    key, _ = await create_key(
        store,
        app.id,
        "k",
        ["USER_READ"],
        known_scopes=SCOPES,
        now=NOW,
        entropy=entropy,
        prefixes=PREFIXES,
        expires_at=NOW + lifetime,
    )
    _, token, _ = await create_user_token(store, app.id, now=NOW, entropy=entropy, prefixes=PREFIXES, lifetime=lifetime)
    assert key.expires_at == token.expires_at == NOW + lifetime


@pytest.mark.parametrize("lifetime", [0, -1, LONGEST_LIFETIME + 1])
async def test_an_end_out_of_bounds_is_refused(
    store: Store, app: App, entropy: Callable[[int], bytes], lifetime: int
) -> None:
    """A key would be dead when it is handed out, or live for ever."""
    with pytest.raises(CannotCreate, match="at most 366 days away"):
        await create_key(
            store,
            app.id,
            "k",
            ["USER_READ"],
            known_scopes=SCOPES,
            now=NOW,
            entropy=entropy,
            prefixes=PREFIXES,
            expires_at=NOW + lifetime,
        )
    with pytest.raises(CannotCreate, match="at most 366 days away"):
        await create_user_token(store, app.id, now=NOW, entropy=entropy, prefixes=PREFIXES, lifetime=lifetime)


def test_lives_are_as_documented() -> None:
    """Keys and tokens would end sooner or later than people plan for."""
    assert KEY_LIFETIME == 365 * 24 * 3600 * 1000
    assert USER_TOKEN_LIFETIME == 7 * 24 * 3600 * 1000


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a", "a"),
        ("x" * 100, "x" * 100),
        ("株" * 100, "株" * 100),
        ('O\'Neill & "søn" <b>', 'O\'Neill & "søn" <b>'),
        ("e\u0301" * 100, "é" * 100),
        ("עברית", "עברית"),
        ("\U0001f469\u200d\U0001f4bb", "\U0001f469\u200d\U0001f4bb"),
    ],
)
async def test_names_of_all_languages_are_kept(
    store: Store, entropy: Callable[[int], bytes], name: str, kept: str
) -> None:
    """People could not give their app the name it has, or find it under the name they see."""
    app = await create_app(store, name, "eu", regions=REGIONS, now=NOW, entropy=entropy)
    key, _ = await create_key(
        store, app.id, name, ["USER_READ"], known_scopes=SCOPES, now=NOW, entropy=entropy, prefixes=PREFIXES
    )
    assert app.name == key.name == kept


BAD_NAMES = [
    "",
    "x" * 101,
    "a\nb",
    "a\0",
    "\x1b[31mred",
    "a\x7f",
    "a\x85b",
    "a\u2028b",
    "a\u2029b",
    "\u202egnp.exe",
    "a\u202ab",
    "a\u202bb",
    "a\u202cb",
    "a\u202db",
    "a\u2066b",
    "a\u2067b",
    "a\u2068b",
    "a\u2069b",
    "\ud800",
]


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
async def test_other_names_are_refused(store: Store, app: App, entropy: Callable[[int], bytes], name: str) -> None:
    """A name would spoil the lists that it is shown in, or pose as another."""
    with pytest.raises(CannotCreate, match="A name has"):
        await create_app(store, name, "eu", regions=REGIONS, now=NOW, entropy=entropy)
    with pytest.raises(CannotCreate, match="A name has"):
        await create_key(
            store, app.id, name, ["USER_READ"], known_scopes=SCOPES, now=NOW, entropy=entropy, prefixes=PREFIXES
        )


async def test_everything_that_is_wrong_is_said_at_once(store: Store, entropy: Callable[[int], bytes]) -> None:
    """Somebody would correct one thing, try again, and be told the next."""
    with pytest.raises(CannotCreate) as refused:
        await create_key(
            store,
            MISSING,
            "a\n" + "x" * 100,
            ["USER_RAED", "ADMIN"],
            known_scopes=SCOPES,
            now=NOW,
            entropy=entropy,
            prefixes=PREFIXES,
            expires_at=NOW,
        )
    assert refused.value.sentences == (
        f"There is no app with the id '{MISSING}'.",
        "A name has 1 to 100 characters; this one has 102.",
        "A name has no control characters, and none that change the direction of writing.",
        "There is no scope 'ADMIN'; there are USER_DELETE, USER_LINK, USER_READ.",
        "There is no scope 'USER_RAED'; there are USER_DELETE, USER_LINK, USER_READ.",
        "The end is to lie in the future, at most 366 days away.",
    )
    assert str(refused.value) == " ".join(refused.value.sentences)
    with pytest.raises(CannotCreate) as refused:
        await create_app(store, "", "mars", regions=REGIONS, now=NOW, entropy=entropy)
    assert refused.value.sentences == (
        "A name has 1 to 100 characters; this one has 0.",
        "There is no region 'mars'; there are eu, in, us.",
    )
    with pytest.raises(CannotCreate) as refused:
        await create_user_token(
            store, MISSING, external_id="", user_id="a b", now=NOW, entropy=entropy, prefixes=PREFIXES
        )
    assert refused.value.sentences == (
        f"There is no app with the id '{MISSING}'.",
        "A user id has 1 to 128 visible ASCII characters.",
        "An external id has 1 to 256 characters, none of them a control character.",
    )


async def test_a_key_needs_a_scope(store: Store, app: App, entropy: Callable[[int], bytes]) -> None:
    """A key that may do nothing would be handed out, and its holder wonder."""
    with pytest.raises(CannotCreate, match="A key needs at least one scope; there are none"):
        await create_key(store, app.id, "k", [], known_scopes=(), now=NOW, entropy=entropy, prefixes=PREFIXES)


@pytest.mark.parametrize("user_id", ["1", "5a93deb3d8e7d90600001e6f", "!~", "x" * 128])
async def test_a_user_that_exists_upstream_keeps_its_id(
    store: Store, app: App, entropy: Callable[[int], bytes], user_id: str
) -> None:
    """A user of the API could not be given a token."""
    user, record, _ = await create_user_token(
        store, app.id, user_id=user_id, now=NOW, entropy=entropy, prefixes=PREFIXES
    )
    assert user.id == record.user_id == user_id


@pytest.mark.parametrize("user_id", ["", " ", "a b", "a\n", "é", "x" * 129, "a\x7f"])
async def test_an_id_that_cannot_stand_in_a_header_is_refused(
    store: Store, app: App, entropy: Callable[[int], bytes], user_id: str
) -> None:
    """The id would break the identity headers, or be read there as another."""
    with pytest.raises(CannotCreate, match="A user id has 1 to 128 visible ASCII characters"):
        await create_user_token(store, app.id, user_id=user_id, now=NOW, entropy=entropy, prefixes=PREFIXES)


@pytest.mark.parametrize("external_id", ["", "x" * 257, "a\n", "a\0", "\x85", "\udc80"], ids=ascii)
async def test_an_external_id_that_cannot_be_kept_is_refused(
    store: Store, app: App, entropy: Callable[[int], bytes], external_id: str
) -> None:
    """A slip on the command line would end in a stack trace, or in a user that nobody finds again."""
    with pytest.raises(CannotCreate, match="An external id has 1 to 256 characters"):
        await create_user_token(store, app.id, external_id=external_id, now=NOW, entropy=entropy, prefixes=PREFIXES)


@pytest.mark.parametrize("app_id", ["", "demo", "\udc80", "5A" * 12], ids=ascii)
async def test_an_unknown_app_is_told(store: Store, app: App, entropy: Callable[[int], bytes], app_id: str) -> None:
    """A slip on the command line would end in a stack trace."""
    with pytest.raises(CannotCreate, match="There is no app with the id"):
        await create_user_token(store, app_id, now=NOW, entropy=entropy, prefixes=PREFIXES)


async def test_a_user_is_made_once(store: Store, app: App, entropy: Callable[[int], bytes]) -> None:
    """A user with two devices would become two users."""

    async def token(external_id: str | None = None, user_id: str | None = None) -> str:
        user, record, _ = await create_user_token(
            store, app.id, external_id=external_id, user_id=user_id, now=NOW, entropy=entropy, prefixes=PREFIXES
        )
        found = await store.find_user_token(record.id)
        assert found is not None
        assert found.user == user
        return user.id

    first = await token("customer-17")
    assert await token("customer-17") == first
    assert await token(user_id=first) == first
    assert await token("customer-17", first) == first
    assert await token("customer-18") != first
    assert await token() != await token()


async def test_two_ids_of_two_users_are_refused(store: Store, app: App, entropy: Callable[[int], bytes]) -> None:
    """A token would be made for another user than the one that was meant."""

    async def token(external_id: str | None, user_id: str | None) -> None:
        await create_user_token(
            store, app.id, external_id=external_id, user_id=user_id, now=NOW, entropy=entropy, prefixes=PREFIXES
        )

    await token("customer-1", "user-1")
    await token("customer-2", "user-2")
    await token(None, "user-3")
    with pytest.raises(CannotCreate, match="belongs to another user of the app, user-1"):
        await token("customer-1", "user-2")
    with pytest.raises(CannotCreate, match="belongs to another user of the app, user-1"):
        await token("customer-1", "user-9")
    with pytest.raises(CannotCreate, match="user-2 has another external id, or none"):
        await token("customer-9", "user-2")
    with pytest.raises(CannotCreate, match="user-3 has another external id, or none"):
        await token("customer-9", "user-3")


async def test_users_of_two_apps_are_apart(store: Store, app: App, entropy: Callable[[int], bytes]) -> None:
    """A token of one app would be made for the user of another."""
    other = await create_app(store, "other", "us", regions=REGIONS, now=NOW, entropy=entropy)
    made = [
        await create_user_token(store, owner.id, external_id="c", now=NOW, entropy=entropy, prefixes=PREFIXES)
        for owner in (app, other)
    ]
    assert made[0][0].id != made[1][0].id
    assert [user.app_id for user, _, _ in made] == [app.id, other.id]


async def test_an_id_that_is_taken_is_told(store: Store) -> None:
    """A token would be shown that belongs to somebody else's record, or the command end in a stack trace."""

    def same(size: int) -> bytes:
        return bytes(size)

    app = await create_app(store, "demo", "eu", regions=REGIONS, now=NOW, entropy=same)
    with pytest.raises(CannotCreate, match="try again"):
        await create_app(store, "demo", "eu", regions=REGIONS, now=NOW, entropy=same)
    await create_key(store, app.id, "k", SCOPES, known_scopes=SCOPES, now=NOW, entropy=same, prefixes=PREFIXES)
    with pytest.raises(CannotCreate, match="try again"):
        await create_key(store, app.id, "k", SCOPES, known_scopes=SCOPES, now=NOW, entropy=same, prefixes=PREFIXES)
    with pytest.raises(CannotCreate, match="try again"):
        await create_user_token(store, app.id, now=NOW, entropy=same, prefixes=PREFIXES)
