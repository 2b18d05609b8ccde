"""What keys are used for: counted by what was really demanded, in bounded memory."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.core.policy import Demanded, Need
from gateway.core.principal import KeyPrincipal, UserPrincipal
from gateway.core.routing import RouteRule
from gateway.proxy import uses as module
from gateway.proxy.uses import Uses
from gateway.store.contract import REFUSED, REQUESTS
from tests.support.minting import a_key, id_of, now, revoke
from tests.support.running import OWN, Running, message, running
from tests.support.vectors import NEVER

DAY = 86_400_000


def key(key_id: str, *scopes: str) -> KeyPrincipal:
    """An API key."""
    return KeyPrincipal(key_id, "5a0000000000000000000a01", "eu", frozenset(scopes), NEVER)


def demanding(*needs: list[set[str]]) -> Demanded:
    """What demands these scopes."""
    return Demanded(tuple(Need("Query.x", tuple(map(frozenset, need))) for need in needs))


@pytest.mark.parametrize(
    ("held", "needs", "expected"),
    [
        ("AB", [], ""),
        ("AB", [[{"A"}]], "A"),
        ("AB", [[{"A", "B"}]], "AB"),
        ("AB", [[{"B"}, {"A"}]], "B"),
        ("A", [[{"B"}, {"A"}]], "A"),
        ("AB", [[{"A"}], [{"B"}]], "AB"),
        ("A", [[{"B"}]], ""),
    ],
)
def test_which_scopes_count(held: str, needs: list[list[set[str]]], expected: str) -> None:
    """A scope would count as used, or as unused, that the key could not or could do without."""
    uses = Uses()
    uses.allowed(key("5a01", *held), demanding(*needs))
    assert uses.take(7) == {("5a01", 7, REQUESTS): 1} | {("5a01", 7, scope): 1 for scope in expected}
    assert uses.take(7) == {}


def test_counts_add_up() -> None:
    """The counts would not tell how much a key is used."""
    uses, one, two = Uses(), demanding([{"A"}]), demanding([{"A"}])
    for demand in (one, two, one, RouteRule("GET", "/x", frozenset("A"))):
        uses.allowed(key("5a01", "A", "B"), demand)
    uses.allowed(UserPrincipal("u", "t", "5a0000000000000000000a01", "eu", NEVER), one)
    uses.refused("5a02")
    assert uses.take(1) == {("5a01", 1, REQUESTS): 4, ("5a01", 1, "A"): 4, ("5a02", 1, REFUSED): 1}


def test_memory_is_bounded() -> None:
    """Whoever asks for something else each time would fill the memory."""
    uses = Uses()
    for _ in range(2 * module._ENTRIES + 1):
        uses.allowed(key("5a01", "A"), demanding([{"A"}]))
    assert len(uses._counts) <= module._ENTRIES
    assert uses.take(1)["5a01", 1, "A"] == 2 * module._ENTRIES + 1


@pytest_asyncio.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Running]:
    """A gateway of its own, whose counts start at none."""
    async with running(tmp_path) as started:
        yield started


async def test_what_a_gateway_counts(gateway: Running) -> None:
    """Advice would be given on counts that say nothing of the requests."""
    token = gateway.keys["all"]
    ended = await a_key(gateway.store, gateway.owner)
    await revoke(gateway.store, ended)
    for _ in range(3):
        assert (await gateway.ask(OWN, token=token)).status == 200
    assert (await gateway.ask(message("{ moment_definitions { id } }"), token=token)).status == 200
    assert (await gateway.ask("", token=token, method="GET", target="/v2/users/5a01")).status == 200
    assert (await gateway.ask(message("{ nothing }"), token=token)).status != 503
    assert (await gateway.ask(OWN, token=gateway.keys["OFFLOADS_READ"])).status == 403
    assert (await gateway.ask(OWN, token=ended)).status == 401
    assert (await gateway.ask(OWN, token=ended[:-8] + "00000000")).status == 401
    taken = gateway.app._take_counts()
    day = now() // DAY
    mine = id_of(token)
    assert taken == {
        (mine, day, REQUESTS): 5,
        (mine, day, "USER_READ"): 4,
        (id_of(ended), day, REFUSED): 1,
    }
