"""A request that is sent again, at once or later, is done once."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Final, cast

import pytest

from gateway.core.ledger import Act, ActRefused, Done
from gateway.core.people import person_id
from gateway.core.records import Role
from gateway.store.contract import Store, StoreUnavailable
from tests.support.managing import DEVELOPER, OPERATOR, SPECTATOR, STRANGER, Managed, Told, email, served

KEY: Final = {"name": "k", "scopes": ["USER_READ"]}
ONCE: Final = {"Idempotency-Key": "a-b-c"}


async def keys_of(api: Managed) -> int:
    """How many keys there are of our app."""
    return len([key async for key in api.store.keys(api.ours.id)])


async def test_twenty_at_once_make_one_key(either: Managed) -> None:
    """A client that loses its patience would have twenty keys, and only ten places."""
    path = f"/apps/{either.ours.id}/keys"
    async with served(either.store) as other:
        urls = [either.url, other] * 10
        answers = await asyncio.gather(
            *(either.ask(DEVELOPER, "POST", path, KEY, headers=ONCE, url=url) for url in urls)
        )

        statuses = Counter(answer.status for answer in answers)
        made = [answer.json for answer in answers if answer.status == 201]
        assert set(statuses) <= {201, 409}
        assert {answer.code for answer in answers if answer.status == 409} <= {"in_progress"}
        assert [each["disclosed"] for each in made].count(False) == 1
        assert len({each["id"] for each in made}) == 1
        assert await keys_of(either) == 1

        again = await either.ask(DEVELOPER, "POST", path, KEY, headers=ONCE, url=other)
        (first,) = [each for each in made if not each["disclosed"]]
        assert again.json == first | {"token": None, "disclosed": True}
        assert again.headers["Idempotent-Replayed"] == "true"


async def test_two_apps_are_not_made_of_one_wish(either: Managed) -> None:
    """The second app would be found by nobody, until somebody gave it keys."""
    asked = {"name": "new", "region": "eu"}
    answers = await asyncio.gather(*(either.ask(OPERATOR, "POST", "/apps", asked, headers=ONCE) for _ in range(5)))
    again = await either.ask(OPERATOR, "POST", "/apps", asked, headers=ONCE)
    assert {answer.json["id"] for answer in [*answers, again] if answer.status == 201} == {again.json["id"]}
    assert len([app async for app in either.store.apps() if app.name == "new"]) == 1


async def test_a_repeat_is_told_what_the_first_was_and_nothing_is_done(api: Managed) -> None:
    """A repeat would end something anew, or be told of a later state as if it had brought it about."""
    key = await api.make_key()
    user = (await api.keeper.create_user_token(api.ours.id, external_id="ada")).user.id
    ours = f"/apps/{api.ours.id}"
    for who, path, body in [
        (DEVELOPER, f"{ours}/keys/{key['id']}/rotate", {}),
        (DEVELOPER, f"{ours}/keys/{key['id']}/revoke", None),
        (DEVELOPER, f"{ours}/users/{user}/disable", None),
        (DEVELOPER, f"{ours}/users/{user}/enable", None),
        (DEVELOPER, f"{ours}/users/{user}/end-tokens", None),
        (DEVELOPER, f"{ours}/users/{user}/tokens", None),
        (DEVELOPER, f"{ours}/end-tokens", None),
        (DEVELOPER, f"{ours}/disable", None),
        (OPERATOR, f"{ours}/enable", None),
        (OPERATOR, f"{ours}/developers", {"email": "new@example.com"}),
        (OPERATOR, "/developer-tokens", {"email": email(DEVELOPER)}),
        (DEVELOPER, "/developer-tokens", {}),
    ]:
        headers = {"Idempotency-Key": f"for-{path}"}
        first = await api.ask(who, "POST", path, body, headers=headers)
        events = await _events(api)
        again = await api.ask(who, "POST", path, body, headers=headers)
        assert first.status in {200, 201}, (path, first.text)
        hidden = {"token": None, "disclosed": True} if "token" in first.json else {}
        assert (again.status, again.json) == (first.status, first.json | hidden), path
        assert await _events(api) == events, path


REFUSED: Final[list[tuple[Mapping[str, object], str]]] = [
    ({"name": "other", "scopes": ["USER_READ"]}, "keys"),
    ({"email": "new@example.com"}, "developers"),
]


@pytest.mark.parametrize(("body", "kind"), REFUSED)
async def test_a_key_that_came_with_something_else_is_refused(
    api: Managed, body: Mapping[str, object], kind: str
) -> None:
    """A client with a fault in its keys would take another thing's answer for its own."""
    await api.ask(OPERATOR, "POST", f"/apps/{api.ours.id}/keys", KEY, headers=ONCE)

    answer = await api.ask(OPERATOR, "POST", f"/apps/{api.ours.id}/{kind}", body, headers=ONCE)

    assert (answer.status, answer.code) == (422, "repeat_differs")


async def test_a_key_is_good_for_one_caller(api: Managed) -> None:
    """Somebody would be told what another was answered, or kept from doing the same."""
    path = f"/apps/{api.ours.id}/keys"
    await api.keeper.grant(api.ours.id, email(STRANGER), Role.DEVELOPER)
    answers = [await api.ask(who, "POST", path, KEY, headers=ONCE) for who in (DEVELOPER, STRANGER, OPERATOR)]
    assert [answer.json["disclosed"] for answer in answers] == [False] * 3


async def test_who_may_no_longer_see_it_is_told_nothing(api: Managed) -> None:
    """Somebody who was sent away would be told of a key again."""
    path = f"/apps/{api.ours.id}/keys"
    await api.ask(DEVELOPER, "POST", path, KEY, headers=ONCE)
    await api.keeper.grant(api.theirs.id, email(DEVELOPER), Role.SPECTATOR)  # so that the token goes on
    await api.keeper.remove(api.ours.id, email(DEVELOPER))
    assert (await api.ask(DEVELOPER, "POST", path, KEY, headers=ONCE)).status == 404


async def test_what_was_refused_may_be_asked_again(api: Managed) -> None:
    """A client would be refused for a day, although there is room again."""
    path = f"/apps/{api.ours.id}/keys"
    made = [await api.make_key() for _ in range(10)]
    refused = await api.ask(DEVELOPER, "POST", path, KEY, headers=ONCE)
    assert (refused.status, refused.code) == (409, "too_many_keys")
    await api.ask(DEVELOPER, "POST", f"{path}/{made[0]['id']}/revoke")
    assert (await api.ask(DEVELOPER, "POST", path, KEY, headers=ONCE)).json["disclosed"] is False


async def test_a_token_for_somebody_whose_things_lie_with_the_operators(either: Managed) -> None:
    """For one address in 256, an operator would be told that a token was made, and there is none."""
    beside = person_id("operator:root")[:2]
    address = next(each for n in count() if person_id(each := f"p{n}@example.com")[:2] == beside)
    for asked in ({"email": address}, {"email": email(DEVELOPER)}):
        headers = {"Idempotency-Key": asked["email"]}
        refused = await either.ask(
            OPERATOR, "POST", "/developer-tokens", {"email": "nobody@example.com"}, headers=headers
        )
        assert refused.code == "wish_invalid"
        await either.keeper.grant(either.ours.id, address, Role.DEVELOPER)
        made = await either.ask(OPERATOR, "POST", "/developer-tokens", asked, headers=headers)
        again = await either.ask(OPERATOR, "POST", "/developer-tokens", asked, headers=headers)
        assert (made.status, made.json["disclosed"]) == (201, False)
        assert again.json == made.json | {"token": None, "disclosed": True}
        other = await either.ask(OPERATOR, "POST", "/developer-tokens", {"email": email(SPECTATOR)}, headers=headers)
        assert other.code == "repeat_differs"


@pytest.mark.parametrize("key", ["", "a b", "ü", "x" * 256])
async def test_a_key_that_cannot_be_is_told(api: Managed, key: str) -> None:
    """A client would believe to be protected against doing things twice."""
    answer = await api.ask(DEVELOPER, "POST", f"/apps/{api.ours.id}/keys", KEY, headers={"Idempotency-Key": key})
    assert (answer.status, answer.json["faults"][0]["place"]) == (400, "header/Idempotency-Key")
    assert await keys_of(api) == 0


async def test_spectators_repeat_nothing(api: Managed) -> None:
    """Somebody who may only look would learn of a key by guessing how it was asked for."""
    path = f"/apps/{api.ours.id}/keys"
    await api.ask(DEVELOPER, "POST", path, KEY, headers=ONCE)
    answer: Told = await api.ask(SPECTATOR, "POST", path, KEY, headers=ONCE)
    assert answer.status == 403


class Faulty:
    """A store whose replica is `late` to say that it has what was done, or that does something and has `lost` the
    answer, once."""

    def __init__(self, store: Store) -> None:
        self.late = False
        self.lost = False
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def act(self, acts: Sequence[Act]) -> list[Done | ActRefused]:
        outcomes = await self._store.act(acts)
        if self.lost:
            self.lost = False
            raise StoreUnavailable("The connection was cut.", unknown=True)
        return [replace(each, replicated=not self.late) if isinstance(each, Done) else each for each in outcomes]


async def test_what_no_replica_has_may_be_asked_for_again(api: Managed) -> None:
    """A client would be told for a day of a key that was ended at once, and have none."""
    late = Faulty(api.store)
    async with served(cast("Store", late)) as url:
        for path, body in ((f"/apps/{api.ours.id}/keys", KEY), ("/developer-tokens", {})):
            late.late = True
            refused = await api.ask(DEVELOPER, "POST", path, body, headers={"Idempotency-Key": path}, url=url)
            assert (refused.status, refused.code) == (503, "store_unavailable")
            late.late = False
            made = await api.ask(DEVELOPER, "POST", path, body, headers={"Idempotency-Key": path}, url=url)
            assert (made.status, made.json["disclosed"]) == (201, False)


async def test_what_was_half_done_is_told_as_that(api: Managed) -> None:
    """A program would try a rotation again that had been begun, or rely on an end that a failover may undo."""
    late = Faulty(api.store)
    key = await api.make_key()
    path = f"/apps/{api.ours.id}/keys/{key['id']}"
    async with served(cast("Store", late)) as url:
        late.late = True
        rotated = await api.ask(DEVELOPER, "POST", f"{path}/rotate", {}, url=url)
        assert (rotated.status, rotated.code) == (503, "outcome_unknown")
        revoked = await api.ask(DEVELOPER, "POST", f"{path}/revoke", url=url)
        assert (revoked.status, revoked.headers["X-Gateway-Replicated"]) == (200, "false")
        late.late = False
        other = await api.make_key()
        revoked = await api.ask(DEVELOPER, "POST", f"/apps/{api.ours.id}/keys/{other['id']}/revoke", url=url)
        assert "X-Gateway-Replicated" not in revoked.headers


async def test_what_was_taken_back_is_not_told_as_done(api: Managed) -> None:
    """A program would deploy a key that was ended as soon as it was made, or wait for a device that has no token."""
    late = Faulty(api.store)
    key = await api.make_key()
    path = f"/apps/{api.ours.id}/keys/{key['id']}/rotate"
    async with served(cast("Store", late)) as url:
        late.late = True
        first = await api.ask(DEVELOPER, "POST", path, {}, headers=ONCE, url=url)
        assert (first.status, first.code) == (503, "outcome_unknown")
        late.late = False
        again = await api.ask(DEVELOPER, "POST", path, {}, headers=ONCE, url=url)
        assert (again.status, again.code) == (409, "already_rotated")

        late.late = True
        asked = {"email": email(SPECTATOR)}
        first = await api.ask(OPERATOR, "POST", "/developer-tokens", asked, headers=ONCE, url=url)
        assert (first.status, first.code) == (503, "store_unavailable")
        late.late = False
        other = await api.ask(OPERATOR, "POST", "/developer-tokens", {"email": email(DEVELOPER)}, headers=ONCE, url=url)
        assert (other.status, other.json["disclosed"]) == (201, False)


async def test_an_answer_that_is_lost_twice_is_told_as_that(api: Managed) -> None:
    """A program would be told that no token was made, while one is."""

    class Losing(Faulty):
        async def act(self, acts: Sequence[Act]) -> list[Done | ActRefused]:
            self.lost = True
            return await super().act(acts)

    async with served(cast("Store", Losing(api.store))) as url:
        told = await api.ask(DEVELOPER, "POST", "/developer-tokens", {}, url=url)
        assert (told.status, told.code) == (503, "outcome_unknown")


async def test_a_request_is_no_repeat_of_itself(api: Managed) -> None:
    """A client would get no token, as the store had lost an answer and was asked again."""
    losing = Faulty(api.store)
    keys = f"/apps/{api.ours.id}/keys"
    async with served(cast("Store", losing)) as url:
        for path, body in ((keys, KEY), ("/developer-tokens", {})):
            losing.lost = True
            made = await api.ask(DEVELOPER, "POST", path, body, headers={"Idempotency-Key": path}, url=url)
            assert (made.status, made.json["disclosed"]) == (201, False)
        assert await keys_of(api) == 1
        key = (await api.ask(DEVELOPER, "GET", keys)).json["items"][0]["id"]
        tag = (await api.ask(DEVELOPER, "GET", f"{keys}/{key}")).headers["ETag"]
        losing.lost = True
        renamed = await api.ask(
            DEVELOPER, "PATCH", f"{keys}/{key}", {"name": "new"}, headers={"If-Match": tag}, url=url
        )
        assert (renamed.status, renamed.json["name"]) == (200, "new")
        losing.lost = True
        never = f"/apps/{api.ours.id}/users/never"
        assert (await api.ask(DEVELOPER, "DELETE", never, headers={"If-None-Match": "*"}, url=url)).status == 204


async def _events(api: Managed) -> int:
    return sum([1 for chain in await api.store.chains() async for _ in api.store.events(chain)])
