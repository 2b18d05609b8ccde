"""After a whole life of keys no secret lies in store, exports, audit, logs, answers or outputs."""

import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.support.command import command, made, said
from tests.support.echo import Echo
from tests.support.redis_servers import LASTING, single
from tests.support.running import OWN
from tests.support.sweep import Sweep
from tests.support.vectors import VENDOR_SCHEMA

SETTINGS = """
listen: {{host: 127.0.0.1, port: 0}}
admin: {{port: 0}}
policy: {{schema_file: {schema}}}
store: {{url: "{store}"}}
regions:
  eu: {{upstreams: ["{upstream}"], user_scoping: upstream}}
log: {{format: json}}
"""
CONFIG = ("--config", "gateway.yaml")


@contextmanager
def a_store(kind: str, directory: Path) -> Iterator[str]:
    """The URL of a place for a store, all of whose files lie in the directory."""
    if kind == "sqlite":
        yield f"sqlite:///{directory / 'store.db'}"
        return
    with single(directory / "redis", *LASTING) as servers:
        yield servers.url


async def answered(url: str, tokens: list[str], file: Path) -> set[int]:
    """How each token is answered, in a file: an operation, one that is refused, one that is none, and its own end."""
    asked = [("POST", "/v4/gql", body) for body in (OWN, '{"query": "{ offloads { day } }"}', "{")]
    statuses = set()
    async with ClientSession() as session:
        for token in tokens:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            for method, path, body in [*asked, ("DELETE", "/keys/self", None)]:
                async with session.request(method, url + path, data=body, headers=headers) as answer:
                    statuses.add(answer.status)
                    with file.open("a") as answers:
                        answers.write(f"{dict(answer.headers)}\n{await answer.text()}\n")
    return statuses


async def registered(url: str, key: str) -> list[str]:
    """What is given out while a user is registered and its token refreshed, and another code that nobody spends."""
    given = [key]
    steps = [("/users/auth-code", 0, {"external_id": "b"}), ("/users/auth-code", 0, {"external_id": "a"})]
    async with ClientSession() as session:
        for path, by, body in [*steps, ("/users", 2, None), ("/users/token", 3, None), ("/users/token", 3, None)]:
            async with session.post(
                url + path, json=body or {}, headers={"Authorization": f"Bearer {given[by]}"}
            ) as answer:
                told = await answer.json()
                given.append(told.get("authentication_code") or told["token"])
    return given


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_no_secret_is_left_anywhere(tmp_path: Path, sweep: Sweep, kind: str) -> None:
    """Whoever reads a backup, a log, or the store itself would have somebody's key."""
    legacy = f"{secrets.token_hex(8)}.{secrets.token_hex(24)}"
    with a_store(kind, tmp_path) as store:
        async with Echo() as upstream:
            text = SETTINGS.format(schema=VENDOR_SCHEMA, store=store, upstream=upstream.url)
            (tmp_path / "gateway.yaml").write_text(text)
            await made(tmp_path, "store", "init", *CONFIG)
            app = (await made(tmp_path, "apps", "create", *CONFIG, "--name", "demo", "--region", "eu"))["id"]
            of_app = (*CONFIG, "--app", app)
            key = await made(tmp_path, "keys", "create", *of_app, "--name", "reader", "--scope", "USER_READ")
            successor = await made(tmp_path, "keys", "rotate", *CONFIG, key["id"])
            linking = await made(tmp_path, "keys", "create", *of_app, "--name", "linking", "--scope", "USER_LINK")
            revoked = await made(tmp_path, "keys", "create", *of_app, "--name", "gone", "--scope", "USER_READ")
            user = await made(tmp_path, "users", "create", *of_app, "--external-id", "customer-17")
            row = [legacy.partition(".")[0], hashlib.sha256(legacy.encode()).hexdigest(), app, "old", "USER_READ"]
            times = ["2026-01-01T00:00:00Z", "2026-12-31T00:00:00Z"]
            (tmp_path / "old.csv").write_text(
                "id,sha256,app,name,scopes,created_at,expires_at\n" + ",".join([*row, *times]) + "\n"
            )
            tokens = [key["token"], successor["token"], revoked["token"], user["token"], legacy]
            sweep.add(tmp_path, tokens)
            for number, words in enumerate(
                [
                    ("keys", "import", *CONFIG, "old.csv"),
                    ("keys", "revoke", *CONFIG, revoked["id"]),
                    ("keys", "show", *CONFIG, key["token"]),
                    ("keys", "show", *CONFIG, revoked["id"]),
                    ("keys", "list", *CONFIG, "--json"),
                    ("keys", "history", *CONFIG, "--app", app),
                    ("users", "list", *of_app, "--json"),
                ]
            ):
                code, told = await said(tmp_path, *words, name=f"said{number}")
                assert code == (3 if key["token"] in words else 0), told
            async with command(tmp_path, "serve", *CONFIG, name="serve") as gateway:
                serving = await gateway.event("serving")
                statuses = await answered(serving["url"], tokens, tmp_path / "answers.txt")
                assert statuses == {200, 400, 401, 403}
                sweep.add(tmp_path, await registered(serving["url"], linking["token"]))
                async with ClientSession() as session:
                    for path in ("ready", "metrics"):
                        async with session.get(f"{serving['admin_url']}/{path}") as answer:
                            (tmp_path / f"{path}.txt").write_text(await answer.text())
                assert await gateway.stop() == 0
            for words in (("store", "export", *CONFIG, "export.jsonl"), ("audit", "export", *CONFIG)):
                code, told = await said(tmp_path, *words, name="-".join(words[:2]))
                assert code == 0, told
    assert json.loads((tmp_path / "export.jsonl").read_text().splitlines()[-1])["kind"] == "manifest"
