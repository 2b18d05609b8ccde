"""Keys in their last days: every answer tells, and so do the metrics."""

import re
from pathlib import Path

import pytest

from gateway.core.times import iso_time
from gateway.core.wishes import DAY
from tests.support.minting import a_key, a_user_token, an_app, id_of, keeper, revoke
from tests.support.running import OWN, Answer, Running, message, running
from tests.support.wire import here

HEADER = "X-Gateway-Key-Expires"


async def end_of(gateway: Running, key: str) -> str:
    """When a key ends, in words."""
    found = await gateway.store.find_key(id_of(key))
    assert found is not None
    return iso_time(found.record.expires_at)


ASKED = {
    "relayed": (200, "POST", "/v4/gql", OWN),
    "a route": (200, "GET", "/v2/users/x", ""),
    "refused": (403, "POST", "/v4/gql", message("{ offloads { day } }")),
    "malformed": (400, "POST", "/v4/gql", "{"),
    "a route refused": (403, "POST", "/v2/users/abc/link", ""),
    "ended by itself": (200, "DELETE", "/keys/self", ""),
}


@here
@pytest.mark.parametrize(("status", "method", "target", "body"), ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("days", [13, 15])
async def test_every_answer_to_a_key_in_its_last_days(
    gateway: Running, days: int, status: int, method: str, target: str, body: str
) -> None:
    """The holder of a key would learn of its end when it is refused, or be told a year before."""
    key = await a_key(gateway.store, gateway.owner, "USER_READ", ends=days * DAY)
    expected = await end_of(gateway, key) if days < 14 else None

    for _ in range(1 if method == "DELETE" else 2):  # proven, and remembered
        answer = await gateway.ask(body, token=key, method=method, target=target)
        assert (answer.status, answer.header(HEADER)) == (status, expected)


@here
async def test_a_key_that_was_rotated(gateway: Running) -> None:
    """The holder of a key that was rotated would not be told that it ends sooner than it was made to."""
    app = await an_app(gateway.store)
    key = await a_key(gateway.store, app)
    assert (await gateway.ask(token=key)).header(HEADER) is None
    rotated = await keeper(gateway.store).rotate_key(id_of(key))
    assert rotated.predecessor.shutdown_at is not None

    assert (await gateway.ask(token=key)).header(HEADER) == iso_time(rotated.predecessor.shutdown_at)
    assert (await gateway.ask(token=rotated.token.reveal())).header(HEADER) is None


@here
async def test_nobody_else_is_told(gateway: Running) -> None:
    """A stranger would learn from an answer when a key ends, or a device be told of an end with every answer."""
    app = await an_app(gateway.store)
    key, user = await a_key(gateway.store, app, ends=DAY), await a_user_token(gateway.store, app, ends=DAY)
    await revoke(gateway.store, key)

    answers: list[Answer] = [
        await gateway.ask(token=key),
        await gateway.ask(token=user),
        await gateway.ask(),
        await gateway.ask("", method="GET", target="/v2/segment_definitions"),
    ]

    assert [answer.header(HEADER) for answer in answers] == [None] * 4


@here
async def test_the_upstream_cannot_say_it(gateway: Running) -> None:
    """An upstream could frighten clients, or tell them that a key lives on."""
    key = await a_key(gateway.store, await an_app(gateway.store), ends=DAY)
    gateway.upstream.answer_headers = {HEADER: "2999-01-01T00:00:00.000Z", "x_gateway_key_expires": "never"}
    try:
        told = await gateway.ask(token=key)
        untold = await gateway.ask(token=gateway.keys["USER_READ"])
    finally:
        gateway.upstream.answer_headers = {}

    assert (told.header(HEADER), untold.header(HEADER)) == (await end_of(gateway, key), None)
    assert untold.header("x_gateway_key_expires") is None


async def test_an_upstream_that_is_gone(tmp_path: Path) -> None:
    """An answer that is not the upstream's would not tell."""
    async with running(tmp_path, upstream_url="http://127.0.0.1:9") as gateway:
        key = await a_key(gateway.store, await an_app(gateway.store), ends=DAY)
        answer = await gateway.ask(token=key)
        assert (answer.status, answer.header(HEADER)) == (502, await end_of(gateway, key))


async def test_the_metrics_tell_of_keys_that_were_proven(tmp_path: Path) -> None:
    """Nobody could be warned of a key that is about to end, or of one that nobody uses any more."""
    async with running(tmp_path) as gateway:
        app = await an_app(gateway.store)
        soon, unused = await a_key(gateway.store, app, ends=DAY), await a_key(gateway.store, app, ends=DAY)
        ending = await a_key(gateway.store, app, ends=DAY)
        for token in (soon, ending, await a_user_token(gateway.store, app)):
            assert (await gateway.ask(token=token)).status == 200

        await revoke(gateway.store, ending)
        assert (await gateway.ask(token=ending)).status == 401

        text = gateway.app.metrics.exposition().decode()
        found = dict(re.findall(r'^gateway_key_expiry_seconds\{key="(\w+)"\} ([0-9.e+]+)$', text, re.MULTILINE))
        assert found.keys() == {id_of(soon)}
        assert 86_400 - 60 < float(found[id_of(soon)]) <= 86_400
        assert id_of(unused) not in text
