"""`gateway reminders run` as processes of their own, side by side on one store, before a real mail server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.core.notices import LEASE
from gateway.core.records import App, KeyRecord, Role
from gateway.core.times import iso_time
from gateway.core.wishes import DAY
from gateway.store.open import open_store
from gateway.store.redis.founding import init
from tests.store import acts
from tests.store.acts import do
from tests.support.command import command, said
from tests.support.redis_servers import single
from tests.support.smtp_server import Sink, smtp_server
from tests.support.vectors import VENDOR_SCHEMA
from tests.support.waiting import eventually

APP = App("5a0000000000000000000a01", "shop", "eu", account="acme")
SISTER = App("7b0000000000000000000a02", "sister", "eu", account="acme")
ENDS = 4_000_000_000_000  # in the year 2096: by their own clocks the stores see keys that work
KEY = KeyRecord("5a00000000000001", APP.id, "nightly", frozenset({"X"}), bytes(32), ENDS - 365 * DAY, ENDS)
PEOPLE = ("ann@example.com", "bob@example.com", "cleo@example.com")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the commands run, and the mail server."""

    directory: Path
    sink: Sink

    async def run(self, before_end: int, name: str = "one") -> dict[str, int]:
        """What `gateway reminders run` did so many milliseconds before the key's end."""
        words = ("reminders", "run", "--config", "gateway.yaml", "--json", "--at", iso_time(ENDS - before_end))
        code, text = await said(self.directory, *words, name=name)
        assert code == 0, text
        return dict(json.loads(next(line for line in text.splitlines() if line.startswith('{"sent'))))

    async def run_thrice(self, before_end: int) -> None:
        """Three at once."""
        await asyncio.gather(*(self.run(before_end, name) for name in ("one", "two", "three")))


@pytest.fixture(params=["sqlite", "redis"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """A key of `shop` with two developers there, and one of an app of the same account."""
    async with AsyncExitStack() as stack:
        if request.param == "redis":
            url = stack.enter_context(single(tmp_path / "redis")).url
            await init(url)
        else:
            url = f"sqlite:///{tmp_path}/gateway.db"
        store = open_store(url, create=request.param == "sqlite")
        await do(store, acts.make_app(APP), acts.make_app(SISTER))
        await do(store, acts.keep(APP, keys=(KEY,)))
        for email, app in zip(PEOPLE, (APP, APP, SISTER), strict=True):
            await do(store, acts.grant(app.id, email, Role.DEVELOPER))
        await store.close()
        sink = await stack.enter_async_context(smtp_server())
        settings = {
            "store": {"url": url},
            "policy": {"schema_file": str(VENDOR_SCHEMA)},
            "regions": {"eu": {"upstreams": ["http://127.0.0.1:9"], "user_scoping": "upstream"}},
            "reminders": {
                "smtp": {"host": "127.0.0.1", "port": sink.port, "tls": "none", "sender": "gateway@example.com"}
            },
        }
        (tmp_path / "gateway.yaml").write_text(json.dumps(settings))
        yield Place(tmp_path, sink)


async def test_three_gateways_send_one_mail_a_mark(place: Place) -> None:
    """People would get a mail from every gateway, or none as the server was busy, or two as it lost a connection."""
    place.sink.plans |= {PEOPLE[0]: ["451 later"], PEOPLE[1]: ["drop"]}
    await place.run_thrice(14 * DAY)
    assert [len(place.sink.mails[to]) for to in PEOPLE] == [0, 0, 1]
    await place.run_thrice(14 * DAY - LEASE)
    assert [len(place.sink.mails[to]) for to in PEOPLE] == [1, 1, 1]
    await place.run_thrice(6 * DAY)
    assert [len(place.sink.mails[to]) for to in PEOPLE] == [2, 2, 2]
    for mails in place.sink.mails.values():
        assert len({mail["Message-ID"] for mail in mails}) == 2
        assert ["14 days" in mails[0]["Subject"], "6 days" in mails[1]["Subject"]] == [True, True]


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
async def test_one_that_was_killed_is_followed_by_another(place: Place) -> None:
    """Mails that a gateway had begun when it was killed would never be sent, or be sent by another at once as well."""
    place.sink.plans[PEOPLE[0]] = ["silence"]
    words = ("reminders", "run", "--config", "gateway.yaml", "--at", iso_time(ENDS - 14 * DAY))
    async with command(place.directory, *words, name="killed") as killed:
        await eventually(lambda: place.sink.tries == 3 and len(place.sink.mails[PEOPLE[2]]) == 1)
        killed.process.kill()
        await killed.ended()
    assert (await place.run(14 * DAY - LEASE + 1))["sent"] == 0
    assert (await place.run(14 * DAY - LEASE))["sent"] >= 1
    assert len(place.sink.mails[PEOPLE[0]]) == 1
