"""Ends the users whom requests have deleted, and answers for it that each of them is ended."""

import asyncio
import secrets
from collections.abc import Iterable
from typing import Final

import structlog

from gateway.core.ledger import ActRefused, Who
from gateway.core.principal import KeyPrincipal, Principal
from gateway.core.token import Prefixes
from gateway.keys.keeper import Keeper
from gateway.metrics import Metrics
from gateway.store.contract import Store, StoreUnavailable

_log: Final = structlog.get_logger()

_OPEN: Final = 10_000  # users who wait for the store to come back; as many requests were cut off for it
_FIRST_PAUSE: Final = 1.0  # seconds until it is tried again, doubled each time
_LONGEST_PAUSE: Final = 30.0
_IN_VAIN: Final = 8  # tries in one round after which the store counts as still away

_Subject = tuple[str, str]  # an app's id, a user's id


class Deletions:
    """Ends users at once, or, while the store is away, as soon as it is back. `run` is its one owner."""

    def __init__(self, store: Store, prefixes: Prefixes, metrics: Metrics, *, pause: float = _FIRST_PAUSE) -> None:
        self._store = store
        self._prefixes = prefixes
        self._metrics = metrics
        self._pause = pause
        self._open: dict[_Subject, Who] = {}
        self._waiting = asyncio.Event()
        self._running: set[asyncio.Task[bool]] = set()

    def begin(self, principal: Principal, user_ids: Iterable[str]) -> asyncio.Task[bool]:
        """End users of the caller's own app; whoever awaits it learns whether all of them have ended. What has not is
        tried again, so nobody has to await it."""
        actor = f"key:{principal.key_id}" if isinstance(principal, KeyPrincipal) else f"user:{principal.user_id}"
        who = Who(actor, "traffic")
        task = asyncio.create_task(self._end_all([(principal.app_id, user_id) for user_id in user_ids], who))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def run(self) -> None:
        """Try again what could not be done; when it is cancelled, wait for what is under way, and tell what is left."""
        try:
            while True:
                await self._waiting.wait()
                await self._try_again()
                self._waiting.clear()
        finally:
            await asyncio.gather(*self._running)
            for app_id, user_id in self._open:
                _log.error("a deleted user was not ended, and is not tried again", app=app_id, user=user_id)

    async def _try_again(self) -> None:
        pause = self._pause
        while self._open:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            failed = 0
            for subject, who in tuple(self._open.items()):
                del self._open[subject]
                if await self._end(subject, who) is None:
                    self._metrics.deletions_open = len(self._open)
                    _log.warning("a deleted user was ended late", app=subject[0], user=subject[1])
                    continue
                self._open[subject] = who  # behind the others: what is wrong with it need not be wrong with them
                failed += 1
                if failed == _IN_VAIN:
                    break

    async def _end_all(self, subjects: Iterable[_Subject], who: Who) -> bool:
        all_ended = True
        for subject in subjects:
            fault = await self._end(subject, who)
            if fault is not None:
                all_ended = False
                self._keep(subject, who, fault)
        return all_ended

    async def _end(self, subject: _Subject, who: Who) -> Exception | None:
        """End one user; the fault that prevented it, if any."""
        app_id, user_id = subject
        try:
            done = await Keeper(self._store, who, secrets.token_bytes, self._prefixes).delete_user(app_id, user_id)
        except ActRefused:
            return None  # the app is no more
        except StoreUnavailable as fault:
            return fault
        except Exception as fault:  # noqa: BLE001 - ours: the tokens live on all the same, and it is tried again
            return fault
        if not done.replicated:
            self._metrics.unreplicated += 1
            _log.warning("no replica confirmed the end of a deleted user", app=app_id, user=user_id)
        return None

    def _keep(self, subject: _Subject, who: Who, fault: Exception) -> None:
        app_id, user_id = subject
        kept = subject in self._open or len(self._open) < _OPEN
        self._metrics.deletions_delayed += 1
        _log.error(
            "a deleted user was not ended",
            app=app_id,
            user=user_id,
            tried_again=kept,
            error=str(fault) or type(fault).__name__,
        )
        if kept:
            self._open[subject] = who
            self._metrics.deletions_open = len(self._open)
            self._waiting.set()
