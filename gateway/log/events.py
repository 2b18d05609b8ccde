"""Events: structlog, and the loggers of the standard library that other packages use, made to write alike."""

import atexit
import logging
import time
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final, Literal

import structlog

from gateway.log.lines import readable, stamp, to_json
from gateway.log.requests import RequestLog
from gateway.log.sink import Sink

Format = Literal["auto", "json", "console"]
Level = Literal["debug", "info", "warning", "error"]

_STANDARD_ERROR: Final = 2
_MAX_ERROR_TEXT: Final = 500
_LEVELS: Final[Mapping[Level, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


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
        named = {"event": event.pop("event", ""), "level": event.pop("level", method), "timestamp": stamp(time.time())}
        ordered = {**named, **event}
        if self._console is None:
            return to_json(ordered) + b"\n"
        safe = {name: value if name == "exception" else readable(value) for name, value in ordered.items()}
        return str(self._console(None, method, safe)).encode(errors="replace") + b"\n"


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
