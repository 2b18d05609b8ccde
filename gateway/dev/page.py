"""The page at `/` of the dev admin port, on which a newcomer tries requests through the gateway.

It is plain HTML, CSS and JavaScript from this package: no build step, no framework, nothing loaded from elsewhere.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from aiohttp import ClientSession, DummyCookieJar, web

from gateway.dev.relay import REPLY, BadAsk, Prepared, Shown, as_curl, local_host, prepare, relay, same_origin

FILES: Final = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.svg": ("page.svg", "image/svg+xml"),
}
# The page runs its own script and style and talks to its own origin; nothing else, and in nobody's frame.
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
FOREIGN: Final = "This page is for this machine only: open it as localhost or by address, and ask from the page itself."
SESSION: Final = web.AppKey("page_session", ClientSession)


@dataclass(frozen=True, slots=True)
class Example:
    """A prepared request; the first credential of its kind that holds and lacks the named scopes sends it."""

    label: str
    query: str
    variables: str = ""
    headers: str = ""
    kind: Literal["key", "user", ""] = "key"
    holds: str = ""
    lacks: str = ""


OWN_SCORES: Final = """\
# A user token may read its own user,
# and needs no id to say who that is.
query OwnScores {
  user {
    id
    created_at
    engagement {
      scores {
        slice {
          name
          value
        }
      }
    }
  }
}"""
ONE_USER: Final = """\
# An API key with USER_READ may read any user of its app.
query OneUser($user_id: String) {
  user(user_id: $user_id) {
    id
    event_history(from: "2026-01-01") {
      __typename
      start
      end
      ... on Transport {
        mode
        distance
      }
    }
  }
}"""
OFFLOADS: Final = """\
# Offloads hold data of all users of the app:
# only a key with OFFLOADS_READ may list them.
query Offloads {
  offloads(from: "2026-01-01", to: "2026-01-02") {
    day
    type
    files {
      name
      format
      size
    }
  }
}"""
SOMEONE_ELSE: Final = """\
# A user token reaches its own user only;
# the variable names another one.
query SomeoneElse($user_id: String) {
  user(user_id: $user_id) {
    id
    external_id
    location {
      latitude
      longitude
    }
  }
}"""
USER_ID: Final = '{\n  "user_id": "5a93deb3d8e7d90600001e6f"\n}'
EXAMPLES: Final = (
    Example("My scores", OWN_SCORES, kind="user"),
    Example("One user", ONE_USER, USER_ID, holds="USER_READ"),
    Example("Offloads", OFFLOADS, holds="OFFLOADS_READ"),
    Example("Refused: scope missing", OFFLOADS, lacks="OFFLOADS_READ"),
    Example("Refused: someone else", SOMEONE_ELSE, USER_ID, kind="user"),
    Example("Refused: nobody", OWN_SCORES, kind=""),
    Example("Upstream fails", OWN_SCORES, headers="X-Mock-Status: 503\nX-Mock-Delay: 0.5", kind="user"),
)


def add_page(
    app: web.Application,
    *,
    traffic_url: str,
    graphql_path: str,
    credentials: Sequence[Shown],
    reasons: Mapping[str, str],
    examples: Sequence[Example] = EXAMPLES,
) -> None:
    """Serve the page at `/` of the app, and relay what it asks to the traffic port.

    `reasons` has a sentence for each reason of refusal. The app must not have been started.
    """
    target = traffic_url.rstrip("/") + graphql_path
    settings = {
        "target": target,
        "credentials": [{"label": one.label, "kind": one.kind, "scopes": one.scopes} for one in credentials],
        "examples": [asdict(example) for example in examples],
        "reasons": dict(reasons),
    }
    page = _Page(target, tuple(credentials))
    for path, (name, content_type) in FILES.items():
        app.router.add_get(path, _static(Path(__file__).with_name(name).read_bytes(), content_type))
    app.router.add_get("/page.json", _static(json.dumps(settings).encode(), "application/json"))
    app.router.add_post("/graphql", page.send)
    app.router.add_post("/curl", page.curl)
    app.cleanup_ctx.append(page.session)


class _Page:
    """The two things that the page asks its server to do, and the client session they need."""

    def __init__(self, target: str, credentials: Sequence[Shown]) -> None:
        self._target = target
        self._credentials = credentials

    async def session(self, app: web.Application) -> AsyncIterator[None]:
        """Own the client session from the start of the app to its end."""
        async with ClientSession(cookie_jar=DummyCookieJar()) as session:
            app[SESSION] = session
            yield

    async def send(self, request: web.Request) -> web.Response:
        """Relay the request and describe the answer."""
        reply = await relay(request.app[SESSION], self._target, await self._prepared(request))
        return _answer(REPLY.dump_json(reply), "application/json")

    async def curl(self, request: web.Request) -> web.Response:
        """Write the request as a shell command."""
        command = as_curl(await self._prepared(request), self._target)
        return _answer(json.dumps({"command": command}).encode(), "application/json")

    async def _prepared(self, request: web.Request) -> Prepared:
        if not same_origin(request.headers):
            raise _refusal(web.HTTPForbidden, FOREIGN)
        if request.content_type != "application/json":
            raise _refusal(web.HTTPUnsupportedMediaType, "The content type must be application/json.")
        try:
            return prepare(await request.read(), self._credentials)
        except web.RequestPayloadError as fault:
            raise _refusal(web.HTTPBadRequest, "The body cannot be read.") from fault
        except BadAsk as fault:
            raise _refusal(web.HTTPBadRequest, str(fault)) from fault


def _static(body: bytes, content_type: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        if not local_host(request.headers.get("Host", "")):
            raise _refusal(web.HTTPForbidden, FOREIGN)
        return _answer(body, content_type)

    return answer


def _answer(body: bytes, content_type: str) -> web.Response:
    return web.Response(body=body, content_type=content_type, charset="utf-8", headers=HEADERS)


def _refusal(kind: type[web.HTTPClientError], message: str) -> web.HTTPClientError:
    return kind(text=json.dumps({"message": message}), content_type="application/json", headers=HEADERS)
