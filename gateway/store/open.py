"""From a store's URL to a store."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.store.contract import Store, StoreBroken
from gateway.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from gateway.store.redis.address import RedisOptions

# How long a write waits for another process's, in seconds; it waits off the event loop.
PATIENCE: Final = 2.0

_REDIS: Final = frozenset({"redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"})


def open_store(
    url: str,
    *,
    create: bool = False,
    patience: float = PATIENCE,
    redis: "RedisOptions | None" = None,
    clock: Callable[[], int] | None = None,
    identity: str | None = None,
) -> Store:
    """The store at `url`, checked and ready; or `StoreUnavailable` with a sentence that says what is wrong.

    * `sqlite:///gateway.db` is a path from the working directory, `sqlite:////var/lib/gateway.db` one from the root:
      after `sqlite:///`, the rest is the path as written, as in SQLAlchemy.
    * `memory:` is the same store on a temporary directory that is removed when the store is closed.
    * `redis://host:port`, `redis+sentinel://host:port,host:port/name`, `redis+cluster://host:port,host:port`, and
      each with `rediss` for TLS. Nothing is connected to yet.

    A missing file is made only when `create` is true: a mistyped path must not become a gateway that knows no key.
    `patience` (for locks), `clock` (UTC milliseconds) and `identity` (which store it has to be) are SQLite's; `redis`
    is how to come into Redis.
    """
    scheme, separator, rest = url.partition(":")
    if scheme == "memory" and separator and not rest:
        scratch = tempfile.TemporaryDirectory(prefix="gateway-store-")
        path = Path(scratch.name, "store.db")
        return SqliteStore.open(path, create=True, patience=patience, clock=clock, identity=identity, scratch=scratch)
    if scheme == "sqlite" and rest.startswith("///") and len(rest) > len("///"):
        return SqliteStore.open(
            Path(rest[3:]).absolute(), create=create, patience=patience, clock=clock, identity=identity
        )
    if scheme in _REDIS:
        # Only now: whoever keeps an SQLite file neither needs the client nor waits for its import.
        from gateway.store.redis.address import RedisOptions  # noqa: PLC0415
        from gateway.store.redis.store import RedisStore  # noqa: PLC0415

        return RedisStore.at(url, redis or RedisOptions())  # which goes by its servers' clocks
    # Not the URL itself: it may hold a password.
    raise StoreBroken(
        f"The store's URL (scheme {scheme[:16]!r}) is not one of 'sqlite:///path', 'memory:' and 'redis://host:port'"
        " (or 'redis+sentinel:', 'redis+cluster:', each with 'rediss' for TLS)."
    )
