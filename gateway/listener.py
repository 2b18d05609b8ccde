"""aiohttp's application server for what is not the way of a request: the admin listener and the pretend upstream.

aiohttp answers and logs a request that it cannot parse by quoting the offending line, token included. Here both are
fixed texts. And it names itself and its version in every answer, which helps those who look for known holes alone.
"""

import asyncio
from typing import Any, Final

import orjson
import structlog
from aiohttp import web

_log: Final = structlog.get_logger()

# For how long the rest of a body that nobody wants is read and thrown away: so that its sender reads the answer.
_LINGER: Final = 1.0

HEAD_SECONDS: Final = 10.0  # from a connection, or the first byte of a request, until its head is there
_IDLE_SECONDS: Final = 75.0  # between two requests, as on the port for clients

_TEXTS: Final = {400: "The request is not well-formed HTTP/1.1."}
_BROKEN: Final = "Something went wrong here."


class QuietRunner(web.AppRunner):
    """An `AppRunner` whose listener never repeats what a client sent."""

    def __init__(
        self,
        app: web.Application,
        *,
        cancel_handlers: bool = False,
        shutdown_timeout: float = 1.0,
        head_seconds: float = HEAD_SECONDS,
    ) -> None:
        super().__init__(app, access_log=None, shutdown_timeout=shutdown_timeout)
        app.on_response_prepare.append(_unnamed)
        self._cancel_handlers = cancel_handlers
        self._head_seconds = head_seconds

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        quiet = _QuietServer(
            server.request_handler, request_factory=server.request_factory, handler_cancellation=self._cancel_handlers
        )
        quiet.head_seconds = self._head_seconds
        return quiet


async def _unnamed(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.pop("Server", None)


class _Unnamed(web.Response):
    # No application prepares the answer to what is no request.
    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        del self.headers["Server"]


class _QuietServer(web.Server):
    head_seconds = HEAD_SECONDS

    def __call__(self) -> web.RequestHandler:
        handler = _QuietHandler(
            self,
            loop=self._loop,
            access_log=None,  # type: ignore[arg-type]  # None turns it off
            lingering_time=_LINGER,
            keepalive_timeout=_IDLE_SECONDS,
        )
        handler.head_seconds = self.head_seconds
        return handler


class _QuietHandler(web.RequestHandler):
    # aiohttp gives a head all the time in the world, and each one that is begun holds a file descriptor.
    head_seconds = HEAD_SECONDS
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._begin_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._messages or self._current_request is not None:
            self._end_head()
        elif self._head_timer is None:
            self._begin_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._end_head()
        super().connection_lost(exc)

    def _begin_head(self) -> None:
        self._head_timer = self._loop.call_later(self.head_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _end_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - what aiohttp would have answered
    ) -> web.StreamResponse:
        """A fixed answer; `exc` and `message` hold what the client sent."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        if status >= 500:
            _log.error("internal error", error=type(exc).__name__)
        text = _TEXTS.get(status, _BROKEN)
        answer = _Unnamed(status=status, body=orjson.dumps({"message": text}), content_type="application/json")
        answer.force_close()
        return answer

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Nothing: aiohttp's messages quote what the client sent."""
