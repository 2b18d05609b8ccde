"""Whether a Redis server may be relied upon: its version, what it does when its memory is full, whether it writes to a
disk, whose store it holds, and what time it has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import ResponseError

from gateway.store.contract import StoreBroken
from gateway.store.redis.layout import TAKINGS, identity_key, rights_key
from gateway.store.redis.scripts import RIGHTS

if TYPE_CHECKING:  # a node holds its condition
    from gateway.store.redis.node import Command, Node

EXAMINED: Final = 60.0  # seconds from one look at a server's settings to the next

LEAST_REDIS: Final = (6, 2)

# Ends are judged by the server's clock when something is written, and by the gateway's when a token is presented. Two
# seconds apart is a server whose clock nobody keeps; half a minute apart, keys would end noticeably early or late.
CLOCK_WARNS: Final = 2.0
CLOCK_FAILS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Condition:
    """What a server says of itself: a `fault` with which it is no store, and what is merely not as it should be."""

    fault: str | None = None
    warnings: tuple[str, ...] = ()


async def examine(node: "Node") -> Condition:
    """What a node says of itself now. Raises `NoAnswer`, or the server's error."""
    # The last two show what the user may do, before an act finds out when half of it is done.
    asked: list[Command] = [
        ("INFO", "server"),
        ("INFO", "memory"),
        ("INFO", "persistence"),
        ("CONFIG", "GET", "save"),
        ("PUBLISH", TAKINGS, ""),
        # A server that has no tag now is not written to.
        _rights(min(node.tags)) if node.tags else ("ECHO", ""),
    ]
    *sections, save, published, rights = await node.pipeline(asked)
    info: dict[str, str] = {}
    for answer in (*sections, published, rights):
        if isinstance(answer, ResponseError):
            raise answer
    for section in sections:
        info |= _members(section)
    return condition(str(node.place), info, _save_points(save), [bytes(name).decode() for name in rights])


async def require(node: "Node") -> None:
    """Raise `StoreBroken` when a node is not fit to be a store; it is examined if it was not yet."""
    if node.condition is None:
        node.condition = await examine(node)
    if node.condition.fault is not None:
        raise StoreBroken(node.condition.fault)


def condition(name: str, info: Mapping[str, str], save: str | None, denied: Sequence[str] = ()) -> Condition:
    """What follows from the answer to INFO, the save points (None when the server does not tell them), and the commands
    that the user may not run.

    `name` is where the server is, for the sentences.
    """
    version = info.get("redis_version", "")
    if _numbers(version) < LEAST_REDIS:
        return Condition(f"The Redis server {name} is of version {version or 'unknown'}; 6.2 or newer is needed.")
    policy = info.get("maxmemory_policy")
    if policy != "noeviction":
        # Also without a limit now: it may be set at any time, and then the server throws away revocations silently.
        return Condition(
            f"The Redis server {name} has maxmemory-policy {policy or 'unknown'}: when its memory is full, it would"
            " throw away keys and revocations. Set it to noeviction."
        )
    if denied:
        return Condition(
            f"The Redis server {name} does not let its user run {', '.join(denied)}: a change could be kept by half."
            " Give that user the right to all of it."
        )
    if info.get("aof_enabled") == "0" and save == "":
        warning = (
            f"The Redis server {name} writes nothing to its disk, neither an append-only file nor snapshots: when it"
            " restarts, its keys are gone. Set appendonly to yes."
        )
        return Condition(warnings=(warning,))
    return Condition()


@dataclass(frozen=True, slots=True)
class Offset:
    """By how many seconds a server's clock is ahead of ours, and how far that may be wrong."""

    seconds: float = 0.0
    error: float = 0.0

    @property
    def surely(self) -> float:
        """How far apart the two clocks are at least."""
        return max(0.0, abs(self.seconds) - self.error)

    def warning(self, name: str) -> str | None:
        """What is to be said when it is more than a little."""
        if self.surely <= CLOCK_WARNS:
            return None
        return (
            f"The clock of the Redis server {name} is {abs(self.seconds):.1f} seconds"
            f" {'ahead of' if self.seconds > 0 else 'behind'} this machine's; have both set by NTP."
        )

    @property
    def unbearable(self) -> bool:
        """Whether nothing can be judged by time."""
        return self.surely > CLOCK_FAILS


def offset(asked: float, took: float, answered: float) -> Offset:
    """The offset of a clock that said `answered` when it was asked at `asked` and the answer took `took` seconds."""
    return Offset(answered - (asked + took / 2), took / 2)


def _rights(tag: str) -> "Command":
    return ["EVAL", RIGHTS.text, 2, identity_key(tag), rights_key(tag)]


def _members(section: Any) -> dict[str, str]:
    lines = bytes(section).decode("utf-8", "replace").splitlines()
    return {name: value for name, separator, value in (line.partition(":") for line in lines) if separator}


def _save_points(answer: object) -> str | None:
    match answer:
        case [b"save", bytes(points)]:
            return points.decode("utf-8", "replace")
        case _:  # managed servers do not let their settings be read
            return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
