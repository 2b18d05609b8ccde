"""Where the store is: the forms of its URL, and what goes with which of them."""

from pathlib import Path

import pytest

from gateway.settings import Settings, SettingsInvalid, load_settings

REGION = {"regions.eu.upstreams": ["http://127.0.0.1:9"], "regions.eu.user_scoping": "upstream"}
ONE, SENTINELS, CLUSTER = "redis://h:6379", "rediss+sentinel://a:1,b:2/main", "redis+cluster://a:1,b:2"


def loaded(url: str, **store: object) -> Settings:
    """Settings with this store."""
    named = {f"store.{name}": value for name, value in store.items()}
    return load_settings(None, environ={}, overrides={**REGION, "store.url": url, **named})


def sentence(url: str, **store: object) -> str:
    """The one thing that is told to be wrong with this store."""
    with pytest.raises(SettingsInvalid) as invalid:
        loaded(url, **store)
    (fault,) = invalid.value.faults
    return str(fault)


@pytest.mark.parametrize(
    "url",
    [
        "memory:",
        "sqlite:////var/lib/gateway.db",
        "redis://localhost",
        "redis://10.0.0.1:6379",
        "redis://[::1]:6379/0",
        "rediss://Redis.example.com:6380/15",
        "redis+sentinel://s1/mymaster",
        "redis+sentinel://s1:26379,s2:26379,[::1]:26379/my-master.1/3",
        "rediss+sentinel://s1:26379,s2/primary",
        "redis+cluster://n1:7000,n2:7001,n3",
        "rediss+cluster://n1",
    ],
)
def test_what_a_store_can_be(url: str) -> None:
    """Somebody's Redis could not be named."""
    assert loaded(url).store.url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "redis:",
        "redis://",
        "redis:///0",
        "redis://h:6379/x",
        "redis://h:6379/0/1",
        "redis://h1:1,h2:2",
        "redis://h:6379?db=1",
        "redis://h:6379#1",
        "redis+sentinel://h:1",
        "redis+sentinel://h:1/",
        "redis+sentinel://h:1/name/x",
        "redis+cluster://h:1/0",
        "redis+cluster://h:1,",
        "redis+sentinels://h:1/name",
        "redis+://h:1",
        "Redis://h:1",
        "redis://h h:1",
        "redis://h:65536x",
        "unix:///run/redis.sock",
        "mysql://h/db",
    ],
)
def test_what_no_store_can_be(url: str) -> None:
    """The gateway would start, and look for its store somewhere else than the operator thinks."""
    assert "must be sqlite:///relative/path" in sentence(url)


@pytest.mark.parametrize("port", ["0", "65536", "99999"])
@pytest.mark.parametrize("url", ["redis://h:{}/0", "redis+sentinel://a:1,h:{}/main", "redis+cluster://h:{},b:2"])
def test_ports_that_cannot_be(url: str, port: str) -> None:
    """A slip in a port would be told of by a library, in words about sockets."""
    assert sentence(url.format(port)) == "store.url must name ports from 1 to 65535"


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@h:1",
        "redis://me:hunter2@h:1",
        "redis+sentinel://me:hunter2@h:1/x",
        "redis+cluster://a:1,u@b:2",
    ],
)
def test_a_password_has_no_place_in_a_url(url: str) -> None:
    """A password would be seen by everybody who sees logs, settings or lists of processes."""
    told = sentence(url)

    assert "store.password_file" in told
    assert "hunter2" not in told


@pytest.mark.parametrize("name", ["username", "password_file", "sentinel_password_file", "ca_file", "identity"])
@pytest.mark.parametrize("url", ["memory:", "sqlite:///a.db"])
def test_what_is_for_redis_is_for_nothing_else(url: str, name: str) -> None:
    """Somebody who moved to SQLite, or forgot to move to Redis, would think that it is in use."""
    assert f"store.{name} is for a store in Redis" in sentence(url, **{name: "0" * 32})


@pytest.mark.parametrize(
    ("url", "name", "expected"),
    [
        (ONE, "sentinel_password_file", "is for sentinels"),
        (CLUSTER, "sentinel_password_file", "is for sentinels"),
        (SENTINELS, "sentinel_password_file", None),
        (ONE, "ca_file", "is for TLS"),
        (CLUSTER, "ca_file", "is for TLS"),
        (SENTINELS, "ca_file", None),
        ("rediss://h", "ca_file", None),
    ],
)
def test_what_goes_with_what(url: str, name: str, expected: str | None) -> None:
    """A connection that an operator believes to be protected would be plain, or be opened with the wrong password."""
    if expected is None:
        assert getattr(loaded(url, **{name: "/etc/file"}).store, name) == Path("/etc/file")
    else:
        assert expected in sentence(url, **{name: "/etc/file"})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("identity", "0" * 31, "must be the 32 hex digits"),
        ("identity", "G" * 32, "must be the 32 hex digits"),
        ("username", "a b", "must be 1 to 128 visible ASCII"),
        ("timeout", 0, "must be more than 0"),
        ("grace", -1, "must be at least 0"),
        ("grace", 86_401, "must be at most 86400"),
    ],
)
def test_values_that_cannot_be(name: str, value: object, expected: str) -> None:
    """A slip would be told of by the first request, not at the start."""
    assert expected in sentence(ONE, **{name: value})


def test_no_grace_at_all() -> None:
    """Whoever wants nobody to pass without the store could not say so."""
    assert loaded(ONE, grace=0).store.grace == 0


def test_a_user_whose_name_is_a_number() -> None:
    """A name of digits, given by the environment, would be read as a number and refused."""
    environ = {"GATEWAY__STORE__USERNAME": "123", "GATEWAY__STORE__IDENTITY": "1" * 32}
    settings = load_settings(None, environ=environ, overrides={**REGION, "store.url": ONE})

    assert (settings.store.username, settings.store.identity) == ("123", "1" * 32)
