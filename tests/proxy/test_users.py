"""`POST /users/auth-code`, `POST /users`, `POST /users/token`: how an app becomes a user, and remains it."""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.codes import CODE_LIFETIME
from gateway.core.records import App, KeyRecord
from gateway.core.token import verifier
from gateway.core.wishes import DAY
from gateway.store.contract import REQUESTS, Store, StoreUnavailable
from gateway.store.open import open_store
from tests.support.minting import a_key, a_user_token, an_app, id_of, keep, keeper, now, stray
from tests.support.running import Answer, Running, running
from tests.support.wire import here, line_of, request, wire

AUTH_CODE, USERS, TOKEN = "/users/auth-code", "/users", "/users/token"
MINUTE = 60_000
HOSTS = {"regions.eu.hosts": ["eu.test"], "regions.us.hosts": ["us.test"], "default_region": "eu"}


@dataclass(slots=True)
class Hands:
    """A clock that goes on when a test says so."""

    now: int = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


@dataclass(slots=True)
class Timed:
    """A gateway whose clock is the test's."""

    gateway: Running
    clock: Hands
    app: App
    key: str


@pytest_asyncio.fixture
async def timed(tmp_path: Path) -> AsyncIterator[Timed]:
    """It, with an app and a key for registrations."""
    clock = Hands()
    async with running(tmp_path, store=open_store("memory:", clock=clock), clock=clock) as started:
        yield Timed(started, clock, started.owner, started.keys["USER_LINK"])


async def code_for(gateway: Running, external_id: str = "customer-17", key: str | None = None) -> str:
    """A new code."""
    body = json.dumps({"external_id": external_id})
    answer = await gateway.ask(body, token=key or gateway.keys["USER_LINK"], target=AUTH_CODE)
    assert answer.status == 200
    return str(json.loads(answer.body)["authentication_code"])


async def posted(gateway: Running, target: str, token: str | None, body: str = "{}", **more: Any) -> Answer:
    """A registration or a refresh."""
    return await gateway.ask(body, token=token, target=target, **more)


async def given(gateway: Running, target: str, token: str) -> dict[str, str]:
    """What a registration or a refresh that has to succeed gives."""
    answer = await posted(gateway, target, token)
    assert answer.status == 200
    told: dict[str, str] = json.loads(answer.body)
    assert list(told) == ["user_id", "token", "token_id", "expires_at"]
    return told


def without_id(answer: Answer) -> tuple[int, bytes, list[tuple[str, str]]]:
    """An answer but for the id of its request."""
    request_id = answer.header("X-Request-Id") or ""
    headers = [header for header in answer.headers if header[0] not in ("X-Request-Id", "Content-Length")]
    return answer.status, answer.body.replace(request_id.encode(), b""), headers


async def events(store: Store, *actions: AuditAction) -> list[AuditEvent]:
    """The audit's events of these kinds."""
    return [
        numbered.event
        for chain in await store.chains()
        async for numbered in store.events(chain)
        if numbered.event.action in actions
    ]


def moment(text: str) -> int:
    """The milliseconds of a moment."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


# Codes ----------------------------------------------------------------------------------------------------------------


@here
async def test_a_backend_is_given_a_code(gateway: Running) -> None:
    """The vendor's clients would not understand the answer, or nobody could tell who asked for a code."""
    before = now()
    answer = await gateway.ask('{"external_id":"søn 👶"}', token=gateway.keys["USER_LINK"], target=AUTH_CODE)
    told = json.loads(answer.body)
    assert (answer.status, list(told)) == (200, ["authentication_code", "expires_at"])
    assert re.fullmatch(r"[0-9a-f]{128}", told["authentication_code"])
    assert before + CODE_LIFETIME <= moment(told["expires_at"]) <= now() + CODE_LIFETIME
    event = (await events(gateway.store, AuditAction.CODE_CREATED))[-1]
    assert (event.actor, event.source) == (f"key:{id_of(gateway.keys['USER_LINK'])}", "traffic")
    line = await line_of(gateway, answer)
    assert (line["route"], line["app"], line["key"]) == (
        "POST /users/auth-code",
        gateway.owner.id,
        id_of(gateway.keys["USER_LINK"]),
    )
    assert told["authentication_code"][24:] not in gateway.log_file.read_text()
    assert not any(crossed.target == AUTH_CODE for crossed in gateway.upstream.received)


@here
@pytest.mark.parametrize(
    ("caller", "status", "reason"),
    [
        ("USER_READ", 403, "scope_missing"),
        ("user", 403, "keys_only"),
        (None, 401, "credential_missing"),
        ("gwk_no", 401, "credential_invalid"),
    ],
)
async def test_who_is_given_no_code(gateway: Running, caller: str | None, status: int, reason: str) -> None:
    """Whoever holds any credential could become any user of the app."""
    token = {**gateway.keys, "user": gateway.user_token}.get(caller or "", caller)
    answer = await gateway.ask('{"external_id":"a"}', token=token, target=AUTH_CODE)
    assert (answer.status, answer.reasons) == (status, [reason])
    if reason == "scope_missing":
        assert 'scope="USER_LINK"' in (answer.header("WWW-Authenticate") or "")


@here
@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        "[]",
        '"a"',
        '{"external_id":1}',
        '{"external_id":null}',
        '{"external_id":""}',
        '{"external_id":"%s"}' % ("a" * 257),
        '{"external_id":"a\\u0000"}',
        '{"external_id":"\\ud800"}',
        '{"external_id":"a","external_id":"a"}',
        '{"external_id":"a","user_id":"b"}',
        '{"External_id":"a"}',
        '{"external_id":"a"} x',
        b'{"external_id":"\xff"}',
        b'\xef\xbb\xbf{"external_id":"a"}',
        "[" * 4000,
    ],
)
async def test_what_names_no_user(gateway: Running, body: str | bytes) -> None:
    """A code would be made for another user than the backend meant."""
    answer = await gateway.ask(body, token=gateway.keys["USER_LINK"], target=AUTH_CODE)
    assert (answer.status, answer.reasons) == (400, ["body_malformed"])


@here
async def test_the_longest_external_id(gateway: Running) -> None:
    """A backend with long names of its own would be refused, or everybody hold any amount of memory."""
    escaped = "\\ud83d\\udc76" * 256
    for body, status in ((f'{{"external_id":"{escaped}"}}', 200), (" " * 4097, 413)):
        assert (await gateway.ask(body, token=gateway.keys["USER_LINK"], target=AUTH_CODE)).status == status
    headers = {"Content-Type": "text/plain"}
    answer = await gateway.ask(
        '{"external_id":"a"}', token=gateway.keys["USER_LINK"], target=AUTH_CODE, headers=headers
    )
    assert answer.status == 415


async def test_a_code_counts_as_a_use_of_its_scope(tmp_path: Path) -> None:
    """A key that registers users every day would be called unused, and its scope be taken from it."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    async with running(tmp_path, store=open_store(url, create=True)) as gateway:
        key_id = id_of(gateway.keys["USER_LINK"])
        for _ in range(2):
            await code_for(gateway)
    store = open_store(url)
    counted = {what: count for (_, _, what), count in (await store.uses([key_id])).items()}
    await store.close()
    assert counted == {REQUESTS: 2, "USER_LINK": 2}


# Registration ---------------------------------------------------------------------------------------------------------


@here
@pytest.mark.parametrize("body", ["", "{}", " {\n}\r\n"])
async def test_a_registration(gateway: Running, body: str) -> None:
    """The SDK could not log in, or the same person be two users."""
    before = now()
    answer = await posted(gateway, USERS, await code_for(gateway, "person"), body)
    told = json.loads(answer.body)
    assert (answer.status, answer.header("Cache-Control")) == (200, "no-store")
    assert moment(told["expires_at"]) - before >= 7 * DAY
    assert told["token_id"] == id_of(told["token"])
    assert (await gateway.ask(token=told["token"])).status == 200
    assert gateway.upstream.received[-1].one("X-Gateway-User") == told["user_id"]
    again = await given(gateway, USERS, await code_for(gateway, "person"))
    other = await given(gateway, USERS, await code_for(gateway, "somebody else"))
    assert again["user_id"] == told["user_id"] != other["user_id"]
    line = await line_of(gateway, answer)
    assert (line["route"], line["app"], line["user"]) == ("POST /users", gateway.owner.id, told["user_id"])
    assert told["token"] not in gateway.log_file.read_text()


async def test_false_codes_are_answered_alike(tmp_path: Path) -> None:
    """Whoever finds a code could learn from an answer what it had been good for, and where."""
    clock = Hands()
    other_region = {"regions.us.upstreams": ["http://127.0.0.1:9"], "regions.us.user_scoping": "upstream"}
    async with running(
        tmp_path, HOSTS | other_region, store=open_store("memory:", clock=clock), clock=clock
    ) as gateway:
        change = keeper(gateway.store)
        expired = await code_for(gateway)
        clock.now += CODE_LIFETIME
        spent, foreign, disabled_user = [await code_for(gateway, name) for name in ("a", "b", "c")]
        await given(gateway, USERS, spent)
        user = await given(gateway, USERS, await code_for(gateway, "c"))
        await change.switch_user(gateway.owner.id, user["user_id"], disabled=True)
        asleep = await an_app(gateway.store)
        of_disabled = await code_for(gateway, "a", key=await a_key(gateway.store, asleep))
        await change.switch_app(asleep.id, disabled=True)
        app_id = gateway.owner.id
        strays = [secrets.token_hex(64), app_id + secrets.token_hex(52), of_disabled[:24] + foreign[24:]]
        wrong = [expired, spent, disabled_user, of_disabled, *strays, "a", gateway.user_token, gateway.keys["all"]]

        answers = [await posted(gateway, USERS, code) for code in wrong]
        answers.append(await posted(gateway, USERS, foreign, headers={"Host": "us.test"}))

        assert {str(without_id(answer)) for answer in answers} == {str(without_id(answers[0]))}
        assert (answers[0].status, answers[0].reasons) == (401, ["credential_invalid"])
        for host in ("eu.test", "elsewhere.test"):
            assert (await posted(gateway, USERS, await code_for(gateway), headers={"Host": host})).status == 200


@here
async def test_a_code_is_good_for_nothing_else(gateway: Running) -> None:
    """A code, which is handed to a device, would open the API or be taken for a user's token."""
    code = await code_for(gateway)
    for target in ("/v4/gql", TOKEN, AUTH_CODE, "/v2/users/abc/link"):
        answer = await gateway.ask('{"external_id":"a"}', token=code, target=target)
        assert (answer.status, answer.reasons) == (401, ["credential_invalid"])
    await given(gateway, USERS, code)


@here
@pytest.mark.parametrize("target", [USERS, TOKEN])
async def test_what_is_asked_with_it(gateway: Running, target: str) -> None:
    """What a client sends would be taken for agreed, or a stranger make the gateway hold a body."""
    code, token = await code_for(gateway), await a_user_token(gateway.store, gateway.owner)
    good = code if target == USERS else token
    answer = await posted(gateway, target, good, '{"external_id":"a"}')
    assert (answer.status, answer.reasons) == (400, ["body_malformed"])
    assert (await posted(gateway, target, good, " " * 65)).status == 413
    assert (await posted(gateway, target, good, headers={"Content-Encoding": "gzip"})).status == 415
    assert (await posted(gateway, target, None)).reasons == ["credential_missing"]
    assert (await posted(gateway, f"{target}?a=b", good)).reasons == ["parameter_unknown"]
    async with wire(gateway) as client:
        lines = ("Expect: 100-continue", "Content-Length: 2")
        await client.send(request(gateway, *lines, token=stray(), length=-1, body=b"", start=f"POST {target} HTTP/1.1"))
        assert (await client.answer()).status == 401, "it is refused without a word about the body"
    assert (await posted(gateway, target, good)).status == 200


@here
async def test_other_methods(gateway: Running) -> None:
    """A path of the gateway's own would be forwarded by a rule for any user's."""
    for target in (AUTH_CODE, TOKEN, USERS):
        answer = await gateway.ask("", token=gateway.keys["all"], method="DELETE", target=target)
        assert (answer.status, answer.header("Allow")) == (405, "POST")


@here
async def test_fifty_at_once(gateway: Running) -> None:
    """One code would make a token for everybody who saw it."""
    code = await code_for(gateway, "fifty")
    answers = await asyncio.gather(*(posted(gateway, USERS, code) for _ in range(50)))
    assert sorted(answer.status for answer in answers) == [200, *[401] * 49]


# Refreshing -----------------------------------------------------------------------------------------------------------


async def test_the_life_of_a_family(timed: Timed) -> None:
    """A device would be logged out while it is in use, or a token be good after its end."""
    gateway, clock = timed.gateway, timed.clock
    first = await given(gateway, USERS, await code_for(gateway))
    clock.now += DAY
    second = await given(gateway, TOKEN, first["token"])
    assert second["user_id"] == first["user_id"]
    assert moment(second["expires_at"]) == clock.now + 7 * DAY
    lost = await given(gateway, TOKEN, first["token"])
    clock.now += MINUTE - 1
    assert [await status(gateway, each) for each in (first, second, lost)] == [200, 200, 200]
    clock.now += 1
    assert await status(gateway, lost) == 200
    clock.now += 7 * DAY
    assert await status(gateway, lost) == 401, "no other route takes an expired one"
    third = await given(gateway, TOKEN, lost["token"])
    assert await status(gateway, third) == 200
    clock.now += 8 * DAY
    answer = await posted(gateway, TOKEN, third["token"])
    assert (answer.status, answer.reasons) == (401, ["credential_invalid"])


async def status(gateway: Running, given: dict[str, str]) -> int:
    """What an ordinary request with a token is answered with."""
    return (await gateway.ask(token=given["token"])).status


@pytest.mark.parametrize("where", [TOKEN, "/v4/gql", "/v2/users/me", "/keys/self"])
async def test_a_token_that_comes_back(timed: Timed, where: str) -> None:
    """A thief with a copy of a token would go on beside the user, unseen."""
    gateway, clock = timed.gateway, timed.clock
    first = await given(gateway, USERS, await code_for(gateway))
    second = await given(gateway, TOKEN, first["token"])
    other = await given(gateway, USERS, await code_for(gateway))
    assert [await status(gateway, each) for each in (first, second, other)] == [200, 200, 200]
    clock.now += MINUTE
    method = {"/v2/users/me": "GET", "/keys/self": "DELETE"}.get(where, "POST")

    with capture_logs() as said:
        presented = (gateway.ask("", token=first["token"], target=where, method=method) for _ in range(20))
        answers = await asyncio.gather(*presented)

    assert [(answer.status, answer.reasons) for answer in answers] == [(401, ["credential_invalid"])] * 20
    assert [await status(gateway, each) for each in (first, second, other)] == [401, 401, 200]
    (event,) = await events(gateway.store, AuditAction.USER_TOKEN_REUSE)
    assert (event.subject_id, event.about) == (
        first["token_id"],
        f"family {first['token_id']}, user {first['user_id']}",
    )
    (warning,) = [line for line in said if line["log_level"] == "warning"]
    assert (warning["user"], warning["token_id"]) == (first["user_id"], first["token_id"])
    assert (await posted(gateway, TOKEN, second["token"])).status == 401


@pytest.mark.parametrize("where", [TOKEN, "/v4/gql"])
async def test_whoever_knows_an_id_ends_nothing(timed: Timed, where: str) -> None:
    """Anybody who saw the id of a token, which is no secret, could log its user out."""
    gateway, clock = timed.gateway, timed.clock
    first = await given(gateway, USERS, await code_for(gateway))
    second = await given(gateway, TOKEN, first["token"])
    clock.now += MINUTE
    assert (await gateway.ask("", token=stray("gwu", first["token_id"]), target=where)).status == 401
    assert await status(gateway, second) == 200
    assert not await events(gateway.store, AuditAction.USER_TOKEN_REUSE)


async def test_one_active_device(tmp_path: Path) -> None:
    """A user would have more devices than the operator allows."""
    async with running(tmp_path, {"user_tokens.at_most": 1}) as gateway:
        first = await given(gateway, USERS, await code_for(gateway))
        second = await given(gateway, USERS, await code_for(gateway))
        assert [await status(gateway, each) for each in (first, second)] == [401, 200]


@here
@pytest.mark.parametrize("what", ["a key", "wrong", "unknown", "malformed", "a disabled user's", "another's"])
async def test_what_is_not_refreshed(gateway: Running, what: str) -> None:
    """Somebody who is locked out would come back in, or a key be made into a user."""
    app = await an_app(gateway.store)
    user = await keeper(gateway.store).create_user_token(app.id)
    token = user.token.reveal()
    tokens = {
        "a key": gateway.keys["all"],
        "wrong": stray("gwu", id_of(token)),
        "unknown": stray("gwu"),
        "malformed": "gwu_no",
        "a disabled user's": token,
        "another's": "e" * 15 + "." + "a" * 48,
    }
    if what == "a disabled user's":
        await keeper(gateway.store).switch_user(app.id, user.user.id, disabled=True)
    answer = await posted(gateway, TOKEN, tokens[what])
    assert (answer.status, answer.reasons) == (401, ["credential_invalid"])


# The store ------------------------------------------------------------------------------------------------------------


class Troubled:
    """A store whose writes go wrong in one of the ways that only a shared store's can."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.trouble = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def look(self, asked: Any) -> Any:
        return await self._through(self._store.look(asked), reads=True)

    async def find_user_token(self, token_id: str) -> Any:
        return await self._through(self._store.find_user_token(token_id), reads=True)

    async def act(self, acts: Any) -> Any:
        return await self._through(self._store.act(acts))

    async def _through(self, call: Any, *, reads: bool = False) -> Any:
        if self.trouble == "away" or (self.trouble == "full" and not reads):
            call.close()
            raise StoreUnavailable("It is.", unknown=self.trouble == "away")
        outcome = await call
        if self.trouble == "answer lost" and not reads:
            self.trouble = ""
            raise StoreUnavailable("The connection was lost.", unknown=True)
        if self.trouble == "not replicated" and not reads:
            outcome = [replace(done, replicated=False) if hasattr(done, "replicated") else done for done in outcome]
        return outcome


@pytest_asyncio.fixture
async def troubled(tmp_path: Path) -> AsyncIterator[tuple[Running, Troubled]]:
    """A gateway on a store that a test can trouble."""
    store: Any = Troubled(open_store("memory:"))
    async with running(tmp_path, store=store) as gateway:
        yield gateway, store


@pytest.mark.parametrize("trouble", ["away", "full", "not replicated", "answer lost"])
@pytest.mark.parametrize("target", [AUTH_CODE, USERS, TOKEN])
async def test_a_store_in_trouble(troubled: tuple[Running, Troubled], trouble: str, target: str) -> None:
    """A device would be told that its token is false, or be given one that a failover takes away."""
    gateway, store = troubled
    token = gateway.keys["USER_LINK"] if target == AUTH_CODE else await code_for(gateway)
    if target == TOKEN:
        token = (await given(gateway, USERS, token))["token"]
    body = '{"external_id":"a"}' if target == AUTH_CODE else ""
    store.trouble = trouble

    answer = await gateway.ask(body, token=token, target=target)

    store.trouble = ""
    if trouble == "answer lost" or (trouble == "not replicated" and target == TOKEN):
        # The last minute of the token before has begun: kept back, the new one would leave the device with neither.
        assert answer.status == 200
        assert target == AUTH_CODE or await status(gateway, json.loads(answer.body)) == 200
        return
    looked = trouble == "away" and target != AUTH_CODE
    assert (answer.status, answer.reasons) == (503, ["store_unavailable" if looked else "not_issued"])
    assert answer.header("Retry-After") == "1"
    spent = trouble == "not replicated" and target == USERS
    assert (await gateway.ask(body, token=token, target=target)).status == (401 if spent else 200)


async def test_a_reuse_that_cannot_be_kept(tmp_path: Path) -> None:
    """A thief would be let in because the store was full, or never be found out."""
    clock = Hands()
    store: Any = Troubled(open_store("memory:", clock=clock))
    async with running(tmp_path, store=store, clock=clock) as gateway:
        first = await given(gateway, USERS, await code_for(gateway))
        second = await given(gateway, TOKEN, first["token"])
        clock.now += MINUTE
        store.trouble = "full"
        with capture_logs() as said:
            assert await status(gateway, first) == 401
        assert [line["log_level"] for line in said] == ["error"]
        store.trouble = ""
        assert await status(gateway, second) == 200
        assert await status(gateway, first) == 401
        assert await status(gateway, second) == 401


# Users of the upstream ------------------------------------------------------------------------------------------------

ISSUER = {
    "issuer": "https://login.test/",
    "apps": ["5a0000000000000000000a01"],
    "audience": "api",
}


def an_older_key(app: App, token: str) -> KeyRecord:
    """A key as it was imported."""
    kept = verifier(token.encode())
    return KeyRecord(token.partition(".")[0], app.id, "older", frozenset({"USER_READ"}), kept, now() - DAY, now() + DAY)


async def test_the_upstream_registers(tmp_path: Path) -> None:
    """An upstream that makes users itself could not, or would not be given the code to judge; or others be given it."""
    keys = tmp_path / "keys.json"
    keys.write_text(
        '{"keys": [{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
    )
    overrides = {"users": "forward", "issuers": {"mobile": {**ISSUER, "jwks_file": str(keys)}}}
    async with running(tmp_path, overrides) as gateway:
        code = "c" * 128
        for target in (USERS, TOKEN):
            answer = await posted(gateway, target, code, '{"any": "thing"}')
            crossed = gateway.upstream.received[-1]
            assert (answer.status, crossed.target, crossed.body) == (200, target, b'{"any": "thing"}')
            assert crossed.one("Authorization") == f"Bearer {code}"
            assert crossed.one("X-Gateway-Principal") == "none"
        before = len(gateway.upstream.received)
        older = f"{gateway.owner.id[:2]}0123456789abc.S3cretS3cretS3cret"
        await keep(gateway.store, gateway.owner, an_older_key(gateway.owner, older))
        for target in (USERS, TOKEN):
            for ours in (gateway.keys["USER_LINK"], gateway.user_token, older):
                assert (await posted(gateway, target, ours)).reasons == ["credential_invalid"]
            assert (await posted(gateway, target, None)).reasons == ["credential_missing"]
            two = {"Authorization": f"Bearer {code}\r\nAuthorization: Bearer {code}"}
            assert (await posted(gateway, target, None, headers=two)).reasons == ["credential_invalid"]
        assert (await gateway.ask("{}", token=gateway.keys["USER_READ"], target=AUTH_CODE)).reasons == ["scope_missing"]
        assert (await gateway.ask("{}", token=code, target=AUTH_CODE)).reasons == ["credential_invalid"]
        assert len(gateway.upstream.received) == before
        assert (await gateway.ask("{}", token=gateway.keys["USER_LINK"], target=AUTH_CODE)).status == 200
        crossed = gateway.upstream.received[-1]
        assert crossed.target == AUTH_CODE
        assert not crossed.all("Authorization")
