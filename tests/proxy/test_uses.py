"""What keys are used for: counted by what was really demanded, in bounded memory."""

from pathlib import Path

import pytest

from gateway.core.policy import Demanded, Need
from gateway.core.principal import KeyPrincipal, UserPrincipal
from gateway.core.routing import RouteRule
from gateway.core.wishes import DAY
from gateway.proxy.uses import Uses
from gateway.store.contract import REFUSED, REQUESTS
from gateway.store.open import open_store
from tests.support.minting import a_key, id_of, now, revoke
from tests.support.running import OWN, message, running
from tests.support.vectors import NEVER


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


class Asked:
    """What a request demands, which keeps how often it was looked at."""

    looked = 0

    def used(self, held: frozenset[str]) -> frozenset[str]:
        Asked.looked += 1
        return held


def test_memory_is_bounded() -> None:
    """Whoever asks for something else each time would fill the memory."""
    uses, asked = Uses(entries=3), 100
    for number in range(asked):
        uses.allowed(key("5a01", "A"), Asked())
        assert number - Asked.looked < 3
    assert uses.take(1)["5a01", 1, "A"] == asked


async def test_what_a_gateway_counts(tmp_path: Path) -> None:
    """Advice would be given on counts that say nothing of the requests, or a restart lose them."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    async with running(tmp_path, store=open_store(url, create=True)) as gateway:
        token = gateway.keys["all"]
        ended = await a_key(gateway.store, gateway.owner)
        await revoke(gateway.store, ended)
        asking = [
            (OWN, token, 200),
            (OWN, token, 200),
            (message("{ moment_definitions { id } }"), token, 200),
            (message("{ nothing }"), token, 200),  # is refused, as a fault of the document
            (OWN, gateway.keys["OFFLOADS_READ"], 403),
            (OWN, gateway.user_token, 200),
            (OWN, ended, 401),
            (OWN, ended[:-8] + "00000000", 401),
        ]
        for body, presented, status in asking:
            assert (await gateway.ask(body, token=presented)).status == status
        assert (await gateway.ask("", token=token, method="GET", target="/v2/users/5a01")).status == 200
    store = open_store(url)
    day, other = now() // DAY, gateway.keys["OFFLOADS_READ"]
    counts = await store.uses([id_of(each) for each in (token, ended, other)])
    await store.close()
    assert counts == {
        (id_of(token), day, REQUESTS): 4,
        (id_of(token), day, "USER_READ"): 3,
        (id_of(ended), day, REFUSED): 1,
    }
