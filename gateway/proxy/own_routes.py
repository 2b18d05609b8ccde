"""Routes that the gateway answers itself: looked at before the routes of the settings, so that no rule there and no
report mode changes who may use them."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol, TypeVar

from gateway.core.headers import Inbound
from gateway.proxy.record import Record

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of our own: JSON, or nothing, which is 204. `extra` are further header lines."""

    body: bytes
    status: int = HTTPStatus.OK
    extra: bytes = b""


class OwnRoute(Protocol[A]):
    """One method of one path. Whoever is admitted and sends a query string, or too long a body, is refused then.

    Both raise `Refused`, `CredentialRefused` or `Unavailable` for whatever is not to be.
    """

    @property
    def method(self) -> str:
        """The method."""

    @property
    def path(self) -> str:
        """The path, compared byte for byte."""

    @property
    def body_bytes(self) -> int:
        """Bytes of the longest body that is read."""

    async def admit(self, inbound: Inbound, record: Record) -> A:
        """Whoever may go on, known by the headers alone: before it returns no byte of the body is read. It is asked
        once more if the body came later, so it changes nothing. Sets `record.caller` to who was proven."""

    async def answer(self, admitted: A, body: bytes, record: Record) -> Reply:
        """Do what was asked for, whole or not at all."""


class OwnRoutes:
    """The gateway's own routes, found by method and path."""

    def __init__(self, *routes: OwnRoute[Any]) -> None:
        self._routes = {(route.method, route.path): route for route in routes}
        self._methods: dict[str, tuple[str, ...]] = {}
        for route in routes:
            self._methods[route.path] = (*self._methods.get(route.path, ()), route.method)

    def find(self, method: str, path: str) -> OwnRoute[Any] | None:
        """The route of this method and path, if it is one of ours."""
        return self._routes.get((method, path))

    def methods(self, path: str) -> tuple[str, ...]:
        """The methods that a path of ours has here; none where it is no path of ours."""
        return self._methods.get(path, ())
