"""An upstream that shows what crossed: it answers every request with its own line, headers and body as JSON."""

import json
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Crossed:
    """One request as it reached the upstream."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Every value of a header, whatever its case."""
        return [value for given, value in self.headers if given.lower() == name.lower()]

    def one(self, name: str) -> str | None:
        """The value of a header that must not stand twice."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} crossed {len(values)} times"
        return values[0] if values else None


@dataclass(slots=True)
class Echo:
    """Remembers what it received; `status` and `answer_headers` are what it answers with."""

    url: str = ""
    received: list[Crossed] = field(default_factory=list)
    status: int = 200
    answer_headers: dict[str, str] = field(default_factory=dict)
    _runner: web.ServerRunner | None = None

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None))
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        crossed = Crossed(
            request.method,
            request.raw_path,
            tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers),
            await request.read(),
        )
        self.received.append(crossed)
        body = json.dumps({"data": {"target": crossed.target, "headers": crossed.headers}})
        return web.Response(status=self.status, text=body, content_type="application/json", headers=self.answer_headers)
