"""Tokens are made and read as documented, and what was mistyped is refused without asking the store."""

import copy
import hashlib
import pickle
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.records import Fault
from gateway.core.token import BASE62, Kind, Prefixes, Secret, Token, mint, minted_id, parse_token, verifier

PREFIXES = Prefixes()
LEGACY = "e5c3b842231543f.mGCUhfi0uI4J13k010V49D2GaBZ3j1E708X4a4396XNx48X3"
IDENTIFIERS = st.binary(min_size=8, max_size=8)
SECRETS = st.binary(min_size=48, max_size=48)
TOKENS = st.builds(mint, st.sampled_from(["gwk", "gwu"]), IDENTIFIERS, SECRETS).map(Secret.reveal)
HEX = "0123456789abcdef"


def test_a_minted_token_is_written_as_documented() -> None:
    """Scanners and other programs that know the documented form would no longer recognise our tokens."""
    text = mint("gwk", bytes(range(8)), bytes(48)).reveal()
    before = "gwk_0001020304050607." + "0" * 42
    assert text[:-6] == before
    assert sum(BASE62.index(digit) * 62**place for place, digit in enumerate(reversed(text[-6:]))) == zlib.crc32(
        before.encode()
    )
    assert len(text) == len("gwk_") + 16 + 1 + 48


def test_the_largest_secret_fits() -> None:
    """A secret of large random numbers would make a token of another length, refused when presented."""
    text = mint("gwu", b"\xff" * 8, b"\xff" * 48).reveal()
    assert len(text) == 69
    assert isinstance(parse_token(text, PREFIXES), Token)


def test_the_secret_takes_all_of_its_random_bytes() -> None:
    """Tokens would hold less randomness than promised: equal secrets from different random bytes."""
    secrets = {mint("gwk", bytes(8), bytes(place) + b"\x01" + bytes(47 - place)).reveal() for place in range(48)}
    assert len(secrets) == 48


@pytest.mark.parametrize(("identifier", "secret"), [(7, 48), (9, 48), (8, 47), (8, 49), (0, 0)])
def test_minting_demands_its_bytes(identifier: int, secret: int) -> None:
    """A slip in the code would hand out tokens that are guessable or never accepted."""
    with pytest.raises(ValueError, match="8 identifier bytes and 48 secret bytes"):
        mint("gwk", bytes(identifier), bytes(secret))


@given(IDENTIFIERS, SECRETS, st.sampled_from([("gwk", Kind.KEY), ("gwu", Kind.USER_TOKEN)]), st.booleans())
def test_what_is_minted_is_read(identifier: bytes, secret: bytes, kind: tuple[str, Kind], as_text: bool) -> None:
    """A token that was handed out would be refused, or taken for the other kind."""
    text = mint(kind[0], identifier, secret).reveal()
    presented = text if as_text else text.encode()
    assert parse_token(presented, PREFIXES) == Token(kind[1], identifier.hex(), hashlib.sha256(text.encode()).digest())


@given(TOKENS, st.data())
def test_one_wrong_character_is_always_refused(token: str, data: st.DataObject) -> None:
    """A typing error would cost a look-up, or worse, mean another token: CRC-32 finds every burst up to 32 bits."""
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from(BASE62 + "-._~+/=").filter(lambda sign: sign != token[place]))
    assert isinstance(parse_token(token[:place] + other + token[place + 1 :], PREFIXES), Fault)


def test_every_single_change_of_a_token_is_refused() -> None:
    """As above, and without exception: each of the characters of one token, replaced by each other."""
    token = mint("gwk", bytes.fromhex("0123456789abcdef"), bytes(range(48))).reveal()
    changed = {token[:at] + sign + token[at + 1 :] for at in range(len(token)) for sign in BASE62} - {token}
    assert {parse_token(text, PREFIXES) for text in changed} == {Fault.MALFORMED, Fault.CHECK_DIGITS}


@given(TOKENS, st.data())
def test_swapped_neighbours_are_refused(token: str, data: st.DataObject) -> None:
    """The commonest slip of the hand would cost a look-up: two neighbours are a burst of 16 bits.

    The last secret character and the first check digit are left out: swapped, one in about 60 million passes.
    """
    place = data.draw(st.integers(0, len(token) - 2).filter(lambda place: place != len(token) - 7))
    swapped = token[:place] + token[place + 1] + token[place] + token[place + 2 :]
    if swapped != token:
        assert isinstance(parse_token(swapped, PREFIXES), Fault)


@given(st.text(alphabet=BASE62, min_size=48, max_size=48), st.text(alphabet=HEX, min_size=16, max_size=16))
def test_garbage_of_the_right_shape_is_refused(body: str, identifier: str) -> None:
    """A flood of made-up tokens would reach the store: one in four billion passes the check digits."""
    assert parse_token(f"gwk_{identifier}.{body}", PREFIXES) is Fault.CHECK_DIGITS


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        (LEGACY, "e5c3b842231543f"),
        ("01234567." + "a" * 16, "01234567"),
        ("f" * 64 + "." + "Z" * 256, "f" * 64),
    ],
)
def test_tokens_that_exist_elsewhere_are_read(text: str, identifier: str) -> None:
    """Clients that hold tokens from before the gateway would be turned away."""
    assert parse_token(text, PREFIXES) == Token(Kind.LEGACY, identifier, hashlib.sha256(text.encode()).digest())


MINTED = mint("gwk", bytes(8), bytes(48)).reveal()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gwk_",
        "_",
        "gwk",
        MINTED + "\n",
        MINTED + "0",
        MINTED[:-1],
        " " + MINTED,
        MINTED.upper(),
        MINTED.replace("gwk", "gwx"),
        MINTED.replace("gwk", "GWK"),
        MINTED.replace("_", "__"),
        MINTED.replace(".", "_"),
        MINTED.replace("0" * 16, "0" * 15 + "G"),
        MINTED.replace("0" * 16, "0" * 17),
        "_" + LEGACY,
        LEGACY + "\n",
        LEGACY + "=",
        LEGACY.replace("e5c3", "E5C3"),
        "0123456." + "a" * 16,
        "01234567." + "a" * 15,
        "f" * 65 + "." + "a" * 16,
        "01234567." + "a" * 257,
        "01234567" + "a" * 16,
        "01234567.aaaaaaaa.aaaaaaaa",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "gwk_\u0660123456789abcdef." + "0" * 48,
        "\u00e9",
        "\ud800",
    ],
)
def test_any_other_text_is_malformed(text: str) -> None:
    """What no issuer ever made would be looked up, or read in two ways."""
    assert parse_token(text, PREFIXES) is Fault.MALFORMED


@given(st.one_of(st.binary(max_size=400), st.text(max_size=400), st.from_regex(rb"gw[ku]_[0-9a-f]{16}\..{48}")))
def test_reading_never_raises(text: bytes | str) -> None:
    """Some byte in a header would end a request with 500 and a stack trace instead of a 401."""
    assert isinstance(parse_token(text, PREFIXES), Token | Fault)


def test_prefixes_are_a_setting() -> None:
    """An operator's own prefixes would not be accepted, or the default ones still would be."""
    own = Prefixes("acme", "acmeuser")
    assert isinstance(key := parse_token(mint("acme", bytes(8), bytes(48)).reveal(), own), Token)
    assert isinstance(user := parse_token(mint("acmeuser", bytes(8), bytes(48)).reveal(), own), Token)
    assert (key.kind, user.kind) == (Kind.KEY, Kind.USER_TOKEN)
    assert parse_token(MINTED, own) is Fault.MALFORMED


@pytest.mark.parametrize("prefix", ["", "gw_k", "1gw", "GWK", "gw-k", "g" * 17, "gwk\n", "g\u00e9"])
def test_odd_prefixes_are_refused(prefix: str) -> None:
    """A prefix from the settings would make tokens that the gateway itself cannot read."""
    with pytest.raises(ValueError, match="1 to 16 small letters"):
        Prefixes(key=prefix)
    with pytest.raises(ValueError, match="1 to 16 small letters"):
        Prefixes(user=prefix)


def test_one_prefix_for_both_kinds_is_refused() -> None:
    """A user token would pass for an API key."""
    with pytest.raises(ValueError, match="must differ"):
        Prefixes("gw", "gw")


def test_the_verifier_covers_the_whole_token() -> None:
    """Existing tokens' SHA-256 hashes, taken over the text as presented, would not match."""
    assert verifier(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_secret_does_not_show_itself() -> None:
    """A token would end in a log line, an error report or a cache by way of a careless format."""
    secret = Secret("opensesame")
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", repr([secret]), ascii(secret)]
    assert not any("opensesame" in text for text in shown)
    assert secret.reveal() == "opensesame"


@pytest.mark.parametrize("leak", [pickle.dumps, copy.copy, copy.deepcopy, vars])
def test_a_secret_is_not_taken_apart(leak: object) -> None:
    """A serialiser would write the token where nobody looks for it."""
    assert callable(leak)
    with pytest.raises(TypeError):
        leak(Secret("opensesame"))


def test_a_token_does_not_show_its_verifier() -> None:
    """A log line would hold what a stolen database is searched with."""
    token = parse_token(LEGACY, PREFIXES)
    assert isinstance(token, Token)
    assert repr(token.verifier) not in repr(token)
    assert "e5c3b842231543f" in repr(token)


def test_a_token_of_another_prefix_or_with_a_typing_error_has_no_id() -> None:
    """Somebody's token would be looked up as another kind's, or a mistyped one at all."""
    good = mint("gwd", bytes(8), bytes(48)).reveal().encode()

    assert minted_id(good, "gwd") == "0" * 16
    for text in (b"", b"gwd", b"gwd_", good[:-1], good + b"0", good.replace(b"gwd", b"gwo"), good[:-1] + b"!"):
        assert minted_id(text, "gwd") is None
    swapped = good[:-1] + (b"0" if good[-1:] != b"0" else b"1")
    assert minted_id(swapped, "gwd") is None
    assert minted_id(good, "gwo") is None
