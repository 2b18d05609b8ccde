"""The file of an export: what was written is found whole, and nothing else is."""

import io
import json
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.audit import AuditAction, AuditEvent, Numbered, Seal
from gateway.core.incidents import MOST_SIGHTINGS, Incident, IncidentState, Subject, incident_id, item_of
from gateway.core.portable import LastUsed, Portable
from gateway.core.records import App, Developer, KeyRecord, Role, User, UserTokenRecord
from gateway.core.sightings import LONGEST_TEXT, Sighting
from gateway.core.times import LAST_MOMENT
from gateway.core.wishes import DAY, LONGEST_LIFETIME
from gateway.keys.export_file import (
    LONGEST_LINE,
    MOST_FAULTS,
    ORDER,
    Export,
    ExportFaulty,
    ExportWriter,
    Header,
    checked,
    made_whole,
)

NOW = 1_700_000_000_000
HEADER = Header("1.2.3", NOW, "0c" * 16)
CHAIN = f"{HEADER.identity}/main"
APP = App("5a0000000000000000000a01", "demo", "eu")
KEY = KeyRecord("5a00000000000001", APP.id, "a key", frozenset({"USER_READ"}), bytes(range(32)), NOW - DAY, NOW + DAY)
TOKEN = UserTokenRecord("5a00000000000002", APP.id, "someone", bytes(32), NOW - DAY, NOW + DAY)
EVENT = AuditEvent(NOW, AuditAction.APP_CREATED, APP.id, APP.id, "cli:ada", "cli")
RECORDS: list[Portable] = [
    Numbered(CHAIN, 1, EVENT),
    Numbered(CHAIN, 2, EVENT),
    Seal(CHAIN, 1, 2, NOW, "ab" * 32),
    TOKEN,
    KEY,
    Developer(APP.id, "ada@example.com", Role.DEVELOPER),
    User("someone", APP.id, "customer 17"),
    APP,
    LastUsed(KEY.id, NOW),
]


def made(records: Sequence[Portable] = RECORDS, header: Header = HEADER) -> bytes:
    """The file of some records."""
    file = io.BytesIO()
    writer = ExportWriter(file, header)
    for record in records:
        writer.add(record)
    writer.end()
    return file.getvalue()


def read(content: bytes) -> Export:
    """The export in a file."""
    return checked(io.BytesIO(content), lambda _: None)


def faults(content: bytes) -> list[str]:
    """What is wrong with a file."""
    with pytest.raises(ExportFaulty) as faulty:
        read(content)
    return faulty.value.sentences


def test_what_was_written_is_read() -> None:
    """A backup would bring back other records than were saved, or be refused."""
    export = read(made())
    assert (export.header, sum(export.counts.values())) == (HEADER, len(RECORDS))
    found = [line for kind in ORDER for line in export.records(kind)]
    assert found == list(enumerate(RECORDS, start=2))
    assert list(read(made([])).records("key")) == []


def test_a_file_of_the_version_before_is_read() -> None:
    """A backup from before the update could not be brought back: every line has to be as it is written today."""
    counts = b'{"event":2,"seal":1,"user_token":1,"key":1,"developer":1,"user":1,"app":1,"last_used":1}'
    sha256 = b"f726d7e41d7c3a42d1b8baab869d18dcb8b809a208a79d5b924602bafd93d25a"  # as that version wrote it
    assert made().endswith(b'{"kind":"manifest","counts":' + counts + b',"sha256":"' + sha256 + b'"}\n')


def test_the_manifest_is_for_everybody() -> None:
    """Nobody could check a backup with ordinary tools, before there is a gateway to bring it back into."""
    import hashlib  # noqa: PLC0415 - as somebody without this program would

    *before, manifest = made().splitlines(keepends=True)
    told = json.loads(manifest)
    assert told["sha256"] == hashlib.sha256(b"".join(before)).hexdigest() == read(made()).sha256
    assert {kind: count for kind, count in told["counts"].items() if count} == dict(read(made()).counts)


def test_every_changed_byte_is_found() -> None:
    """A backup that was tampered with, or lay on a failing disk, would be brought back."""
    content = made()
    for place, byte in enumerate(content):
        for other in {byte ^ 1, byte ^ 32, 0} - {byte}:
            assert faults(content[:place] + bytes([other]) + content[place + 1 :])


def test_every_missing_end_is_found() -> None:
    """A backup that was cut off, or something else after it, would pass for whole."""
    content = made()
    for place in range(len(content)):
        assert faults(content[:place])
    for more in (b"\n", b"x", content):
        assert "There is something after the manifest." in faults(content + more)[-1]
    *lines, _ = content.splitlines(keepends=True)
    assert faults(b"".join(lines)) == ["The file ends before its manifest: it was cut off."]


def test_lines_that_were_left_out_or_moved_are_found() -> None:
    """Somebody could take a revocation out of a backup."""
    lines = made().splitlines(keepends=True)
    for number in range(len(lines)):
        assert faults(b"".join([*lines[:number], *lines[number + 1 :]]))
        assert faults(b"".join([*lines[: number + 1], *lines[number:]]))


@pytest.mark.parametrize(
    "records",
    [
        [APP, KEY],
        [KEY, APP, replace(KEY, id="5a00000000000009")],
        [KEY, APP, TOKEN],
    ],
)
def test_kinds_come_in_their_order(records: list[Portable]) -> None:
    """A part of the records would be passed over when the file is brought back."""
    assert any(sentence.endswith("Its kind comes too late.") for sentence in faults(made(records)))


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([KEY], ["Line 2: What it belongs to is not there."]),
        (
            [replace(TOKEN, id=KEY.id), *RECORDS[3:]],
            ["Line 4: Its id, or its user's external id, is there for something else too."],
        ),
        ([Numbered(CHAIN, 1, EVENT), Numbered(CHAIN, 1, EVENT)], ["Line 3: It is out of order in its chain."]),
        (
            [Numbered(CHAIN, 1, EVENT), Numbered(CHAIN, 3, EVENT)],
            [f"Line 3: Before it the chain {CHAIN} lacks event 2."],
        ),
        (
            [Numbered(CHAIN, 1, EVENT), Seal(CHAIN, 1, 2, NOW, "ab" * 32)],
            [f"Line 3: It is over event 2, which the chain {CHAIN} lacks."],
        ),
        ([replace(APP, cut_at=NOW + 2 * LONGEST_LIFETIME)], ["Line 2: Its cut_at lies more than a year ahead."]),
        (
            [replace(KEY, expires_at=NOW + 5 * LONGEST_LIFETIME), APP],
            ["Line 2: It lives for longer than 366 days."],
        ),
        (
            [*(replace(KEY, id=f"5a{number:014x}") for number in range(11)), APP],
            [f"The app {APP.id} has more than 10 active keys."],
        ),
    ],
)
def test_records_must_belong_together(records: list[Portable], expected: list[str]) -> None:
    """A file made by hand would bring in what can never be, with a manifest to match."""
    assert faults(made(records)) == expected


def test_all_names_that_depend_on_settings_are_known() -> None:
    """Nobody would be told of scopes and regions of a file that the gateway knows nothing of."""
    export = read(made([KEY, replace(KEY, id="5a00000000000009", scopes=frozenset({"A", "B"})), APP]))
    assert (export.scopes, export.regions) == ({"USER_READ", "A", "B"}, {"eu"})


def test_a_file_of_no_year_is_none() -> None:
    """Whatever is held against the moment at which a file was made would fit one that says it was made at no time."""
    assert read(made([], replace(HEADER, made_at=LAST_MOMENT))).header.made_at == LAST_MOMENT
    (told,) = faults(made([], replace(HEADER, made_at=LAST_MOMENT + 1)))
    assert "no export" in told


def test_all_faults_are_told_at_once_up_to_a_bound() -> None:
    """An operator would mend one line, try again and find the next, a thousand times; or never see the end of them."""
    content = made().replace(b'"account":""', b'"account":"\\n"').replace(b'"role":"developer"', b'"role":"owner"')
    places = [int(sentence.partition(":")[0].removeprefix("Line ")) for sentence in faults(content)]
    assert places == [7, 9, 11, 6, 8]
    many = made([Numbered(CHAIN, 1, EVENT)] * (MOST_FAULTS + 20))
    told = faults(many)
    assert len(told) == MOST_FAULTS + 1
    assert told[-1] == "There are 19 more faults."


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"{}\n",
        b'{"kind":"header"}\n',
        b"[1]\n",
        b"\xff\n",
        b"id,sha256,app\n",
    ],
)
def test_another_file_is_told_as_such(first: bytes) -> None:
    """An operator who took the wrong file would read a hundred faults of it."""
    (told,) = faults(first + b"".join(made().splitlines(keepends=True)[1:]))
    assert "no export of a store" in told


def test_a_newer_format_is_told_as_such() -> None:
    """A file of a newer version would be brought in without what this version does not know."""
    (told,) = faults(made().replace(b'"format":1', b'"format":2'))
    assert "format 1" in told


def test_a_line_without_end_is_no_trouble() -> None:
    """A file without a single end of a line would fill the memory."""
    content = made().splitlines(keepends=True)
    told = faults(content[0] + b"x" * (3 * LONGEST_LINE) + b"".join(content[1:]))
    assert told[0].startswith("Line 2: ")


def test_a_file_that_changes_while_it_is_read_is_told() -> None:
    """What is brought in would not be what was checked."""
    file = io.BytesIO(made())
    export = checked(file, lambda _: None)
    file.seek(0)
    file.write(b"x" * len(made()))
    with pytest.raises(ExportFaulty, match=r"Line 6 has changed while the file was read\."):
        list(export.records("key"))


def test_how_far_it_is_is_told_now_and_then() -> None:
    """Whoever waits for a large file to be checked would not know whether anything goes on."""
    told: list[int] = []
    checked(io.BytesIO(made([Numbered(CHAIN, number, EVENT) for number in range(1, 5001)])), told.append)
    assert 4000 <= sum(told) <= 5002


def test_the_file_is_its_owners_alone_and_there_only_when_whole(tmp_path: Path) -> None:
    """Others on the machine could read whom the users are; or half a backup replace a whole one."""
    path = tmp_path / "backup.jsonl"
    path.write_bytes(b"the one before")

    def fail() -> None:
        with made_whole(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"the one before"
    with made_whole(path) as file:
        file.write(b"all of it")
    assert path.read_bytes() == b"all of it"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("sign", ["\x01", '"', "\\", "ø", "🦜", "x"])
def test_the_longest_incident_is_read_again(sign: str) -> None:
    """Whoever reports leaks could make every backup unreadable, by texts that grow when they are written as JSON."""
    text = (sign * LONGEST_TEXT).encode()[:LONGEST_TEXT].decode()
    sightings = (Sighting(text, text, text, NOW, "reporter:github"),) * MOST_SIGHTINGS
    incident = Incident(
        id=incident_id(APP.id, KEY.id),
        app_id=APP.id,
        subject=Subject.KEY,
        subject_id=KEY.id,
        opened_at=NOW,
        state=IncidentState.OPEN,
        proven=True,
        ended=True,
        reporter="reporter:github",
        sightings=sightings,
        count=MOST_SIGHTINGS,
        last_used_at=NOW,
        requests=(1,) * 8,
        changed_at=NOW,
        changed_by="reporter:github",
    )
    item = item_of(incident)
    export = read(made([item, APP]))
    assert [record for _, record in export.records("item")] == [item]
