"""The tables in tests/vectors as values: who calls, under which schema and settings, what must come of it."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from gateway.core.decision import Decision, Refused
from gateway.core.document import DocumentLimits
from gateway.core.judge import decide
from gateway.core.operation import analyse
from gateway.core.policy import Introspection, Options, Policy, UserScoping
from gateway.core.principal import KeyPrincipal, Principal, UserPrincipal
from gateway.core.schema import compile_policy

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors"
VENDOR_SCHEMA = ROOT / "config" / "schema.graphql"

OWN_USER = "5a93deb3d8e7d90600001e6f"
OTHER_USER = "583e08a1cd99250700000002"
OWN_APP = "5a0000000000000000000a01"
REGION = "eu"
NEVER = 1 << 62


def rows(name: str) -> list[Any]:
    """The rows of one table."""
    loaded = yaml.safe_load((VECTORS / name).read_text("utf-8"))
    assert isinstance(loaded, list)
    return loaded


def schema_text(name: str) -> str:
    """The text of the vendor's schema, or of one of the small ones."""
    path = VENDOR_SCHEMA if name == "vendor" else VECTORS / "schemas" / f"{name}.graphql"
    return path.read_text("utf-8")


@cache
def policy(schema: str, introspection: str, scoping: str, unknown_fields: str, mode: str) -> Policy:
    """The compiled policy for a row."""
    options = Options(
        introspection=Introspection(introspection),
        forward_unknown_fields=unknown_fields == "forward",
        report=mode == "report",
        scoping={REGION: UserScoping(scoping)},
    )
    return compile_policy(schema_text(schema), options)


def policy_of(row: Mapping[str, Any]) -> Policy:
    """The policy that a row of policy.yaml is judged under."""
    settings = {
        "introspection": "keys",
        "user_scoping": "upstream",
        "unknown_fields": "refuse",
        "mode": "enforce",
        **(row.get("settings") or {}),
    }
    return policy(
        row.get("schema", "vendor"),
        settings["introspection"],
        settings["user_scoping"],
        settings["unknown_fields"],
        settings["mode"],
    )


def caller(spec: Any) -> Principal:
    """A principal from a row: `user`, or `{key: [scopes]}`."""
    if spec == "user":
        return user(OWN_USER)
    return KeyPrincipal("e5c3b842231543f1", OWN_APP, REGION, frozenset(spec["key"]), NEVER)


def user(user_id: str) -> UserPrincipal:
    """A user token's principal."""
    return UserPrincipal(user_id, "0123456789abcdef", OWN_APP, REGION, NEVER)


def text(template: Any) -> str:
    """A text written out, or generated: `{before, repeat, times, after}` with `{i}` counting from 0."""
    if isinstance(template, str):
        return template
    repeated = "".join(template["repeat"].replace("{i}", str(i)) for i in range(template["times"]))
    return f"{template.get('before', '')}{repeated}{template.get('after', '')}"


def judged(
    policy: Policy, principal: Principal, query: str, variables: Mapping[str, Any] | None, name: str | None
) -> Decision:
    """The decision, with a refusal of the document itself as a `Deny`."""
    try:
        operation = analyse(policy, query, name, DocumentLimits())
    except Refused as refused:
        return refused.deny
    return decide(policy, principal, operation, variables or {})
