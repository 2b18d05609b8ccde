"""Whoever has a token makes the next one with it; all of them end with the first, on stores of either kind."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest

from gateway.core import people
from gateway.core.developer_tokens import AT_MOST, LONGEST_LINE, item_key, token_from, token_item
from gateway.core.ledger import Act, ActReason, ActRefused, Asked, Changes, Item, ItemKind, Snapshot, Who
from gateway.core.people import developer_id, person_id
from gateway.core.records import Role
from gateway.keys.developer_tokens import TokenDesk, person_of
from gateway.store.contract import Store, StoreUnavailable
from tests.support.managing import DEVELOPER, OPERATOR, SPECTATOR, Managed, email

TOKENS = "/developer-tokens"
WHO = Who("test", "test")
PERSON = person_of(email(DEVELOPER))


def id_of(token: str) -> str:
    """The public half of a token."""
    return token.removeprefix("gwd_").partition(".")[0]


async def made_with(api: Managed, who: str, name: str) -> str:
    """The id of another token, which somebody makes with the one at hand; from now on it goes by this name."""
    answer = await api.ask(who, "POST", TOKENS, {})
    assert answer.status == 201, answer.text
    api.tokens[name] = answer.json["token"]
    return str(answer.json["id"])


async def ended(api: Managed) -> set[str]:
    """The ids of the developer's tokens that were revoked."""
    return {token.id async for token in api.desk.all_of(PERSON.id) if token.revoked_at is not None}


@dataclass
class Meanwhile:
    """A store in which somebody issues a token to the person whenever the person's tokens were listed."""

    store: Store
    times: int
    issued: list[str] = field(default_factory=list)

    async def items(self, kind: ItemKind, owner: str | None = None) -> AsyncIterator[Item]:
        """All items, before there is another one."""
        async for item in self.store.items(kind, owner):
            yield item
        if self.times and kind is ItemKind.DEVELOPER_TOKEN:
            self.times -= 1
            parent = next(iter(self.issued), None)
            made = await TokenDesk(self.store, WHO).issue(PERSON, 1000_000, parent)
            self.issued.append(made.record.id)

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)


async def test_the_end_of_a_token_is_the_end_of_all_that_it_made(either: Managed) -> None:
    """Whoever stole a token, and made another with it, would go on after it was revoked."""
    first = id_of(either.tokens[DEVELOPER])
    other = (await either.desk.issue_to(email(DEVELOPER))).token.reveal()
    child = await made_with(either, DEVELOPER, "child")
    grandchild = await made_with(either, "child", "grandchild")

    answer = await either.ask("child", "POST", f"{TOKENS}/{first}/revoke")

    assert (answer.status, answer.json["id"]) == (200, first)
    assert await ended(either) == {first, child, grandchild}
    assert [(await either.ask(who, "GET", "/apps")).status for who in (DEVELOPER, "child", "grandchild")] == [401] * 3
    either.tokens["other"] = other
    assert (await either.ask("other", "GET", "/apps")).status == 200
    chains = await either.store.chains()
    events = [each.event for chain in chains async for each in either.store.events(chain)]
    assert {each.subject_id for each in events if each.action == "developer_token.revoked"} == await ended(either)


async def test_a_token_that_has_ended_makes_none(either: Managed) -> None:
    """A request that is under way while the token is revoked would leave another to whoever stole it."""
    token_id = id_of(either.tokens[DEVELOPER])
    await either.desk.revoke(token_id)

    with pytest.raises(ActRefused) as refused:
        await either.desk.renew(PERSON, parent=token_id)

    assert refused.value.reason is ActReason.TOKEN_INVALID
    assert (await either.ask(DEVELOPER, "POST", TOKENS, {})).status == 401


async def test_a_token_that_ends_while_the_act_comes(api: Managed, monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, where the door had let the request in."""
    renew = TokenDesk.renew

    async def late(desk: TokenDesk, *arguments: object) -> object:
        await api.desk.revoke(id_of(api.tokens[DEVELOPER]))
        return await renew(desk, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(TokenDesk, "renew", late)
    answer = await api.ask(DEVELOPER, "POST", TOKENS, {})

    assert (answer.status, answer.code) == (401, "unauthenticated")


@pytest.mark.parametrize("times", [1, 3])
async def test_a_token_that_is_made_while_all_are_ended(either: Managed, times: int) -> None:
    """The one that was made in between would live."""
    store = Meanwhile(either.store, times)
    await TokenDesk(store, WHO).end_all(email(DEVELOPER))  # type: ignore[arg-type]

    assert await ended(either) == {id_of(either.tokens[DEVELOPER]), *store.issued[: max(1, times)]}
    assert store.times == 0


async def test_a_token_that_is_made_while_the_one_before_is_revoked(either: Managed) -> None:
    """As above, of one token and what descends from it."""
    token_id = id_of(either.tokens[DEVELOPER])
    store = Meanwhile(either.store, 1, [token_id])
    await TokenDesk(store, WHO).revoke(token_id)  # type: ignore[arg-type]

    assert len(store.issued) == 2
    assert await ended(either) == set(store.issued)


async def test_many_at_once(either: Managed) -> None:
    """More tokens would live than are allowed, or one that descends from what was revoked."""
    token_id = id_of(either.tokens[DEVELOPER])
    tries = [either.desk.renew(PERSON, parent=token_id) for _ in range(6)]
    await asyncio.gather(*tries[:3], either.desk.revoke(token_id), *tries[3:], return_exceptions=True)

    assert [token.id async for token in either.desk.all_of(PERSON.id) if token.revoked_at is None] == []


async def test_nobody_waits_for_ever(api: Managed) -> None:
    """Whoever makes one token after the other would hold up the end of all."""
    store = Meanwhile(api.store, 1_000)
    with pytest.raises(StoreUnavailable, match="nothing was done"):
        await TokenDesk(store, WHO).revoke(id_of(api.tokens[DEVELOPER]))  # type: ignore[arg-type]


async def test_so_many_tokens_and_no_more(either: Managed) -> None:
    """Whoever stole a token could fill the store."""
    answers = [await either.ask(DEVELOPER, "POST", TOKENS, {}) for _ in range(AT_MOST)]

    assert [answer.status for answer in answers] == [201] * (AT_MOST - 1) + [409]
    assert answers[-1].code == "conflict"
    assert "Revoke one" in answers[-1].json["detail"]
    await either.desk.revoke(answers[0].json["id"])
    assert (await either.ask(DEVELOPER, "POST", TOKENS, {})).status == 201


async def test_a_long_line_of_tokens(api: Managed) -> None:
    """What is kept of a token would grow with each that it descends from."""
    key = item_key(id_of(api.tokens[DEVELOPER]))
    line = tuple(f"{key[1][:2]}{number:014x}" for number in range(LONGEST_LINE))

    def decide(seen: Snapshot) -> Changes:
        return Changes(items=(token_item(replace(token_from(seen.items[key]), ancestors=line)),))

    await api.store.act([Act(Asked(PERSON.id, items=(key,)), decide)])
    refused = await api.ask(DEVELOPER, "POST", TOKENS, {})

    assert (refused.status, refused.code) == (409, "conflict")
    assert "operator" in refused.json["detail"]


async def test_who_has_no_role_any_more_has_no_token(either: Managed) -> None:
    """Tokens of somebody who has left would work again once there is a role, and make more until then."""
    await made_with(either, DEVELOPER, "child")
    await either.keeper.grant(either.theirs.id, email(DEVELOPER), Role.SPECTATOR)
    path = f"/apps/{{}}/developers/{developer_id(email(DEVELOPER))}"
    assert (await either.ask(OPERATOR, "DELETE", path.format(either.ours.id))).status == 200
    assert (await either.ask("child", "GET", "/apps")).status == 200

    assert (await either.ask(OPERATOR, "DELETE", path.format(either.theirs.id))).status == 200

    assert len(await ended(either)) == 2
    await either.keeper.grant(either.ours.id, email(DEVELOPER), Role.DEVELOPER)
    assert [(await either.ask(who, "POST", TOKENS, {})).status for who in (DEVELOPER, "child")] == [401] * 2
    assert (await either.ask(SPECTATOR, "POST", TOKENS, {})).status == 201


async def test_what_was_left_when_the_store_went_away(either: Managed) -> None:
    """A role that is granted later would give life to what should have ended with the one before."""
    await _role_taken(either)

    refused = await either.ask(DEVELOPER, "POST", TOKENS, {})
    assert (refused.status, refused.code) == (403, "role_missing")
    assert await ended(either) == set()
    await either.keeper.grant(either.ours.id, email(DEVELOPER), Role.DEVELOPER)
    assert (await either.ask(DEVELOPER, "GET", "/apps")).status == 401


async def _role_taken(api: Managed) -> None:
    """The role alone is taken, as if nothing could be done afterwards."""
    act = Act(Asked(api.ours.id, roles=True), lambda seen: people.remove(seen, email(DEVELOPER), WHO))
    (done,) = await api.store.act([act])
    assert not isinstance(done, ActRefused)
    assert person_id(email(DEVELOPER)) == PERSON.id
