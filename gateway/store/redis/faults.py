"""What the errors of a Redis server mean for a store, as sentences for whoever runs it."""

import re
from dataclasses import dataclass
from typing import Final

from redis.exceptions import InvalidResponse, RedisError


class NoAnswer(Exception):
    """A server refused the connection, cut it, or did not answer in time. Never leaves the package as it is."""


class Garbled(Exception):
    """What was read is not what this store writes. Never leaves the package as it is."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an error says. `silent`: the server cannot be asked at all, as if it did not answer. `moved`: who the
    primary is has to be found out anew. `broken`: it stays so until somebody mends it."""

    sentence: str
    silent: bool = False
    moved: bool = False
    broken: bool = False


_CLOSED: Final = "does not let the gateway in; check store.username, store.password_file and the rights of that user"

# By the code that an error begins with (https://redis.io/docs/latest/develop/reference/protocol-spec/).
_MEANINGS: Final = {
    "LOADING": Meaning("is still loading its data", silent=True, moved=True),
    "MASTERDOWN": Meaning("is a replica that has lost its primary", silent=True, moved=True),
    "CLUSTERDOWN": Meaning("belongs to a cluster that is not whole", silent=True, moved=True),
    "TRYAGAIN": Meaning("is just giving the keys to another server of the cluster", silent=True, moved=True),
    "BUSY": Meaning("is busy with a script that does not end", silent=True),
    "READONLY": Meaning("is a replica and takes no changes: nothing was changed", moved=True),
    "MOVED": Meaning("no longer has these keys", silent=True, moved=True),
    "ASK": Meaning("no longer has these keys", silent=True, moved=True),
    "OOM": Meaning("has no memory left: nothing was changed. Give it more, by maxmemory"),
    "NOREPLICAS": Meaning(
        "has fewer replicas than it needs to take a change (min-replicas-to-write): nothing was changed"
    ),
    "MISCONF": Meaning("cannot write to its disk and takes no changes: nothing was changed"),
    "WRONGTYPE": Meaning("holds data that is not of this store under one of its keys", broken=True),
    "CROSSSLOT": Meaning("was asked for keys that do not lie together, which is a fault of the gateway"),
    "NOAUTH": Meaning(_CLOSED),
    "WRONGPASS": Meaning(_CLOSED),
    "NOPERM": Meaning(_CLOSED),
}

# Redis 6.2 wraps an error that a script meets into one of its own, with the code in the middle.
_CODE: Final = re.compile(rf"(?:^|[ :-])({'|'.join(_MEANINGS)})\b")
# What a script meets in a cluster when some of its keys have been given to another server; it has no code of its own.
_GIVING_AWAY: Final = "attempted to access a non local key"
_LEADING: Final = re.compile(r"[A-Z]{2,16}\b")


def code(error: RedisError) -> str:
    """The code of a server's error, as `OOM`; empty when it has none."""
    known = getattr(error, "status_code", None)
    if known and known != "ERR":
        return str(known)
    text = str(error)
    if _GIVING_AWAY in text:
        return "TRYAGAIN"
    found = _CODE.search(text)
    if found is not None:
        return found[1]
    leading = _LEADING.match(text)
    return leading[0] if leading else str(known or "")


def meaning(error: RedisError) -> Meaning:
    """What a server's error means. Not the error's own text: it may hold what was sent."""
    if isinstance(error, InvalidResponse):
        # Nothing was asked of a store then: what is remembered may go on as while nobody answers.
        return Meaning("answers what is not the protocol of Redis", silent=True)
    name = code(error)
    return _MEANINGS.get(name) or Meaning(f"answered with an error ({name or 'unknown'})")
