"""Every setting: its name, its kind, its default and what it is for. docs/settings.md is made from this module."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationInfo, field_validator

from gateway.settings.api import Api
from gateway.settings.issuers import Issuers
from gateway.settings.kinds import (
    Address,
    Count,
    HeaderNames,
    Hosts,
    Networks,
    Port,
    Realm,
    RegionName,
    Seconds,
    SecondsOrNone,
    Section,
    StoreIdentity,
    StoreUser,
    Switch,
    TokenPrefix,
    Upstreams,
    UrlPath,
)
from gateway.settings.leaks import Leaks
from gateway.settings.reminders import Reminders
from gateway.settings.routes import KEPT, VENDOR_ROUTES, Route
from gateway.settings.stores import StoreUrl, in_redis
from gateway.settings.users import Registrar, UserTokens


class Listen(Section):
    """Where clients connect."""

    host: Address = Field(
        default="0.0.0.0",  # noqa: S104 - a gateway is there to be reached
        description="The address that clients connect to.",
    )
    port: Port = Field(default=8080, description="The port that clients connect to; 0 takes any free one.")


class Admin(Section):
    """Where health and metrics are served, never on the port for clients."""

    # Loopback, because nothing here asks for a credential.
    host: Address = Field(
        default="127.0.0.1", description="The address of the admin listener, which asks for no credential."
    )
    port: Port = Field(default=8081, description="The port of `/live`, `/ready` and `/metrics`; 0 takes any free one.")


class GraphQL(Section):
    """The path of the API on either side."""

    path: UrlPath = Field(
        default="/v4/gql", description="The path that clients post operations to, compared byte for byte."
    )
    upstream_path: UrlPath = Field(default="/v4/gql", description="The path that operations are forwarded to.")

    @field_validator("path")
    @classmethod
    def _is_free(cls, path: str) -> str:
        if path in {kept for _, kept in KEPT}:
            raise ValueError("must not be a path that the gateway keeps for itself")
        return path


class Policy(Section):
    """What is allowed."""

    schema_file: Path = Field(default=Path("schema.graphql"), description="The annotated schema, which is the policy.")
    mode: Literal["enforce", "report"] = Field(
        default="enforce",
        description="`enforce` refuses; `report` lets pass, and reports, what only the policy would have refused.",
    )
    introspection: Literal["none", "keys", "all"] = Field(
        default="keys", description="Who may use `__schema` and `__type`: nobody, API keys, or any valid credential."
    )
    unknown_fields: Literal["refuse", "forward"] = Field(
        default="refuse",
        description="`forward` lets API keys select fields below the root that the schema does not know.",
    )


class Store(Section):
    """Where apps, keys and users are kept. All but `url` is for Redis."""

    url: StoreUrl = Field(
        description="Where apps, keys and users are kept: `sqlite:///gateway.db` on one machine, `redis://host:6379`"
        " (or `redis+sentinel:`, `redis+cluster:`) for many."
    )
    username: StoreUser | None = Field(default=None, description="The user that the gateway is, by Redis' own list.")
    # A file, since what stands in settings or variables is shown by tools that show those.
    password_file: Path | None = Field(default=None, description="A file with the password for Redis.")
    sentinel_password_file: Path | None = Field(
        default=None, description="A file with the password for the sentinels, which have one of their own."
    )
    ca_file: Path | None = Field(
        default=None, description="Certificates (PEM) that vouch for the servers, instead of the system's."
    )
    # Without it the gateway takes the store that it meets first: good until it is started before the wrong one.
    identity: StoreIdentity | None = Field(
        default=None, description="The store that it has to be, as `gateway store init` printed it."
    )
    # A hundred times what a look-up takes nearby, and what a client may wait for a node that has just died.
    timeout: Seconds = Field(default=0.5, description="How long one call to Redis may take.")
    # Longer than a failover by Sentinel takes, and as long as a lost revocation may matter to somebody at night.
    grace: SecondsOrNone = Field(
        default=30.0,
        description="How long what is remembered goes on when the store does not answer, from its last answer; 0:"
        " not at all.",
    )

    @field_validator("username", "password_file", "sentinel_password_file", "ca_file", "identity")
    @classmethod
    def _has_a_use(cls, value: object, info: ValidationInfo) -> object:
        url = info.data.get("url")
        if value is None or url is None:
            return value
        if not in_redis(url):
            raise ValueError("is for a store in Redis, and store.url names none")
        if info.field_name == "sentinel_password_file" and "+sentinel:" not in url:
            raise ValueError("is for sentinels, and store.url names none; the servers' is store.password_file")
        if info.field_name == "ca_file" and not url.startswith("rediss"):
            raise ValueError("is for TLS, which store.url asks for by rediss instead of redis")
        return value


class Rotation(Section):
    """What becomes of a key when it is rotated."""

    overlap: Switch = Field(
        default=True,
        description="Whether the old key goes on until its shutdown time beside its successor, both in one of the app's"
        " ten places; if not, it ends at once.",
    )


class Audit(Section):
    """The record of changes in what is permitted."""

    # Without it a seal is a digest, which shows what was changed by accident, not by somebody who seals anew.
    signing_key_file: Path | None = Field(
        default=None, description="A private key (Ed25519, PEM) that signs the seals over the audit."
    )


class Tokens(Section):
    """What tokens look like, and how long a proven one is remembered."""

    key_prefix: TokenPrefix = Field(
        default="gwk", description="What API keys begin with, so that a scanner knows a leaked one."
    )
    user_prefix: TokenPrefix = Field(
        default="gwu", validate_default=True, description="What user tokens begin with; not the same as `key_prefix`."
    )
    # Less than 1 KiB each: 10 MB when full. Of more callers than that, the others are looked up in the store again.
    remember_entries: Count = Field(default=10_000, description="How many proven credentials are remembered at most.")
    # Bounds how long a change that the store did not announce can go unseen.
    remember_seconds: Seconds = Field(default=30.0, description="How long a proven credential is remembered at most.")

    @field_validator("key_prefix", "user_prefix")
    @classmethod
    def _is_free(cls, prefix: str) -> str:
        if prefix in {"gwd", "gwo"}:
            raise ValueError("must not be gwd or gwo, which tokens of developers and operators begin with")
        return prefix

    @field_validator("user_prefix")
    @classmethod
    def _differs(cls, prefix: str, info: ValidationInfo) -> str:
        if prefix == info.data.get("key_prefix"):
            raise ValueError("must differ from tokens.key_prefix")
        return prefix


class Region(Section):
    """Where the apps of one region are served."""

    hosts: Hosts = Field(default=(), description="The host names that clients reach this region by.")
    upstreams: Upstreams = Field(description="The addresses of the API in this region, taken in turn.")
    user_scoping: Literal["upstream", "arguments"] = Field(
        description="Whether the API is trusted to confine a user token by the identity headers (`upstream`), or only"
        " requests that name the user are let through (`arguments`)."
    )
    forward_authorization: Switch = Field(
        default=False, description="Whether the client's Authorization header goes to the API too."
    )
    ca_file: Path | None = Field(
        default=None, description="Certificates (PEM) that vouch for https upstreams, instead of the system's."
    )


class Limits(Section):
    """Bounds on what a request may ask of the gateway before any work is done for it."""

    # What nginx, Envoy and browsers settle at between 8 and 60 KiB: room for a long token and tracing, not for parking.
    header_bytes: Count = Field(default=16_384, description="Bytes of a request line and its headers.")
    # Eight times the longest document, for its variables. A stranger cannot make us hold any of it.
    body_bytes: Count = Field(default=262_144, description="Bytes of the body of a GraphQL request.")
    route_body_bytes: Count = Field(default=1_048_576, description="Bytes of the body of a request to a REST route.")
    # Real variables nest less than ten deep; recursive parsers of the API behind begin to fail at some hundreds.
    json_depth: Count = Field(default=64, description="How deep the JSON of a GraphQL request may nest.")
    # Lexing costs a third of a microsecond a character: 10 ms for one long string, below the 50 ms that a request may
    # hold the event loop.
    document_bytes: Count = Field(default=32_768, description="Bytes of a GraphQL document.")
    # Parsing costs about 10 us a token.
    document_tokens: Count = Field(default=1_000, description="Tokens of a GraphQL document.")
    # The standard introspection query is 15 deep.
    document_depth: Count = Field(default=15, description="How deep an operation may nest; a root field has depth 1.")
    document_aliases: Count = Field(
        default=30, description="Aliases of an operation, fragments counted where they are spread."
    )
    document_root_fields: Count = Field(
        default=20, description="Root fields of an operation, aliases counted separately."
    )
    # Enough that a client still sending usually reads its refusal, little enough that nobody is kept busy by it.
    linger_bytes: Count = Field(
        default=65_536, description="Bytes read and thrown away after a refusal, before closing."
    )


class Timeouts(Section):
    """How long the gateway waits, in seconds."""

    header: Seconds = Field(
        default=10.0, description="From the first byte of a request until its headers are complete."
    )
    body: Seconds = Field(default=15.0, description="From the headers until the body is complete.")
    # Longer than the 60 s of common load balancers, so that they and not we close an idle connection.
    idle: Seconds = Field(default=75.0, description="How long a client's connection may be idle between requests.")
    linger: Seconds = Field(default=1.0, description="How long reading goes on after a refusal, before closing.")
    # A SYN is sent again after 1 s: two tries.
    connect: Seconds = Field(default=2.0, description="For a connection to an upstream, TLS included.")
    first_byte: Seconds = Field(default=30.0, description="From the forwarded request to the first byte of the answer.")
    between_bytes: Seconds = Field(default=30.0, description="Between two pieces of an answer.")
    client_stall: Seconds = Field(default=30.0, description="How long a client may take nothing of its answer.")
    # What Kubernetes grants by default before it kills.
    drain: Seconds = Field(default=30.0, description="How long requests in flight may go on after SIGTERM.")


class Upstream(Section):
    """Connections to the upstreams."""

    # Below the 5 s after which Node, gunicorn and others close an idle connection, so that we never send into a close.
    idle_seconds: Seconds = Field(default=4.0, description="How long an idle connection is kept for the next request.")
    # So that names which resolve anew, and upstreams that were added, are noticed within minutes.
    max_age_seconds: Seconds = Field(default=300.0, description="After how long a connection is not used again.")
    connections: Count = Field(default=256, description="Connections to one upstream at most, idle ones included.")
    # No API says this much before its answer; it bounds what a broken upstream can make each request hold.
    head_bytes: Count = Field(default=65_536, description="Bytes of the status line and headers of an answer.")


class Headers(Section):
    """What crosses beside the usual headers, and whose word about the client is taken."""

    forward: HeaderNames = Field(
        default=(), description="Request headers that go upstream beside those that always may; never identity headers."
    )
    trusted_proxies: Networks = Field(
        default=(), description="Networks of proxies whose `Forwarded` and `X-Forwarded-*` headers are believed."
    )


class Documents(Section):
    """The memory of analysed documents: the analysis, so that a known document is not parsed again."""

    entries: Count = Field(default=2_000, description="How many analysed documents are remembered.")
    # Measured: 2,000 common documents of 300 bytes take 7 MB and count as 4; nothing found takes more than that.
    bytes: Count = Field(
        default=4_194_304,
        description="Bytes of all remembered documents together: of text, and 256 for each thing known of it.",
    )
    # Real clients send fewer than 8 KiB; whoever sends longer ones, each new, must not push the others out.
    longest: Count = Field(default=8_192, description="Bytes of the longest document that is remembered.")


class Log(Section):
    """What is said, and where: one stream for events and for the line of each request."""

    format: Literal["auto", "json", "console"] = Field(
        default="auto",
        description="`console` is for reading in a terminal, `json` for machines, `auto` looks where it goes.",
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important that is said; the line of a request is `info`."
    )
    file: Path | None = Field(default=None, description="A file to append to, instead of standard error.")


class Settings(Section):
    """Everything that can be chosen. Whoever holds one holds a valid one."""

    listen: Listen = Listen()
    admin: Admin = Admin()
    graphql: GraphQL = GraphQL()
    policy: Policy = Policy()
    store: Store
    rotation: Rotation = Rotation()
    audit: Audit = Audit()
    tokens: Tokens = Tokens()
    api: Api = Api()
    issuers: Issuers = Field(default={}, description="Other issuers of user tokens, each under a name.")
    users: Registrar = Field(
        default="builtin",
        description="Who registers SDK users: the gateway, or the upstream, whose tokens one of `issuers` then proves.",
    )
    user_tokens: UserTokens = UserTokens()
    leaks: Leaks = Leaks()
    reminders: Reminders = Reminders()
    realm: Realm = Field(default="gateway", description="The realm named in `WWW-Authenticate`.")
    regions: Mapping[RegionName, Region] = Field(description="The regions, each under its name.")
    default_region: str = Field(
        default="",
        validate_default=True,
        description="The region of a host that no region names; needed when there are several regions.",
    )
    wrong_region: Literal["forward", "refuse"] = Field(
        default="forward",
        description="Whether a request that came to another region's host is forwarded to its app's region, or refused"
        " with the right host.",
    )
    routes: tuple[Route, ...] = Field(
        default=VENDOR_ROUTES, validate_default=True, description="The REST routes beside the GraphQL path."
    )
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    upstream: Upstream = Upstream()
    headers: Headers = Headers()
    documents: Documents = Documents()
    log: Log = Log()

    @field_validator("admin")
    @classmethod
    def _apart(cls, admin: Admin, info: ValidationInfo) -> Admin:
        listen = info.data.get("listen")
        if listen is not None and admin.port == listen.port != 0 and _overlap(admin.host, listen.host):
            raise ValueError("must not have the port of listen: health and metrics are not for clients")
        return admin

    @field_validator("regions")
    @classmethod
    def _hosts_apart(cls, regions: Mapping[str, Region]) -> Mapping[str, Region]:
        if not regions:
            raise ValueError("must hold at least one region")
        count = Counter(host for region in regions.values() for host in region.hosts)
        shared = [host for host, times in count.items() if times > 1]
        if shared:
            names = [name for name, region in regions.items() if not set(shared).isdisjoint(region.hosts)]
            raise ValueError(f"must not share hosts: {', '.join(shared)} in {' and '.join(names)}")
        return regions

    @field_validator("default_region")
    @classmethod
    def _is_a_region(cls, name: str, info: ValidationInfo) -> str:
        regions = info.data.get("regions")
        if regions is None or name in regions:
            return name
        if name == "" and len(regions) == 1:
            return str(next(iter(regions)))
        raise ValueError(f"must be one of the regions: {', '.join(regions)}")

    @field_validator("wrong_region")
    @classmethod
    def _has_hosts_to_name(cls, choice: str, info: ValidationInfo) -> str:
        nameless = [name for name, region in info.data.get("regions", {}).items() if not region.hosts]
        if choice == "refuse" and nameless:
            raise ValueError(f"must not be refuse while a region has no hosts to name: {', '.join(nameless)}")
        return choice

    @field_validator("routes")
    @classmethod
    def _routes_apart(cls, routes: tuple[Route, ...], info: ValidationInfo) -> tuple[Route, ...]:
        count = Counter(route.shape() for route in routes)
        twice = [f"{method} {path}" for (method, path), times in count.items() if times > 1]
        if twice:
            raise ValueError(f"must not hold two rules for the same requests: {', '.join(twice)}")
        graphql = info.data.get("graphql")
        if graphql is not None and any(route.path == graphql.path for route in routes):
            raise ValueError(f"must not hold a rule for {graphql.path}, the path of GraphQL")
        return routes


_ANY_ADDRESS: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


def _overlap(one: str, other: str) -> bool:
    return one == other or one in _ANY_ADDRESS or other in _ANY_ADDRESS
