"""Webhooks over real https: signed, to where the settings say and nowhere else."""

import asyncio
import base64
import hmac
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path

import pytest
from aiohttp import web

from gateway.control.letters import trial
from gateway.control.webhooks import SecretInvalid, WebhookSender, is_allowed
from gateway.core.notices import SENT, NoticeState, Outcome
from gateway.settings.reminders import Webhook
from tests.support.hook_server import CA, Hooks, hook_server

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
NOW = 1_700_000_000_000
LOOPBACK = ("127.0.0.0/8",)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """The file with the secret."""
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    return file


def sender_to(
    hooks: Hooks, secret: Path, *, networks: tuple[str, ...] = LOOPBACK, host: str = "127.0.0.1"
) -> WebhookSender:
    """Sends to that receiver."""
    return WebhookSender(
        Webhook(
            url=f"https://{host}:{hooks.port}/keys?x=1",
            secret_file=secret,
            allow_networks=networks,  # type: ignore[arg-type]  # read from text, as from a file
            ca_file=CA,
        )
    )


async def test_a_notice_is_signed(secret: Path) -> None:
    """A receiver could not tell a notice of the gateway from anybody's, or from an old one."""
    async with hook_server() as hooks:
        assert await sender_to(hooks, secret).send(trial(NOW), "5anotice", NOW) == SENT
        ((headers, body),) = hooks.came
        signed = b".".join((b"5anotice", b"1700000000", body))
        assert headers["webhook-id"] == "5anotice"
        assert headers["webhook-timestamp"] == "1700000000"
        signature = base64.b64encode(hmac.digest(KEY, signed, sha256)).decode()
        assert headers["webhook-signature"] == f"v1,{signature}"
        assert headers["content-type"] == "application/json"
        told = json.loads(body)
        assert (told["type"], told["timestamp"]) == ("trial", "2023-11-14T22:13:20.000Z")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, SENT),
        (204, SENT),
        (410, Outcome(NoticeState.FAILED, "refused", 410)),
        (302, Outcome(NoticeState.WAITING, "put_off", 302)),
        (400, Outcome(NoticeState.WAITING, "put_off", 400)),
        (429, Outcome(NoticeState.WAITING, "put_off", 429)),
        (500, Outcome(NoticeState.WAITING, "put_off", 500)),
    ],
)
async def test_what_the_receiver_says_is_what_comes_of_it(status: int, outcome: Outcome, secret: Path) -> None:
    """A notice would be lost while a receiver is mended, or a redirect be followed into the network behind."""
    async with hook_server() as hooks:
        hooks.statuses, hooks.headers = [status], {"Location": f"https://127.0.0.1:{hooks.port}/else"}
        assert await sender_to(hooks, secret).send(trial(NOW), "5a", NOW) == outcome
        assert len(hooks.came) == 1


async def broken_off(response: web.StreamResponse) -> None:
    """Less than was announced."""
    await response.write(b"x")
    raise ConnectionResetError


async def no_gzip(response: web.StreamResponse) -> None:
    """Something that cannot be decompressed."""
    await response.write(b"\x1f\x8b\x08" + b"\xff" * 100)


async def slow(response: web.StreamResponse) -> None:
    """The first byte of a body, and no further one for longer than a notice may take."""
    await response.write(b"x")
    await asyncio.sleep(60)


async def endless(response: web.StreamResponse) -> None:
    """Bytes until nobody takes them."""
    with suppress(ConnectionError):
        while True:
            await response.write(b"x" * 65_536)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, SENT),
        (410, Outcome(NoticeState.FAILED, "refused", 410)),
        (500, Outcome(NoticeState.WAITING, "put_off", 500)),
    ],
)
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (broken_off, {"Content-Length": "1000"}),
        (no_gzip, {"Content-Encoding": "gzip"}),
        (slow, {}),
        (endless, {}),
        (endless, {"Content-Encoding": "gzip"}),
    ],
)
async def test_the_status_is_the_answer(
    status: int,
    outcome: Outcome,
    body: Callable[[web.StreamResponse], Awaitable[None]],
    headers: dict[str, str],
    secret: Path,
) -> None:
    """A receiver that has the notice would get it again and again, or fill our memory with what it says to it."""
    async with hook_server() as hooks:
        hooks.statuses, hooks.headers, hooks.body = [status], headers, body
        async with asyncio.timeout(5):
            assert await sender_to(hooks, secret).send(trial(NOW), "5a", NOW) == outcome


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
async def test_an_address_that_is_not_public_is_never_connected_to(host: str, secret: Path) -> None:
    """Whoever may set a webhook, or a name that it leads to, could post into the network behind the gateway."""
    async with hook_server() as hooks:
        sender = sender_to(hooks, secret, networks=(), host=host)
        outcome = await sender.send(trial(NOW), "5a", NOW)
        assert (outcome.state, outcome.error in {"not_public", "connection"}) == (NoticeState.WAITING, True)
        assert hooks.came == []


async def test_a_stranger_with_another_certificate_gets_nothing(secret: Path) -> None:
    """Somebody in between could read the notices."""
    async with hook_server("other") as hooks:
        assert await sender_to(hooks, secret).send(trial(NOW), "5a", NOW) == Outcome(NoticeState.WAITING, "connection")
        assert hooks.came == []


PRIVATE = [
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.1.2.3", "169.254.169.254", "172.16.0.1", "192.168.1.1",
    "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:10.0.0.1",
    "::ffff:127.0.0.1", "64:ff9b::a00:1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::",
    "2001:0:0:0:0:0:f5ff:fffe", "fc00::1", "fd12::1", "fe80::1", "fe80::1%eth0", "ff02::1", "2001:db8::1",
    "fec0::1", "::a00:1", "64:ff9b:1::a00:1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public(address: str) -> None:
    """The gateway could be made to talk to itself, its neighbours or the cloud's own services."""
    assert not is_allowed(address, ())


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_what_is_public(address: str) -> None:
    """No webhook could be sent at all."""
    assert is_allowed(address, ())


def test_networks_may_be_named() -> None:
    """A receiver in one's own network could not be told."""
    networks = (ip_network("10.1.0.0/16"), ip_network("fd12::/16"))
    assert is_allowed("10.1.2.3", networks)
    assert is_allowed("::ffff:10.1.2.3", networks)
    assert is_allowed("fd12::1", networks)
    assert not is_allowed("10.2.0.1", networks)
    assert not is_allowed("fd13::1", networks)


@pytest.mark.parametrize(
    "text",
    ["", "whsec_", "whsec_AAAA", SECRET.removeprefix("whsec_"), f"{SECRET}!", f"whsec_{'A' * 100}", "whsec_\u00e9"],
)
def test_a_secret_that_is_none(text: str, secret: Path) -> None:
    """Notices would be signed with something that anybody can guess."""
    secret.write_text(text)
    with pytest.raises(SecretInvalid):
        sender_to(Hooks(), secret)
