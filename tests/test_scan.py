"""Files that are longer than what is read at once, and searched by several processes."""

from io import BytesIO
from pathlib import Path

import pytest

from gateway.core.traces import Shapes
from gateway.scan import ALONE, BLOCK, PIECE, Found, search, search_stream, tree_of
from tests.support.minting import id_of, stray

SHAPES = Shapes({"gwk": "key"})


def found(path: Path, *, alone: int = ALONE) -> list[Found]:
    """All that is found in a file or tree."""
    tree = tree_of([path])
    return sorted(each for searched in search(tree, SHAPES, alone=alone) for each in searched.found)


def sparse(path: Path, size: int, tokens: dict[int, str]) -> None:
    """A file of so many bytes, most of them zero, with tokens at these places."""
    with path.open("wb") as file:
        file.truncate(size)
        for place, token in tokens.items():
            file.seek(place)
            file.write(f"\n{token}".encode())


@pytest.mark.parametrize("border", [BLOCK, PIECE])
def test_tokens_on_borders(tmp_path: Path, border: int) -> None:
    """A token on the border of two blocks would be overlooked, told twice, or told with another line."""
    for back in (0, 1, 2, 35, 68, 69, 70, 71, 129):
        places = [border - back - 1, 1]
        tokens = {place: stray() for place in places}
        file = tmp_path / f"{back}"
        sparse(file, border + 1000, tokens)
        expected = [Found(str(file), line, "key", id_of(tokens[place])) for line, place in enumerate(sorted(places), 2)]
        assert found(file) == sorted(expected)
        file.unlink()


class Dribble(BytesIO):
    """A stream that gives what it has piece by piece."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 1, 50))


@pytest.mark.parametrize("before", [0, 1, 49, 50, 51, 127, 128, 129, BLOCK - 40, BLOCK])
@pytest.mark.parametrize("after", [0, 1, 300])
def test_tokens_in_a_stream(before: int, after: int) -> None:
    """A token between two reads would be overlooked, told twice, or told with another line."""
    first, second = stray(), stray()
    text = b"\n" * before + f"{first}\n{second}".encode() + b" " * after
    expected = [(before + 1, id_of(first)), (before + 2, id_of(second))]
    streams = [BytesIO(text), Dribble(text)] if before < BLOCK - 40 else [BytesIO(text)]
    for stream in streams:
        parts = list(search_stream(stream, "standard input", SHAPES))
        assert [(each.line, each.id) for part in parts for each in part.found] == expected
        assert sum(part.bytes for part in parts) == len(text)


def test_several_processes_find_the_same(tmp_path: Path) -> None:
    """On a long tree other tokens would be found than on a short one."""
    tokens = {5: stray(), PIECE - 30: stray(), PIECE + 100: stray(), 2 * PIECE - 60: stray()}
    sparse(tmp_path / "long", 2 * PIECE, tokens)
    sparse(tmp_path / "short", 200, {0: stray()})
    alone = found(tmp_path)
    assert len(alone) == 5
    assert [each.line for each in alone] == [2, 3, 4, 5, 2]
    assert found(tmp_path, alone=0) == alone


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """A file that vanishes while others are searched would end the search, or go unsaid."""
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text(stray())
    tree = tree_of([tmp_path])
    (tmp_path / "a").unlink()
    (searched,) = search(tree, SHAPES)
    assert [Path(each.path).name for each in searched.unread] == ["a"]
    assert len(searched.found) == 1


def test_a_file_that_grew(tmp_path: Path) -> None:
    """What was written while others were searched, or says that it is empty and is not, would be left out."""
    (tmp_path / "a").touch()
    tree = tree_of([tmp_path])
    (tmp_path / "a").write_text(stray())
    (searched,) = search(tree, SHAPES)
    assert len(searched.found) == 1
