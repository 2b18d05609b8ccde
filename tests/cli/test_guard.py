"""Tokens and passwords among the arguments, and what merely resembles them."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.guard import looks_like_token, refused_argument
from gateway.core.token import mint

MINTED = mint("gwk", bytes(8), bytes(48)).reveal()
LEGACY = "e5c3b842231543f.mGCUhfi0uI4J13k010V49D2GaBZ3j1E708X4a4396XNx48X3"
AROUND = ("{}", "--token={}", "--app={}", "Bearer {}", "Authorization: Bearer {}", "'{}'", " {}\n", '{{"t":"{}"}}')

letters = st.text(string.ascii_letters + string.digits, min_size=16, max_size=60)
minted = st.builds(
    mint,
    st.from_regex(r"[a-z][a-z0-9]{0,15}", fullmatch=True),
    st.binary(min_size=8, max_size=8),
    st.binary(min_size=48, max_size=48),
).map(lambda token: token.reveal())
legacy = st.builds(
    lambda key_id, secret: f"{key_id}.{secret}", st.from_regex(r"[0-9a-f]{8,64}", fullmatch=True), letters
)


@given(token=minted | legacy, around=st.sampled_from(AROUND))
def test_every_token_is_refused(token: str, around: str) -> None:
    """A token of some prefix or of the older shape would lie in the history of a shell, and nobody be told."""
    assert looks_like_token(around.format(token))
    told = refused_argument(["keys", "show", around.format(token)])
    assert told is not None
    assert token.partition(".")[2] not in told


@given(token=minted, around=st.sampled_from(AROUND))
def test_parts_and_encodings_of_a_token_are_refused(token: str, around: str) -> None:
    """What is left of a token that was cut short, its secret half or its form in a URL would be kept by the shell."""
    head, _, secret = token.partition(".")
    for typed in (f"{head}%2E{secret}", f"{head}%2e{secret}", f"{head}.{secret[:8]}", token.replace("_", "%5F")):
        assert looks_like_token(around.format(typed))
    kinds = any(map(str.islower, secret)), any(map(str.isupper, secret)), any(map(str.isdigit, secret))
    assert looks_like_token(around.format(secret)) == all(kinds)


@pytest.mark.parametrize("token", [MINTED, LEGACY, MINTED[:-20], f"x{LEGACY[1:]}".replace("x", "a")])
def test_the_sentence_helps(token: str) -> None:
    """Whoever typed a token would not learn that it is burnt, nor how it is done right."""
    told = refused_argument(["keys", "revoke", token]) or ""
    for part in ("list of processes", "history of the shell", "rotate", "standard input"):
        assert part in told


@pytest.mark.parametrize(
    "word",
    [
        "",
        "-",
        "keys",
        "--json",
        "demo",
        "0123456789abcdef",
        "gwk_0123456789abcdef",
        "5a93deb3d8e7d90600001e6f",
        "abcdef12.json",
        "20261124.jsonl",
        "--expires=2026-11-24",
        "2026-11-24T06:49:49.000Z",
        "2026-11-24T06:49:49.123456789012345678Z",
        "deadbeef.tar.gz",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.dump",
        "./20261124.averylongextensionofafile",
        "/var/lib/20261124.averylongextensionofafile",
        "--data=./deadbeef.averylongextensionofafile",
        "127.0.0.1:8080",
        "http://localhost:4000/graphql",
        "eu=http://localhost:4000/graphql",
        "customer.1234567890abcdefghij",
        "jane.0123456789abcdef0123@example.com",
        "redis://cache.internal:6379/0",
        "redis+sentinel://h1:26379,h2:26379/primary",
        "https://example.com/a:b@c",
        "My key, for the nightly export.",
        "a" * 48,
        "A1" * 24,
        "aB3" * 15,
        "./" + "aB3" * 16,
        "gwk_0123456789abcdef.jsonl",
        "100%25",
        "søn.aaaaaaaaaaaaaaaaaaaa",
    ],
)
def test_what_merely_resembles_one(word: str) -> None:
    """Files, dates, ids and addresses could not be named on the command line."""
    assert refused_argument([word]) is None


@pytest.mark.parametrize(
    "word",
    [
        "redis://:hunter2@cache.internal:6379",
        "rediss://app:hunter2@cache.internal",
        "--store=redis+sentinel://app:hunter2@h1:26379,h2:26379/primary",
        "eu=https://me:hunter2@eu.internal/graphql",
    ],
)
def test_a_password_in_a_url(word: str) -> None:
    """A password would be read by every user of the machine."""
    told = refused_argument(["store", "init", word])
    assert told is not None
    assert "password" in told
    assert "hunter2" not in told
