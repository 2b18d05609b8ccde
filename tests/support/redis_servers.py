"""Real Redis servers on free ports of 127.0.0.1: one, one with replicas or sentinels, or a cluster of three."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.ports import free_ports

PRIMARY_NAME = "keys"
LASTING = ("appendonly yes", 'save ""')
FORGETFUL = ("appendonly no", 'save ""')

_PATIENCE = 20.0
_SLOTS = 16384


def require_redis() -> None:
    """Skip the test, visibly, where there is no Redis server; in CI that is a failure."""
    missing = [name for name in ("redis-server", "redis-sentinel") if shutil.which(name) is None]
    if missing and "CI" in os.environ:
        pytest.fail(f"{', '.join(missing)} must be installed here")
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed")


class RedisServer:
    """One process on one port, which can be frozen, killed, and started again with what it had on its disk."""

    def __init__(
        self,
        directory: Path,
        port: int,
        *settings: str,
        sentinel: bool = False,
        client: Mapping[str, Any] | None = None,
    ) -> None:
        """`client` is what a client needs to be let in."""
        directory.mkdir(parents=True)
        self.directory = directory
        self.port = port
        self._client = dict(client or {})
        self._command = ["redis-sentinel" if sentinel else "redis-server", str(directory / "redis.conf")]
        self._process: subprocess.Popen[bytes] | None = None
        own = (
            f"port {port}",
            "bind 127.0.0.1",
            "repl-diskless-sync-delay 0",
            f'dir "{directory}"',
            'logfile "redis.log"',
        )
        (directory / "redis.conf").write_text("\n".join([*own, *settings, ""]))

    def start(self) -> None:
        """Start it, and wait until it has loaded its data."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._answers)

    def run(self, *command: str | bytes | int) -> Any:
        """The answer to one command, on a connection of its own."""
        with redis.Redis(port=self.port, socket_timeout=5, protocol=2, **self._client) as client:
            return client.execute_command(*command)

    def is_replicated(self) -> bool:
        """Whether a replica acknowledges what is written now."""
        with redis.Redis(port=self.port, socket_timeout=5, protocol=2, single_connection_client=True) as client:
            client.publish("replicated", "")  # which replicas are told of, and leaves nothing behind
            return bool(client.wait(1, 2000))

    def contents(self) -> dict[bytes, bytes]:
        """Everything that lies in it, to be compared with what lay there before."""
        with redis.Redis(port=self.port, socket_timeout=5, protocol=2, **self._client) as client:
            return {key: client.dump(key) for key in client.scan_iter(count=1000)}

    @contextmanager
    def monitored(self) -> Iterator[list[str]]:
        """A list that has, after the block, a line for each command that came in it, those of scripts too."""
        lines: list[str] = []
        with (
            redis.Redis(port=self.port, socket_timeout=5, protocol=2, **self._client) as client,
            client.monitor() as all_,
        ):
            yield lines
            self.run("ECHO", "end of monitoring")
            for each in all_.listen():
                if "end of monitoring" in each["command"]:
                    return
                lines.append(("lua " if each["client_type"] == "lua" else "") + each["command"])

    def info(self, section: str) -> dict[str, Any]:
        """A section of what it says of itself."""
        return dict(self.run("INFO", section))

    def freeze(self) -> None:
        """Let it do nothing until it is thawed; its connections stay."""
        self._signal(signal.SIGSTOP)
        assert self._process is not None
        os.waitpid(self._process.pid, os.WUNTRACED)  # a moment may pass until it has stopped

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a crash would, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.directory / "redis.log").read_text()
        try:
            self.run("PING")
        except redis.RedisError:
            return False
        return True

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@dataclass(frozen=True, slots=True)
class Servers:
    """Running servers, and the URL of the store that they are."""

    url: str
    primaries: list[RedisServer]
    replica: RedisServer | None = None
    sentinel: RedisServer | None = None
    sentinels: tuple[RedisServer, ...] = ()
    replicas: tuple[RedisServer, ...] = ()  # of a cluster, each of the primary in the same place


@contextmanager
def single(directory: Path, *settings: str) -> Iterator[Servers]:
    """One server, which writes to its disk unless other settings are given."""
    with _started(directory, ["single"], lambda _: settings or LASTING) as (server,):
        yield Servers(f"redis://127.0.0.1:{server.port}", [server])


@contextmanager
def guarded(directory: Path, password: str, certificate: Path, authority: Path) -> Iterator[Servers]:
    """One server that speaks TLS only, and lets in nobody without the password."""
    settings = ("port 0", f"tls-cert-file {certificate}", f"tls-key-file {certificate}", "tls-auth-clients no")
    require_redis()
    (port,) = free_ports(1)
    client = {"ssl": True, "ssl_ca_certs": str(authority), "ssl_check_hostname": False, "password": password}
    server = RedisServer(
        directory / "guarded", port, *settings, f"tls-port {port}", f"requirepass {password}", *FORGETFUL, client=client
    )
    with ExitStack() as stack:
        stack.callback(server.kill)
        server.start()
        yield Servers(f"rediss://127.0.0.1:{server.port}", [server])


@contextmanager
def with_replica(directory: Path, *settings: str) -> Iterator[Servers]:
    """A primary and its replica."""
    with _started(directory, ["primary", "replica"], lambda _: settings or LASTING) as (primary, replica):
        follow(replica, primary)
        yield Servers(f"redis://127.0.0.1:{primary.port}", [primary], replica)


@contextmanager
def with_sentinel(directory: Path, *settings: str, count: int = 1, down_after: int = 500) -> Iterator[Servers]:
    """A primary, its replica and sentinels that put the one in the other's place after so many milliseconds."""
    with ExitStack() as stack:
        pair = stack.enter_context(with_replica(directory, *settings))
        (primary,) = pair.primaries
        sentinels = []
        for number, port in enumerate(free_ports(count)):
            sentinel = RedisServer(
                directory / f"sentinel{number}",
                port,
                f"sentinel monitor {PRIMARY_NAME} 127.0.0.1 {primary.port} {count // 2 + 1}",
                f"sentinel down-after-milliseconds {PRIMARY_NAME} {down_after}",
                f"sentinel failover-timeout {PRIMARY_NAME} 2000",
                sentinel=True,
            )
            stack.callback(sentinel.kill)
            sentinel.start()
            sentinels.append(sentinel)
        for sentinel in sentinels:
            until(lambda asked=sentinel: len(asked.run("SENTINEL", "REPLICAS", PRIMARY_NAME)) == 1)
            until(lambda asked=sentinel: len(asked.run("SENTINEL", "SENTINELS", PRIMARY_NAME)) == count - 1)
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
        url = f"redis+sentinel://{hosts}/{PRIMARY_NAME}"
        yield Servers(url, [primary], pair.replica, sentinels[0], tuple(sentinels))


@contextmanager
def cluster(directory: Path, *settings: str, replicas: bool = False) -> Iterator[Servers]:
    """Three servers, each with a third of the slots, and a replica each if wanted."""

    def of_cluster(bus: int) -> tuple[str, ...]:
        return ("cluster-enabled yes", f"cluster-port {bus}", "cluster-node-timeout 1000", *(settings or LASTING))

    names = ["0", "1", "2", *(["3", "4", "5"] if replicas else [])]
    with _started(directory, names, of_cluster) as all_:
        servers, others = all_[:3], all_[3:]
        for number, server in enumerate(servers):
            first, after = (_SLOTS * share // len(servers) for share in (number, number + 1))
            server.run("CLUSTER", "ADDSLOTSRANGE", first, after - 1)
        for number, server in enumerate(all_):
            server.run("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for server in all_[1:]:
            _, bus = server.run("CONFIG", "GET", "cluster-port")
            servers[0].run("CLUSTER", "MEET", "127.0.0.1", server.port, bus)
        until(lambda: all(_whole(server, len(servers)) for server in all_))
        for server, other in zip(servers, others, strict=False):
            identifier = server.run("CLUSTER", "MYID")
            until(lambda asked=other, sought=identifier: sought in asked.run("CLUSTER", "NODES"))
            other.run("CLUSTER", "REPLICATE", identifier)
        for other in others:
            until(lambda asked=other: asked.info("replication").get("master_link_status") == "up")
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
        yield Servers(f"redis+cluster://{hosts}", servers, replicas=tuple(others))


def follow(replica: RedisServer, primary: RedisServer) -> None:
    """Make one server the replica of another, and wait until it has everything and the other knows that."""
    replica.run("REPLICAOF", "127.0.0.1", primary.port)
    until(lambda: replica.info("replication")["master_link_status"] == "up")
    # A new replica's first acknowledgement comes a second late.
    until(primary.is_replicated)


def until(found: Callable[[], Any]) -> Any:
    """What is found, as soon as it is something."""
    deadline = time.monotonic() + _PATIENCE
    while not (result := found()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)
    return result


@contextmanager
def _started(
    directory: Path, names: list[str], settings: Callable[[int], tuple[str, ...]]
) -> Iterator[list[RedisServer]]:
    """Servers with these names; `settings` are told a second free port."""
    require_redis()
    ports = free_ports(2 * len(names))
    with ExitStack() as stack:
        servers = []
        for name, port, other in zip(names, ports[::2], ports[1::2], strict=True):
            server = RedisServer(directory / name, port, *settings(other))
            stack.callback(server.kill)
            server.start()
            servers.append(server)
        yield servers


def _whole(server: RedisServer, size: int) -> bool:
    owners = {tuple(owner[:2]) for _, _, owner, *_ in server.run("CLUSTER", "SLOTS")}
    return b"cluster_state:ok" in server.run("CLUSTER", "INFO") and len(owners) == size
