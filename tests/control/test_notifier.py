"""People are told of keys that end and of leaks: whom, once each, whatever the mail server does."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.control.mail import Mailer
from gateway.control.notifier import Notifier, Turn
from gateway.control.senders import Hook, Senders, SendersFaulty, senders_from
from gateway.control.webhooks import WebhookSender
from gateway.core import incidents
from gateway.core.incidents import LeakReport, Subject
from gateway.core.ledger import Act, Item, ItemKind, Who
from gateway.core.notices import Channel, Mark, notice_of
from gateway.core.people import developer_id
from gateway.core.records import App, Role
from gateway.core.sightings import sighting
from gateway.core.wishes import DAY
from gateway.metrics import NoticeCounts
from gateway.settings.reminders import Reminders, Smtp, Webhook
from gateway.store.contract import Store
from gateway.store.open import open_store
from tests.store import acts
from tests.store.acts import do
from tests.store.checks_items import keep
from tests.support.hook_server import CA, hook_server
from tests.support.smtp_server import Sink, smtp_server
from tests.support.waiting import eventually

APP = App("5a0000000000000000000a01", "shop", "eu", account="acme")
SISTER = App("7b0000000000000000000a02", "sister", "eu", account="acme")
STRANGER = App("7c0000000000000000000a03", "stranger", "eu", account="other")
LONELY = App("7d0000000000000000000a04", "lonely", "eu")
KEY_ID = "5a00000000000001"
SECRET = "whsec_" + "AAAA" * 8


@dataclass(slots=True)
class Time:
    """A clock that is set by hand."""

    now: int = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now


@dataclass(slots=True)
class World:
    """Three apps, two of them of one account; a store whose clock is set at will, and a mail server."""

    store: Store
    sink: Sink
    time: Time

    def notifier(
        self, *, whole_account: bool = True, hooks: tuple[Hook, ...] = (), answer_seconds: float = 20.0
    ) -> Notifier:
        """One of many gateways."""
        smtp = Smtp(host="127.0.0.1", port=self.sink.port, tls="none", sender="gateway@example.com")
        senders = Senders(Mailer(smtp, answer_seconds=answer_seconds), hooks)
        return Notifier(self.store, senders, self.time, NoticeCounts(), every=60, whole_account=whole_account)

    def mails(self) -> dict[str, int]:
        """How many mails each has got."""
        return {to: len(mails) for to, mails in self.sink.mails.items() if mails}

    async def leak(self, *, proven: bool = True) -> LeakReport:
        """A key is reported as leaked."""
        told = LeakReport(APP.id, Subject.KEY, KEY_ID, (sighting(""),), proven=proven, ends=proven)
        await do(self.store, Act(told.asked, lambda seen: incidents.report(seen, told, Who("reporter:x", "suite"))))
        return told


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A key of `shop` with 13 days to live; ann and bob are its developers, cleo the sister's, dan the stranger's."""
    async with smtp_server() as sink:
        time = Time()
        store = open_store("memory:", clock=time)
        world = World(store, sink, time)
        await do(store, *map(acts.make_app, (APP, SISTER, STRANGER, LONELY)))
        for app, email, role in (
            (APP, "ann@example.com", Role.DEVELOPER),
            (APP, "bob@example.com", Role.DEVELOPER),
            (APP, "eve@example.com", Role.SPECTATOR),
            (SISTER, "cleo@example.com", Role.DEVELOPER),
            (SISTER, "ann@example.com", Role.DEVELOPER),
            (STRANGER, "dan@example.com", Role.DEVELOPER),
        ):
            await do(store, acts.grant(app.id, email, role))
        await do(store, acts.make_key(APP.id, KEY_ID, name="nightly", lifetime=100 * DAY))
        world.time.now += 87 * DAY
        yield world
        await store.close()


ACCOUNT = {"ann@example.com": 1, "bob@example.com": 1, "cleo@example.com": 1}
OWN = {"ann@example.com": 1, "bob@example.com": 1}


@pytest.mark.parametrize(("whole_account", "told"), [(True, ACCOUNT), (False, OWN)])
async def test_who_is_told(world: World, whole_account: bool, told: dict[str, int]) -> None:
    """Developers of the account would not hear of a key that ends, or strangers and spectators would."""
    notifier = world.notifier(whole_account=whole_account)
    assert await notifier.turn() == Turn(sent=len(told))
    assert world.mails() == told
    assert await notifier.turn() == Turn()
    assert world.mails() == told


async def test_many_gateways_send_one_mail_a_mark(world: World) -> None:
    """People would get a mail from every gateway, and a second one at every restart."""
    notifiers = [world.notifier() for _ in range(3)]
    for _ in range(12):
        await asyncio.gather(*(notifier.turn() for notifier in notifiers))
        world.time.now += DAY
    assert world.mails() == dict.fromkeys(ACCOUNT, 2)
    assert sorted(mail["Message-ID"] for mail in world.sink.mails["bob@example.com"]) == sorted(
        {mail["Message-ID"] for mail in world.sink.mails["bob@example.com"]}
    )


async def test_after_a_downtime_only_the_nearest_mark(world: World) -> None:
    """People would get two mails at once, one of them wrong."""
    world.time.now += 8 * DAY
    await world.notifier().turn()
    assert world.mails() == ACCOUNT
    assert "in 5 days" in world.sink.mails["bob@example.com"][0]["Subject"]


@pytest.mark.parametrize(
    "plan",
    [["451 later"], ["drop"], ["silence"], ["data 452 full"], ["451 later", "drop", "silence", "421 gone"]],
    ids=str,
)
async def test_what_failed_is_tried_again(world: World, plan: list[str]) -> None:
    """A mail would be lost as the server was busy for a moment, or come twice."""
    world.sink.plans["bob@example.com"] = [*plan]
    notifiers = [world.notifier(answer_seconds=0.3) for _ in range(3)]
    for _ in range(20):
        await asyncio.gather(*(notifier.turn() for notifier in notifiers))
        world.time.now += 60_000
    assert world.mails() == ACCOUNT
    assert world.sink.tries == len(plan) + len(ACCOUNT)


async def test_what_is_refused_for_good_is_not(world: World) -> None:
    """A server would be pressed for two weeks with what it does not want."""
    world.sink.plans["bob@example.com"] = ["550 nobody"]
    notifier = world.notifier()
    assert await notifier.turn() == Turn(sent=2, failed=1)
    world.time.now += DAY
    assert await notifier.turn() == Turn()
    rows = [notice_of(item) async for item in world.store.items(ItemKind.NOTICE)]
    (failed,) = [row for row in rows if row.code == 550]
    assert failed.wanted.recipient == developer_id("bob@example.com")
    assert (notifier.counts.sent, notifier.counts.failed) == (2, 1)


async def test_nobody_to_tell_is_told_once(world: World) -> None:
    """A key of an app without developers would end, and nobody have been told, nor anybody know of it."""
    await do(world.store, acts.make_key(LONELY.id, "7d00000000000001", lifetime=20 * DAY))
    world.time.now += 10 * DAY
    notifier = world.notifier()
    assert (await notifier.turn()).nobody == 1
    assert (await notifier.turn()).nobody == 1
    assert notifier.counts.nobody == 1


async def test_a_leak_is_told_to_the_developers_of_its_app(world: World) -> None:
    """Nobody would make a new key in the place of one that leaked."""
    told = await world.leak()
    notifier = world.notifier()
    assert await notifier.turn(keys_too=False) == Turn(sent=2)
    assert world.mails() == OWN
    assert world.sink.mails["ann@example.com"][0]["Subject"] == f"Leaked: API key {KEY_ID} of shop"
    for _ in range(20):
        await world.leak()
        assert await notifier.turn(keys_too=False) == Turn()
    (row, *_) = [notice_of(item) async for item in world.store.items(ItemKind.NOTICE)]
    assert (row.wanted.mark, row.wanted.subject) == (Mark.LEAK_ENDED, told.incident_id)


async def test_webhooks_get_what_is_theirs(world: World, tmp_path: Path) -> None:
    """A receiver would get notices of other apps, or none of its own."""
    (tmp_path / "secret").write_text(SECRET)
    async with hook_server() as hooks:
        sender = WebhookSender(
            Webhook(
                url=f"https://127.0.0.1:{hooks.port}/",
                secret_file=tmp_path / "secret",
                allow_networks=("127.0.0.0/8",),  # type: ignore[arg-type]  # read from text
                ca_file=CA,
            )
        )
        theirs = Hook("theirs", sender, frozenset({STRANGER.id}))
        notifier = world.notifier(hooks=(Hook("team", sender, frozenset({APP.id})), theirs, Hook("all", sender)))
        assert await notifier.turn() == Turn(sent=5)
        assert len(hooks.came) == 2
        assert len({headers["webhook-id"] for headers, _ in hooks.came}) == 2
        planned = [each async for each in notifier.planned()]
        assert planned == []
        rows = [notice_of(item).wanted async for item in world.store.items(ItemKind.NOTICE)]
        assert {row.recipient for row in rows if row.channel is Channel.WEBHOOK} == {"team", "all"}


async def test_no_address_is_kept(world: World) -> None:
    """The ledger would hold addresses long after a person has left."""
    world.sink.plans["bob@example.com"] = ["550 bob@example.com is unknown"]
    await world.notifier().turn()
    for item in [item async for item in world.store.items(ItemKind.NOTICE)]:
        assert "@" not in f"{item.id} {item.text}"


async def test_a_turn_by_itself(world: World) -> None:
    """A gateway would tell nobody unless a person asks for it, or all gateways look at once."""
    first, second = world.notifier(), world.notifier()
    running = [asyncio.create_task(each.run()) for each in (first, second)]
    try:
        await eventually(lambda: first.counts.sent + second.counts.sent == 3)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    assert {first.counts.sent, second.counts.sent} == {0, 3}
    assert world.mails() == ACCOUNT


async def test_a_damaged_row_is_told_and_harms_nobody(world: World) -> None:
    """A gateway would stop telling people without a word."""
    damaged = Item(ItemKind.INCIDENT, f"{APP.id[:2]}ff", APP.id, "{}")
    await do(world.store, keep(damaged))
    notifier = world.notifier()
    running = asyncio.create_task(notifier.run())
    try:
        await eventually(lambda: notifier.fault != "")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert "damaged" in notifier.fault


def test_faulty_files_are_all_named(tmp_path: Path) -> None:
    """Somebody would mend one file, start again, and be told of the next."""
    (tmp_path / "short").write_text("whsec_AAAA")
    webhooks = {name: Webhook(url="https://example.com/", secret_file=tmp_path / name) for name in ("missing", "short")}
    smtp = Smtp(host="h", sender="a@example.com", username="u", password_file=tmp_path / "password")
    with pytest.raises(SendersFaulty) as caught:
        senders_from(Reminders(smtp=smtp, webhooks=webhooks))
    told = str(caught.value)
    assert "reminders.smtp: " in told
    assert "reminders.webhooks.missing: " in told
    assert "reminders.webhooks.short: " in told
    assert not senders_from(Reminders())
