"""Where a Redis store is, and how it is entered: a URL and options to values, each fault a sentence."""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from gateway.core.token import Secret
from gateway.store.contract import StoreBroken

_REDIS_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_PRIMARY_NAME: Final = re.compile(r"[A-Za-z0-9._-]+\Z")
_IDENTITY: Final = re.compile(r"[0-9a-f]{32}\Z")
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?\Z")


class Kind(StrEnum):
    """How the servers of a store stand to one another."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


_KINDS: Final = {"": Kind.SINGLE, "sentinel": Kind.SENTINEL, "cluster": Kind.CLUSTER}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a store is: its one server, its sentinels and the name they know the primary by, or some of its cluster."""

    kind: Kind
    places: tuple[Place, ...]
    primary_name: str = ""
    db: int = 0
    tls: bool = False

    def __str__(self) -> str:
        places = ", ".join(map(str, self.places))
        match self.kind:
            case Kind.SINGLE:
                return f"the Redis server {places}"
            case Kind.SENTINEL:
                return f"the Redis primary {self.primary_name!r} of the sentinels {places}"
            case Kind.CLUSTER:
                return f"the Redis Cluster of {places}"


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """How a Redis store is entered and how long it is waited for; times are seconds. No `repr` shows a password.

    `identity` is the store that it has to be, where that is known beforehand. For `grace` after its last answer, what
    is remembered goes on while a server does not answer.
    """

    username: str | None = None
    password: Secret | None = None
    sentinel_password: Secret | None = None
    ca_file: Path | None = None
    identity: str | None = None
    timeout: float = 0.5
    grace: float = 30.0

    def __post_init__(self) -> None:
        if self.identity is not None and not _IDENTITY.match(self.identity):
            raise StoreBroken("The identity of a store, as 'gateway store init' prints it, is 32 hex digits.")


def address_of(url: str) -> Address:
    """The address in a URL, or `StoreBroken`, which never repeats the URL: it may hold a password.

    * `redis://host:6379/0`: one server, and the number of its database
    * `redis+sentinel://host1:26379,host2:26379/primary/0`: sentinels, and the name they know the primary by
    * `redis+cluster://host1:6379,host2:6379`: some servers of a cluster, which know the others

    and the same with `rediss` for TLS.
    """
    name, separator, rest = url.partition("://")
    scheme, plus, kind_name = name.partition("+")
    if scheme not in {"redis", "rediss"} or not separator or bool(plus) != bool(kind_name) or kind_name not in _KINDS:
        raise StoreBroken(f"The store's URL (scheme {name[:16]!r}) is none of Redis.")
    if "@" in rest:
        raise StoreBroken(
            "The store's URL holds a user name or a password, which would be seen in logs and lists of processes."
            " Name the user in store.username, and put the password into a file named by store.password_file."
        )
    if "?" in rest or "#" in rest:
        raise StoreBroken("The store's URL has a '?' or a '#'; what else there is to say is said in settings.")
    kind = _KINDS[kind_name]
    hosts, _, path = rest.partition("/")
    primary_name, db = _path(kind, path)
    return Address(kind, _places(kind, hosts), primary_name, db, tls=scheme == "rediss")


def _places(kind: Kind, hosts: str) -> tuple[Place, ...]:
    port = _SENTINEL_PORT if kind is Kind.SENTINEL else _REDIS_PORT
    places = tuple(_place(text, port) for text in hosts.split(","))
    if kind is Kind.SINGLE and len(places) > 1:
        raise StoreBroken(
            "The store's URL names several servers; of which kind they are, is said by 'redis+sentinel://' or"
            " 'redis+cluster://'."
        )
    return places


def _place(text: str, default_port: int) -> Place:
    match = _HOST.match(text)
    port = int(match[3] or default_port) if match else 0
    if match is None or not 0 < port < 2**16:
        raise StoreBroken("The store's URL needs 'host:port', several of them with commas between.")
    return Place(match[1] or match[2], port)


def _path(kind: Kind, path: str) -> tuple[str, int]:
    """The name of the primary, where there has to be one, and the number of the database."""
    steps = [step for step in path.split("/") if step]
    name = ""
    if kind is Kind.SENTINEL:
        if not steps or not _PRIMARY_NAME.match(steps[0]):
            raise StoreBroken("The store's URL needs the name of the primary: redis+sentinel://host:26379/name.")
        name = steps.pop(0)
    if kind is Kind.CLUSTER and steps:
        raise StoreBroken("The store's URL ends in a path; a Redis Cluster has no numbered databases.")
    if len(steps) > 1 or not all(step.isascii() and step.isdecimal() for step in steps):
        raise StoreBroken("The store's URL ends in a path that is not the number of a database.")
    return name, int(steps[0]) if steps else 0
