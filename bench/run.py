"""Measures the gateway against Envoy on this machine: `python bench/run.py [quick]`. README.md says how to read it."""

import argparse
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from check import check_log, check_metrics
from figures import ENVOY, GATEWAY, Row
from load import Generator
from measure import Bench, Plan
from peer import hive
from process import BenchError
from report import DOCUMENT, Report, circumstances
from servers import Cores, envoy, gateway, missing_tools, nginx, redis

_FULL = Plan(rounds=5, seconds=6, relay_seconds=20)
_QUICK = Plan(rounds=2, seconds=2, relay_seconds=5)
_ALLOWED_LINE: dict[str, object] = {"decision": "allow", "status": 200}
_PROXIED_LINE: dict[str, object] = {"status": 200}


def main() -> int:
    """Runs the bench; 0 when every goal is met, 1 when one is missed, 2 when there is nothing to trust."""
    options = _options(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        report = _measured(options)
        print(report.as_json() if options.json else report.table())
        if options.markdown:
            report.write(DOCUMENT)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    for sentence in report.missed:
        print(sentence, file=sys.stderr)
    return 1 if report.missed and not options.no_goals else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.py", description=__doc__)
    parser.add_argument("quick", nargs="?", choices=["quick"], help="2 rounds of 2 s: to see it run, not to quote")
    parser.add_argument("--rounds", type=int, help="rounds that count, after one that does not")
    parser.add_argument("--seconds", type=int, help="seconds of each run")
    parser.add_argument("--only", nargs="+", choices=list(_MEASUREMENTS), help="these measurements instead of all")
    parser.add_argument("--cores", default="0,1", help="of the measured servers, and of the load and nginx (0,1)")
    parser.add_argument("--peer", choices=["hive"], help="measure this one's requests/s too, installed by npm")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("--markdown", action="store_true", help="write the table into docs/performance.md too")
    parser.add_argument("--no-goals", action="store_true", help="exit 0 though a goal is missed")
    options = parser.parse_args(arguments)
    standard = _QUICK if options.quick else _FULL
    seconds, rounds = options.seconds or standard.seconds, options.rounds or standard.rounds
    options.plan = Plan(rounds, seconds, standard.relay_seconds)
    return options


_MEASUREMENTS: dict[str, Callable[[Bench], list[Row]]] = {
    "throughput": Bench.same_document,
    "documents": Bench.new_documents,
    "latency": Bench.fixed_rate,
    "relay": Bench.slow_client,
    "store": Bench.shared_store,
}


def _measured(options: argparse.Namespace) -> Report:
    _refuse_without(missing_tools())
    with _alone():
        return _report(options)


def _report(options: argparse.Namespace) -> Report:
    about = circumstances(sys.argv[1:])
    cores = _cores(options.cores)
    os.sched_setaffinity(0, {cores.load})
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as name:
        directory = Path(name)
        with _bench(directory, cores, options) as bench:
            rows = [row for key in options.only or _MEASUREMENTS for row in _MEASUREMENTS[key](bench)]
    return Report(rows, about)


@contextlib.contextmanager
def _bench(directory: Path, cores: Cores, options: argparse.Namespace) -> Iterator[Bench]:
    """The bench with all its servers; when they have ended, their logs are held against what was sent."""
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(nginx(directory, cores))
        proxy = stack.enter_context(envoy(directory, cores, upstream))
        ours = stack.enter_context(gateway(directory, cores, upstream))
        peer = stack.enter_context(hive(directory, cores, upstream)) if options.peer else None
        shared = None
        if "store" in (options.only or _MEASUREMENTS):
            url = stack.enter_context(redis(directory, cores))
            shared = stack.enter_context(gateway(directory / "shared", cores, upstream, url))
        generator = Generator(cores.load, ours.token, directory)
        bench = Bench(options.plan, generator, upstream, proxy.server, ours, peer, shared)
        bench.probe()
        yield bench
        check_metrics(ours.admin_port, bench.sent[GATEWAY])
    check_log("Envoy", proxy.log, _PROXIED_LINE, bench.sent[ENVOY])
    check_log("The gateway", ours.log, _ALLOWED_LINE, bench.sent[GATEWAY])


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """No second bench beside this one. The name is the kernel's, unix(7), and goes with the process however it ends."""
    with socket.socket(socket.AF_UNIX) as name:
        try:
            name.bind("\0gateway-bench")
        except OSError:
            raise BenchError("Another bench runs on this machine: the two would measure each other.") from None
        yield


def _cores(text: str) -> Cores:
    try:
        server, load = (int(core) for core in text.split(","))
    except ValueError:
        raise BenchError("--cores takes two numbers, as 0,1.") from None
    if server == load or not {server, load} <= os.sched_getaffinity(0):
        raise BenchError(f"The bench needs two cores, and this process may not use both of {text}.")
    return Cores(server, load)


def _refuse_without(missing: Sequence[str]) -> None:
    if missing:
        raise BenchError(f"The bench needs {', '.join(missing)}: bench/install.sh installs it on Debian.")


if __name__ == "__main__":
    sys.exit(main())
