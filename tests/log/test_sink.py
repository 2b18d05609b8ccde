"""The sink: fast, slow, full and broken places to write to."""

import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.log.sink import Sink, masked

LINE = b"x" * 1023 + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe, and whoever reads it may be slow."""
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def until(true: Callable[[], bool]) -> None:
    """Wait for the writing thread to have done something; it does so at once or never."""
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, "it never happened"
        os.sched_yield()


def test_lines_are_appended(tmp_path: Path) -> None:
    """A restart would wipe out the log of the run that needs explaining."""
    for line in (b"one\n", b"two\n"):
        sink = Sink(tmp_path / "log")
        sink.write(line)
        sink.close()

    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"


def test_a_log_is_not_for_everybody(tmp_path: Path) -> None:
    """Any user of the machine could read who called what."""
    Sink(tmp_path / "log").close()

    assert (tmp_path / "log").stat().st_mode & 0o007 == 0


def test_a_place_that_cannot_be_opened_is_told_at_once(tmp_path: Path) -> None:
    """A gateway would run for months without a log before anybody noticed."""
    with pytest.raises(FileNotFoundError):
        Sink(tmp_path / "nowhere" / "log")


def test_a_reader_that_does_not_read_stops_nobody(pipe: tuple[int, int]) -> None:
    """A log collector that hangs would hang the gateway."""
    reader, writer = pipe
    sink = Sink(writer)
    lines = 8 * 1024  # 8 MiB, twice what may wait

    for _ in range(lines):
        sink.write(LINE)
    dropped = sink.dropped
    with os.fdopen(os.dup(reader), "rb") as stream:
        received = [stream.read(len(LINE)) for _ in range(lines - dropped)]
    sink.close()

    assert 0 < dropped < lines
    assert set(received) == {LINE}


def test_a_pipe_that_does_not_block_loses_nothing(pipe: tuple[int, int]) -> None:
    """Under a supervisor that shares a non-blocking pipe, lines would be cut or lost whenever it is busy."""
    reader, writer = pipe
    os.set_blocking(writer, False)
    sink = Sink(writer)
    lines = 1024  # sixteen times what a pipe holds

    for _ in range(lines):
        sink.write(LINE)
    with os.fdopen(os.dup(reader), "rb") as stream:
        received = [stream.read(len(LINE)) for _ in range(lines)]
    sink.close()

    assert (set(received), sink.dropped) == ({LINE}, 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_counted() -> None:
    """Requests would fail because their log line cannot be written, or nobody would learn that lines are missing."""
    sink = Sink(Path("/dev/full"))

    sink.write(LINE * 3, 3)
    sink.write(LINE)
    sink.close()

    assert sink.dropped == 4


def test_a_reader_that_is_gone_is_counted() -> None:
    """A log collector that dies would take the gateway with it."""
    reader, writer = os.pipe()
    os.close(reader)
    sink = Sink(writer)

    sink.write(LINE)
    sink.close()
    os.close(writer)

    assert sink.dropped == 1


def test_a_line_cut_by_a_full_disk_does_not_spoil_the_next(tmp_path: Path) -> None:
    """After a full disk, the first good line would be glued to half a line, and no reader could parse it."""
    sink = Sink(tmp_path / "log")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        sink.write(LINE)
        until(lambda: sink.dropped == 1)
        sink.write(LINE)
        until(lambda: sink.dropped == 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    sink.write(b"good\n")
    sink.write(b"good too\n")
    sink.close()

    assert (tmp_path / "log").read_bytes() == LINE[:1000] + b"\ngood\ngood too\n"


def test_nobody_waits_for_a_reader_that_does_not_read_at_the_end(pipe: tuple[int, int]) -> None:
    """A gateway told to stop would not stop."""
    reader, writer = pipe
    sink = Sink(writer)
    sink.write(LINE * 1024, 1024)

    closing = threading.Thread(target=sink.close)
    closing.start()
    closing.join(30)
    ended = not closing.is_alive()
    with os.fdopen(os.dup(reader), "rb") as stream:  # now somebody reads, and the writing thread ends as well
        stream.read(len(LINE) * 1024)

    assert ended


def test_what_comes_after_the_end_is_counted(tmp_path: Path) -> None:
    """Lines would vanish without a trace, or raise into whoever speaks last."""
    sink = Sink(tmp_path / "log")
    sink.close()
    sink.close()

    sink.write(LINE)

    assert sink.dropped == 1


SEED = "e5c3b842231543f.mGCUhfi0uI4J13k010V49D2GaBZ3j1E708X4a4396XNx48X3"
OURS = "gwk_0123456789abcdef." + "aB3" * 16
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0." + "aB3_-" * 17
MASKED = [
    (SEED, "e5c3b842231543f.***"),
    (OURS, "gwk_0123456789abcdef.***"),
    (OURS.replace("gwk", "gwu"), "gwu_0123456789abcdef.***"),
    (f'{{"a":"{SEED}","b":"{OURS}"}}', '{"a":"e5c3b842231543f.***","b":"gwk_0123456789abcdef.***"}'),
    (f"Authorization: Bearer {OURS}\\r\\n", "Authorization: Bearer gwk_0123456789abcdef.***\\r\\n"),
    (OURS[:-20], "gwk_0123456789abcdef.***"),
    ("10.0.0.1:8443 1.234 api.example.com", "10.0.0.1:8443 1.234 api.example.com"),
    (
        '"timestamp":"2026-01-01T00:00:00.123Z","duration_ms":1.2345',
        '"timestamp":"2026-01-01T00:00:00.123Z","duration_ms":1.2345',
    ),
    ("gwk_0123456789abcdef", "gwk_0123456789abcdef"),
    (f"of {JWT}x-_1,", f"of {JWT.rpartition('.')[0]}.***,"),
    (f'"{JWT}"', f'"{JWT.rpartition(".")[0]}.***"'),
    ("eyJ" * 100_000, "eyJ" * 100_000),  # in no time: it is read once, not once for each beginning
    ("eyJ.a.b eyJhbGciOiJFUzI1NiJ9", "eyJ.a.b eyJhbGciOiJFUzI1NiJ9"),
]


@pytest.mark.parametrize(("text", "expected"), MASKED)
def test_what_looks_like_a_token_is_masked_and_nothing_else(text: str, expected: str) -> None:
    """A token that some library puts into its message would lie in the log for everybody who may read logs."""
    assert masked(text.encode()).decode() == expected
