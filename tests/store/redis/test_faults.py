"""What the errors of servers mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis._parsers.base import BaseParser
from redis.exceptions import InvalidResponse, RedisError

from gateway.store.redis.faults import code, meaning


def parsed(line: str) -> RedisError:
    """What the client library makes of the line of an error."""
    error = BaseParser.parse_error(line)
    assert isinstance(error, RedisError)
    return error


@pytest.mark.parametrize(
    ("line", "name", "words"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", "OOM", "no memory left: nothing was changed"),
        # As Redis 6.2 wraps what a script meets.
        (
            "ERR Error running script (call to f_" + "0" * 40 + "): @user_script:3: @user_script: 3: -OOM command not"
            " allowed when used memory > 'maxmemory'.",
            "OOM",
            "no memory left: nothing was changed",
        ),
        ("READONLY You can't write against a read only replica. script: 00, on @user_script:1.", "READONLY", "replica"),
        ("NOREPLICAS Not enough good replicas to write.", "NOREPLICAS", "fewer replicas than it needs"),
        ("MISCONF Redis is configured to save RDB snapshots, but", "MISCONF", "cannot write to its disk"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", "WRONGTYPE", "not of this store"),
        ("LOADING Redis is loading the dataset in memory", "LOADING", "still loading"),
        ("MASTERDOWN Link with MASTER is down", "MASTERDOWN", "lost its primary"),
        ("CLUSTERDOWN The cluster is down", "CLUSTERDOWN", "not whole"),
        ("TRYAGAIN Multiple keys request during rehashing of slot", "TRYAGAIN", "just giving the keys"),
        (
            "ERR Script attempted to access a non local key in a cluster node script: 00, on @user_script:1.",
            "TRYAGAIN",
            "just giving the keys",
        ),
        ("MOVED 3999 127.0.0.1:6381", "MOVED", "no longer has"),
        ("CROSSSLOT Keys in request don't hash to the same slot", "CROSSSLOT", "fault of the gateway"),
        ("NOAUTH Authentication required.", "NOAUTH", "store.password_file"),
        ("WRONGPASS invalid username-password pair", "WRONGPASS", "store.password_file"),
        ("NOPERM this user has no permissions to run the 'evalsha' command", "NOPERM", "rights of that user"),
        ("BUSY Redis is busy running a script.", "BUSY", "script that does not end"),
        ("ERR user_script:1: attempt to concatenate a nil value", "ERR", "answered with an error (ERR)"),
        ("WEIRD something new", "WEIRD", "answered with an error (WEIRD)"),
        ("what?", "", "answered with an error (unknown)"),
    ],
)
def test_each_error_is_said_in_words(line: str, name: str, words: str) -> None:
    """Whoever is called at night would not know what is wrong with the server, or whether something was changed."""
    assert code(parsed(line)) == name
    assert words in meaning(parsed(line)).sentence


def test_what_is_not_the_protocol_is_said() -> None:
    """A port of something else than Redis would look like a server that is down."""
    assert "not the protocol of Redis" in meaning(InvalidResponse("Protocol Error: b'HTTP/1.1 400'")).sentence


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1, max_size=60))
def test_no_text_of_a_server_is_passed_on(text: str) -> None:
    """An e-mail address or a token that was sent would come back in an error, and so into the log."""
    sentence = meaning(parsed(f"ERR hunter2@example.com {text}")).sentence
    assert "hunter2" not in sentence
