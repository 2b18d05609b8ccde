"""From settings to the parts of a gateway; what cannot be built keeps it from starting. `gateway/app.py` puts them
together."""

import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.control.notifier import Notifier
from gateway.control.senders import SendersFaulty, senders_from
from gateway.core.document import DocumentLimits
from gateway.core.ledger import Who
from gateway.core.policy import Introspection, Options, Policy, UserScoping
from gateway.core.routing import RouteRule, Routes
from gateway.core.schema import SchemaInvalid, compile_policy
from gateway.core.token import Prefixes
from gateway.keys.flagging import Flagging
from gateway.keys.leaks import LeakDesk
from gateway.metrics import Metrics, NoticeCounts
from gateway.proxy.deadlines import Deadlines
from gateway.proxy.documents import Documents
from gateway.proxy.forwarding import Forwarding
from gateway.proxy.handler import Plane
from gateway.proxy.limits import ServerLimits
from gateway.proxy.own_routes import OwnRoute
from gateway.proxy.parser import check_parser
from gateway.proxy.regions import Regions
from gateway.proxy.upstream import Endpoint, Region, UpstreamLimits
from gateway.proxy.users import LINKING, REFRESHING, REGISTERING
from gateway.settings import Settings
from gateway.store.contract import Store

if TYPE_CHECKING:
    from gateway.keys.signing import Signer
    from gateway.proxy.issuers import Issuers
    from gateway.proxy.signers import SignerKeys


class CannotStart(Exception):
    """The gateway cannot run as it was asked to; the text is for the person who started it."""


def demand_parser() -> None:
    """Raise `CannotStart` when the library that parses requests takes what it must not."""
    try:
        check_parser()
    except RuntimeError as error:
        raise CannotStart(str(error)) from error


def read_policy(path: Path, options: Options) -> Policy:
    """The policy in a schema file. Raises `CannotStart` with every fault and its line."""
    try:
        return compile_policy(path.read_text("utf-8"), options)
    except OSError as error:
        raise CannotStart(f"{path}: cannot be read: {error.strerror or error}.") from error
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


def open_regions(settings: Settings, deadlines: Deadlines) -> dict[str, Region]:
    """The regions with the endpoints of their upstreams; nothing is connected to yet."""
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
        context = trust(region.ca_file)
        endpoints = [Endpoint(str(url).rstrip("/"), limits, deadlines, ssl_context=context) for url in region.upstreams]
        regions[name] = Region(name, endpoints)
    return regions


def homes_of(settings: Settings, regions: Mapping[str, Region]) -> Regions:
    """Which region serves whom."""
    return Regions(
        regions,
        {name: region.hosts for name, region in settings.regions.items()},
        settings.default_region,
        refuse_wrong=settings.wrong_region == "refuse",
    )


def server_limits(settings: Settings) -> ServerLimits:
    """What a client's connection may take, in bytes and seconds."""
    limits, timeouts = settings.limits, settings.timeouts
    return ServerLimits(
        header_bytes=limits.header_bytes,
        linger_bytes=limits.linger_bytes,
        header=timeouts.header,
        body=timeouts.body,
        idle=timeouts.idle,
        linger=timeouts.linger,
        client_stall=timeouts.client_stall,
    )


def open_issuers(
    settings: Settings, clock: Callable[[], int], forget: Callable[[frozenset[str]], None]
) -> "Issuers | None":
    """The other issuers of user tokens, if there are any."""
    if not settings.issuers:
        return None
    from gateway.proxy.issuers import issuers_of  # noqa: PLC0415 - nobody else waits for its library

    return issuers_of(settings.issuers, clock, forget, trust=trust)


def forwarding_of(
    settings: Settings, regions: Mapping[str, Region], only_to: Mapping[str, Sequence[str]]
) -> Forwarding:
    """What goes upstream beside the usual headers, and to whom; `only_to` names more, by region."""
    extra: dict[Endpoint, tuple[str, ...]] = {}
    for name, region in regions.items():
        names = (*only_to.get(name, ()), *(("authorization",) * settings.regions[name].forward_authorization))
        extra |= dict.fromkeys(region.endpoints, names) if names else {}
    return Forwarding(settings.headers.trusted_proxies, extra)


def plane_of(settings: Settings, policy: Policy, homes: Regions) -> Plane:
    """What requests are judged and forwarded by, under a policy."""
    limits = settings.limits
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
        regions=homes,
        body_bytes=limits.body_bytes,
        route_body_bytes=limits.route_body_bytes,
        json_depth=limits.json_depth,
        report=policy.options.report,
    )


def tick_of(seconds: Iterable[float]) -> float:
    """How often time-outs are looked at."""
    # So that no time-out is late by more than a quarter of itself, nor by more than anybody would notice.
    return min(0.25, min(seconds) / 4)


def trust(ca_file: Path | None) -> ssl.SSLContext | None:
    """Whom a file of certificates vouches for; None, without one, is the system's choice. Raises `CannotStart`."""
    if ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise CannotStart(f"{ca_file}: no certificates can be read from it ({error}).") from error


def signer_of(file: Path | None) -> "Signer | None":
    """What signs seals, if there is a key. Raises `CannotStart`."""
    if file is None:
        return None
    from gateway.keys.signing import KeyFileInvalid, load_signer  # noqa: PLC0415 - nobody else waits for it

    try:
        return load_signer(file)
    except KeyFileInvalid as error:
        raise CannotStart(f"audit.signing_key_file: {error}") from error
    except OSError as error:
        raise CannotStart(f"audit.signing_key_file: {file}: {error.strerror or error}.") from error


def notifier_of(settings: Settings, store: Store, clock: Callable[[], int], counts: NoticeCounts) -> Notifier:
    """What tells people of keys that end and of leaks. Raises `CannotStart`."""
    try:
        senders = senders_from(settings.reminders)
    except SendersFaulty as error:
        raise CannotStart(str(error)) from error
    whole_account = settings.reminders.recipients == "account"
    return Notifier(store, senders, clock, counts, every=settings.reminders.every, whole_account=whole_account)


def reporter_keys_of(settings: Settings, clock: Callable[[], int]) -> "SignerKeys | None":
    """The keys by which leak reports are signed, if they are taken. Raises `CannotStart`."""
    github = settings.leaks.github
    if not github.enabled:
        return None
    from gateway.proxy.jwks_sources import from_url  # noqa: PLC0415 - nobody else waits for these
    from gateway.proxy.signers import SignerKeys  # noqa: PLC0415 - as above

    return SignerKeys(from_url(github.keys_url, trust(github.ca_file)), clock)


def leak_reports_of(
    settings: Settings, store: Store, prefixes: Prefixes, keys: "SignerKeys", metrics: Metrics
) -> OwnRoute[Any]:
    """The route that takes leak reports signed by these keys."""
    from gateway.proxy.leak_reports import LeakReports  # noqa: PLC0415 - nobody else waits for it

    desk = LeakDesk(
        store,
        Who("reporter:github", "traffic"),
        prefixes,
        flagging=Flagging(),
        operators=settings.api.operators,
        operator_leaked=metrics.operator_leaked,
    )
    return LeakReports(desk, keys, metrics)


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


def check_route_scopes(settings: Settings, policy: Policy) -> None:
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
