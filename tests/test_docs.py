"""README and docs: links lead somewhere, what is named exists, the examples of docs/policy.md are judged as told."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from graphql import build_schema, print_type
from typer.main import get_command
from typer.testing import CliRunner

from gateway.cli.main import application
from gateway.core.decision import TABLE, Allow, Deny, Reported
from gateway.core.directives import OURS
from gateway.settings import load_settings
from tests.support.vectors import OTHER_USER, OWN_APP, OWN_USER, ROOT, caller, judged, policy_of, rows

DOCUMENTS: Final = sorted(
    [*ROOT.glob("*.md"), ROOT / "bench" / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md")]
)
QUICKSTART: Final = ROOT / "examples" / "quickstart"
ARCHITECTURE: Final = (ROOT / "docs" / "architecture.md").read_text("utf-8")
POLICY: Final = (ROOT / "docs" / "policy.md").read_text("utf-8")
README: Final = (ROOT / "README.md").read_text("utf-8")

each_document = pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))


# Links and names ------------------------------------------------------------------------------------------------------

_LINK: Final = re.compile(r"\[[^\]\n]+\]\(([^)\s]+)\)")
_FENCE: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE: Final = re.compile(r"`([^`\n]+)`")


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_document
def test_links_lead_to_files_and_headings_that_exist(file: Path) -> None:
    """A reader would end on a page that is not there."""
    for link in _LINK.findall(file.read_text("utf-8")):
        target, _, anchor = link.partition("#")
        if target.startswith("https://"):
            continue
        page = (file.parent / target).resolve() if target else file
        assert page.exists(), link
        assert not anchor or anchor in anchors(page.read_text("utf-8")), link


# Directories of the machine on which something was written, and words about its writing.
_BANNED: Final = re.compile(
    r"(?<![\w./])/(?:home|mnt|opt|root|tmp|usr|var|work)/|\b(?:fixme|helpers?|sessions?|todo)\b", re.IGNORECASE
)
_OUTSIDE: Final = {"keepachangelog.com", "semver.org"}


@each_document
def test_documents_speak_of_the_gateway_alone(file: Path) -> None:
    """A reader would be sent to a path on somebody else's machine, or told that something is still to be written."""
    text = file.read_text("utf-8")

    assert _BANNED.findall(text) == []
    assert set(re.findall(r"\]\(https?://([^/)]+)", text)) <= _OUTSIDE


@each_document
def test_files_that_are_named_exist(file: Path) -> None:
    """A reader would look for a module or a test that has been renamed."""
    named = re.compile(r"(?:gateway|tests|config|bench|docs|examples)/[\w./-]*[\w/]")
    for word in filter(named.fullmatch, _CODE.findall(_FENCE.sub("", file.read_text("utf-8")))):
        assert (ROOT / word).exists(), word


@each_document
def test_tests_that_are_named_exist(file: Path) -> None:
    """A promise would point to a check that nobody makes."""
    for name, test in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", file.read_text("utf-8")):
        assert re.search(rf"^\s*(?:async )?def {test}\b", (ROOT / name).read_text("utf-8"), re.MULTILINE), test


# README ---------------------------------------------------------------------------------------------------------------


def test_the_readme_is_short() -> None:
    """A newcomer would put it off."""
    assert len(README.splitlines()) < 120


def _command(*words: str) -> Any:
    """The command that these words name."""
    found: Any = get_command(application(None))
    for word in words:
        found = found.commands[word]
    return found


def _below(*words: str) -> set[str]:
    """The commands of a group; none below a command."""
    return set(getattr(_command(*words), "commands", {}))


def test_commands_that_are_named_exist_and_all_are_named() -> None:
    """A newcomer would type what the gateway does not know, or never hear of a command."""
    known = {f"{name} {below}".strip() for name in _below() for below in _below(name) or {""}}
    table = README[README.index("## Commands") : README.index("## Where to read next")]

    typed = re.findall(r"(?:^|`)gateway ([a-z]+(?: [a-z-]+)?)", README, re.MULTILINE)

    assert all(words in known or words.split()[0] in known for words in typed)
    assert {words for words in known if f"`gateway {words}`" in table} == known


@each_document
def test_options_that_are_named_exist(file: Path) -> None:
    """A newcomer would be told that there is no such option."""
    typed = re.findall(r"\bgateway ([a-z]+)( [a-z-]+)?((?: [\w./:=<>-]+)*)", file.read_text("utf-8"))
    for name, below, rest in typed:
        if name in _below():
            words = [name, below.strip()] if below.strip() in _below(name) else [name]
            options = {option for parameter in _command(*words).params for option in parameter.opts}
            assert set(re.findall(r"--[a-z-]+", rest)) <= options | {"--help"}


@each_document
def test_make_targets_that_are_named_exist(file: Path) -> None:
    """A newcomer's first command would fail."""
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    named = re.findall(r"(?:^|`)make ([a-z]+)", file.read_text("utf-8"), re.MULTILINE)

    assert set(named) <= set(targets)


# docs/architecture.md -------------------------------------------------------------------------------------------------


def _modules() -> Iterator[str]:
    for file in sorted((ROOT / "gateway").rglob("*.py")):
        if file.name != "__init__.py":
            yield str(file.relative_to(ROOT))


def test_every_module_is_named_once_in_the_layout_and_nothing_else_is() -> None:
    """A newcomer would not find where something lives, or look for what is gone."""
    layout = ARCHITECTURE[ARCHITECTURE.index("## Layout") : ARCHITECTURE.index("## The core")]

    named = re.findall(r"`(gateway/[\w/]+\.py)` \|", layout)

    assert sorted(named) == sorted(_modules())


def test_the_steps_name_reasons_that_exist() -> None:
    """A reader would look for a reason that no answer has, or miss where one comes from."""
    steps = ARCHITECTURE[ARCHITECTURE.index("## The way of a request") : ARCHITECTURE.index("## Layout")]
    rows = re.findall(r"^\| \d.*$", steps, re.MULTILINE)

    named = {word for row in rows for word in _CODE.findall(row.rsplit("|", 2)[1])}

    assert named == {reason.value for reason in TABLE}


# docs/policy.md -------------------------------------------------------------------------------------------------------

SCHEMA: Final = "../../../examples/quickstart/schema"  # from where the schemas of the other tables lie
EXAMPLES: Final = [{"schema": SCHEMA, **row} for row in rows("examples.yaml")]

_EXAMPLE: Final = re.compile(
    r"^```graphql (?P<id>[\w-]+)\n(?P<query>.*?)^```\n(?:```json\n(?P<variables>.*?)^```\n)?\n"
    r"(?P<verdicts>(?:[* ] [^\n]*\n)+)",
    re.MULTILINE | re.DOTALL,
)
_VERDICT: Final = re.compile(
    r"(?P<caller>user token|key with (?:`\w+`(?:, )?)+?)(?:, `(?P<setting>\w+): (?P<value>\w+)`)?"
    r": (?P<verdict>allowed|refused|let through, and reported)(?P<findings>(?:, `\w+`(?: at `[^`]+`)?)*)"
)


def _told() -> Iterator[dict[str, Any]]:
    """The examples of the page, each with one caller, as the rows of the table tell them."""
    for example in _EXAMPLE.finditer(POLICY):
        for text in re.split(r"^\* ", example["verdicts"].replace("\n  ", " "), flags=re.MULTILINE)[1:]:
            verdict = _VERDICT.fullmatch(text.strip())
            assert verdict, text
            yield {
                "example": example["id"],
                "query": example["query"].strip(),
                "variables": yaml.safe_load(example["variables"] or "{}"),
                "caller": "user" if verdict["caller"] == "user token" else {"key": _CODE.findall(verdict["caller"])},
                "settings": {verdict["setting"]: verdict["value"]} if verdict["setting"] else {},
                "expect": _expected(verdict["verdict"], verdict["findings"]),
            }


def _expected(verdict: str, findings: str) -> Any:
    if verdict != "refused":
        return "allow" if verdict == "allowed" else "reported"
    return [
        {"reason": reason, "coordinate": coordinate} if coordinate else {"reason": reason}
        for reason, coordinate in re.findall(r"`(\w+)`(?: at `([^`]+)`)?", findings)
    ]


def _as_told(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the table as the page tells it: with the reasons that the caller is told."""
    expect = row["expect"]
    if isinstance(expect, list):
        expect = [{**found, "reason": found.get("public", found["reason"])} for found in expect]
        expect = [{name: value for name, value in found.items() if name != "public"} for found in expect]
    return {
        "example": row["id"].partition("/")[0],
        "query": row["query"].strip(),
        "variables": row.get("variables") or {},
        "caller": row["caller"],
        "settings": row.get("settings") or {},
        "expect": expect,
    }


def test_the_page_tells_every_row_of_the_table_and_no_other() -> None:
    """An example on the page would be judged by nobody, or a row would be told nowhere."""
    assert len(_EXAMPLE.findall(POLICY)) == len(re.findall(r"^```graphql \S", POLICY, re.MULTILINE))
    assert list(_told()) == [_as_told(row) for row in EXAMPLES]


@pytest.mark.parametrize("row", EXAMPLES, ids=[row["id"] for row in EXAMPLES])
def test_examples_are_judged_as_the_page_tells(row: dict[str, Any]) -> None:
    """Somebody who learns the policy from the page would learn it wrong."""
    decision = judged(policy_of(row), caller(row["caller"]), row["query"], row.get("variables"), None)

    if row["expect"] == "allow":
        assert decision == Allow()
    elif row["expect"] == "reported":
        assert isinstance(decision, Reported)
    else:
        assert isinstance(decision, Deny)
        told = [{"reason": each.reason.value, "coordinate": each.coordinate} for each in decision.public]
        assert told == [{"coordinate": None, **each} for each in _as_told(row)["expect"]]
        assert {each["reason"] for each in row["expect"]} == {each.reason.value for each in decision.findings}


def test_excerpts_of_the_schema_are_lines_of_it() -> None:
    """The page would explain another schema than the one its examples are judged under."""
    schema = {line.strip() for line in (QUICKSTART / "schema.graphql").read_text("utf-8").splitlines()}
    excerpts = re.findall(r"^```graphql\n(.*?)^```", POLICY, re.MULTILINE | re.DOTALL)

    assert excerpts
    assert {line.strip() for text in excerpts for line in text.splitlines()} <= schema


def test_every_directive_and_everybody_in_the_examples_is_introduced() -> None:
    """A reader would meet a directive, a user or an app that the page says nothing about."""
    table = POLICY[POLICY.index("## Directives") : POLICY.index("## Opening")]

    assert {f"@{name}" for name in OURS} == set(re.findall(r"^\| `(@\w+)", table, re.MULTILINE)) | {"@ownApp"}
    assert all(f"`{who}`" in POLICY for who in (OWN_USER, OTHER_USER, OWN_APP))


# examples/quickstart --------------------------------------------------------------------------------------------------


CURL: Final = shutil.which("curl")


def _typed(*words: str) -> Any:
    """What comes of a command."""
    return CliRunner().invoke(application(words[0]), words)


def test_the_annotated_schema_passes_strictly() -> None:
    """The schema that a newcomer copies from would leave open who may be named."""
    result = _typed("policy", "check", "--schema", str(QUICKSTART / "schema.graphql"), "--strict")

    assert (result.exit_code, result.stderr) == (0, "")


def test_the_annotated_schema_is_the_bare_one_annotated() -> None:
    """A newcomer who compares the two files would see changes that nobody explains."""
    bare, annotated = (build_schema((QUICKSTART / f"{name}.graphql").read_text("utf-8")) for name in ("bare", "schema"))

    for name, kind in bare.type_map.items():
        assert print_type(kind) == print_type(annotated.type_map[name])


def test_the_bare_schema_can_be_annotated_and_is_closed(tmp_path: Path) -> None:
    """A newcomer's first command would fail, or open what nobody has decided about."""
    annotated = tmp_path / "schema.graphql"

    made = _typed("policy", "init", "--schema", str(QUICKSTART / "bare.graphql"), "--out", str(annotated))
    checked = _typed("policy", "check", "--schema", str(annotated), "--strict")

    assert (made.exit_code, checked.exit_code) == (0, 0)
    assert checked.stdout.splitlines()[-1].startswith("10 of 10 root fields are closed")


def test_the_settings_are_valid() -> None:
    """A newcomer would copy settings with which the gateway does not start."""
    settings = load_settings(QUICKSTART / "gateway.yaml", environ={})

    assert settings.policy.schema_file == QUICKSTART / "schema.graphql"


@pytest.mark.skipif(CURL is None, reason="curl was not found")
def test_the_script_is_answered_as_it_says(tmp_path: Path) -> None:
    """A newcomer would paste a command and get something else than was promised."""
    words = ("dev", "--schema", str(QUICKSTART / "schema.graphql"), "--data", str(tmp_path), "--port", "0")
    command = [sys.executable, "-m", "gateway", *words, "--admin-port", "0", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
        try:
            assert running.stdout is not None
            url = json.loads(running.stdout.readline())["url"] + "/v4/gql"
            script = subprocess.run(
                ["sh", str(QUICKSTART / "try.sh")],
                env={**os.environ, "DATA": str(tmp_path), "URL": url},
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
        finally:
            running.terminate()

    asked = re.findall(r"^# (.*)\n# .*\n(\{.*\})$", script.stdout, re.MULTILINE)
    assert len(asked) == script.stdout.count("\n# ") / 2 > 5
    for title, answer in asked:
        assert ("errors" in json.loads(answer)) == title.endswith(": refused."), title
