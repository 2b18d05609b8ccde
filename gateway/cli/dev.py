"""`gateway dev`, a whole gateway to try things with, and `gateway mock`, its pretend upstream alone."""

import asyncio
import json
import os
import re
import secrets
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import structlog
import typer
from structlog.typing import EventDict

from gateway.app import Gateway
from gateway.building import CannotStart, read_policy
from gateway.cli.opening import DEV_DATA, DEV_REGIONS, DEV_SCHEMA, dev_store, note_dev_schema, note_dev_store
from gateway.cli.running import reasons_told, run, told_to_stop
from gateway.core.explanations import EXPLANATIONS
from gateway.core.policy import Options
from gateway.core.policy_advice import closed_sentence
from gateway.dev.execute import SchemaFault
from gateway.dev.mock import Mock
from gateway.dev.page import EXAMPLES, add_page
from gateway.dev.reporter import KeysServed, reporter, serving_keys
from gateway.dev.seed import Seeded, prepare_directory, seeded
from gateway.log import configure
from gateway.settings import Settings, load_settings
from gateway.store.contract import Store
from gateway.store.open import open_store

_PATH: Final = "/v4/gql"
_UPSTREAM: Final = re.compile(r"([a-z]+)=(https?://[^/?#]+)(/[^?#]*)?")  # the settings look closer
_MISBEHAVIOUR: Final = ("x-mock-status", "x-mock-delay", "x-mock-reset", "x-mock-size")
# The welcome has the addresses; seals matter to who verifies an audit, and reminders need settings.
_TOLD_ELSEWHERE: Final = ("serving", "audit sealed", "no reminders will be sent")
_LOOK_SECONDS: Final = 0.5  # how soon a change of the schema file is noticed


@dataclass(frozen=True, slots=True)
class _Wish:
    """What was asked for on the command line."""

    host: str
    port: int
    admin_port: int
    data: Path
    schema: Path
    store: str
    upstreams: dict[str, str]
    path: str
    as_json: bool


def dev(
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port for clients; 0 is any free one.")] = 8080,
    admin_port: Annotated[int, typer.Option(help="The port for the page, health and metrics.")] = 8081,
    data: Annotated[Path, typer.Option(metavar="DIR", help="Where store and tokens are kept.")] = DEV_DATA,
    schema: Annotated[
        Path, typer.Option(metavar="FILE", help="The annotated schema; read again on change.")
    ] = DEV_SCHEMA,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A store elsewhere, as redis://127.0.0.1:6379; if not given, a file in DIR.",
            show_default=False,
        ),
    ] = None,
    upstream: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REGION=URL", help="Your own API instead of the pretend one: eu=http://localhost:4000/graphql"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object when everything listens.")] = False,
) -> None:
    """Run a gateway with seeded credentials before pretend upstreams, to try things with."""
    with reasons_told():
        upstreams, path = _upstreams(upstream or [])
        wish = _Wish(host, port, admin_port, data, schema, store or dev_store(data), upstreams, path, as_json)
        run(_dev(wish))


def mock(
    schema: Annotated[Path, typer.Option(metavar="FILE", help="The schema whose data is made up.")],
    port: Annotated[int, typer.Option(help="The port; 0 is any free one.")],
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    seed: Annotated[int, typer.Option(help="The same seed gives the same data.")] = 1,
) -> None:
    """Run the pretend upstream alone."""
    with reasons_told():
        run(_mock(schema, host, port, seed))


async def _mock(schema: Path, host: str, port: int, seed: int) -> None:
    upstream = await _pretend(schema, host, port, seed, None)
    typer.echo(f"The pretend upstream listens at {upstream.url} (GraphQL at /v4/gql). Stop it with Ctrl-C.")
    await told_to_stop()
    await upstream.stop()


async def _pretend(schema: Path, host: str, port: int, seed: int, region: str | None, path: str = _PATH) -> Mock:
    try:
        mock = Mock(_text(schema), seed, region, path)
        await mock.listen(host, port)
    except SchemaFault as fault:
        raise CannotStart("\n".join(f"{schema}: {line}" for line in str(fault).splitlines())) from fault
    except UnicodeDecodeError as error:
        raise CannotStart(f"{schema}: the schema is not UTF-8.") from error
    except OSError as error:
        if error.filename:
            raise
        why = os.strerror(error.errno or 0)
        raise CannotStart(f"Cannot listen at {host} port {port}: {why}. --port 0 is any free one.") from error
    return mock


def _upstreams(given: list[str]) -> tuple[dict[str, str], str]:
    """The backends by region, and the one path at which all of them serve GraphQL."""
    found = {}
    paths = set()
    for text in given:
        match = _UPSTREAM.fullmatch(text)
        if match is None or match[1] not in DEV_REGIONS:
            raise CannotStart(
                f"--upstream {text}: write REGION=URL, as eu=http://localhost:4000/graphql, with one of the regions"
                f" {', '.join(DEV_REGIONS)}."
            )
        found[match[1]] = match[2]
        paths.add((match[3] or "").rstrip("/") or _PATH)
    if len(paths) > 1:
        raise CannotStart(f"--upstream: the paths differ ({', '.join(sorted(paths))}); all regions need the same one.")
    return found, paths.pop() if paths else _PATH


async def _dev(wish: _Wish) -> None:
    if not wish.schema.exists():
        raise CannotStart(
            f"{wish.schema}: cannot be read: No such file or directory; give your own with --schema FILE."
        )
    policy = read_policy(wish.schema, Options())
    prepare_directory(wish.data)
    note_dev_schema(wish.data, wish.schema)
    note_dev_store(wish.data, wish.store)
    log = configure("console", "info", None)
    structlog.configure(processors=[_leave_out, *structlog.get_config()["processors"]])
    async with AsyncExitStack() as stack:
        stack.callback(log.close)
        store = await _store(wish.store)
        stack.push_async_callback(store.close)
        kept = await seeded(
            store,
            wish.data,
            policy.scopes,
            regions=DEV_REGIONS,
            now=time.time_ns() // 1_000_000,
            entropy=secrets.token_bytes,
        )
        pretend = {
            region: await _pretend(wish.schema, wish.host, 0, 1, region, wish.path)
            for region in DEV_REGIONS
            if region not in wish.upstreams
        }
        for upstream in pretend.values():
            stack.push_async_callback(upstream.stop)
        urls = {region: wish.upstreams.get(region) or pretend[region].url for region in DEV_REGIONS}
        settings = _settings(wish, urls, await stack.enter_async_context(serving_keys(reporter(), wish.data)))
        app = Gateway(
            settings,
            store,
            log,
            only_to=dict.fromkeys(pretend, _MISBEHAVIOUR),
            before_admin=lambda app: _add_page(app, kept),
        )
        await app.start()
        stack.push_async_callback(app.stop)
        _announce(app, urls, kept, wish)
        watch = asyncio.create_task(_watch(app, list(pretend.values()), wish.schema))
        stack.callback(watch.cancel)
        await told_to_stop()


def _leave_out(_: object, __: str, event: EventDict) -> EventDict:
    """Keep from the log what a newcomer is told otherwise, or can do nothing about in a 'gateway dev'."""
    if str(event.get("event", "")).startswith(_TOLD_ELSEWHERE):
        raise structlog.DropEvent
    return event


async def _store(url: str) -> Store:
    """The store, made unless it is there: who tries things should not have to."""
    if url.startswith("redis"):
        from gateway.store.redis.founding import init

        await init(url)
    return open_store(url, create=True)


def _settings(wish: _Wish, urls: dict[str, str], reporter_keys: KeysServed) -> Settings:
    return load_settings(
        None,
        environ={},
        overrides={
            "listen.host": wish.host,
            "listen.port": wish.port,
            "admin.host": wish.host,
            "admin.port": wish.admin_port,
            "graphql.upstream_path": wish.path,
            "policy.schema_file": str(wish.schema),
            "policy.introspection": "all",
            "store.url": wish.store,
            "default_region": "eu",
            "leaks.github.enabled": True,
            "leaks.github.keys_url": reporter_keys.url,
            "leaks.github.ca_file": str(reporter_keys.ca_file),
            **{f"regions.{region}.upstreams": [url] for region, url in urls.items()},
            **{f"regions.{region}.user_scoping": "upstream" for region in urls},
        },
    )


def _add_page(app: Gateway, kept: Seeded) -> None:
    examples = EXAMPLES if {"user", "offloads"} <= app.policy.fields["Query"].keys() else ()
    add_page(
        app.admin,
        traffic_url=app.url,
        graphql_path=app.settings.graphql.path,
        credentials=kept.shown(),
        reasons={reason.value: text for reason, text in EXPLANATIONS.items()},
        examples=examples,
    )


async def _watch(app: Gateway, upstreams: list[Mock], schema: Path) -> None:
    """Judge by the schema as it is saved; a fault is printed and the old one stays."""
    seen = _stamp(schema)
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        stamp = _stamp(schema)
        if stamp in (seen, None):
            continue
        seen = stamp
        try:
            app.reload_policy()
            text = _text(schema)
            for upstream in upstreams:
                upstream.reload(text)
        except (CannotStart, SchemaFault, OSError) as error:
            typer.echo(f"{error}\nThe schema before this change stays in force.", err=True)
        else:
            typer.echo(f"{schema}: read again, in force now. {closed_sentence(app.policy)}".rstrip(), err=True)


def _text(path: Path) -> str:
    return path.read_text("utf-8")


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:  # an editor is just replacing it
        return None
    return status.st_mtime_ns, status.st_size


# Saying what is there ------------------------------------------------------------------------------------------------


def _announce(app: Gateway, urls: dict[str, str], kept: Seeded, wish: _Wish) -> None:
    if wish.as_json:
        line = {"url": app.url, "admin_url": app.admin_url, "upstreams": urls, **asdict(kept)}
        print(json.dumps(line), flush=True)
        return
    from gateway.cli.dev_table import show

    show(app, urls, kept, closed_sentence(app.policy), wish.data)
    sys.stdout.flush()
