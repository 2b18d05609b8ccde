"""Files that a command writes: for its user's eyes only, whole or not at all."""

import json
import os
import resource
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.files import private_file, require_output, written
from gateway.cli.main import application
from tests.cli.conftest import Typing


def test_a_new_file_is_for_its_owner(tmp_path: Path) -> None:
    """Everybody on the machine reads a private key in the moment between its making and a change of its mode."""
    before = os.umask(0)
    try:
        with private_file(tmp_path / "key") as file:
            assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
            file.write("é")
    finally:
        os.umask(before)

    assert (tmp_path / "key").read_bytes() == "é".encode()
    with pytest.raises(FileExistsError):
        private_file(tmp_path / "key")


def test_a_file_appears_once_it_is_whole(tmp_path: Path) -> None:
    """An export that broke off in the middle stands in the place of yesterday's whole one."""
    output = tmp_path / "export"
    output.write_text("yesterday")

    with suppress(ZeroDivisionError), written(output) as file:
        file.write("half")
        raise ZeroDivisionError
    assert output.read_text() == "yesterday"

    with written(output) as file:
        file.write("whole")
        file.flush()
        assert output.read_text() == "yesterday"
    assert output.read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    """An operator would not know which of the disks of a machine is full."""
    output = tmp_path / "export"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError, match="too large") as full, written(output) as file:
            file.write("x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert full.value.filename == str(output)
    assert list(tmp_path.iterdir()) == []


def test_without_a_file_standard_output_is_written_to(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever pipes an export into another program gets nothing."""
    with written(None) as file:
        file.write("whole")

    assert capsys.readouterr().out == "whole"


# What is not written over ---------------------------------------------------------------------------------------------


def test_where_a_file_can_be_made(tmp_path: Path) -> None:
    """No export could be made or be put in the place of yesterday's, or the look whether it can leaves something."""
    (tmp_path / "yesterday").write_text("whole")
    (tmp_path / "link").symlink_to(tmp_path / "yesterday")
    for name in ("new", "yesterday", "link"):
        require_output(tmp_path / name, [tmp_path / "kept", tmp_path / "another"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "yesterday"]
    assert (tmp_path / "yesterday").read_text() == "whole"


@pytest.mark.parametrize("name", ["/dev/null", "fifo", ".", "link", "-"])
def test_what_is_no_regular_file_stays(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command run by root puts a file in the place of a device, or waits for ever for who reads a pipe."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    Path("link").symlink_to("/dev/null")
    with pytest.raises(OSError, match="name a file") as refused:
        require_output(Path(name), [])
    assert refused.value.filename == name


@pytest.mark.parametrize(
    "name", ["kept", "hard", "soft", "there/kept", "new", "there/new", "soft-new", "there/there/kept"]
)
def test_no_way_leads_to_what_is_kept(tmp_path: Path, name: str) -> None:
    """The store is replaced by what was to be written, under another of its names."""
    kept, new = tmp_path / "kept", tmp_path / "new"
    kept.write_text("precious")
    (tmp_path / "hard").hardlink_to(kept)
    (tmp_path / "soft").symlink_to("kept")
    (tmp_path / "soft-new").symlink_to("new")
    (tmp_path / "there").symlink_to(tmp_path)
    with pytest.raises(OSError, match="name another"):
        require_output(tmp_path / name, [kept, new])
    if "new" not in name:
        with kept.open() as file, pytest.raises(OSError, match="name another"):
            require_output(tmp_path / name, [file.fileno()])


KEPT = ("store.db", "store.db-wal", "store.db-used", "gateway.yaml", "schema.graphql", "seals.pem", "link")


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize(
    "words",
    [
        ("store", "export"),
        ("audit", "export", "--output"),
        ("keys", "import", "-", "--bad"),
        ("users", "import", "-", "--bad"),
    ],
)
@pytest.mark.parametrize("variable", [True, False])
def test_no_command_writes_over_what_the_gateway_needs(
    local: Typing, words: tuple[str, ...], name: str, variable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One slip in an argument ends every key: the store is gone."""
    directory = local.config.parent
    local.config.write_text(
        f"{local.config.read_text().replace('data/', '')}\naudit: {{signing_key_file: seals.pem}}\n"
    )
    (directory / "seals.pem").write_text("precious")
    app = local.app()
    local.told("keys", "show", local.key(app)["id"])  # which makes the file of last uses
    (directory / "link").symlink_to("store.db")
    output = directory / name
    before = output.read_bytes() if output.exists() else None

    more = () if variable else ("--config", str(local.config))
    monkeypatch.setenv("GATEWAY_CONFIG", str(local.config))
    result = CliRunner().invoke(application(words[0]), [*words, str(output), *more, "--json"], input="x\nx\n")

    assert (result.exit_code, json.loads(result.stdout)["error"]["reason"]) == (1, "file_unusable")
    assert (output.read_bytes() if output.exists() else None) == before
    assert output.is_symlink() == (name == "link")
    assert [each["id"] for each in local.told("apps", "list")] == [app.id]
