"""URLs and options of Redis stores."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.token import Secret
from gateway.store.contract import StoreBroken
from gateway.store.redis.address import Address, Kind, Place, RedisOptions, address_of

ONE = (Place("redis.example", 6379),)
TWO = (Place("10.0.0.1", 7000), Place("::1", 6379))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://redis.example", Address(Kind.SINGLE, ONE)),
        ("redis://redis.example:6379/", Address(Kind.SINGLE, ONE)),
        ("redis://redis.example:6379/3", Address(Kind.SINGLE, ONE, db=3)),
        ("rediss://redis.example", Address(Kind.SINGLE, ONE, tls=True)),
        ("redis+sentinel://a:1,b/main", Address(Kind.SENTINEL, (Place("a", 1), Place("b", 26379)), "main")),
        ("rediss+sentinel://a/my-keys.1/7", Address(Kind.SENTINEL, (Place("a", 26379),), "my-keys.1", 7, tls=True)),
        ("redis+cluster://10.0.0.1:7000,[::1]", Address(Kind.CLUSTER, TWO)),
        ("rediss+cluster://redis.example/", Address(Kind.CLUSTER, ONE, tls=True)),
    ],
)
def test_a_url_is_understood(url: str, address: Address) -> None:
    """The gateway would look for its keys on another server, in another database, or without TLS."""
    assert address_of(url) == address


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("redis://:hunter2@redis.example", "store.password_file"),
        ("redis://keys:hunter2@redis.example", "store.username"),
        ("redis+cluster://a,hunter2@b", "store.password_file"),
        ("redis://redis.example?password=hunter2", "said in settings"),
        ("redis://redis.example#hunter2", "said in settings"),
        ("redis://", "host:port"),
        ("redis://redis.example:0", "host:port"),
        ("redis://redis.example:65536", "host:port"),
        ("redis://redis.example:hunter2", "host:port"),
        ("redis://[::1", "host:port"),
        ("://a", "none of Redis"),
        ("redis:a", "none of Redis"),
        ("redis://a,b", "redis+cluster://"),
        ("redis://redis.example/hunter2", "number of a database"),
        ("redis://redis.example/0/1", "number of a database"),
        ("redis://redis.example/²", "number of a database"),
        ("redis+cluster://redis.example/1", "no numbered databases"),
        ("redis+sentinel://redis.example", "name of the primary"),
        ("redis+sentinel://redis.example/a b", "name of the primary"),
        ("redis+hunter2://redis.example", "none of Redis"),
        ("redis+://redis.example", "none of Redis"),
        ("http://redis.example", "none of Redis"),
    ],
)
def test_a_wrong_url_is_refused_in_words(url: str, sentence: str) -> None:
    """Nobody would find out what is wrong with it; or its password would be told to everybody who reads the log."""
    with pytest.raises(StoreBroken) as refusal:
        address_of(url)
    assert sentence in str(refusal.value)
    if "none of Redis" not in sentence:
        assert "hunter2" not in str(refusal.value)


@given(
    st.text(st.characters(codec="utf-8"), min_size=1), st.sampled_from(["redis", "rediss+sentinel", "redis+cluster"])
)
def test_no_password_of_a_url_is_repeated(rest: str, scheme: str) -> None:
    """A password in the settings would be shown to everybody who reads the log."""
    with pytest.raises(StoreBroken) as refusal:
        address_of(f"{scheme}://correct-horse:battery-staple@{rest}")
    assert "battery-staple" not in str(refusal.value)


@given(st.text(max_size=40) | st.text("redis+://[]:/,ab1?#@", max_size=40).map(lambda rest: f"redis://{rest}"))
def test_nothing_but_an_address_or_a_sentence(url: str) -> None:
    """A mistyped URL would end in a traceback."""
    with suppress(StoreBroken):
        assert address_of(url).places


def test_a_password_is_shown_nowhere() -> None:
    """The store's password would be in a log or a traceback."""
    options = RedisOptions(username="gateway", password=Secret("hunter2"), sentinel_password=Secret("hunter3"))
    assert "hunter" not in f"{options} {options!r}"


@pytest.mark.parametrize("identity", ["", "0" * 31, "0" * 33, "G" * 32, "A" * 32, "0" * 32 + "\n"])
def test_a_mistyped_identity_is_refused(identity: str) -> None:
    """A gateway would wait for ever for a store that cannot be."""
    with pytest.raises(StoreBroken, match="32 hex digits"):
        RedisOptions(identity=identity)


def test_an_address_says_where_it_is() -> None:
    """Nobody would know which of many servers a sentence of the log is about."""
    assert str(address_of("redis://[::1]:7000")) == "the Redis server [::1]:7000"
    assert str(address_of("redis+sentinel://a,b/main")) == "the Redis primary 'main' of the sentinels a:26379, b:26379"
    assert str(address_of("redis+cluster://a,b")) == "the Redis Cluster of a:6379, b:6379"
