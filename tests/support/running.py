"""A whole gateway on loopback, in the test's own event loop, before an echo: what a test needs to be a client."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.app import Gateway
from gateway.core.ledger import Who
from gateway.core.records import App
from gateway.core.token import Prefixes
from gateway.keys.keeper import Keeper
from gateway.log import RequestLog, Sink
from gateway.settings import load_settings
from gateway.store.contract import Store
from gateway.store.open import open_store
from tests.support.echo import Echo
from tests.support.vectors import OWN_USER, VENDOR_SCHEMA

SCOPES = ("USER_READ", "USER_DELETE", "USER_LINK", "OFFLOADS_READ", "OFFLOADS_GENERATE_URL", "FAKE_DATA_INSERT")
OWN = '{"query":"{ user { id } }"}'


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as a client reads it off the wire."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header, or None."""
        values = [value for given, value in self.headers if given.lower() == name.lower()]
        assert len(values) <= 1, f"{name} stands {len(values)} times"
        return values[0] if values else None

    @property
    def reasons(self) -> list[str]:
        """The reasons of a refusal, whichever shape it has."""
        told = json.loads(self.body)
        if "errors" in told:
            return [error["extensions"]["reason"] for error in told["errors"]]
        return [told["reason"]]


@dataclass(slots=True)
class Running:
    """A running gateway, with tokens made for it."""

    app: Gateway
    store: Store
    upstream: Echo
    owner: App
    user_token: str
    keys: Mapping[str, str]
    log: RequestLog
    log_file: Path

    @property
    def address(self) -> tuple[str, int]:
        """Where clients connect."""
        host, _, port = self.app.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    def lines(self) -> list[dict[str, Any]]:
        """The log's lines of requests so far."""
        self.app.recorder.flush()
        self.log.settle()
        return [json.loads(line) for line in self.log_file.read_text().splitlines() if '"event":"request"' in line]

    async def raw(self, data: bytes) -> bytes:
        """Send bytes on a connection of their own, and return all that comes back until the gateway closes it."""
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(data)
        try:
            return await asyncio.wait_for(reader.read(), 20)
        finally:
            writer.close()

    async def ask(
        self,
        body: str | bytes = OWN,
        *,
        token: str | None = None,
        method: str = "POST",
        target: str = "/v4/gql",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own; `headers` replace the usual ones."""
        data = body.encode() if isinstance(body, str) else body
        lines = {
            "Host": "127.0.0.1",
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            "Connection": "close",
            **({"Authorization": f"Bearer {token}"} if token else {}),
            **(headers or {}),
        }
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return answer_from(await self.raw(head.encode("latin-1") + b"\r\n" + data))


def message(query: str, **members: object) -> str:
    """The body of a GraphQL request."""
    return json.dumps({"query": query, **members})


def answer_from(data: bytes) -> Answer:
    """The one answer in what a connection gave."""
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = tuple((line.partition(": ")[0], line.partition(": ")[2]) for line in lines)
    return Answer(int(status.split(" ")[1]), headers, body)


@asynccontextmanager
async def running(
    directory: Path,
    overrides: Mapping[str, object] | None = None,
    *,
    upstream_url: str | None = None,
    store: Store | None = None,
    clock: Callable[[], int] | None = None,
) -> AsyncIterator[Running]:
    """A gateway with one app in `eu`, a key for each scope (and "all"), and a token of the usual user.

    `store` stands for the one that the settings name, and is closed at the end like that one; `clock` is best its own.
    """
    async with Echo() as upstream:
        log_file = directory / "requests.log"
        settings = load_settings(
            None,
            environ={},
            overrides={
                "listen.host": "127.0.0.1",
                "listen.port": 0,
                "admin.port": 0,
                "policy.schema_file": str(VENDOR_SCHEMA),
                "store.url": "memory:",
                "regions.eu.upstreams": [upstream_url or upstream.url],
                "regions.eu.user_scoping": "upstream",
                **(overrides or {}),
            },
        )
        store = store or open_store(settings.store.url)
        log = RequestLog(Sink(log_file))
        try:
            app = Gateway(settings, store, log, clock=clock)
            await app.start()
            try:
                yield await _with_tokens(app, store, upstream, log, log_file)
            finally:
                await app.stop()
        finally:
            await store.close()
            log.close()


async def _with_tokens(app: Gateway, store: Store, upstream: Echo, log: RequestLog, log_file: Path) -> Running:
    keeper = Keeper(store, Who("test", "test"), secrets.token_bytes, Prefixes())
    owner = await keeper.create_app("demo", "eu", regions=["eu"])
    keys = {}
    for name, scopes in [*((scope, (scope,)) for scope in SCOPES), ("all", SCOPES)]:
        keys[name] = (await keeper.create_key(owner.id, name, scopes, known_scopes=SCOPES)).token.reveal()
    user = await keeper.create_user_token(owner.id, user_id=OWN_USER)
    return Running(app, store, upstream, owner, user.token.reveal(), keys, log, log_file)
