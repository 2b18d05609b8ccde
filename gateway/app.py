"""Composition: the parts of a running gateway are put together here, started in order and stopped in the reverse one.
What the settings alone decide is made in `gateway/building.py`."""

import asyncio
import gc
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import chain
from typing import Any, Final, TypeVar

import structlog
from aiohttp import web

from gateway.building import (
    CannotStart,
    check_route_scopes,
    demand_parser,
    forwarding_of,
    homes_of,
    leak_reports_of,
    notifier_of,
    open_issuers,
    open_regions,
    plane_of,
    policy_options,
    read_policy,
    reporter_keys_of,
    server_limits,
    signer_of,
    tick_of,
)
from gateway.clock import Clock
from gateway.control.api.app import Api
from gateway.control.health import Phase, admin_application
from gateway.control.sealer import Sealer
from gateway.core.headers import HeaderRules
from gateway.core.token import Prefixes
from gateway.core.wishes import DAY
from gateway.keys.registration import Registration
from gateway.keys.token_rules import rules_of
from gateway.listener import QuietRunner
from gateway.log import RequestLog
from gateway.metrics import Metrics
from gateway.proxy.authenticate import Authenticator
from gateway.proxy.deadlines import Deadlines
from gateway.proxy.deletions import Deletions
from gateway.proxy.forwarding import READ
from gateway.proxy.handler import Handler
from gateway.proxy.own_key import OwnKey
from gateway.proxy.own_routes import OwnRoute, OwnRoutes
from gateway.proxy.record import Recorder
from gateway.proxy.reuse import Reuse
from gateway.proxy.server import Server
from gateway.proxy.users import AuthCode, NewUser, NextToken
from gateway.settings import Settings
from gateway.settings.models import Admin, Listen
from gateway.store.contract import DEAF, Store, StoreUnavailable, Use
from gateway.upkeep import count_uses, note_uses, sweep, tell_warnings, warnings_of

_T = TypeVar("_T")

_log: Final = structlog.get_logger()

AHEAD_SECONDS: Final = 2.0  # as between a store's clock and ours
_BACKLOG: Final = 1024  # Connections that the kernel holds while the loop is busy; more than a burst of wrk's.


class Gateway:
    """A gateway: built from settings and a store, it runs between `start` and `stop`.

    `clock` is best the one that the store was opened with. `only_to` names further request headers that go to the
    upstreams of some regions and to no other.
    `before_admin` is called once the address for clients is known and before the admin listener opens.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        log: RequestLog,
        *,
        clock: Callable[[], int] | None = None,
        only_to: Mapping[str, Sequence[str]] | None = None,
        before_admin: Callable[["Gateway"], None] | None = None,
    ) -> None:
        demand_parser()
        self.settings = settings
        self.url = self.admin_url = ""
        self._store = store
        self._request_log = log
        self._before_admin = before_admin
        self._phase: Phase = "starting"
        self._stack = AsyncExitStack()
        self._clock = clock or Clock()
        self._deadlines = Deadlines(tick_of(settings.timeouts.model_dump().values()))
        self._regions = open_regions(settings, self._deadlines)
        self._homes = homes_of(settings, self._regions)
        self._prefixes = Prefixes(settings.tokens.key_prefix, settings.tokens.user_prefix)
        self._rules = rules_of(settings.user_tokens)
        self._registration = Registration(store, secrets.token_bytes, self._prefixes, self._rules)
        self._reuse = Reuse(self._registration)
        self.issuers = open_issuers(settings, self._clock, self._forget)
        self._authenticator = self._build_authenticator()
        self._signer = signer_of(settings.audit.signing_key_file)
        self._sealer = Sealer(store, self._signer, now=self._clock)
        self.policy = read_policy(settings.policy.schema_file, policy_options(settings))
        check_route_scopes(settings, self.policy)
        self.metrics = self._build_metrics()
        self.recorder = Recorder(log, self.metrics)
        self._notifier = notifier_of(settings, store, self._clock, self.metrics.notices)
        self._deletions = Deletions(store, self._prefixes, self.metrics)
        self._reporter_keys = reporter_keys_of(settings, self._clock)
        self._handler = self._build_handler(only_to or {})
        self._server = Server(self._handler, server_limits(settings), self._deadlines)
        self.admin = self._build_admin()

    # Building

    def _build_authenticator(self) -> Authenticator:
        tokens = self.settings.tokens
        return Authenticator(
            self._store,
            self._prefixes,
            entries=tokens.remember_entries,
            seconds=tokens.remember_seconds,
            issuers=self.issuers,
            came_back=self._reuse.end,
        )

    def _build_metrics(self) -> Metrics:
        return Metrics(
            self.settings.regions,
            caches={"principals": lambda: self._authenticator, "documents": lambda: self._handler.plane.documents},
            log_lines_dropped=lambda: self._request_log.dropped,
            key_expiries=self._key_expiries,
            deaf=self._deaf,
            issuer_ages=self.issuers.ages if self.issuers else dict,
            report_mode=self.policy.options.report,
        )

    def _build_handler(self, only_to: Mapping[str, Sequence[str]]) -> Handler:
        return Handler(
            plane_of(self.settings, self.policy, self._homes),
            self._authenticator,
            OwnRoutes(*self._own_routes()),
            HeaderRules(self.settings.headers.forward, read=READ.union(*only_to.values())),
            forwarding_of(self.settings, self._regions, only_to),
            self.recorder,
            self._deletions,
            self._clock,
            realm=self.settings.realm,
        )

    def _own_routes(self) -> list[OwnRoute[Any]]:
        own_key = OwnKey(self._store, self._prefixes, self._authenticator, self._clock, self.metrics)
        routes: list[OwnRoute[Any]] = [own_key]
        if self.settings.users == "builtin":
            routes += [
                AuthCode(self._registration, self._authenticator, self._homes, self._clock),
                NewUser(self._registration, self._homes),
                NextToken(self._registration, self._reuse, self._homes, self._clock),
            ]
        if self._reporter_keys is not None:
            parts = self._store, self._prefixes, self._reporter_keys, self.metrics
            routes.append(leak_reports_of(self.settings, *parts))
        return routes

    def _build_admin(self) -> web.Application:
        return admin_application(
            phase=lambda: self._phase,
            policy_mode=lambda: self.settings.policy.mode,
            pings={"store": self._store.ping},
            warnings=self._warnings,
            exposition=self._exposition,
            api=self._api(),
        )

    def _api(self) -> Api:
        settings = self.settings
        return Api(
            self._store,
            self._prefixes,
            settings.api.operators,
            scopes=lambda: tuple(self.policy.scopes),
            regions=tuple(settings.regions),
            overlap=settings.rotation.overlap,
            rules=self._rules,
            realm=settings.realm,
            operator_leaked=self.metrics.operator_leaked,
        )

    # Running

    async def start(self) -> None:
        """Accept requests. Raises `CannotStart` when an address cannot be had; then nothing is left running."""
        async with AsyncExitStack() as stack:
            await self._start_parts(stack)
            server = await self._listen(stack)
            if self._before_admin is not None:
                self._before_admin(self)
            await self._listen_admin(stack)
            stack.push_async_callback(self._drain, server)
            self._stack = stack.pop_all()
        # The schema and everything built from it stay for good; were they scanned for cycles again and again, every
        # few thousand requests would wait for it.
        gc.collect()
        gc.freeze()
        self._phase = "serving"
        _log.info("serving", url=self.url, admin_url=self.admin_url, policy_mode=self.settings.policy.mode)
        if self.policy.options.report:
            _log.warning("REPORT MODE IS ON: requests that the policy refuses are let through and only reported")

    async def _start_parts(self, stack: AsyncExitStack) -> None:
        """All that runs before anybody can connect, and goes on until nobody is connected any more."""
        self._deadlines.start()
        stack.callback(self._deadlines.close)
        if self._reporter_keys is not None:
            stack.push_async_callback(self._reporter_keys.close)
        for region in self._regions.values():
            for endpoint in region.endpoints:
                stack.push_async_callback(endpoint.close)
        self._request_log.start(asyncio.get_running_loop())
        stack.callback(self.recorder.flush)
        await self._store.start(self.metrics.heard, self.metrics.garbled)
        for chore in self._chores():
            stack.push_async_callback(_cancelled, asyncio.create_task(chore))

    def _chores(self) -> list[Coroutine[Any, Any, None]]:
        return [
            note_uses(self._store, self._take_uses),
            count_uses(self._store, self._take_counts),
            sweep(self._store),
            self._deletions.run(),
            tell_warnings(self._warnings),
            self._sealer.run(),
            self._notifier.run(),
            *(keys.run() for keys in (self.issuers.keys if self.issuers else ())),
        ]

    async def _listen(self, stack: AsyncExitStack) -> asyncio.Server:
        loop, listen = asyncio.get_running_loop(), self.settings.listen
        server = await _listening(
            lambda: loop.create_server(self._server, listen.host, listen.port, backlog=_BACKLOG), listen, "clients"
        )
        stack.callback(server.close)
        self.url = _url(server.sockets[0].getsockname(), listen.host)
        return server

    async def _listen_admin(self, stack: AsyncExitStack) -> None:
        admin = self.settings.admin
        runner = QuietRunner(self.admin)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, admin.host, admin.port)
        await _listening(site.start, admin, "health and metrics")
        self.admin_url = _url(runner.addresses[0], admin.host)

    async def stop(self) -> None:
        """Refuse new connections, finish the requests in flight, and release everything but store and log."""
        self._phase = "draining"
        self._handler.draining = True
        await self._stack.aclose()

    def reload_policy(self) -> None:
        """Judge by the schema file as it is now. Raises `CannotStart` with its faults; then the old policy stays."""
        self.policy = read_policy(self.settings.policy.schema_file, policy_options(self.settings))
        self._handler.plane = plane_of(self.settings, self.policy, self._homes)

    def _exposition(self) -> bytes:
        self.recorder.flush()
        return self.metrics.exposition()

    async def _drain(self, server: asyncio.Server) -> None:
        server.close()
        await self._server.drain(self.settings.timeouts.drain)

    def _warnings(self) -> list[str]:
        told = (self._signer.warnings if self._signer else ()), self.issuers.warnings() if self.issuers else ()
        return [*chain(*told), *warnings_of(self._store), *self._clock_warning()]

    def _clock_warning(self) -> Iterator[str]:
        ahead = self._clock.ahead() / 1000 if isinstance(self._clock, Clock) else 0
        if ahead > AHEAD_SECONDS:
            yield (
                f"The time of this gateway is {ahead:.0f} seconds ahead of the machine's clock, which was set back; it"
                " does not go back, and what ends is over here that much earlier. Restart it."
            )

    def _forget(self, ids: frozenset[str]) -> None:
        self._authenticator.forget(ids)

    def _take_uses(self) -> dict[str, int]:
        used, self._authenticator.used = self._authenticator.used, {}
        return used

    def _take_counts(self) -> dict[Use, int]:
        return self._authenticator.uses.take(self._clock() // DAY)

    def _key_expiries(self) -> dict[str, float]:
        now = self._clock()
        return {key_id: (end - now) / 1000 for key_id, end in self._authenticator.endings(now).items()}

    def _deaf(self) -> bool:
        try:
            return self._store.revision() == DEAF
        except StoreUnavailable:
            return False


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _listening(start: Callable[[], Awaitable[_T]], where: Listen | Admin, what: str) -> _T:
    try:
        return await start()
    except OSError as error:
        why = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        setting, option = ("listen.port", "--port") if isinstance(where, Listen) else ("admin.port", "--admin-port")
        raise CannotStart(
            f"Cannot listen for {what} at {where.host} port {where.port}: {why}. Stop what uses the port, or choose"
            f" another: the setting {setting}, or of 'gateway dev' {option} 8090, or {option} 0 for any free one."
        ) from error


def _url(address: Sequence[Any], host: str) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{address[1]}"
