"""What `gateway dev` prints for a newcomer: where everything is, who can call, and lines to paste."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from graphql import is_leaf_type
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.app import Gateway
from gateway.dev.seed import Seeded, SeededKey

# Wider than any row. A narrower terminal folds what it is given, and what a terminal folded is copied whole; what rich
# makes fit is cut short.
_WIDTH: Final = 200


def show(app: Gateway, urls: Mapping[str, str], kept: Seeded, closed: str, data: Path) -> None:
    """Print addresses, credentials and examples. Tokens and commands are never folded, so that they can be copied."""
    console = Console(highlight=False, soft_wrap=True, width=_WIDTH)
    console.print()
    console.print(_addresses(app, urls))
    console.print(_credentials(kept))
    if closed:
        console.print(Text(f"  {closed}\n", style="yellow"))
    for title, command in _examples(app, kept):
        console.print(Text(f"# {title}", style="dim"))
        console.print(Text(command, style="cyan"), end="\n\n")
    named = shlex.quote(str(data))
    console.print(Text.assemble("Commands for this gateway: ", (f"gateway keys list --data {named}", "cyan")))
    console.print(Text(f"Try it in a browser: {app.admin_url}/   Stop with Ctrl-C.", style="bold"))


def _addresses(app: Gateway, urls: Mapping[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row(Text("GraphQL", style="bold"), app.url + app.settings.graphql.path)
    table.add_row(Text("page, health, metrics", style="bold"), f"{app.admin_url}/  /live  /ready  /metrics")
    table.add_row(Text("management API", style="bold"), f"{app.admin_url}/api/v1/")
    for region, url in urls.items():
        address = url + app.settings.graphql.upstream_path
        table.add_row(Text(f"upstream {region}", style="dim"), Text(address, style="dim"))
    return table


def _credentials(kept: Seeded) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("app")
    table.add_column("region")
    table.add_column("may")
    table.add_column("token")
    apps = {app.id: app for app in kept.apps}
    for key in kept.keys:
        app = apps[key.app]
        table.add_row(app.name, app.region, _scopes(key), Text(key.token, style="green", no_wrap=True))
    for user in kept.users:
        app = apps[user.app]
        table.add_row(app.name, app.region, f"user {user.id}", Text(user.token, style="magenta", no_wrap=True))
    return table


def _scopes(key: SeededKey) -> str:
    return key.scopes[0] if len(key.scopes) == 1 else "all scopes"


def _examples(app: Gateway, kept: Seeded) -> list[tuple[str, str]]:
    url = app.url + app.settings.graphql.path
    fields = app.policy.fields[app.policy.root("query") or ""]
    one_user, other = kept.users
    keys = {key.scopes: key for key in kept.keys}
    if "user" not in fields or ("USER_READ",) not in keys:
        return [("any good credential may ask this", _curl(url, one_user.token, "{ __typename }")), *_closed(app, kept)]
    read = keys["USER_READ",].token
    return [
        ("a user reads its own data", _curl(url, one_user.token, "{ user { id created_at } }")),
        (
            "the same user asks for somebody else's, and is refused with the reason",
            _curl(url, one_user.token, f'{{ user(user_id: "{other.id}") {{ id created_at }} }}'),
        ),
        ("a key reads any user of its app", _curl(url, read, f'{{ user(user_id: "{other.id}") {{ id created_at }} }}')),
        ("the same key lacks OFFLOADS_READ", _curl(url, read, "{ offloads { day } }")),
    ]


def _closed(app: Gateway, kept: Seeded) -> list[tuple[str, str]]:
    """A root field of somebody's own schema that a user is refused, if there is one."""
    for name, field in app.policy.fields[app.policy.root("query") or ""].items():
        if field.demands.closed or field.demands.keys_only:
            selection = "" if is_leaf_type(field.type) else " { __typename }"
            url = app.url + app.settings.graphql.path
            return [("refused, with the reason", _curl(url, kept.users[0].token, f"{{ {name}{selection} }}"))]
    return []


def _curl(url: str, token: str, query: str) -> str:
    body = json.dumps({"query": query})
    return f"curl -s {url} -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' -d '{body}'; echo"
