"""A leak, from the scanner's report to the end of the key, while the key is under load: on both stores."""

import asyncio
import json
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.dev.reporter import reporter
from gateway.store.contract import Store
from gateway.store.open import open_store
from gateway.store.redis.founding import init
from tests.support.command import command, said
from tests.support.gateways import Asker
from tests.support.jwks_server import CA, serving_keys
from tests.support.minting import a_key
from tests.support.redis_servers import FORGETFUL, single
from tests.support.running import running
from tests.support.vectors import ROOT, VENDOR_SCHEMA
from tests.support.waiting import eventually

CLIENTS = 6


@pytest.fixture(params=["sqlite", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store of each kind in turn."""
    async with AsyncExitStack() as stack:
        if request.param == "sqlite":
            yield open_store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
        else:
            servers = stack.enter_context(single(tmp_path / "redis", *FORGETFUL))
            await init(servers.url)
            yield open_store(servers.url)


async def test_it_ends_before_the_scanner_is_answered(store: Store, tmp_path: Path) -> None:
    """A key that everybody can read would be let through after the scanner was told that its report was taken."""
    signer = reporter(b"of the system's tests")
    async with serving_keys(signer.public_keys()) as keys:
        settings = {"leaks.github.enabled": True, "leaks.github.keys_url": keys.url, "leaks.github.ca_file": str(CA)}
        async with running(tmp_path, settings, store=store) as gateway:
            key = await a_key(store, gateway.owner)
            asked: list[tuple[float, int]] = []
            stopping = asyncio.Event()

            async def load() -> None:
                asker = await Asker.connected(gateway.address)
                while not stopping.is_set():
                    began = time.perf_counter()
                    asked.append((began, await asker.ask(key)))
                asker.close()

            clients = [asyncio.create_task(load()) for _ in range(CLIENTS)]
            await eventually(lambda: len(asked) > 20 * CLIENTS)
            assert {status for _, status in asked} == {200}

            body, headers = signer.report([{"token": key, "url": "https://example.com/"}])
            answer = await gateway.ask(body, target="/leaks/github", headers=headers)
            answered = time.perf_counter()

            assert answer.status == 204
            before = len(asked)
            await eventually(lambda: len(asked) > before + 20 * CLIENTS)
            stopping.set()
            await asyncio.gather(*clients)
            after = {status for began, status in asked if began > answered}
            assert after == {401}


async def test_a_rehearsal(tmp_path: Path) -> None:
    """A developer could not see what becomes of a leak before there is one."""
    shutil.copy(VENDOR_SCHEMA, tmp_path / "schema.graphql")
    anywhere = ("--port", "0", "--admin-port", "0", "--schema", "schema.graphql")
    async with command(tmp_path, "dev", *anywhere, "--data", "data", "--json", name="dev") as dev:
        line = await dev.until(lambda: dev.out.read_text().endswith("\n") and dev.out.read_text())
        told = json.loads(line)
        token, key_id = told["keys"][0]["token"], told["keys"][0]["id"]

        rehearsed = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "leaks", "rehearse", "--gateway", told["url"]),
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await rehearsed.communicate(token.encode())

        assert (rehearsed.returncode, out.split(b":")[0]) == (0, b"The gateway answered 204")
        assert (out.count(b"204"), out.count(b"gateway incidents list --data DIR")) == (1, 1)
        code, listed = await said(tmp_path, "incidents", "list", "--data", "data", "--json", name="listed")
        assert code == 0
        (incident,) = json.loads(listed)
        assert (incident["subject_id"], incident["reporter"], incident["ended"]) == (key_id, "reporter:github", True)
        assert await dev.stop() == 0
    code, text = await said(tmp_path, "leaks", "rehearse", "--gateway", told["url"], name="nobody")
    assert code != 0
    assert "Traceback" not in text
