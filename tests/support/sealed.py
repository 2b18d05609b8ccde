"""Sealing in one go, for tests that ask what comes of it."""

from gateway.core.audit import Seal
from gateway.keys.sealing import Signs, sealing
from gateway.store.contract import Store


async def seal_new(store: Store, signer: Signs | None, at: int) -> list[Seal]:
    """Seal what is not sealed yet; the new seals."""
    return [seal async for seal in sealing(store, signer, at)]
