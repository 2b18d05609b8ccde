"""Child processes of the bench: each on its own core, each ended with it, and what the kernel says of them."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from message import REQUEST_PATH

_START_SECONDS = 20.0
_STOP_SECONDS = 10.0
_TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """The bench cannot go on, or a figure cannot be trusted; the text says why in one sentence."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a server, what it listens on, and where what it prints goes."""

    name: str
    command: Sequence[str]
    core: int
    port: int
    directory: Path
    output: Path


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, and what the kernel says of it."""

    name: str
    pid: int
    port: int

    @property
    def url(self) -> str:
        """Where the request of the bench is sent."""
        return f"http://127.0.0.1:{self.port}{REQUEST_PATH}"

    def rss(self) -> int:
        """Resident memory now, in bytes."""
        return self._status("VmRSS")

    def peak_rss(self) -> int:
        """The most resident memory since `forget_peak`, in bytes."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """Makes the kernel count `peak_rss` anew (proc(5), clear_refs)."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def cpu_seconds(self) -> float:
        """Processor time used so far, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def _status(self, name: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise BenchError(f"The kernel does not say {name} of {self.name}.")


def pinned(core: int, command: Sequence[str]) -> list[str]:
    """The command on that core alone, ended by the kernel should the bench itself be killed."""
    return ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", str(core), *command]


def free_ports(count: int) -> list[int]:
    """Different ports of the loopback that nobody listened on just now."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(listener.getsockname()[1]) for listener in listeners]


@contextlib.contextmanager
def running(launch: Launch) -> Iterator[Server]:
    """A server that accepts connections, and that has ended when the block is left."""
    with launch.output.open("ab") as output:
        process = subprocess.Popen(
            pinned(launch.core, launch.command),
            cwd=launch.directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        _await_listener(launch, process)
        yield Server(launch.name, process.pid, launch.port)
        if process.poll() is not None:
            raise BenchError(f"{launch.name} ended during the bench: {_tail(launch.output)}")
    finally:
        _end(process)


def _await_listener(launch: Launch, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise BenchError(f"{launch.name} ended at its start: {_tail(launch.output)}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", launch.port), 1):
            return
        time.sleep(0.05)
    raise BenchError(f"{launch.name} did not listen within {_START_SECONDS:.0f} s: {_tail(launch.output)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(path: Path) -> str:
    return path.read_text(errors="replace").strip()[-2000:] or "it said nothing"
