"""Leaks, as people tell of them and see to them."""

from tests.support.managing import DEVELOPER, OPERATOR, SPECTATOR, STRANGER, Managed


async def test_a_person_with_the_whole_token_ends_it_and_learns_nothing(either: Managed) -> None:
    """A key that somebody found would go on, or whoever tries tokens would learn which are good."""
    key = await either.make_key()
    user_token = (await either.keeper.create_user_token(either.ours.id, external_id="ada")).token.reveal()
    told = set()
    for token in (key["token"], user_token, key["token"], "gwk_" + "0" * 16, "rubbish", "ü"):
        answer = await either.ask(STRANGER, "POST", "/leak-reports", {"token": token, "url": "https://a.example/x"})
        told.add((answer.status, answer.text, *answer.headers))
    assert len(told) == 1
    assert next(iter(told))[:2] == (204, b"")
    path = f"/apps/{either.ours.id}"
    shown = (await either.ask(SPECTATOR, "GET", f"{path}/keys/{key['id']}")).json
    assert (shown["state"], shown["revoked_why"]) == ("revoked", "leaked")
    incidents = (await either.ask(SPECTATOR, "GET", f"{path}/incidents?state=open")).json["items"]
    assert {(each["subject"], each["proven"], each["count"]) for each in incidents} == {
        ("key", True, 2),
        ("user_token", True, 1),
    }


async def test_an_incident_is_seen_to(either: Managed) -> None:
    """Nobody would know whether somebody sees to a leak."""
    key = await either.make_key()
    path = f"/apps/{either.ours.id}"
    told = {"id": key["id"], "url": "https://a.example/<b>", "source": "a colleague"}
    assert (await either.ask(STRANGER, "POST", f"/apps/{either.theirs.id}/leak-reports", told)).status == 404
    assert (await either.ask(OPERATOR, "POST", f"/apps/{either.theirs.id}/leak-reports", told)).status == 404
    made = (await either.ask(DEVELOPER, "POST", f"{path}/leak-reports", told, headers={"Idempotency-Key": "a"})).json
    again = await either.ask(DEVELOPER, "POST", f"{path}/leak-reports", told, headers={"Idempotency-Key": "a"})
    assert (again.json, made["count"], made["proven"], made["ended"]) == (made, 1, False, True)
    incident = f"{path}/incidents/{made['id']}"
    first = await either.ask(SPECTATOR, "GET", incident)
    assert first.json["sightings"][0]["url"] == "https://a.example/<b>"
    assert (len(first.json["requests"]), first.json["refused_since"]) == (8, 0)
    tag = {"If-None-Match": first.headers["ETag"]}
    assert (await either.ask(SPECTATOR, "GET", incident, headers=tag)).status == 304
    assert (await either.ask(DEVELOPER, "POST", f"{incident}/acknowledge")).json["state"] == "acknowledged"
    assert (await either.ask(SPECTATOR, "GET", incident, headers=tag)).status == 200
    assert (await either.ask(OPERATOR, "POST", f"{incident}/close")).json["changed_by"] == "operator:root"
    assert (await either.ask(SPECTATOR, "GET", f"{path}/incidents?state=open")).json["items"] == []
