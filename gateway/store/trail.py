"""The audit in the SQLite tables: the store's own chain of events, those of other stores, and the seals over them."""

# ruff: noqa: S608 - the statements are put together from constants of this package

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from typing import Final

from gateway.core.audit import AuditAction, AuditEvent, Numbered, Seal
from gateway.store.rows import Row, member

MAIN: Final = 1  # the number of the store's own chain

_LAST_EVENT: Final = "SELECT coalesce(max(number), 0) FROM audit WHERE chain = ?"
_NEW_EVENT: Final = "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_KEEP_CHAIN: Final = "INSERT INTO chain (name) VALUES (?) ON CONFLICT DO NOTHING"
_KEEP_EVENT: Final = f"{_NEW_EVENT} ON CONFLICT DO NOTHING"
_NEW_SEAL: Final = "INSERT INTO seal VALUES ((SELECT number FROM chain WHERE name = ?), ?, ?, ?, ?, ?, ?)"
_KEEP_SEAL: Final = f"{_NEW_SEAL} ON CONFLICT DO NOTHING"

CHAINS: Final = """
    SELECT name FROM chain
    WHERE EXISTS (SELECT 1 FROM audit WHERE chain = chain.number)
        OR EXISTS (SELECT 1 FROM seal WHERE chain = chain.number) -- whose events somebody removed
    ORDER BY name
"""
UNSEALED: Final = f"""
    SELECT name FROM chain WHERE number = {MAIN}
    AND (SELECT max(number) FROM audit WHERE chain = {MAIN})
        > coalesce((SELECT max(last) FROM seal WHERE chain = {MAIN}), 0)
"""
LAST_SEAL: Final = """
    SELECT c.name, s.first, s.last, s.at, s.digest, s.signature, s.signer
    FROM chain c JOIN seal s ON s.chain = c.number WHERE c.name = ? ORDER BY s.first DESC LIMIT 1
"""


def append(database: sqlite3.Connection, events: Iterable[AuditEvent]) -> None:
    """Keep events with the next numbers of the store's own chain."""
    ((last,),) = database.execute(_LAST_EVENT, (MAIN,)).fetchall()
    database.executemany(_NEW_EVENT, (_row(MAIN, number, event) for number, event in enumerate(events, start=last + 1)))


def append_seal(database: sqlite3.Connection, seal: Seal) -> bool:
    """Whether the seal begins right after the last one of its chain, and so was kept."""
    found = database.execute(LAST_SEAL, (seal.chain,)).fetchall()
    if seal.first != (seal_of(found[0]).last if found else 0) + 1:
        return False
    database.execute(_NEW_SEAL, astuple(seal))
    return True


def keep_chain(database: sqlite3.Connection, name: str, events: Sequence[Numbered], seals: Sequence[Seal]) -> None:
    """Keep a piece of a chain; what is there already stays."""
    database.execute(_KEEP_CHAIN, (name,))
    ((chain,),) = database.execute("SELECT number FROM chain WHERE name = ?", (name,)).fetchall()
    database.executemany(_KEEP_EVENT, (_row(chain, numbered.number, numbered.event) for numbered in events))
    database.executemany(_KEEP_SEAL, ((name, *astuple(seal)[1:]) for seal in seals))


def numbered_of(row: Row) -> Numbered:
    """The event in a row of its chain's name, its number, and its values."""
    chain, number, at, action, *texts = row
    return Numbered(chain, number, AuditEvent(at, member(AuditAction, action), *texts))


def seal_of(row: Row) -> Seal:
    """The seal in a row of its chain's name and its values."""
    return Seal(*row)


def _row(chain: int, number: int, event: AuditEvent) -> Row:
    texts = (event.app_id, event.subject_id, event.actor, event.source, event.about)
    return chain, number, event.at, event.action.value, *texts
