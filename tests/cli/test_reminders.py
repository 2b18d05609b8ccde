"""What an operator types to see who was told, to tell people now, and to try the way there."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import structlog
from typer.testing import Result

from gateway.core.ledger import ItemKind
from gateway.core.people import developer_id
from gateway.core.records import App
from gateway.core.times import iso_time
from gateway.core.wishes import DAY
from gateway.store.contract import Store
from tests.cli.conftest import Typing
from tests.support.smtp_server import Sink, smtp_server

ANN, BOB = "ann@example.com", "bob@example.com"


@pytest.fixture(autouse=True)
def _logging_left_alone() -> Iterator[None]:
    """Commands that run in this process set up its logging."""
    yield
    structlog.reset_defaults()


@dataclass(frozen=True, slots=True)
class Place:
    """Commands before a mail server, and a key with two developers."""

    typing: Typing
    sink: Sink
    app: App
    key: dict[str, Any]

    async def typed(self, *words: str) -> Result:
        """What comes of a command; the mail server runs meanwhile."""
        return await asyncio.to_thread(self.typing.typed, "reminders", *words)

    async def told(self, *words: str, code: int = 0) -> Any:
        """What a command prints with --json."""
        result = await self.typed(*words, "--json")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)


@pytest.fixture
async def place(local: Typing) -> AsyncIterator[Place]:
    """It."""
    async with smtp_server() as sink:
        smtp = f"{{host: 127.0.0.1, port: {sink.port}, tls: none, sender: gateway@example.com}}"
        local.config.write_text(f"{local.config.read_text()}\nreminders: {{smtp: {smtp}}}\n")

        def prepared() -> Place:
            app = local.app()
            for email in (ANN, BOB):
                local.told("developers", "grant", email, "--app", app.id)
            return Place(local, sink, app, local.key(app, name="nightly"))

        yield await asyncio.to_thread(prepared)


def in_a_week(place: Place) -> tuple[str, str]:
    """As if the key ended in six days."""
    ends_at = place.typing.told("keys", "show", place.key["id"])["expires_at"]
    return "--at", f"{iso_time(_milliseconds(ends_at) - 6 * DAY)}"


def _milliseconds(text: str) -> int:
    from gateway.cli.durations import moment  # noqa: PLC0415 - which commands alone need

    return moment(text)


async def test_who_is_to_be_told_and_was(place: Place) -> None:
    """An operator could not see whether anybody knows that a key ends, or whose mail was refused."""
    place.sink.plans[BOB] = ["550 5.1.1 nobody"]
    then = await asyncio.to_thread(in_a_week, place)
    assert await place.told("list") == []
    planned = await place.told("run", *then, "--dry-run")
    assert {(each["subject"], each["mark"], each["address"]) for each in planned} == {
        (place.key["id"], "7d", ANN),
        (place.key["id"], "7d", BOB),
    }
    assert await place.told("list") == []
    assert await place.told("run", *then, code=1) == {"sent": 1, "waiting": 0, "failed": 1, "nobody": 0}
    assert await place.told("run", *then) == {"sent": 0, "waiting": 0, "failed": 0, "nobody": 0}
    rows = {row["address"]: row for row in await place.told("list", "--app", place.app.id)}
    assert {to: (row["state"], row["error"], row["code"]) for to, row in rows.items()} == {
        ANN: ("sent", None, None),
        BOB: ("failed", "refused", 550),
    }
    assert rows[ANN]["recipient"] == developer_id(ANN)
    assert [row["address"] for row in await place.told("list", "--state", "failed")] == [BOB]
    for_people = (await place.typed("list")).stdout
    assert "550" in for_people
    assert BOB in for_people


async def test_no_address_is_in_the_ledger(place: Place) -> None:
    """What an operator sees would have been written where it stays when the person has gone."""
    await place.typed("run", *(await asyncio.to_thread(in_a_week, place)))

    async def texts(store: Store) -> list[str]:
        return [f"{item.id} {item.text}" async for item in store.items(ItemKind.NOTICE)]

    kept = await asyncio.to_thread(place.typing.in_store, texts)
    assert len(kept) == 2
    assert "@" not in "".join(kept)


@pytest.mark.parametrize(
    ("plan", "code", "outcome"),
    [
        ([], 0, ("sent", None, None)),
        (["550 5.1.1 nobody"], 1, ("failed", "refused", 550)),
        (["451 4.3.0 later"], 1, ("waiting", "put_off", 451)),
    ],
)
async def test_a_trial(place: Place, plan: list[str], code: int, outcome: tuple[str, str | None, int | None]) -> None:
    """Somebody would find out that mails do not arrive when a key has ended."""
    place.sink.plans[ANN] = [*plan]
    told = await place.told("test", ANN, code=code)
    assert (told["state"], told["error"], told["code"]) == outcome
    assert len(place.sink.mails[ANN]) == (not plan)


@pytest.mark.parametrize("to", ["team", "no address@", "a@b"])
async def test_a_trial_to_nobody(place: Place, to: str) -> None:
    """A slip of the pen would be called a fault of the mail server."""
    error = await asyncio.to_thread(place.typing.refused, "reminders", "test", to)
    assert error["reason"] == "wish_invalid"


@pytest.mark.parametrize("words", [("run",), ("test", ANN)])
def test_nothing_is_set(local: Typing, words: tuple[str, ...]) -> None:
    """Somebody would believe that people are told, where nobody ever is."""
    local.app()
    result = local.typed("reminders", *words)
    assert result.exit_code == 1
    assert "set reminders.smtp (host, sender) or reminders.webhooks, as docs/leaks.md shows" in result.stderr


def test_what_is_due_is_listed_where_nothing_is_set(local: Typing) -> None:
    """Whoever sets up reminders could not see beforehand what would be sent."""
    app = local.app()
    local.told("developers", "grant", ANN, "--app", app.id)
    key = local.key(app)
    then = iso_time(_milliseconds(key["expires_at"]) - 6 * DAY)
    result = local.typed("reminders", "run", "--dry-run", "--at", then, "--json")
    assert result.exit_code == 0
    assert [(each["subject"], each["address"]) for each in json.loads(result.stdout)] == [(key["id"], ANN)]
    assert "Nobody is told of anything: set reminders.smtp" in result.stderr
