"""The line of a request: what it says, when it is written, and that nothing about it can hurt a request."""

import asyncio
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.core.decision import Reason
from gateway.log import RequestLog, Sink

FIELDS = {"request_id": "r-1", "decision": "allow", "status": 200, "root_fields": ["user"], "duration_ms": 1.5}


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe that a test reads."""
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def line_of(folder: Path, fields: Mapping[str, object], *, console: bool = False) -> str:
    """The one line that these fields make."""
    log = RequestLog(Sink(folder / "log"), console=console)
    log.add(fields)
    log.close()
    (line,) = (folder / "log").read_text("utf-8").splitlines()
    return line


def test_a_line_is_json_with_the_members_of_an_event(tmp_path: Path) -> None:
    """Who searches logs would need one query for requests and another for everything else."""
    line = orjson.loads(line_of(tmp_path, FIELDS))

    assert list(line)[:3] == ["event", "level", "timestamp"]
    assert (line.pop("event"), line.pop("level")) == ("request", "info")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line == FIELDS


VALUES: list[tuple[object, object]] = [
    (None, None),
    (Reason.SCOPE_MISSING, "scope_missing"),
    ([Reason.SCOPE_MISSING], ["scope_missing"]),
    (("user", "engagement"), ["user", "engagement"]),
    ("\ud800", "\ud800"),
    ("line\nbreak\x1b[2J", "line\nbreak\x1b[2J"),
    (Path("/a"), "/a"),
    ({"a": {"b": 1}}, {"a": {"b": 1}}),
    (float("nan"), None),
]


@pytest.mark.parametrize(("value", "expected"), VALUES)
def test_every_value_is_one_line_of_json(tmp_path: Path, value: object, expected: object) -> None:
    """A request would fail, or its line break in two, because of what its operation is called."""
    import json  # noqa: PLC0415 - orjson does not read half a surrogate pair, which a line may hold escaped

    assert json.loads(line_of(tmp_path, {"value": value}))["value"] == expected


def test_a_number_beyond_64_bits_is_written(tmp_path: Path) -> None:
    """A request would fail because of a counter."""
    assert '"value": 340282366920938463463374607431768211456' in line_of(tmp_path, {"value": 1 << 128})


def test_a_token_in_a_line_is_masked(tmp_path: Path) -> None:
    """A client that sends its token as X-Request-Id would have it in our log."""
    secret = "mGCUhfi0uI4J13k010V49D2GaBZ3j1E708X4a4396XNx48X3"

    for console in (False, True):
        line = line_of(tmp_path, {"request_id": f"e5c3b842231543f.{secret}"}, console=console)
        (tmp_path / "log").unlink()

        assert "e5c3b842231543f.***" in line
        assert secret not in line


async def test_lines_are_written_though_nothing_follows_them(pipe: tuple[int, int]) -> None:
    """On a quiet gateway the last requests would not be seen until the next ones come."""
    reader, writer = pipe
    log = RequestLog(Sink(writer))
    log.start(asyncio.get_running_loop())
    stream = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(os.dup(reader), "rb", 0)
    )

    for number in (1, 2):  # the second time, the timer has run out once
        log.add({"number": number})

        assert orjson.loads(await stream.readline())["number"] == number
    log.add({"number": 3})
    log.close()
    assert orjson.loads(await stream.readline())["number"] == 3
    transport.close()


def test_a_batch_is_written_when_it_is_full(pipe: tuple[int, int]) -> None:
    """Under load, lines would pile up in memory until the timer runs out."""
    reader, writer = pipe
    log = RequestLog(Sink(writer))

    for number in range(256):
        log.add({"number": number})
    with os.fdopen(os.dup(reader), "rb") as stream:
        numbers = [orjson.loads(stream.readline())["number"] for _ in range(256)]
    log.close()

    assert numbers == list(range(256))


def test_flush_writes_what_waits(pipe: tuple[int, int]) -> None:
    """Whoever stops in an orderly way could not have the last lines written first."""
    reader, writer = pipe
    log = RequestLog(Sink(writer))

    log.flush()
    log.add(FIELDS)
    log.flush()
    with os.fdopen(os.dup(reader), "rb") as stream:
        line = stream.readline()
    log.close()

    assert b'"r-1"' in line


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_what_a_full_disk_swallows_is_counted() -> None:
    """Nobody would learn that lines are missing."""
    log = RequestLog(Sink(Path("/dev/full")))
    for _ in range(300):
        log.add(FIELDS)
    log.close()

    assert log.dropped == 300


ALLOWED = {"request_id": "r-1", "app": "a1", "status": 200, "decision": "allow", "operation": "Mine", "type": "query"}
CONSOLE: list[tuple[dict[str, Any], str]] = [
    (ALLOWED, "200 allow query Mine request_id=r-1 app=a1"),
    ({**ALLOWED, "root_fields": ("user", "engagement")}, "200 allow query Mine user,engagement request_id=r-1 app=a1"),
    (
        {**ALLOWED, "operation": None, "key": "", "duration_ms": 1.26},
        "200 allow query request_id=r-1 app=a1 duration_ms=1.3",
    ),
    (
        {"status": 403, "decision": "refuse", "reasons": [Reason.KEYS_ONLY, Reason.NOT_OWN_DATA]},
        "403 refuse keys_only,not_own_data",
    ),
    ({"status": 404, "decision": "refuse", "bytes_in": 0}, "404 refuse bytes_in=0"),
    ({"status": 200, "decision": "allow", "operation": "a\x1b[2Jb\n"}, r"200 allow a\x1b[2Jb\n"),
]


@pytest.mark.parametrize(("fields", "expected"), CONSOLE)
def test_people_read_first_what_happened(tmp_path: Path, fields: dict[str, Any], expected: str) -> None:
    """A developer would search each line for whether the request went through, or have the terminal taken over."""
    line = line_of(tmp_path, fields, console=True)

    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} " + re.escape(expected), line.rstrip())


COLOURS = [
    ({"status": 200, "decision": "allow"}, "\x1b[32m"),
    ({"status": 200, "decision": "allow_reported"}, "\x1b[33m"),
    ({"status": 403, "decision": "refuse"}, "\x1b[33m"),
    ({"status": 200, "decision": "refuse"}, "\x1b[33m"),
    ({"status": 502, "decision": "allow"}, "\x1b[31m"),
]


@pytest.mark.parametrize(("fields", "colour"), COLOURS)
def test_a_terminal_shows_in_colour_how_it_went(fields: dict[str, Any], colour: str) -> None:
    """Refusals and failures would drown among the requests that went well."""
    keyboard, screen = os.openpty()
    log = RequestLog(Sink(screen), console=True)
    log.add(fields)
    log.close()

    shown = os.read(keyboard, 1000).decode()
    os.close(keyboard)
    os.close(screen)

    assert f"{colour}{fields['status']} {fields['decision']}" in shown
