"""Notices by webhook, as Standard Webhooks describe them (https://www.standardwebhooks.com): signed, over https, and to
public addresses only, as far as the settings do not name others."""

import asyncio
import base64
import hmac
import ipaddress
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import orjson

from gateway.control.letters import Letter
from gateway.core.notices import SENT, NoticeState, Outcome
from gateway.core.times import iso_time
from gateway.settings.reminders import Webhook

if TYPE_CHECKING:
    import aiohttp

_PREFIX: Final = "whsec_"
_LEAST_SECRET: Final = 24  # bytes, and at most 64: Standard Webhooks, "Symmetric"
_SECONDS: Final = 15.0  # for one notice, from the name to the answer
_ANSWER_BYTES: Final = 4096  # of an answer that are held until the connection is closed; nobody reads them

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SecretInvalid(ValueError):
    """The file holds no secret of a webhook."""


class NotPublic(OSError):
    """The name leads to an address that is not for everybody, and that the settings do not name."""


class WebhookSender:
    """Posts notices to one receiver. Raises `SecretInvalid`, or `OSError` when a file cannot be read."""

    def __init__(self, settings: Webhook) -> None:
        self._settings = settings
        self._key = _key(settings.secret_file.read_text("utf-8").strip())
        self._context = ssl.create_default_context(cafile=None if settings.ca_file is None else str(settings.ca_file))

    async def send(self, letter: Letter, notice_id: str, at: int) -> Outcome:
        """Post a notice made at `at` (UTC milliseconds), and tell what came of it."""
        return await self.prepared(letter, notice_id, at)()

    def prepared(self, letter: Letter, notice_id: str, at: int) -> Callable[[], Coroutine[Any, Any, Outcome]]:
        """What posts a notice and tells what came of it; body and signature are made at once."""
        body = orjson.dumps({"type": letter.event, "timestamp": iso_time(at), "data": letter.data})
        return partial(self._posted, body, self._headers(notice_id, at, body))

    async def _posted(self, body: bytes, headers: dict[str, str]) -> Outcome:
        import aiohttp  # noqa: PLC0415 - as below

        refused: list[str] = []
        try:
            async with asyncio.timeout(_SECONDS), self._session(refused) as session:
                answer = await session.post(self._settings.url, data=body, headers=headers, allow_redirects=False)
                # The status is the whole answer: a body that breaks off, or never ends, does not make it another.
                outcome = _outcome(answer.status)
                answer.close()
        except TimeoutError:
            return Outcome(NoticeState.WAITING, "timeout")
        except (aiohttp.ClientError, OSError):
            return Outcome(NoticeState.WAITING, "not_public" if refused else "connection")
        return outcome

    def _session(self, refused: list[str]) -> "aiohttp.ClientSession":
        import aiohttp  # noqa: PLC0415 - of the settings this module needs, most gateways have none

        # The address is looked at where the socket is made for it: a name may lead elsewhere at every look, and of an
        # address that stands in the URL nobody asks a resolver.
        connector = aiohttp.TCPConnector(
            ssl=self._context, force_close=True, use_dns_cache=False, socket_factory=self._sockets(refused)
        )
        return aiohttp.ClientSession(
            connector=connector,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=_ANSWER_BYTES,
        )

    def _sockets(self, refused: list[str]) -> Callable[[Any], socket.socket]:
        """Makes sockets, for addresses that are allowed only; the others are added to `refused`."""

        def made(info: Any) -> socket.socket:
            family, kind, protocol, _, (address, *_) = info
            if not is_allowed(address, self._settings.allow_networks):
                refused.append(address)
                raise NotPublic("a webhook leads to an address that is not public")
            return socket.socket(family, kind, protocol)

        return made

    def _headers(self, notice_id: str, at: int, body: bytes) -> dict[str, str]:
        timestamp = str(at // 1000)
        signed = b".".join((notice_id.encode(), timestamp.encode(), body))
        signature = base64.b64encode(hmac.digest(self._key, signed, sha256)).decode()
        return {
            "webhook-id": notice_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v1,{signature}",
            "Content-Type": "application/json",
        }


def is_allowed(address: str, networks: Sequence[Network]) -> bool:
    """Whether a webhook may be connected to at this address: one that is public, or in one of the networks."""
    plain: Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(plain, ipaddress.IPv6Address):
        # What an IPv4 address is wrapped in does not make it public.
        plain = plain.ipv4_mapped or plain.sixtofour or (plain.teredo or (None, None))[1] or _nat64(plain) or plain
    if any(plain.version == network.version and plain in network for network in networks):
        return True
    # Site-local addresses and the ones kept for later count as global there.
    local = plain.is_multicast or plain.is_reserved or getattr(plain, "is_site_local", False)
    return plain.is_global and not local


_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052


def _nat64(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None


def _outcome(status: int) -> Outcome:
    if 200 <= status < 300:
        return SENT
    if status == HTTPStatus.GONE:  # Standard Webhooks: the receiver wants no more of it
        return Outcome(NoticeState.FAILED, "refused", status)
    return Outcome(NoticeState.WAITING, "put_off", status)


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except ValueError as error:
        raise SecretInvalid("the secret is whsec_ and base64") from error
    if not text.startswith(_PREFIX) or not _LEAST_SECRET <= len(key) <= 64:
        raise SecretInvalid(f"the secret is {_PREFIX} and the base64 of 24 to 64 bytes")
    return key
