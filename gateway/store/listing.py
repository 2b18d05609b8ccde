"""Lists from the SQLite tables, read in pages: no open read pins the log of writes, nor hides what others change."""

# ruff: noqa: S608 - the statements are put together from constants of this package

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from gateway.core.audit import Numbered, Seal
from gateway.core.ledger import Item
from gateway.core.records import App, Developer, KeyRecord, User, UserTokenRecord
from gateway.store import rows, trail
from gateway.store.rows import Row

T = TypeVar("T")

PAGE: Final = 500  # rows: a few hundred kilobytes, and a few milliseconds of the event loop
PAGE_CHARACTERS: Final = 500_000  # of texts, where rows are long; one row is a page if need be


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list in the order of its rows' first `place` columns, which say where the next page begins; the rest of a row
    is a record. Its statement takes the bound `?1` and the place from `?2` on, and the length of a page last."""

    statement: str
    place: int
    record: Callable[[Row], T]

    def placed(self, row: Row) -> tuple[tuple[object, ...], T]:
        """A row as its place and its record."""
        return tuple(row[: self.place]), self.record(row[self.place :])


def page_of(found: Iterable[Row]) -> list[Row]:
    """The first rows of what was found, until they are long enough for a page."""
    page, length = [], 0
    for row in found:
        page.append(row)
        length += sum(len(value) for value in row if isinstance(value, str))
        if length >= PAGE_CHARACTERS:
            break
    return page


# Of one app (?1) or, with NULL, of all: x'' comes after every text.
_OF_APP: Final = "app_id <= coalesce(?1, x'')"

APPS: Final[Listing[App]] = Listing(
    f"SELECT a.id, {rows.APP} FROM app a WHERE ?1 IS NULL AND a.id > ?2 ORDER BY a.id LIMIT ?3", 1, rows.app
)
KEYS: Final[Listing[KeyRecord]] = Listing(
    f"""
    SELECT k.app_id, k.created_at, k.id, {rows.KEY} FROM api_key k
    WHERE (k.app_id, k.created_at, k.id) > (?2, ?3, ?4) AND k.{_OF_APP}
    ORDER BY k.app_id, k.created_at, k.id LIMIT ?5
    """,
    3,
    rows.key,
)
USERS: Final[Listing[User]] = Listing(
    f"""
    SELECT u.app_id, u.id, {rows.USER} FROM user u WHERE (u.app_id, u.id) > (?2, ?3) AND u.{_OF_APP}
    ORDER BY u.app_id, u.id LIMIT ?4
    """,
    2,
    rows.user,
)
USER_TOKENS: Final[Listing[UserTokenRecord]] = Listing(
    f"""
    SELECT t.id, {rows.USER_TOKEN} FROM user_token t JOIN user u ON u.number = t.user
    WHERE ?1 IS NULL AND t.id > ?2 ORDER BY t.id LIMIT ?3
    """,
    1,
    rows.user_token,
)
DEVELOPERS: Final[Listing[Developer]] = Listing(
    f"""
    SELECT r.app_id, r.email, r.app_id, r.email, r.role FROM role r
    WHERE (r.app_id, r.email) > (?2, ?3) AND r.{_OF_APP} ORDER BY r.app_id, r.email LIMIT ?4
    """,
    2,
    rows.developer,
)
ITEMS: Final[Listing[Item]] = Listing(
    f"""
    SELECT i.kind, i.owner, i.id, {rows.ITEM} FROM item i
    WHERE i.kind = ?2 AND (i.owner, i.id) > (?3, ?4) AND i.owner <= coalesce(?1, x'') ORDER BY i.owner, i.id LIMIT ?5
    """,
    3,
    rows.item,
)
EVENTS: Final[Listing[Numbered]] = Listing(
    """
    SELECT e.number, c.name, e.number, e.at, e.action, e.app_id, e.subject_id, e.actor, e.source, e.about
    FROM chain c JOIN audit e ON e.chain = c.number WHERE c.name = ?1 AND e.number > ?2 ORDER BY e.number LIMIT ?3
    """,
    1,
    trail.numbered_of,
)
SEALS: Final[Listing[Seal]] = Listing(
    """
    SELECT s.first, c.name, s.first, s.last, s.at, s.digest, s.signature, s.signer
    FROM chain c JOIN seal s ON s.chain = c.number WHERE c.name = ?1 AND s.first > ?2 ORDER BY s.first LIMIT ?3
    """,
    1,
    trail.seal_of,
)
