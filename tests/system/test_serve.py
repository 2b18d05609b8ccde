"""`gateway serve` as an operator runs it: settings, credentials made by commands, requests, and SIGTERM."""

import asyncio
import json
import shutil
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientConnectorError, ClientSession

from gateway.store.open import open_store
from tests.support.command import Command, command, made
from tests.support.echo import Echo
from tests.support.held import Held
from tests.support.minting import a_key, a_user_token, an_app
from tests.support.running import OWN, message
from tests.support.sweep import Sweep
from tests.support.vectors import OTHER_USER, OWN_USER, VENDOR_SCHEMA

SETTINGS = """
listen: {{host: 127.0.0.1, port: 0}}
admin: {{port: 0}}
policy: {{schema_file: schema.graphql}}
store: {{url: "sqlite:///data/store.db"}}
log: {{file: requests.log}}
default_region: eu
regions:
  eu: {{upstreams: ["{eu}"], user_scoping: upstream}}
  us: {{upstreams: ["{us}"], user_scoping: upstream}}
"""
CONFIG = ("--config", "gateway.yaml")


@dataclass
class Serving:
    """A gateway that serves, and the tokens made for it."""

    command: Command
    log: Path
    key: str
    user: str
    american: str

    @property
    def tokens(self) -> list[str]:
        return [self.key, self.user, self.american]

    def lines(self) -> list[dict[str, Any]]:
        """The log so far."""
        text = self.log.read_text() if self.log.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    async def url(self, name: str = "url") -> str:
        """Where it listens, once it does."""
        found = await self.command.until(lambda: [line for line in self.lines() if line["event"] == "serving"])
        return str(found[-1][name])


def settings(directory: Path, eu: str, us: str) -> None:
    """Write a settings file and a schema."""
    (directory / "gateway.yaml").write_text(SETTINGS.format(eu=eu, us=us))
    shutil.copy(VENDOR_SCHEMA, directory / "schema.graphql")


async def minted(directory: Path) -> dict[str, str]:
    """A store with two apps and their credentials, made quicker than by commands."""
    (directory / "data").mkdir()
    store = open_store(f"sqlite:///{directory / 'data' / 'store.db'}", create=True)
    demo, other = await an_app(store), await an_app(store, "us")
    found = {
        "key": await a_key(store, demo, "USER_READ"),
        "user": await a_user_token(store, demo, OWN_USER),
        "american": await a_key(store, other, "USER_READ"),
    }
    await store.close()
    return found


async def made_by_commands(directory: Path) -> dict[str, str]:
    """More of them, as an operator makes them."""
    demo = await made(directory, "apps", "create", *CONFIG, "--name", "demo", "--region", "eu")
    of_demo = ("--app", demo["id"])
    key = await made(directory, "keys", "create", *CONFIG, *of_demo, "--name", "reader", "--scope", "USER_READ")
    user = await made(directory, "users", "create", *CONFIG, *of_demo, "--id", OWN_USER)
    assert key.keys() >= {"id", "app", "name", "scopes", "state", "created_at", "expires_at", "token"}
    assert user.keys() >= {"id", "app", "external_id", "expires_at", "token"}
    return {"key": key["token"], "user": user["token"]}


@pytest.fixture
async def upstreams() -> AsyncIterator[tuple[Echo, Echo]]:
    """The upstreams of two regions."""
    async with Echo() as eu, Echo() as us:
        yield eu, us


async def ask(url: str, token: str | None, body: str = OWN) -> tuple[int, dict[str, Any]]:
    """One request of an ordinary client."""
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    async with ClientSession() as session, session.post(f"{url}/v4/gql", data=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_from_settings_to_requests(tmp_path: Path, upstreams: tuple[Echo, Echo], sweep: Sweep) -> None:
    """Somebody who follows the commands would not get a gateway that serves and refuses."""
    eu, us = upstreams
    settings(tmp_path, eu.url, us.url)
    of = {**await minted(tmp_path), **await made_by_commands(tmp_path)}
    sweep.add(tmp_path, of.values())
    async with command(tmp_path, "serve", *CONFIG) as started:
        here = Serving(started, tmp_path / "requests.log", **of)
        url = await here.url()
        assert (await ask(url, here.key))[0] == 200
        assert (await ask(url, here.user))[0] == 200
        status, told = await ask(url, here.user, message(f'{{ user(user_id: "{OTHER_USER}") {{ id }} }}'))
        assert (status, told["errors"][0]["extensions"]["reason"]) == (403, "not_own_data")
        assert (await ask(url, here.key, message("{ offloads { day } }")))[0] == 403
        assert (await ask(url, None))[0] == 401
        assert (len(eu.received), len(us.received)) == (2, 0)
        assert (await ask(url, here.american))[0] == 200
        assert (len(eu.received), us.received[-1].one("X-Gateway-Region")) == (2, "us")

        late = await made(tmp_path, "users", "create", *CONFIG, "--app", eu.received[0].one("X-Gateway-App") or "")
        sweep.add(tmp_path, [late["token"]])
        assert (await ask(url, late["token"]))[0] == 200

        admin = await here.url("admin_url")
        async with ClientSession() as session:
            for path, text in (("/live", "true"), ("/ready", '"serving"'), ("/metrics", 'reason="scope_missing"} 1.0')):
                async with session.get(admin + path) as answer:
                    assert (answer.status, text in await answer.text()) == (200, True)
            async with session.get(url + "/metrics") as answer:
                assert answer.status == 404
        assert await started.stop() == 0
    lines = [line for line in here.lines() if line["event"] == "request"]
    assert [line["status"] for line in lines] == [200, 200, 403, 403, 401, 200, 200, 404]
    assert started.said() == ""

    log = tmp_path / "second.log"
    async with command(tmp_path, "serve", *CONFIG, environ={"GATEWAY__LOG__FILE": str(log)}) as started:
        again = Serving(started, log, **of)
        assert (await ask(await again.url(), again.key))[0] == 200
        assert await started.stop() == 0


async def test_sigterm(tmp_path: Path, sweep: Sweep) -> None:
    """A restart would fail requests in flight, or a load balancer send new ones to a gateway that is going."""
    async with Held() as held, ClientSession() as session:
        settings(tmp_path, held.url, held.url)
        of = await minted(tmp_path)
        sweep.add(tmp_path, of.values())
        async with command(tmp_path, "serve", *CONFIG) as started:
            here = Serving(started, tmp_path / "requests.log", **of)
            url, admin = await here.url(), await here.url("admin_url")
            asking = asyncio.create_task(ask(url, here.key))
            asked = await held.asked()
            started.signal()
            assert await ready(session, admin) == (503, "draining")
            with pytest.raises(ClientConnectorError):
                await ask(url, here.key)
            asked.answer()
            assert (await asking)[0] == 200
            assert await started.ended() == 0
        assert [line["status"] for line in here.lines() if line["event"] == "request"] == [200]


async def ready(session: ClientSession, admin: str) -> tuple[int, str]:
    """What /ready says as soon as it no longer says that all is well."""
    async with asyncio.timeout(20):
        while True:
            async with session.get(f"{admin}/ready") as answer:
                if answer.status != 200:
                    return answer.status, (await answer.json())["checks"]["gateway"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal(tmp_path: Path, number: signal.Signals) -> None:
    """Somebody in a hurry could not end a gateway that waits for a request."""
    async with Held() as held, ClientSession() as session:
        settings(tmp_path, held.url, held.url)
        of = await minted(tmp_path)
        async with command(tmp_path, "serve", *CONFIG) as started:
            here = Serving(started, tmp_path / "requests.log", **of)
            url, admin = await here.url(), await here.url("admin_url")
            asking = asyncio.create_task(ask(url, here.key))
            await held.asked()
            started.signal(number)
            assert await ready(session, admin) == (503, "draining")
            started.signal(number)
            assert await started.ended() == -number
            assert "Traceback" not in started.said()
            await asyncio.gather(asking, return_exceptions=True)
