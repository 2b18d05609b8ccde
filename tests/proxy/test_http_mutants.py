"""Requests with a few bytes changed, hundreds of them: whatever a client sends, nothing odd crosses or breaks."""

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.examples import IN_CI
from tests.support.identity import folded
from tests.support.running import OWN, Running, running
from tests.support.wire import here, request, statuses

BATCHES, BATCH = (20 if IN_CI else 5), 50
SCRAPS = (
    *(bytes([byte]) for byte in (0, 9, 10, 11, 13, 32, 34, 35, 44, 58, 59, 63, 127, 128, 255)),
    b"\r\n",
    b"\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 3\r\n",
    b"Host: b\r\n",
    b"X-Gateway-User: someone\r\n",
    b"Connection: X-Gateway-App, close\r\n",
    b"Expect: 100-continue\r\n",
    b"0\r\n\r\n",
    b"HTTP/1.1",
    b"chunked",
    b"http://other",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A gateway that does not wait long for what is missing."""
    hasty = {"timeouts.header": 0.3, "timeouts.body": 0.3, "timeouts.idle": 0.3, "timeouts.linger": 0.1}
    async with running(tmp_path_factory.mktemp("mutants"), hasty) as started:
        yield started


def mutant(original: bytes, dice: random.Random) -> bytes:
    """A request with one to three scraps put in, or a few bytes taken away or said twice."""
    data = original
    for _ in range(dice.randint(1, 3)):
        start = dice.randrange(len(data))
        end = min(len(data), start + dice.randint(0, 12))
        data = dice.choice(
            [
                data[:start] + dice.choice(SCRAPS) + data[start:],
                data[:start] + dice.choice(SCRAPS) + data[end:],
                data[:start] + data[end:],
                data[:end] + data[start:],
            ]
        )
    return data


@here
@pytest.mark.parametrize("seed", range(BATCHES))
async def test_mutants(gateway: Running, seed: int, capfd: pytest.CaptureFixture[str]) -> None:
    """Bytes that nobody thought of would end in a stack trace, or smuggle something to the upstream."""
    dice = random.Random(seed)  # noqa: S311 - the same each time
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(OWN), OWN.encode())
    originals = [
        request(gateway),
        request(gateway, "Transfer-Encoding: chunked", length=-1, body=chunks),
        request(gateway, "Connection: close", "X-Request-Id: a", start="POST /v4/gql HTTP/1.0"),
        request(gateway, start="GET /v2/users/5a93deb3d8e7d90600001e6f HTTP/1.1", body=b""),
        request(gateway) * 2,
    ]
    gateway.upstream.received.clear()
    received = await asyncio.gather(*(gateway.raw(mutant(dice.choice(originals), dice)) for _ in range(BATCH)))
    for data in received:
        assert max(statuses(data), default=0) < 500
    for crossed in gateway.upstream.received:
        assert re.fullmatch(r"/v4/gql|/v[23]/users(/[A-Za-z0-9._~-]+)+", crossed.target)
        identity = folded({name.lower(): value for name, value in crossed.headers})
        assert len(identity) == 5
        assert "someone" not in identity.values()
        assert len(crossed.all("Host")) == len(crossed.all("X-Request-Id")) == 1
        if crossed.target == "/v4/gql":
            assert json.loads(crossed.body).keys() == {"query"}
    assert (await gateway.ask(token=gateway.user_token)).status == 200
    said = capfd.readouterr()
    assert "Traceback" not in said.out + said.err
    assert "internal error" not in said.out + said.err
