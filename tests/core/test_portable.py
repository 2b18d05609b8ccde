"""Records as lines of a file: what is written is read again, and nothing else is."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.audit import AuditAction, AuditEvent, Numbered, Seal
from gateway.core.developer_tokens import DeveloperToken, token_item
from gateway.core.families import Family, families_item
from gateway.core.notices import Channel, Mark, Notice, NoticeState, Wanted
from gateway.core.notices import item_of as notice_item
from gateway.core.portable import LastUsed, NotPortable, Portable, kind_of, line_of, record_of
from gateway.core.records import DELETED, App, Developer, KeyRecord, RevokedWhy, Role, User, UserTokenRecord
from gateway.core.times import LAST_MOMENT

APP_ID = "5a0000000000000000000a01"
CHAIN = f"{'0c' * 16}/main"
VERIFIER = bytes(range(32))

APP = App(APP_ID, "O'Neill 株式会社 🦜", "eu", "acme", switches=3, cut_at=17)
KEY = KeyRecord(
    "5a00000000000001",
    APP_ID,
    "nightly export",
    frozenset({"USER_READ", "USER_LINK"}),
    VERIFIER,
    1000,
    5000,
    "cli:ada",
    4000,
    3000,
    RevokedWhy.LEAKED,
    "5a00000000000002",
)
RECORDS: dict[str, Portable] = {
    "app": APP,
    "key": KEY,
    "user": User("some one".replace(" ", "-"), APP_ID, "customer 17", switches=1, cut_at=9),
    "user_token": UserTokenRecord("5a00000000000003", APP_ID, "someone", VERIFIER, 1000, 2000, 1500),
    "item": families_item(APP_ID, "someone", [Family("5a00000000000003", 9000, ("5a00000000000003",))]),
    "developer": Developer(APP_ID, "ada@example.com", Role.SPECTATOR),
    "event": Numbered(CHAIN, 7, AuditEvent(1000, AuditAction.KEY_REVOKED, APP_ID, KEY.id, "cli:ada", "cli", "leaked")),
    "seal": Seal(CHAIN, 1, 7, 2000, "ab" * 32, "signature", "signer"),
    "last_used": LastUsed(KEY.id, 1234),
}
WANTED = Wanted(APP_ID, "5a00000000000001", Mark.ONE_WEEK, "dev_00", Channel.EMAIL, ends_at=2000)
SPARE: list[Portable] = [
    App(APP_ID, "demo", "eu"),
    KeyRecord("0" * 8, APP_ID, "k", frozenset({"X"}), VERIFIER, 0, 1),
    User("someone", APP_ID),
    UserTokenRecord("f" * 64, APP_ID, "someone", VERIFIER, 0, 1),
    UserTokenRecord("f" * 64, APP_ID, "someone", VERIFIER, 0, 1, shutdown_at=9, family="f" * 64),
    User("deleted", APP_ID, cut_at=DELETED),
    notice_item(Notice(WANTED, NoticeState.SENT, "a holder", 0, 1, 1000, made_at=900)),
    token_item(DeveloperToken("5a01", APP_ID, "dev_00", VERIFIER, 1, 2, "operator:ada", 3)),
    Numbered(CHAIN, 1, AuditEvent(0, AuditAction.STORE_IMPORTED, "", "", "")),
    Seal(CHAIN, 1, 1, 0, ""),
]


def changed(kind: str, /, **members: object) -> bytes:
    """The line of a record with other members."""
    return (
        json.dumps(
            {**json.loads(line_of(RECORDS[kind])), **members}, separators=(",", ":"), ensure_ascii=False
        ).encode()
        + b"\n"
    )


@pytest.mark.parametrize("record", [*RECORDS.values(), *SPARE], ids=kind_of)
def test_what_is_written_is_read_again(record: Portable) -> None:
    """What a backup holds would be another record when it is brought back."""
    line = line_of(record)
    assert record_of(line) == record
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert json.loads(line)["kind"] == kind_of(record)


@pytest.mark.parametrize("kind", RECORDS)
def test_every_member_counts(kind: str) -> None:
    """A member that is missing, empty or of another type would be made up when a backup is brought back."""
    line = line_of(RECORDS[kind])
    for name in json.loads(line):
        for other in (None, [], {}, True, 1.5, -1, 1 << 53, "\n", "\x00"):
            with pytest.raises(NotPortable):
                record_of(changed(kind, **{name: other}) if other is not None else _without(line, name))


def test_a_text_that_nests_too_deep_is_refused() -> None:
    """A file made to harm would end a check in a fault of ours instead of a sentence."""
    with pytest.raises(NotPortable):
        record_of(changed("item", of="developer_token", text="[" * 900_000))


def _without(line: bytes, name: str) -> bytes:
    values = json.loads(line)
    del values[name]
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


@pytest.mark.parametrize(
    ("kind", "member", "value"),
    [
        ("app", "id", "5a"),
        ("app", "id", "5A0000000000000000000A01"),
        ("app", "name", ""),
        ("app", "name", "\u202edemo"),
        ("app", "account", "x" * 101),
        ("key", "id", "5a0}"),
        ("key", "app", "demo"),
        ("key", "name", ""),
        ("key", "scopes", ""),
        ("key", "scopes", "USER_READ USER_LINK"),
        ("key", "scopes", "USER_LINK USER_LINK"),
        ("key", "sha256", "AB" * 32),
        ("key", "sha256", "ab" * 31),
        ("key", "revoked_why", "mood"),
        ("key", "successor", "5a0"),
        ("user", "id", ""),
        ("user", "id", "a b"),
        ("user", "external_id", ""),
        ("user_token", "user", ""),
        ("item", "of", "code"),
        ("item", "of", "incident"),
        ("item", "of", "mood"),
        ("item", "id", "5b.someone"),
        ("item", "id", "5a"),
        ("item", "owner", "5a"),
        ("item", "text", "[]"),
        ("item", "text", "{}"),
        ("developer", "email", "ada"),
        ("developer", "role", "owner"),
        ("event", "action", "key.revived"),
        ("event", "chain", "main"),
        ("seal", "chain", f"{'0c' * 16}/../x"),
        ("last_used", "id", ""),
        ("app", "kind", "user"),
        ("app", "kind", "tenant"),
        ("app", "kind", ["app"]),
        ("app", "more", 1),
    ],
)
def test_what_a_store_would_never_hold_is_not_read(kind: str, member: str, value: object) -> None:
    """A file made by hand could bring in what no command would make, as a key without scopes."""
    with pytest.raises(NotPortable):
        record_of(changed(kind, **{member: value}))


TIMES = [(kind, name) for kind, record in RECORDS.items() for name in json.loads(line_of(record)) if name[-2:] == "at"]


@pytest.mark.parametrize(("kind", "name"), TIMES)
def test_a_time_is_one_that_can_be_told(kind: str, name: str) -> None:
    """A key of a file made by hand would end every list of keys with a traceback."""
    assert record_of(changed(kind, **{name: LAST_MOMENT}))
    with pytest.raises(NotPortable, match=f"The member {name} "):
        record_of(changed(kind, **{name: LAST_MOMENT + 1}))


REWRITTEN: list[Callable[[bytes], bytes]] = [
    lambda line: line.rstrip(b"\n"),
    lambda line: line + b"\n",
    lambda line: b" " + line,
    lambda line: line.replace(b":", b": ", 1),
    lambda line: line.replace(b'"kind":"app",', b'"kind":"app","kind":"app",'),
    lambda line: line.replace(b'"eu"', b'"\\u0065u"'),
    lambda line: b"[" + line.rstrip(b"\n") + b"]\n",
    lambda line: b"\xff" + line,
    lambda _: b"",
    lambda _: b"17\n",
    lambda _: b"{}\n",
]


@pytest.mark.parametrize("rewrite", REWRITTEN)
def test_there_is_one_way_to_write_a_record(rewrite: Callable[[bytes], bytes]) -> None:
    """Two readers of the same file could see different records in it."""
    with pytest.raises(NotPortable):
        record_of(rewrite(line_of(RECORDS["app"])))


@given(st.sampled_from(list(RECORDS)), st.data())
def test_no_message_repeats_what_was_read(kind: str, data: st.DataObject) -> None:
    """A secret in a damaged file would stand in a terminal and in whatever keeps its output."""
    member = data.draw(st.sampled_from(list(json.loads(line_of(RECORDS[kind])))))
    value: Any = data.draw(st.text(min_size=9).map(lambda text: text + "S3CRET"))
    try:
        record_of(changed(kind, **{member: value}))
    except NotPortable as error:
        told = str(error)
    else:
        told = ""
    assert "S3CRET" not in told


@given(st.binary(max_size=200))
def test_no_line_makes_the_reader_fail(line: bytes) -> None:
    """A damaged file would end the command with a traceback instead of the number of the line."""
    with pytest.raises(NotPortable):
        record_of(line)
