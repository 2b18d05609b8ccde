"""What npm's graphql-http finds wrong with the gateway as a GraphQL server over HTTP: nothing."""

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from gateway.dev.mock import Mock
from tests.support.examples import IN_CI
from tests.support.running import running
from tests.support.vectors import VENDOR_SCHEMA

# Exact, so that a new release does not find new faults in a change that has nothing to do with them.
PACKAGES = ("graphql-http@1.23.1", "graphql@16.15.0")
SCRIPT = Path(__file__).with_name("audits.mjs")


@pytest.fixture
async def script() -> Path:
    """The script, beside the packages that it needs; they are installed once for all checkouts of a machine."""
    if not (shutil.which("node") and shutil.which("npm")):
        if IN_CI:
            pytest.fail("node and npm are needed: apt-get install nodejs npm")
        pytest.skip("node and npm are not installed, so what JavaScript clients expect is not tested")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = cache / "graphql-gateway-tests" / "_".join(PACKAGES).replace("@", "-")
    names = [package.partition("@")[0] for package in PACKAGES]
    if not all((place / "node_modules" / name / "package.json").exists() for name in names):
        place.mkdir(parents=True, exist_ok=True)
        (place / "package.json").write_text('{"private": true}')
        code, text = await output("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES, at=place)
        if code and not IN_CI:
            pytest.skip(f"npm could not install {' and '.join(PACKAGES)}")
        assert code == 0, text
    shutil.copy(SCRIPT, place)
    return place / SCRIPT.name


async def output(*words: str, at: Path) -> tuple[int | None, str]:
    """The exit code of a program, and what it printed."""
    out = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*words, cwd=at, stdout=out, stderr=asyncio.subprocess.STDOUT)
    async with asyncio.timeout(120):
        text, _ = await process.communicate()
    return process.returncode, text.decode()


@pytest.mark.parametrize("kind", ["key", "user"])
async def test_audits(tmp_path: Path, script: Path, kind: str) -> None:
    """JavaScript clients that keep to GraphQL over HTTP would not understand the gateway."""
    upstream = await Mock.start(VENDOR_SCHEMA.read_text("utf-8"))
    try:
        async with running(tmp_path, {"policy.introspection": "all"}, upstream_url=upstream.url) as gateway:
            token = gateway.keys["USER_READ"] if kind == "key" else gateway.user_token
            code, text = await output("node", script.name, f"{gateway.app.url}/v4/gql", token, at=script.parent)
    finally:
        await upstream.stop()
    assert code == 0, text
    results = json.loads(text)
    assert len(results) > 50
    assert [each for each in results if each["status"] in ("error", "warn")] == []
    # What a server may do, and this one does not: answer GET.
    assert {each["id"] for each in results if each["status"] != "ok"} == {"5A70", "D6D5", "6A70"}
