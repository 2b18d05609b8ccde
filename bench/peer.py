"""Another gateway that reads GraphQL, to see beside ours: Hive Gateway, from npm."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from message import REQUEST_PATH
from process import BenchError, Launch, Server, free_ports, running
from servers import SCHEMA, Cores, filled, required, which

_PACKAGE = "@graphql-hive/gateway@2.15.1"
_INSTALLED = Path(__file__).with_name("peer")
_PROGRAM = _INSTALLED / "node_modules" / ".bin" / "hive-gateway"
_INSTALL_SECONDS = 600


@contextlib.contextmanager
def hive(directory: Path, cores: Cores, upstream: Server) -> Iterator[Server]:
    """Hive Gateway in proxy mode with one process; installed first where it is not yet, which takes minutes."""
    node = required(which("node"), "node, which --peer hive needs")
    if not _PROGRAM.exists():
        _install()
    [port] = free_ports(1)
    config = filled("hive.mjs", directory, path=REQUEST_PATH, upstream_port=upstream.port, schema=SCHEMA)
    command = ["env", "NODE_ENV=production", node, str(_PROGRAM), "proxy", "-c", str(config)]
    command += ["-h", "127.0.0.1", "-p", str(port)]
    with running(Launch("Hive Gateway", command, cores.server, port, directory, directory / "hive.out")) as server:
        yield server


def _install() -> None:
    npm = required(which("npm"), "npm, which --peer hive needs")
    print(f"installing {_PACKAGE} into {_INSTALLED}", file=sys.stderr, flush=True)
    command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(_INSTALLED), _PACKAGE]
    try:
        subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=True)
    except subprocess.TimeoutExpired:
        raise BenchError(f"npm did not install {_PACKAGE} within {_INSTALL_SECONDS} s.") from None
    except subprocess.CalledProcessError as error:
        raise BenchError(f"npm cannot install {_PACKAGE}: {error.stderr.strip()[-1000:]}") from error
