"""`gateway policy check` and `gateway policy init`: what is printed, where, and the exit status."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from gateway.cli.policy import policy
from tests.support.vectors import ROOT, VENDOR_SCHEMA

BARE = "type Query {\n  user(id: ID): User\n  users: [User]\n}\n\ntype User {\n  id: ID\n}\n"
LOOSE = """\
type Query {
  user(id: ID): String @userContext
  files: String @requiresScopes(scopes: [["A", "B"], ["C"]])
}
"""
SCOPES = "scalar Scope\n"
COMMAND = (
    "import typer; from gateway.cli.policy import policy;"
    " app = typer.Typer(); app.add_typer(policy, name='policy'); app(prog_name='gateway')"
)

gateway = typer.Typer()
gateway.add_typer(policy, name="policy")


def typed(*words: str) -> Result:
    """What comes of `gateway policy` with these words."""
    return CliRunner().invoke(gateway, ["policy", *words])


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    """A file for a schema; the tests write it."""
    return tmp_path / "schema.graphql"


# check ----------------------------------------------------------------------------------------------------------------


def test_the_delivered_schema_passes_strictly() -> None:
    """The schema that a newcomer starts with would be complained about."""
    result = typed("check", "--schema", str(VENDOR_SCHEMA), "--strict")

    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["Root", "field", "API", "keys", "User", "tokens", "Own", "user"]
    assert "Query.user                       USER_READ              yes          user_id, id" in lines
    assert "Mutation.createUserRole          closed                 closed" in lines
    assert lines[-1] == "6 of 22 root fields are closed."


def test_who_may_use_what_in_words(schema: Path) -> None:
    """An operator could not tell which scopes are needed together and which are choices."""
    schema.write_text(SCOPES + LOOSE)

    result = typed("check", "--schema", str(schema))

    assert result.stdout == (
        "Root field   API keys       User tokens  Own user\n"
        "Query.user   -              yes\n"
        "Query.files  A and B, or C  -\n"
        f"{schema}:3: Query.user(id:) is named like a user id, and a user token may give anybody's;"
        " say @ownUser, @keysOnly, or @anyUser with a reason.\n"
    )
    assert (result.exit_code, result.stderr) == (0, "")


def test_advice_fails_only_where_it_is_asked_for(schema: Path) -> None:
    """A pipeline could not be made to stop at an undecided value, or would stop without wanting to."""
    schema.write_text(SCOPES + LOOSE)

    assert typed("check", "--schema", str(schema)).exit_code == 0
    assert typed("check", "--schema", str(schema), "--strict").exit_code == 1
    assert typed("check", "--schema", str(schema), "--strict", "--json").exit_code == 1


def test_a_bare_schema_is_told_the_way_out(schema: Path) -> None:
    """A newcomer would see a wall of refusals and not know that there is a command against it."""
    schema.write_text(BARE)

    assert "2 of 2 root fields are closed; gateway policy init helps." in typed("check", "--schema", str(schema)).stdout


def test_subscriptions_are_not_promised(schema: Path) -> None:
    """An operator would open a subscription and wonder why it is refused."""
    schema.write_text("type Query { a: Int @authenticated }\ntype Subscription { b: Int @authenticated }\n")

    assert "Subscriptions are refused, whatever their directives say." in typed("check", "--schema", str(schema)).stdout


def test_the_members_for_programs(schema: Path) -> None:
    """Programs would not find the members that are promised."""
    schema.write_text(SCOPES + LOOSE + "extend type Query { gone: Int @closed }\n")

    result = typed("check", "--schema", str(schema), "--json")

    assert result.exit_code == 0
    report = json.loads(result.stdout)
    sentence = report["advice"][0].pop("sentence")
    assert sentence.startswith("Query.user(id:) is named like a user id")
    assert report == {
        "fields": [
            {"coordinate": "Query.user", "keys": False, "scopes": [], "users": True, "closed": False, "own_user": []},
            {
                "coordinate": "Query.files",
                "keys": True,
                "scopes": [["A", "B"], ["C"]],
                "users": False,
                "closed": False,
                "own_user": [],
            },
            {"coordinate": "Query.gone", "keys": False, "scopes": [], "users": False, "closed": True, "own_user": []},
        ],
        "advice": [{"line": 3, "coordinate": "Query.user(id:)"}],
        "closed": 1,
        "total": 3,
        "scopes": ["A", "B", "C"],
    }


@pytest.mark.parametrize("words", [("check",), ("init",)])
def test_all_faults_are_told_with_file_and_line(words: tuple[str, ...], schema: Path) -> None:
    """Whoever repairs a schema would find its faults one by one, or without their place."""
    schema.write_text("type Query {\n  a: Int @requiresScopes(scopes: [])\n  b: Int @closed @authenticated\n}\n")

    result = typed(*words, "--schema", str(schema))

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"{schema}:2: @requiresScopes on Query.a names no scope; an empty list would be met by every key or by none.\n"
        f"{schema}:3: Query.b is @closed, so its other directives say nothing.\n"
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "gateway: {}: cannot be read: No such file or directory."),
        (b"type Query {\n  # f\xfcr\n  a: Int\n}", "{}:2: This is not UTF-8."),
        (b"type Mutation { a: Int }", "{}: Query root type must be provided."),
    ],
)
def test_what_is_no_schema_is_named(content: bytes | None, sentence: str, schema: Path) -> None:
    """A wrong path or a damaged file would end in a stack trace."""
    if content is not None:
        schema.write_bytes(content)

    result = typed("check", "--schema", str(schema))

    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"{sentence.format(schema)}\n")


@pytest.mark.parametrize(
    ("content", "reason", "messages"),
    [
        (None, "file_unusable", ["{}: cannot be read: No such file or directory."]),
        ("type Query {\n  a: Int\n", "schema_invalid", ["{}:3: Syntax Error: Expected Name, found <EOF>."]),
        (
            "type Query {\n  a: Int @closed @authenticated\n  b: Int @closed @authenticated\n}\n",
            "schema_invalid",
            [
                "{}:2: Query.a is @closed, so its other directives say nothing.",
                "{}:3: Query.b is @closed, so its other directives say nothing.",
            ],
        ),
    ],
)
def test_programs_are_told_of_faults(content: str | None, reason: str, messages: list[str], schema: Path) -> None:
    """A program would get nothing where it was promised an object, and the faults only in words beside it."""
    if content is not None:
        schema.write_text(content)

    result = typed("check", "--schema", str(schema), "--json")

    assert (result.exit_code, result.stderr) == (1, "")
    message = " ".join(each.format(schema) for each in messages)
    assert json.loads(result.stdout) == {"error": {"reason": reason, "message": message}}


# init -----------------------------------------------------------------------------------------------------------------


def test_a_start_is_printed(schema: Path) -> None:
    """A newcomer could not look at what would be written, or pipe it on."""
    schema.write_text(BARE)

    result = typed("init", "--schema", str(schema))

    assert result.exit_code == 0
    assert "  user(id: ID @ownUser): User @closed\n" in result.stdout
    assert result.stderr.splitlines()[0].startswith("2 of 2 root fields are closed; open them with")
    assert "gateway policy check --schema FILE" in result.stderr


def test_nothing_is_asked_for_where_everything_is_decided(schema: Path) -> None:
    """Whoever runs the command again would be told to replace what is not there."""
    schema.write_text("type Query { a: Int @authenticated }\n")

    assert typed("init", "--schema", str(schema)).stderr == (
        "Check it: gateway policy check --schema FILE, and try it: gateway dev --schema FILE\n"
    )


def test_a_start_is_written(schema: Path, tmp_path: Path) -> None:
    """The file would differ from what is printed, or its line ends be rewritten."""
    schema.write_bytes(BARE.replace("\n", "\r\n").encode())
    out = tmp_path / "started.graphql"

    result = typed("init", "--schema", str(schema), "--out", str(out))

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines()[0] == f"Written to {out}."
    assert f"gateway dev --schema {out}" in result.stderr
    written = out.read_bytes()
    assert written == typed("init", "--schema", str(schema)).stdout_bytes
    assert written.count(b"\r\n") == written.count(b"\n")
    assert typed("check", "--schema", str(out), "--strict").exit_code == 0


def test_nothing_is_written_over(schema: Path) -> None:
    """A slip of the keyboard would cost an annotated schema."""
    schema.write_text(BARE)

    refused = typed("init", "--schema", str(schema), "--out", str(schema))

    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == f"{schema}: there is a file already; --force writes over it.\n"
    assert schema.read_text() == BARE


def test_force_writes_over(schema: Path) -> None:
    """A schema could not be annotated in place, or would grow each time that it is."""
    schema.write_text(BARE)

    assert typed("init", "--schema", str(schema), "--out", str(schema), "--force").exit_code == 0
    once = schema.read_text()
    assert typed("init", "--schema", str(schema), "--out", str(schema), "--force").exit_code == 0

    assert "@closed" in once
    assert schema.read_text() == once


def test_a_directory_that_is_not_there_is_named(schema: Path, tmp_path: Path) -> None:
    """A wrong path would end in a stack trace."""
    schema.write_text(BARE)
    out = tmp_path / "nowhere" / "started.graphql"

    result = typed("init", "--schema", str(schema), "--out", str(out))

    assert (result.exit_code, result.stderr) == (1, f"gateway: {out}: cannot be written: No such file or directory.\n")


def test_a_device_is_not_written_over(schema: Path, tmp_path: Path) -> None:
    """A slip in an argument writes a schema into whatever is of that name."""
    schema.write_text("type Query { me: String }")
    (tmp_path / "link").symlink_to("/dev/null")
    result = typed("init", "--schema", str(schema), "--out", str(tmp_path / "link"), "--force")
    assert result.exit_code == 1
    assert "no regular file" in result.stderr


@pytest.mark.parametrize("words", [("init",), ("check", "--schema"), ("check", "--loose"), ("nonsense",)])
def test_what_is_not_understood_is_a_usage_error(words: tuple[str, ...]) -> None:
    """A script could not tell its own slip from a fault of the schema."""
    assert typed(*words).exit_code == 2


# As a process ---------------------------------------------------------------------------------------------------------


def test_the_command_as_it_is_typed() -> None:
    """The default file, the real streams or the exit status would differ from what the tests above see."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "policy", "check", "--json", "--strict"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )

    assert json.loads(done.stdout)["total"] == 22
    assert done.stderr == b""


def test_a_terminal_shows_a_table_in_colour() -> None:
    """People would read a wall of text."""
    shown = on_terminal("policy", "check")

    assert "\x1b[" in shown
    assert "Mutation.remove_group_member" in shown
    assert "6 of 22 root fields are closed." in shown


def on_terminal(*words: str) -> str:
    """What a terminal shows of a command that succeeds."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
    environ.pop("NO_COLOR", None)
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words], stdout=theirs, stdin=theirs, stderr=theirs, cwd=ROOT, env=environ
    ) as process:
        os.close(theirs)
        shown = b"".join(iter(lambda: _read(ours), b""))
        os.close(ours)
        assert process.wait() == 0
    return shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux says so when the other side has closed
        return b""
