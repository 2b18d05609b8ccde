"""What bad input gets: a sentence and an exit code from a command, a refusal from the gateway, never a stack trace."""

import asyncio
import contextlib
import json
import re
import shutil
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from gateway.cli.main import application
from gateway.store.open import open_store
from tests.core.test_message import body_of
from tests.support.command import command, said
from tests.support.running import OWN, Running, message, running
from tests.support.vectors import VENDOR_SCHEMA, rows
from tests.support.waiting import eventually
from tests.support.wire import here, request, wire

GOOD = """\
listen: {host: 127.0.0.1, port: 0}
admin: {port: 0}
store: {url: "sqlite:///store.db"}
regions:
  eu: {upstreams: ["http://127.0.0.1:9"], user_scoping: upstream}
"""
BROKEN_SCHEMA = """\
type Query {
  a: Int @requiresScopes(scopes: [[NO_SUCH_SCOPE]])
  b: Int
  c: Int @requiresScopes(scopes: [])
}
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with everything that a gateway needs, to be spoilt in copies."""
    directory = tmp_path_factory.mktemp("good")
    (directory / "gateway.yaml").write_text(GOOD)
    shutil.copy(VENDOR_SCHEMA, directory / "schema.graphql")
    asyncio.run(open_store(f"sqlite:///{directory / 'store.db'}", create=True).close())
    return directory


@pytest.fixture
def place(prepared: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(prepared, tmp_path / "copy")


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def other_database(path: Path) -> None:
    """A database of something else."""
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE a (b)")


def put(name: str, data: str | bytes) -> Callable[[Path], None]:
    """Write a file over another."""
    return lambda place: (place / name).write_bytes(data.encode() if isinstance(data, str) else data) and None


def lines(*more: str) -> Callable[[Path], None]:
    """Add lines to the settings, each section once."""
    return put("gateway.yaml", GOOD + "".join(f"{line}\n" for line in more))


def without(name: str) -> Callable[[Path], None]:
    """Remove a file."""
    return lambda place: (place / name).unlink()


ELSEWHERE = "address-of-another"  # which no test may reach for in this process
SERVE = {
    "no-settings": (without("gateway.yaml"), ["gateway.yaml: cannot be read: No such file or directory"]),
    "not-yaml": (put("gateway.yaml", "listen: [\n"), ["gateway.yaml:2: "]),
    "binary": (put("gateway.yaml", bytes(range(256))), ["gateway.yaml:"]),
    "nothing": (put("gateway.yaml", ""), ["store.url", "regions"]),
    "several-faults": (
        put("gateway.yaml", "listen: {port: high}\nstore: {urll: x}\nregoins: {}\nlimits:\n  body_bytes: 0\n"),
        [
            "gateway.yaml:1: listen.port ",
            "gateway.yaml:2: store.urll ",
            "gateway.yaml:3: regoins ",
            "gateway.yaml:5: limits.body_bytes ",
        ],
    ),
    "no-schema": (without("schema.graphql"), ["schema.graphql: cannot be read: No such file or directory"]),
    "schema-syntax": (put("schema.graphql", "type Query {\n  a:\n}\n"), ["schema.graphql:3: "]),
    "schema-faults": (put("schema.graphql", BROKEN_SCHEMA), ["schema.graphql:2: ", "schema.graphql:4: "]),
    "schema-not-utf8": (
        put("schema.graphql", b"type Query { a: Int } # \xff"),
        ["schema.graphql: the schema is not UTF-8."],
    ),
    "no-store": (without("store.db"), ["There is no store at ", "gateway store init --config FILE"]),
    "store-of-text": (
        put("store.db", "not a database, but long enough to be looked at" * 100),
        ["store.db is not a database."],
    ),
    "empty-store": (put("store.db", ""), ["store.db is empty"]),
    "other-database": (
        lambda place: other_database(place / "store.db"),
        ["store.db is a database, but not a store of the gateway."],
    ),
    ELSEWHERE: (
        put("gateway.yaml", GOOD.replace("127.0.0.1, port", "192.0.2.1, port")),
        ["Cannot listen for clients at 192.0.2.1 port 0: Cannot assign requested address."],
    ),
    "address-of-nobody": (
        put("gateway.yaml", GOOD.replace("127.0.0.1, port", '"1:2:3:::4", port')),
        ["Cannot listen for clients at 1:2:3:::4 port 0: "],
    ),
    "no-certificates": (
        put("gateway.yaml", GOOD.replace("user_scoping", "ca_file: schema.graphql, user_scoping")),
        ["schema.graphql: no certificates can be read from it"],
    ),
    "route-for-nobody": (
        lines("routes: [{method: GET, path: /a, scopes: [NO_SUCH_SCOPE]}]"),
        ["GET /a needs the scope 'NO_SUCH_SCOPE', which the schema does not have."],
    ),
    "log-nowhere": (
        lines("log: {file: no/such/place.log}"),
        ["no/such/place.log: cannot be written: No such file or directory."],
    ),
}


def told(place: Path, words: Sequence[str], environ: Mapping[str, str] | None = None) -> tuple[int, str]:
    """What a command says that cannot start: in this process, which takes a tenth of the time of another one."""
    with contextlib.chdir(place):
        result = CliRunner().invoke(application(words[0]), words, env=environ)
    return result.exit_code, result.output


def assert_plain(code: int, text: str, expected: list[str]) -> None:
    """A sentence a line, each from the gateway, and an exit code that says that it failed."""
    assert code == 1, text
    for each in expected:
        assert each in text
    assert "Traceback" not in text
    assert all(line.startswith("gateway: ") for line in text.splitlines()), text
    assert len(text) < 2000


@pytest.mark.parametrize("what", [what for what in SERVE if what != ELSEWHERE])
def test_serve_cannot_start(place: Path, what: str) -> None:
    """An operator would be left with a stack trace, or with one fault at a time, or with a gateway that half works."""
    spoil, expected = SERVE[what]
    spoil(place)
    assert_plain(*told(place, SERVE_HERE), expected)


@pytest.mark.parametrize("what", ["several-faults", ELSEWHERE])
async def test_the_installed_command_cannot_start(place: Path, what: str) -> None:
    """The command would say something else on its way out than it does in a test."""
    spoil, expected = SERVE[what]
    spoil(place)
    assert_plain(*await said(place, *SERVE_HERE), expected)


@pytest.mark.parametrize(("listener", "what"), [("listen", "clients"), ("admin", "health and metrics")])
def test_a_port_in_use(place: Path, taken_port: int, listener: str, what: str) -> None:
    """An operator would not learn which port is taken, or the other listener would stay."""
    environ = {f"GATEWAY__{listener.upper()}__PORT": str(taken_port)}
    code, text = told(place, SERVE_HERE, environ)
    assert_plain(code, text, [f"Cannot listen for {what} at 127.0.0.1 port {taken_port}: Address already in use."])
    assert f"the setting {listener}.port, or of 'gateway dev' --" in text


async def test_without_the_parser_in_c(place: Path) -> None:
    """A gateway would run on a parser that is known to take what smugglers send."""
    code, text = await said(place, *SERVE_HERE, environ={"AIOHTTP_NO_EXTENSIONS": "1"})
    assert_plain(code, text, ["aiohttp's C parser is missing"])


SERVE_HERE = ("serve", "--config", "gateway.yaml")
DEV = ("--port", "0", "--admin-port", "0", "--schema", "schema.graphql", "--json")
WRONG = (
    "mars=http://127.0.0.1:9",
    "eu=127.0.0.1:9",
    "eu=",
    "http://a",
    "eu=ftp://a",
    "eu=http://a/b?c",
    "eu=http:///b",
)
COMMANDS = {
    "dev-schema": (["dev", *DEV], put("schema.graphql", BROKEN_SCHEMA), ["schema.graphql:2: "]),
    "dev-data": (["dev", *DEV, "--data", "gateway.yaml"], None, ["gateway.yaml: File exists."]),
    **{
        f"dev-upstream-{number}": (["dev", *DEV, "--upstream", given], None, [f"--upstream {given}: write REGION=URL"])
        for number, given in enumerate(WRONG)
    },
    "dev-host": (["dev", *DEV, "--upstream", "eu=http://a:99999"], None, ["upstreams[0] must be http://host:port"]),
    "dev-paths": (
        ["dev", *DEV, "--upstream", "eu=http://a/b", "--upstream", "us=http://a/c"],
        None,
        ["the paths differ"],
    ),
    "mock-schema": (
        ["mock", "--schema", "schema.graphql", "--port", "0"],
        put("schema.graphql", "type Query {"),
        ["schema.graphql: "],
    ),
    "mock-nothing": (
        ["mock", "--schema", "none.graphql", "--port", "0"],
        None,
        ["none.graphql: cannot be read: No such file or directory."],
    ),
}


@pytest.mark.parametrize("what", COMMANDS)
def test_other_commands_cannot_start(place: Path, what: str) -> None:
    """A newcomer would be left with a stack trace."""
    words, spoil, expected = COMMANDS[what]
    if spoil is not None:
        spoil(place)
    assert_plain(*told(place, words), expected)


@pytest.mark.parametrize("words", [["dev", *DEV[2:], "--port"], ["mock", "--schema", "schema.graphql", "--port"]])
def test_ports_of_other_commands(place: Path, taken_port: int, words: list[str]) -> None:
    """A newcomer who starts the same thing twice would be left with a stack trace."""
    code, text = told(place, [*words, str(taken_port)])
    assert_plain(code, text, [f"127.0.0.1 port {taken_port}: Address already in use.", "--port 0"])


# Requests -------------------------------------------------------------------------------------------------------------

NESTED = "[" * 10_000 + "]" * 10_000
DOUBLING = (
    "{ user { ...F0 } } "
    + "".join(f"fragment F{n} on User {{ ...F{n + 1} ...F{n + 1} }} " for n in range(40))
    + "fragment F40 on User { a: id }"
)
BODIES: dict[str, bytes] = {
    "not-utf8": b'{"query":"\xff\xfe"}',
    "utf16": message("{ user { id } }").encode("utf-16"),
    "bom": b"\xef\xbb\xbf" + OWN.encode(),
    "twice": b'{"query":"{ user { id } }","query":"{ offloads { day } }"}',
    "twice-within": b'{"query":"{ user { id } }","variables":{"a":{"b":1,"b":2}}}',
    "twice-escaped": b'{"query":"{ user { id } }","variables":{"a":1,"\\u0061":2}}',
    "nan": b'{"query":"{ user { id } }","variables":{"a":NaN}}',
    "infinity": b'{"query":"{ user { id } }","variables":{"a":-Infinity}}',
    "overflow": b'{"query":"{ user { id } }","variables":{"a":1e999}}',
    "long-number": b'{"query":"{ user { id } }","variables":{"a":' + b"9" * 5000 + b"}}",
    "trailing": OWN.encode() + b"x",
    "two": OWN.encode() * 2,
    "array": b"[" + OWN.encode() + b"]",
    "text": b'"{ user { id } }"',
    "null": b"null",
    "nothing": b"",
    "blanks": b"   ",
    "nested-lists": b'{"query":"{ user { id } }","variables":{"a":' + NESTED.encode() + b"}}",
    "nested-open": b'{"query":' + b"[" * 100_000,
    "lone-surrogate": b'{"query":"{ user { id } }","variables":{"a":"\\ud800"}}',
    "other-member": b'{"query":"{ user { id } }","id":"a"}',
    "capital-member": b'{"Query":"{ user { id } }"}',
    "persisted": b'{"query":"{ user { id } }","extensions":{"persistedQuery":{"version":1}}}',
    "cyclic": message("{ user { ...A } } fragment A on User { ...B } fragment B on User { ...A }").encode(),
    "doubling": message(DOUBLING).encode(),
    "wide": message("{ " + "user { id } " * 2000 + "}").encode(),
    "deep": message("{ a " * 300 + "}" * 300).encode(),
    "deep-values": message("{ user(user_id: " + NESTED + ") { id } }").encode(),
    "deep-types": message("query A($a: " + "[" * 600 + "Int" + "]" * 600 + ") { user { id } }").encode(),
    "one-long-string": message('{ user(user_id: "' + "a" * 100_000 + '") { id } }').encode(),
    "directives": message("{ user " + "@skip(if: true) " * 500 + "{ id } }").encode(),
    "unknown-operation": message("query A { user { id } }", operationName="B").encode(),
    "null-sign": b'{"query":"{ user { id } }\\u0000"}',
    "unfinished": b'{"query":"{ user',
}


MALFORMED = [row for row in rows("message.yaml") if row["expect"] != "ok"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A gateway, which no request may harm."""
    async with running(tmp_path_factory.mktemp("bad")) as started:
        yield started


def refused_plainly(gateway: Running, status: int, told: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing went on, the client was told why, and no fault of ours showed."""
    assert gateway.upstream.received == []
    assert status in (200, 400, 403, 413)
    reasons = [error["extensions"]["reason"] for error in json.loads(told)["errors"]]
    assert reasons
    assert "internal_error" not in reasons
    captured = capfd.readouterr()
    assert "Traceback" not in captured.out + captured.err


@here
@pytest.mark.parametrize("what", BODIES)
async def test_bad_bodies(gateway: Running, what: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A body that two programs read differently would be forwarded, or one that is odd end in a stack trace."""
    gateway.upstream.received.clear()
    for token in (gateway.user_token, gateway.keys["all"]):
        answer = await gateway.ask(BODIES[what], token=token)
        refused_plainly(gateway, answer.status, answer.body, capfd)


@here
async def test_long_bodies(gateway: Running) -> None:
    """A document of a megabyte would be read, or parsed."""
    gateway.upstream.received.clear()
    for size in (300_000, 1_000_000):
        async with wire(gateway) as client:
            await client.send_all(request(gateway, body=message("{ a }" + " " * size).encode()))
            assert (await client.answer()).status == 413
    assert gateway.upstream.received == []


@here
@pytest.mark.parametrize("row", MALFORMED, ids=[row["id"] for row in MALFORMED])
async def test_malformed_messages(gateway: Running, row: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    """What is refused when it is decoded would be forwarded by the whole."""
    gateway.upstream.received.clear()
    answer = await gateway.ask(body_of(row), token=gateway.keys["all"])
    assert answer.reasons == [row["expect"]]
    refused_plainly(gateway, answer.status, answer.body, capfd)


async def test_a_gateway_after_all_of_it(place: Path) -> None:
    """Bad requests would leave stack traces in the log, or a gateway that serves no more."""
    async with command(place, *SERVE_HERE) as started:
        address = re.sub("^http://", "", (await started.event("serving"))["url"]).split(":")
        for head in (b"\0\xff\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"POST /v4/gql HTTP/1.1\r\nContent-Length: x\r\n\r\n"):
            reader, writer = await asyncio.open_connection(address[0], int(address[1]))
            writer.write(head)
            assert (await asyncio.wait_for(reader.read(), 20)).startswith(b"HTTP/1.1 400 ")
            writer.close()
        for cut in (b"POST", b"POST /v4/gql HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{"):
            _, writer = await asyncio.open_connection(address[0], int(address[1]))
            writer.write(cut)
            await writer.drain()
            writer.transport.abort()
        await eventually(lambda: len(started.lines()) >= 4)
        assert await started.stop() == 0
        assert {line["level"] for line in started.lines()} == {"info"}
        assert "Traceback" not in started.said()
