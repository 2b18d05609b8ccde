"""Composition: every part of a running gateway is built here, started in order and stopped in the reverse one."""

import asyncio
import gc
import os
import secrets
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog
from aiohttp import web

from gateway.clock import Clock
from gateway.control.api.app import Api
from gateway.control.health import Phase, admin_application
from gateway.control.notifier import Notifier
from gateway.control.roads import Roads, RoadsFaulty, roads_from
from gateway.control.sealer import Sealer
from gateway.core.document import DocumentLimits
from gateway.core.headers import HeaderRules
from gateway.core.ledger import Who
from gateway.core.policy import Introspection, Options, Policy, UserScoping
from gateway.core.routing import RouteRule, Routes
from gateway.core.schema import SchemaInvalid, compile_policy
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
from gateway.proxy.documents import Documents
from gateway.proxy.forwarding import READ, Forwarding
from gateway.proxy.handler import Handler, Plane
from gateway.proxy.limits import ServerLimits
from gateway.proxy.own_key import OwnKey
from gateway.proxy.own_routes import OwnRoute, OwnRoutes
from gateway.proxy.parser import check_parser
from gateway.proxy.record import Recorder
from gateway.proxy.regions import Regions
from gateway.proxy.reuse import Reuse
from gateway.proxy.server import Server
from gateway.proxy.upstream import Endpoint, Region, UpstreamLimits
from gateway.proxy.users import LINKING, REFRESHING, REGISTERING, AuthCode, NewUser, NextToken
from gateway.settings import Settings
from gateway.settings.models import Admin, Listen
from gateway.store.contract import DEAF, Store, StoreUnavailable, Use
from gateway.upkeep import count_uses, note_uses, sweep, tell_warnings, warnings_of

if TYPE_CHECKING:
    from gateway.keys.signing import Signer
    from gateway.proxy.issuers import Issuers
    from gateway.proxy.signers import SignerKeys

_T = TypeVar("_T")

_log: Final = structlog.get_logger()

_BACKLOG: Final = 1024  # Connections that the kernel holds while the loop is busy; more than a burst of wrk's.


class CannotStart(Exception):
    """The gateway cannot run as it was asked to; the text is for the person who started it."""


def read_policy(path: Path, options: Options) -> Policy:
    """The policy in a schema file. Raises `CannotStart` with every fault and its line."""
    try:
        return compile_policy(path.read_text("utf-8"), options)
    except OSError as error:
        raise CannotStart(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise CannotStart(f"{path}: the schema is not UTF-8.") from error
    except SchemaInvalid as error:
        raise CannotStart("\n".join(f"{path}:{fault.line}: {fault.sentence}" for fault in error.faults)) from error


def policy_options(settings: Settings) -> Options:
    """What the settings decide about the policy."""
    return Options(
        introspection=Introspection(settings.policy.introspection),
        forward_unknown_fields=settings.policy.unknown_fields == "forward",
        report=settings.policy.mode == "report",
        scoping={name: UserScoping(region.user_scoping) for name, region in settings.regions.items()},
    )


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
        limits, timeouts, tokens = settings.limits, settings.timeouts, settings.tokens
        self._deadlines = Deadlines(_tick(timeouts.model_dump().values()))
        self._regions = self._open_regions()
        self._homes = Regions(
            self._regions,
            {name: region.hosts for name, region in settings.regions.items()},
            settings.default_region,
            refuse_wrong=settings.wrong_region == "refuse",
        )
        self._clock = clock or Clock()
        prefixes = Prefixes(tokens.key_prefix, tokens.user_prefix)
        self.issuers = self._open_issuers()
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
        self._signer = _signer(settings.audit.signing_key_file)
        self._sealer = Sealer(store, self._signer, now=self._clock)
        self.policy = read_policy(settings.policy.schema_file, policy_options(settings))
        _check_route_scopes(settings, self.policy)
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
            _roads(settings),
            self._clock,
            self.metrics.notices,
            every=settings.reminders.every,
            whole_account=settings.reminders.recipients == "account",
        )
        self._recorder = Recorder(log, self.metrics)
        self._deletions = Deletions(store, prefixes, self.metrics)
        self._reporter_keys: SignerKeys | None = None
        self._handler = Handler(
            self._plane(self.policy),
            self._authenticator,
            OwnRoutes(*self._own_routes(prefixes)),
            HeaderRules(settings.headers.forward, read=READ.union(*(only_to or {}).values())),
            self._forwarding(only_to or {}),
            self._recorder,
            self._deletions,
            self._clock,
            realm=settings.realm,
        )
        self._server = Server(
            self._handler,
            ServerLimits(
                header_bytes=limits.header_bytes,
                linger_bytes=limits.linger_bytes,
                header=timeouts.header,
                body=timeouts.body,
                idle=timeouts.idle,
                linger=timeouts.linger,
                client_stall=timeouts.client_stall,
            ),
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

    def _open_regions(self) -> dict[str, Region]:
        settings = self.settings
        limits = UpstreamLimits(
            connect=settings.timeouts.connect,
            first_byte=settings.timeouts.first_byte,
            between_bytes=settings.timeouts.between_bytes,
            client_stall=settings.timeouts.client_stall,
            idle=settings.upstream.idle_seconds,
            max_age=settings.upstream.max_age_seconds,
            head_bytes=settings.upstream.head_bytes,
            max_connections=settings.upstream.connections,
        )
        regions = {}
        for name, region in settings.regions.items():
            context = _trust(region.ca_file)
            endpoints = [
                Endpoint(str(url).rstrip("/"), limits, self._deadlines, ssl_context=context) for url in region.upstreams
            ]
            regions[name] = Region(name, endpoints)
        return regions

    def _open_issuers(self) -> "Issuers | None":
        if not self.settings.issuers:
            return None
        from gateway.proxy.issuers import issuers_of  # noqa: PLC0415 - nobody else waits for its library

        return issuers_of(self.settings.issuers, self._clock, self._forget, trust=_trust)

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
        self._reporter_keys = keys = SignerKeys(from_url(github.keys_url, _trust(github.ca_file)), self._clock)
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

    def _forwarding(self, only_to: Mapping[str, Sequence[str]]) -> Forwarding:
        extra: dict[Endpoint, tuple[str, ...]] = {}
        for name, region in self._regions.items():
            names = (*only_to.get(name, ()), *(("authorization",) * self.settings.regions[name].forward_authorization))
            extra |= dict.fromkeys(region.endpoints, names) if names else {}
        return Forwarding(self.settings.headers.trusted_proxies, extra)

    def _plane(self, policy: Policy) -> Plane:
        settings, limits = self.settings, self.settings.limits
        documents = Documents(
            policy,
            DocumentLimits(
                document_bytes=limits.document_bytes,
                document_tokens=limits.document_tokens,
                document_depth=limits.document_depth,
                document_aliases=limits.document_aliases,
                document_root_fields=limits.document_root_fields,
            ),
            entries=settings.documents.entries,
            room=settings.documents.bytes,
            longest=settings.documents.longest,
        )
        return Plane(
            graphql_path=settings.graphql.path,
            graphql_path_and_query=f"{settings.graphql.path}?",
            upstream_path=settings.graphql.upstream_path.encode("ascii"),
            documents=documents,
            routes=Routes(_rules(settings)),
            regions=self._homes,
            body_bytes=limits.body_bytes,
            route_body_bytes=limits.route_body_bytes,
            json_depth=limits.json_depth,
            report=policy.options.report,
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
        self._handler.plane = self._plane(self.policy)

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
        return [*chain(*told), *warnings_of(self._store)]

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


def _tick(seconds: Iterable[float]) -> float:
    # So that no time-out is late by more than a quarter of itself, nor by more than anybody would notice.
    return min(0.25, min(seconds) / 4)


def _trust(ca_file: Path | None) -> ssl.SSLContext | None:
    if ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise CannotStart(f"{ca_file}: no certificates can be read from it ({error}).") from error


def _signer(file: Path | None) -> "Signer | None":
    if file is None:
        return None
    from gateway.keys.signing import KeyFileInvalid, load_signer  # noqa: PLC0415 - nobody else waits for it

    try:
        return load_signer(file)
    except KeyFileInvalid as error:
        raise CannotStart(f"audit.signing_key_file: {error}") from error
    except OSError as error:
        raise CannotStart(f"audit.signing_key_file: {file}: {error.strerror or error}.") from error


def _roads(settings: Settings) -> Roads:
    try:
        return roads_from(settings.reminders)
    except RoadsFaulty as error:
        raise CannotStart(str(error)) from error


def _rules(settings: Settings) -> list[RouteRule]:
    users = [LINKING, REGISTERING, REFRESHING] if settings.users == "forward" else []
    return users + [
        RouteRule(
            method=route.method,
            template=route.path,
            scopes=frozenset(route.scopes),
            keys=route.keys,
            users=route.users,
            own_user=route.own_user,
            query=frozenset(route.query),
            own_user_query=route.own_user_query,
            deletes_user=route.deletes_user,
            open=route.open,
        )
        for route in settings.routes
    ]


def _check_route_scopes(settings: Settings, policy: Policy) -> None:
    """A rule whose scope no key can hold refuses everybody for ever. The default rules may name scopes that a schema of
    somebody's own does not have; they are the vendor's."""
    if "routes" not in settings.model_fields_set:
        return
    faults = [
        f"routes: {route.method} {route.path} needs the scope {scope!r}, which the schema does not have."
        for route in settings.routes
        for scope in route.scopes
        if scope not in policy.scopes
    ]
    if faults:
        raise CannotStart("\n".join(faults))


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _listening(start: Callable[[], Awaitable[_T]], where: Listen | Admin, what: str) -> _T:
    try:
        return await start()
    except OSError as error:
        why = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise CannotStart(
            f"Cannot listen for {what} at {where.host} port {where.port}: {why}. "
            "Stop what uses the port, or choose another."
        ) from error


def _url(address: Sequence[Any], host: str) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{address[1]}"
