"""`POST /leaks/github`: what a scanner reports has ended before it is answered, and nobody else is listened to."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.core.incidents import Incident, IncidentState
from gateway.core.ledger import Who
from gateway.core.records import RevokedWhy
from gateway.core.token import Prefixes
from gateway.dev.reporter import Reporter, reporter
from gateway.keys.leaks import LeakDesk
from gateway.store.contract import Store, StoreUnavailable
from gateway.store.open import open_store
from tests.support.jwks_server import CA, JwksServer, answering, never, redirect, serving_keys
from tests.support.minting import a_key, a_user_token, id_of, stray
from tests.support.running import Answer, Running, running
from tests.support.waiting import eventually
from tests.support.wire import here, wire

PATH = "/leaks/github"
SIGNER = reporter(b"of these tests")
FOREIGN = reporter(b"of nobody")


@dataclass(slots=True)
class Reports:
    """A gateway that takes reports, and the server of the keys that it believes."""

    gateway: Running
    keys: JwksServer

    @property
    def desk(self) -> LeakDesk:
        """Who looks at the incidents."""
        return LeakDesk(self.gateway.store, Who("test", "test"), Prefixes(), pace=0)

    async def send(self, *records: Any, signer: Reporter = SIGNER, **changed: str) -> Answer:
        """Send a signed report; `changed` are other values of headers."""
        body, headers = signer.report(records)
        return await self.raw(body, headers | {name.replace("_", "-"): value for name, value in changed.items()})

    async def raw(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Send just this."""
        return await self.gateway.ask(body, target=PATH, headers=headers)

    async def incidents(self, subject: str) -> list[Incident]:
        """The incidents of a credential."""
        return [each async for each in self.desk.incidents() if each.subject_id == subject]


def record(token: object, **more: object) -> dict[str, object]:
    """A record of a report."""
    return {"token": token, "type": "gateway_key", "url": "https://example.com/blob", "source": "content", **more}


@asynccontextmanager
async def reporting(directory: Path, *, store: Store | None = None, **changed: object) -> AsyncIterator[Reports]:
    """A gateway that takes reports, to the end of the block."""
    async with serving_keys(SIGNER.public_keys()) as keys:
        github = {"leaks.github.enabled": True, "leaks.github.keys_url": keys.url, "leaks.github.ca_file": str(CA)}
        async with running(directory, {**github, **changed}, store=store) as gateway:
            yield Reports(gateway, keys)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reports(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Reports]:
    """One for the whole module."""
    async with reporting(tmp_path_factory.mktemp("reports")) as started:
        yield started


# What ends ------------------------------------------------------------------------------------------------------------


@here
async def test_a_key_ends_before_the_answer(reports: Reports) -> None:
    """A key that everybody can read would go on working after the scanner was told that its report was taken."""
    key = await a_key(reports.gateway.store, reports.gateway.owner)
    assert (await reports.gateway.ask(token=key)).status == 200

    answer = await reports.send(record(key))

    assert (answer.status, answer.body) == (204, b"")
    assert (await reports.gateway.ask(token=key)).status == 401
    found = await reports.gateway.store.find_key(id_of(key))
    assert found is not None
    assert found.record.revoked_why is RevokedWhy.LEAKED
    (incident,) = await reports.incidents(id_of(key))
    assert (incident.proven, incident.ended, incident.reporter) == (True, True, "reporter:github")
    assert [(seen.url, seen.source) for seen in incident.sightings] == [("https://example.com/blob", "content")]
    assert key.partition(".")[2] not in reports.gateway.log_file.read_text()


@here
async def test_a_user_token_ends_too(reports: Reports) -> None:
    """A user token that leaked would go on reading its user's data."""
    token = await a_user_token(reports.gateway.store, reports.gateway.owner)
    assert (await reports.send(record(token))).status == 204
    assert (await reports.gateway.ask(token=token)).status == 401
    (incident,) = await reports.incidents(id_of(token))
    assert (incident.subject, incident.ended) == ("user_token", True)


@here
async def test_an_id_alone_ends_nothing(reports: Reports) -> None:
    """Anybody who knows the id of a key could end it by publishing the id."""
    key = await a_key(reports.gateway.store, reports.gateway.owner)
    for told in (
        stray("gwk", id_of(key)),
        key[:-1] + ("a" if key[-1] != "a" else "b"),
        f"gwk_{id_of(key)}",
        id_of(key),
    ):
        assert (await reports.send(record(told))).status == 204
    assert (await reports.gateway.ask(token=key)).status == 200
    (incident,) = await reports.incidents(id_of(key))
    assert (incident.state, incident.proven, incident.ended) == (IncidentState.OPEN, False, False)
    assert incident.count == 4


@here
async def test_twenty_repeats_are_one_incident(reports: Reports) -> None:
    """A scanner that sends its report again would bury the others, or be answered differently."""
    key = await a_key(reports.gateway.store, reports.gateway.owner)
    body, headers = SIGNER.report([record(key)])
    answers = await asyncio.gather(*(reports.raw(body, headers) for _ in range(20)))
    assert {answer.status for answer in answers} == {204}
    (incident,) = await reports.incidents(id_of(key))
    assert (incident.count, len(incident.sightings)) == (20, 20)
    (event,) = [
        numbered.event
        for chain in await reports.gateway.store.chains()
        async for numbered in reports.gateway.store.events(chain)
        if numbered.event.subject_id == incident.id
    ]
    assert event.action == "incident.opened"


@here
async def test_the_answers_are_alike(reports: Reports) -> None:
    """Whoever reports would learn which of the tokens that he found are good."""
    store, owner = reports.gateway.store, reports.gateway.owner
    live, dead = await a_key(store, owner), await a_key(store, owner, ends=-1000)
    told = [live, dead, await a_user_token(store, owner), stray(), stray("gwk", id_of(live)), "x", ""]
    answers = [await reports.send(record(token), X_Request_Id="one") for token in told]
    assert {answer.status for answer in answers} == {204}
    assert len({(answer.headers, answer.body) for answer in answers}) == 1
    assert {name for name, _ in answers[0].headers} == {
        "Cache-Control", "X-Content-Type-Options", "X-Request-Id", "Connection"
    }  # fmt: skip
    (incident,) = await reports.incidents(id_of(dead))
    assert incident.state is IncidentState.OPEN


@here
async def test_a_bad_record_among_good_ones(reports: Reports) -> None:
    """One record that is none would save all tokens of its report."""
    key = await a_key(reports.gateway.store, reports.gateway.owner)
    skipped = reports.gateway.app.metrics.leak_records_skipped
    bad: list[Any] = [None, 5, [], {}, {"token": 1}, {"token": None, "url": "x"}]
    assert (await reports.send(*bad, record(key, url=7, source=None, type={}))).status == 204
    assert (await reports.gateway.ask(token=key)).status == 401
    assert reports.gateway.app.metrics.leak_records_skipped == skipped + len(bad)


async def test_an_operators_token_is_counted(tmp_path: Path) -> None:
    """Whoever runs the gateway would not hear of the one token that no report can end, or the reporter learn of it."""
    token = stray("gwo")
    operator = {"name": "root", "token_sha256": hashlib.sha256(token.encode()).hexdigest()}
    async with reporting(tmp_path, **{"api.operators": [operator]}) as reports:
        answers = [await reports.send(record(each), X_Request_Id="one") for each in (stray("gwo"), token)]
        assert len({(answer.status, answer.headers, answer.body) for answer in answers}) == 1
        assert reports.gateway.app.metrics.operators_leaked == 1


@here
async def test_no_secret_is_kept(reports: Reports) -> None:
    """A token that stands in the address where it was found would be shown to whoever looks at the incident."""
    key = await a_key(reports.gateway.store, reports.gateway.owner)
    secret = key.partition(".")[2]
    url = f"https://example.com/?q={key}&next=https%3A%2F%2Fa%2F%3Fq%3Dgwk%255f{id_of(key)}%2e{secret}"
    assert (await reports.send(record(key, url=url, source=key, type=secret))).status == 204
    (incident,) = await reports.incidents(id_of(key))
    (seen,) = incident.sightings
    assert secret not in f"{seen.url}{seen.source}{seen.type}"
    assert seen.url.startswith("https://example.com/?q=gwk_")


# Who is listened to ---------------------------------------------------------------------------------------------------


@here
@pytest.mark.parametrize(("query", "length"), [("", 262_145), ("?", 2), ("?a=1", 2), ("?a=1", 262_145)])
async def test_an_odd_request_without_a_signature_tells_no_more(reports: Reports, query: str, length: int) -> None:
    """A stranger could ask with a long body or a query whether this gateway takes reports, and so is GitHub's."""
    told = set()
    for path in (PATH, "/leaks/elsewhere"):
        async with wire(reports.gateway) as client:
            head = f"POST {path}{query} HTTP/1.1\r\nHost: a\r\nX-Request-Id: one\r\n"
            await client.send(f"{head}Content-Length: {length}\r\n\r\n".encode())
            answer = await client.answer()
        told.add((answer.status, answer.body))
    ((status, _),) = told
    assert status == 404


@here
@pytest.mark.parametrize("name", ["Github-Public-Key-Identifier", "Github-Public-Key-Signature"])
@pytest.mark.parametrize("value", [None, "", "none of these", "a,b"])
async def test_without_a_signature_there_is_nothing_there(reports: Reports, name: str, value: str | None) -> None:
    """A stranger could make the gateway hold and read bodies, and learn what is there."""
    body, headers = SIGNER.report([record(stray())])
    if value is None:
        del headers[name]
    else:
        headers[name] = value
    head = "".join(f"{each}: {text}\r\n" for each, text in headers.items())
    async with wire(reports.gateway) as client:
        # The body never comes, and is not waited for.
        await client.send(f"POST {PATH} HTTP/1.1\r\nHost: a\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode())
        answer = await client.answer()
    assert (answer.status, answer.reasons) == (404, ["path_unknown"])


@here
@pytest.mark.parametrize("name", ["Github-Public-Key-Identifier", "Github-Public-Key-Signature"])
async def test_a_doubled_header(reports: Reports, name: str) -> None:
    """Which of two signatures counts would depend on who reads them."""
    body, headers = SIGNER.report([record(stray())])
    head = "".join(f"{each}: {text}\r\n" for each, text in [*headers.items(), (name, headers[name])])
    async with wire(reports.gateway) as client:
        await client.send(f"POST {PATH} HTTP/1.1\r\nHost: a\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode())
        assert (await client.answer()).status == 404


@here
@pytest.mark.parametrize(
    ("signature", "status"),
    [
        (base64.b64encode(b"\x31" + b"\x00" * 60), 404),  # no sequence
        (base64.b64encode(b"\x30\x45" + b"\x00" * 60), 404),  # not as long as it says
        (base64.b64encode(b"\x30\x3c" + b"\x00" * 60), 400),  # no numbers
        (base64.b64encode(bytes.fromhex("3006020101020101")), 400),  # r = s = 1
        (base64.b64encode(bytes.fromhex("3006020100020100")), 400),  # r = s = 0
        (base64.b64encode(b"\x30\x3c" + b"\x00" * 60)[:-1], 404),
        (base64.urlsafe_b64encode(b"\x30\x3e" + b"\xff" * 62), 404),
        (b"AAAA" * 100, 404),
    ],
)
async def test_signatures_that_are_none(reports: Reports, signature: bytes, status: int) -> None:
    """A signature made of odd bytes would end a key, or in a fault of ours."""
    key = reports.gateway.keys["USER_READ"]
    answer = await reports.send(record(key), Github_Public_Key_Signature=signature.decode())
    assert (answer.status, answer.reasons) == (status, ["path_unknown" if status == 404 else "signature_invalid"])
    assert (await reports.gateway.ask(token=key)).status == 200


@here
async def test_a_foreign_or_changed_report(reports: Reports) -> None:
    """Anybody could end keys, or change what GitHub has signed."""
    key = reports.gateway.keys["USER_READ"]
    body, headers = SIGNER.report([record(key)])
    foreign = FOREIGN.headers(body) | {"Github-Public-Key-Identifier": SIGNER.identifier}
    for sent, head in [(body, foreign), (body + b" ", headers), (body.replace(b"blob", b"blub"), headers)]:
        answer = await reports.raw(sent, head)
        assert (answer.status, answer.reasons) == (400, ["signature_invalid"])
    assert (await reports.gateway.ask(token=key)).status == 200


@here
@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 400, "body_malformed"),
        (b"{}", 400, "body_malformed"),
        (b"\xff", 400, "body_malformed"),
        (b"[" * 100_000, 400, "body_malformed"),
        (json.dumps([{}] * 1001).encode(), 413, "body_too_large"),
        (b"[]", 204, ""),
        (json.dumps([{"token": "x"}] * 1000).encode(), 204, ""),
        (b"[" + b" " * 262_142 + b"]", 204, ""),
    ],
)
async def test_bodies(reports: Reports, body: bytes, status: int, reason: str) -> None:
    """A report that is too long, or none, would end in a fault of ours or take the gateway's time."""
    answer = await reports.raw(body, SIGNER.headers(body))
    assert answer.status == status
    assert not reason or answer.reasons == [reason]


@here
async def test_a_body_that_is_announced_as_too_long(reports: Reports) -> None:
    """A scanner with a valid identifier could make the gateway hold as much as it likes."""
    _, headers = SIGNER.report([])
    head = "".join(f"{each}: {text}\r\n" for each, text in headers.items())
    async with wire(reports.gateway) as client:
        await client.send(f"POST {PATH} HTTP/1.1\r\nHost: a\r\n{head}Content-Length: 262145\r\n\r\n".encode())
        assert (await client.answer()).reasons == ["body_too_large"]


@here
async def test_other_methods_and_types(reports: Reports) -> None:
    """A browser could be made to send a report, or a rule stand for one."""
    assert (await reports.gateway.ask("", method="GET", target=PATH)).header("Allow") == "POST"
    assert (await reports.send(record("x"), Content_Type="text/plain")).status == 415


# The keys -------------------------------------------------------------------------------------------------------------


async def test_it_is_off_unless_it_is_asked_for(tmp_path: Path) -> None:
    """A gateway that nobody has told of GitHub would fetch keys from it and believe them."""
    async with running(tmp_path) as gateway:
        body, headers = SIGNER.report([record(stray())])
        answer = await gateway.ask(body, target=PATH, headers=headers)
        assert (answer.status, answer.reasons) == (404, ["path_unknown"])


async def test_a_flood_of_identifiers(tmp_path: Path) -> None:
    """A stranger could make the gateway ask GitHub as often as he likes, or keep GitHub's own reports out."""
    async with reporting(tmp_path) as reports:
        strangers = [reports.send(Github_Public_Key_Identifier=f"unknown-{number}") for number in range(50)]
        answers = await asyncio.gather(*strangers)
        assert {answer.status for answer in answers} <= {400, 503}
        assert reports.keys.asked == 1
        late = await reports.send(Github_Public_Key_Identifier="later")
        assert (late.status, late.reasons) == (503, ["signature_unchecked"])
        assert 0 < int(late.header("Retry-After") or 0) <= 60
        assert (await reports.send(record(stray()))).status == 204
        assert reports.keys.asked == 1


@pytest.mark.parametrize(
    "trouble", [redirect, answering(status=500), answering(body=b"x" * 70_000), answering(body=b"{}")]
)
async def test_keys_that_cannot_be_had(tmp_path: Path, trouble: Any) -> None:
    """GitHub would take a report for taken, or for wrong, that nobody could check; or keys be taken from elsewhere."""
    async with reporting(tmp_path) as reports:
        reports.keys.misbehave = trouble
        for _ in range(3):
            answer = await reports.send(record(stray()))
            assert (answer.status, answer.reasons) == (503, ["signature_unchecked"])
            assert answer.header("Retry-After")
        assert reports.keys.asked == 1


async def test_a_gateway_that_stops_while_it_fetches(tmp_path: Path) -> None:
    """A gateway could not be stopped while GitHub does not answer."""
    async with reporting(tmp_path, **{"timeouts.drain": 0.1}) as reports:
        reports.keys.misbehave = never
        asked = asyncio.create_task(reports.send(record(stray())))

        async def fetching() -> bool:
            return reports.keys.asked > 0

        await eventually(fetching)
    await asyncio.gather(asked, return_exceptions=True)


class Full:
    """A store that can look things up and keep nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.full = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def act(self, acts: Any) -> Any:
        if self.full:
            raise StoreUnavailable("The disk is full.")
        return await self._store.act(acts)


async def test_what_could_not_be_kept(tmp_path: Path) -> None:
    """GitHub would not send a report again whose token still works."""
    store: Any = Full(open_store("memory:"))
    async with reporting(tmp_path, store=store) as reports:
        store.full = True
        answer = await reports.send(record(reports.gateway.keys["USER_READ"]))
        assert (answer.status, answer.reasons, answer.header("Retry-After")) == (503, ["store_unavailable"], "1")
        store.full = False
        assert (await reports.send(record(reports.gateway.keys["USER_READ"]))).status == 204
