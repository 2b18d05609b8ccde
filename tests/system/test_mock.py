"""`gateway mock`: the pretend upstream alone."""

import re
import shutil
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from gateway.dev.mock import Mock
from tests.support.command import command
from tests.support.vectors import VENDOR_SCHEMA


async def test_the_pretend_upstream(tmp_path: Path) -> None:
    """A test of somebody's own would get other data each time, or none."""
    shutil.copy(VENDOR_SCHEMA, tmp_path / "schema.graphql")
    words = ("mock", "--schema", "schema.graphql", "--port", "0", "--seed", "7")
    async with command(tmp_path, *words) as started:
        text = await started.until(started.out.read_text)
        url = re.findall(r"http://127\.0\.0\.1:\d+", text)[0]
        found = await user_at(url)
        async with ClientSession() as session:
            body, orders = {"query": "{ user { id } }"}, {"X-Mock-Status": "418"}
            async with session.post(f"{url}/v4/gql", json=body, headers=orders) as answer:
                assert answer.status == 418
            async with session.get(f"{url}/v2/segment_definitions") as answer:
                assert answer.status == 200
        assert await started.stop() == 0
    for seed, alike in ((7, True), (8, False)):
        mock = await Mock.start(VENDOR_SCHEMA.read_text("utf-8"), seed=seed)
        assert (await user_at(mock.url) == found) is alike
        await mock.stop()


async def user_at(url: str) -> Any:
    """The user that an upstream tells of."""
    body = {"query": "{ user { id created_at } }"}
    async with ClientSession() as session, session.post(f"{url}/v4/gql", json=body) as answer:
        assert answer.status == 200
        return (await answer.json())["data"]
