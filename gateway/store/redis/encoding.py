"""Records as they lie in Redis, and back: whatever this store has not written itself is `Garbled`, and never a record.

Apps, keys, users and items are JSON, which can be read with redis-cli; user tokens are packed, by
`gateway/store/redis/packed.py`. Each ends in a CRC-32 over its name and itself: what a faulty line or machine garbled,
or what somebody moved elsewhere, is not taken for a credential that is wrong.
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import orjson

from gateway.core.audit import AuditEvent, Numbered, Seal, event_from
from gateway.core.ledger import Item, ItemKey
from gateway.core.records import App, KeyRecord, RevokedWhy, Role, User
from gateway.core.takings import Taken, Taking
from gateway.store.redis.faults import Garbled

# The first byte of what lies under an id and is no user token.
KEY: Final = b"{"
ELSEWHERE: Final = b">"

T = TypeVar("T")

VERIFIER_BYTES: Final = 32
CRC_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Versioned:
    """An app, with the number of changes that it, its keys and its roles have seen."""

    app: App
    version: int


def encode_app(name: str, app: App, version: int) -> bytes:
    """An app, to be kept under `name`."""
    return _json(
        name,
        {
            "name": app.name,
            "region": app.region,
            "account": app.account,
            "switches": app.switches,
            "cut_at": app.cut_at,
            "version": version,
        },
    )


def decode_app(name: str, app_id: str, text: object) -> Versioned:
    """The app that was kept."""
    kept = _Members(name, text)
    app = App(
        app_id,
        kept.text("name"),
        kept.text("region"),
        kept.text("account"),
        kept.count("switches"),
        kept.time("cut_at"),
    )
    return Versioned(app, kept.last(kept.count("version")))


def encode_user(name: str, user: User) -> bytes:
    """A user, to be kept under `name`."""
    return _json(name, {"external_id": user.external_id, "switches": user.switches, "cut_at": user.cut_at})


def decode_user(name: str, app_id: str, user_id: str, text: object) -> User:
    """The user that was kept."""
    kept = _Members(name, text)
    return kept.last(
        User(user_id, app_id, kept.text_or_none("external_id"), kept.count("switches"), kept.time("cut_at"))
    )


def encode_key(name: str, key: KeyRecord) -> bytes:
    """A key, to be kept under `name`."""
    return _json(
        name,
        {
            "app": key.app_id,
            "name": key.name,
            "scopes": sorted(key.scopes),
            "verifier": key.verifier.hex(),
            "created_at": key.created_at,
            "expires_at": key.expires_at,
            "created_by": key.created_by,
            "shutdown_at": key.shutdown_at,
            "revoked_at": key.revoked_at,
            "revoked_why": key.revoked_why,
            "successor": key.successor,
        },
    )


def decode_key(name: str, key_id: str, text: object) -> KeyRecord:
    """The key that was kept."""
    kept = _Members(name, text)
    why = kept.text_or_none("revoked_why")
    try:
        return kept.last(
            KeyRecord(
                key_id,
                kept.text("app"),
                kept.text("name"),
                kept.texts("scopes"),
                verifier_from(bytes.fromhex(kept.text("verifier"))),
                kept.time("created_at"),
                kept.time("expires_at"),
                kept.text("created_by"),
                kept.time_or_none("shutdown_at"),
                kept.time_or_none("revoked_at"),
                None if why is None else RevokedWhy(why),
                kept.text_or_none("successor"),
            )
        )
    except ValueError as error:
        raise Garbled from error


def encode_item(name: str, item: Item) -> bytes:
    """An item, to be kept under `name`."""
    return _json(name, {"owner": item.owner, "ends_at": item.ends_at, "text": item.text})


def decode_item(name: str, key: ItemKey, text: object) -> Item:
    """The item that was kept."""
    kept = _Members(name, text)
    owner, ends_at = kept.text("owner"), kept.time_or_none("ends_at")
    return kept.last(Item(*key, owner, kept.text("text"), ends_at))


def encode_elsewhere(name: str, tag: str) -> bytes:
    """That what has this id lies under another slot tag."""
    text = ELSEWHERE + tag.encode()
    return text + crc_of(name, text).hex().encode()


def decode_elsewhere(name: str, text: object) -> str:
    """The slot tag under which it lies."""
    tag = text[1:3].decode("ascii", "replace") if isinstance(text, bytes) else ""
    if text != encode_elsewhere(name, tag):
        raise Garbled
    return tag


def decode_roles(flat: Mapping[bytes, bytes]) -> dict[str, Role]:
    """The roles that people have in an app, by address."""
    try:
        return {email.decode(): Role(role.decode()) for email, role in flat.items()}
    except ValueError as error:
        raise Garbled from error


def encode_event(event: AuditEvent) -> bytes:
    """An event as the script takes it: without the brace and the number that it puts before."""
    return orjson.dumps(event.as_json())[1:]


def encode_numbered(numbered: Numbered) -> bytes:
    """An event that has its number, as the script makes them."""
    return b'{"number":%d,' % numbered.number + encode_event(numbered.event)


def decode_event(chain: str, text: object) -> Numbered:
    """An event with its number in the chain."""
    try:
        values = orjson.loads(text)  # type: ignore[arg-type]  # anything else raises what is caught here
        number = values.pop("number")
        if type(number) is not int:
            raise Garbled
        return Numbered(chain, number, event_from(values))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise Garbled from error


def encode_seal(seal: Seal) -> bytes:
    """A seal, to be kept in the list of its chain."""
    return orjson.dumps(
        {
            "first": seal.first,
            "last": seal.last,
            "at": seal.at,
            "digest": seal.digest,
            "signature": seal.signature,
            "signer": seal.signer,
        }
    )


def decode_seal(chain: str, text: object) -> Seal:
    """The seal that was kept."""
    kept = _Members(None, text)
    return kept.last(
        Seal(
            chain,
            kept.count("first"),
            kept.count("last"),
            kept.time("at"),
            kept.text("digest"),
            kept.text("signature"),
            kept.text("signer"),
        )
    )


def encode_takings(takings: Iterable[Taking]) -> bytes:
    """What was taken away, as JSON, for the script that tells of it together with the time."""
    return orjson.dumps(
        [[one.kind, one.app_id, one.id, one.end, one.cut, one.switches, one.shutdown] for one in takings]
    )


def decode_takings(message: bytes) -> tuple[int, list[Taking]]:
    """The server's time and what was taken away, out of a message. Raises `ValueError` for anything else."""
    match orjson.loads(message):
        case {"at": int(at), "takings": list(values)}:
            return at, [_taking(value) for value in values]
    raise ValueError("not a message about what was taken away")


def _taking(value: object) -> Taking:
    match value:
        case [
            str(kind),
            str(app_id),
            str(subject_id),
            None | int() as end,
            int(cut),
            int(switches),
            None | int() as shutdown,
        ]:
            return Taking(Taken(kind), app_id, subject_id, end, cut, switches, shutdown)
    raise ValueError("not something that was taken away")


class _Members:
    """The members of a JSON object, each taken once with its type; none may be left."""

    def __init__(self, name: str | None, text: object) -> None:
        if not isinstance(text, bytes):
            raise Garbled
        if name is not None:
            text, crc = text[: -2 * CRC_BYTES], text[-2 * CRC_BYTES :]
            if crc != crc_of(name, text).hex().encode():
                raise Garbled
        try:
            self._values = orjson.loads(text)
        except ValueError as error:
            raise Garbled from error
        if not isinstance(self._values, dict):
            raise Garbled

    def text(self, name: str) -> str:
        value = self._values.pop(name, None)
        if type(value) is not str:
            raise Garbled
        return value

    def count(self, name: str) -> int:
        value = self._values.pop(name, None)
        if type(value) is not int:
            raise Garbled
        return value

    time = count

    def text_or_none(self, name: str) -> str | None:
        return self.text(name) if self._values.get(name, "") is not None else self._values.pop(name)

    def time_or_none(self, name: str) -> int | None:
        return self.count(name) if self._values.get(name, "") is not None else self._values.pop(name)

    def texts(self, name: str) -> frozenset[str]:
        values = self._values.pop(name, None)
        if not isinstance(values, list) or not all(type(value) is str for value in values):
            raise Garbled
        return frozenset(values)

    def last(self, value: T) -> T:
        """`value`, when all members were taken."""
        if self._values:
            raise Garbled
        return value


def _json(name: str, values: dict[str, object]) -> bytes:
    text = orjson.dumps(values)
    return text + crc_of(name, text).hex().encode()


def crc_of(name: str, text: bytes) -> bytes:
    """The last bytes of what lies under a name."""
    return zlib.crc32(text, zlib.crc32(name.encode())).to_bytes(CRC_BYTES)


def verifier_from(value: bytes) -> bytes:
    """The verifier, when it has the length of one."""
    if len(value) != VERIFIER_BYTES:
        raise Garbled
    return value
