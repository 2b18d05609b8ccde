"""The page's server: its files, its guards, its relay."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from graphql import parse, validate

from gateway.dev.execute import schema_from
from gateway.dev.page import EXAMPLES, FILES

VENDOR = schema_from((Path(__file__).parents[2] / "config" / "schema.graphql").read_text("utf-8"))
ASK = {"query": "{ user { id } }", "credential": 0}


@pytest.mark.parametrize(("path", "content_type"), [(path, kind) for path, (_, kind) in FILES.items()])
async def test_files_are_served_under_a_strict_policy(page: str, path: str, content_type: str) -> None:
    """A script that slips into an answer could run in the page and use the developer's tokens."""
    async with ClientSession() as session, session.get(page + path) as got:
        assert (got.status, got.content_type) == (200, content_type)
        policy = got.headers["Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert set(rules.values()) == {"'none'", "'self'"}
    assert got.headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere() -> None:
    """The policy would block it, or the page would not work without the internet."""
    folder = Path(__file__).parents[2] / "gateway" / "dev"
    html = (folder / "page.html").read_text("utf-8")
    assert not re.search(r"<style|style=|\son[a-z]+=|<script(?![^>]*\ssrc=)", html)
    for name, _ in FILES.values():
        text = (folder / name).read_text("utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"https?://|@import|\burl\(", text), name
    assert "innerHTML" not in (folder / "page.js").read_text("utf-8")


async def test_the_settings_name_credentials_without_their_tokens(page: str) -> None:
    """A screenshot or a saved page would carry tokens away."""
    async with ClientSession() as session, session.get(f"{page}/page.json") as got:
        text = await got.text()
    settings = json.loads(text)
    assert [one["label"] for one in settings["credentials"]] == ["Ada, user of demo", "USER_READ key of demo"]
    assert "gwu_" not in text
    assert "gwk_" not in text
    assert settings["reasons"]["keys_only"]
    assert settings["target"].endswith("/v4/gql")


@pytest.mark.parametrize("path", [*FILES, "/page.json"])
async def test_under_a_foreign_name_nothing_is_served(page: str, path: str) -> None:
    """A page elsewhere could read the settings by DNS rebinding."""
    async with ClientSession() as session, session.get(page + path, headers={"Host": "evil.example"}) as got:
        assert got.status == 403
        assert "localhost" in (await got.json())["message"]


async def post(url: str, body: object, **headers: str) -> tuple[int, Any]:
    """Status and JSON of an answer to the page."""
    given = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    async with ClientSession() as session, session.post(url, data=json.dumps(body), headers=given) as got:
        return got.status, await got.json()


async def test_an_ask_goes_through_the_traffic_port_with_its_credential(page: str, stand_in: Any) -> None:
    """Run would do nothing, or run as somebody else."""
    status, reply = await post(f"{page}/graphql", ASK)
    assert (status, reply["status"]) == (200, 200)
    assert json.loads(reply["body"])["data"] == {"user": {"id": "5a93"}}
    [(headers, body)] = stand_in.seen
    assert headers["Authorization"] == "Bearer gwu_00112233445566aa.user"
    assert json.loads(body) == {"query": "{ user { id } }"}


async def test_a_refusal_comes_back_as_the_gateway_wrote_it(page: str) -> None:
    """The page could not explain what it is not told."""
    _, reply = await post(f"{page}/graphql", {"query": "{ offloads { day } }", "credential": 1})
    [error] = json.loads(reply["body"])["errors"]
    assert (reply["status"], error["extensions"]["reason"]) == (403, "scope_missing")


@pytest.mark.parametrize("path", ["/graphql", "/curl"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content_Type": "application/jsonp"}, 415),
    ],
)
async def test_who_is_not_the_page_is_refused_before_anything_is_sent(
    page: str, stand_in: Any, path: str, headers: dict[str, str], status: int
) -> None:
    """Any web page that the developer visits could send requests with the seeded credentials."""
    got, answer = await post(page + path, ASK, **headers)
    assert got == status
    assert answer["message"]
    assert stand_in.seen == []


@pytest.mark.parametrize("path", ["/graphql", "/curl"])
async def test_an_ask_that_makes_no_sense_is_refused_with_a_sentence(page: str, stand_in: Any, path: str) -> None:
    """The page would show an internal error for a typing error."""
    status, answer = await post(page + path, {**ASK, "credential": 9})
    assert (status, answer) == (400, {"message": "There is no such credential; reload the page."})
    assert stand_in.seen == []


async def test_the_curl_command_names_the_traffic_port_and_the_token(page: str, stand_in: Any) -> None:
    """The pasted command would go to the wrong port or be refused for want of a credential."""
    _, answer = await post(f"{page}/curl", ASK)
    assert answer["command"].startswith(f"curl -sS {stand_in.url}/v4/gql ")
    assert "'Authorization: Bearer gwu_00112233445566aa.user'" in answer["command"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.label)
def test_the_examples_fit_the_vendors_schema(example: Any) -> None:
    """The first thing that a newcomer tries would be a validation error."""
    assert validate(VENDOR, parse(example.query)) == []
    assert isinstance(json.loads(example.variables or "{}"), dict)


def test_there_is_an_example_that_is_allowed_and_one_that_is_refused() -> None:
    """A newcomer would not see what the gateway is for."""
    refused = [example for example in EXAMPLES if example.label.startswith("Refused")]
    assert 0 < len(refused) < len(EXAMPLES)
