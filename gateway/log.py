"""What the gateway says: events through structlog, and one line a request by a shorter road, both into one sink.

structlog's chain costs 17 to 25 us an event, half of what a whole request may cost, so the line of a request is one
`orjson.dumps`, handed over in batches. Both roads write the same members and mask what looks like a token.
"""

import atexit
import json
import logging
import os
import re
import select
import threading
import time
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, Literal

import orjson
import structlog

Format = Literal["auto", "json", "console"]
Level = Literal["debug", "info", "warning", "error"]

_STANDARD_ERROR: Final = 2
_NEWLINE: Final = b"\n"
# Half a second of lines at full speed: a sink that is away for longer is away, and lines are dropped and counted.
_MAX_WAITING_BYTES: Final = 4_194_304
_BATCH_LINES: Final = 256
_BATCH_SECONDS: Final = 0.25
# How long the end of the process waits for a sink that takes nothing.
_CLOSE_SECONDS: Final = 1.0
_MAX_ERROR_TEXT: Final = 500
_LEVELS: Final[Mapping[Level, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

# The secret half of anything shaped like a token, ours or the seed's; the id before the dot may be told. It begins with
# a literal, which keeps the search of a line without tokens below half a microsecond.
_SECRET: Final = re.compile(rb"\.(?<=[0-9a-f]{8}\.)[0-9A-Za-z]{16,}")
_MILLISECONDS: Final = tuple(b'%03dZ",' % number for number in range(1000))
_DIM, _GREEN, _YELLOW, _RED, _RESET = "\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[0m"


def configure(format: Format, level: Level, file: Path | None) -> "RequestLog":  # noqa: A002 - the setting's name
    """Let structlog and the standard library's loggers write to one sink, and return the log of requests beside them.

    The caller owns what is returned and closes it last; events after that are lost. Raises OSError when the file cannot
    be opened.
    """
    sink = Sink(_STANDARD_ERROR if file is None else file)
    console = format == "console" or (format == "auto" and sink.is_terminal)
    render = _Renderer(console=console, colours=sink.is_terminal)
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.format_exc_info, render.processor],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: _SinkLogger(sink),
        cache_logger_on_first_use=False,
    )
    _route_standard_library(sink, render, level)
    requests = RequestLog(sink, console=console, enabled=_LEVELS[level] <= logging.INFO)
    atexit.register(requests.close)  # so that the last words of a start that failed are not lost
    return requests


class Sink:
    """Takes lines without ever making the caller wait or fail; what could not be written is counted in `dropped`.

    What looks like a token leaves it masked, whoever said it.
    One thread writes, because no other way of writing is sure not to block: files always may, and switching a terminal
    or a pipe to non-blocking would switch it for every process that shares it.
    """

    def __init__(self, target: int | Path) -> None:
        self._owned = isinstance(target, Path)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(target, flags, 0o640) if isinstance(target, Path) else target
        self.is_terminal = os.isatty(self._descriptor)
        self.dropped = 0
        self._waiting_bytes = 0
        self._torn = False
        self._closed = False
        self._lock = threading.Lock()
        self._batches: SimpleQueue[tuple[bytes, int] | None] = SimpleQueue()
        self._writer = threading.Thread(target=self._write_batches, name="log", daemon=True)
        self._writer.start()

    def write(self, data: bytes, lines: int = 1) -> None:
        """Take whole lines, each ended by a newline, or drop and count them."""
        with self._lock:
            if self._closed or self._waiting_bytes + len(data) > _MAX_WAITING_BYTES:
                self.dropped += lines
                return
            self._waiting_bytes += len(data)
        self._batches.put((data, lines))

    def close(self) -> None:
        """Write what waits, for a second at most; a sink that takes nothing is left to the end of the process."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._batches.put(None)
        self._writer.join(_CLOSE_SECONDS)

    def _write_batches(self) -> None:
        while batch := self._batches.get():
            data, lines = batch
            written = self._write_whole(masked(data))
            with self._lock:
                self._waiting_bytes -= len(data)
                self.dropped += 0 if written else lines
        if self._owned:
            os.close(self._descriptor)

    def _write_whole(self, data: bytes) -> bool:
        rest = memoryview(_NEWLINE + data if self._torn else data)
        try:
            while rest:
                rest = rest[self._write_some(rest) :]
        except OSError:
            self._torn = self._torn or len(rest) < len(data)  # a line may have been cut: the next begins a new one
            return False
        self._torn = False
        return True

    def _write_some(self, data: memoryview) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:  # somebody else made it non-blocking
            select.select([], [self._descriptor], [])
            return 0


class RequestLog:
    """One line a request, costing the request about two microseconds and never an exception.

    Lines wait in memory until 256 of them do, a quarter of a second has passed, `flush` or `close`.
    """

    __slots__ = ("_enabled", "_lines", "_loop", "_render", "_sink", "_timer")

    def __init__(self, sink: Sink, *, console: bool = False, enabled: bool = True) -> None:
        self._sink = sink
        self._enabled = enabled
        self._render: Callable[[Mapping[str, object]], bytes] = (
            _ConsoleLine(colours=sink.is_terminal) if console else _JsonLine()
        )
        self._lines: list[bytes] = []
        self._loop: AbstractEventLoop | None = None
        self._timer: TimerHandle | None = None

    @property
    def dropped(self) -> int:
        """How many lines, events among them, the sink could not take."""
        return self._sink.dropped

    def start(self, loop: AbstractEventLoop) -> None:
        """From now on lines that wait are written a few times a second; no timer runs while none wait."""
        self._loop = loop

    def add(self, fields: Mapping[str, object]) -> None:
        """Say that a request ended; `event`, `level` and `timestamp` are added. The fields are not empty."""
        if not self._enabled:
            return
        self._lines.append(self._render(fields))
        if len(self._lines) >= _BATCH_LINES:
            self.flush()
        elif self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(_BATCH_SECONDS, self._on_timer)

    def flush(self) -> None:
        """Hand every waiting line to the sink."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._sink.write(_NEWLINE.join(lines) + _NEWLINE, len(lines))

    def close(self) -> None:
        """Write what waits and end the sink, events included. May be called twice."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop = self._timer = None
        self.flush()
        self._sink.close()
        atexit.unregister(self.close)

    def _on_timer(self) -> None:
        self._timer = None
        self.flush()


def masked(line: bytes) -> bytes:
    """The line with the secret half of everything shaped like a token replaced: a last line of defence."""
    return _SECRET.sub(b".***", line) if _SECRET.search(line) else line


def _to_json(fields: Mapping[str, object]) -> bytes:
    try:
        return orjson.dumps(fields)
    except TypeError:  # half a surrogate pair, a number beyond 64 bits, an object: say it clumsily rather than not
        return json.dumps(fields, default=str).encode()


class _JsonLine:
    """The line of a request for machines. What is the same for all lines of a second is made once a second."""

    __slots__ = ("_head", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._head = b""

    def __call__(self, fields: Mapping[str, object]) -> bytes:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._head = b'{"event":"request","level":"info","timestamp":"%b' % _stamp(second)[:-4].encode()
        return self._head + _MILLISECONDS[int((now - second) * 1000)] + _to_json(fields)[1:]


def _stamp(now: float) -> str:
    """ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _ConsoleLine:
    """The line of a request for people: what happened first and in colour, the rest behind it."""

    _HEADLINE: Final = ("status", "decision", "reasons", "type", "operation", "root_fields", "duration_ms")

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, fields: Mapping[str, object]) -> bytes:
        shown = {name: _readable(value) for name, value in fields.items() if value not in (None, "", (), [])}
        headline = " ".join(shown.pop(name) for name in self._HEADLINE if name in shown)
        rest = " ".join(f"{name}={value}" for name, value in shown.items())
        moment = _stamp(time.time())[11:-1]
        colour = _colour(fields)
        line = f"{_DIM}{moment}{_RESET} {colour}{headline}{_RESET} {_DIM}{rest}{_RESET}"
        return (line if self._colours else f"{moment} {headline} {rest}").encode(errors="replace")


def _colour(fields: Mapping[str, object]) -> str:
    status = fields.get("status")
    if isinstance(status, int) and status >= 500:
        return _RED
    return _GREEN if str(fields.get("decision")).startswith("allow") else _YELLOW


def _readable(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(map(_readable, value))
    text = str(value)
    return text if text.isprintable() else ascii(text)  # a control character could drive the terminal


class _Renderer:
    """An event to the bytes of its line; the same for structlog and for the standard library's loggers."""

    def __init__(self, *, console: bool, colours: bool) -> None:
        self._console = (
            structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)
            if console
            else None
        )

    def processor(self, _: object, method: str, event: MutableMapping[str, Any]) -> bytes:
        """The last processor of structlog's chain."""
        named = {"event": event.pop("event", ""), "level": event.pop("level", method), "timestamp": _stamp(time.time())}
        ordered = {**named, **event}
        if self._console is None:
            return _to_json(ordered) + _NEWLINE
        safe = {name: value if name == "exception" else _readable(value) for name, value in ordered.items()}
        return str(self._console(None, method, safe)).encode(errors="replace") + _NEWLINE


class _SinkLogger:
    """What structlog calls at the end of its chain."""

    def __init__(self, sink: Sink) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = self.exception = sink.write


class _SinkHandler(logging.Handler):
    """Other libraries' records as events of ours: one line each, and no stack but at level debug."""

    def __init__(self, sink: Sink, render: _Renderer, *, stacks: bool) -> None:
        super().__init__()
        self._sink = sink
        self._render = render
        self._stacks = stacks

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; a record that cannot be formatted is written as it is."""
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - another library's slip in its logging must not become ours
            text = str(record.msg)
        level = record.levelname.lower()
        event: dict[str, Any] = {"event": text, "level": level, "logger": record.name}
        if record.exc_info and record.exc_info[1] is not None:
            event |= self._exception(record.exc_info[1])
        self._sink.write(self._render.processor(None, level, event))

    def _exception(self, error: BaseException) -> dict[str, str]:
        if self._stacks:
            return {"exception": logging.Formatter().formatException((type(error), error, error.__traceback__))}
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"[:_MAX_ERROR_TEXT]}


def _route_standard_library(sink: Sink, render: _Renderer, level: Level) -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _SinkHandler)]:
        root.removeHandler(handler)
    root.addHandler(_SinkHandler(sink, render, stacks=level == "debug"))
    # Libraries tell of their own running at info, which is noise to an operator who did not ask for all of it.
    root.setLevel(logging.DEBUG if level == "debug" else max(logging.WARNING, _LEVELS[level]))
    logging.captureWarnings(True)
