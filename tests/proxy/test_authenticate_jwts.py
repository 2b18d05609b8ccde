"""Other issuers' tokens are remembered as ours are, and no longer: not past their end, their key, user or app."""

import asyncio
from pathlib import Path
from typing import cast

import pytest

from gateway.core.decision import Unavailable
from gateway.core.records import App, User
from gateway.core.token import Prefixes, verifier
from gateway.proxy.authenticate import Authenticator, CredentialRefused
from gateway.proxy.issuers import issuers_of
from gateway.settings.issuers import Issuer
from gateway.store.contract import Store
from tests.support.jwts import APP, AUDIENCE, ISSUER, USER, claims, published, token
from tests.support.shelf import Shelf

NOW = 1_800_000_000  # seconds


class Desk:
    """An authenticator before a shelf that others share, and an issuer whose keys are in a file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "keys.json"
        self.file.write_bytes(published())
        self.shelf = Shelf(NOW * 1000, App(APP, "demo", "eu"))
        settings = Issuer(issuer=ISSUER, apps=(APP,), audience=AUDIENCE, jwks_file=self.file)
        issuers = issuers_of({"mobile": settings}, self.now, self.forget, lambda _: None)
        (self.keys,) = issuers.keys
        self.authenticator = Authenticator(
            cast("Store", self.shelf), Prefixes(), entries=100, seconds=3600.0, issuers=issuers
        )

    def forget(self, ids: frozenset[str]) -> None:
        self.authenticator.forget(ids)

    def now(self) -> int:
        return self.shelf.now

    async def outcome(self, text: str) -> str:
        """`passed`, `remembered` (without a look-up), `away`, or the fault."""
        asked = self.shelf.asked
        try:
            await self.authenticator.proven(text.encode(), verifier(text.encode()), self.now)
        except CredentialRefused as refused:
            return refused.fault.value
        except Unavailable:
            return "away"
        return "passed" if self.shelf.asked > asked else "remembered"

    async def withdraw(self, *left: str) -> None:
        """The issuer has only these keys left."""
        self.file.write_bytes(published(*left))
        await self.keys.refresh()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """One whose keys are not known yet."""
    return Desk(tmp_path)


@pytest.mark.parametrize(
    ("taken", "expected"),
    [(USER, ["passed", "remembered"]), (APP, ["passed", "passed"]), ("else", ["remembered", "remembered"])],
)
async def test_what_is_taken_from_user_or_app_is_looked_at_anew(desk: Desk, taken: str, expected: list[str]) -> None:
    """A user who was locked out would go on as long as others remember; or everybody would be looked up for one."""
    mine, other = token(claims(NOW)), token(claims(NOW, sub="other"))
    assert [await desk.outcome(text) for text in (mine, other)] == ["passed", "passed"]
    desk.shelf.hear(taken)
    assert [await desk.outcome(text) for text in (mine, other)] == expected


async def test_the_memory_ends_with_the_token(desk: Desk) -> None:
    """The leeway of a clock would be granted to what is remembered too, and without end."""
    text = token(claims(NOW, exp=NOW + 5))
    assert [await desk.outcome(text), await desk.outcome(text)] == ["passed", "remembered"]
    desk.shelf.now += 5_000
    assert [await desk.outcome(text), await desk.outcome(text)] == ["passed", "passed"]
    desk.shelf.now += 60_000
    assert await desk.outcome(text) == "expired"


async def test_the_store_is_away(desk: Desk) -> None:
    """Users would be shut out because a disk failed, or those who were locked out let in."""
    known, other = token(claims(NOW, exp=NOW + 5)), token(claims(NOW, sub="other"))
    new = token(claims(NOW, sub="new"))
    assert [await desk.outcome(text) for text in (known, other)] == ["passed", "passed"]
    desk.shelf.deaf = desk.shelf.away = True
    assert [await desk.outcome(text) for text in (known, other, new)] == ["passed", "passed", "away"]
    desk.shelf.hear("other")
    desk.shelf.now += 5_000
    assert [await desk.outcome(text) for text in (known, other)] == ["away", "away"]


async def test_a_key_that_is_withdrawn_while_its_token_is_looked_up(desk: Desk) -> None:
    """A stolen key would work for as long as tokens are remembered, if only one was on its way."""
    text = token(claims(NOW))
    desk.shelf.meanwhile = lambda: desk.withdraw("ec")
    assert await desk.outcome(text) == "passed"
    assert await desk.outcome(text) == "issuer_key"


async def test_keys_withdrawn_and_brought_back(desk: Desk) -> None:
    """What had been remembered under a stolen key would count again, or never."""
    rsa, ec = token(claims(NOW)), token(claims(NOW), by="ec")
    assert [await desk.outcome(text) for text in (rsa, ec)] == ["passed", "passed"]
    await desk.withdraw("ec")
    assert [await desk.outcome(text) for text in (rsa, ec)] == ["issuer_key", "remembered"]
    await desk.withdraw("ec", "rsa")
    assert [await desk.outcome(text) for text in (rsa, ec)] == ["passed", "remembered"]


async def test_users_are_judged_by_what_is_known_of_them(desk: Desk) -> None:
    """A user who was disabled would get in, or one who is not known here would not."""
    desk.shelf.users["known"] = User("known", APP)
    desk.shelf.users["gone"] = User("gone", APP, switches=1)
    texts = [token(claims(NOW, sub=user)) for user in ("known", "gone", "new")]
    assert await asyncio.gather(*map(desk.outcome, texts)) == ["passed", "user_disabled", "passed"]
