"""Users of another issuer as one story: two gateways on one store, the pretend upstream behind, commands beside."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import ClientSession

from gateway.dev.mock import Mock
from gateway.store.open import open_store
from tests.support import jwts
from tests.support.command import command
from tests.support.gateways import Gateway, serving
from tests.support.jwks_server import CA, JwksServer, serving_keys
from tests.support.minting import an_app
from tests.support.sweep import Sweep
from tests.support.vectors import VENDOR_SCHEMA
from tests.support.waiting import eventually


@dataclass(frozen=True, slots=True)
class Town:
    """Two gateways, an issuer that both know, and a directory for commands."""

    gateways: tuple[Gateway, Gateway]
    issuer: JwksServer
    app_id: str
    directory: Path

    def token(self, user: str, by: str = "rsa") -> str:
        """A good token for an hour."""
        now = int(time.time())
        return jwts.token(jwts.claims(now, app_id=self.app_id, sub=user, exp=now + 3600), by=by)

    async def until(self, status: int, token: str) -> None:
        """Return once both gateways answer a request with this token so."""

        async def so() -> bool:
            return {await gateway.status(token) for gateway in self.gateways} == {status}

        await eventually(so)

    async def run(self, *words: str) -> str:
        """A command has done its work; what it said."""
        async with command(self.directory, *words, name="command") as ran:
            code = await ran.ended()
            assert code == 0, ran.said()
            return ran.said()


@pytest.fixture
async def town(tmp_path: Path, sweep: Sweep) -> AsyncIterator[Town]:
    """It, on a SQLite store."""
    async with AsyncExitStack() as stack:
        mock = await Mock.start(VENDOR_SCHEMA.read_text("utf-8"))
        stack.push_async_callback(mock.stop)
        issuer = await stack.enter_async_context(serving_keys(jwts.published()))
        store = open_store(f"sqlite:///{tmp_path}/gateway.db", create=True)
        app = await an_app(store)
        await store.close()
        known = {
            "issuer": jwts.ISSUER,
            "apps": [app.id],
            "audience": jwts.AUDIENCE,
            "jwks_url": issuer.url,
            "ca_file": str(CA),
        }
        one, other = [
            await stack.enter_async_context(
                serving(
                    tmp_path,
                    {"url": "sqlite:///gateway.db"},
                    mock.url,
                    name=name,
                    issuers={"mobile": known},
                )
            )
            for name in ("one", "other")
        ]
        yield Town((one, other), issuer, app.id, tmp_path)


async def test_users_of_another_issuer(town: Town, sweep: Sweep) -> None:
    """Users that another system knows could not use the API, or nobody could keep one of them out."""
    ada, eve, rest = town.token("ada"), town.token("eve"), town.token("ada", by="ec")
    sweep.add(town.directory, [f".{text.rpartition('.')[2]}" for text in (ada, eve, rest)])
    for token in (ada, eve, rest):
        await town.until(200, token)

    of = ("--app", town.app_id, "--config", "one.yaml")
    await town.run("users", "disable", "eve", "--unknown", *of)
    await town.until(401, eve)
    assert [await gateway.status(ada) for gateway in town.gateways] == [200, 200]
    await town.run("users", "enable", "eve", *of)
    await town.until(200, eve)

    url = town.gateways[0].url
    async with ClientSession() as session:
        headers = {"Authorization": f"Bearer {eve}"}
        async with session.delete(f"{url}/users/eve", headers=headers) as answer:
            assert answer.status < 300
    await town.until(401, eve)
    await town.until(401, town.token("eve"))
    assert [await gateway.status(ada) for gateway in town.gateways] == [200, 200]

    await town.run("apps", "disable", town.app_id, "--config", "one.yaml")
    await town.until(401, ada)
    await town.run("apps", "enable", town.app_id, "--config", "one.yaml")
    await town.until(200, ada)
    assert town.issuer.asked == 2  # once by each gateway
