"""`gateway mock`: the pretend upstream alone."""

import re
import shutil
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from tests.support.command import command
from tests.support.vectors import VENDOR_SCHEMA


async def test_the_pretend_upstream(tmp_path: Path) -> None:
    """A test of somebody's own would get other data each time, or none."""
    shutil.copy(VENDOR_SCHEMA, tmp_path / "schema.graphql")
    found: list[Any] = []
    for seed in ("1", "1", "2"):
        words = ("mock", "--schema", "schema.graphql", "--port", "0", "--seed", seed)
        async with command(tmp_path, *words) as started, ClientSession() as session:
            text = await started.until(started.out.read_text)
            url = re.findall(r"http://127\.0\.0\.1:\d+", text)[0]
            async with session.post(f"{url}/v4/gql", json={"query": "{ user { id created_at } }"}) as answer:
                assert answer.status == 200
                found.append((await answer.json())["data"])
            async with session.post(
                f"{url}/v4/gql", json={"query": "{ user { id } }"}, headers={"X-Mock-Status": "418"}
            ) as answer:
                assert answer.status == 418
            async with session.get(f"{url}/v2/segment_definitions") as answer:
                assert answer.status == 200
            assert await started.stop() == 0
    assert found[0] == found[1]
    assert found[0] != found[2]
