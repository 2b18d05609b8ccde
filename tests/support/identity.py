"""What an upstream is told about the caller, and what it must have been told."""

import re
from collections.abc import Mapping

from tests.support.minting import id_of
from tests.support.running import SCOPES, Running
from tests.support.vectors import OWN_USER


def crossed_headers(gateway: Running) -> dict[str, str]:
    """The headers of the last request that crossed, each of which stands once."""
    headers = gateway.upstream.received[-1].headers
    found = {name.lower(): value for name, value in headers}
    assert len(found) == len(headers)
    return found


def expected_identity(gateway: Running, caller: str) -> dict[str, str]:
    """What the upstream must be told, and nothing else."""
    common = {"x-gateway-app": gateway.owner.id, "x-gateway-region": "eu"}
    if caller == "user":
        return common | {"x-gateway-principal": "user", "x-gateway-user": OWN_USER}
    return common | {
        "x-gateway-principal": "key",
        "x-gateway-key": id_of(gateway.keys[caller]),
        "x-gateway-scopes": " ".join(sorted(SCOPES)) if caller == "all" else caller,
    }


def folded(headers: Mapping[str, str]) -> dict[str, str]:
    """The identity headers, as a server reads them that takes every sign for a hyphen."""
    names = {name: re.sub(r"[^a-z]", "-", name) for name in headers}
    return {names[name]: value for name, value in headers.items() if names[name].startswith("x-gateway-")}
