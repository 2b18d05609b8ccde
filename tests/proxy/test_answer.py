"""What of an upstream's answer passes, how it is framed for the client, and what is malformed: tables of bytes."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy import answer_head
from gateway.proxy.answer import Answer
from gateway.proxy.answer_head import Kind, Malformed, header_of
from tests.support.answers import CHUNKED, HEAD, MALFORMED, OK, ROWS, SURPLUS, Row, lines

LIMIT = 65_536
OWN = b"X-Request-Id: r1\r\n"


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
    given = b""
    with suppress(Malformed):
        for at in range(len(data)):
            given += answer.feed(data[at : at + 1])

    assert given == b"" or data.startswith(CHUNKED)  # where the chunks are what is malformed


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


PIECES = (
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 C\r\n", b"Content-Length: 2\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Connection: close\r\n", b"X: y\r\n", b"\r\n", b"2\r\nab\r\n", b"0\r\n\r\n", b"ab", b"\n", b"\0", b" "),
)


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
