"""`POST /leaks/github`: tokens that GitHub's secret scanning found in public places end before it is answered.

https://docs.github.com/en/code-security/secret-scanning/secret-scanning-partner-program
"""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import structlog

from gateway.core.decision import Reason, Unavailable, refuse
from gateway.core.headers import Inbound, check_json
from gateway.core.sightings import Sighting, sighting
from gateway.keys.leaks import LeakDesk, Reported
from gateway.metrics import Metrics
from gateway.proxy.own_routes import Reply
from gateway.proxy.record import Record
from gateway.proxy.signers import PublicKey, SignerKeys
from gateway.store.contract import StoreUnavailable

_log: Final = structlog.get_logger()

_HEADERS: Final = (b"github-public-key-identifier", b"github-public-key-signature")
MAX_BODY: Final = 262_144  # bytes
MAX_RECORDS: Final = 1_000

_IDENTIFIER: Final = re.compile(rb"[0-9A-Za-z_-]{1,128}")
_SIGNATURE: Final = re.compile(rb"[0-9A-Za-z+/]{8,100}={0,2}")  # of 72 bytes at most, in DER
_TEXTS: Final = ("source", "url", "type")


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature, and the key that is to have made it."""

    key: PublicKey
    bytes: bytes


@dataclass(frozen=True, slots=True)
class LeakReports:
    """Takes reports that are signed; whoever sends them learns nothing of what was found."""

    desk: LeakDesk
    keys: SignerKeys
    metrics: Metrics
    method: str = "POST"
    path: str = "/leaks/github"
    body_bytes: int = MAX_BODY

    async def admit(self, inbound: Inbound, record: Record) -> Signature:  # noqa: ARG002 - the route's
        """The signature. To whoever has none of the right form there is nothing at this path."""
        identifier, signature = (_only(inbound, name) for name in _HEADERS)
        signed = _decoded(signature)
        if signed is None or not _IDENTIFIER.fullmatch(identifier):
            raise refuse(Reason.PATH_UNKNOWN)
        check_json(inbound)
        key = await self.keys.find(identifier.decode("ascii"))
        if key is None:
            raise refuse(Reason.SIGNATURE_INVALID)
        return Signature(key, signed)

    async def answer(self, admitted: Signature, body: bytes, record: Record) -> Reply:  # noqa: ARG002 - the route's
        """Nothing, once every token that the report proves has ended. Raises `Unavailable` when that is not sure; the
        report may be sent again."""
        if not admitted.key.signed(admitted.bytes, body):
            raise refuse(Reason.SIGNATURE_INVALID)
        told, skipped = _records(body)
        self.metrics.leak_records += len(told)
        self.metrics.leak_records_skipped += skipped
        try:
            await self.desk.report_tokens(told, self._tell)
        except StoreUnavailable as error:
            raise Unavailable(Reason.STORE_UNAVAILABLE, str(error), retry_after=1) from error
        finally:
            self.metrics.leak_ids_left_out = self.desk.flagging.left_out if self.desk.flagging else 0
        return Reply(b"", HTTPStatus.NO_CONTENT)

    def _tell(self, reported: Reported) -> None:
        incident, done = reported.incident, reported.done
        names = {"incident": incident.id, "app": incident.app_id, incident.subject.value: incident.subject_id}
        _log.warning("leak reported", ended=incident.ended, state=incident.state.value, **names)
        if not done.replicated:
            self.metrics.unreplicated += 1
            _log.warning("no replica confirmed a revocation", **names)


def _only(inbound: Inbound, name: bytes) -> bytes:
    values = inbound.all(name)
    return values[0] if len(values) == 1 else b""


def _decoded(signature: bytes) -> bytes | None:
    """The signature out of its base64, if it has the one form that there is of it, and says that it is DER."""
    if not _SIGNATURE.fullmatch(signature):
        return None
    try:
        signed = base64.b64decode(signature, validate=True)
    except binascii.Error:
        return None
    whole = signed[:1] == b"\x30" and len(signed) == signed[1] + 2
    return signed if whole and base64.b64encode(signed) == signature else None


def _records(body: bytes) -> tuple[list[tuple[str, Sighting]], int]:
    """The tokens with where they were seen, and how many records were none."""
    try:
        # Not as strictly as what is forwarded: nobody else reads it, and one odd text must not save a thousand tokens.
        records = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):  # whose message may repeat a token
        raise refuse(Reason.BODY_MALFORMED, "It is to be a JSON array.") from None
    if not isinstance(records, list):
        raise refuse(Reason.BODY_MALFORMED, "It is to be a JSON array.")
    if len(records) > MAX_RECORDS:
        raise refuse(Reason.BODY_TOO_LARGE, f"It holds more than {MAX_RECORDS} records.")
    told = [_told(record) for record in records]
    good = [each for each in told if each is not None]
    return good, len(told) - len(good)


def _told(record: Any) -> tuple[str, Sighting] | None:
    if not isinstance(record, dict) or not isinstance(record.get("token"), str):
        return None
    token = record["token"].strip()
    source, url, kind = (text if isinstance(text := record.get(name), str) else "" for name in _TEXTS)
    return token, sighting(token, source=source, url=url, type=kind)
