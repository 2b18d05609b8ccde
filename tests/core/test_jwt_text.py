"""The text of a JWT is read strictly, and nothing in it chooses how it is checked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.credential import MAX_TOKEN, bearer
from gateway.core.decision import Refused
from gateway.core.jwt_text import MAX_JWT, Jwt, is_jwt, json_object, read_jwt, unpadded
from gateway.core.records import Fault
from tests.support.jwts import assembled, b64, claims, token
from tests.support.vectors import rows

NOW = 1_000_000


def test_a_jwt_is_read_as_it_says() -> None:
    """A token would be checked with another issuer's key, or by what somebody else claimed."""
    said = claims(NOW)
    text = token(said, by="ed").encode()
    signed, _, signature = text.rpartition(b".")
    assert read_jwt(text) == Jwt(signed, unpadded(signature), "EdDSA", "ed", said["iss"], said)
    assert "someone" not in repr(read_jwt(text))


@pytest.mark.parametrize(
    ("head", "fault"),
    [
        ('{"alg":"RS256","kid":"a","crit":["exp"]}', Fault.HEADER),
        ('{"alg":"RS256","kid":"a","b64":true}', Fault.HEADER),
        ('{"alg":"RS256","kid":"a","typ":"dpop+jwt"}', Fault.HEADER),
        ('{"alg":"RS256","kid":"a","typ":null}', Fault.HEADER),
        ('{"alg":"none","kid":"a"}', Fault.ALGORITHM),
        ('{"alg":"HS256","kid":"a"}', Fault.ALGORITHM),
        ('{"kid":"a"}', Fault.ALGORITHM),
        ('{"alg":["RS256"],"kid":"a"}', Fault.ALGORITHM),
        ('{"alg":"RS256"}', Fault.ISSUER_KEY),
        ('{"alg":"RS256","kid":""}', Fault.ISSUER_KEY),
        ('{"alg":"RS256","kid":{}}', Fault.ISSUER_KEY),
        ('{"alg":"RS256","alg":"RS256","kid":"a"}', Fault.MALFORMED),
        ('["RS256"]', Fault.MALFORMED),
        ("", Fault.MALFORMED),
    ],
)
def test_headers_that_are_not_taken(head: str, fault: Fault) -> None:
    """A token could say that no signature is needed, or which of the rules of another kind of token are for it."""
    assert read_jwt(assembled(head, '{"iss":"i"}').encode()) is fault


@pytest.mark.parametrize("said", ['{"iss":1}', '{"iss":""}', "{}", '{"iss":"%s"}' % ("i" * 257)])
def test_somebody_must_have_issued_it(said: str) -> None:
    """A name that is no name would be looked for among the issuers."""
    assert read_jwt(assembled('{"alg":"RS256","kid":"a"}', said).encode()) is Fault.ISSUER


@pytest.mark.parametrize("length", [MAX_TOKEN, MAX_TOKEN + 1, MAX_JWT])
def test_a_long_token_is_read_only_with_the_shape_of_a_jwt(length: int) -> None:
    """A stranger could have us hash whatever fits into a header although no token can look like it."""
    text = b"e30.e30." + b"A" * (length - 8)
    assert bearer([b"Bearer " + text], jwts=True) == text
    for longer in (b"Bearer " + text + b"A" * MAX_JWT, b"Bearer " + b"A" * (MAX_TOKEN + 1), b"Bearer a." + text):
        with pytest.raises(Refused):
            bearer([longer], jwts=True)
    assert read_jwt(text + b"A" * MAX_JWT) is Fault.MALFORMED


def test_no_token_of_ours_has_the_shape_of_a_jwt() -> None:
    """An API key would be taken for another issuer's token, or the other way round."""
    ours = [
        row["headers"][0].partition(" ")[2]
        for row in rows("credential.yaml")
        if "headers" in row and "id" in row["expect"]
    ]
    assert not any(is_jwt(text.encode()) for text in ours if text)


@given(st.binary(max_size=40))
def test_bytes_have_one_text(data: bytes) -> None:
    """One token could be written in two ways, and be remembered or revoked under one of them only."""
    text = b64(data).encode()
    assert unpadded(text) == data
    for other in (text + b"=", text + b"A" if len(text) % 4 == 0 else text + b"==", text + b" ", b"\n" + text):
        with pytest.raises(ValueError, match=r"."):
            unpadded(other)


@given(st.text(alphabet="Aa0-_+/=.", max_size=12))
def test_texts_that_mean_bytes_mean_them_alone(text: str) -> None:
    """As above, the other way round."""
    try:
        data = unpadded(text.encode())
    except ValueError:
        return
    assert b64(data) == text


@given(st.binary(max_size=60) | st.from_regex(rb"[A-Za-z0-9_-]{0,30}\.[A-Za-z0-9_-]{0,30}\.[A-Za-z0-9_-]{0,9}"))
def test_reading_never_raises(data: bytes) -> None:
    """Some token would end a request with 500 and a stack trace."""
    assert isinstance(read_jwt(data), Fault)


@pytest.mark.parametrize("text", [b"", b"[]", b'"a"', b"{", b'{"a":1}x', b'{"a":1,"a":1}', b'{"a":NaN}', b"\xff"])
def test_what_is_no_object_is_refused_without_a_word_of_it(text: bytes) -> None:
    """Two readers would read two things out of one text, or an error would quote what is in a token."""
    with pytest.raises(ValueError, match=r"\Anot one JSON object that every parser reads alike\Z"):
        json_object(text)
