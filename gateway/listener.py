"""aiohttp's application server for what is not the way of a request: the admin listener and the pretend upstream.

aiohttp answers and logs a request that it cannot parse by quoting the offending line, token included. Here both are
fixed texts.
"""

from typing import Any, Final

import orjson
import structlog
from aiohttp import web

_log: Final = structlog.get_logger()

# For how long the rest of a body that nobody wants is read and thrown away: so that its sender reads the answer.
_LINGER: Final = 1.0

_TEXTS: Final = {400: "The request is not well-formed HTTP/1.1."}
_BROKEN: Final = "Something went wrong here."


class QuietRunner(web.AppRunner):
    """An `AppRunner` whose listener never repeats what a client sent."""

    def __init__(self, app: web.Application, *, cancel_handlers: bool = False, shutdown_timeout: float = 1.0) -> None:
        super().__init__(app, access_log=None, shutdown_timeout=shutdown_timeout)
        self._cancel_handlers = cancel_handlers

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        return _QuietServer(
            server.request_handler, request_factory=server.request_factory, handler_cancellation=self._cancel_handlers
        )


class _QuietServer(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _QuietHandler(
            self,
            loop=self._loop,
            access_log=None,  # type: ignore[arg-type]  # None turns it off
            lingering_time=_LINGER,
        )


class _QuietHandler(web.RequestHandler):
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
        answer = web.Response(status=status, body=orjson.dumps({"message": text}), content_type="application/json")
        answer.force_close()
        return answer

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Nothing: aiohttp's messages quote what the client sent."""
