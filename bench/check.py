"""What makes a figure believable: the right answer before the load, and a log line for each request after it."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from message import ANSWER_TYPE, answer_body, request_body
from process import BenchError

_PROBE_SECONDS = 10


@dataclass(slots=True)
class Sent:
    """How many requests a server has answered, and how many more it may have seen when a run of wrk was cut off."""

    answered: int = 0
    cut_off: int = 0

    def add(self, answered: int, cut_off: int = 0) -> None:
        """Counts one run."""
        self.answered += answered
        self.cut_off += cut_off


def probe(name: str, url: str, token: str) -> None:
    """Sends the request once, and raises unless exactly the upstream's answer comes back."""
    headers = {"Content-Type": ANSWER_TYPE, "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, request_body(), headers)
    try:
        with urllib.request.urlopen(request, timeout=_PROBE_SECONDS) as answer:
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
    if status != 200 or body != answer_body():
        raise BenchError(f"{name} answered {status} with {body[:500]!r} instead of the upstream's answer.")
