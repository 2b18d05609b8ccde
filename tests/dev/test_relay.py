"""What the page may ask for, who may ask, and how the answer is described."""

import asyncio
import json
import shlex
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientSession, web

from gateway.dev.relay import SHOWN_BYTES, BadAsk, Prepared, Shown, as_curl, local_host, prepare, relay, same_origin

CREDENTIALS = (Shown("user", "gwu_1.a", "user"), Shown("key", "gwk_2.b", "key"))
ASK = Prepared(b'{"query":"{ a }"}', {"Content-Type": "application/json", "Authorization": "Bearer gwu_1.a"})


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8081",
        "gateway.localhost:80",
        "127.0.0.1",
        "127.0.0.1:8081",
        "[::1]",
        "[::1]:8081",
        "10.0.0.7:1",
    ],
)
def test_a_host_that_no_dns_answer_can_forge_is_local(host: str) -> None:
    """The page would not open on the developer's own machine."""
    assert local_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8081",
        "localhost.evil.example",
        "notlocalhost",
        "127.0.0.1.evil.example",
        "127.1",
        "0x7f000001",
        "[::1",
        "::1",
        "[evil]",
        "localhost:80:80",
        "localhost:",
        "localhost/",
        "user@localhost",
        "localhost localhost",
    ],
)
def test_a_name_that_dns_could_point_here_is_foreign(host: str) -> None:
    """A web page elsewhere could use the developer's tokens by DNS rebinding."""
    assert not local_host(host)


HERE = {"Host": "127.0.0.1:8081"}


@pytest.mark.parametrize(
    ("more", "own"),
    [
        ({}, True),
        ({"Origin": "http://127.0.0.1:8081"}, True),
        ({"Origin": "http://127.0.0.1:8081", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": "http://127.0.0.1:8080"}, False),
        ({"Origin": "http://127.0.0.1"}, False),
        ({"Origin": "http://localhost:8081"}, False),
        ({"Origin": "http://127.0.0.1:8081.evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Host": "evil.example", "Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, False),
    ],
)
def test_only_the_page_itself_may_ask(more: dict[str, str], own: bool) -> None:
    """Any web page that the developer visits could send requests with the seeded credentials."""
    assert same_origin({**HERE, **more}) is own


def asked(**members: object) -> Prepared:
    """What is made of an ask."""
    return prepare(json.dumps({"query": "{ a }", **members}).encode(), CREDENTIALS)


def test_the_chosen_credential_is_filled_in() -> None:
    """The request would be sent as somebody else, or as nobody."""
    assert asked(credential=0).headers["Authorization"] == "Bearer gwu_1.a"
    assert asked(credential=1).headers["Authorization"] == "Bearer gwk_2.b"
    assert "Authorization" not in asked().headers
    assert "Authorization" not in asked(credential=None).headers


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, {"query": "{ a }"}),
        ({"variables": None}, {"query": "{ a }"}),
        ({"variables": {"a": [1, None, {"b": "é"}]}}, {"query": "{ a }", "variables": {"a": [1, None, {"b": "é"}]}}),
        ({"query": ""}, {"query": ""}),
        ({"query": '"\n\\'}, {"query": '"\n\\'}),
    ],
)
def test_the_message_is_what_was_typed(members: dict[str, object], message: dict[str, object]) -> None:
    """The gateway would judge another operation than the one in the editor."""
    assert json.loads(asked(**members).body) == message


def test_orders_for_the_pretend_upstream_are_passed() -> None:
    """The field for extra headers would do nothing."""
    headers = {"X-Mock-Delay": "1.5", "x-mock-status": "503"}
    assert asked(headers=headers).headers.items() >= headers.items()


@pytest.mark.parametrize(
    ("members", "word"),
    [
        ({"query": 1}, "query"),
        ({"query": None}, "query"),
        ({"variables": []}, "variables"),
        ({"variables": "{}"}, "variables"),
        ({"credential": 2}, "credential"),
        ({"credential": -1}, "credential"),
        ({"credential": "0"}, "credential"),
        ({"credential": True}, "credential"),
        ({"token": "gwk_stolen"}, "token"),
        ({"headers": {"Authorization": "Bearer x"}}, "X-Mock-"),
        ({"headers": {"X-Gateway-User": "x"}}, "X-Mock-"),
        ({"headers": {"X-Mock-Delay\r\nHost": "x"}}, "X-Mock-"),
        ({"headers": {"X-Mock-Delay": "1\r\nHost: x"}}, "X-Mock-"),
        ({"headers": {"X-Mock-Delay": "1\n"}}, "X-Mock-"),
        ({"headers": {"X-Mock-Delay": ""}}, "X-Mock-"),
        ({"headers": {"X-Mock-Delay": "é"}}, "X-Mock-"),
        ({"headers": {"X-Mock-Delay": 1}}, "X-Mock-"),
        ({"headers": {"X-Mock-Delay": "1" * 300}}, "X-Mock-"),
        ({"headers": []}, "X-Mock-"),
    ],
)
def test_what_the_page_may_not_ask_is_refused_with_a_sentence(members: dict[str, object], word: str) -> None:
    """A script that got into the page could forge identity headers or smuggle a second request."""
    with pytest.raises(BadAsk, match=word) as caught:
        asked(**members)
    assert "gwk_stolen" not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"no", b"[]", b"\xff", b"null", b'{"query":"a"', b'{"query":"\\ud800"}'])
def test_a_body_that_is_no_ask_is_refused(body: bytes) -> None:
    """A broken request would end in a stack trace."""
    with pytest.raises(BadAsk):
        prepare(body, CREDENTIALS)


async def test_the_curl_command_says_the_same_when_a_shell_reads_it() -> None:
    """The pasted command would fail, or run a part of the query as a command."""
    prepared = prepare(json.dumps({"query": '{ a(b: "it\'s $HOME `x`") }', "credential": 1}).encode(), CREDENTIALS)
    command = as_curl(prepared, "http://127.0.0.1:1/v4/gql")
    words = shlex.split(command.replace("\\\n", ""))
    assert words[:3] == ["curl", "-sS", "http://127.0.0.1:1/v4/gql"]
    assert words[words.index("--data-raw") + 1].encode() == prepared.body
    assert [words[place + 1] for place, word in enumerate(words) if word == "-H"] == [
        f"{name}: {value}" for name, value in prepared.headers.items()
    ]
    shell = await asyncio.create_subprocess_exec(
        "sh", "-c", command.replace("curl -sS", "printf '%s\\n'", 1), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await shell.communicate()
    assert prepared.body in printed


def test_a_token_is_in_no_representation() -> None:
    """A log line or an error page would show the token."""
    assert "gwu_1.a" not in repr(CREDENTIALS)
    assert "gwu_1.a" not in repr(asked(credential=0))


async def test_an_answer_is_described_whole(stand_in: Any) -> None:
    """The page would show another status, or leave out what the gateway said."""
    async with ClientSession() as session:
        reply = await relay(session, f"{stand_in.url}/v4/gql", ASK)
    assert (reply.status, reply.phrase, reply.note) == (200, "OK", "")
    assert reply.body.encode() == stand_in.body
    assert reply.bytes == len(stand_in.body)
    assert ("x-request-id", "r-1") in [(name.lower(), value) for name, value in reply.headers]
    assert reply.milliseconds > 0
    headers, body = stand_in.seen[0]
    assert (headers["Authorization"], body) == ("Bearer gwu_1.a", ASK.body)


Serve = Callable[[web.Application], Awaitable[str]]


async def described(serve: Serve, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
    """The reply when the traffic port does what the handler does."""
    app = web.Application()
    app.router.add_post("/", handler)
    async with ClientSession() as session:
        return await relay(session, await serve(app), ASK)


async def test_of_a_very_long_answer_the_beginning_is_described(serve: Serve) -> None:
    """Two gibibytes ordered from the pretend upstream would fill the browser's memory."""

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    reply = await described(serve, endless)
    assert (reply.status, reply.bytes, len(reply.body)) == (200, SHOWN_BYTES, SHOWN_BYTES)
    assert "first MiB" in reply.note


async def test_a_broken_answer_is_described_as_far_as_it_came(serve: Serve) -> None:
    """A half answer would be shown as a whole one."""

    async def breaks(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 100
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    reply = await described(serve, breaks)
    assert (reply.status, reply.body) == (200, "half")
    assert "broke off" in reply.note


async def test_no_answer_is_described_too(serve: Serve) -> None:
    """The page would say nothing when the gateway is away or hangs up."""

    async def hangs_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    reply = await described(serve, hangs_up)
    assert (reply.status, reply.body) == (0, "")
    assert reply.note
    async with ClientSession() as session:
        away = await relay(session, "http://127.0.0.1:1/", ASK)
    assert (away.status, bool(away.note)) == (0, True)


async def test_a_redirect_is_shown_and_not_followed(serve: Serve) -> None:
    """The credential would be sent to wherever the upstream points."""

    async def points_away(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": "http://127.0.0.1:1/"})

    reply = await described(serve, points_away)
    assert reply.status == 307
    assert ("Location", "http://127.0.0.1:1/") in reply.headers
