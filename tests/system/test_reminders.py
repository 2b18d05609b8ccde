"""`gateway reminders` as operators use it: many processes over one store, a clock that is an argument, a real mail
server that is not always in the mood."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.core.records import App, Role
from gateway.core.wishes import DAY
from gateway.store.open import open_store
from gateway.store.redis.founding import init
from tests.store import acts
from tests.store.acts import do, look
from tests.support.command import command, said
from tests.support.redis_servers import FORGETFUL, single
from tests.support.smtp_server import Sink, smtp_server
from tests.support.vectors import ROOT

APP = App("5a0000000000000000000a01", "shop", "eu", account="acme")
KEY_ID = "5a00000000000001"
PEOPLE = ("ann@example.com", "bob@example.com", "cleo@example.com")


@dataclass(frozen=True, slots=True)
class Shop:
    """An app with three developers, whose key ends in 100 days; and a mail server."""

    directory: Path
    sink: Sink
    ends_at: int

    def time(self, days_left: float) -> str:
        """When the key has so many days left, as it is typed."""
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=self.ends_at - days_left * DAY)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    async def ran(self, days_left: float, name: str) -> dict[str, Any]:
        """What one process did at that time."""
        words = ("reminders", "run", "--at", self.time(days_left), "--config", "gateway.yaml", "--json")
        async with command(self.directory, *words, name=name) as started:
            await started.ended()
            told: dict[str, Any] = json.loads(started.out.read_text())
            return told

    async def three(self, days_left: float) -> int:
        """How many mails three processes sent that ran at once."""
        return sum(told["sent"] for told in await asyncio.gather(*(self.ran(days_left, f"{n}") for n in range(3))))


@asynccontextmanager
async def shop_on(kind: str, directory: Path) -> AsyncIterator[Shop]:
    """The shop, in a store of a kind."""
    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(smtp_server())
        url = f"sqlite:///{directory}/store.db"
        if kind == "redis":
            url = stack.enter_context(single(directory / "redis", *FORGETFUL)).url
            await init(url)
        store = open_store(url, create=kind == "sqlite")
        await do(store, acts.make_app(APP), *(acts.grant(APP.id, email, Role.DEVELOPER) for email in PEOPLE))
        await do(store, acts.make_key(APP.id, KEY_ID, name="nightly", lifetime=100 * DAY))
        ends_at = (await look(store, APP.id)).keys[KEY_ID].expires_at
        await store.close()
        settings = {
            "store": {"url": url},
            "policy": {"schema_file": str(ROOT / "config" / "schema.graphql")},
            "regions": {"eu": {"upstreams": ["http://127.0.0.1:9"], "user_scoping": "upstream"}},
            "reminders": {
                "smtp": {
                    "host": "127.0.0.1", "port": sink.port, "tls": "none", "sender": "gw@example.com", "timeout": 1.0
                }
            },
        }  # fmt: skip
        (directory / "gateway.yaml").write_text(yaml.safe_dump(settings))
        yield Shop(directory, sink, ends_at)


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_each_is_told_once_a_mark(kind: str, tmp_path: Path) -> None:
    """People would get a mail from every process, or none as the mail server was busy at the wrong moment."""
    minutes = 1 / (24 * 60)
    async with shop_on(kind, tmp_path) as shop:
        assert (await shop.ran(20, "early"))["sent"] == 0
        shop.sink.plans["ann@example.com"] = ["451 later"]
        shop.sink.plans["bob@example.com"] = ["drop"]
        shop.sink.plans["cleo@example.com"] = ["silence"]
        assert await shop.three(13) == 0
        assert await shop.three(13 - 2 * minutes) == 3
        assert {to: len(mails) for to, mails in shop.sink.mails.items() if mails} == dict.fromkeys(PEOPLE, 1)
        assert await shop.three(6) == 3
        assert (await shop.ran(2, "late"))["sent"] == 0
        assert {to: len(mails) for to, mails in shop.sink.mails.items()} == dict.fromkeys(PEOPLE, 2)
        subjects = [[mail["Subject"].rpartition(" ends ")[2] for mail in mails] for mails in shop.sink.mails.values()]
        assert subjects == [["in 13 days", "in 6 days"]] * 3


async def test_a_process_that_dies_holds_nobody_up(tmp_path: Path) -> None:
    """A mail would never be sent, as whoever had begun with it was killed."""
    async with shop_on("sqlite", tmp_path) as shop:
        shop.sink.plans["ann@example.com"] = ["silence"]
        words = ("reminders", "run", "--at", shop.time(13), "--config", "gateway.yaml")
        async with command(tmp_path, *words, name="dying") as dying:
            await dying.until(lambda: shop.sink.tries == len(PEOPLE) and not shop.sink.plans["ann@example.com"])
            dying.process.kill()
            await dying.process.wait()
        assert (await shop.ran(13, "soon"))["sent"] == 0  # its claim still stands
        assert (await shop.ran(13 - 3 / (24 * 60), "later"))["sent"] >= 1
        assert len(shop.sink.mails["ann@example.com"]) == 1


async def test_what_was_sent_is_listed(tmp_path: Path) -> None:
    """An operator could not see who was told, who is to be, and whether the way there works."""
    async with shop_on("sqlite", tmp_path) as shop:
        shop.sink.plans["bob@example.com"] = ["550 nobody"]
        at = ("--at", shop.time(13))
        code, planned = await said(tmp_path, "reminders", "run", "--dry-run", *at, "--config", "gateway.yaml")
        assert (code, shop.sink.tries) == (0, 0)
        assert all(email in planned for email in PEOPLE)
        code, text = await said(tmp_path, "reminders", "run", *at, "--config", "gateway.yaml")
        assert code == 1
        assert "failed: 1" in text
        code, text = await said(tmp_path, "reminders", "list", "--config", "gateway.yaml", "--json")
        states = {row["address"]: (row["state"], row["code"]) for row in json.loads(text)}
        assert states == {
            "ann@example.com": ("sent", None),
            "bob@example.com": ("failed", 550),
            "cleo@example.com": ("sent", None),
        }
        code, text = await said(tmp_path, "reminders", "test", "dan@example.com", "--config", "gateway.yaml")
        assert (code, len(shop.sink.mails["dan@example.com"])) == (0, 1)
        code, text = await said(tmp_path, "reminders", "test", "nowhere", "--config", "gateway.yaml")
        assert code == 3
        assert "an e-mail address" in text
