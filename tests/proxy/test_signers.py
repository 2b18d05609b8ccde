"""The keys of a source of reports: how long they are believed, and how often they are asked for."""

import asyncio
import json
from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.core.decision import Reason, Unavailable
from gateway.dev.reporter import reporter
from gateway.proxy.jwks_sources import SourceAway
from gateway.proxy.signers import SignerKeys, keys_in

OLD, NEW = reporter(b"old"), reporter(b"new")
MINUTE = 60_000


@dataclass
class Source:
    """A source that gives what it is told to, when it is let."""

    keys: bytes = OLD.public_keys()
    away: bool = False
    asked: int = 0
    now: int = 1_700_000_000_000
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def fetch(self) -> bytes:
        self.asked += 1
        await self.open.wait()
        if self.away:
            raise SourceAway("there was no answer in time")
        return self.keys


@pytest.fixture
def source() -> Source:
    """One that answers."""
    source = Source()
    source.open.set()
    return source


async def known(keys: SignerKeys, identifier: str) -> bool | None:
    """Whether the source has the key; None when nobody can tell."""
    try:
        return await keys.find(identifier) is not None
    except Unavailable as error:
        unavailable = error
    assert unavailable.reason is Reason.SIGNATURE_UNCHECKED
    assert unavailable.retry_after in range(1, 61)
    return None


async def test_they_are_remembered_for_half_an_hour(source: Source) -> None:
    """GitHub would be asked at each report, or a key that it withdrew be believed for ever."""
    keys = SignerKeys(source.fetch, lambda: source.now)
    for _ in range(30):
        assert await known(keys, OLD.identifier)
        source.now += MINUTE
    assert source.asked == 1
    source.keys = NEW.public_keys()
    assert await known(keys, OLD.identifier) is False
    assert await known(keys, NEW.identifier)
    assert source.asked == 2


async def test_a_key_that_is_new(source: Source) -> None:
    """Reports would be turned away for half an hour after GitHub changed its key; or each stranger cause a fetch."""
    keys = SignerKeys(source.fetch, lambda: source.now)
    assert await known(keys, OLD.identifier)
    source.keys = NEW.public_keys()
    source.now += MINUTE - 1
    assert await known(keys, NEW.identifier) is None  # not wrong: it is to be sent again
    assert source.asked == 1
    source.now += 1
    assert await known(keys, NEW.identifier)
    assert await known(keys, "stranger") is None
    assert source.asked == 2


async def test_a_source_that_is_away(source: Source) -> None:
    """A source that is away for a moment would take the keys with it, or be asked without end."""
    keys = SignerKeys(source.fetch, lambda: source.now)
    source.away = True
    assert await known(keys, OLD.identifier) is None
    assert await known(keys, OLD.identifier) is None
    assert source.asked == 1
    source.now += MINUTE
    source.away = False
    assert await known(keys, OLD.identifier)
    source.now += MINUTE
    source.away = True
    assert await known(keys, "stranger") is None
    assert await known(keys, OLD.identifier)
    source.now += 29 * MINUTE
    assert await known(keys, OLD.identifier) is None


async def test_whoever_leaves_ends_no_fetch(source: Source) -> None:
    """A stranger who asks and leaves could keep GitHub's reports out for ever; or a hundred ask for a hundred sets."""
    source.open.clear()
    keys = SignerKeys(source.fetch, lambda: source.now)
    first, *others = [asyncio.create_task(known(keys, OLD.identifier)) for _ in range(100)]
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    source.open.set()
    assert set(await asyncio.gather(*others)) == {True}
    assert source.asked == 1
    await keys.close()


async def test_it_can_be_closed_while_it_fetches(source: Source) -> None:
    """A gateway would end with a fetch that nobody waits for."""
    source.open.clear()
    keys = SignerKeys(source.fetch, lambda: source.now)
    asked = asyncio.create_task(known(keys, OLD.identifier))
    await asyncio.sleep(0)
    await keys.close()
    assert await asked is None


def pem(key: object) -> str:
    """A public key as text."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()  # type: ignore[attr-defined,no-any-return]


def test_only_keys_on_the_right_curve_count() -> None:
    """One odd key in the set would take all others with it, or a weaker one be believed."""
    good = json.loads(OLD.public_keys())["public_keys"][0]
    odd: list[object] = [
        None,
        5,
        {},
        {"key_identifier": "a"},
        {"key_identifier": "a", "key": 5},
        {"key_identifier": "a", "key": "x"},
        {"key_identifier": "a", "key": "é"},
        {"key_identifier": 5, "key": good["key"]},
        {"key_identifier": "a", "key": pem(ec.generate_private_key(ec.SECP384R1()).public_key())},
        {"key_identifier": "a", "key": pem(ec.generate_private_key(ec.SECP256K1()).public_key())},
        {"key_identifier": "a", "key": pem(rsa.generate_private_key(65537, 2048).public_key())},
    ]
    assert set(keys_in(json.dumps({"public_keys": [*odd, good]}).encode())) == {OLD.identifier}


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"public_keys":{}}', b'{"public_keys":[]}', b"x" * 70_000])
def test_what_is_no_set(data: bytes) -> None:
    """What is no set of keys would be taken for one without keys, or end in a fault of ours."""
    with pytest.raises(ValueError, match=r"is no JSON|holds no key|is too long"):
        keys_in(data)
