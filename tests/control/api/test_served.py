"""The API of a whole gateway, on its admin listener."""

import hashlib
from pathlib import Path

import pytest
from aiohttp import ClientSession

from gateway.core.ledger import ItemKind
from gateway.core.wishes import DAY
from gateway.store.open import open_store
from tests.support.managing import DEVELOPER, OPERATOR, OPERATOR_TOKEN, managed
from tests.support.running import running


async def test_operators_of_the_settings_manage_what_the_gateway_serves(tmp_path: Path) -> None:
    """The operators that the settings name would be nobody, or keys made by the API would not work."""
    digest = hashlib.sha256(OPERATOR_TOKEN.encode()).hexdigest()
    operators = [{"name": "root", "token_sha256": digest}]
    async with running(tmp_path, {"api.operators": operators}) as gateway, ClientSession() as session:
        url = f"{gateway.app.admin_url}/api/v1/apps/{gateway.owner.id}/keys"
        headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
        asked = {"name": "made", "scopes": ["OFFLOADS_READ"]}
        async with session.post(url, json=asked, headers=headers) as answer:
            assert answer.status == 201
            made = await answer.json()
        body = '{"query":"{ offloads { day } }"}'
        assert (await gateway.ask(body, token=made["token"])).status == 200
        async with session.post(f"{url}/{made['id']}/revoke", headers=headers) as answer:
            assert answer.status == 200
        assert (await gateway.ask(body, token=made["token"])).status == 401
        async with session.get(f"{gateway.app.admin_url}/api/v1/apps") as answer:
            assert answer.status == 401
        for path in ("/live", "/ready", "/metrics", "/nowhere", "/api/v1/openapi.json", "/api/v1"):
            async with session.get(f"{gateway.app.admin_url}{path}") as answer:
                assert "Server" not in answer.headers
    everything = _everything(tmp_path)
    assert made["token"].encode() not in everything
    assert OPERATOR_TOKEN.encode() not in everything


async def test_a_developers_token_ends_by_the_stores_clock(tmp_path: Path) -> None:
    """A token that somebody forgot would be good for longer than its owner was told."""
    now = [1_800_000_000_000]
    store = open_store(f"sqlite:///{tmp_path / 'gateway.db'}", create=True, clock=lambda: now[0])
    try:
        async with managed(store) as api:
            made = (await api.ask(DEVELOPER, "POST", "/developer-tokens", {"lifetime_seconds": 86_400})).json
            api.tokens["short"] = made["token"]
            now[0] += DAY - 1
            assert (await api.ask("short", "GET", "/apps")).status == 200
            now[0] += 1
            assert (await api.ask("short", "GET", "/apps")).status == 401
            assert (await api.ask(DEVELOPER, "GET", "/apps")).status == 200
            now[0] += 30 * DAY
            assert (await api.ask(DEVELOPER, "GET", "/apps")).status == 401
    finally:
        await store.close()


async def test_no_token_and_no_address_is_kept_or_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Whoever reads the store or the log would have everybody's tokens."""
    store = open_store(f"sqlite:///{tmp_path / 'gateway.db'}", create=True)
    shown: list[str] = []
    async with managed(store) as api:
        for path, body in [
            (f"/apps/{api.ours.id}/keys", {"name": "k", "scopes": ["USER_READ"]}),
            ("/developer-tokens", {}),
        ]:
            headers = {"Idempotency-Key": path}
            shown += [(await api.ask(DEVELOPER, "POST", path, body, headers=headers)).json["token"]]
            await api.ask(DEVELOPER, "POST", path, body, headers=headers)
        person = {"email": "new@example.com"}
        once = {"Idempotency-Key": "a"}
        await api.ask(OPERATOR, "POST", f"/apps/{api.ours.id}/developers", person, headers=once)
        await api.ask("", "GET", "/apps", headers={"Authorization": f"Bearer {shown[0]}"})
        shown += api.tokens.values()
        items = [item.text for kind in list(ItemKind) for item in [each async for each in api.store.items(kind)]]
    await store.close()
    everything = _everything(tmp_path)
    told = capfd.readouterr()
    assert len(shown) == 6
    for token in shown:
        secret = token.partition(".")[2]
        assert secret.encode() not in everything
        assert secret not in told.out + told.err
    assert items
    assert not any("@" in text for text in items)


def _everything(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in directory.rglob("*") if file.is_file())
