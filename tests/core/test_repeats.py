"""A request that may be sent again is done once."""

from dataclasses import replace

import pytest

from gateway.core.ledger import Act, ActReason, ActRefused, Asked, Changes, Item, ItemKey, ItemKind, Snapshot
from gateway.core.records import App
from gateway.core.repeats import KEPT, Repeat, Repeated, forget, once, repeat_of, tag_of

APP = App("5a0000000000000000000a01", "demo", "eu")
NOW = 1_700_000_000_000
OTHER: ItemKey = (ItemKind.FAMILIES, "5a.other")


def asking(
    caller: str = "operator:root",
    key: str = "k",
    scope: str = "s",
    route: str = "r",
    body: bytes = b"{}",
    attempt: str = "1",
) -> Repeat:
    """A request."""
    return repeat_of(caller, key, scope, route, body, attempt)


def done(repeat: Repeat, *kept: Item, now: int = NOW) -> Changes:
    """What the act of a request comes to, on a store in which this is kept."""
    act = once(Act(Asked(APP.id, items=(OTHER,)), lambda _: Changes(app=APP)), repeat, lambda _seen, _done: '"first"')
    assert act.asked.items == (OTHER, repeat.key(APP.id))
    return act.decide(Snapshot(now, APP, items={item.key: item for item in kept}))


def test_the_second_is_told_what_the_first_was() -> None:
    """A client whose answer was lost would make a second key."""
    (item,) = done(asking()).items

    with pytest.raises(Repeated) as refused:
        done(asking(attempt="2"), item)

    assert (refused.value.answer, refused.value.reason) == ('"first"', ActReason.REPEATED)
    assert (item.owner, item.id[:2], item.ends_at) == (APP.id, "5a", NOW + KEPT)
    assert "root" not in item.text


@pytest.mark.parametrize("other", [asking(body=b"{ }", attempt="2"), asking(route="s", attempt="2")])
def test_another_request_with_the_same_key_is_refused(other: Repeat) -> None:
    """A client with a fault in its keys would take another thing's answer for its own."""
    (item,) = done(asking()).items

    with pytest.raises(ActRefused) as refused:
        done(other, item)

    assert refused.value.reason is ActReason.REPEAT_DIFFERS


@pytest.mark.parametrize("other", [asking(caller="operator:other"), asking(key="l"), asking(scope="t")])
def test_others_keys_are_no_repeats(other: Repeat) -> None:
    """Somebody would be told what another was answered."""
    assert other.key(APP.id) != asking().key(APP.id)


def test_it_is_forgotten_after_a_day() -> None:
    """Keys of years ago would keep things from being done."""
    (item,) = done(asking()).items

    assert done(asking(attempt="2", body=b"[]"), item, now=NOW + KEPT).app == APP
    with pytest.raises(Repeated):
        done(asking(attempt="2"), item, now=NOW + KEPT - 1)


def test_a_request_is_no_repeat_of_itself() -> None:
    """A store that loses an answer and is asked again would keep the token from the one who asked."""
    (item,) = done(asking()).items

    assert done(asking(), item) == Changes(app=APP)


def test_the_act_is_not_shown_what_it_did_not_ask_for() -> None:
    """The deletion of a user, which drops all that it is shown, would drop what the request came to."""
    (old,) = done(asking()).items
    seen: list[Snapshot] = []

    def decide(snapshot: Snapshot) -> Changes:
        seen.append(snapshot)
        return Changes(dropped=tuple(snapshot.items))

    repeat = asking(attempt="2")
    act = once(Act(Asked(APP.id), decide), repeat, lambda _seen, _done: "null")
    changes = act.decide(Snapshot(NOW + KEPT, APP, items={old.key: old}))

    assert (seen[0].items, changes.dropped, len(changes.items)) == ({}, (), 1)


def test_what_came_to_nothing_may_be_asked_again() -> None:
    """A key that was ended as no replica had it would be told as made for a day; or somebody else's request dropped."""
    repeat = asking()
    (item,) = done(repeat).items
    kept = Snapshot(NOW, APP, items={item.key: item})

    assert forget(kept, repeat, APP.id) == Changes(dropped=(item.key,))
    assert not forget(kept, asking(attempt="2"), APP.id)
    assert not forget(Snapshot(NOW, APP), repeat, APP.id)


def test_a_claim_is_not_what_came_of_the_request() -> None:
    """Where the two are kept in one place, a request that was never done would be told as done."""
    (claim,) = done(asking().claim()).items

    (item,) = done(asking(), claim).items
    assert item.key != claim.key
    with pytest.raises(ActRefused) as refused:
        done(asking(body=b"[]", attempt="2").claim(), claim)
    assert refused.value.reason is ActReason.REPEAT_DIFFERS


@pytest.mark.parametrize("text", ["[]", "{}", '{"route":1,"body":"","attempt":"","answer":""}', "no json"])
def test_damage_is_told(text: str) -> None:
    """What a broken store says would be answered to a client."""
    (item,) = done(asking()).items

    with pytest.raises(ValueError, match=r"repeat|Expecting"):
        done(asking(attempt="2"), replace(item, text=text))


def test_a_new_app_is_looked_for_where_the_first_was_kept() -> None:
    """A repeat of the making of an app would make another one."""
    app_id = tag_of("operator:root", "k").hex() + "0" * 22

    assert asking().key(app_id)[1][:2] == app_id[:2]
    assert tag_of("operator:root", "k") == tag_of("operator:root", "k")
    assert len(tag_of("operator:root", "l")) == 1
