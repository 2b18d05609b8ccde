"""Tokens in bytes of any kind."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.token import BASE62, mint
from gateway.core.traces import LEGACY, MARGIN, Shapes, Trace

PREFIXES = {"gwk": "key", "gwu": "user_token", "gwd": "developer_token"}
SHAPES = Shapes(PREFIXES)
TOKENS = st.builds(
    lambda prefix, identifier, secret: mint(prefix, identifier, secret).reveal().encode(),
    st.sampled_from(sorted(PREFIXES)),
    st.binary(min_size=8, max_size=8),
    st.binary(min_size=48, max_size=48),
)
AROUND = st.one_of(st.binary(max_size=200), TOKENS.flatmap(lambda token: st.integers(0, 70).map(lambda at: token[:at])))


def found(data: bytes, shapes: Shapes = SHAPES) -> list[Trace]:
    """All that is found."""
    return sorted(shapes.find(data, 0, len(data)))


@given(AROUND, TOKENS, AROUND)
def test_a_token_is_found_wherever_it_stands(before: bytes, token: bytes, after: bytes) -> None:
    """A token would stay where it leaked because of what stands beside it."""
    here = [trace for trace in found(before + token + after) if trace.start == len(before)]
    assert here == [Trace(len(before), PREFIXES[token[:3].decode()], token[4:20].decode())]


@given(TOKENS, st.data())
def test_a_damaged_token_is_none(token: bytes, data: st.DataObject) -> None:
    """Rubbish that looks like a token would be reported, and people cease to look."""
    at = data.draw(st.integers(0, len(token) - 1))
    sign = data.draw(st.sampled_from(f"{BASE62}._-\n").filter(lambda other: ord(other) != token[at]))
    assert found(token[:at] + sign.encode() + token[at + 1 :]) == []


@given(TOKENS, TOKENS)
def test_tokens_side_by_side(one: bytes, other: bytes) -> None:
    """Of two tokens without anything between, one would be overlooked."""
    assert [trace.start for trace in found(one + other)] == [0, len(one)]


@given(st.binary(max_size=300), TOKENS, st.binary(max_size=300), st.integers(0, 600))
def test_each_token_belongs_to_one_block(before: bytes, token: bytes, after: bytes, cut: int) -> None:
    """A token on the border of two blocks would be overlooked, or told twice."""
    data = before + token + after
    cut = min(cut, len(data))
    first = [*SHAPES.find(data[: cut + MARGIN], 0, cut)]
    back = min(cut, MARGIN)
    second = [
        trace._replace(start=trace.start + cut - back)
        for trace in SHAPES.find(data[cut - back :], back, len(data) - cut + back)
    ]
    assert sorted([*first, *second]) == found(data)


LEGACIES = st.builds(
    lambda token_id, secret: f"{token_id}.{secret}".encode(),
    st.text("0123456789abcdef", min_size=15, max_size=15),
    st.text(BASE62, min_size=48, max_size=48),
)


@given(LEGACIES, st.sampled_from([b"", b" ", b'"', b"=", b"\n", b"_", b"\x00", b"\xff"]), st.integers(0, 200))
def test_the_older_shape_is_found_when_it_is_asked_for(token: bytes, around: bytes, cut: int) -> None:
    """A key of the vendor's would be overlooked, or told where nobody asked for what proves nothing."""
    data = around + token + around
    assert found(data) == []
    shapes = Shapes({}, legacy=True)
    expected = [Trace(len(around), LEGACY, token[:15].decode())]
    assert found(data, shapes) == expected
    cut = min(cut, len(data))
    assert [*shapes.find(data, 0, cut), *shapes.find(data, cut, len(data))] == expected


@given(LEGACIES, st.sampled_from("0aZ"))
def test_the_older_shape_is_a_whole_word(token: bytes, more: str) -> None:
    """A digest or a longer text would be taken for a key."""
    shapes = Shapes({}, legacy=True)
    assert found(more.encode() + token, shapes) == []
    assert found(token + more.encode(), shapes) == []
