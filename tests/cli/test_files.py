"""Files that a command writes: for its user's eyes only, whole or not at all."""

import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.cli.files import private_file, written


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


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    """`--output /dev/stdout` puts a file in the place of the device."""
    reader, writer = os.pipe()
    try:
        with written(Path(f"/dev/fd/{writer}")) as file:
            file.write("whole")
        assert os.read(reader, 100) == b"whole"
    finally:
        os.close(reader)
        os.close(writer)


def test_without_a_file_standard_output_is_written_to(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever pipes an export into another program gets nothing."""
    with written(None) as file:
        file.write("whole")

    assert capsys.readouterr().out == "whole"
