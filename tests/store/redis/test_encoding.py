"""Records as they lie in Redis: read back as they were, or not at all."""

import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.audit import AuditAction, AuditEvent, Numbered, Seal
from gateway.core.ledger import Item, ItemKind
from gateway.core.records import App, KeyRecord, RevokedWhy, Role, User, UserTokenRecord
from gateway.core.takings import Taken, Taking
from gateway.store.redis import encoding, packed
from gateway.store.redis.faults import Garbled

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
TIMES = st.integers(0, 2**48 - 2)
COUNTS = st.integers(0, 2**31)
HEX = st.binary(min_size=12, max_size=12).map(bytes.hex)
APP_IDS = st.one_of(HEX, st.text("0123456789abcdef-", min_size=1, max_size=60))
USER_IDS = st.one_of(HEX, st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128))
VERIFIERS = st.binary(min_size=32, max_size=32)

APPS = st.builds(App, APP_IDS, TEXT, TEXT, TEXT, COUNTS, TIMES)
USERS = st.builds(User, USER_IDS, APP_IDS, st.none() | TEXT, COUNTS, TIMES)
KEYS = st.builds(
    KeyRecord,
    st.just("5a00"),
    APP_IDS,
    TEXT,
    st.frozensets(TEXT, max_size=4),
    VERIFIERS,
    TIMES,
    TIMES,
    TEXT,
    st.none() | TIMES,
    st.none() | TIMES,
    st.none() | st.sampled_from(RevokedWhy),
    st.none() | TEXT,
)
TOKENS = st.builds(
    UserTokenRecord,
    st.just("5a00"),
    APP_IDS,
    USER_IDS,
    VERIFIERS,
    TIMES,
    TIMES,
    st.none() | TIMES,
    st.none() | TIMES,
    st.just("") | HEX | st.text("0123456789abcdef", min_size=1, max_size=60),
)
ITEMS = st.builds(Item, st.sampled_from(ItemKind), APP_IDS, APP_IDS, TEXT, st.none() | TIMES)
TAKINGS = st.builds(
    Taking,
    st.sampled_from(Taken),
    APP_IDS,
    TEXT,
    st.none() | TIMES,
    TIMES,
    COUNTS,
    st.none() | TIMES,
)
EVENTS = st.builds(AuditEvent, TIMES, st.sampled_from(AuditAction), TEXT, TEXT, TEXT, TEXT, TEXT)
SEALS = st.builds(Seal, st.just("chain"), COUNTS, COUNTS, TIMES, TEXT, TEXT, TEXT)

NAME = "{5a}:a name"

Encode = Callable[[str, Any], bytes]
Decode = Callable[[str, Any, bytes], Any]

# What each kind of record is, how it is written under a name, and how it is read from there.
KINDS: dict[str, tuple[st.SearchStrategy[Any], Encode, Decode]] = {
    "app": (
        APPS,
        lambda name, app: encoding.encode_app(name, app, 7),
        lambda name, app, text: encoding.decode_app(name, app.id, text).app,
    ),
    "user": (
        USERS,
        encoding.encode_user,
        lambda name, user, text: encoding.decode_user(name, user.app_id, user.id, text),
    ),
    "key": (KEYS, encoding.encode_key, lambda name, key, text: encoding.decode_key(name, key.id, text)),
    "token": (TOKENS, packed.encode_token, lambda name, token, text: packed.decode_token(name, token.id, text)),
    "item": (ITEMS, encoding.encode_item, lambda name, item, text: encoding.decode_item(name, item.key, text)),
    "elsewhere": (
        st.sampled_from(["00", "5a", "ff"]),
        encoding.encode_elsewhere,
        lambda name, _, text: encoding.decode_elsewhere(name, text),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_what_is_written_is_read(kind: str, data: st.DataObject) -> None:
    """A credential would come back with other rights, or another end, than it was given."""
    records, encode, decode = KINDS[kind]
    record = data.draw(records)
    assert decode(NAME, record, encode(NAME, record)) == record


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_what_was_garbled_is_no_record(kind: str, data: st.DataObject) -> None:
    """A good key would be called wrong, or an ended one right, because a bit was lost on the way."""
    records, encode, decode = KINDS[kind]
    record = data.draw(records)
    text = encode(NAME, record)
    place = data.draw(st.integers(0, len(text) - 1))
    garbled = data.draw(
        st.sampled_from(
            [
                text[:place] + bytes([text[place] ^ data.draw(st.integers(1, 255))]) + text[place + 1 :],
                text[:place],
                text[place + 1 :],
                text + b"0",
                b"",
            ]
        )
    )
    with pytest.raises(Garbled):
        decode(NAME, record, garbled)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_what_lies_under_another_name_is_no_record(kind: str, data: st.DataObject) -> None:
    """Whoever can rename a key in Redis would make one credential into another."""
    records, encode, decode = KINDS[kind]
    record = data.draw(records)
    with pytest.raises(Garbled):
        decode("{5a}:another", record, encode(NAME, record))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("found", [None, [], 7, b"\x01", b"{}", b"[]", b"null", b">5a", b"\xff" * 80])
@given(data=st.data())
def test_anything_else_is_no_record(kind: str, found: Any, data: st.DataObject) -> None:
    """Foreign data under a key of the store would stop the gateway with a traceback, or be taken for a credential."""
    records, _, decode = KINDS[kind]
    with pytest.raises(Garbled):
        decode(NAME, data.draw(records), found)


@given(TOKENS)
def test_what_is_written_tells_its_kind(token: UserTokenRecord) -> None:
    """A key would be read as a user token, or as neither."""
    key = KeyRecord("5a00", token.app_id, "n", frozenset(), token.verifier, 1, 2)
    first = [
        packed.encode_token(NAME, token)[:1] in packed.TOKENS,
        encoding.encode_key(NAME, key)[:1],
        encoding.encode_elsewhere(NAME, "5a")[:1],
    ]
    assert first == [True, encoding.KEY, encoding.ELSEWHERE]


def test_a_minted_user_token_is_small() -> None:
    """Five million users would need a larger machine."""
    token = UserTokenRecord("5a00", "5a" * 12, "5b" * 12, bytes(32), 2**40, 2**41)
    assert len(packed.encode_token(NAME, token)) == 75
    refreshed = replace(token, revoked_at=2**41, shutdown_at=2**41, family="5c" * 12)
    assert len(packed.encode_token(NAME, refreshed)) == 100


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("01005a5a5a5a5a5a5a5a5a5a5a5a005b5b5b5b5b5b5b5b5b5b5b5b" + "07" * 32 + "010000000000020000000000", []),
        ("01005a5a5a5a5a5a5a5a5a5a5a5a0461636d65" + "07" * 32 + "010000000000020000000000010000000001", [2**40 + 1]),
    ],
)
def test_user_tokens_of_the_version_before_are_read(text: str, ends: list[int]) -> None:
    """After an update every user would have to register again."""
    user_id = "acme" if ends else "5b" * 12
    expected = UserTokenRecord("5a00", "5a" * 12, user_id, b"\7" * 32, 2**40, 2**41, *ends)
    body = bytes.fromhex(text)
    stored = body + zlib.crc32(NAME.encode() + body).to_bytes(4)
    assert packed.decode_token(NAME, "5a00", stored) == expected
    assert packed.encode_token(NAME, expected) == stored  # by which a gateway of that version reads it too


@given(st.lists(TAKINGS, max_size=5), TIMES)
def test_what_was_taken_away_is_told_whole(takings: list[Taking], at: int) -> None:
    """Another gateway would hear of a revocation of something else, or of none."""
    message = b'{"at":%d,"takings":%b}' % (at, encoding.encode_takings(takings))
    assert encoding.decode_takings(message) == (at, takings)


@given(st.binary(max_size=40) | st.sampled_from([b'{"at":1,"takings":[[]]}', b'{"at":1,"takings":[["key",1]]}', b"[]"]))
def test_a_message_that_is_none_is_refused(message: bytes) -> None:
    """Whoever publishes nonsense would stop the hearing of revocations."""
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever kind
        encoding.decode_takings(message)


@given(EVENTS, st.integers(1, 2**50))
def test_events_are_read_as_they_were(event: AuditEvent, number: int) -> None:
    """The audit would say something else than what was done, and its seals would break."""
    numbered = Numbered("chain", number, event)
    assert encoding.decode_event("chain", encoding.encode_numbered(numbered)) == numbered


@given(SEALS)
def test_seals_are_read_as_they_were(seal: Seal) -> None:
    """An audit that is whole would look forged."""
    assert encoding.decode_seal("chain", encoding.encode_seal(seal)) == seal


@pytest.mark.parametrize("text", [None, b"", b"{}", b"[]", b"7", b'{"number":"1"}', b'{"number":true}', b"\xff"])
def test_what_is_no_event_or_seal_is_garbled(text: bytes | None) -> None:
    """An audit that somebody tampered with could not be verified to its end."""
    with pytest.raises(Garbled):
        encoding.decode_event("chain", text)
    with pytest.raises(Garbled):
        encoding.decode_seal("chain", text)


def test_roles_are_read_strictly() -> None:
    """A role that this version does not know would be dropped from an export."""
    assert encoding.decode_roles({b"a@example.com": b"developer"}) == {"a@example.com": Role.DEVELOPER}
    with pytest.raises(Garbled):
        encoding.decode_roles({b"a@example.com": b"owner"})
