"""A gateway's settings and store, and commands typed for it."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import application
from gateway.cli.opening import chosen, opened
from gateway.core.records import App
from gateway.store.contract import Store
from tests.support.redis_servers import FORGETFUL, Servers, single

T = TypeVar("T")

SCHEMA = """
schema { query: Query }
type Query {
  me: String @requiresScopes(scopes: [[USER_READ]])
  link: String @requiresScopes(scopes: [[USER_LINK]])
}
"""
SETTINGS = """
store: {url: "sqlite:///data/store.db"}
policy: {schema_file: schema.graphql}
default_region: eu
regions:
  eu: {upstreams: ["http://127.0.0.1:9"], user_scoping: upstream}
  us: {upstreams: ["http://127.0.0.1:9"], user_scoping: upstream}
"""


@dataclass(frozen=True, slots=True)
class Typing:
    """Types commands for the gateway of one settings file."""

    config: Path

    @property
    def in_redis(self) -> bool:
        """Whether the store is one of several machines."""
        return "redis://" in self.config.read_text()

    def typed(self, *words: str, stdin: str | None = None) -> Result:
        """What comes of a command."""
        return CliRunner().invoke(application(words[0]), [*words, "--config", str(self.config)], input=stdin)

    def told(self, *words: str, stdin: str | None = None) -> Any:
        """What a command prints with --json, which succeeds."""
        result = self.typed(*words, "--json", stdin=stdin)
        assert (result.exit_code, result.stderr) == (0, "")
        return json.loads(result.stdout)

    def refused(self, *words: str, stdin: str | None = None) -> dict[str, str]:
        """The error of a command that is refused, for people and for programs alike."""
        for_people = self.typed(*words, stdin=stdin)
        assert (for_people.exit_code, for_people.stdout) == (3, "")
        result = self.typed(*words, "--json", stdin=stdin)
        assert (result.exit_code, result.stderr) == (3, "")
        printed = json.loads(result.stdout)
        assert list(printed) == ["error"]
        error: dict[str, str] = printed["error"]
        assert list(error) == ["reason", "message"]
        assert for_people.stderr == f"gateway: {error['message']}\n"
        return error

    def in_store(self, work: Callable[[Store], Awaitable[T]]) -> T:
        """What comes of something done in the store itself."""

        async def run() -> T:
            store = opened(chosen(self.config, None))
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(run())

    def app(self, name: str = "demo") -> App:
        """A new app."""
        made = self.told("apps", "create", "--name", name, "--region", "eu")
        return App(made["id"], name, "eu")

    def key(self, app: App, *more: str, name: str = "k") -> dict[str, Any]:
        """A new key, as it is printed."""
        made = self.told("keys", "create", "--app", app.id, "--name", name, "--scope", "USER_READ", *more)
        assert isinstance(made, dict)
        return made


@pytest.fixture(autouse=True)
def _no_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have a gateway of their own."""
    for name in [*os.environ]:
        if name.startswith("GATEWAY_"):
            monkeypatch.delenv(name)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A settings file beside a schema; there is no store yet."""
    (tmp_path / "schema.graphql").write_text(SCHEMA)
    file = tmp_path / "gateway.yaml"
    file.write_text(SETTINGS)
    return file


@pytest.fixture
def local(config: Path) -> Typing:
    """Commands for a gateway whose store, in SQLite, is made by the first app."""
    return Typing(config)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A Redis server, started for the first test that wants it."""
    with single(tmp_path_factory.mktemp("redis"), *FORGETFUL) as servers:
        yield servers


@pytest.fixture(params=["sqlite", "redis"])
def gateway(request: pytest.FixtureRequest, local: Typing) -> Typing:
    """Commands for a gateway with a store of either kind, in which there is nothing yet."""
    if request.param == "redis":
        servers: Servers = request.getfixturevalue("redis_server")
        servers.primaries[0].run("FLUSHALL")
        to_redis(local.config, servers.url)
        local.told("store", "init")
    return local


def to_redis(config: Path, url: str) -> None:
    """Let the settings name a store in Redis. A busy machine answers late: it is given more time than usual."""
    text = config.read_text().replace("sqlite:///data/store.db", url)
    config.write_text(text.replace("store: {", "store: {timeout: 10, "))


@pytest.fixture
def app(request: pytest.FixtureRequest) -> App:
    """An app in the store."""
    chosen: Typing = request.getfixturevalue("gateway" if "gateway" in request.fixturenames else "local")
    return chosen.app()
