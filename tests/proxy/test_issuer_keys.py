"""The keys of an issuer: fresh before they are needed, few fetches whatever is asked for, and a day without it."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from gateway.core.decision import Reason, Unavailable
from gateway.proxy.issuer_keys import KEPT, PACE, IssuerKeys
from gateway.proxy.jwks_sources import from_url
from tests.support.jwks_server import CA, JwksServer, answering, never, serving_keys
from tests.support.jwts import private, public, published
from tests.support.waiting import PATIENCE, eventually

START = 1_000_000_000


@dataclass
class Desk:
    """Keys at a time that the test sets, from a real server."""

    server: JwksServer
    now: int = START
    ended: list[frozenset[str]] = field(default_factory=list)
    keys: IssuerKeys = field(init=False)

    def __post_init__(self) -> None:
        self.keys = self.made(seconds=0.5)

    def made(self, seconds: float) -> IssuerKeys:
        """Keys for which an answer may take so long."""
        source = from_url(self.server.url, ssl.create_default_context(cafile=str(CA)), seconds)
        return IssuerKeys("mobile", source, lambda: self.now, self.ended.append)

    async def found(self, kid: str) -> str | None:
        """What a key is for, None if the issuer has none, or why nobody can tell."""
        try:
            key = await self.keys.find(kid)
        except Unavailable as error:
            return str(error) if error.reason is Reason.ISSUER_UNAVAILABLE else error.reason.value
        return None if key is None else key.jwk.algorithm


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    """Keys that were not fetched yet."""
    async with serving_keys(published()) as server:
        yield Desk(server)


async def test_the_first_who_asks_need_not_be_refused(desk: Desk) -> None:
    """Right after a start every user would be turned away."""
    assert await asyncio.gather(*(desk.found(kid) for kid in ("rsa", "ec", "ed", "other"))) == [
        "RS256",
        "ES256",
        "EdDSA",
        None,
    ]
    assert desk.server.asked == 1


async def test_a_new_key_is_known_as_soon_as_it_is_used(desk: Desk) -> None:
    """After every change of keys users would be turned away for minutes."""
    await desk.keys.refresh()
    desk.server.keys = published("rsa", "fresh")
    desk.now += PACE
    assert await desk.found("fresh") == "EdDSA"
    assert [await desk.found("ec"), desk.server.asked] == [None, 2]


async def test_a_flood_of_unknown_keys_is_three_fetches_a_minute(desk: Desk) -> None:
    """Anybody could make the gateway flood the issuer, which would then answer nobody."""
    await desk.keys.refresh()
    asked = desk.server.asked
    for step in range(60):
        desk.now += 1_000
        kids = [f"{step}-{number}" for number in range(10)] + ["../../etc/passwd", "x" * 256]
        assert set(await asyncio.gather(*map(desk.found, kids))) == {None}
    assert desk.server.asked - asked == 3


async def test_who_waits_for_a_fetch_can_leave(desk: Desk) -> None:
    """One client that hangs up would end the fetch that the others wait for."""
    go = asyncio.Event()

    async def late(_: web.BaseRequest) -> web.StreamResponse:
        await go.wait()
        return web.Response(body=desk.server.keys)

    desk.server.misbehave = late
    first = asyncio.create_task(desk.found("rsa"))
    await eventually(lambda: desk.server.asked == 1)
    others = asyncio.gather(*(desk.found("rsa") for _ in range(3)))
    first.cancel()
    await asyncio.wait({first})
    go.set()
    assert await others == ["RS256"] * 3
    assert desk.server.asked == 1


async def test_a_key_that_was_withdrawn_is_told_and_gone(desk: Desk) -> None:
    """A stolen key would work for as long as somebody remembers what it proved."""
    await desk.keys.refresh()
    desk.server.keys = published("ec")
    await desk.keys.refresh()
    assert desk.ended == [frozenset({"mobile rsa", "mobile ed"})]
    assert [await desk.found("rsa"), await desk.found("ec")] == [None, "ES256"]
    await desk.keys.refresh()
    assert len(desk.ended) == 1
    assert private("ec") is not private("another-ec")
    desk.server.keys = published("another-ec").replace(b'"another-ec"', b'"ec"')  # of the same name
    await desk.keys.refresh()
    assert desk.ended[1:] == [frozenset({"mobile ec"})]


@pytest.mark.parametrize(
    ("misbehave", "why"),
    [
        (answering(503), "the answer was 503, and not a plain 200"),
        (answering(200, b"<html>"), "what was fetched is no set of keys, which is one JSON object with a list 'keys'"),
        (answering(200, b" " * 65_537), "what was fetched is longer than 65536 bytes"),
        (never, "there was no answer in time"),
    ],
)
async def test_an_issuer_may_be_away_for_a_day(desk: Desk, misbehave: object, why: str) -> None:
    """A night's failure elsewhere would turn away everybody; or keys that nobody vouches for would count for ever."""
    await desk.keys.refresh()
    desk.server.misbehave = misbehave  # type: ignore[assignment]
    desk.now += KEPT - 1
    await desk.keys.refresh()
    assert await desk.found("rsa") == "RS256"
    assert desk.keys.good_until == START + KEPT
    sentence = f"The keys of the issuer mobile are 86399 seconds old: {why}"
    assert [text.startswith(sentence) for text in desk.keys.warnings()] == [True]
    # Nobody can tell whether the issuer has a key of this name by now.
    assert str(await desk.found("fresh")).startswith(sentence)
    desk.now += 1
    asked = desk.server.asked
    assert str(await desk.found("rsa")).startswith("The keys of the issuer mobile are 86400 seconds old")
    assert desk.server.asked == asked
    desk.server.misbehave = None
    desk.now += PACE
    assert await desk.found("rsa") == "RS256"
    assert list(desk.keys.warnings()) == []
    assert desk.ended == []


async def test_nobody_passes_before_there_are_keys(desk: Desk) -> None:
    """A good token would be called false because of somebody else's failure, or a false one would pass."""
    desk.server.misbehave = answering(500)
    assert [await desk.found("rsa") for _ in range(5)] == [
        "The keys of the issuer mobile were never fetched: the answer was 500, and not a plain 200."
    ] * 5
    assert (desk.server.asked, desk.keys.age, desk.keys.good_until) == (1, float("inf"), 0)


async def test_keys_that_cannot_be_used_are_told_and_the_others_work(desk: Desk) -> None:
    """One bad key would shut out all users of an issuer, and nobody would know why."""
    off_curve = public("ec", kid="off", y=public("ec")["x"])
    keys = [public("ed"), off_curve, public("small"), {}, {}, {}]
    desk.server.keys = json.dumps({"keys": keys}).encode()
    await desk.keys.refresh()
    assert [await desk.found("ed"), await desk.found("off")] == ["EdDSA", None]
    (warning,) = desk.keys.warnings()
    assert warning.count("key ") + warning.count("one of them") == 4
    assert "key 3 of 6 has numbers that are missing, badly written, too small or too large; key 4 of 6" in warning


async def test_keys_are_refreshed_before_they_are_needed(desk: Desk) -> None:
    """A key that was withdrawn would work until somebody asks for a new one."""
    running = asyncio.create_task(desk.keys.run(every=0.01, pace=60.0))
    await eventually(lambda: desk.server.asked >= 3)
    desk.server.misbehave = answering(500)
    await eventually(lambda: list(desk.keys.warnings()) != [])
    running.cancel()
    await asyncio.wait({running})


async def test_keys_that_could_not_be_had_are_tried_again_soon(desk: Desk) -> None:
    """An issuer that was away for a moment would be taken for away for minutes."""
    desk.server.misbehave = answering(500)
    running = asyncio.create_task(desk.keys.run(every=60.0, pace=0.01))
    await eventually(lambda: desk.server.asked >= 3)
    desk.server.misbehave = None
    await eventually(lambda: list(desk.keys.warnings()) == [])
    running.cancel()
    await asyncio.wait({running})


async def test_nothing_is_fetched_after_the_end(desk: Desk) -> None:
    """A gateway that is told to stop would wait for an issuer that says nothing."""
    desk.server.misbehave = never
    desk.keys = desk.made(seconds=3600.0)
    running = asyncio.create_task(desk.keys.run())
    waiting = asyncio.create_task(desk.keys.refresh())
    await eventually(lambda: desk.server.asked == 1)
    running.cancel()
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait({running, waiting})
    assert running.cancelled()
