"""`gateway explain`: the decision without a server, and what it came from."""

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from gateway.cli.explain import explain, explained
from gateway.core.decision import Allow
from tests.support.vectors import (
    OTHER_USER,
    OWN_APP,
    OWN_USER,
    ROOT,
    VECTORS,
    VENDOR_SCHEMA,
    caller,
    judged,
    policy_of,
    rows,
    text,
)

INPUTS = str(VECTORS / "schemas" / "inputs.graphql")
USER = ("--user", OWN_USER, "--app", OWN_APP)
KEY = ("--scope", "USER_READ")
COMMAND = "import typer; from gateway.cli.explain import explain; typer.run(explain)"

gateway = typer.Typer()
gateway.command("explain")(explain)


def typed(*words: str, query: str | bytes = "", schema: str = str(VENDOR_SCHEMA)) -> Result:
    """What comes of `gateway explain` with these words and the document on standard input."""
    return CliRunner().invoke(gateway, ["--schema", schema, *words], input=query)


def reported(*words: str, query: str, schema: str = str(VENDOR_SCHEMA)) -> dict[str, Any]:
    """The object that is printed with --json."""
    result = typed(*words, "--json", query=query, schema=schema)
    assert result.stderr == ""
    report = json.loads(result.stdout)
    assert isinstance(report, dict)
    assert result.exit_code == {"allow": 0, "refuse": 3}[report["decision"]]
    return report


def places(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Coordinate, rule and verdict of each place."""
    return [(each["coordinate"], each["rule"], each["verdict"]) for each in report["coordinates"]]


# What is explained ----------------------------------------------------------------------------------------------------


def test_an_allowed_operation() -> None:
    """A program that reads the explanation would not find the members that are promised."""
    report = reported(*KEY, query="query Who { me: user { id } }")

    assert report == {
        "decision": "allow",
        "operation": "Who",
        "type": "query",
        "coordinates": [
            {
                "coordinate": "Query.user",
                "path": "me",
                "rule": "@requiresScopes(scopes: [[USER_READ]])",
                "verdict": "allow",
            },
            {"coordinate": "User.id", "path": "me.id", "rule": "nothing more is demanded", "verdict": "allow"},
        ],
        "findings": [],
    }


def test_a_refused_operation() -> None:
    """A person would learn that something is refused, and not what, where and which scope would do."""
    report = reported(*KEY, query="{ user { id } offloads { day } }")

    assert report["decision"] == "refuse"
    assert [(each["path"], each["verdict"]) for each in report["coordinates"]] == [
        ("user", "allow"),
        ("user.id", "allow"),
        ("offloads", "refuse"),
        ("offloads.day", "allow"),
    ]
    assert report["findings"] == [
        {
            "reason": "scope_missing",
            "coordinate": "Query.offloads",
            "path": "offloads",
            "message": "The API key lacks a scope that this needs.",
            "required_scopes": [["OFFLOADS_READ"]],
        }
    ]


SCOPED = "@requiresScopes(scopes: [[OFFLOADS_READ]])"
OWN = f'"{OWN_USER}"'
OTHER = f'"{OTHER_USER}"'
RULES: dict[str, tuple[tuple[str, ...], str, str, list[tuple[str, str, str]]]] = {
    "an own user, and one left out": (
        USER,
        "vendor",
        f"{{ user(user_id: {OWN}) {{ __typename }} }}",
        [
            ("Query.user", "@userContext", "allow"),
            ("Query.user(user_id:)", "@ownUser(whenAbsent: SELF)", "allow"),
            ("Query.user(id:)", "@ownUser(whenAbsent: SELF)", "allow"),
            ("User.__typename", "open to anyone", "allow"),
        ],
    ),
    "one left out, where only arguments confine": (
        (*USER, "--user-scoping", "arguments"),
        "vendor",
        "{ user { id } engagement { __typename } }",
        [
            ("Query.user", "@userContext", "allow"),
            ("Query.user(user_id:)", "@ownUser(whenAbsent: SELF), under user_scoping: arguments", "refuse"),
            ("Query.user(id:)", "@ownUser(whenAbsent: SELF), under user_scoping: arguments", "refuse"),
            ("User.id", "nothing more is demanded", "allow"),
            ("Query.engagement", "the own user must be named here", "refuse"),
            ("Engagement.__typename", "open to anyone", "allow"),
        ],
    ),
    "what is for keys": (
        USER,
        "vendor",
        "{ offloads { day } user { application { secret } } }",
        [
            ("Query.offloads", "@requiresScopes without @userContext or @authenticated", "refuse"),
            ("Offload.day", "nothing more is demanded", "allow"),
            ("Query.user", "@userContext", "allow"),
            ("Query.user(user_id:)", "@ownUser(whenAbsent: SELF)", "allow"),
            ("Query.user(id:)", "@ownUser(whenAbsent: SELF)", "allow"),
            ("User.application", "@keysOnly; @keysOnly on IUser.application", "refuse"),
            ("Application.secret", "@closed", "refuse"),
        ],
    ),
    "what is for users": (
        KEY,
        "vendor",
        'mutation { create_group(name: "x") { __typename } }',
        [
            ("Mutation.create_group", "no directive opens this root field to this kind of caller", "refuse"),
            ("UserEngagementGroup.__typename", "below create_group, which is closed", "refuse"),
        ],
    ),
    "a scope that is missing twice": (
        KEY,
        "vendor",
        "{ a: offloads { day } b: offloads { day } }",
        [
            ("Query.offloads", SCOPED, "refuse"),
            ("Offload.day", "nothing more is demanded", "allow"),
            ("Query.offloads", SCOPED, "refuse"),
            ("Offload.day", "nothing more is demanded", "allow"),
        ],
    ),
    "what the schema does not have": (
        KEY,
        "vendor",
        "{ user(ids: 1) { id nope { deeper } } }",
        [
            ("Query.user", "@requiresScopes(scopes: [[USER_READ]])", "allow"),
            ("Query.user(ids:)", "not in the schema", "refuse"),
            ("User.id", "nothing more is demanded", "allow"),
            ("User.nope", "not in the schema", "refuse"),
        ],
    ),
    "what does not fit": (
        KEY,
        "vendor",
        "{ user { id { x } ... on Query { __typename } } }",
        [
            ("Query.user", "@requiresScopes(scopes: [[USER_READ]])", "allow"),
            ("Query", "this does not fit the schema", "refuse"),
            ("User.id", "this does not fit the schema", "refuse"),
        ],
    ),
    "introspection that is closed": (
        USER,
        "vendor",
        "{ __schema { types { name } } }",
        [
            ("Query.__schema", "introspection is closed", "refuse"),
            ("__Schema.types", "below __schema, which is closed", "refuse"),
            ("__Type.name", "below __schema, which is closed", "refuse"),
        ],
    ),
    "introspection that is open": (
        KEY,
        "vendor",
        '{ __type(name: "User") { name } }',
        [
            ("Query.__type", "introspection: keys", "allow"),
            ("__Type.name", "nothing more is demanded", "allow"),
        ],
    ),
    "values in objects and lists": (
        USER,
        "inputs",
        f'{{ many(filters: [{{owner: {OWN}, text: "t"}}, {{owner: {OTHER}}}]) search(filter: {{owner: {OWN}}}) }}',
        [
            ("Query.many", "@authenticated", "allow"),
            ("Filter.owner", "@ownUser", "refuse"),
            ("Query.search", "@authenticated", "allow"),
            ("Filter.owner", "@ownUser", "allow"),
        ],
    ),
    "an object that must be there": (
        USER,
        "inputs",
        "{ boxed(box: {}) search }",
        [
            ("Query.boxed", "@authenticated", "allow"),
            ("Box.filter", "the own user must be named here", "refuse"),
            ("Query.search", "@authenticated", "allow"),
            ("Query.search(filter:)", "the own user must be named here", "refuse"),
        ],
    ),
    "values with other rules": (
        USER,
        "inputs",
        '{ panel(panel: {staff: "s", gone: "g", target: "t", nope: 1}) app(app: "x") }',
        [
            ("Query.panel", "@authenticated", "allow"),
            ("Panel.staff", "@keysOnly", "refuse"),
            ("Panel.gone", "@closed", "refuse"),
            ("Panel.target", '@anyUser(reason: "The panel is about somebody else.")', "allow"),
            ("Panel.nope", "not in the schema", "refuse"),
            ("Query.app", "@authenticated", "allow"),
            ("Query.app(app:)", "@ownApp", "refuse"),
        ],
    ),
    "an own app": (
        USER,
        "inputs",
        f'{{ app(app: "{OWN_APP}") myApp }}',
        [
            ("Query.app", "@authenticated", "allow"),
            ("Query.app(app:)", "@ownApp", "allow"),
            ("Query.myApp", "@authenticated", "allow"),
            ("Query.myApp(app:)", "@ownApp(whenAbsent: SELF)", "allow"),
        ],
    ),
    "a key that names its app, and any user": (
        (*KEY, "--app", OWN_APP),
        "inputs",
        f'{{ app(app: "{OWN_APP}") search(filter: {{owner: {OTHER}}}) }}',
        [
            ("Query.app", "@authenticated", "allow"),
            ("Query.app(app:)", "@ownApp", "allow"),
            ("Query.search", "@authenticated", "allow"),
            ("Filter.owner", "nothing is demanded of this caller", "allow"),
        ],
    ),
    "an app that nobody has named": (
        KEY,
        "inputs",
        f'{{ app(app: "{OWN_APP}") }}',
        [("Query.app", "@authenticated", "allow"), ("Query.app(app:)", "@ownApp", "refuse")],
    ),
}


@pytest.mark.parametrize(("who", "schema", "query", "expected"), RULES.values(), ids=RULES)
def test_the_rule_that_decided(
    who: tuple[str, ...], schema: str, query: str, expected: list[tuple[str, str, str]]
) -> None:
    """Somebody would change the wrong directive, because another one is shown."""
    file = str(VENDOR_SCHEMA) if schema == "vendor" else INPUTS

    assert places(reported(*who, query=query, schema=file)) == expected


def test_more_values_than_are_judged_are_refused_as_a_whole() -> None:
    """An explanation would take minutes, or list ten thousand values."""
    many = json.dumps({"users": [OWN_USER] * 12_000})
    uses = " ".join(f"a{i}: items(owners: $users)" for i in range(20))

    report = reported(*USER, "--variables", many, query=f"query ($users: [String!]) {{ {uses} }}", schema=INPUTS)

    assert [each["reason"] for each in report["findings"]] == ["body_too_large"]
    assert {rule for _, rule, _ in places(report)} == {"@authenticated"}


TABLE = rows("policy.yaml")


@pytest.mark.parametrize("row", TABLE, ids=[row["id"] for row in TABLE])
def test_every_decision_of_the_table_is_explained(row: dict[str, Any]) -> None:
    """The explanation would disagree with the gateway, or leave out a reason or the place that was refused."""
    policy = policy_of({**row, "settings": {**(row.get("settings") or {}), "mode": "enforce"}})
    principal = caller(row["caller"])
    query = text(row["query"] if "query" in row else row["query_template"])
    body = json.dumps({key: row.get(key) for key in ("variables", "operationName")} | {"query": query}).encode()
    decision = judged(policy, principal, query, row.get("variables"), row.get("operationName"))

    explanation = explained(policy, principal, body)

    assert (explanation.deny or Allow(getattr(decision, "deletions", ()))) == decision
    if explanation.operation is None:
        return
    found = [finding for finding in explanation.deny.findings if finding.coordinate] if explanation.deny else []
    refused = [step for step in explanation.steps if not step.allowed]
    assert bool(refused) is bool(found)
    for finding in found:
        there = [step for step in refused if step.path == (finding.path or "")]
        assert any(step.coordinate == finding.coordinate or f"on {finding.coordinate}" in step.rule for step in there)
    assert all(step.rule for step in explanation.steps)


# What people read -----------------------------------------------------------------------------------------------------


def test_a_refusal_in_words() -> None:
    """A person would have to read JSON to learn why something is refused."""
    result = typed(*KEY, query="mutation Away { away: delete_user { request_id } }")

    assert (result.exit_code, result.stderr) == (3, "")
    assert result.stdout == (
        "Refused: mutation Away, by an API key with USER_READ\n"
        "Verdict  Coordinate                     Path             Rule\n"
        "refuse   Mutation.delete_user           away             @requiresScopes(scopes: [[USER_DELETE]])\n"
        "allow      DeleteUserResult.request_id  away.request_id  nothing more is demanded\n"
        "scope_missing at Mutation.delete_user: The API key lacks a scope that this needs. It takes USER_DELETE.\n"
    )


def test_an_allowance_in_words() -> None:
    """A person could not tell at a glance whether something is allowed, and to whom."""
    result = typed(*USER, query="{ moment_definitions { id } }")

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == f"Allowed: query, by the token of user {OWN_USER} in app {OWN_APP}"
    assert lines[2].split() == ["allow", "Query.moment_definitions", "moment_definitions", "@authenticated"]


def test_what_the_caller_is_told_instead() -> None:
    """An operator would look for `field_unknown` in the answer of a client that was told `field_closed`."""
    hidden = typed(*USER, query="{ nope }", schema=INPUTS)
    open_to_all = typed(*USER, "--introspection", "all", query="{ nope }", schema=INPUTS)

    assert hidden.stdout.splitlines()[-1] == "The caller is told only: field_closed."
    assert open_to_all.stdout.splitlines()[-1] == "field_unknown at Query.nope: The schema has no such field."


def test_a_request_that_is_refused_before_it_is_known() -> None:
    """The fault of a document would be told without its place."""
    result = typed(*KEY, query="{ shelf { ", schema=INPUTS)
    report = reported(*KEY, query="{ shelf { ", schema=INPUTS)

    assert result.stdout.splitlines()[0] == "Refused: request, by an API key with USER_READ"
    assert result.stdout.splitlines()[1].startswith("document_invalid: The GraphQL document is not valid. There is a")
    assert (report["operation"], report["type"], report["coordinates"]) == (None, None, [])
    assert report["findings"][0]["coordinate"] is None


# What is typed --------------------------------------------------------------------------------------------------------


def test_the_operation_that_would_run_is_chosen() -> None:
    """Of a file with several operations another one would be explained."""
    document = "query One { shelf { books } } query Two { nope }"

    assert reported(*KEY, "--operation", "One", query=document, schema=INPUTS)["operation"] == "One"
    assert reported(*KEY, "--operation", "Two", query=document, schema=INPUTS)["decision"] == "refuse"
    assert reported(*KEY, query=document, schema=INPUTS)["findings"][0]["reason"] == "operation_ambiguous"
    assert (
        reported(*KEY, "--operation", "", query=document, schema=INPUTS)["findings"][0]["reason"] == "message_malformed"
    )


def test_documents_and_variables_come_from_files_too(tmp_path: Path) -> None:
    """A long document would have to be quoted for a shell."""
    document, variables = tmp_path / "one.graphql", tmp_path / "variables.json"
    document.write_text("query ($id: String) { self(owner: $id) }")
    variables.write_text(json.dumps({"id": OTHER_USER}))

    result = typed(*USER, "--query", str(document), "--variables", f"@{variables}", "--json", schema=INPUTS)

    assert result.exit_code == 3
    assert json.loads(result.stdout)["findings"][0]["coordinate"] == "Query.self(owner:)"
    assert typed(*USER, "--query", "-", query="{ self }", schema=INPUTS).exit_code == 0


DECISIVE = {
    "of the own user": (f'{{"id": "{OWN_USER}"}}', None),
    "of another user": (f'{{"id": "{OTHER_USER}"}}', "not_own_data"),
    "of both, as parsers differ": (f'{{"id": "{OTHER_USER}", "id": "{OWN_USER}"}}', "message_malformed"),
    "that are no object": ("[]", "message_malformed"),
    "with a number that is none": ('{"id": NaN}', "message_malformed"),
    "with half a character": ('{"id": "\\ud800"}', "message_malformed"),
    "with a number without end": ('{"id": ' + "1" * 5_000 + "}", "message_malformed"),
    "nested without end": ('{"id": ' + "[" * 100 + "]" * 100 + "}", "message_too_deep"),
    "nested beyond any parser": ("[" * 50_000 + "]" * 50_000, "message_too_deep"),
    "of bytes that are no UTF-8": ('{"id": "\udcff"}', "message_malformed"),
}


@pytest.mark.parametrize(("variables", "reason"), DECISIVE.values(), ids=DECISIVE)
def test_variables_are_read_as_strictly_as_by_the_gateway(variables: str, reason: str | None, tmp_path: Path) -> None:
    """What the gateway refuses would be explained as allowed."""
    file = tmp_path / "variables.json"
    given = variables
    if len(variables) > 10_000:  # more than fits into a command line
        file.write_text(variables)
        given = f"@{file}"

    report = reported(*USER, "--variables", given, query="query ($id: String) { self(owner: $id) }", schema=INPUTS)

    assert [each["reason"] for each in report["findings"]][:1] == ([reason] if reason else [])


@pytest.mark.parametrize(
    "variables", ["", "{", "{} {}", '{}, "operationName": "Two"', '{}, "extensions": {}', "'{}'", "\ufeff{}"]
)
def test_variables_that_are_no_json_are_a_slip(variables: str) -> None:
    """A forgotten quote would be explained as a decision, or add members to the request."""
    result = typed(*USER, "--variables", variables, query="{ self }", schema=INPUTS)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("--variables is not JSON: ")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--scope", "USER_REED"), "The schema has no scope 'USER_REED'. It has USER_READ, USER_DELETE, USER_LINK,"),
        (
            (*KEY, "--query", "/nowhere/one.graphql"),
            "gateway: /nowhere/one.graphql: cannot be read: No such file",
        ),
        (
            (*KEY, "--variables", "@/nowhere/two.json"),
            "gateway: /nowhere/two.json: cannot be read: No such file",
        ),
        (
            (*KEY, "--schema", "/nowhere/three.graphql"),
            "gateway: /nowhere/three.graphql: cannot be read: No such file",
        ),
    ],
)
def test_what_is_not_there_is_named(words: tuple[str, ...], sentence: str) -> None:
    """A slip would be explained as a decision, or end in a stack trace."""
    result = typed(*words, query="{ self }", schema=INPUTS)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(sentence)


def test_a_schema_without_scopes_says_so(tmp_path: Path) -> None:
    """The list of scopes to choose from would be empty without a word."""
    schema = tmp_path / "schema.graphql"
    schema.write_text("scalar Scope\ntype Query { a: Int @authenticated }\n")

    result = typed(*KEY, query="{ a }", schema=str(schema))

    assert (result.exit_code, result.stderr) == (1, "The schema has no scope 'USER_READ'. It has none.\n")


def test_a_broken_schema_is_told_with_its_lines(tmp_path: Path) -> None:
    """Whoever broke the schema while asking would not learn it."""
    schema = tmp_path / "schema.graphql"
    schema.write_text("type Query {\n  a: Int @closed @authenticated\n}\n")

    result = typed(*KEY, query="{ a }", schema=str(schema))

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"{schema}:2: Query.a is @closed, so its other directives say nothing.\n"


def test_a_document_that_is_no_text_is_a_slip() -> None:
    """A picture on standard input would end in a stack trace."""
    result = typed(*KEY, query=b"{ self }\n\xff\xfe", schema=INPUTS)

    assert (result.exit_code, result.stderr) == (1, "standard input:2: This is not UTF-8.\n")


@pytest.mark.parametrize(
    "words",
    [
        (),
        (*KEY, *USER),
        ("--user", OWN_USER),
        ("--app", OWN_APP),
        ("--user", "", "--app", OWN_APP),
        (*KEY, "--introspection", "some"),
        (*KEY, "--user-scoping", "nobody"),
        (*KEY, "--nonsense"),
    ],
)
def test_who_calls_has_to_be_said(words: tuple[str, ...]) -> None:
    """An explanation would be given for nobody, or for a caller that cannot exist."""
    result = typed(*words, query="{ user { id } }")

    assert (result.exit_code, result.stdout) == (2, "")


# As a process ---------------------------------------------------------------------------------------------------------


def test_the_command_as_it_is_typed() -> None:
    """The default file, the real streams or the exit status would differ from what the tests above see."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *USER, "--json"],
        cwd=ROOT,
        input=b"{ offloads { day } }",
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (3, b"")
    assert json.loads(done.stdout)["findings"][0]["reason"] == "keys_only"


def test_a_terminal_is_asked_and_answered_in_colour() -> None:
    """Somebody who types the command alone would sit before a silent terminal."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
    environ.pop("NO_COLOR", None)
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *KEY], stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=environ
    ) as process:
        os.close(theirs)
        shown = read_until(ours, b"Ctrl-D")
        os.write(ours, b"{ user { id } }\n\x04")
        shown += read_until(ours, None)
        os.close(ours)
        assert process.wait() == 0

    assert b"Type the operation, then Ctrl-D on a line of its own." in shown
    assert b"\x1b[" in shown
    assert b"Allowed: query, by an API key with USER_READ" in shown


def read_until(terminal: int, words: bytes | None) -> bytes:
    """What a terminal shows until these words, or until the other side is gone."""
    shown = io.BytesIO()
    while words is None or words not in shown.getvalue():
        try:
            shown.write(os.read(terminal, 65_536))
        except OSError:  # Linux says so when the other side has closed
            break
    return shown.getvalue()
