"""The head of a forwarded request."""

from dataclasses import dataclass
from ipaddress import ip_network

import pytest

from gateway.core.headers import HeaderRules
from gateway.proxy.deadlines import Deadlines
from gateway.proxy.forwarding import READ, Forwarding
from gateway.proxy.upstream import Endpoint, UpstreamLimits

ENDPOINT = Endpoint("http://upstream.example:8080", UpstreamLimits(), Deadlines())
OTHER = Endpoint("https://[2001:db8::2]", UpstreamLimits(), Deadlines())


@dataclass
class Peer:
    """The client's end of a connection, as far as it is looked at."""

    peername: object
    forwarded: tuple[bytes, bytes] | None = None


def head(
    *raw: tuple[bytes, bytes],
    peer: object = ("192.0.2.9", 5000),
    trusted: tuple[str, ...] = (),
    endpoint: Endpoint = ENDPOINT,
    length: int | None = 0,
) -> list[str]:
    """The lines of a head."""
    forwarding = Forwarding([ip_network(each) for each in trusted], {OTHER: ("x-extra",)})
    inbound = HeaderRules(read={"x-extra", *READ}).sort(raw)
    made = forwarding.head(endpoint, b"POST", b"/a", b"X-Gateway-A: b\r\n", Peer(peer), inbound, b"r-1", length)
    text = made.decode("latin-1")
    assert text.endswith("\r\n\r\n")
    assert text.count("\r\n\r\n") == 1
    return text[:-4].split("\r\n")


def test_a_head() -> None:
    """The upstream would get another request than the one that was judged."""
    assert head((b"Host", b"a"), (b"ACCEPT", b"b"), (b"X-Other", b"c"), length=5) == [
        "POST /a HTTP/1.1",
        "Host: upstream.example:8080",
        "X-Gateway-A: b",
        'Forwarded: for=192.0.2.9;host="a";proto=http',
        "X-Forwarded-For: 192.0.2.9",
        "X-Forwarded-Proto: http",
        "Via: 1.1 gateway",
        "X-Forwarded-Host: a",
        "ACCEPT: b",
        "Content-Length: 5",
        "X-Request-Id: r-1",
    ]


def test_a_head_without_host_and_body() -> None:
    """An HTTP/1.0 client's request would claim a host that nobody named, or announce a body."""
    lines = head(length=None)
    assert not any("host" in line.lower() for line in lines if not line.startswith("Host: "))
    assert not any(line.startswith("Content-Length") for line in lines)


@pytest.mark.parametrize(
    ("peer", "element", "hop"),
    [
        (("2001:db8::1", 1, 0, 0), 'for="[2001:db8::1]"', "2001:db8::1"),
        (("fe80::1%eth0", 1, 0, 2), 'for="[fe80::1]"', "fe80::1"),
        (("10.0.0.1", 1), "for=10.0.0.1", "10.0.0.1"),
        ("", "for=unknown", "unknown"),
        (None, "for=unknown", "unknown"),
    ],
    ids=["ipv6", "link-local", "ipv4", "unix", "gone"],
)
def test_where_a_request_comes_from(peer: object, element: str, hop: str) -> None:
    """The upstream would not be able to read where a request comes from (RFC 7239 section 6)."""
    lines = head(peer=peer)
    assert f"Forwarded: {element};proto=http" in lines
    assert f"X-Forwarded-For: {hop}" in lines


SAID = (
    (b"Host", b"inner"),
    (b"X-Forwarded-For", b"198.51.100.1"),
    (b"X-Forwarded-For", b"198.51.100.2"),
    (b"Forwarded", b"for=198.51.100.1"),
    (b"Via", b"1.0 a, 1.1 b"),
    (b"X-Forwarded-Host", b"outer"),
    (b"X-Forwarded-Proto", b"https"),
)


@pytest.mark.parametrize(
    ("peer", "networks", "trusted"),
    [
        ("10.1.2.3", ("10.0.0.0/8",), True),
        ("2001:db8::1", ("10.0.0.0/8", "2001:db8::/32"), True),
        ("11.0.0.1", ("10.0.0.0/8",), False),
        ("10.1.2.3", (), False),
        ("", ("0.0.0.0/0",), False),
    ],
)
def test_whose_word_is_taken(peer: str, networks: tuple[str, ...], trusted: bool) -> None:
    """Anybody could say where a request comes from, or the proxy in front would not be believed."""
    lines = head(*SAID, peer=(peer, 1) if peer else None, trusted=networks)
    if trusted:
        assert f"X-Forwarded-For: 198.51.100.1, 198.51.100.2, {peer}" in lines
        assert "Via: 1.0 a, 1.1 b, 1.1 gateway" in lines
        assert {"X-Forwarded-Host: outer", "X-Forwarded-Proto: https"} <= set(lines)
        assert any(line.startswith("Forwarded: for=198.51.100.1, for=") for line in lines)
    else:
        assert "198.51.100" not in str(lines)
        assert {"X-Forwarded-Host: inner", "X-Forwarded-Proto: http", "Via: 1.1 gateway"} <= set(lines)


def test_headers_for_some_upstreams() -> None:
    """What is meant for one region's upstream would go to all of them."""
    given = ((b"X-Extra", b"a"), (b"x-extra", b"b"))
    assert not any("extra" in line.lower() for line in head(*given))
    lines = head(*given, endpoint=OTHER)
    assert [line for line in lines if "extra" in line] == ["x-extra: a", "x-extra: b"]
    assert lines[1] == "Host: [2001:db8::2]"


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ([b"keep-alive"], {"Accept", "User-Agent"}),
        ([b"close"], {"Accept", "User-Agent"}),
        ([b"accept"], {"User-Agent"}),
        ([b"close, ACCEPT , user-agent"], set()),
        ([b"keep-alive", b"User-Agent"], {"Accept"}),
        ([b"accept-language"], {"Accept", "User-Agent"}),
        ([b"x-request-id, host, content-length"], {"Accept", "User-Agent"}),
    ],
)
def test_what_connection_names(options: list[bytes], kept: set[str]) -> None:
    """What a client meant for the gateway alone would go on, or it could take away what the gateway says."""
    lines = head(*((b"Connection", each) for each in options), (b"Accept", b"a"), (b"User-Agent", b"b"))
    names = {line.partition(":")[0] for line in lines}
    assert names & {"Accept", "User-Agent", "Connection"} == kept
    assert {"Host", "X-Request-Id", "Content-Length", "X-Gateway-A"} <= names
