"""From a store's URL to a store."""

import tempfile
from pathlib import Path
from typing import Final

from gateway.store.contract import Store, StoreBroken
from gateway.store.sqlite import SqliteStore

# How long a write waits for another process's, in seconds; it waits off the event loop.
PATIENCE: Final = 2.0


def open_store(url: str, *, create: bool = False, patience: float = PATIENCE) -> Store:
    """The store at `url`, checked and ready; or `StoreUnavailable` with a sentence that says what is wrong.

    * `sqlite:///gateway.db` is a path from the working directory, `sqlite:////var/lib/gateway.db` one from the root:
      after `sqlite:///`, the rest is the path as written, as in SQLAlchemy.
    * `memory:` is the same store on a temporary directory that is removed when the store is closed.

    A missing file is made only when `create` is true: a mistyped path must not become a gateway that knows no key.
    """
    scheme, separator, rest = url.partition(":")
    if scheme == "memory" and separator and not rest:
        scratch = tempfile.TemporaryDirectory(prefix="gateway-store-")
        return SqliteStore.open(Path(scratch.name, "store.db"), create=True, patience=patience, scratch=scratch)
    if scheme == "sqlite" and rest.startswith("///") and len(rest) > len("///"):
        return SqliteStore.open(Path(rest[3:]).absolute(), create=create, patience=patience)
    # Not the URL itself: it may hold a password.
    raise StoreBroken(f"The store's URL (scheme {scheme[:16]!r}) is not one of 'sqlite:///path' and 'memory:'.")
