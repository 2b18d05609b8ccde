"""What a developer types before publishing something."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import application
from tests.support.minting import id_of, stray

LEGACY = "e5c3b842231543f.mGCUhfi0uI4J13k010V49D2GaBZ3j1E708X4a4396XNx48X3"


def scan(*words: object) -> Result:
    """What comes of a scan."""
    return CliRunner().invoke(application("scan"), ["scan", *map(str, words)])


def told(*words: object, code: int = 1) -> Any:
    """What it prints for programs."""
    result = scan(*words, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_what_is_found(tmp_path: Path) -> None:
    """A token would be published, or be printed into the log of whoever looks for it."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    key, user = stray("gwk"), stray("gwu")
    (tmp_path / "deep" / "a.py").write_text(f"x = 1\n\nKEY = '{key}'\n")
    (tmp_path / "deep" / "er" / "b.bin").write_bytes(b"\x00\xff\n" + user.encode() + b"\x00")
    (tmp_path / "none.txt").write_text(f"{key[:-1]}\n{LEGACY}\n")
    result = scan(tmp_path)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"{tmp_path}/deep/a.py:3: key {id_of(key)}",
        f"{tmp_path}/deep/er/b.bin:2: user_token {id_of(user)}",
    ]
    assert "3 files" in result.stderr
    assert all(secret not in result.output for secret in (key.partition(".")[2], user.partition(".")[2]))
    assert [each["line"] for each in told(tmp_path)["found"]] == [3, 2]


def test_nothing_is_found(tmp_path: Path) -> None:
    """A pipeline would stop for nothing."""
    (tmp_path / "a").write_text(f"{stray()[:-1]}\n{LEGACY}\n")
    (tmp_path / "empty").touch()
    assert scan(tmp_path).exit_code == 0
    assert told(tmp_path, code=0) == {"found": [], "unread": [], "files": 2, "bytes": 68 + 1 + 64 + 1, "links": 0}


def test_standard_input() -> None:
    """A hook could not look through what is about to be committed."""
    token = stray()
    result = CliRunner().invoke(application("scan"), ["scan", "-"], input=f"a\n+ {token}\nb\n")
    assert (result.exit_code, result.stdout) == (1, f"standard input:2: key {id_of(token)}\n")
    assert "1 file, less than 0.1 MB searched; 1 token found." in result.stderr
    assert CliRunner().invoke(application("scan"), ["scan", "-"], input="").exit_code == 0


def test_standard_input_beside_files(tmp_path: Path) -> None:
    """One of the two would go unsearched."""
    (tmp_path / "a").write_text(stray() + "x" * 3_000_000)
    result = CliRunner().invoke(application("scan"), ["scan", "-", str(tmp_path)], input=stray())
    assert len(result.stdout.splitlines()) == 2
    assert "2 files, 3.0 MB searched; 2 tokens found." in result.stderr


def test_a_file_that_is_not_there() -> None:
    """A mistyped path would be taken for one without tokens."""
    result = scan("/nowhere/at/all")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "gateway: /nowhere/at/all: cannot be read: No such file or directory.\n"


def test_the_older_shape(tmp_path: Path) -> None:
    """A key of the vendor's would not be found by whoever asks for it."""
    (tmp_path / "a").write_text(f"\n{LEGACY}\n")
    (found,) = told("--legacy", tmp_path)["found"]
    assert (found["line"], found["kind"], found["id"]) == (2, "legacy", "e5c3b842231543f")


def test_other_prefixes(tmp_path: Path) -> None:
    """A gateway with prefixes of its own would not find its tokens."""
    (tmp_path / "a").write_text(f"{stray('acme')} {stray('gwd')} {stray('gwo')}")
    assert [each["kind"] for each in told(tmp_path)["found"]] == ["developer_token", "operator_token"]
    (found,) = told(tmp_path, "--prefix", "acme")["found"]
    assert found["kind"] == "token"
    settings = tmp_path / "gateway.yaml"
    store, region = {"url": "memory:"}, {"upstreams": ["http://127.0.0.1:9"], "user_scoping": "upstream"}
    settings.write_text(
        json.dumps({"store": store, "regions": {"eu": region}, "tokens": {"key_prefix": "acme", "user_prefix": "u"}})
    )
    assert "key" in {each["kind"] for each in told(tmp_path, "--config", settings)["found"]}


def test_what_is_named_twice_is_searched_once(tmp_path: Path) -> None:
    """Somebody would look for tokens that are not there."""
    (tmp_path / "a").write_text(stray())
    view = told(tmp_path / "a", tmp_path / "a", tmp_path / "." / "a")
    assert (view["files"], len(view["found"])) == (1, 1)
    (tmp_path / "near").symlink_to(tmp_path)
    for below in ("a", "near/a"):
        view = told(tmp_path / below, tmp_path)
        assert (view["files"], len(view["found"])) == (1, 1)


def test_what_is_named_and_no_file(tmp_path: Path) -> None:
    """A check in a pipeline would pass although nothing was searched."""
    os.mkfifo(tmp_path / "pipe")
    (unread,) = told(tmp_path / "pipe")["unread"]
    assert unread["file"] == str(tmp_path / "pipe")
    assert "standard input" in unread["why"]
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    result = scan(tmp_path / "loop")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"gateway: {tmp_path}/loop: Too many levels of symbolic links.\n"


def test_nothing_is_skipped_without_a_word(tmp_path: Path) -> None:
    """Somebody would rely on files that nobody searched."""
    outside, tree = tmp_path / "outside", tmp_path / "tree"
    outside.write_text(stray())
    (tree / ".git").mkdir(parents=True)
    (tree / "link").symlink_to(outside)
    (tree / "loop").symlink_to(tree)
    os.mkfifo(tree / "pipe")
    view = told(tree, code=0)
    assert (view["links"], view["found"]) == (2, [])
    assert view["unread"] == [{"file": f"{tree}/pipe", "why": "not a file"}]
    shown = scan(tree)
    assert "2 symbolic links not followed" in shown.stderr
    assert f"{tree}/pipe: not searched" in shown.stderr
    assert "git" in shown.stderr.splitlines()[-1]
    assert len(told(tree / "link")["found"]) == 1  # which was named, and not met


def test_a_name_that_is_a_token(tmp_path: Path) -> None:
    """The secret would be printed with the name of the file."""
    token = stray()
    (tmp_path / f"{token}\x1b[2J").write_text(token)
    for result in (scan(tmp_path), scan(tmp_path, "--json")):
        assert result.exit_code == 1
        assert token.partition(".")[2] not in result.output
        assert "\x1b" not in result.output


@pytest.mark.parametrize("words", [[], ["--prefix", "A_", "."]])
def test_wrong_usage(words: list[str]) -> None:
    """A mistyped option would be taken for a tree without tokens."""
    assert scan(*words).exit_code == 2
