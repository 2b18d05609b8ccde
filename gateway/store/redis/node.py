"""One primary: a few connections, every wait bounded, and nothing asked of it while it is known not to answer."""

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Connection, ConnectionPool, SSLConnection
from redis.exceptions import AuthenticationError, BusyLoadingError, InvalidResponse, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.store.redis.address import Address, Place, RedisOptions
from gateway.store.redis.faults import NoAnswer
from gateway.store.redis.health import Condition

Command = Sequence[str | bytes | int]

CONNECTIONS: Final = 16  # to one primary; a look-up holds one for less than a millisecond
REST: Final = 0.2  # seconds for which a server that did not answer is left alone
CONFIRMATION: Final = 0.5  # seconds for a replica to say that it has a change
ROLE_AGE: Final = 1.0  # seconds for which it is remembered whether there are replicas


def connecting(place: Place, address: Address, options: RedisOptions, *, sentinel: bool = False) -> dict[str, Any]:
    """How to connect to a server: bounded in time, nothing tried twice, nothing said that the store does not need."""
    password = options.sentinel_password if sentinel else options.password
    arguments: dict[str, Any] = {
        "host": place.host,
        "port": place.port,
        "db": 0 if sentinel else address.db,
        "username": None if sentinel else options.username,
        "password": password.reveal() if password is not None else None,
        "socket_timeout": options.timeout,
        "socket_connect_timeout": options.timeout,
        "retry": None,
        "protocol": 2,
        "driver_info": None,
    }
    if address.tls:
        arguments["ssl_ca_certs"] = None if options.ca_file is None else str(options.ca_file)
    return arguments


def connection_class(address: Address) -> type[Connection]:
    """With TLS or without."""
    return SSLConnection if address.tls else Connection


class Node:
    """One server that is, or was, a primary.

    `tags` are those it owns now. `last_answer` is when, by the monotonic clock, it last answered as the store that it
    is to be. `condition` is what it said of itself when it was examined. Whatever is sent together goes over one
    connection, in order.
    """

    def __init__(self, place: Place, address: Address, options: RedisOptions) -> None:
        self.place = place
        self.tags: frozenset[str] = frozenset()
        self.last_answer = -math.inf
        self.condition: Condition | None = None  # until it was examined
        self._timeout = options.timeout
        # Every exchange has an end of its own. The client's would be a second one for each step of it; and on Python
        # 3.11 that of sending, `asyncio.wait_for`, can swallow ours.
        unbounded = {"socket_timeout": None, "socket_connect_timeout": None}
        self._arguments = connecting(place, address, options) | unbounded
        self._class = connection_class(address)
        self._pool = ConnectionPool(connection_class=self._class, **self._arguments)
        # In turn. In the queue of a `BlockingConnectionPool` whoever comes last may be first, and a hundred calls at
        # once are enough for some to wait so long that the server seems not to answer (tried).
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._resting_until = 0.0
        self._probing = False
        self._replicas = 0
        self._role_known_until = 0.0

    def __repr__(self) -> str:
        return f"<Node {self.place}, {len(self.tags)} tags>"

    async def run(self, *command: str | bytes | int) -> Any:
        """The answer to one command. Raises `NoAnswer`, or the server's error."""
        (answer,) = await self.pipeline([command])
        if isinstance(answer, ResponseError):
            raise answer
        return answer

    async def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to several commands, an error in the place of its answer. Raises `NoAnswer`, or the error of a
        server that does not let anybody in."""
        answers, _ = await self._exchange(commands, confirm=False)
        return answers

    async def confirmed(self, commands: Sequence[Command]) -> tuple[list[Any], bool]:
        """As `pipeline`, and whether a replica has the changes; also true when there is none."""
        return await self._exchange(commands, confirm=True)

    async def info(self, section: str) -> dict[str, str]:
        """A section of what the server says of itself."""
        text = bytes(await self.run("INFO", section)).decode("utf-8", "replace")
        lines = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
        return {name: value for name, separator, value in lines if separator}

    def connection(self) -> Connection:
        """A connection of its own, not made yet and never bounded in time, for a subscription; to be closed."""
        return self._class(**self._arguments)

    async def rest(self) -> None:
        """Close the connections that nobody uses now."""
        await self._pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    async def _exchange(self, commands: Sequence[Command], *, confirm: bool) -> tuple[list[Any], bool]:
        request = packed(commands)
        async with self._turns:
            return await self._exchange_now(request, len(commands), confirm=confirm)

    async def _exchange_now(self, request: bytes, count: int, *, confirm: bool) -> tuple[list[Any], bool]:
        probe = self._enter()
        try:
            async with asyncio.timeout(self._timeout) as deadline:
                connection: Connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
                try:
                    answers = await self._answers(connection, request, count, deadline)
                    replicated = not confirm or await self._replicated(connection, deadline)
                finally:
                    await self._pool.release(connection)
        except (AuthenticationError, BusyLoadingError):
            self._passed()  # an answer all the same
            raise
        except (TimeoutError, RedisTimeoutError, RedisConnectionError, OSError) as error:
            self._resting_until = time.monotonic() + REST
            raise NoAnswer(f"The Redis server {self.place} does not answer.") from error
        except ValueError as error:  # the parser's, for what is not the protocol at all
            raise InvalidResponse("not the protocol of Redis") from error
        finally:
            if probe:
                self._probing = False
        self._passed()
        return answers, replicated

    async def _answers(
        self, connection: Connection, request: bytes, count: int, deadline: asyncio.Timeout
    ) -> list[Any]:
        """The answers on one connection. When it is given up in between, the client closes it: what is still to come
        must not wait there for whoever uses it next."""
        answers: list[Any] = []
        clock = asyncio.get_running_loop().time
        await connection.send_packed_command(request)
        for _ in range(count):
            answers.append(await _read(connection))
            deadline.reschedule(clock() + self._timeout)
        return answers

    async def _replicated(self, connection: Connection, deadline: asyncio.Timeout) -> bool:
        """Whether a replica has what this connection wrote; also when there is none, which is known from before.

        WAIT tells it only here: on another connection, or in a script, it counts replicas that have nothing of it.
        """
        try:
            if time.monotonic() > self._role_known_until:
                (role,) = await self._answers(connection, packed([("ROLE",)]), 1, deadline)
                self._replicas = _replicas(role)
                self._role_known_until = time.monotonic() + ROLE_AGE
            if self._replicas == 0:
                return True
            deadline.reschedule(None)
            async with asyncio.timeout(CONFIRMATION + self._timeout):
                await connection.send_command("WAIT", 1, int(CONFIRMATION * 1000))
                count = await connection.read_response()
        except (TimeoutError, RedisError, OSError):
            count = None  # what was written is written, and is not known to be anywhere else
        if count is None:
            await connection.disconnect(nowait=True)
        return bool(count)

    def _enter(self) -> bool:
        """Whether this call is the one that tries whether the server answers again; `NoAnswer` while it is resting."""
        if self._resting_until == 0.0:
            return False
        if self._probing or time.monotonic() < self._resting_until:
            raise NoAnswer(f"The Redis server {self.place} does not answer.")
        self._probing = True
        return True

    def _passed(self) -> None:
        self._resting_until = 0.0


def packed(commands: Sequence[Command]) -> bytes:
    """Commands as they are sent. The client library's own packing takes three times as long, and in an import that is
    most of the time that there is."""
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for argument in command:
            raw = argument if isinstance(argument, bytes) else str(argument).encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


async def _read(connection: Connection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _replicas(role: Any) -> int:
    """How many replicas are connected, by the answer to ROLE."""
    match role:
        case [b"master", _, [*replicas]]:
            return len(replicas)
        case _:
            return 0
