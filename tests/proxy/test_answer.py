"""What of an upstream's answer passes, how it is framed for the client, and what is malformed: tables of bytes."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy import answer_head
from gateway.proxy.answer import Answer
from gateway.proxy.answer_head import Kind, Malformed, header_of

LIMIT = 65_536
OWN = b"X-Request-Id: r1\r\n"


def lines(*parts: str) -> bytes:
    """A head of these lines."""
    return "\r\n".join([*parts, "", ""]).encode("latin-1")


OK = "HTTP/1.1 200 OK"
CHUNKED = lines(OK, "Transfer-Encoding: chunked")


@dataclass(frozen=True)
class Row:
    """An upstream's bytes, what they were asked with, and what the client gets."""

    id: str
    upstream: bytes
    client: bytes
    asked: dict[str, Any] = field(default_factory=dict)
    reusable: bool = True
    keep_alive: bool = True
    by_close: bool = False  # the upstream ends the connection after its bytes


HTTP10 = {"http10": True}
HEAD = {"head_request": True}
CLOSING = {"keep_alive": False}

ROWS = [
    Row("counted", lines(OK, "Content-Length: 2") + b"ab", lines(OK, "Content-Length: 2") + b"ab"),
    Row("counted, none", lines(OK, "Content-Length: 0"), lines(OK, "Content-Length: 0")),
    Row("counted for 1.0", lines(OK, "Content-Length: 2") + b"ab",
        lines(OK, "Content-Length: 2", "Connection: keep-alive") + b"ab", HTTP10),
    Row("counted, client closes", lines(OK, "Content-Length: 2") + b"ab",
        lines(OK, "Content-Length: 2", "Connection: close") + b"ab", CLOSING, keep_alive=False),
    Row("chunked", CHUNKED + b"2\r\nab\r\n0\r\n\r\n", CHUNKED + b"2\r\nab\r\n0\r\n\r\n"),
    Row("chunked, in capitals", lines(OK, "TRANSFER-ENCODING: Chunked") + b"0\r\n\r\n", CHUNKED + b"0\r\n\r\n"),
    Row("chunked, nothing", CHUNKED + b"0\r\n\r\n", CHUNKED + b"0\r\n\r\n"),
    Row("chunked with extensions and trailers", CHUNKED + b"2;a=b\r\nab\r\n0\r\nX-T: 1\r\nX-U:\r\n\r\n",
        CHUNKED + b"2\r\nab\r\n0\r\n\r\n"),
    Row("chunked, a trailer ends the connection", CHUNKED + b"2\r\nab\r\n0\r\nConnection: close\r\n\r\n",
        CHUNKED + b"2\r\nab\r\n0\r\n\r\n", reusable=False),
    Row("chunked for 1.0", CHUNKED + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", lines(OK, "Connection: close") + b"abc",
        HTTP10, keep_alive=False),
    Row("by close", lines(OK) + b"abc", CHUNKED + b"3\r\nabc\r\n0\r\n\r\n", reusable=False, by_close=True),
    Row("by close, nothing", lines(OK), CHUNKED + b"0\r\n\r\n", reusable=False, by_close=True),
    Row("by close for 1.0", lines(OK) + b"abc", lines(OK, "Connection: close") + b"abc", HTTP10,
        reusable=False, keep_alive=False, by_close=True),
    Row("by close, looking like a second answer", lines(OK) + lines(OK), CHUNKED + b"13\r\n" + lines(OK)
        + b"\r\n0\r\n\r\n", reusable=False, by_close=True),
    Row("upstream closes", lines(OK, "Connection: close", "Content-Length: 2") + b"ab",
        lines(OK, "Content-Length: 2") + b"ab", reusable=False),
    Row("upstream closes, among other options", lines(OK, "Connection: X-A, Close", "Content-Length: 2") + b"ab",
        lines(OK, "Content-Length: 2") + b"ab", reusable=False),
    Row("upstream speaks 1.0", lines("HTTP/1.0 200 OK", "Content-Length: 2") + b"ab",
        lines(OK, "Content-Length: 2") + b"ab", reusable=False),
    Row("upstream speaks 1.0 and keeps the connection",
        lines("HTTP/1.0 200 OK", "Connection: keep-alive", "Content-Length: 2") + b"ab",
        lines(OK, "Content-Length: 2") + b"ab"),
    Row("204", lines("HTTP/1.1 204 No Content"), lines("HTTP/1.1 204 No Content")),
    Row("204 with a length", lines("HTTP/1.1 204 No Content", "Content-Length: 0"), lines("HTTP/1.1 204 No Content")),
    Row("204 for 1.0", lines("HTTP/1.1 204 No Content"), lines("HTTP/1.1 204 No Content", "Connection: keep-alive"),
        HTTP10),
    Row("204 with a body", lines("HTTP/1.1 204 No Content", "Content-Length: 2") + b"ab",
        lines("HTTP/1.1 204 No Content"), reusable=False),
    Row("204 chunked", lines("HTTP/1.1 204 No Content", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        lines("HTTP/1.1 204 No Content"), reusable=False),
    Row("304", lines("HTTP/1.1 304 Not Modified", "ETag: x"), lines("HTTP/1.1 304 Not Modified", "ETag: x")),
    Row("304 with a length", lines("HTTP/1.1 304 Not Modified", "Content-Length: 9"),
        lines("HTTP/1.1 304 Not Modified", "Content-Length: 9")),
    Row("HEAD with a length", lines(OK, "Content-Length: 9"), lines(OK, "Content-Length: 9"), HEAD, reusable=False),
    Row("HEAD with length 0", lines(OK, "Content-Length: 0"), lines(OK, "Content-Length: 0"), HEAD),
    Row("HEAD, chunked", CHUNKED, lines(OK), HEAD, reusable=False),
    Row("HEAD without a word of the body", lines(OK), lines(OK), HEAD, reusable=False),
    Row("HEAD with a body", lines(OK, "Content-Length: 2") + b"ab", lines(OK, "Content-Length: 2"), HEAD,
        reusable=False),
    Row("205", lines("HTTP/1.1 205 Reset Content", "Content-Length: 0"),
        lines("HTTP/1.1 205 Reset Content", "Content-Length: 0")),
    Row("100 first", lines("HTTP/1.1 100 Continue") + lines(OK, "Content-Length: 2") + b"ab",
        lines(OK, "Content-Length: 2") + b"ab"),
    Row("100, 102 and 103 with headers first", lines("HTTP/1.1 100 Continue") + lines("HTTP/1.1 102 Processing")
        + lines("HTTP/1.1 103 Early Hints", "Link: </a>", "Content-Length: 3") + lines(OK, "Content-Length: 2") + b"ab",
        lines(OK, "Content-Length: 2") + b"ab"),
    Row("100 before chunks", lines("HTTP/1.1 100 Continue") + CHUNKED + b"2\r\nab\r\n0\r\n\r\n",
        CHUNKED + b"2\r\nab\r\n0\r\n\r\n"),
    Row("redirect", lines("HTTP/1.1 302 Found", "Location: http://elsewhere.test/", "Content-Length: 0"),
        lines("HTTP/1.1 302 Found", "Location: http://elsewhere.test/", "Content-Length: 0")),
    Row("error", lines("HTTP/1.1 503 Service Unavailable", "Content-Length: 2") + b"ab",
        lines("HTTP/1.1 503 Service Unavailable", "Content-Length: 2") + b"ab"),
    Row("another's phrase", lines("HTTP/1.1 200 Fine <b>", "Content-Length: 0"), lines(OK, "Content-Length: 0")),
    Row("no phrase, unknown status", lines("HTTP/1.1 299", "Content-Length: 0"),
        lines("HTTP/1.1 299 ", "Content-Length: 0")),
    Row("hop by hop", lines(OK, "Keep-Alive: timeout=5", "Proxy-Authenticate: Basic", "Proxy-Connection: keep-alive", "TE: x",
        "Trailer: X-T", "Upgrade: websocket", "Connection: keep-alive", "Server: s", "Content-Length: 0"),
        lines(OK, "Server: s", "Content-Length: 0")),
    Row("named in Connection", lines(OK, "X-A: 1", "Connection: x-a , keep-alive,X-B", "x-b: 2", "X-C: 3",
        "Content-Length: 0"), lines(OK, "X-C: 3", "Content-Length: 0")),
    Row("the length named in Connection", lines(OK, "Connection: Content-Length", "Content-Length: 2") + b"ab",
        lines(OK, "Content-Length: 2") + b"ab"),
    Row("what the gateway says itself", lines(OK, "X-Request-ID: evil", "x_request_id: evil",
        "X-Gateway-Would-Refuse: evil", "X_Gateway-Would_Refuse: evil", "Content-Length: 0"),
        lines(OK, "Content-Length: 0")),
    Row("what folds to framing", lines(OK, "Content_Length: 9", "Transfer_Encoding: chunked", "Content-Length: 0"),
        lines(OK, "Content-Length: 0")),
    Row("several of one name, in order", lines(OK, "Set-Cookie: a=1", "X: 1", "Set-Cookie: b=2", "Content-Length: 0"),
        lines(OK, "Set-Cookie: a=1", "X: 1", "Set-Cookie: b=2", "Content-Length: 0")),
    Row("odd but allowed values", lines(OK, "X:", "Y: \t", "Z: a\tb\xff", "Content-Length:\t2  ") + b"ab",
        lines(OK, "X:", "Y: \t", "Z: a\tb\xff", "Content-Length: 2") + b"ab"),
]  # fmt: skip

SURPLUS = [
    ("a byte after a counted body", lines(OK, "Content-Length: 2") + b"ab", b"c"),
    ("an answer after a counted body", lines(OK, "Content-Length: 2") + b"ab", lines(OK, "Content-Length: 3") + b"bad"),
    ("a line end after a counted body", lines(OK, "Content-Length: 2") + b"ab", b"\r\n"),
    ("a byte after an empty body", lines(OK, "Content-Length: 0"), b"x"),
    ("a byte after chunks", CHUNKED + b"2\r\nab\r\n0\r\n\r\n", b"x"),
    ("an answer after chunks", CHUNKED + b"2\r\nab\r\n0\r\n\r\n", lines(OK, "Content-Length: 3") + b"bad"),
    ("the head of an answer after chunks", CHUNKED + b"2\r\nab\r\n0\r\n\r\n", lines(OK, "Content-Length: 3")),
    ("a line end after chunks", CHUNKED + b"2\r\nab\r\n0\r\n\r\n", b"\r\n"),
    ("half a line end after chunks", CHUNKED + b"2\r\nab\r\n0\r\n\r\n", b"\r"),
    ("a lone line feed after chunks", CHUNKED + b"2\r\nab\r\n0\r\n\r\n", b"\n"),
    ("a line end after a trailer", CHUNKED + b"0\r\nX:\r\n\r\n", b"\r\n\r\n"),
    ("an answer after 204", lines("HTTP/1.1 204 No Content"), lines(OK, "Content-Length: 3") + b"bad"),
    ("an answer after 304", lines("HTTP/1.1 304 Not Modified", "Content-Length: 3"), lines(OK) + b"bad"),
    ("data after the upstream said it closes", lines(OK, "Connection: close", "Content-Length: 2") + b"ab", b"x"),
]

MALFORMED = {
    "no HTTP": b"hello\r\n\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x16",
    "a request": b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "RTSP": b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "ICE": b"ICE/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "small letters": b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.10": b"HTTP/1.10 200 OK\r\nContent-Length: 0\r\n\r\n",
    "another version after an interim answer": lines("HTTP/1.1 100 Continue") + b"RTSP/1.0 200 OK\r\n\r\n",
    "a blank line first": b"\r\n" + lines(OK, "Content-Length: 0"),
    "a blank line after an interim answer": lines("HTTP/1.1 100 C") + b"\r\n" + lines(OK, "Content-Length: 0"),
    "two spaces": lines("HTTP/1.1  200 OK", "Content-Length: 0"),
    "status 99": lines("HTTP/1.1 99 OK", "Content-Length: 0"),
    "status 000": lines("HTTP/1.1 000 OK", "Content-Length: 0"),
    "status 099": lines("HTTP/1.1 099 OK", "Content-Length: 0"),
    "status 600": lines("HTTP/1.1 600 OK", "Content-Length: 0"),
    "status 1000": lines("HTTP/1.1 1000 OK", "Content-Length: 0"),
    "status 2x0": lines("HTTP/1.1 2x0 OK", "Content-Length: 0"),
    "NUL in the phrase": lines("HTTP/1.1 200 O\0K", "Content-Length: 0"),
    "101": lines("HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: websocket"),
    "101 without Upgrade": lines("HTTP/1.1 101 Switching Protocols") + lines(OK, "Content-Length: 0"),
    "101 after 100": lines("HTTP/1.1 100 C") + lines("HTTP/1.1 101 S", "Connection: upgrade", "Upgrade: h2c"),
    "an interim answer in 1.0": lines("HTTP/1.0 100 Continue") + lines(OK, "Content-Length: 0"),
    "an interim answer that closes": lines("HTTP/1.1 103 E", "Connection: close") + lines(OK, "Content-Length: 0"),
    "a faulty interim answer": lines("HTTP/1.1 103 E", "X Y: 1") + lines(OK, "Content-Length: 0"),
    "gzip, chunked": lines(OK, "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "chunked, gzip": lines(OK, "Transfer-Encoding: chunked, gzip") + b"0\r\n\r\n",
    "chunked, chunked": lines(OK, "Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n",
    "chunked twice": lines(OK, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "gzip and chunked": lines(OK, "Transfer-Encoding: gzip", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    ", chunked": lines(OK, "Transfer-Encoding: ,chunked") + b"0\r\n\r\n",
    "gzip": lines(OK, "Transfer-Encoding: gzip"),
    "identity": lines(OK, "Transfer-Encoding: identity"),
    "xchunked": lines(OK, "Transfer-Encoding: xchunked"),
    "chunked;q=1": lines(OK, "Transfer-Encoding: chunked;q=1") + b"0\r\n\r\n",
    "quoted chunked": lines(OK, 'Transfer-Encoding: "chunked"') + b"0\r\n\r\n",
    "empty coding": lines(OK, "Transfer-Encoding:"),
    "chunked in 1.0": lines("HTTP/1.0 200 OK", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "gzip to HEAD": lines(OK, "Transfer-Encoding: gzip"),
    "chunked and a length": lines(OK, "Transfer-Encoding: chunked", "Content-Length: 5") + b"0\r\n\r\n",
    "a length and chunked": lines(OK, "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "two lengths": lines(OK, "Content-Length: 2", "Content-Length: 3") + b"abc",
    "the same length twice": lines(OK, "Content-Length: 2", "content-length: 2") + b"ab",
    "a list of lengths": lines(OK, "Content-Length: 2, 2") + b"ab",
    "no length": lines(OK, "Content-Length:") + b"ab",
    "+2": lines(OK, "Content-Length: +2") + b"ab",
    "-2": lines(OK, "Content-Length: -2") + b"ab",
    "0x2": lines(OK, "Content-Length: 0x2") + b"ab",
    "1_0": lines(OK, "Content-Length: 1_0") + b"a" * 10,
    "2.0": lines(OK, "Content-Length: 2.0") + b"ab",
    "superscript two": lines(OK, "Content-Length: \xb2") + b"ab",
    "a length beyond 64 bits": lines(OK, "Content-Length: 18446744073709551618") + b"ab",
    "a length of 5,000 digits": lines(OK, "Content-Length: " + "1" * 5_000) + b"ab",
    "a folded line": lines(OK, "X: a", " b", "Content-Length: 0"),
    "a folded coding": lines(OK, "Transfer-Encoding:", " chunked") + b"0\r\n\r\n",
    "a fold first": lines(OK, " X: a", "Content-Length: 0"),
    "a space before the colon": lines(OK, "Content-Length : 0"),
    "a tab before the colon": lines(OK, "Content-Length\t: 0"),
    "no colon": lines(OK, "Content-Length"),
    "no name": lines(OK, ": x", "Content-Length: 0"),
    "line feeds only": lines(OK, "Content-Length: 0").replace(b"\r\n", b"\n"),
    "a line feed within": b"HTTP/1.1 200 OK\r\nX: a\nContent-Length: 0\r\n\r\n",
    "a carriage return within": b"HTTP/1.1 200 OK\r\nX: a\rContent-Length: 0\r\n\r\n",
    "a chunk size that is none": CHUNKED + b"zz\r\n",
    "a negative chunk size": CHUNKED + b"-2\r\nab\r\n0\r\n\r\n",
    "a chunk size with 0x": CHUNKED + b"0x2\r\nab\r\n0\r\n\r\n",
    "a chunk size beyond 64 bits": CHUNKED + b"10000000000000002\r\nab\r\n0\r\n\r\n",
    "a space after the chunk size": CHUNKED + b"2 \r\nab\r\n0\r\n\r\n",
    "a chunk that is too long": CHUNKED + b"2\r\nabc\r\n0\r\n\r\n",
    "chunks with line feeds only": CHUNKED + b"2\nab\n0\n\n",
    "a length among the trailers": CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n",
    "a faulty trailer": CHUNKED + b"0\r\nX Y: 1\r\n\r\n",
}


def read(data: bytes, asked: dict[str, Any], *, step: int, by_close: bool = False) -> tuple[Answer, bytes]:
    """Feed an answer in pieces of `step` bytes until it is complete; what the client gets."""
    answer = Answer(LIMIT)
    answer.expect(OWN, **{"http10": False, "keep_alive": True, "head_request": False, **asked})
    out = b""
    for start in range(0, len(data), step):
        if answer.complete:
            break
        out += answer.feed(data[start : start + step])
    if by_close:
        assert answer.ends_with_connection
        out += answer.end()
    return answer, out


def unchunked(data: bytes) -> bytes:
    """The same answer with its chunks joined to one, as different segments make different chunks."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if b"Transfer-Encoding: chunked" not in head:
        return data
    body = b""
    while (size := int(rest[: rest.index(b"\r\n")], 16)) > 0:
        start = rest.index(b"\r\n") + 2
        body += rest[start : start + size]
        assert rest[start + size : start + size + 2] == b"\r\n"
        rest = rest[start + size + 2 :]
    assert rest == b"0\r\n\r\n"
    return head + end + body


def without_own(data: bytes) -> bytes:
    """The client's bytes without the gateway's own line, which must be there once."""
    assert data.count(OWN) == 1
    return data.replace(OWN, b"")


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_what_passes(row: Row) -> None:
    """A client would get something else than what the upstream answered, or not know where it ends."""
    answer, out = read(row.upstream, row.asked, step=len(row.upstream), by_close=row.by_close)

    expected = row.client if not row.by_close else unchunked(row.client)
    assert (without_own(out) if not row.by_close else unchunked(without_own(out))) == expected
    assert answer.complete
    assert (answer.reusable, answer.keep_alive) == (row.reusable, row.keep_alive)
    assert answer.body_bytes == len(unchunked(row.client).partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("step", [1, 2, 3, 7])
@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_what_passes_in_pieces(row: Row, step: int) -> None:
    """An answer would be read differently when the network happens to cut it differently."""
    answer, out = read(row.upstream, row.asked, step=step, by_close=row.by_close)

    assert unchunked(without_own(out)) == unchunked(row.client)
    assert answer.complete
    assert answer.keep_alive == row.keep_alive


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("step", [1, 2, 1 << 20], ids=["bytewise", "in twos", "at once"])
def test_what_is_malformed(data: bytes, step: int) -> None:
    """Two readers could take the answer for different things, and the next client get another's data."""
    with pytest.raises(Malformed):
        read(data, {}, step=step)


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_nothing_of_a_malformed_head_is_given_out(data: bytes) -> None:
    """The client would have got half an answer when the gateway finds that it must refuse it."""
    answer = Answer(LIMIT)
    head_ends = data.find(b"\r\n\r\n") + 4
    given = b""
    with pytest.raises(Malformed):
        for at in range(len(data)):
            given += answer.feed(data[at : at + 1])

    assert given == b"" or data.startswith(CHUNKED[:head_ends])


@pytest.mark.parametrize("coding", ["gzip", "chunked, gzip"])
@pytest.mark.parametrize("asked", [HEAD, {}], ids=["HEAD", "POST"])
@pytest.mark.parametrize("status", ["200 OK", "204 No Content", "304 Not Modified"])
def test_an_unknown_coding_is_malformed_even_without_a_body(coding: str, asked: dict[str, Any], status: str) -> None:
    """An upstream that frames in ways the gateway does not know would be trusted with the next request."""
    with pytest.raises(Malformed):
        read(lines(f"HTTP/1.1 {status}", f"Transfer-Encoding: {coding}"), asked, step=1 << 20)


@pytest.mark.parametrize(("answer_bytes", "more"), [row[1:] for row in SURPLUS], ids=[row[0] for row in SURPLUS])
def test_what_follows_an_answer_spoils_the_connection(answer_bytes: bytes, more: bytes) -> None:
    """A smuggled answer would be given to the next client."""
    alone, expected = read(answer_bytes, {}, step=1 << 20)
    followed, out = read(answer_bytes + more, {}, step=1 << 20)

    assert out == expected
    assert b"bad" not in out
    assert alone.complete
    assert followed.complete
    assert not followed.reusable


def test_one_connection_reads_many_answers() -> None:
    """Something of an answer would be left for the next client's."""
    answer = Answer(LIMIT)
    rows = [row for row in ROWS if row.reusable]
    for row in rows * 2:
        answer.expect(OWN, **{"http10": False, "keep_alive": True, "head_request": False, **row.asked})
        assert answer.status == 0

        assert without_own(answer.feed(row.upstream)) == row.client
        assert answer.reusable


@pytest.mark.parametrize("octet", range(256))
def test_octets_in_header_values(octet: int) -> None:
    """A control character would end a header early for a reader behind the gateway, and begin another."""
    data = b"HTTP/1.1 200 OK\r\nX: a" + bytes([octet]) + b"b\r\nContent-Length: 0\r\n\r\n"

    if octet == 9 or (octet >= 32 and octet != 127):
        assert b"\r\nX: a" + bytes([octet]) + b"b\r\n" in read(data, {}, step=1 << 20)[1]
    else:
        with pytest.raises(Malformed):
            read(data, {}, step=1 << 20)


@pytest.mark.parametrize("octet", range(256))
def test_octets_in_header_names(octet: int) -> None:
    """A name that is none would be taken for another header by a reader behind the gateway."""
    token = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    data = b"HTTP/1.1 200 OK\r\nX" + bytes([octet]) + b"Y: a\r\nContent-Length: 0\r\n\r\n"

    if octet in token:
        assert b"\r\nX" + bytes([octet]) + b"Y: a\r\n" in read(data, {}, step=1 << 20)[1]
    elif octet == ord(":"):
        assert b"\r\nX:Y: a\r\n" in read(data, {}, step=1 << 20)[1]
    else:
        with pytest.raises(Malformed):
            read(data, {}, step=1 << 20)


def head_of(size: int) -> bytes:
    """An answer whose head has this size."""
    start = b"HTTP/1.1 204 No Content\r\nX: "
    return start + b"a" * (size - len(start) - 4) + b"\r\n\r\n"


@pytest.mark.parametrize("step", [1_000, 1 << 20])
def test_heads_have_a_limit(step: int) -> None:
    """An upstream could fill the gateway's memory with a head that never ends."""
    assert read(head_of(LIMIT), {}, step=step)[0].complete
    with pytest.raises(Malformed):
        read(head_of(LIMIT + 1), {}, step=step)
    with pytest.raises(Malformed):
        read(head_of(LIMIT + 5)[:-4], {}, step=step)


def test_interim_answers_count_towards_the_limit() -> None:
    """An upstream could keep the gateway busy for ever with answers that are none."""
    interim = lines("HTTP/1.1 102 Processing")
    final = lines("HTTP/1.1 204 No Content")
    allowed = (LIMIT - len(final)) // len(interim)

    assert read(interim * allowed + final, {}, step=1 << 20)[0].complete
    with pytest.raises(Malformed):
        read(interim * (allowed + 1) + final, {}, step=1 << 20)


@pytest.mark.parametrize(
    "endless",
    [b"0" * 100_000, b"1;" + b"a" * 100_000, b"0\r\nX: " + b"a" * 100_000, b"0\r\n" + b"X: a\r\n" * 20_000],
    ids=["zeros", "an extension", "a trailer", "trailers"],
)
def test_what_stands_between_chunks_has_a_limit(endless: bytes) -> None:
    """An upstream could fill the gateway's memory with trailers, or talk for ever without saying anything."""
    with pytest.raises(Malformed):
        read(CHUNKED + endless, {}, step=1_000)


def test_chunk_lines_do_not_add_up_to_the_limit() -> None:
    """A long answer would be cut because its chunk sizes came in segments of their own."""
    answer, _ = read(CHUNKED, {}, step=1 << 20)
    for _ in range(LIMIT // 4):
        answer.feed(b"1;a=b\r\n")
        answer.feed(b"x\r\n")

    assert answer.feed(b"0\r\n\r\n")
    assert answer.body_bytes == LIMIT // 4


def test_a_client_told_to_go_is_told_in_the_head() -> None:
    """A connection would be closed on a client that was promised it could go on."""
    answer = Answer(LIMIT)
    answer.expect(OWN, http10=False, keep_alive=True, head_request=False)
    answer.keep_alive = False

    assert b"\r\nConnection: close\r\n" in answer.feed(lines(OK, "Content-Length: 0"))


def test_what_is_remembered_of_headers_is_bounded() -> None:
    """An upstream that says something new each time would fill the gateway's memory."""
    for number in range(2_000):
        assert header_of(b"X-%d: a" % number) == (Kind.PASS, b"a")
        header_of(b"X-%d: %s" % (number, b"a" * 200))

        assert len(answer_head.remembered) <= 512
    assert max(map(len, answer_head.remembered)) <= 128


PIECES = [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 C\r\n", b"Content-Length: 2\r\n", b"Transfer-Encoding: chunked\r\n",
          b"Connection: close\r\n", b"X: y\r\n", b"\r\n", b"2\r\nab\r\n", b"0\r\n\r\n", b"ab", b"\n", b"\0", b" "]  # fmt: skip


@given(pieces=st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=12), cuts=st.lists(st.integers(1, 20)))
def test_whatever_an_upstream_sends_is_an_answer_or_malformed(pieces: list[bytes], cuts: list[int]) -> None:
    """An upstream could crash an exchange, or have two answers given out for one request."""
    data = b"".join(pieces)
    answer = Answer(LIMIT)
    answer.expect(OWN, http10=False, keep_alive=True, head_request=False)
    out = b""
    try:
        for cut in [*cuts, len(data)]:
            if data and not answer.complete:
                out += answer.feed(data[:cut])
            data = data[cut:]
    except Malformed:
        pass

    assert out == b"" or (out.startswith(b"HTTP/1.1 200 OK\r\n") and out.count(OWN) == 1)
