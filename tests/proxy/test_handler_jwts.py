"""Tokens of other issuers, from the socket to the upstream: good ones pass as users, all others are refused alike."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from gateway.building import CannotStart
from gateway.core.ledger import Act, ActRefused, Asked, Changes
from gateway.core.records import App, Fault
from gateway.store.contract import Store
from gateway.store.open import open_store
from tests.support import jwts
from tests.support.jwks_server import CA, JwksServer, answering, serving_keys
from tests.support.minting import a_key, keeper, stray
from tests.support.running import Running, answer_from, running
from tests.support.vectors import rows
from tests.support.wire import here, line_of

ROWS = rows("jwt.yaml")
FALSE = [row for row in ROWS if "fault" in row["expect"]]
APPS = (App(jwts.APP, "demo", "eu"), App("5a0000000000000000000a02", "somebody else's", "eu"))
FURTHER = "5a0000000000000000000a03"  # which the issuer may speak for, and which there is not


def now() -> int:
    """UTC seconds."""
    return int(time.time())


async def made(store: Store, app: App) -> None:
    """Keep an app just as it is."""
    (outcome,) = await store.act([Act(Asked(app.id), lambda _: Changes(app=app))])
    assert not isinstance(outcome, ActRefused)


@asynccontextmanager
async def knowing(folder: Path, keys: JwksServer, **further: object) -> AsyncIterator[Running]:
    """A gateway that knows one issuer, which may speak for one app of two, and for one that is not there."""
    store = open_store(f"sqlite:///{folder}/gateway.db", create=True)
    for app in APPS:
        await made(store, app)
    issuer = {
        "issuer": jwts.ISSUER,
        "apps": [jwts.APP, FURTHER],
        "audience": jwts.AUDIENCE,
        "jwks_url": keys.url,
        "ca_file": str(CA),
    }
    async with running(folder, {"issuers": {"mobile": issuer}, **further}, store=store) as gateway:
        yield gateway


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[JwksServer]:
    """The issuer's server."""
    async with serving_keys(jwts.published()) as serving:
        yield serving


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory, server: JwksServer) -> AsyncIterator[Running]:
    """A gateway that is shared by the tests that change nothing of it."""
    async with knowing(tmp_path_factory.mktemp("jwts"), server) as started:
        yield started


@here
@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
async def test_what_a_token_proves(gateway: Running, row: dict[str, Any]) -> None:
    """Somebody would be a user by a token that the issuer never made, or a good one would be turned away."""
    before = len(gateway.upstream.received)
    answer = await gateway.ask(token=jwts.of_row(row, now()))
    line = await line_of(gateway, answer)
    if "user" in row["expect"]:
        user = jwts.meant_user(row["expect"]["user"])
        assert answer.status == 200
        sent = {name.lower(): value for name, value in gateway.upstream.received[-1].headers}
        assert {name: sent[name] for name in sent if name.startswith("x-gateway-")} == {
            "x-gateway-principal": "user",
            "x-gateway-app": jwts.APP,
            "x-gateway-user": user,
            "x-gateway-region": "eu",
        }
        assert "authorization" not in sent
        assert (line["app"], line["user"]) == (jwts.APP, user)
    else:
        assert (answer.status, answer.reasons) == (401, ["credential_invalid"])
        fault = "malformed" if line["reasons"] == ["credential_malformed"] else line["credential_fault"]
        assert fault == row["expect"]["fault"]
        assert len(gateway.upstream.received) == before


def test_the_table_is_whole() -> None:
    """A row would be skipped, or a way to be false would be shown by none."""
    assert len({row["id"] for row in ROWS}) == len(ROWS)
    shown = {row["expect"]["fault"] for row in FALSE}
    own = {"check_digits", "wrong", "superseded", "revoked", "app_disabled", "user_disabled"}
    assert shown | own == {fault.value for fault in Fault}


@here
async def test_all_false_tokens_are_answered_alike(gateway: Running) -> None:
    """Somebody who tries tokens would learn how near one came."""

    async def said(token: str) -> bytes:
        head = ["GET /v2/users/me HTTP/1.1", "Host: a", f"Authorization: Bearer {token}", "Connection: close", "", ""]
        data = await gateway.raw("\r\n".join(head).encode())
        request_id = answer_from(data).header("X-Request-Id")
        assert request_id
        return data.replace(request_id.encode(), b"")

    unknown = await said(stray())
    assert {await said(jwts.of_row(row, now())) for row in FALSE} == {unknown}


@here
async def test_a_route_for_users_takes_it_and_one_for_keys_does_not(gateway: Running) -> None:
    """A user of another issuer could do what only keys may, or could not do what users may."""
    token = jwts.token(jwts.claims(now()))
    assert (await gateway.ask("", token=token, method="GET", target="/v2/users/me")).status == 200
    own = await gateway.ask("", token=token, method="DELETE", target="/keys/self")
    assert (own.status, own.reasons) == (403, ["keys_only"])
    other = await gateway.ask("", token=token, method="GET", target="/v2/users/somebody-else")
    assert (other.status, other.reasons) == (403, ["not_own_data"])


@here
async def test_what_is_remembered_is_so_until_the_end_that_the_token_says(gateway: Running) -> None:
    """The memory would keep a token for longer than the rule, leeway and all, does; or would not know it at all."""
    token = jwts.token(jwts.claims(now(), exp=now() - 5))  # over, and in its leeway: proven anew each time
    hits = await remembered(gateway)
    assert [(await gateway.ask(token=token)).status for _ in range(2)] == [200, 200]
    assert await remembered(gateway) == hits
    token = jwts.token(jwts.claims(now()))
    assert [(await gateway.ask(token=token)).status for _ in range(2)] == [200, 200]
    assert await remembered(gateway) > hits


@here
async def test_a_flood_of_unknown_keys_is_a_few_fetches(gateway: Running, server: JwksServer) -> None:
    """Anybody could make the gateway flood the issuer, and so shut out everybody whose key is new."""
    before = server.asked
    tokens = [jwts.token(jwts.claims(now()), kid=f"unknown-{number}") for number in range(100)]
    answers = await asyncio.gather(*(gateway.ask(token=token) for token in tokens))
    assert {answer.status for answer in answers} == {401}
    assert server.asked - before <= 1


@here
async def test_without_issuers_a_long_token_is_not_read(tmp_path: Path) -> None:
    """A gateway that has no use for long tokens would hash them for strangers."""
    async with running(tmp_path) as plain:
        answer = await plain.ask(token=jwts.token(jwts.claims(now())))
        assert (answer.status, answer.reasons) == (401, ["credential_invalid"])
        assert (await line_of(plain, answer))["reasons"] == ["credential_malformed"]
        short = await plain.ask(token="e30.e30.e30")
        assert (await line_of(plain, short))["credential_fault"] == "malformed"


async def test_certificates_that_cannot_be_read_keep_it_from_starting(tmp_path: Path) -> None:
    """A gateway would run for which no issuer can prove itself, or every server could."""
    issuer = {"issuer": "a", "apps": [jwts.APP], "audience": "b", "jwks_url": "https://127.0.0.1:1/"}
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(CannotStart, match=r"ca\.pem: no certificates can be read from it"):
        async with running(tmp_path, {"issuers": {"mobile": {**issuer, "ca_file": str(tmp_path / "ca.pem")}}}):
            pass


# What ends ------------------------------------------------------------------------------------------------------------


@here
async def test_disabled_and_deleted_at_once(tmp_path: Path, server: JwksServer) -> None:
    """Whoever was locked out would go on for as long as the token lives, since nobody can take that back."""
    async with knowing(tmp_path, server) as gateway:
        acts = keeper(gateway.store)

        async def told(user: str = jwts.USER, **claims: object) -> object:
            answer = await gateway.ask(token=jwts.token(jwts.claims(now(), sub=user, **claims)))
            return answer.status if answer.status == 200 else (await line_of(gateway, answer)).get("credential_fault")

        tokens = {name: jwts.token(jwts.claims(now(), sub=name)) for name in ("someone", "other", "third")}

        async def statuses() -> list[int]:
            return [(await gateway.ask(token=token)).status for token in tokens.values()]

        assert await statuses() == [200, 200, 200]
        await acts.switch_user(jwts.APP, "someone", disabled=True, unknown_too=True)
        assert await statuses() == [401, 200, 200]
        assert await told() == "user_disabled"
        await acts.switch_user(jwts.APP, "someone", disabled=False)
        assert await statuses() == [200, 200, 200]

        await acts.delete_user(jwts.APP, "other")
        assert await statuses() == [200, 401, 200]
        assert [await told("other"), await told("other", iat=None)] == ["revoked", "revoked"]

        await acts.switch_app(jwts.APP, disabled=True)
        assert await statuses() == [401, 401, 401]
        assert await told("third") == "app_disabled"
        await acts.switch_app(jwts.APP, disabled=False)
        assert await statuses() == [200, 401, 200]

        await acts.end_user_tokens(jwts.APP, "someone")
        assert await statuses() == [401, 401, 200]
        # One that an issuer whose clock goes ahead gave out just before: with the leeway it may be from before the cut.
        assert [await told(), await told(iat=None), await told(iat=now() + 50)] == ["revoked"] * 3
        await acts.end_app_tokens(jwts.APP)
        assert await statuses() == [401, 401, 401]
        assert await told("never-seen", iat=None) == "revoked"


@here
async def test_keys_that_are_withdrawn_stop_working_while_remembered(tmp_path: Path) -> None:
    """An issuer whose key was stolen could not stop the thief, whom the gateway remembers."""
    async with (
        serving_keys(jwts.published()) as server,
        knowing(tmp_path, server, **{"tokens.remember_seconds": 3600.0}) as gateway,
    ):
        old, kept = (jwts.token(jwts.claims(now()), by=by) for by in ("rsa", "ec"))
        assert [(await gateway.ask(token=token)).status for token in (old, kept)] == [200, 200]
        server.keys = jwts.published("ec", "ed")
        (keys,) = gateway.app.issuers.keys
        await keys.refresh()
        assert [(await gateway.ask(token=token)).status for token in (old, kept)] == [401, 200]


@here
async def test_an_issuer_that_is_away_is_told_of(tmp_path: Path) -> None:
    """Users would be told that their good tokens are false, and operators nothing."""
    async with serving_keys(jwts.published()) as server:
        server.misbehave = answering(500)
        async with knowing(tmp_path, server) as gateway:
            answer = await gateway.ask(token=jwts.token(jwts.claims(now())))
            assert (answer.status, answer.reasons, answer.header("Retry-After")) == (503, ["issuer_unavailable"], "5")
            assert answer.header("WWW-Authenticate") is None
            assert (await line_of(gateway, answer))["cause"].startswith("The keys of the issuer mobile were never")
            assert (await gateway.ask(token=await a_key(gateway.store, gateway.owner))).status == 200
            assert await told(gateway) == [
                "The keys of the issuer mobile were never fetched: the answer was 500, and not a plain 200."
            ]
            assert 'gateway_issuer_keys_age_seconds{issuer="mobile"} +Inf' in await metrics(gateway)
            server.misbehave = None
            (keys,) = gateway.app.issuers.keys
            await keys.refresh()
            assert (await gateway.ask(token=jwts.token(jwts.claims(now())))).status == 200
            assert await told(gateway) == []
            assert 'gateway_issuer_keys_age_seconds{issuer="mobile"} 0.' in await metrics(gateway)


async def told(gateway: Running) -> list[str]:
    """The warnings of a gateway."""
    async with ClientSession() as session, session.get(f"{gateway.app.admin_url}/ready") as answer:
        return list((await answer.json()).get("warnings", []))


async def remembered(gateway: Running) -> float:
    """How often the memory of principals was enough."""
    (line,) = [line for line in (await metrics(gateway)).splitlines() if 'hits_total{cache="principals"}' in line]
    return float(line.rpartition(" ")[2])


async def metrics(gateway: Running) -> str:
    """The metrics of a gateway."""
    async with ClientSession() as session, session.get(f"{gateway.app.admin_url}/metrics") as answer:
        return await answer.text()
