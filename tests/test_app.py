"""Composition: what a gateway does beside its requests because it was put together so."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.building import CannotStart
from gateway.core.audit import Seal
from gateway.store.open import open_store
from tests.support.minting import id_of
from tests.support.running import Running, running


def signing_key(directory: Path, mode: int = 0o600) -> str:
    """The path of a new key that signs."""
    file = directory / "sealing.pem"
    key = Ed25519PrivateKey.generate()
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    file.chmod(mode)
    return str(file)


async def ready(gateway: Running) -> tuple[int, dict[str, Any]]:
    """What the gateway says of itself."""
    async with ClientSession() as session, session.get(f"{gateway.app.admin_url}/ready") as answer:
        return answer.status, await answer.json()


async def seals(gateway: Running) -> list[Seal]:
    """All seals of the store."""
    return [seal for chain in await gateway.store.chains() async for seal in gateway.store.seals(chain)]


@pytest.mark.parametrize("signed", [True, False])
async def test_the_audit_is_sealed_while_the_gateway_runs(tmp_path: Path, signed: bool) -> None:
    """Somebody could change the audit, and nobody would see it."""
    settings = {"audit.signing_key_file": signing_key(tmp_path)} if signed else {}
    async with running(tmp_path, settings) as gateway:
        made: list[Seal] = []
        async with asyncio.timeout(20):
            while not made:
                made = await seals(gateway)
                await gateway.ask(token=gateway.user_token)

    assert bool(made[0].signature) is signed


@pytest.mark.parametrize("content", [None, "", "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n"])
async def test_a_key_that_cannot_sign(tmp_path: Path, content: str | None) -> None:
    """A gateway would run for months without signatures because of a slip in a path."""
    file = tmp_path / "sealing.pem"
    if content is not None:
        file.write_text(content)

    with pytest.raises(CannotStart, match=r"audit\.signing_key_file: .*sealing\.pem"):
        async with running(tmp_path, {"audit.signing_key_file": str(file)}):
            pass


async def test_what_is_not_well_is_shown(tmp_path: Path) -> None:
    """Nobody would see that others can read the key that signs the audit."""
    async with running(tmp_path, {"audit.signing_key_file": signing_key(tmp_path, 0o644)}) as gateway:
        status, told = await ready(gateway)

    assert status == 200
    (warning,) = told["warnings"]
    assert "sealing.pem" in warning


async def test_a_gateway_without_trouble_warns_of_nothing(tmp_path: Path) -> None:
    """Warnings that are always there would be read by nobody."""
    async with running(tmp_path) as gateway:
        assert "warnings" not in (await ready(gateway))[1]


async def test_when_keys_were_used_is_noted_at_the_latest_when_the_gateway_stops(tmp_path: Path) -> None:
    """A restart would lose when keys were last used, and keys that are in use would be thought idle."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    await open_store(url, create=True).close()
    async with running(tmp_path, {"store.url": url}) as gateway:
        key = gateway.keys["USER_READ"]
        assert (await gateway.ask(token=key)).status == 200
        assert (await gateway.ask(token=gateway.user_token)).status == 200
        token_id = id_of(gateway.user_token)
    store = open_store(url)
    try:
        noted = await store.last_used([id_of(key), token_id])
    finally:
        await store.close()

    assert noted.keys() == {id_of(key)}


async def test_metrics_and_health_of_a_gateway_whose_store_is_gone(tmp_path: Path) -> None:
    """The figures that tell what is wrong would be gone together with the store."""
    file = tmp_path / "store.db"
    await open_store(f"sqlite:///{file}", create=True).close()
    async with running(tmp_path, {"store.url": f"sqlite:///{file}"}) as gateway:
        file.rename(tmp_path / "elsewhere.db")
        async with asyncio.timeout(20):
            while (await gateway.ask(token=gateway.user_token)).status != 503:
                pass

        assert b"\ngateway_store_deaf 0.0\n" in gateway.app.metrics.exposition()
        assert (await ready(gateway))[0] == 503
