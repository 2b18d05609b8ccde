"""User tokens as they lie in Redis: packed, since there are more of them than of everything else together."""

import re
from typing import Final

from gateway.core.records import UserTokenRecord
from gateway.store.redis.encoding import CRC_BYTES, VERIFIER_BYTES, crc_of, verifier_from
from gateway.store.redis.faults import Garbled

# The first byte: of one that belongs to no family and was not refreshed, the shortest; and of any other.
_PLAIN: Final = b"\x01"
_OF_FAMILY: Final = b"\x02"
TOKENS: Final = (_PLAIN, _OF_FAMILY)

_RAW_ID: Final = re.compile(r"[0-9a-f]{24}\Z")  # the shape of the ids that we mint for apps and users
_RAW_BYTES: Final = 12
_TIME_BYTES: Final = 6
_NONE: Final = 255  # in the place of the length of an id, where there is none
_NEVER: Final = 2 ** (8 * _TIME_BYTES) - 1  # in the place of a time, where there is none


def encode_token(name: str, token: UserTokenRecord) -> bytes:
    """A user token, to be kept under `name`; in 75 bytes when it is plain and the ids of app and user are of our
    shape."""
    plain = (token.shutdown_at, token.family) == (None, "")
    first = [_PLAIN if plain else _OF_FAMILY, _id(token.app_id), _id(token.user_id), token.verifier]
    times = [token.created_at, token.expires_at]
    if not plain:
        times += (_NEVER if end is None else end for end in (token.revoked_at, token.shutdown_at))
    elif token.revoked_at is not None:
        times.append(token.revoked_at)
    last = [] if plain else [_id(token.family)]
    packed = b"".join([*first, *(time.to_bytes(_TIME_BYTES) for time in times), *last])
    return packed + crc_of(name, packed)


def decode_token(name: str, token_id: str, packed: object) -> UserTokenRecord:
    """The user token that was kept."""
    if not isinstance(packed, bytes) or not packed.startswith(TOKENS):
        raise Garbled
    body = packed[:-CRC_BYTES]
    if crc_of(name, body) != packed[-CRC_BYTES:]:
        raise Garbled
    app_id, rest = _read_id(body[1:])
    user_id, rest = _read_id(rest)
    verifier, rest = verifier_from(rest[:VERIFIER_BYTES]), rest[VERIFIER_BYTES:]
    if packed.startswith(_PLAIN):
        created_at, expires_at, *ends = _times(rest, {2, 3})
        revoked_at = ends[0] if ends else None
        return UserTokenRecord(token_id, app_id, user_id, verifier, created_at, expires_at, revoked_at)
    created_at, expires_at, *ends = _times(rest[: 4 * _TIME_BYTES], {4})
    family, rest = _read_id(rest[4 * _TIME_BYTES :])
    if rest:
        raise Garbled
    revoked_at, shutdown_at = (None if end == _NEVER else end for end in ends)
    return UserTokenRecord(token_id, app_id, user_id, verifier, created_at, expires_at, revoked_at, shutdown_at, family)


def _times(packed: bytes, counts: set[int]) -> list[int]:
    """All times in it, of which there are to be so many."""
    count, more = divmod(len(packed), _TIME_BYTES)
    if more or count not in counts:
        raise Garbled
    return [int.from_bytes(packed[at : at + _TIME_BYTES]) for at in range(0, len(packed), _TIME_BYTES)]


def _id(text: str) -> bytes:
    """An id with its length before it; 0 stands for one of our shape, of which the raw bytes follow, and 255 for
    none."""
    if _RAW_ID.match(text):
        return b"\0" + bytes.fromhex(text)
    raw = text.encode()
    return (len(raw) or _NONE).to_bytes(1) + raw


def _read_id(packed: bytes) -> tuple[str, bytes]:
    """The id at the beginning, and the rest."""
    length = packed[0] if packed else _RAW_BYTES
    size = 0 if length == _NONE else length or _RAW_BYTES
    raw, rest = packed[1 : 1 + size], packed[1 + size :]
    try:
        return (raw.decode() if length else raw.hex()), rest
    except ValueError as error:
        raise Garbled from error
