"""The result in its three forms: a table to read, JSON for programs, and the table in docs/performance.md."""

import datetime as dt
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from figures import SUBJECTS, Row
from process import BenchError
from servers import REPOSITORY, envoy_binary, which

DOCUMENT: Final = REPOSITORY / "docs" / "performance.md"
_BEGIN: Final = "<!-- bench:begin -->"
_END: Final = "<!-- bench:end -->"
_IDLE: Final = 3  # proc(5), /proc/stat
_VERSION: Final = re.compile(r"/(\d+\.\d+(?:\.\d+)*)")


@dataclass(frozen=True, slots=True)
class Report:
    """All rows, and the circumstances without which they mean nothing."""

    rows: Sequence[Row]
    circumstances: dict[str, str]

    @property
    def missed(self) -> list[str]:
        """A sentence for each goal that was missed."""
        return [row.missed for row in self.rows if row.missed is not None]

    def table(self) -> str:
        """A Markdown table that reads as well in a terminal."""
        subjects = [name for name in SUBJECTS if any(name in row.figures for row in self.rows)]
        cells = [["", *subjects, "gateway / Envoy", "goal", ""]]
        cells += [_cells(row, subjects) for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
        rule = " | ".join("-" * max(width, 3) for width in widths)
        return "\n".join(f"| {line} |" for line in [lines[0], rule, *lines[1:]])

    def as_json(self) -> str:
        """One object: the circumstances, every figure with its values, and every goal with whether it was met."""
        return json.dumps({"circumstances": self.circumstances, "rows": [_plain(row) for row in self.rows]})

    def write(self, document: Path) -> None:
        """Replaces what stands between the two markers of the document by the table and its circumstances."""
        before, begin, rest = document.read_text(encoding="utf-8").partition(_BEGIN)
        _, end, after = rest.partition(_END)
        if not begin or not end:
            raise BenchError(f"{document} has no {_BEGIN} and {_END} to write between.")
        circumstances = "\n".join(f"* {name}: {value}" for name, value in self.circumstances.items())
        text = f"{before}{begin}\n{self.table()}\n\n{circumstances}\n{end}{after}"
        document.write_text(text, encoding="utf-8")


def circumstances(arguments: Sequence[str]) -> dict[str, str]:
    """The date, the machine, what else it was doing, the command line and the versions of all that was measured."""
    packages = ("aiohttp", "uvloop", "httptools", "graphql-core")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "command": " ".join(["python bench/run.py", *arguments]),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "busy before": f"{_busy():.0%}",
        "system": f"Linux {platform.release()}, Python {platform.python_version()}",
        "gateway": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "Envoy": _version(envoy_binary() or "envoy", "--version"),
        "nginx": _version(which("nginx") or "nginx", "-v"),
        "wrk": _version("wrk", "--version"),
        "h2load": _version("h2load", "--version"),
    }


def _cells(row: Row, subjects: Sequence[str]) -> list[str]:
    figures = [row.figures[name].text(row.digits) if name in row.figures else "" for name in subjects]
    ratio = row.ratio.text(2) if row.ratio else ""
    if row.goal is None:
        return [row.what, *figures, ratio, "", ""]
    return [row.what, *figures, ratio, row.goal.text(), "missed" if row.missed else "met"]


def _plain(row: Row) -> dict[str, object]:
    named = {**row.figures, **({"ratio": row.ratio} if row.ratio else {})}
    figures = {
        name: {"median": one.median, "min": min(one.values), "max": max(one.values), "values": list(one.values)}
        for name, one in named.items()
    }
    goal = None
    if row.goal is not None:
        goal = {"compare": row.goal.compare, "bound": row.goal.bound, "met": row.missed is None}
    return {"key": row.key, "what": row.what, "figures": figures, "goal": goal}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _busy() -> float:
    """The share of all cores that was in use, or taken by another guest, during one second."""
    before = _ticks()
    time.sleep(1)
    passed = [now - then for now, then in zip(_ticks(), before, strict=True)]
    return 1 - passed[_IDLE] / sum(passed)


def _ticks() -> list[int]:
    return [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]


def _version(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=10)
    found = _VERSION.search(done.stdout + done.stderr)
    return found[1] if found else "unknown"
