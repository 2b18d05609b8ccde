"""The audit from the gateways that seal it to the auditor who verifies it, each a process of its own."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

from tests.support.command import Command, command, made, said
from tests.support.vectors import VENDOR_SCHEMA

SETTINGS = """
listen: {host: 127.0.0.1, port: 0}
admin: {port: 0}
policy: {schema_file: schema.graphql}
store: {url: "sqlite:///store.db"}
audit: {signing_key_file: seals.pem}
default_region: eu
regions:
  eu: {upstreams: ["http://127.0.0.1:9"], user_scoping: upstream}
"""
CONFIG = ("--config", "gateway.yaml")


def sealed(*gateways: Command) -> list[dict[str, Any]]:
    """What the logs tell of seals."""
    return [line for gateway in gateways for line in gateway.lines() if line["event"] == "audit sealed"]


async def test_gateways_seal_what_happens_and_one_takes_over_for_another(tmp_path: Path) -> None:
    """The gateway that seals dies, and from then on whoever writes the store may change what happened."""
    (tmp_path / "gateway.yaml").write_text(SETTINGS)
    shutil.copy(VENDOR_SCHEMA, tmp_path / "schema.graphql")
    assert (await said(tmp_path, "audit", "keygen", "--output", "seals.pem"))[0] == 0
    await made(tmp_path, "apps", "create", *CONFIG, "--name", "first", "--region", "eu")

    async with (
        command(tmp_path, "serve", *CONFIG, name="one") as one,
        command(tmp_path, "serve", *CONFIG, name="two") as two,
    ):
        await one.until(lambda: sealed(one, two))
        holder, other = (one, two) if sealed(one) else (two, one)
        holder.signal(signal.SIGKILL)
        await holder.ended()
        await made(tmp_path, "apps", "create", *CONFIG, "--name", "second", "--region", "eu")
        await other.until(lambda: sealed(other))  # as long as a lease
        assert await other.stop() == 0

    (tmp_path / "gateway.log").write_text(one.err.read_text() + two.err.read_text())
    words = ("audit", "verify", *CONFIG, "--public-key", "seals.pem.pub", "--log", "gateway.log", "--json")
    code, text = await said(tmp_path, *words, name="verify")

    report = json.loads(text)
    assert (code, report["whole"], report["unsealed"]) == (0, True, 0)
    assert [(seal["first"], seal["last"]) for seal in sealed(holder, other)] == [(1, 1), (2, 2)]
    (chain,) = report["chains"]
    assert (chain["events"], chain["seals"], chain["signed"]) == (2, 2, 2)
