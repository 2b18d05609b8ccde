"""Composition: every part of a running gateway is built here, started in order and stopped in the reverse one."""

import asyncio
import gc
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog
from aiohttp import web

from gateway.building import (
    CannotStart,
    check_route_scopes,
    forwarding_of,
    homes_of,
    open_issuers,
    open_regions,
    plane_of,
    policy_options,
    read_policy,
    roads_of,
    server_limits,
    signer_of,
    tick_of,
    trust,
)
from gateway.clock import Clock
from gateway.control.api.app import Api
from gateway.control.health import Phase, admin_application
from gateway.control.notifier import Notifier
from gateway.control.sealer import Sealer
from gateway.core.headers import HeaderRules
from gateway.core.ledger import Who
from gateway.core.token import Prefixes
from gateway.core.wishes import DAY
from gateway.keys.leaks import LeakDesk
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
from gateway.proxy.parser import check_parser
from gateway.proxy.record import Recorder
from gateway.proxy.reuse import Reuse
from gateway.proxy.server import Server
from gateway.proxy.users import AuthCode, NewUser, NextToken
from gateway.settings import Settings
from gateway.settings.models import Admin, Listen
from gateway.store.contract import DEAF, Store, StoreUnavailable, Use
from gateway.upkeep import count_uses, note_uses, sweep, tell_warnings, warnings_of

if TYPE_CHECKING:
    from gateway.proxy.signers import SignerKeys

_T = TypeVar("_T")

_log: Final = structlog.get_logger()

AHEAD_SECONDS: Final = 2.0  # as between a store's clock and ours
_BACKLOG: Final = 1024  # Connections that the kernel holds while the loop is busy; more than a burst of wrk's.


class App:
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
        before_admin: Callable[["App"], None] | None = None,
    ) -> None:
        try:
            check_parser()
        except RuntimeError as error:
            raise CannotStart(str(error)) from error
        self.settings = settings
        self._store = store
        self._request_log = log
        self._before_admin = before_admin
        self._phase: Phase = "starting"
        self._stack = AsyncExitStack()
        tokens = settings.tokens
        self._deadlines = Deadlines(tick_of(settings.timeouts.model_dump().values()))
        self._regions = open_regions(settings, self._deadlines)
        self._homes = homes_of(settings, self._regions)
        self._clock = clock or Clock()
        prefixes = Prefixes(tokens.key_prefix, tokens.user_prefix)
        self.issuers = open_issuers(settings, self._clock, self._forget)
        self._rules = rules_of(settings.user_tokens)
        self._registration = Registration(store, secrets.token_bytes, prefixes, self._rules)
        self._reuse = Reuse(self._registration)
        self._authenticator = Authenticator(
            store,
            prefixes,
            entries=tokens.remember_entries,
            seconds=tokens.remember_seconds,
            issuers=self.issuers,
            came_back=self._reuse.end,
        )
        self._signer = signer_of(settings.audit.signing_key_file)
        self._sealer = Sealer(store, self._signer, now=self._clock)
        self.policy = read_policy(settings.policy.schema_file, policy_options(settings))
        check_route_scopes(settings, self.policy)
        self.metrics = Metrics(
            settings.regions,
            caches={"principals": lambda: self._authenticator, "documents": lambda: self._handler.plane.documents},
            log_lines_dropped=lambda: log.dropped,
            key_expiries=self._key_expiries,
            deaf=self._deaf,
            issuer_ages=self.issuers.ages if self.issuers else dict,
            report_mode=self.policy.options.report,
        )
        self._notifier = Notifier(
            store,
            roads_of(settings),
            self._clock,
            self.metrics.notices,
            every=settings.reminders.every,
            whole_account=settings.reminders.recipients == "account",
        )
        self._recorder = Recorder(log, self.metrics)
        self._deletions = Deletions(store, prefixes, self.metrics)
        self._reporter_keys: SignerKeys | None = None
        self._handler = Handler(
            plane_of(settings, self.policy, self._homes),
            self._authenticator,
            OwnRoutes(*self._own_routes(prefixes)),
            HeaderRules(settings.headers.forward, read=READ.union(*(only_to or {}).values())),
            forwarding_of(settings, self._regions, only_to or {}),
            self._recorder,
            self._deletions,
            self._clock,
            realm=settings.realm,
        )
        self._server = Server(
            self._handler,
            server_limits(settings),
            self._deadlines,
        )
        self.admin = admin_application(
            phase=lambda: self._phase,
            policy_mode=lambda: settings.policy.mode,
            pings={"store": store.ping},
            warnings=self._warnings,
            exposition=self._exposition,
            api=self._api(prefixes),
        )
        self.url = ""
        self.admin_url = ""

    # Building

    def _own_routes(self, prefixes: Prefixes) -> list[OwnRoute[Any]]:
        routes: list[OwnRoute[Any]] = [OwnKey(self._store, prefixes, self._authenticator, self._clock, self.metrics)]
        if self.settings.users == "builtin":
            routes += [
                AuthCode(self._registration, self._authenticator, self._homes, self._clock),
                NewUser(self._registration, self._homes),
                NextToken(self._registration, self._reuse, self._homes, self._clock),
            ]
        if self.settings.leaks.github.enabled:
            routes.append(self._leak_reports(prefixes))
        return routes

    def _leak_reports(self, prefixes: Prefixes) -> OwnRoute[Any]:
        # Nobody else waits for these.
        from gateway.proxy.jwks_sources import from_url  # noqa: PLC0415
        from gateway.proxy.leak_reports import LeakReports  # noqa: PLC0415
        from gateway.proxy.signers import SignerKeys  # noqa: PLC0415

        github = self.settings.leaks.github
        self._reporter_keys = keys = SignerKeys(from_url(github.keys_url, trust(github.ca_file)), self._clock)
        return LeakReports(LeakDesk(self._store, Who("reporter:github", "traffic"), prefixes), keys, self.metrics)

    def _api(self, prefixes: Prefixes) -> Api:
        settings = self.settings
        return Api(
            self._store,
            prefixes,
            settings.api.operators,
            scopes=lambda: tuple(self.policy.scopes),
            regions=tuple(settings.regions),
            overlap=settings.rotation.overlap,
            rules=self._rules,
            realm=settings.realm,
        )

    # Running

    async def start(self) -> None:
        """Accept requests. Raises `CannotStart` when an address cannot be had; then nothing is left running."""
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            self._deadlines.start()
            stack.callback(self._deadlines.close)
            if self._reporter_keys is not None:
                stack.push_async_callback(self._reporter_keys.close)
            for region in self._regions.values():
                for endpoint in region.endpoints:
                    stack.push_async_callback(endpoint.close)
            self._request_log.start(loop)
            stack.callback(self._recorder.flush)
            await self._store.start(self.metrics.heard)
            keys = (keys.run() for keys in (self.issuers.keys if self.issuers else ()))
            chores = (
                note_uses(self._store, self._take_uses),
                count_uses(self._store, self._take_counts),
                sweep(self._store),
                self._deletions.run(),
                tell_warnings(self._warnings),
                self._sealer.run(),
                self._notifier.run(),
                *keys,
            )
            for chore in chores:
                stack.push_async_callback(_cancelled, asyncio.create_task(chore))
            listen, admin = self.settings.listen, self.settings.admin
            server = await _listening(
                lambda: loop.create_server(self._server, listen.host, listen.port, backlog=_BACKLOG), listen, "clients"
            )
            stack.callback(server.close)
            self.url = _url(server.sockets[0].getsockname(), listen.host)
            if self._before_admin is not None:
                self._before_admin(self)
            runner = QuietRunner(self.admin)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, admin.host, admin.port)
            await _listening(site.start, admin, "health and metrics")
            self.admin_url = _url(runner.addresses[0], admin.host)
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

    async def stop(self) -> None:
        """Refuse new connections, finish the requests in flight, and release everything but store and log."""
        self._phase = "draining"
        self._handler.draining = True
        await self._stack.aclose()

    def reload_policy(self) -> None:
        """Judge by the schema file as it is now. Raises `CannotStart` with its faults; then the old policy stays."""
        self.policy = read_policy(self.settings.policy.schema_file, policy_options(self.settings))
        self._handler.plane = plane_of(self.settings, self.policy, self._homes)

    def flush_log(self) -> None:
        """Return when the lines of all requests so far have been written."""
        self._recorder.flush()
        self._request_log.settle()

    def _exposition(self) -> bytes:
        self._recorder.flush()
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
