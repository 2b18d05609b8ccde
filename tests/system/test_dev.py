"""`gateway dev`: what a newcomer starts, pastes and edits."""

import asyncio
import json
import re
import shutil
import stat
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.support.command import Command, command, said
from tests.support.echo import Echo
from tests.support.redis_servers import require_redis, single
from tests.support.running import OWN, message
from tests.support.sweep import Sweep
from tests.support.vectors import VENDOR_SCHEMA

ANYWHERE = ("--port", "0", "--admin-port", "0", "--schema", "schema.graphql")
SCOPES = {"USER_READ", "USER_DELETE", "USER_LINK", "OFFLOADS_READ", "OFFLOADS_GENERATE_URL", "FAKE_DATA_INSERT"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a copy of the schema."""
    shutil.copy(VENDOR_SCHEMA, tmp_path / "schema.graphql")
    return tmp_path


@asynccontextmanager
async def developing(place: Path, *words: str) -> AsyncIterator[tuple[Command, dict[str, Any]]]:
    """`gateway dev --json`, and the object that it prints."""
    async with command(place, "dev", *ANYWHERE, *words, "--json") as started:
        line = await started.until(lambda: started.out.read_text().endswith("\n") and started.out.read_text())
        yield started, json.loads(line)


async def ask(
    url: str, token: str, body: str = OWN, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], dict[str, Any]]:
    """One request of an ordinary client."""
    given = {"Content-Type": "application/json", "Authorization": f"Bearer {token}", **(headers or {})}
    async with ClientSession() as session, session.post(f"{url}/v4/gql", data=body, headers=given) as answer:
        return answer.status, answer.headers, await answer.json(content_type=None)


def reasons(told: dict[str, Any]) -> list[str]:
    """Why something was refused."""
    return [error["extensions"]["reason"] for error in told["errors"]]


async def test_the_object(place: Path, sweep: Sweep) -> None:
    """Programs that start a gateway to test against would not find their way in it, or not after a restart."""
    async with developing(place) as (started, told):
        sweep.add(place, [each["token"] for each in told["keys"] + told["users"]])
        assert list(told) == ["url", "admin_url", "upstreams", "apps", "keys", "users"]
        assert set(told["upstreams"]) == {"eu", "us", "in"}
        demo, american = told["apps"]
        assert (demo["name"], demo["region"], american["name"], american["region"]) == ("demo", "eu", "demo-us", "us")
        assert all(app.keys() == {"id", "name", "region"} for app in told["apps"])
        assert all(key.keys() == {"app", "id", "scopes", "token"} for key in told["keys"])
        assert all(user.keys() == {"app", "id", "token"} for user in told["users"])
        of_demo = [set(key["scopes"]) for key in told["keys"] if key["app"] == demo["id"]]
        assert sorted(map(len, of_demo)) == [1] * len(SCOPES) + [len(SCOPES)]
        assert set.union(*of_demo) == SCOPES
        assert [set(key["scopes"]) for key in told["keys"] if key["app"] == american["id"]] == [SCOPES]
        assert [user["app"] for user in told["users"]] == [demo["id"]] * 2
        await everything_listens(told)
        await everybody_may_what_they_may(told)
        assert await started.stop() == 0
        assert started.out.read_text().count("\n") == 1

    async with developing(place) as (started, again):
        assert [again[name] for name in ("apps", "keys", "users")] == [told[name] for name in ("apps", "keys", "users")]
        assert (await ask(again["url"], told["users"][0]["token"]))[0] == 200
        assert await started.stop() == 0
    kept = place / ".gateway-dev" / "credentials.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert (kept.parent / ".gitignore").read_text() == "*\n"
    assert told["users"][0]["token"] in kept.read_text()


async def everything_listens(told: dict[str, Any]) -> None:
    """Every address that is printed accepts at once."""
    async with ClientSession() as session:
        for url in told["upstreams"].values():
            async with session.post(f"{url}/v4/gql", json={"query": "{ user { id } }"}) as answer:
                assert answer.status == 200
        async with session.get(f"{told['admin_url']}/ready") as answer:
            assert answer.status == 200
        async with session.get(f"{told['admin_url']}/") as answer:
            assert (answer.status, answer.content_type) == (200, "text/html")
            page = await answer.text()
        async with session.get(f"{told['admin_url']}/page.json") as answer:
            page += await answer.text()
        assert all(user["id"] in page and user["token"] not in page for user in told["users"])
        async with session.get(f"{told['url']}/") as answer:
            assert answer.status == 404


async def everybody_may_what_they_may(told: dict[str, Any]) -> None:
    """Each credential works, for what it is meant for and nothing else."""
    url = told["url"]
    for key in told["keys"]:
        status, _, answer = await ask(url, key["token"])
        assert status == (200 if "USER_READ" in key["scopes"] else 403)
        if status == 200:
            extensions = answer["extensions"]
            region = next(app["region"] for app in told["apps"] if app["id"] == key["app"])
            assert extensions["gateway"]["x-gateway-key"] == key["id"]
            assert extensions["mock"]["region"] == extensions["gateway"]["x-gateway-region"] == region
    first, second = told["users"]
    status, _, answer = await ask(url, first["token"])
    assert (status, answer["data"]["user"]["id"]) == (200, first["id"])
    status, _, answer = await ask(url, first["token"], message(f'{{ user(user_id: "{second["id"]}") {{ id }} }}'))
    assert (status, reasons(answer)) == (403, ["not_own_data"])
    assert (await ask(url, first["token"], message("{ __schema { queryType { name } } }")))[0] == 200


async def test_a_store_elsewhere(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whoever tries a gateway with Redis would have to make the store first, or find other keys in it by commands."""
    require_redis()
    with single(tmp_path_factory.mktemp("redis") / "server") as redis:
        words = ("--store", redis.url, "--data", "elsewhere")
        async with developing(place, *words) as (started, told):
            async with asyncio.timeout(30):  # a server that is busy may be asked again
                while (await ask(told["url"], told["users"][0]["token"]))[0] != 200:
                    pass
            code, listed = await said(place, "keys", "list", "--data", "elsewhere", "--json", name="list")
            assert code == 0, listed
            assert {key["id"] for key in json.loads(listed)} == {key["id"] for key in told["keys"]}
            assert await started.stop() == 0
        async with developing(place, *words) as (_, again):
            assert [again[name] for name in ("apps", "keys", "users")] == [told[n] for n in ("apps", "keys", "users")]
        assert not (place / "elsewhere" / "gateway.db").exists()


async def test_a_backend_of_ones_own(place: Path) -> None:
    """A developer's own backend would not be asked, or be sent orders that are meant for the pretend ones."""
    async with Echo() as mine, developing(place, "--upstream", f"eu={mine.url}", "--data", "elsewhere") as (_, told):
        assert told["upstreams"]["eu"] == mine.url
        assert (place / "elsewhere" / "credentials.json").exists()
        orders = {"X-Mock-Status": "503", "X-Mock-Size": "1000"}
        european, american = (
            next(key["token"] for key in told["keys"] if key["app"] == app["id"] and len(key["scopes"]) > 1)
            for app in told["apps"]
        )
        status, _, answer = await ask(told["url"], european, headers=orders)
        assert (status, answer["data"]["target"]) == (200, "/v4/gql")
        (crossed,) = mine.received
        assert not [name for name, _ in crossed.headers if "mock" in name.lower()]
        assert (await ask(told["url"], american, headers=orders))[0] == 503


async def test_a_backend_is_shown_with_its_path(place: Path) -> None:
    """A developer would not see where the operations go, or read in the log what only programs can."""
    async with Echo() as mine, command(place, "dev", *ANYWHERE, "--upstream", f"eu={mine.url}/graphql") as started:
        await started.until(lambda: "Stop with Ctrl-C." in started.out.read_text())
        assert f"{mine.url}/graphql" in started.out.read_text()
        url = re.search(r"^GraphQL +(http://\S+)/v4/gql", started.out.read_text(), re.MULTILINE)
        assert url is not None
        assert (await ask(url[1], "gwk_0123456789abcdef.x"))[0] == 401
        told = await started.until(lambda: started.err.read_text().endswith("\n") and started.err.read_text())
        assert "401" in told
        assert "\x1b" not in told
        assert started.lines() == []
        assert await started.stop() == 0


async def test_without_a_schema(tmp_path: Path) -> None:
    """Whoever starts it elsewhere than in the repository would not know what it wants."""
    code, text = await said(tmp_path, "dev", "--port", "0", "--admin-port", "0")
    missing = "gateway: config/schema.graphql: cannot be read: No such file or directory"
    assert (code, text) == (1, f"{missing}; give your own with --schema FILE.\n")


async def test_a_schema_that_is_edited(place: Path) -> None:
    """Whoever edits the schema would have to restart, or be left without a gateway by a slip of the pen."""
    schema = place / "schema.graphql"
    schema.write_text("type Query { a: Int @authenticated b: Int @closed }\n")
    async with developing(place) as (started, told):
        url, token = told["url"], told["users"][0]["token"]
        assert (await ask(url, token, message("{ a }")))[0] == 200
        assert (await ask(url, token, message("{ b }")))[0] == 403

        schema.write_text("type Query {\n  a: Int @authenticated\n  b: Int @authentic\n}\n")
        await started.until(lambda: "schema.graphql:3: " in started.err.read_text())
        await started.until(lambda: "The schema before this change stays in force." in started.err.read_text())
        assert (await ask(url, token, message("{ a }")))[0] == 200
        assert (await ask(url, token, message("{ b }")))[0] == 403

        schema.write_text("type Query { a: Int @closed b: Int @authenticated c: Int @authenticated }\n")
        await started.until(lambda: "schema.graphql: read again, in force now." in started.err.read_text())
        assert (await ask(url, token, message("{ a }")))[0] == 403
        status, _, answer = await ask(url, token, message("{ b c }"))
        assert (status, answer["data"].keys()) == (200, {"b", "c"})

        schema.unlink()
        schema.write_bytes(b"\xff")
        await started.until(lambda: "not UTF-8" in started.err.read_text())
        assert (await ask(url, token, message("{ c }")))[0] == 200
        assert "Traceback" not in started.said()
        assert await started.stop() == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed, so lines to paste are not tried")
async def test_lines_to_paste(place: Path, sweep: Sweep) -> None:
    """The first thing that a newcomer tries would not work."""
    async with command(place, "dev", *ANYWHERE) as started:
        await started.until(lambda: "Stop with Ctrl-C." in started.out.read_text())
        text = started.out.read_text()
        kept = json.loads((place / ".gateway-dev" / "credentials.json").read_text())
        everybody = kept["keys"] + kept["users"]
        sweep.add(place / ".gateway-dev", [each["token"] for each in everybody])
        assert all(each["token"] in text for each in everybody)
        assert "root fields are closed" in text
        assert (text.splitlines()[0], started.err.read_text()) == ("", "")
        assert re.search(r"^management API +http://127.0.0.1:\d+/api/v1/ *$", text, re.MULTILINE)
        listing = re.search(r"^Commands for this gateway: gateway (.*)$", text, re.MULTILINE)
        assert listing is not None
        code, listed = await said(place, *listing[1].split(), name="list")
        assert (code, all(key["id"] in listed for key in kept["keys"])) == (0, True)
        pasted = [line for line in text.splitlines() if line.startswith("curl ")]
        answers = [json.loads(subprocess.check_output(["sh", "-c", line], timeout=30)) for line in pasted]  # noqa: ASYNC221
        assert [reasons(answer) if "errors" in answer else None for answer in answers] == [
            None,
            ["not_own_data"],
            None,
            ["scope_missing"],
        ]
        assert answers[0]["data"]["user"]["id"] == kept["users"][0]["id"]
        assert await started.stop() == 0
