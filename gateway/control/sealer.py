"""Sealing while the gateway runs: of all gateways on a store, the one that holds the lease does it."""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from logging import ERROR, WARNING
from typing import Final

import structlog

from gateway.core.audit import Seal
from gateway.keys.sealing import Signs, sealing
from gateway.store.contract import Store, StoreUnavailable

LEASE: Final = "seal"
EVERY: Final = 2.0  # seconds between two looks: how long an event is without a seal, as a rule
LEASE_SECONDS: Final = 10.0  # after which another gateway goes on where this one has died

_LOG: Final = structlog.get_logger()


def _now() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Sealer:
    """Seals what comes into the audit, and tells the log of each seal. The store being away only delays it."""

    store: Store
    signer: Signs | None
    holder: str = field(default_factory=lambda: secrets.token_hex(16))
    now: Callable[[], int] = _now
    every: float = EVERY
    lease_seconds: float = LEASE_SECONDS
    _warned: str | None = field(default=None, init=False)

    async def run(self) -> None:
        """Seal until cancelled. A seal that is cancelled half-way is not kept, or kept whole."""
        while True:
            await self.turn()
            await asyncio.sleep(self.every)

    async def turn(self) -> None:
        """Seal what is there, if this gateway holds the lease."""
        try:
            if await self._holds():
                await self._seal()
        except StoreUnavailable as error:
            self._warn_once(str(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours must not leave all later events unsealed
            self._warn_once(repr(error), error)
        else:
            self._warned = None

    async def _seal(self) -> None:
        loop = asyncio.get_running_loop()
        asked = loop.time()
        async for seal in sealing(self.store, self.signer, self.now()):
            _log(seal)
            if loop.time() - asked > self.every:  # a long run, as after an import
                asked = loop.time()
                if not await self._holds():
                    return

    async def _holds(self) -> bool:
        return await self.store.lease(LEASE, self.holder, self.lease_seconds)

    def _warn_once(self, fault: str, ours: Exception | None = None) -> None:
        """Say it once, not every two seconds."""
        if fault != self._warned:
            self._warned = fault
            _LOG.log(WARNING if ours is None else ERROR, "audit not sealed", error=fault, exc_info=ours)


def _log(seal: Seal) -> None:
    _LOG.info(
        "audit sealed",
        chain=seal.chain,
        first=seal.first,
        last=seal.last,
        at=seal.at,
        digest=seal.digest,
        signature=seal.signature,
        signer=seal.signer,
    )
