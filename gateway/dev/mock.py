"""The pretend upstream: a GraphQL server with made-up data that shows what the gateway told it and misbehaves to order.

It is no guard: it answers everybody, everything that the schema has. Who may ask is for the gateway in front of it.
"""

import json
from dataclasses import replace
from typing import Final, Self

from aiohttp import web
from yarl import URL

from gateway.dev.data import Caller
from gateway.dev.execute import BadMessage, message_from, run, schema_from
from gateway.dev.misbehave import Answer, BadOrder, Orders, deliver, orders_from
from gateway.dev.rest import Call, error, rest_answer
from gateway.listener import QuietRunner

GRAPHQL_RESPONSE: Final = "application/graphql-response+json"
FAILURE: Final = 400  # statuses from here on have an error for a body
MAX_BODY: Final = 16 << 20  # more than any gateway in front of it lets through


class Mock:
    """A pretend upstream that listens at `url` from `start` to `stop`; the same seed gives the same answers."""

    def __init__(self, schema_text: str, seed: int = 1, region: str | None = None, path: str = "/v4/gql") -> None:
        self.url = ""
        self._schema = schema_from(schema_text)
        self._seed = seed
        self._region = region
        self._path = path
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = QuietRunner(app, cancel_handlers=True, shutdown_timeout=0.1)

    @classmethod
    async def start(
        cls, schema_text: str, host: str = "127.0.0.1", port: int = 0, seed: int = 1, region: str | None = None
    ) -> Self:
        """A pretend upstream that accepts connections; port 0 is any free port. Raises SchemaFault and OSError."""
        mock = cls(schema_text, seed, region)
        await mock.listen(host, port)
        return mock

    async def listen(self, host: str, port: int) -> None:
        """Accept connections from now on; raises OSError when that is not possible."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        bound = self._runner.addresses[0]
        self.url = str(URL.build(scheme="http", host=bound[0], port=bound[1]))

    def reload(self, schema_text: str) -> None:
        """Serve another schema from the next request on; raises SchemaFault, and then the old one stays."""
        self._schema = schema_from(schema_text)

    async def stop(self) -> None:
        """Close the listener and every connection."""
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        lower = {name.lower(): value for name, value in request.headers.items()}
        identity = {name: value for name, value in lower.items() if name.startswith("x-gateway-")}
        call = Call(self._seed, request.method, request.path, identity, body)
        try:
            orders = orders_from(request.headers)
        except BadOrder as fault:
            return await deliver(request, self._error(call, 400, str(fault)), Orders())
        return await deliver(request, self._answer(call, orders, lower.get("accept", "")), orders)

    def _answer(self, call: Call, orders: Orders, accept: str) -> Answer:
        if orders.status is not None and orders.status >= FAILURE:
            return self._error(call, orders.status, f"The pretend upstream was told to answer {orders.status}.")
        answer = self._graphql(call, accept) if call.path == self._path else self._labelled(rest_answer(call), call)
        return replace(answer, status=orders.status or answer.status)

    def _graphql(self, call: Call, accept: str) -> Answer:
        if call.method != "POST":
            return replace(self._error(call, 405, "GraphQL is asked by POST."), headers={"Allow": "POST"})
        try:
            message = message_from(call.body)
        except BadMessage as fault:
            return self._error(call, 400, str(fault))
        result = run(self._schema, message, Caller(self._seed, call.identity.get("x-gateway-user")))
        body = self._body(result.members, call)
        # GraphQL over HTTP: an operation that could not run is 200 as application/json, 400 as the type of its own.
        if GRAPHQL_RESPONSE in accept:
            return Answer(body, 200 if result.ran else 400, GRAPHQL_RESPONSE)
        return Answer(body)

    def _error(self, call: Call, status: int, message: str) -> Answer:
        """The refusal in the shape of its path."""
        if call.path == self._path:
            return Answer(self._body({"errors": [{"message": message}]}, call), status)
        return self._labelled(error(call, status, "MOCK", message), call)

    def _body(self, members: dict[str, object], call: Call) -> bytes:
        """The answer with the identity that the gateway vouched for, and with who answered."""
        extensions = {"gateway": call.identity, "mock": {"region": self._region, "seed": self._seed}}
        return json.dumps({**members, "extensions": extensions}, separators=(",", ":")).encode()

    def _labelled(self, answer: Answer, call: Call) -> Answer:
        """The REST answer with the same in a header, as its body has no room for it."""
        identity = json.dumps(call.identity, separators=(",", ":"))
        return replace(answer, headers={**answer.headers, "X-Mock-Identity": identity})
