"""Credentials: false ones are refused alike, ended ones at once, and none because the store is away."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.store.open import open_store
from tests.support.minting import a_key, a_user_token, an_app, id_of, keeper, revoke, stray
from tests.support.running import OWN, Running, answer_from, running
from tests.support.vectors import OWN_USER
from tests.support.wire import here, line_of, request, wire

GRAPHQL_RESPONSE = "application/graphql-response+json"


# Credentials ----------------------------------------------------------------------------------------------------------


FALSE = (
    "unknown-key",
    "unknown-user-token",
    "unknown-legacy",
    "wrong-secret",
    "wrong-user-secret",
    "revoked",
    "expired",
    "expired-user-token",
    "disabled-app",
    "disabled-user",
    "check-digits",
    "malformed",
    "another-prefix",
    "too-long",
    "two-headers",
    "same-twice",
    "two-in-one",
    "basic",
    "no-token",
    "blank",
    "not-ascii",
    "in-quotes",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def false_credentials(gateway: Running) -> Mapping[str, list[str]]:
    """The Authorization headers of a request, for everything that is wrong with a credential."""
    store, good = gateway.store, gateway.keys["all"]
    disabled = await an_app(store)
    others = await an_app(store)
    revoked, gone = await a_key(store, others), await a_key(store, others, ends=-1000)
    of_disabled = await a_key(store, disabled)
    disabled_user = await a_user_token(store, others, "someone")
    await revoke(store, revoked)
    await keeper(store).switch_app(disabled.id, disabled=True)
    await keeper(store).switch_user(others.id, "someone", disabled=True)
    last = "0" if good[-1] != "0" else "1"
    bearers = {
        "unknown-key": stray(),
        "unknown-user-token": stray("gwu"),
        "unknown-legacy": "0123456789abcde.mGCUhfi0uI4J13k010V49D2GaBZ3j1E708X4a4396XNx48X3",
        "wrong-secret": stray(token_id=id_of(good)),
        "wrong-user-secret": stray("gwu", id_of(gateway.user_token)),
        "revoked": revoked,
        "expired": gone,
        "expired-user-token": await a_user_token(store, others, ends=-1000),
        "disabled-app": of_disabled,
        "disabled-user": disabled_user,
        "check-digits": good[:-1] + last,
        "malformed": "abc",
        "another-prefix": "gwx" + good[3:],
        "too-long": "gwk_" + "a" * 600,
        "not-ascii": good + "\xe9",
        "in-quotes": f'"{good}"',
        "two-in-one": f"{good}, Bearer {good}",
        "no-token": "",
    }
    headers = {name: [f"Bearer {token}"] for name, token in bearers.items()}
    headers["two-headers"] = [f"Bearer {good}", f"Bearer {gateway.user_token}"]
    headers["same-twice"] = [f"Bearer {good}"] * 2
    headers["basic"] = [f"Basic {good}"]
    headers["blank"] = [""]
    assert headers.keys() == set(FALSE)
    return headers


async def refused(gateway: Running, authorization: list[str], target: str, accept: str) -> bytes:
    """The whole answer as bytes."""
    lines = [f"Authorization: {value}" for value in authorization]
    method = "POST" if target == "/v4/gql" else "GET"
    head = [f"{method} {target} HTTP/1.1", "Host: a", "Content-Type: application/json", f"Accept: {accept}", *lines]
    body = OWN if method == "POST" else ""
    head += [f"Content-Length: {len(body)}", "Connection: close", "", body]
    return await gateway.raw("\r\n".join(head).encode("latin-1"))


def without_id(data: bytes) -> bytes:
    """An answer but for what differs from request to request."""
    request_id = answer_from(data).header("X-Request-Id")
    assert request_id
    return data.replace(request_id.encode(), b"")


@here
@pytest.mark.parametrize("target", ["/v4/gql", "/v2/users/me", "/v2/segment_definitions"])
@pytest.mark.parametrize("accept", ["application/json", GRAPHQL_RESPONSE])
@pytest.mark.parametrize("what", FALSE)
async def test_false_credentials_are_refused_alike(
    gateway: Running, false_credentials: Mapping[str, list[str]], what: str, target: str, accept: str
) -> None:
    """Somebody who tries tokens would learn which of them were good once, or exist."""
    before = len(gateway.upstream.received)
    said = await refused(gateway, false_credentials[what], target, accept)
    unknown = await refused(gateway, false_credentials["unknown-key"], target, accept)
    assert without_id(said) == without_id(unknown)
    answer = answer_from(said)
    assert answer.status == 401
    assert answer.reasons == ["credential_invalid"]
    assert answer.header("WWW-Authenticate") == 'Bearer realm="gateway", error="invalid_token"'
    assert len(gateway.upstream.received) == before


@here
async def test_the_log_says_what_is_wrong_with_a_credential(
    gateway: Running, false_credentials: Mapping[str, list[str]]
) -> None:
    """An operator could not tell a client what is wrong with its token."""
    faults = {}
    for what, authorization in false_credentials.items():
        said = await refused(gateway, authorization, "/v4/gql", "application/json")
        line = await line_of(gateway, answer_from(said))
        faults[what] = line.get("credential_fault", line["reasons"][0])
    malformed = dict.fromkeys(
        ("two-headers", "same-twice", "two-in-one", "basic", "no-token", "blank", "not-ascii", "in-quotes", "too-long"),
        "credential_malformed",
    )
    assert faults == {
        "unknown-key": "unknown",
        "unknown-user-token": "unknown",
        "unknown-legacy": "unknown",
        "wrong-secret": "wrong",
        "wrong-user-secret": "wrong",
        "revoked": "revoked",
        "expired": "expired",
        "expired-user-token": "expired",
        "disabled-app": "app_disabled",
        "disabled-user": "user_disabled",
        "check-digits": "check_digits",
        "malformed": "malformed",
        "another-prefix": "malformed",
        **malformed,
    }


@here
@pytest.mark.parametrize(
    ("target", "method", "token", "status", "challenge"),
    [
        ("/v4/gql", "POST", None, 401, 'Bearer realm="gateway"'),
        ("/v2/users/me", "GET", None, 401, 'Bearer realm="gateway"'),
        ("/v4/gql", "POST", "gwk_no", 401, 'Bearer realm="gateway", error="invalid_token"'),
        (
            "/v4/gql",
            "POST",
            "OFFLOADS_READ",
            403,
            'Bearer realm="gateway", error="insufficient_scope", scope="USER_READ"',
        ),
        (
            "/v2/users/abc/link",
            "POST",
            "USER_READ",
            403,
            'Bearer realm="gateway", error="insufficient_scope", scope="USER_LINK"',
        ),
        ("/v2/users/abc/link", "POST", "user", 403, None),
        ("/v2/users/583e08a1cd99250700000002", "GET", "user", 403, None),
        ("/v2/users/me", "GET", "USER_READ", 403, None),
        ("/nowhere", "GET", "USER_READ", 404, None),
    ],
)
async def test_challenges(
    gateway: Running, target: str, method: str, token: str | None, status: int, challenge: str | None
) -> None:
    """A client library could not tell whether to log in, to refresh its token or to ask for a scope (RFC 6750)."""
    known = {**gateway.keys, "user": gateway.user_token}
    answer = await gateway.ask(token=known.get(token or "", token), method=method, target=target)
    assert (answer.status, answer.header("WWW-Authenticate")) == (status, challenge)


@here
async def test_a_missing_credential(gateway: Running) -> None:
    """Somebody who forgot the token would be told that it is wrong."""
    answer = await gateway.ask()
    assert (answer.status, answer.reasons) == (401, ["credential_missing"])


@here
@pytest.mark.parametrize("place", ["/v4/gql?access_token={}", "/v2/users/me?access_token={}"])
async def test_no_token_in_the_query(gateway: Running, place: str) -> None:
    """Tokens would lie in every log that keeps URLs."""
    method = "POST" if "gql" in place else "GET"
    answer = await gateway.ask(method=method, target=place.format(gateway.user_token))
    assert (answer.status, answer.reasons) == (400, ["parameter_unknown"])
    assert gateway.user_token.encode() not in answer.body


@here
async def test_both_kinds_of_another_shape(gateway: Running) -> None:
    """A client that spells the scheme otherwise, or with more blanks, would be refused."""
    for value in (f"bearer {gateway.user_token}", f"BEARER   {gateway.user_token}", f"Bearer {gateway.user_token} "):
        assert (await gateway.ask(headers={"Authorization": value})).status == 200


# The end of credentials -----------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A gateway whose store is a file, which other processes can reach."""
    directory = tmp_path_factory.mktemp("shared")
    url = f"sqlite:///{directory / 'store.db'}"
    await open_store(url, create=True).close()
    async with running(directory, {"store.url": url}) as started:
        yield started


@here
async def test_a_revoked_key(gateway: Running) -> None:
    """A key that was revoked would go on working for a while."""
    key = await a_key(gateway.store, gateway.owner)
    async with wire(gateway) as client:
        for _ in range(3):
            await client.send(request(gateway, token=key))
            assert (await client.answer()).status == 200
        await revoke(gateway.store, key)
        await client.send(request(gateway, token=key))
        assert (await client.answer()).status == 401


@here
async def test_a_disabled_app_and_user(gateway: Running) -> None:
    """Credentials of an app or user that was disabled would go on working, or not work again afterwards."""
    app = await an_app(gateway.store)
    key = await a_key(gateway.store, app)
    user = await a_user_token(gateway.store, app, "a" * 24)
    change = keeper(gateway.store)

    async def works() -> tuple[int, int]:
        return ((await gateway.ask(token=key)).status, (await gateway.ask(token=user)).status)

    assert await works() == (200, 200)
    await change.switch_user(app.id, "a" * 24, disabled=True)
    assert await works() == (200, 401)
    await change.switch_app(app.id, disabled=True)
    assert await works() == (401, 401)
    await change.switch_user(app.id, "a" * 24, disabled=False)
    await change.switch_app(app.id, disabled=False)
    assert await works() == (200, 200)


@here
@pytest.mark.parametrize("target", ["/v4/gql", "/v2/users/abc/link"])
@pytest.mark.parametrize("framing", ["Content-Length: 27", "Transfer-Encoding: chunked"])
async def test_a_revocation_while_a_body_is_sent(gateway: Running, target: str, framing: str) -> None:
    """Somebody with a stolen key could open requests beforehand, and finish them after it was revoked."""
    before = len(gateway.upstream.received)
    key = await a_key(gateway.store, gateway.owner)
    first, last = (b"10\r\n", b"\r\nb\r\n") if "chunked" in framing else (b"", b"")
    async with wire(gateway) as client:
        start = f"POST {target} HTTP/1.1"
        body = first + OWN.encode()[:16]
        await client.send(
            request(gateway, framing, "Expect: 100-continue", start=start, token=key, length=-1, body=b"")
        )
        assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(body)
        await revoke(gateway.store, key)
        await client.send(last + OWN.encode()[16:] + (b"\r\n0\r\n\r\n" if last else b""))
        answer = await client.answer()
    assert (answer.status, answer.reasons) == (401, ["credential_invalid"])
    assert len(gateway.upstream.received) == before


def elsewhere(script: str, *arguments: str, key: str = "") -> None:
    """Run by another process. Closing the database's file in this one would drop the locks that SQLite holds on it."""
    subprocess.run([sys.executable, "-c", script, *arguments], input=key, text=True, check=True)


@here
async def test_a_revocation_by_another_process(shared: Running) -> None:
    """A key that was revoked by a command, or through another gateway, would go on working here."""
    key = await a_key(shared.store, shared.owner)
    assert (await shared.ask(token=key)).status == 200
    script = (
        "import asyncio, sys; from gateway.store.open import open_store;"
        "from tests.support.minting import revoke\n"
        "async def main():\n"
        "    store = open_store(sys.argv[1])\n"
        "    await revoke(store, sys.stdin.read())\n"
        "    await store.close()\n"
        "asyncio.run(main())"
    )
    url = shared.app.settings.store.url
    elsewhere(script, url, key=key)
    assert (await shared.ask(token=key)).status == 401


async def test_a_key_that_expires_while_it_is_remembered(tmp_path: Path) -> None:
    """A key would be taken from memory after its end."""
    async with running(tmp_path) as gateway:
        key = await a_key(gateway.store, gateway.owner, ends=500)
        answer = await gateway.ask(token=key)
        assert answer.status == 200
        async with asyncio.timeout(20):
            while answer.status == 200:
                answer = await gateway.ask(token=key)
        assert answer.status == 401
        assert (await line_of(gateway, answer))["credential_fault"] == "expired"


# The store is away ----------------------------------------------------------------------------------------------------


EMPTY = "import os, shutil, sys\nfor name in sys.argv[1:]:\n    shutil.copy(name, name + '.kept'); os.truncate(name, 0)"
RESTORE = "import sys\nfor name in sys.argv[1:]:\n    open(name, 'r+b').write(open(name + '.kept', 'rb').read())"


@here
async def test_the_store_is_away(shared: Running) -> None:
    """Clients would throw away good keys because a disk failed, or bad keys would pass."""
    path = shared.app.settings.store.url.removeprefix("sqlite:///")
    known, new, ended = (
        shared.user_token,
        await a_key(shared.store, shared.owner),
        await a_key(shared.store, shared.owner),
    )
    await revoke(shared.store, ended)
    assert (await shared.ask(token=known)).status == 200
    elsewhere(EMPTY, path, f"{path}-wal")
    try:
        for token, target, method in (
            (new, "/v4/gql", "POST"),
            (ended, "/v4/gql", "POST"),
            (stray(), "/v4/gql", "POST"),
            (new, "/v2/users/" + OWN_USER, "GET"),
        ):
            answer = await shared.ask(token=token, target=target, method=method)
            assert (answer.status, answer.reasons) == (503, ["store_unavailable"])
            assert answer.header("Retry-After") == "1"
            assert answer.header("WWW-Authenticate") is None
            assert path.encode() not in answer.body
            assert path in (await line_of(shared, answer))["cause"]
        assert (await shared.ask(token="gwk_no")).status == 401
    finally:
        elsewhere(RESTORE, path, f"{path}-wal")
    assert (await shared.ask(token=new)).status == 200
    assert (await shared.ask(token=ended)).status == 401


@here
async def test_a_writer_holds_the_store(shared: Running) -> None:
    """A backup or a migration that holds the store would stop all traffic."""
    path = shared.app.settings.store.url.removeprefix("sqlite:///")
    key = await a_key(shared.store, shared.owner)
    script = (
        "import sqlite3, sys; database = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "database.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()"
    )
    pipe = asyncio.subprocess.PIPE
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", script, path, stdin=pipe, stdout=pipe)
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    assert (await shared.ask(token=key)).status == 200
    assert (await shared.ask(token=stray())).status == 401
    await holder.communicate(b"")
