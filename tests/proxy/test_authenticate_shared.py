"""Proving tokens against a store that many gateways share: one that may go unheard, and one that may not answer."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.decision import Reason, Unavailable
from gateway.core.records import Fault
from gateway.core.token import Prefixes, verifier
from gateway.core.wishes import DAY
from gateway.proxy.authenticate import _ENDED, Authenticator, CredentialRefused, Proven
from gateway.store.contract import Store
from tests.support.examples import many
from tests.support.minting import id_of
from tests.support.shelf import APP, Shelf

START = 1_800_000_000_000


@dataclass
class Desk:
    """An authenticator before a shelf, asked as the handler asks it."""

    shelf: Shelf
    authenticator: Authenticator

    async def prove(self, token: str) -> Proven:
        text = token.encode()
        digest = verifier(text)
        remembered = self.authenticator.recall(digest, self.shelf.now)
        return remembered or await self.authenticator.prove(text, digest, lambda: self.shelf.now)

    async def outcome(self, token: str) -> str:
        """`passed`, `remembered` (passed without a look-up), `away`, or the fault."""
        asked = self.shelf.asked
        try:
            await self.prove(token)
        except CredentialRefused as refused:
            return refused.fault.value
        except Unavailable as unavailable:
            return "away" if unavailable.reason is Reason.STORE_UNAVAILABLE else unavailable.reason.value
        return "passed" if self.shelf.asked > asked else "remembered"

    async def outcomes(self, *tokens: str) -> list[str]:
        return [await self.outcome(token) for token in tokens]


def desk(*, seconds: float = 30.0, entries: int = 100) -> Desk:
    """A desk before an empty shelf."""
    shelf = Shelf(START)
    return Desk(shelf, Authenticator(cast("Store", shelf), Prefixes(), entries=entries, seconds=seconds))


# What is heard --------------------------------------------------------------------------------------------------------


async def test_an_end_that_is_heard_of() -> None:
    """A revocation of one key would make every other one be looked up again, thousands at once."""
    here = desk()
    mine, other, user = here.shelf.key(), here.shelf.key(), here.shelf.user_token()
    assert await here.outcomes(mine, other, user) == ["passed"] * 3

    here.shelf.revoke(mine)
    here.shelf.hear(id_of(mine))

    assert await here.outcomes(mine, other, user) == ["revoked", "remembered", "remembered"]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (lambda key, user: id_of(key), ["passed", "remembered"]),
        (lambda key, user: id_of(user), ["remembered", "passed"]),
        (lambda key, user: "someone", ["remembered", "passed"]),
        (lambda key, user: APP.id, ["passed", "passed"]),
        (lambda key, user: "another", ["remembered", "remembered"]),
    ],
    ids=["key", "user-token", "user", "app", "another"],
)
async def test_what_an_end_is_about(what: Callable[[str, str], str], expected: list[str]) -> None:
    """A credential whose user or app was ended would be remembered, or all would be forgotten."""
    here = desk()
    key, user = here.shelf.key(), here.shelf.user_token()
    await here.outcomes(key, user)

    here.shelf.hear(what(key, user))

    assert await here.outcomes(key, user) == expected


async def test_when_it_is_not_known_what_has_ended() -> None:
    """What ended while too much did to remember would work until its time is over."""
    here = desk()
    key, user = here.shelf.key(), here.shelf.user_token()
    await here.outcomes(key, user)

    here.shelf.hear_again()

    assert await here.outcomes(key, user) == ["passed", "passed"]


# Deaf -----------------------------------------------------------------------------------------------------------------


async def test_a_deaf_gateway_asks_each_time() -> None:
    """A key that was revoked unheard would go on working on the gateway that did not hear."""
    here = desk()
    key = here.shelf.key()
    assert await here.outcomes(key, key) == ["passed", "remembered"]

    here.shelf.deaf = True
    assert await here.outcomes(key, key) == ["passed", "passed"]
    here.shelf.revoke(key)
    assert await here.outcome(key) == "revoked"


async def test_what_went_unheard_is_forgotten() -> None:
    """A key that was revoked unheard would work again as soon as hearing is back."""
    here = desk()
    key, asked_while_deaf = here.shelf.key(), here.shelf.key()
    await here.outcome(key)
    here.shelf.deaf = True
    await here.outcome(asked_while_deaf)
    here.shelf.revoke(key)
    here.shelf.revoke(asked_while_deaf)

    here.shelf.hear_again()

    assert await here.outcomes(key, asked_while_deaf) == ["revoked", "revoked"]


@pytest.mark.parametrize("change", ["goes deaf", "hears again", "hears of it"])
@pytest.mark.parametrize("noticed", [True, False], ids=["noticed", "unnoticed"])
async def test_a_look_up_during_a_change(change: str, noticed: bool) -> None:
    """What was read before a revocation would be remembered after it, and work for half a minute."""
    here = desk()
    key, other = here.shelf.key(), here.shelf.key()
    here.shelf.deaf = change == "hears again"
    await here.outcome(other)

    async def meanwhile() -> None:
        here.shelf.revoke(key)
        if change == "goes deaf":
            here.shelf.deaf = True
        elif change == "hears again":
            here.shelf.hear_again()
        else:
            here.shelf.hear(id_of(key))
        if noticed:
            await here.outcome(other)

    here.shelf.meanwhile = meanwhile
    assert await here.outcome(key) == "passed"  # it was good when it was read

    assert await here.outcome(key) == "revoked"
    here.shelf.away = True
    assert await here.outcome(key) == "away"


async def test_a_look_up_across_the_beginning_of_deafness() -> None:
    """What was read while the gateway heard would be gone on with as if it had been read since."""
    here = desk()
    key, other = here.shelf.key(), here.shelf.key()
    await here.outcome(other)

    async def meanwhile() -> None:
        here.shelf.deaf = True
        await here.outcome(other)

    here.shelf.meanwhile = meanwhile
    assert await here.outcome(key) == "passed"

    here.shelf.away = True
    assert await here.outcomes(key, other) == ["away", "passed"]


# Away -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deaf", [True, False], ids=["deaf", "hearing"])
async def test_what_is_remembered_goes_on_without_the_store(deaf: bool) -> None:
    """A store that fails over would stop all traffic."""
    here = desk()
    key, user, never_seen = here.shelf.key(), here.shelf.user_token(), here.shelf.key()
    await here.outcomes(key, user)

    here.shelf.away, here.shelf.deaf = True, deaf
    here.shelf.now += 31_000  # the memory is too old to be used without asking

    assert await here.outcomes(key, user, never_seen) == ["passed", "passed", "away"]


async def test_what_was_looked_up_while_deaf_goes_on_too() -> None:
    """A gateway whose ear is broken would have nothing to go on with."""
    here = desk()
    key = here.shelf.key()
    await here.outcome(here.shelf.key())
    here.shelf.deaf = True
    await here.outcome(key)

    here.shelf.away = True

    assert await here.outcome(key) == "passed"


async def test_beyond_grace() -> None:
    """A gateway that is cut off from the store would let everybody in for ever."""
    here = desk()
    key = here.shelf.key()
    await here.outcome(key)
    here.shelf.away, here.shelf.in_grace = True, False

    here.shelf.now += 31_000

    assert await here.outcome(key) == "away"


@pytest.mark.parametrize("deaf", [True, False], ids=["deaf", "hearing"])
async def test_grace_ends_with_the_credential(deaf: bool) -> None:
    """A key or token would go on after its own end because nobody can look it up."""
    here = desk(seconds=1.0)
    key, user = here.shelf.key(ends=5_000), here.shelf.user_token(ends=5_000)
    await here.outcomes(key, user)
    here.shelf.away, here.shelf.deaf = True, deaf

    here.shelf.now += 4_999
    assert await here.outcomes(key, user) == ["passed", "passed"]
    here.shelf.now += 1
    assert await here.outcomes(key, user) == ["away", "away"]


@pytest.mark.parametrize("deaf", [True, False], ids=["deaf", "hearing"])
async def test_grace_ends_with_a_revocation_that_is_heard(deaf: bool) -> None:
    """A gateway that heard of a revocation would let the key through because its store is away."""
    here = desk()
    key, other, user = here.shelf.key(), here.shelf.key(), here.shelf.user_token()
    await here.outcomes(key, other, user)
    here.shelf.away, here.shelf.deaf = True, deaf
    here.shelf.now += 31_000

    here.shelf.hear(id_of(key))
    here.shelf.hear("someone")

    assert await here.outcomes(key, other, user) == ["away", "passed", "away"]


async def test_grace_is_not_for_what_the_store_refused() -> None:
    """A gateway that did not hear, but was told by the store, would forget it when the store goes away."""
    here = desk()
    key = here.shelf.key()
    await here.outcome(key)
    here.shelf.deaf = True
    here.shelf.revoke(key)
    assert await here.outcome(key) == "revoked"

    here.shelf.away = True

    assert await here.outcome(key) == "away"


async def test_grace_is_not_for_what_the_store_refused_meanwhile() -> None:
    """The slower of two requests would bring back what the store refused to the other."""
    here = desk()
    key = here.shelf.key()
    await here.outcome(here.shelf.key())
    here.shelf.deaf = True

    async def meanwhile() -> None:
        here.shelf.revoke(key)
        assert await here.outcome(key) == "revoked"

    here.shelf.meanwhile = meanwhile
    assert await here.outcome(key) == "passed"  # it was good when it was read

    here.shelf.away = True
    assert await here.outcome(key) == "away"


@pytest.mark.parametrize("how", ["revoke", "expire"])
async def test_refusals_keep_nobody_else_from_being_remembered(how: str) -> None:
    """Whoever has one token that ended could switch off the memory of a gateway, and its grace."""
    here = desk()
    good, ended = here.shelf.key(), here.shelf.key(ends=1 if how == "expire" else DAY)
    if how == "revoke":
        here.shelf.revoke(ended)
    here.shelf.now += 1
    await here.outcome(here.shelf.key())

    async def meanwhile() -> None:
        assert await here.outcome(ended) in ("revoked", "expired")

    here.shelf.meanwhile = meanwhile
    assert await here.outcomes(good, good) == ["passed", "remembered"]


async def test_grace_makes_nothing_younger() -> None:
    """What went on without the store would not be looked up once it is back."""
    here = desk(seconds=1.0)
    key = here.shelf.key()
    await here.outcome(key)
    here.shelf.away = True
    here.shelf.now += 2_000
    assert await here.outcome(key) == "passed"

    here.shelf.away = False
    here.shelf.revoke(key)

    assert await here.outcome(key) == "revoked"


async def test_a_gateway_that_never_heard() -> None:
    """What ended before the gateway could hear at all would go on when the store goes away."""
    here = desk()
    here.shelf.deaf = True
    key = here.shelf.key()
    await here.outcome(key)
    here.shelf.hear(id_of(key))

    here.shelf.away = True

    assert await here.outcome(key) == "away"


# What is gathered beside ----------------------------------------------------------------------------------------------


async def test_whose_use_is_noted() -> None:
    """Millions of user tokens, of which nobody asks when they were used, would be written every five seconds."""
    here = desk()
    key, user = here.shelf.key(), here.shelf.user_token()

    for _ in range(2):
        await here.outcomes(key, user)
    assert here.authenticator.used == {id_of(key): START}

    here.shelf.away, here.shelf.now = True, START + 31_000
    await here.outcomes(key, user)
    assert here.authenticator.used == {id_of(key): START + 31_000}


async def test_when_keys_end() -> None:
    """The metrics would show keys that have ended, or those of strangers, or millions of user tokens."""
    here = desk()
    first, second, user = here.shelf.key(ends=1_000), here.shelf.key(ends=2_000), here.shelf.user_token()
    await here.outcomes(first, second, user, f"{first[:-1]}!")
    assert here.authenticator.endings(START) == {id_of(first): START + 1_000, id_of(second): START + 2_000}

    here.shelf.revoke(first)
    here.shelf.hear(id_of(first))
    assert here.authenticator.endings(START) == {id_of(second): START + 2_000}
    assert here.authenticator.endings(START + 2_000) == {}

    here.shelf.deaf = True
    here.shelf.revoke(second)
    await here.outcome(second)
    assert here.authenticator.endings(START) == {}


async def test_a_key_that_comes_to_its_last_days_while_it_is_remembered() -> None:
    """For half a minute more the answers to a key would not tell of its end."""
    here = desk()
    key = here.shelf.key(ends=14 * DAY + 10_000)
    assert (await here.prove(key)).notice == b""

    here.shelf.now += 9_999
    assert (await here.prove(key)).notice == b""
    here.shelf.now += 1
    assert (await here.prove(key)).notice.startswith(b"X-Gateway-Key-Expires: ")


# Everything together --------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 2)),
        st.tuples(st.just("end"), st.integers(0, 2)),
        st.tuples(st.just("end unheard"), st.integers(0, 2)),
        st.tuples(st.sampled_from(["deaf", "hear", "away", "back"]), st.just(0)),
        st.tuples(st.just("pass"), st.sampled_from([1, 5_000, 31_000])),
    ),
    max_size=40,
)


@many
@given(STEPS)
def test_who_gets_through(steps: list[tuple[str, int]]) -> None:
    """In some order of failures a credential would pass whose end was heard, told or reached."""
    asyncio.run(_who_gets_through(steps))


async def _who_gets_through(steps: list[tuple[str, int]]) -> None:
    here = desk(seconds=10.0)
    shelf = here.shelf
    tokens = [shelf.key(), shelf.key(ends=40_000), shelf.user_token()]
    ended: set[int] = set()
    known: set[int] = set()  # ended, and this gateway was told in one way or the other
    for what, value in steps:
        if what == "ask":
            outcome = await here.outcome(tokens[value])
            passed = outcome in {"passed", "remembered"}
            over = value == 1 and shelf.now >= START + 40_000
            assert not (passed and (value in known or over))
            if not shelf.away and (shelf.deaf or outcome != "remembered"):
                assert passed == (value not in ended and not over)
                if value in ended:
                    known.add(value)
        elif what.startswith("end"):
            shelf.revoke(tokens[value])
            ended.add(value)
            if what == "end" and not shelf.deaf:
                shelf.hear(id_of(tokens[value]))
                known.add(value)
            elif not shelf.deaf:
                shelf.deaf = True  # what is not heard is noticed by not hearing
        elif what == "hear":
            shelf.hear_again()
            known |= ended
        elif what == "pass":
            shelf.now += value
        else:
            setattr(shelf, "deaf" if what == "deaf" else "away", what != "back")


def test_faults_that_only_an_owner_learns_of_are_all_of_them() -> None:
    """A new way for a credential to end would not end it while the store is away."""
    never_good = {Fault.MALFORMED, Fault.CHECK_DIGITS, Fault.UNKNOWN, Fault.WRONG}
    never_good |= {Fault.ALGORITHM, Fault.HEADER, Fault.ISSUER, Fault.ISSUER_KEY, Fault.SIGNATURE, Fault.AUDIENCE}
    never_good |= {Fault.CLAIMS, Fault.FOREIGN_APP, Fault.NOT_YET}  # an issuer's key that is withdrawn is told of
    assert _ENDED | never_good == set(Fault)
