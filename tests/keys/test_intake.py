"""Tokens that exist elsewhere are taken into a store: good rows kept, bad ones told by line, and never twice."""

import asyncio
import hashlib
import io
import json
import secrets
import sqlite3
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.audit import AuditAction
from gateway.core.credential import key_principal, user_principal
from gateway.core.intake_rows import RowReason, RowRefused
from gateway.core.ledger import Act, Done, Who
from gateway.core.lifecycle import places
from gateway.core.principal import KeyPrincipal, UserPrincipal
from gateway.core.records import MAX_ACTIVE_KEYS, App, RevokedWhy
from gateway.core.token import verifier
from gateway.core.wishes import DAY
from gateway.keys.intake import Intake, Tally, key_intake, token_intake
from gateway.keys.intake_file import KEY_COLUMNS, USER_COLUMNS, read_rows
from gateway.store.contract import Store, StoreBroken, StoreUnavailable
from gateway.store.open import open_store
from tests.keys.conftest import Stores
from tests.store import acts
from tests.store.acts import do
from tests.store.place import APP, OTHER_APP, PATIENCE, everything, listed, the_events
from tests.support.moving import Lossy

WHO = Who("cli:ada", "cli")
SCOPES = ("USER_READ", "USER_LINK")
NOW = time.time_ns() // 1_000_000
NOBODYS = "5a0000000000000000000fff"
ROOT = Path(__file__).parents[2]

Row = dict[str, Any]


def token_of(number: int) -> str:
    """A token that exists elsewhere."""
    return f"{number:08x}ab." + hashlib.sha256(number.to_bytes(8)).hexdigest()


def row(number: int, app: App = APP, *, days: int = 300, **changed: Any) -> Row:
    """The row of a key that was made thirty days ago."""
    token = token_of(number)
    return {
        "id": token.partition(".")[0],
        "sha256": hashlib.sha256(token.encode()).hexdigest(),
        "app": app.id,
        "name": f"key {number}",
        "scopes": "USER_READ",
        "created_at": NOW - 30 * DAY,
        "expires_at": NOW + days * DAY,
        **changed,
    }


def user_row(number: int, user: str = "", external_id: str = "someone", **changed: Any) -> Row:
    """The row of a user token."""
    made = row(number, days=1, user=user, external_id=external_id, **changed)
    return {name: made[name] for name in made if name not in {"name", "scopes"}}


@dataclass
class Told:
    """What an import says while it goes on."""

    refused: list[tuple[int, RowReason]] = field(default_factory=list)
    columns: dict[int, Mapping[str, str]] = field(default_factory=dict)
    advanced: int = 0
    advancing: Callable[[], None] = lambda: None

    def refuse(self, line: int, refusal: RowRefused, columns: dict[str, str]) -> None:
        self.refused.append((line, refusal.reason))
        self.columns[line] = columns

    def advance(self, rows: int) -> None:
        self.advanced += rows
        self.advancing()


def lines(rows: Sequence[Row]) -> io.BytesIO:
    """Rows as a file."""
    return io.BytesIO("".join(f"{json.dumps(each)}\n" for each in rows).encode())


async def keys_in(
    store: Store, rows: Sequence[Row], told: Told | None = None, *, dry_run: bool = False, window: int = 10_000
) -> Tally:
    """Keys taken in."""
    intake = replace(key_intake(store, WHO, SCOPES), window=window)
    return await _run(intake, read_rows(lines(rows), KEY_COLUMNS), told, dry_run=dry_run)


async def tokens_in(
    store: Store, rows: Sequence[Row], told: Told | None = None, *, dry_run: bool = False, window: int = 10_000
) -> Tally:
    """User tokens taken in."""
    intake = replace(token_intake(store, WHO, secrets.token_bytes), window=window)
    return await _run(intake, read_rows(lines(rows), USER_COLUMNS), told, dry_run=dry_run)


async def _run(intake: Intake[Any], rows: Any, told: Told | None, *, dry_run: bool) -> Tally:
    told = told or Told()
    tally = await intake.run(rows, told, dry_run=dry_run)
    assert told.advanced == tally.rows == tally.taken + tally.known + tally.refused
    assert len(told.refused) == tally.refused
    return tally


@pytest.fixture
async def store(empty: Store) -> Store:
    """A store of each kind in turn, with two apps."""
    await do(empty, acts.make_app(APP), acts.make_app(OTHER_APP))
    return empty


async def test_a_key_from_elsewhere_opens_its_app(store: Store) -> None:
    """Clients with tokens of the system before would be locked out on the day of the move."""
    tally = await keys_in(store, [row(1), row(2, OTHER_APP, scopes="USER_READ USER_LINK")])
    assert tally == Tally(rows=2, taken=2)
    found = await store.find_key("00000001ab")
    assert found is not None
    principal = key_principal(found.record, found.app, verifier(token_of(1).encode()), NOW)
    assert isinstance(principal, KeyPrincipal)
    assert (principal.app_id, principal.region, principal.scopes) == (APP.id, APP.region, {"USER_READ"})
    assert (found.record.created_at, found.record.expires_at) == (NOW - 30 * DAY, NOW + 300 * DAY)
    told = [numbered.event for numbered in await the_events(store)]
    imported = [(event.subject_id, event.actor) for event in told if event.action is AuditAction.KEY_IMPORTED]
    assert sorted(imported) == [("00000001ab", WHO.actor), ("00000002ab", WHO.actor)]


async def test_a_user_token_from_elsewhere_opens_its_user(store: Store) -> None:
    """Apps in the field would lose their users on the day of the move."""
    tally = await tokens_in(store, [user_row(1), user_row(2), user_row(3, "own-id", "")])
    assert tally == Tally(rows=3, taken=3)
    first, second, third = [await store.find_user_token(f"0000000{number}ab") for number in (1, 2, 3)]
    assert first is not None
    assert second is not None
    assert third is not None
    principal = user_principal(first.record, first.user, first.app, verifier(token_of(1).encode()), NOW)
    assert isinstance(principal, UserPrincipal)
    assert principal.user_id == first.user.id == second.user.id
    assert (first.user.external_id, third.user.id, third.user.external_id) == ("someone", "own-id", None)
    assert first.user.id[:2] == APP.id[:2]


def twelve() -> list[Row]:
    """Eleven keys of an app, one of which has expired; and one row for each thing that may be wrong."""
    return [
        row(1),
        row(2, days=-1),
        *(row(number) for number in range(3, 12)),
        {"id": "x"},
        row(12, App(NOBODYS, "gone", "eu")),
        row(13, scopes="USER_DELETE"),
        row(14, days=337),
        row(3, OTHER_APP),
        row(15, name=token_of(15)),
        row(16, created_at=NOW + DAY),
        row(17),
    ]


REFUSED = [
    (12, RowReason.MALFORMED),
    (13, RowReason.UNKNOWN_APP),
    (14, RowReason.UNKNOWN_SCOPE),
    (15, RowReason.LIFETIME_INVALID),
    (16, RowReason.ID_TAKEN),
    (17, RowReason.HOLDS_TOKEN),
    (18, RowReason.LIFETIME_INVALID),
    (19, RowReason.TOO_MANY_KEYS),
]


@pytest.mark.parametrize("window", [1, 4, 100])
@pytest.mark.parametrize("dry_run", [False, True])
async def test_each_bad_row_is_told_and_the_others_kept(store: Store, window: int, dry_run: bool) -> None:
    """One bad row would keep a file away, or go unnoticed; a dry run would promise what the import then refuses."""
    before = await everything(store)
    told = Told()
    tally = await keys_in(store, twelve(), told, window=window, dry_run=dry_run)
    assert (told.refused, tally.taken, tally.expired) == (REFUSED, 11, 1)
    assert told.columns[17] == {}
    assert told.columns[19] == {
        "id": "00000011ab",
        "sha256": row(17)["sha256"],
        "app": APP.id,
        "name": "key 17",
        "scopes": "USER_READ",
        "created_at": _iso(NOW - 30 * DAY),
        "expires_at": _iso(NOW + 300 * DAY),
    }
    if dry_run:
        assert await everything(store) == before
    else:
        assert {key.id for key in await listed(store.keys(APP.id))} == {f"{number:08x}ab" for number in range(1, 12)}


def _iso(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


USER_REFUSED = [(3, RowReason.EXTERNAL_ID_TAKEN), (5, RowReason.MALFORMED), (6, RowReason.ID_TAKEN)]


@pytest.mark.parametrize("window", [1, 2, 100])
@pytest.mark.parametrize("dry_run", [False, True])
async def test_users_are_found_again_in_every_piece(store: Store, window: int, dry_run: bool) -> None:
    """Of a large file, each piece would make its users anew; or a dry run would not see that two rows contradict."""
    rows = [
        user_row(1, "one", "first"),
        user_row(2, "", "first"),
        user_row(3, "two", "first"),
        user_row(4, "one", ""),
        user_row(5, "", ""),
        user_row(1, "one", "first"),
        user_row(6, "", "second"),
        user_row(7, "", "second"),
    ]
    before = await everything(store)
    told = Told()
    tally = await tokens_in(store, rows, told, window=window, dry_run=dry_run)
    assert (told.refused, tally.taken) == (USER_REFUSED, 5)
    if dry_run:
        assert await everything(store) == before
    else:
        assert sorted(str(user.external_id) for user in await listed(store.users(APP.id))) == ["first", "second"]


@pytest.mark.parametrize(("take", "rows"), [(keys_in, twelve()), (tokens_in, [user_row(1), user_row(2, "own", "")])])
async def test_a_second_run_changes_nothing(store: Store, take: Any, rows: list[Row]) -> None:
    """An import that broke off could not be begun anew, or would fill the audit with what has not happened."""
    first = Told()
    taken = (await take(store, rows, first)).taken
    before = await everything(store)
    again = Told()
    tally = await take(store, rows, again)
    assert (tally.taken, tally.known, again.refused) == (0, taken, first.refused)
    assert await everything(store) == before


async def test_what_was_revoked_is_not_revived(store: Store) -> None:
    """A key that leaked would work again when the file that brought it is imported once more."""
    await keys_in(store, [row(1)])
    await do(store, acts.revoke(APP.id, "00000001ab", RevokedWhy.LEAKED))
    told = Told()
    await keys_in(store, [row(1)], told)
    assert told.refused == [(1, RowReason.ID_ENDED)]
    found = await store.find_key("00000001ab")
    assert found is not None
    assert found.record.revoked_why is RevokedWhy.LEAKED


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(1, 30), st.sampled_from([APP, OTHER_APP]), st.sampled_from([-1, 300, 337])),
        min_size=1,
        max_size=60,
    ),
    st.integers(1, 20),
)
def test_a_dry_run_tells_what_the_import_will_do(wishes: list[tuple[int, App, int]], window: int) -> None:
    """An operator would trust a dry run, and find on the day itself that other rows are refused."""
    rows = [row(number, app, days=days) for number, app, days in wishes]

    async def both() -> None:
        store = open_store("memory:")
        try:
            await do(store, acts.make_app(APP), acts.make_app(OTHER_APP))
            for half in (rows[: (len(rows) + 1) // 2], rows):
                tried, done = Told(), Told()
                expected = await keys_in(store, half, tried, dry_run=True, window=window)
                assert await keys_in(store, half, done) == expected
                assert (tried.refused, tried.columns) == (done.refused, done.columns)
        finally:
            await store.close()

    asyncio.run(both())


# With others at the same time, and when the store goes away -----------------------------------------------------------


async def test_imports_and_creations_at_once_never_pass_ten(stores: Stores, kind: str) -> None:
    """An app would get more keys than it may have, if an import runs while somebody makes some."""
    url = await stores.url(kind)
    store = await stores.opened(url)
    await do(store, acts.make_app(APP))
    racers = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.store.racing", url, APP.id, str(first), "20", "1"),
            cwd=ROOT,
            stdin=PIPE,
            stdout=PIPE,
        )
        for first in (0, 100, 200)
    ]
    try:
        for racer in racers:
            assert racer.stdin is not None
            assert racer.stdout is not None
            async with asyncio.timeout(PATIENCE):
                assert await racer.stdout.readline() == b"ready\n"
            racer.stdin.write(b"0\n")
        taken = 0
        for number in range(40):
            taken += (await keys_in(store, [row(2 * number), row(2 * number + 1)])).taken
        async with asyncio.timeout(2 * PATIENCE):
            made = sum([(await racer.communicate())[0].count(b"made") for racer in racers])
    finally:
        for racer in racers:
            if racer.returncode is None:
                racer.kill()
                await racer.wait()
    keys = await listed(store.keys(APP.id))
    assert len(keys) == made + taken == MAX_ACTIVE_KEYS
    assert places(keys, NOW) == MAX_ACTIVE_KEYS


async def test_a_lost_answer_does_no_harm(store: Store) -> None:
    """One answer lost in an hour of import would end it."""
    lossy: Any = Lossy(store, StoreUnavailable("The connection was lost."))
    assert await keys_in(lossy, [row(1), row(2)]) == Tally(rows=2, known=2)
    broken: Any = Lossy(store, StoreBroken("The store is damaged."))
    with pytest.raises(StoreUnavailable, match="damaged"):
        await keys_in(broken, [row(3)])


class Hasty(Lossy):
    """A store the replicas of which are slow."""

    async def act(self, acts: Sequence[Act]) -> Any:
        return [replace(done, replicated=False) for done in await self._store.act(acts) if isinstance(done, Done)]


async def test_what_no_replica_confirmed_is_counted(store: Store) -> None:
    """Nobody would know that a failover may lose the rows that were just imported."""
    hasty: Any = Hasty(store, StoreUnavailable(""))
    assert await keys_in(hasty, [row(1), row(2)]) == Tally(rows=2, taken=2, unconfirmed=2)


async def test_an_import_that_broke_off_says_how_far_it_came(tmp_path: Path) -> None:
    """An operator would not know whether to repair something by hand before they try again."""
    path = tmp_path / "store.db"
    store = open_store(f"sqlite:///{path}", create=True, patience=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    try:
        await do(store, acts.make_app(APP), acts.make_app(OTHER_APP))
        rows = [row(1), row(2), row(3, OTHER_APP), row(4, OTHER_APP)]
        told = Told()

        def lock() -> None:
            if told.advanced == 2 and not other.in_transaction:
                other.execute("BEGIN IMMEDIATE")

        told.advancing = lock
        with pytest.raises(StoreUnavailable, match=r" 2 rows had been taken in; the same command goes on from there\."):
            await keys_in(store, rows, told, window=2)
        other.execute("ROLLBACK")
        assert await keys_in(store, rows) == Tally(rows=4, taken=2, known=2)
    finally:
        other.close()
        await store.close()
