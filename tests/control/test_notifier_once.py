"""Nobody gets a mail twice because something else went wrong after the server had taken it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from gateway.control import notifier as module
from gateway.control.letters import Letter
from gateway.control.mail import ANSWER_SECONDS, Mailer
from gateway.control.notifier import Notifier, Turn
from gateway.control.senders import Hook, Senders
from gateway.control.webhooks import WebhookSender
from gateway.core import incidents, notices
from gateway.core.incidents import LeakReport, Subject
from gateway.core.ledger import Act, Item, ItemKind, Who
from gateway.core.notices import Channel, Mark, NoticeState, Outcome, Wanted, notice_of
from gateway.core.people import CLOCKS_APART, developer_id
from gateway.core.records import App, Role
from gateway.core.sightings import sighting
from gateway.core.wishes import DAY
from gateway.metrics import NoticeCounts
from gateway.settings.reminders import Smtp
from gateway.store.contract import Store, StoreBroken
from gateway.store.open import open_store
from tests.store import acts
from tests.store.acts import do
from tests.store.checks_items import keep
from tests.support.smtp_server import Sink, smtp_server
from tests.support.waiting import eventually

APP = App("5a0000000000000000000a01", "shop", "eu")
KEY_ID = "5a00000000000001"
ANN, BOB = "ann@example.com", "bob@example.com"


@dataclass(slots=True)
class World:
    """A key in its last two weeks with two developers; a store file, a mail server, and a clock set by hand."""

    path: Path
    sink: Sink
    now: int = 1_700_000_000_000

    def open(self) -> Store:
        """The store, as one gateway has it."""
        return open_store(f"sqlite:///{self.path}", create=True, patience=0.05, clock=lambda: self.now)

    def notifier(self, store: Store, *, timeout: float = 20.0) -> Notifier:
        """One gateway's."""
        smtp = Smtp(host="127.0.0.1", port=self.sink.port, tls="none", sender="gateway@example.com", timeout=timeout)
        return Notifier(store, Senders(Mailer(smtp)), lambda: self.now, NoticeCounts(), every=60)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """It."""
    async with smtp_server() as sink:
        world = World(tmp_path / "store.db", sink)
        store = world.open()
        await do(store, acts.make_app(APP), acts.make_key(APP.id, KEY_ID, lifetime=100 * DAY))
        await do(store, acts.grant(APP.id, ANN, Role.DEVELOPER), acts.grant(APP.id, BOB, Role.DEVELOPER))
        await store.close()
        world.now += 87 * DAY
        yield world


@pytest.fixture
async def store(world: World) -> AsyncIterator[Store]:
    """The store, open."""
    store = world.open()
    yield store
    await store.close()


async def states(store: Store) -> list[NoticeState]:
    """How far the rows of the ledger are."""
    return sorted([notice_of(item).state async for item in store.items(ItemKind.NOTICE)])


BOTH_SENT = [NoticeState.SENT, NoticeState.SENT]


async def test_a_gateway_that_is_stopped_sees_its_mails_through(world: World, store: Store) -> None:
    """At a restart, a mail that the server has just taken would be sent again by the next gateway."""
    world.sink.plans[BOB] = ["hold"]
    running = asyncio.create_task(world.notifier(store).run())
    await eventually(lambda: world.sink.held == 1)
    running.cancel()
    await asyncio.sleep(0)
    world.sink.released.set()
    await asyncio.gather(running, return_exceptions=True)
    assert await states(store) == BOTH_SENT
    world.now += notices.LEASE + 1
    assert await world.notifier(store).turn() == Turn()
    assert [len(world.sink.mails[to]) for to in (ANN, BOB)] == [1, 1]


async def test_a_store_that_is_away_is_told_later_what_was_sent(world: World, store: Store) -> None:
    """A store that fails for a moment after a mail went out would have the mail sent again."""
    world.sink.plans[BOB] = ["hold"]
    notifier = world.notifier(store)
    turn = asyncio.create_task(notifier.turn())
    await eventually(lambda: world.sink.held == 1 and len(world.sink.mails[ANN]) == 1)
    await eventually(lambda: notifier.counts.sent == 1)
    with closing(sqlite3.connect(world.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        world.sink.released.set()
        await eventually(lambda: notifier.fault != "")
        assert not turn.done()
        other.rollback()
    assert await turn == Turn(sent=2)
    assert await states(store) == BOTH_SENT


async def test_a_server_may_take_its_time_for_a_mail(world: World, store: Store) -> None:
    """A server that looks at each mail for half a minute would get, and take, the same mail at every try."""
    world.sink.plans |= {ANN: ["hold"], BOB: ["hold"]}
    turn = asyncio.create_task(world.notifier(store, timeout=0.5).turn())
    await eventually(lambda: world.sink.held == 2)
    done, _ = await asyncio.wait([turn], timeout=0.7)  # longer than a step may take
    assert not done
    world.sink.released.set()
    assert await turn == Turn(sent=2)
    assert world.sink.tries == 2


def test_a_claim_outlives_the_slowest_mail() -> None:
    """A second gateway would take over from one that still waits for the server's word."""
    send = module._SEND_SECONDS + module._CLAIM_SECONDS  # noqa: SLF001 - there is no other way to see it
    assert ANSWER_SECONDS < module._SEND_SECONDS  # noqa: SLF001 - as above
    assert send * 1000 + CLOCKS_APART < notices.LEASE


async def test_one_damaged_row_keeps_nobody_else_from_being_told(world: World, store: Store) -> None:
    """One damaged row would keep everybody from being told of anything, ever."""
    wanted = Wanted(APP.id, KEY_ID, Mark.TWO_WEEKS, developer_id(ANN), Channel.EMAIL)
    await do(
        store,
        keep(Item(ItemKind.INCIDENT, f"{APP.id[:2]}ff", APP.id, "{}")),
        keep(Item(ItemKind.NOTICE, wanted.id, APP.id, "{}")),
    )
    notifier = world.notifier(store)
    with pytest.raises(StoreBroken, match="damaged"):
        await notifier.turn()
    assert notifier.counts.sent == 1
    assert [len(world.sink.mails[to]) for to in (ANN, BOB)] == [0, 1]


async def test_the_end_of_a_key_is_told_even_if_its_leak_was(world: World, store: Store) -> None:
    """People who were told that a key goes on working would not hear that it was ended the next day."""

    async def leaks(*, ends: bool) -> None:
        told = LeakReport(APP.id, Subject.KEY, KEY_ID, (sighting(""),), proven=ends, ends=ends)
        await do(store, Act(told.asked, lambda seen: incidents.report(seen, told, Who("reporter:x", "suite"))))

    notifier = world.notifier(store)
    await leaks(ends=False)
    assert await notifier.turn(keys_too=False) == Turn(sent=2)
    assert await notifier.turn(keys_too=False) == Turn()
    await leaks(ends=True)
    assert await notifier.turn(keys_too=False) == Turn(sent=2)
    assert await notifier.turn() == Turn()
    assert "goes on working" in str(world.sink.mails[ANN][0].get_body(("plain",)))
    assert "It was ended" in str(world.sink.mails[ANN][1].get_body(("plain",)))


async def test_what_is_over_is_read_no_more(world: World, store: Store) -> None:
    """A gateway would read all incidents that ever were, every five seconds, while requests wait."""
    read = Reading(store)
    notifier = world.notifier(cast(Store, read))
    await notifier.turn(keys_too=False)
    assert read.whole == 1
    told = LeakReport(APP.id, Subject.KEY, KEY_ID, (sighting(""),), proven=False, ends=False)
    await do(store, Act(told.asked, lambda seen: incidents.report(seen, told, Who("reporter:x", "suite"))))
    assert await notifier.turn(keys_too=False) == Turn(sent=2)
    await notifier.turn(keys_too=False)
    read.single.clear()
    await notifier.turn(keys_too=False)
    assert (read.whole, read.single) == (1, [])
    ended = replace(told, proven=True, ends=True)
    await do(store, Act(ended.asked, lambda seen: incidents.report(seen, ended, Who("reporter:x", "suite"))))
    assert await notifier.turn(keys_too=False) == Turn(sent=2)
    assert read.whole == 1


class Reading:
    """A store that notes which incidents are read of it: how often all, and which by themselves."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.whole = 0
        self.single: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def items(self, kind: ItemKind, owner: str | None = None) -> AsyncIterator[Item]:
        """The store's."""
        self.whole += kind is ItemKind.INCIDENT
        return self._store.items(kind, owner)

    async def find_item(self, kind: ItemKind, item_id: str) -> Item | None:
        """The store's."""
        self.single += [item_id] if kind is ItemKind.INCIDENT else []
        return await self._store.find_item(kind, item_id)


async def test_a_look_lets_others_have_their_turn(world: World, store: Store) -> None:
    """While many incidents are looked at no request would be answered."""
    for number in range(40):
        key_id = f"5a{number:014x}"
        told = LeakReport(APP.id, Subject.KEY, key_id, (sighting(""),), proven=True, ends=True)
        await do(store, acts.make_key(APP.id, key_id, lifetime=100 * DAY))
        await do(store, Act(told.asked, lambda seen, told=told: incidents.report(seen, told, Who("x", "suite"))))  # type: ignore[misc]
        await do(
            store,
            Act(told.asked, lambda seen, told=told: incidents.close(seen, told.incident_id, Who("x", "suite"))),  # type: ignore[misc]
        )
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    at_work = asyncio.create_task(others())
    await world.notifier(store).turn(keys_too=False)
    at_work.cancel()
    await asyncio.gather(at_work, return_exceptions=True)
    assert turns >= 40


class Faulty(WebhookSender):
    """Makes notices, or sends them, as nobody foresaw."""

    def __init__(self, where: str) -> None:
        self.where = where

    def prepared(self, letter: Letter, notice_id: str, at: int) -> Callable[[], Coroutine[Any, Any, Outcome]]:
        """Fails, here or later."""
        if self.where == "making":
            raise LookupError

        async def send() -> Outcome:
            raise LookupError

        return send


@pytest.mark.parametrize("where", ["making", "sending"])
async def test_a_fault_of_ours_ends_the_claim(world: World, store: Store, where: str) -> None:
    """A notice that cannot be sent would be in nobody's list, and tried for ever without a pause."""
    senders = Senders(None, (Hook("team", Faulty(where)),))
    notifier = Notifier(store, senders, lambda: world.now, NoticeCounts(), every=60)
    assert await notifier.turn() == Turn(waiting=1)
    (row,) = [notice_of(item) async for item in store.items(ItemKind.NOTICE)]
    assert (row.state, row.error, row.until) == (NoticeState.WAITING, "fault", world.now + notices.FIRST_PAUSE)
    assert await notifier.turn() == Turn()
    world.now += notices.FIRST_PAUSE
    assert await notifier.turn() == Turn(waiting=1)
    (row,) = [notice_of(item) async for item in store.items(ItemKind.NOTICE)]
    assert (row.attempts, row.until) == (2, world.now + 2 * notices.FIRST_PAUSE)


LATER = App("7b0000000000000000000a02", "later", "eu")


@pytest.mark.parametrize(
    "harm",
    [
        "INSERT INTO role VALUES ('5a0000000000000000000a01', 'x@example.com', 'boss')",
        "UPDATE api_key SET revoked_at = 1, revoked_why = 'odd' WHERE id = '5a00000000000001'",
        "INSERT INTO item VALUES ('incident', '5aff', '5a0000000000000000000a01', '{}', NULL)",
    ],
    ids=["role", "key", "incident"],
)
async def test_what_is_damaged_in_one_app_is_not_felt_in_another(world: World, store: Store, harm: str) -> None:
    """One row that cannot be read would keep all people of all apps from hearing of keys and leaks."""
    for app, key_id in ((APP, "5a00000000000002"), (LATER, "7b00000000000001")):
        if app is LATER:
            await do(store, acts.make_app(app), acts.grant(app.id, "zoe@example.com", Role.DEVELOPER))
        await do(store, acts.make_key(app.id, key_id, lifetime=10 * DAY))
        told = LeakReport(app.id, Subject.KEY, key_id, (sighting(""),), proven=False, ends=False)
        await do(store, Act(told.asked, lambda seen, told=told: incidents.report(seen, told, Who("x", "suite"))))  # type: ignore[misc]
    world.now += 4 * DAY
    with closing(sqlite3.connect(world.path, isolation_level=None)) as other:
        other.execute("PRAGMA ignore_check_constraints = ON")
        other.execute(harm)
    notifier = world.notifier(store)
    with capture_logs() as lines:
        for _ in range(2):
            with pytest.raises(StoreBroken):
                await notifier.turn()
    assert len(world.sink.mails["zoe@example.com"]) == 2  # of the leak, and of the end of the key
    faults = [line["id"] for line in lines if line["event"] == "nobody is told of what is damaged"]
    assert len(faults) == len(set(faults)) > 0


async def test_a_new_developer_hears_of_open_incidents(world: World, store: Store) -> None:
    """Whoever is to see to an incident would have to have been there when it was opened."""
    told = LeakReport(APP.id, Subject.KEY, KEY_ID, (sighting(""),), proven=True, ends=True)
    await do(store, Act(told.asked, lambda seen: incidents.report(seen, told, Who("reporter:x", "suite"))))
    notifier = world.notifier(store)
    assert await notifier.turn(keys_too=False) == Turn(sent=2)
    assert await notifier.turn(keys_too=False) == Turn()
    await do(store, acts.grant(APP.id, "new@example.com", Role.DEVELOPER))
    assert await notifier.turn() == Turn(sent=1)


async def test_how_long_the_oldest_waits(world: World, store: Store) -> None:
    """Nobody would see that mails have not gone out for days."""
    world.sink.plans[BOB] = ["451 later"] * 9
    notifier, began = world.notifier(store), world.now
    await notifier.turn()
    for _ in range(3):
        world.now += 3_600_000
        await notifier.turn()
        assert notifier.counts.oldest_waiting_at == began
    world.sink.plans[BOB] = []
    world.now += DAY
    assert await notifier.turn() == Turn(sent=1)
    await notifier.turn()
    assert notifier.counts.oldest_waiting_at is None


async def test_a_gateway_without_any_road_says_so_once(world: World, store: Store) -> None:
    """Keys would end one day, and nobody have known that nobody is told."""
    with capture_logs() as lines:
        await Notifier(store, Senders(), lambda: world.now, NoticeCounts(), every=60).run()
        world.now += 20 * DAY  # when the key has ended there is nothing more to tell
        await Notifier(store, Senders(), lambda: world.now, NoticeCounts(), every=60).run()
    (line,) = lines
    assert line["event"] == "no reminders will be sent: set reminders.smtp or reminders.webhooks"


async def test_a_store_that_is_away_only_delays_it(world: World, store: Store) -> None:
    """A gateway whose store was away for a second would tell nobody until it is started again."""
    notifier = world.notifier(store)
    with closing(sqlite3.connect(world.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        running = asyncio.create_task(notifier.run())
        await eventually(lambda: notifier.fault != "")
        assert notifier.counts.sent == 0
        other.rollback()
    await eventually(lambda: notifier.counts.sent == 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await states(store) == BOTH_SENT
