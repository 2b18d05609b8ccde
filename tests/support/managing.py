"""The management API on loopback, two apps, and people who may do different things with them."""

import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import ClientSession, web
from yarl import URL

from gateway.control.api.app import Api
from gateway.core.families import DEFAULT_RULES
from gateway.core.ledger import Who
from gateway.core.records import App, Role
from gateway.core.token import Prefixes, mint
from gateway.keys.developer_tokens import TokenDesk
from gateway.keys.keeper import Keeper
from gateway.listener import QuietRunner
from gateway.settings.api import Operator
from gateway.store.contract import Store

OPERATOR: Final = "operator"
DEVELOPER: Final = "developer"  # of `ours`
SPECTATOR: Final = "spectator"  # of `ours`
STRANGER: Final = "stranger"  # a developer of `theirs`
NOBODY: Final = "nobody"
EVERYBODY: Final = (OPERATOR, DEVELOPER, SPECTATOR, STRANGER, NOBODY)
OPERATOR_TOKEN: Final = mint("gwo", secrets.token_bytes(8), secrets.token_bytes(48)).reveal()
SCOPES: Final = ("USER_READ", "USER_LINK", "OFFLOADS_READ")
REGIONS: Final = ("eu", "us")


@dataclass(frozen=True, slots=True)
class Told:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    text: bytes

    @property
    def json(self) -> Any:
        """What it says."""
        return json.loads(self.text)

    @property
    def but_for_its_id(self) -> tuple[int, dict[str, str], bytes]:
        """All that it says, but the time of day and the id of the request."""
        ref = self.headers["X-Request-Id"]
        headers = {name: value for name, value in self.headers.items() if name.lower() not in {"date", "x-request-id"}}
        return self.status, headers, self.text.replace(ref.encode(), b"REF")

    @property
    def code(self) -> str:
        """The code of a problem."""
        return str(self.json["code"])


def email(who: str) -> str:
    """Somebody's address."""
    return f"{who}@example.com"


@dataclass(slots=True)
class Managed:
    """A served API, and what there is to be managed by it."""

    store: Store
    session: ClientSession
    url: str
    ours: App
    theirs: App
    tokens: dict[str, str]

    async def ask(
        self,
        who: str,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        url: str | None = None,
    ) -> Told:
        """What somebody is answered, in the words of the API's own paths."""
        sent = dict(headers or {})
        if who in self.tokens:
            sent.setdefault("Authorization", f"Bearer {self.tokens[who]}")
        data = None
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
        target = URL(f"{url or self.url}/api/v1{path}", encoded=True)
        async with self.session.request(method, target, data=data, headers=sent, allow_redirects=False) as answer:
            return Told(answer.status, answer.headers, await answer.read())

    async def make_key(self, app: App | None = None, *, by: str = DEVELOPER, name: str = "k") -> dict[str, Any]:
        """A new key of an app, ours as a rule."""
        asked = {"name": name, "scopes": ["USER_READ"]}
        answer = await self.ask(by, "POST", f"/apps/{(app or self.ours).id}/keys", asked)
        assert answer.status == 201, answer.text
        return dict(answer.json)

    @property
    def address(self) -> tuple[str, int]:
        """Where the API is."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    @property
    def keeper(self) -> Keeper:
        """Who makes things in the store without asking the API."""
        return Keeper(self.store, Who("test", "test"), secrets.token_bytes, Prefixes())

    @property
    def desk(self) -> TokenDesk:
        """Who issues developers' tokens without asking the API."""
        return TokenDesk(self.store, Who("test", "test"), secrets.token_bytes)


@asynccontextmanager
async def served(store: Store) -> AsyncIterator[str]:
    """The API of a store, where it can be asked."""
    digest = hashlib.sha256(OPERATOR_TOKEN.encode()).hexdigest()
    application = web.Application()
    Api(
        store,
        Prefixes(),
        (Operator(name="root", token_sha256=digest),),
        scopes=lambda: SCOPES,
        regions=REGIONS,
        overlap=True,
        rules=DEFAULT_RULES,
        realm="gateway",
    ).add_to(application)
    runner = QuietRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def managed(store: Store) -> AsyncIterator[Managed]:
    """An API with two apps, and a token for each of the people."""
    async with served(store) as url, ClientSession() as session:
        keeper = Keeper(store, Who("test", "test"), secrets.token_bytes, Prefixes())
        ours = await keeper.create_app("ours", "eu", regions=REGIONS)
        theirs = await keeper.create_app("theirs", "us", regions=REGIONS)
        await keeper.grant(ours.id, email(DEVELOPER), Role.DEVELOPER)
        await keeper.grant(ours.id, email(SPECTATOR), Role.SPECTATOR)
        await keeper.grant(theirs.id, email(STRANGER), Role.DEVELOPER)
        desk = TokenDesk(store, Who("test", "test"), secrets.token_bytes)
        tokens = {who: (await desk.issue_to(email(who))).token.reveal() for who in (DEVELOPER, SPECTATOR, STRANGER)}
        yield Managed(store, session, url, ours, theirs, {OPERATOR: OPERATOR_TOKEN, **tokens})
