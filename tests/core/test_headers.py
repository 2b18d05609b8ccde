"""Headers as tables: what crosses, what is read, what is refused, and what the upstream is told."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.decision import Reason, Refused
from gateway.core.headers import (
    ALLOWED,
    HeaderRules,
    Inbound,
    Media,
    accepted,
    check_framing,
    check_host,
    check_json,
    check_plain,
    declared_length,
    expects_continue,
    expiry_line,
    identity_lines,
    request_id,
)
from gateway.core.principal import KeyPrincipal
from tests.support.vectors import NEVER, OWN_APP, OWN_USER, user

_WHO = ("Principal", "App", "Key", "User", "Scopes", "Region")
IDENTITY = tuple(f"X-Gateway-{who}" for who in _WHO)


def inbound(*lines: str, rules: HeaderRules | None = None) -> Inbound:
    """The headers of a request, sorted."""
    pairs = (line.encode("latin-1").split(b": ", 1) for line in lines)
    return (rules or HeaderRules()).sort((name, value) for name, value in pairs)


# What crosses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*ALLOWED, *(name.title() for name in ALLOWED), *(name.upper() for name in ALLOWED)])
def test_what_crosses(name: str) -> None:
    """The upstream does not get a header that it needs."""
    assert inbound(f"{name}: some value").forwarded_lines == [f"{name}: some value\r\n".encode()]


@pytest.mark.parametrize(
    "name",
    [
        *IDENTITY,
        *(name.lower() for name in IDENTITY),
        *(name.replace("-", "_") for name in IDENTITY),
        *(name.replace("X-", "X_").upper() for name in IDENTITY),
        *("X-Gateway-Principal ", "X-Gateway-Principal\x00", "X-Gateway-Anything", "X-Gateway"),
        *("User_Agent", "Content_Type", "ACCEPT_ENCODING", "Accept-", "Accept\x00", "\xe1ccept"),
        *("Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "Host", "X-Request-Id", "Forwarded", "Via"),
        *("Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length", "Expect"),
        *("X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "X-HTTP-Method-Override", "X-Original-URL", ""),
        *("Content-Encoding", "X-Mock-Status", "Range", "If-None-Match", "Origin", "Referer"),
    ],
)
def test_what_stays_here(name: str) -> None:
    """A client tells the upstream who it is, or something else that is not for it to say."""
    assert inbound(f"{name}: some value").forwarded_lines == []


def test_settings_extend_the_list() -> None:
    """A header that the operator lets cross does not, or lets others cross that look like it."""
    rules = HeaderRules(["X-Trace", "x-other"])
    headers = inbound("x-trace: 1", "X-TRACE: 2", "X-Other: 3", "X_Trace: 4", "X-Trace2: 5", rules=rules)

    assert headers.forwarded_lines == [b"x-trace: 1\r\n", b"X-TRACE: 2\r\n", b"X-Other: 3\r\n"]


def test_settings_name_what_is_read() -> None:
    """A header that the gateway is set to read is not found."""
    assert inbound("X-Own: 1", rules=HeaderRules(read=["x-own"])).one(b"x-own") == b"1"
    assert inbound("X-Own: 1").one(b"x-own") is None


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=20)
            | st.sampled_from([*ALLOWED, *IDENTITY, "host", "expect", "Transfer-Encoding", "authorization"]),
            st.binary(max_size=10),
        ),
        max_size=12,
    )
)
def test_nothing_else_crosses(pairs: list[tuple[str, bytes]]) -> None:
    """Some spelling of a name crosses that is on no list, or a value is changed on its way."""
    raw = [(name.encode("latin-1"), value) for name, value in pairs]
    rules = HeaderRules()

    for _ in range(2):  # the second time by what is remembered
        headers = rules.sort(raw)
        expected = [(name, value) for name, value in raw if name.lower().decode("latin-1") in ALLOWED]
        assert headers.forwarded_lines == [name + b": " + value + b"\r\n" for name, value in expected]
        for name, _value in raw:
            everyone = [value for other, value in raw if other.lower() == name.lower()]
            assert headers.all(name.lower()) in ([], everyone)


def test_invented_names_are_forgotten() -> None:
    """A client that sends a new header name with each request makes the gateway's memory grow without end."""
    rules = HeaderRules()
    for number in range(2_000):
        rules.sort([(b"X-%d" % number, b"1")])

    assert len(rules._kinds) <= 512  # noqa: SLF001  how much is remembered cannot be seen from outside
    assert inbound("Accept: a", rules=rules).forwarded_lines == [b"Accept: a\r\n"]


# What is read ---------------------------------------------------------------------------------------------------------


def test_repeated_headers() -> None:
    """The first of two values is judged, and another server reads the second."""
    headers = inbound("Host: a", "Authorization: 1", "AUTHORIZATION: 2", "authorization: 3")

    assert headers.all(b"authorization") == [b"1", b"2", b"3"]
    assert headers.all(b"host") == [b"a"]
    assert headers.all(b"expect") == []
    assert headers.one(b"host") == b"a"
    assert headers.one(b"expect") is None
    with pytest.raises(Refused) as caught:
        headers.one(b"authorization")
    assert caught.value.deny.findings[0].reason is Reason.REQUEST_MALFORMED


@pytest.mark.parametrize(
    ("lines", "rare"),
    [
        (["Host: a", "Accept: b", "Content-Type: c", "Cookie: d", "Cookie: e"], False),
        (["Host: a", "Host: a"], True),
        (["Expect: a"], True),
        (["transfer-encoding: chunked"], True),
        (["Content-Encoding: gzip"], True),
        (["X-Request-ID: a"], True),
        ([], False),
    ],
)
def test_what_needs_a_closer_look(lines: list[str], rare: bool) -> None:
    """The short way is taken by a request that has something to be checked."""
    assert inbound(*lines).rare is rare


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["X-Request-Id: abc-DEF_1.2~3"], b"abc-DEF_1.2~3"),
        ([f"X-Request-Id: {'g' * 128}"], b"g" * 128),
        ([f"X-Request-Id: {'a' * 128}"], None),  # an authentication code
        (["X-Request-Id: eyJhbGciOiJFUzI1NiJ9.e30.c2ln"], None),
        (["X-Request-Id: gwk_0123456789abcdef.AAAAAAAAAAAA"], None),
        ([f"X-Request-Id: {'a' * 129}"], None),
        (["X-Request-Id: a b"], None),
        (["X-Request-Id: a\xe9"], None),
        (["X-Request-Id: "], None),
        (["X-Request-Id: a", "X-Request-Id: a"], None),
        ([], None),
    ],
)
def test_request_ids(lines: list[str], expected: bytes | None) -> None:
    """A client writes into logs what it likes, or cannot have its own id there."""
    assert request_id(inbound(*lines)) == expected


TWO = (["chunked", "chunked"], ["gzip", "chunked"], ["chunked", "identity"])
ODD = ("gzip, chunked", ",chunked", "chunked,", "identity", "xchunked", "chunked;a=b", "chunked ", "")


@pytest.mark.parametrize("codings", [*TWO, *([coding] for coding in ODD)])
def test_framing(codings: list[str]) -> None:
    """Two servers see the end of a body at different places, and what is left is read as another request."""
    headers = inbound(*(f"Transfer-Encoding: {coding}" for coding in codings))

    assert _refused(lambda: check_framing(headers, http10=False)) == "request_malformed"
    assert _refused(lambda: check_framing(headers, http10=True)) == "request_malformed"


@pytest.mark.parametrize("lines", [[], ["Transfer-Encoding: chunked"], ["transfer-encoding: Chunked"]])
def test_plain_framing(lines: list[str]) -> None:
    """A client of HTTP/1.1 cannot send a body in chunks, or one of HTTP/1.0 can."""
    assert _refused(lambda: check_framing(inbound(*lines), http10=False)) is None
    assert _refused(lambda: check_framing(inbound(*lines), http10=True)) == ("request_malformed" if lines else None)


@pytest.mark.parametrize("host", ["api.example.com", "API.example.com:8080", "127.0.0.1", "[::1]:80", "a_b", "a"])
def test_hosts(host: str) -> None:
    """A client is refused for the name by which it reaches the gateway."""
    assert _refused(lambda: check_host(inbound(f"Host: {host}"))) is None
    assert _refused(lambda: check_host(inbound())) is None


@pytest.mark.parametrize(
    "host",
    [
        *("", " ", "a b", "a@b:99", "a:b", "a:", "a:123456", "a/b", "a,b", "a?b", "a#b", "-a", ".a"),
        *("[::1", "[::1]]", "[]", "::1", "\xe9", "a\x00", "http://a", "a\\b"),
    ],
)
def test_what_is_no_host(host: str) -> None:
    """What stands in Host reaches an upstream or a log that reads it as something else."""
    assert _refused(lambda: check_host(inbound(f"Host: {host}"))) == "request_malformed"


@pytest.mark.parametrize("other", ["Host: a", "host: b"])
def test_two_hosts(other: str) -> None:
    """One of two hosts is judged, and another server goes by the other."""
    assert _refused(lambda: check_host(inbound("Host: a", other))) == "request_malformed"


@pytest.mark.parametrize(
    ("lines", "http10", "expected"),
    [
        ([], False, False),
        (["Expect: 100-continue"], False, True),
        (["Expect: 100-Continue"], False, True),
        (["Expect: 100-continue"], True, False),
        (["Expect: something"], True, False),
        (["Expect: something"], False, "expectation_failed"),
        (["Expect: "], False, "expectation_failed"),
        (["Expect: 100-continue, 100-continue"], False, "expectation_failed"),
        (["Expect: 100-continue", "Expect: 100-continue"], False, "expectation_failed"),
    ],
)
def test_expectations(lines: list[str], http10: bool, expected: bool | str) -> None:
    """A client waits for a word that never comes, or is promised what nobody keeps."""
    got: list[bool] = []

    refused = _refused(lambda: got.append(expects_continue(inbound(*lines), http10=http10)))

    assert (refused or got[0]) == expected


JSON_TYPES = [
    "application/json",
    "Application/JSON",
    "application/json;charset=utf-8",
    'application/json; charset="utf-8"',
]
OTHER_TYPES = [
    *("", "json", "text/plain", "multipart/form-data", "application/graphql", "application/jsonx", "application/json,"),
    *('application/json; charset="utf-8', "application/json; charset=utf-16", "application/json; boundary=x"),
    *("application/json; charset=utf-8; charset=utf-16", "application/json, text/plain"),
]


@pytest.mark.parametrize("value", [*JSON_TYPES, "application/json ; charset = UTF-8 "])
def test_json_bodies(value: str) -> None:
    """A client that says it sends JSON is refused."""
    assert _refused(lambda: check_json(inbound(f"Content-Type: {value}"))) is None


@pytest.mark.parametrize("value", OTHER_TYPES)
def test_other_bodies(value: str) -> None:
    """A body is judged as JSON that the upstream reads as something else."""
    assert _refused(lambda: check_json(inbound(f"Content-Type: {value}"))) == "unsupported_media_type"
    assert _refused(lambda: check_json(inbound())) == "unsupported_media_type"


@pytest.mark.parametrize("coding", ["gzip", "identity", ""])
def test_coded_bodies(coding: str) -> None:
    """A compressed body is judged by what it looks like, and unpacked by the upstream."""
    lines = ("Content-Type: application/json", f"Content-Encoding: {coding}")

    assert _refused(lambda: check_json(inbound(*lines))) == "unsupported_media_type"


def test_two_content_types() -> None:
    """A body is judged by one of its types, and read by the other."""
    twice = ("Content-Type: application/json", "Content-Type: application/json")

    assert _refused(lambda: check_json(inbound(*twice))) == "request_malformed"
    assert _refused(lambda: check_plain(inbound(*twice))) is None
    assert _refused(lambda: check_plain(inbound("Content-Encoding: br"))) == "unsupported_media_type"


@pytest.mark.parametrize(("lines", "length"), [([], 0), (["Content-Length: 0"], 0), (["content-length: 17"], 17)])
def test_lengths(lines: list[str], length: int) -> None:
    """A body that is too large is read before it is refused."""
    assert declared_length(inbound(*lines)) == length


def _refused(check: Callable[[], object]) -> str | None:
    try:
        check()
    except Refused as refused:
        return refused.deny.findings[0].reason.value
    return None


# Accept ---------------------------------------------------------------------------------------------------------------

JSON, GRAPHQL = Media


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], JSON),
        ([""], JSON),
        ([" , ,"], JSON),
        (["*/*"], JSON),
        (["application/*"], JSON),
        (["application/json"], JSON),
        (["APPLICATION/JSON"], JSON),
        (["application/graphql-response+json"], GRAPHQL),
        (["application/graphql-response+json, application/json"], GRAPHQL),
        (["application/json, application/graphql-response+json"], JSON),
        (["application/graphql-response+json", "application/json"], GRAPHQL),
        (["application/graphql-response+json;q=0.9, application/json"], JSON),
        (["application/json;q=0.5, application/graphql-response+json;q=0.6"], GRAPHQL),
        (["application/graphql-response+json; charset=utf-8, application/json; charset=utf-8"], GRAPHQL),
        (['application/json; charset="UTF-8"'], JSON),
        (["application/json; charset=utf-16"], None),
        (["application/json; charset=utf-16, application/json"], JSON),
        (["application/json;q=0"], None),
        (["application/json;q=0, */*"], GRAPHQL),
        (["application/json;q=0.1, */*;q=0.5"], GRAPHQL),
        (["*/*;q=0"], None),
        (["*/*;q=0, application/json;q=0.001"], JSON),
        (["application/*;q=0, */*"], None),
        (["text/html"], None),
        (["text/html, */*;q=0.1"], JSON),
        (["text/*"], None),
        (["application/xml;q=1.0, application/graphql-response+json;q=0.1"], GRAPHQL),
        (["application/json;q=nonsense"], JSON),
        (["application/json;q=2"], JSON),
        (["application/json ; profile=x ; q = 0.000"], None),
        (["application/json;"], JSON),
        (["json"], None),
        (["\xff\xfe"], None),
    ],
)
def test_the_type_of_the_answer(values: list[str], expected: Media | None) -> None:
    """A client is answered in a type that it does not read, or gets an error instead of one that it does."""
    assert accepted(value.encode("latin-1") for value in values) is expected


_RANGE = st.tuples(
    st.sampled_from([*Media, "application/*", "*/*", "text/html"]),
    st.sampled_from(["", ";q=0", ";q=0.5", ";q=1", ";q=0.250"]),
)


@given(st.lists(_RANGE, min_size=1, max_size=5, unique_by=lambda item: item[0]))
def test_nothing_better_is_passed_over(ranges: list[tuple[str, str]]) -> None:
    """A client is answered in a type that it likes less than the other."""
    qualities = {name: float(quality[3:] or 1) for name, quality in ranges}

    def liked(media: Media) -> float:
        matching = [name for name in (media.value, "application/*", "*/*") if name in qualities]
        return qualities[matching[0]] if matching else 0.0

    chosen = accepted([",".join(name + quality for name, quality in ranges).encode()])

    assert (liked(chosen) if chosen else 0.0) == max(map(liked, Media))


# Who calls ------------------------------------------------------------------------------------------------------------


def test_identity_of_a_key() -> None:
    """The upstream takes an API key for another one, or for one with other scopes."""
    principal = KeyPrincipal("0123456789abcdef", OWN_APP, "eu", frozenset({"USER_READ", "OFFLOADS_READ"}), NEVER)

    assert identity_lines(principal).decode().split("\r\n") == [
        "X-Gateway-Principal: key",
        f"X-Gateway-App: {OWN_APP}",
        "X-Gateway-Key: 0123456789abcdef",
        "X-Gateway-Scopes: OFFLOADS_READ USER_READ",
        "X-Gateway-Region: eu",
        "",
    ]


def test_identity_of_a_user() -> None:
    """The upstream takes a user for another one."""
    assert identity_lines(user(OWN_USER)).decode().split("\r\n") == [
        "X-Gateway-Principal: user",
        f"X-Gateway-App: {OWN_APP}",
        f"X-Gateway-User: {OWN_USER}",
        "X-Gateway-Region: eu",
        "",
    ]


def test_identity_of_nobody() -> None:
    """On an open route the upstream takes nobody for somebody."""
    assert identity_lines(None) == b"X-Gateway-Principal: none\r\n"


END = 1_800_000_000_000
FORTNIGHT = 14 * 86_400_000


@pytest.mark.parametrize(
    ("left", "told"), [(FORTNIGHT + 1, False), (FORTNIGHT, True), (1, True), (366 * 86_400_000, False)]
)
def test_a_key_in_its_last_days_is_told(left: int, told: bool) -> None:
    """The client of a key learns of its end by being refused."""
    key = KeyPrincipal("0123456789abcdef", OWN_APP, "eu", frozenset(), END)

    line = expiry_line(key, END - left)

    assert line == (b"X-Gateway-Key-Expires: 2027-01-15T08:00:00.000Z\r\n" if told else b"")


def test_user_tokens_are_told_of_no_end() -> None:
    """A device, whose tokens live a week, is told of an end with every answer."""
    assert expiry_line(user(OWN_USER), NEVER - 1) == b""


def test_long_names_are_not_remembered() -> None:
    """A stranger fills the memory with names of thousands of bytes."""
    rules = HeaderRules()
    name = b"X-" + b"a" * 5_000

    for _ in range(2):
        assert rules.sort([(name, b"1"), (b"Host", b"a")]).first == {b"host": b"a"}
    remembered = rules._kinds  # noqa: SLF001 - what it holds is the promise
    assert name not in remembered
    assert b"Host" in remembered
