"""Events: what is said through structlog and through the loggers of other packages."""

import json
import logging
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import structlog

from gateway.log import configure
from gateway.log.events import Level

SECRET = "aB3" * 16
TOKEN = f"gwk_0123456789abcdef.{SECRET}"


def said(folder: Path) -> list[dict[str, Any]]:
    """Every line of the log, read as JSON."""
    return [json.loads(line) for line in (folder / "log").read_text("utf-8").splitlines()]


def test_an_event_is_a_line_of_json(tmp_path: Path) -> None:
    """Machines that collect logs could not read ours."""
    log = configure("auto", "info", tmp_path / "log")
    structlog.get_logger().info("serving", url="http://127.0.0.1:1", ports=[1, 2])
    log.close()

    (event,) = said(tmp_path)
    assert list(event) == ["event", "level", "timestamp", "url", "ports"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event.pop("timestamp"))
    assert event == {"event": "serving", "level": "info", "url": "http://127.0.0.1:1", "ports": [1, 2]}


LEVELS: list[tuple[Level, list[str]]] = [
    (
        "debug",
        ["our debug", "our info", "request", "our warning", "our error", "their debug", "their info", "their error"],
    ),
    ("info", ["our info", "request", "our warning", "our error", "their error"]),
    ("warning", ["our warning", "our error", "their error"]),
    ("error", ["our error", "their error"]),
]


@pytest.mark.parametrize(("level", "expected"), LEVELS)
def test_the_level_decides_what_is_said(tmp_path: Path, level: Level, expected: list[str]) -> None:
    """An operator who wants quiet would not get it, or who wants to know everything would miss something."""
    log = configure("json", level, tmp_path / "log")
    ours, theirs = structlog.get_logger(), logging.getLogger("other.library")
    ours.debug("our debug")
    ours.info("our info")
    log.add({"status": 200})
    log.flush()
    ours.warning("our warning")
    ours.error("our error")
    theirs.debug("their debug")
    theirs.info("their info")
    theirs.error("their error")
    log.close()

    assert [event["event"] for event in said(tmp_path)] == expected


def failure() -> Exception:
    """An exception with a stack, whose text has two lines and a token."""
    try:
        raise ValueError(f"invalid header:\n  {TOKEN}")
    except ValueError as error:
        return error


def test_an_exception_of_another_library_is_one_line_without_stack(tmp_path: Path) -> None:
    """Any client that sends nonsense could fill the log with stack traces."""
    log = configure("json", "info", tmp_path / "log")
    logging.getLogger("aiohttp.server").error("Error handling request", exc_info=failure())
    logging.getLogger("aiohttp.server").error("no exception at hand", exc_info=True)  # noqa: LOG014
    log.close()

    first, second = said(tmp_path)
    assert (first["event"], first["level"], first["logger"]) == ("Error handling request", "error", "aiohttp.server")
    assert first["error"] == "ValueError: invalid header: gwk_0123456789abcdef.***"
    assert set(first) == {"event", "level", "timestamp", "logger", "error"}
    assert set(second) == {"event", "level", "timestamp", "logger"}


def test_debug_shows_the_stack_of_another_library(tmp_path: Path) -> None:
    """A fault in a library could not be found."""
    log = configure("json", "debug", tmp_path / "log")
    logging.getLogger("aiohttp.server").error("Error handling request", exc_info=failure())
    log.close()

    assert said(tmp_path)[0]["exception"].startswith("Traceback (most recent call last):\n")


def test_a_fault_of_our_own_has_its_stack(tmp_path: Path) -> None:
    """An internal error could not be found from the log."""
    log = configure("json", "info", tmp_path / "log")
    structlog.get_logger().error("internal error", request_id="r-1", exc_info=failure())
    log.close()

    (event,) = said(tmp_path)
    assert 'raise ValueError(f"invalid header' in event["exception"]
    assert event["request_id"] == "r-1"


def test_no_token_gets_through(tmp_path: Path) -> None:
    """A token would lie in the log for everybody who may read logs."""
    log = configure("json", "debug", tmp_path / "log")
    structlog.get_logger().info("told", header=f"Bearer {TOKEN}", nested={"deep": [TOKEN]})
    structlog.get_logger().error("failed", exc_info=failure())
    logging.getLogger("other").error("header %r", f"Bearer {TOKEN}".encode(), exc_info=failure())
    log.add({"request_id": TOKEN})
    log.close()

    assert len(said(tmp_path)) == 4
    assert SECRET not in (tmp_path / "log").read_text("utf-8")


def test_another_librarys_slip_in_its_logging_is_not_ours(tmp_path: Path) -> None:
    """A wrong format string in a library would print a stack trace, or lose its message."""
    log = configure("json", "info", tmp_path / "log")
    ours = logging.getLogger().handlers[-1]  # pytest has one of its own, which would raise
    ours.handle(logging.LogRecord("other", logging.ERROR, __file__, 1, "%d of %d", ("one",), None))
    log.close()

    assert said(tmp_path)[0]["event"] == "%d of %d"


def test_warnings_are_events(tmp_path: Path) -> None:
    """A deprecation would be printed across the JSON lines."""
    log = configure("json", "info", tmp_path / "log")
    warnings.simplefilter("always")
    warnings.warn("soon gone", DeprecationWarning, stacklevel=1)
    log.close()

    (event,) = said(tmp_path)
    assert event["logger"] == "py.warnings"
    assert "soon gone" in event["event"]


def test_configuring_again_moves_everything_to_the_new_place(tmp_path: Path) -> None:
    """Every line of other libraries would be written twice."""
    configure("json", "info", tmp_path / "first").close()
    log = configure("json", "info", tmp_path / "log")
    structlog.get_logger().error("ours")
    logging.getLogger("other").error("theirs")
    log.close()

    assert (tmp_path / "first").read_bytes() == b""
    assert [event["event"] for event in said(tmp_path)] == ["ours", "theirs"]


def test_an_event_for_people_cannot_drive_their_terminal(tmp_path: Path) -> None:
    """Whoever can put text into an event could clear the screen or fake lines."""
    log = configure("console", "info", tmp_path / "log")
    structlog.get_logger().warning("upstream said", text="\x1b[2J\nfake line", code=5)
    structlog.get_logger().error("internal error", exc_info=failure())
    log.close()

    text = (tmp_path / "log").read_text("utf-8")
    first, second, *stack = text.splitlines()
    assert "upstream said" in first
    assert "fake line" in first
    assert "code=5" in first
    assert "internal error" in second
    assert "Traceback (most recent call last):" in stack[0]
    assert "\x1b" not in text


SPEAK = """
import structlog
from gateway.log import configure
log = configure("auto", "info", None)
log.add({"status": 200, "decision": "allow"})
structlog.get_logger().error("cannot start", cause=%s)
"""


def test_the_last_words_of_a_process_are_written() -> None:
    """A gateway that cannot start would end without saying why."""
    ended = subprocess.run([sys.executable, "-c", SPEAK % "'port in use'"], capture_output=True, check=True)

    said = [json.loads(line)["event"] for line in ended.stderr.splitlines()]
    assert (sorted(said), ended.stdout) == (["cannot start", "request"], b"")


def test_a_terminal_gets_text_in_colour() -> None:
    """Whoever tries the gateway in a terminal would have to read JSON."""
    keyboard, screen = os.openpty()
    subprocess.run([sys.executable, "-c", SPEAK % "'port in use'"], stderr=screen, check=True)

    shown = os.read(keyboard, 10_000).decode()
    os.close(keyboard)
    os.close(screen)

    assert "\x1b[32m200 allow" in shown
    assert "cannot start" in shown
    assert '{"event"' not in shown


def test_a_process_ends_though_nobody_reads_its_log() -> None:
    """A gateway behind a log collector that hangs could not be stopped."""
    reader, writer = os.pipe()

    ended = subprocess.run([sys.executable, "-c", SPEAK % "'x' * 1_000_000"], stderr=writer, timeout=60, check=False)
    os.close(reader)
    os.close(writer)

    assert ended.returncode == 0
