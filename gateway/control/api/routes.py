"""A route of the API: one row that decides who may ask, what is checked and what is answered, and that the OpenAPI
document is made of."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from gateway.control.api.asked import Body, Query
from gateway.control.api.callers import Needs
from gateway.control.api.calls import Call, Ids, Record, Reply
from gateway.core.ledger import Asked

PREFIX: Final = "/api/v1"

# What an id can be at all. One that cannot is answered as one that is not there.
PARAMETERS: Final[Mapping[str, str]] = {
    "app": "^[0-9a-f]{24}$",
    "key": "^[0-9a-f]{8,64}$",
    "user": "^[!-~]{1,128}$",
    "developer": "^dev_[0-9a-f]{16}$",
    "token": "^[0-9a-f]{16}$",
    "incident": "^[0-9a-f]{2}inc[0-9a-f]{16}$",
}


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path. `operation` is what a generated client calls it, `summary` says it in a few words, and
    `about` what else one should know. `ask` is what is looked at to let a call in, the record of the path with it.
    Without `body_wanted` the body may be left out."""

    method: str
    path: str
    operation: str
    summary: str
    needs: Needs
    handle: Callable[[Call], Awaitable[Reply]]
    answer: type[BaseModel] | None = None
    status: int = 200
    body: type[Body] | None = None
    body_wanted: bool = True
    query: type[Query] = Query
    ask: Callable[[Ids], Asked] | None = None
    record: Record | None = None
    repeatable: bool = True
    about: str = ""

    @property
    def segments(self) -> tuple[str, ...]:
        """The parts of the path."""
        return tuple(self.path.strip("/").split("/"))

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names in braces."""
        return tuple(part[1:-1] for part in self.segments if part.startswith("{"))

    @property
    def keyed(self) -> bool:
        """Whether an `Idempotency-Key` is heeded."""
        return self.method == "POST" and self.repeatable

    def asked(self, ids: Ids) -> Asked | None:
        """What is to be looked at before a call is let in: the app with its roles, and the record."""
        if "app" not in ids:
            return None
        return self.ask(ids) if self.ask is not None else Asked(ids["app"], roles=True)


class Routes:
    """Finds a route by method and path."""

    def __init__(self, rows: tuple[Route, ...]) -> None:
        self.rows = rows
        self._patterns = {name: re.compile(pattern[:-1] + r"\Z") for name, pattern in PARAMETERS.items()}

    def find(self, parts: tuple[str, ...]) -> tuple[dict[str, Route], Ids]:
        """The routes of a path, by method, and the ids in it."""
        found: dict[str, Route] = {}
        named: Ids = {}
        for row in self.rows:
            ids = self._match(row, parts)
            # What is written in a path comes before what is named there.
            if ids is not None and (not found or len(ids) <= len(named)):
                found = {**(found if len(ids) == len(named) else {}), row.method: row}
                named = ids
        return found, named

    def _match(self, row: Route, parts: tuple[str, ...]) -> Ids | None:
        if len(row.segments) != len(parts):
            return None
        ids = {}
        for segment, part in zip(row.segments, parts, strict=True):
            if segment.startswith("{"):
                name = segment[1:-1]
                if not self._patterns[name].match(part):
                    return None
                ids[name] = part
            elif segment != part:
                return None
        return ids
