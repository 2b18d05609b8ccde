"""Where lines go: a descriptor or a file that may be slow, full or gone, and must not be felt."""

import os
import re
import select
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Final

# Half a second of lines at full speed: a sink that is away for longer is away, and lines are dropped and counted.
_MAX_WAITING_BYTES: Final = 4_194_304
# How long the end of the process waits for a sink that takes nothing.
_CLOSE_SECONDS: Final = 1.0

# The secret half of anything shaped like a token, ours or the seed's; the id before the dot may be told. It begins with
# a literal, which keeps the search of a line without tokens below half a microsecond.
_SECRET: Final = re.compile(rb"\.(?<=[0-9a-f]{8}\.)[0-9A-Za-z]{16,}")
# And the signature of a JWT, whose header is an object in base64 (RFC 7519 section 3). Looked for where such a word
# begins only, or a long name made of beginnings would be read once for each of them.
_SIGNATURE: Final = re.compile(rb"(?<![0-9A-Za-z_-])(eyJ[0-9A-Za-z_-]++\.[0-9A-Za-z_-]++\.)[0-9A-Za-z_-]{16,}")


def masked(lines: bytes) -> bytes:
    """The lines without the secret part of anything shaped like a token: a last line of defence."""
    if _SECRET.search(lines):
        lines = _SECRET.sub(b".***", lines)
    return _SIGNATURE.sub(rb"\1***", lines) if b"eyJ" in lines else lines


class Sink:
    """Takes lines without ever making the caller wait or fail; what could not be written is counted in `dropped`.

    What looks like a token leaves it masked, whoever said it. One thread writes, because no other way of writing is
    sure not to block: files always may, and switching a terminal or a pipe to non-blocking would switch it for every
    process that shares it.
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
        self._batches: SimpleQueue[tuple[bytes, int] | threading.Event | None] = SimpleQueue()
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

    def settle(self) -> None:
        """Return when everything taken so far has been written, or after a second."""
        written = threading.Event()
        self._batches.put(written)
        written.wait(_CLOSE_SECONDS)

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
            if isinstance(batch, threading.Event):
                batch.set()
                continue
            data, lines = batch
            written = self._write_whole(masked(data))
            with self._lock:
                self._waiting_bytes -= len(data)
                self.dropped += 0 if written else lines
        if self._owned:
            os.close(self._descriptor)

    def _write_whole(self, data: bytes) -> bool:
        rest = memoryview(b"\n" + data if self._torn else data)
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
