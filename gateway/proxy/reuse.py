"""A user token that comes back after it was refreshed and its last minute was over: two hold what one was given, and
nobody can tell which of them is the user."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

import structlog

from gateway.core.ledger import ActRefused
from gateway.core.records import UserTokenRecord
from gateway.keys.registration import Registration
from gateway.store.contract import StoreUnavailable

_log: Final = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reuse:
    """Ends the families of such tokens. However many present one at once, it is done once."""

    registration: Registration
    _ending: dict[str, asyncio.Task[None]] = field(default_factory=dict, init=False)

    async def end(self, token: UserTokenRecord) -> None:
        """Return once the family of the token has ended, or could not be: then the next time will do it."""
        task = self._ending.get(token.id)
        if task is None:
            task = self._ending[token.id] = asyncio.create_task(self._end(token))
        # A client that leaves must not keep it from being done.
        await asyncio.shield(task)

    async def _end(self, token: UserTokenRecord) -> None:
        about = {"app": token.app_id, "user": token.user_id, "token_id": token.id}
        try:
            if await self.registration.end_reused(token):
                _log.warning("a refreshed user token came back; its family has ended", **about)
        except (StoreUnavailable, ActRefused) as error:
            _log.error("a refreshed user token came back; its family could not be ended", **about, error=str(error))
        finally:
            del self._ending[token.id]
