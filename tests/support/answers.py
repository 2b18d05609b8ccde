"""Answers of upstreams as tables: what passes and how, what follows an answer that is whole, what is malformed."""

from dataclasses import dataclass, field
from typing import Any


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
    Row("hop by hop", lines(OK, "Keep-Alive: timeout=5", "Proxy-Authenticate: Basic", "Proxy-Connection: keep-alive",
        "TE: x", "Trailer: X-T", "Upgrade: websocket", "Connection: keep-alive", "Server: s", "Content-Length: 0"),
        lines(OK, "Server: s", "Content-Length: 0")),
    Row("named in Connection", lines(OK, "X-A: 1", "Connection: x-a , keep-alive,X-B", "x-b: 2", "X-C: 3",
        "Content-Length: 0"), lines(OK, "X-C: 3", "Content-Length: 0")),
    Row("the length named in Connection", lines(OK, "Connection: Content-Length", "Content-Length: 2") + b"ab",
        lines(OK, "Content-Length: 2") + b"ab"),
    Row("what the gateway says itself", lines(OK, "X-Request-ID: evil", "x_request_id: evil",
        "X-Gateway-Would-Refuse: evil", "X_Gateway-Would_Refuse: evil",
        "X-Gateway-Key-Expires: never", "x_gateway_key_expires: never", "Content-Length: 0"),
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
