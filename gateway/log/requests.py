"""The line of each request, by the short road."""

import time
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Mapping
from typing import Final

from gateway.log.lines import ConsoleLine, JsonLine, Line
from gateway.log.sink import Sink

_BATCH_LINES: Final = 256
_BATCH_SECONDS: Final = 0.25


class RequestLog:
    """One line a request, costing the request about two microseconds and never an exception.

    Lines wait in memory until 256 of them do, a quarter of a second has passed, `flush` or `close`.
    """

    __slots__ = ("_enabled", "_line", "_lines", "_loop", "_sink", "_timer")

    def __init__(self, sink: Sink, *, console: bool = False, enabled: bool = True) -> None:
        self._sink = sink
        self._enabled = enabled
        self._line: Line = ConsoleLine(colours=sink.is_terminal) if console else JsonLine()
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

    def add(self, fields: Mapping[str, object], now: float | None = None) -> None:
        """Say that a request ended, at `now` or this moment. `event`, `level` and `timestamp` are added; the fields
        are not empty."""
        if not self._enabled:
            return
        self._lines.append(self._line(fields, time.time() if now is None else now))
        if len(self._lines) >= _BATCH_LINES:
            self.flush()
        elif self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(_BATCH_SECONDS, self._on_timer)

    def flush(self) -> None:
        """Hand every waiting line to the sink."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._sink.write(b"\n".join([*lines, b""]), len(lines))

    def settle(self) -> None:
        """Return when every line so far has been written, or after a second; for whoever reads the log right after."""
        self.flush()
        self._sink.settle()

    def close(self) -> None:
        """Write what waits and end the sink, events included. May be called twice."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop = self._timer = None
        self.flush()
        self._sink.close()

    def _on_timer(self) -> None:
        self._timer = None
        self.flush()
