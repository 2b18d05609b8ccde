"""Files of tokens that exist elsewhere, read line by line."""

import csv
import io
import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.intake_rows import RowReason, RowRefused
from gateway.core.ledger import ActReason, ActRefused
from gateway.keys.intake_file import ADDED, KEY_COLUMNS, LONGEST_LINE, USER_COLUMNS, Columns, read_rows

TOKEN = "e5c3b842231543f.mGCUhfi0uI4J13k010V49D2GaBZ3j1E708X4a4396XNx48X3"
ROW = {name: f"the {name}" for name in KEY_COLUMNS.needed}
HEADINGS = ",".join(KEY_COLUMNS.needed)


def read(text: str | bytes, columns: Columns = KEY_COLUMNS) -> list[tuple[int, Mapping[str, object] | RowReason]]:
    """The rows of a file: values, or why there are none."""
    file = io.BytesIO(text if isinstance(text, bytes) else text.encode())
    return [
        (number, values.reason if isinstance(values, RowRefused) else values)
        for number, values in read_rows(file, columns)
    ]


def written(*rows: Mapping[str, object], end: str = "\n") -> str:
    """Rows as another program writes CSV."""
    file = io.StringIO()
    writer = csv.DictWriter(file, KEY_COLUMNS.needed, lineterminator=end)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


values = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r\n\x85\u2028\u2029")).map(str.strip)
rows = st.lists(st.fixed_dictionaries(dict.fromkeys(KEY_COLUMNS.needed, values)), max_size=5)


@given(rows, st.sampled_from(["\n", "\r\n"]))
def test_rows_of_csv_are_read_as_they_were_written(given_rows: list[dict[str, str]], end: str) -> None:
    """A value with a comma or a quotation mark would move the others of its row into other columns."""
    filled = [row for row in given_rows if any(row.values())]
    expected = [(number, row) for number, row in enumerate(filled, start=2)]
    assert read(written(*filled, end=end)) == expected


@given(rows)
def test_rows_of_json_are_read_as_they_were_written(given_rows: list[dict[str, str]]) -> None:
    """An import in JSON would find other values than one in CSV."""
    text = "".join(f"{json.dumps(row)}\n" for row in given_rows)
    if given_rows:
        assert read(text) == list(enumerate(given_rows, start=1))


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + written(ROW),
        written(ROW).replace("\n", "\n\n"),
        written(ROW).rstrip("\n"),
        written(ROW).replace(HEADINGS, HEADINGS.upper().replace(",", " , ")),
        written(ROW).replace(",", " ,\t"),
    ],
)
def test_what_programs_do_to_csv_does_not_matter(text: str) -> None:
    """A file out of a spreadsheet would be refused for a mark that nobody sees, or a blank line."""
    ((_, row),) = read(text)
    assert row == ROW


def test_lines_are_counted_as_an_editor_does() -> None:
    """The line that is named would not be the one at fault."""
    assert [number for number, _ in read(f"\n\n{written(ROW)}\n\n{','.join(ROW.values())}\nx")] == [4, 7, 8]


def test_columns_may_be_in_any_order_and_stand_beside_reasons() -> None:
    """The list of refused rows could not be mended and handed in again."""
    names = [*ADDED, *reversed(KEY_COLUMNS.needed)]
    (number, row), *_ = read(f"{','.join(names)}\n{','.join(names)}\n")
    assert (number, row) == (2, {name: name for name in names})


MALFORMED = RowReason.MALFORMED
GOOD = ",".join(ROW.values())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("one,two", MALFORMED),
        (f"{GOOD},more", MALFORMED),
        (f'{GOOD}"', None),
        (GOOD.replace("the name", '"the name'), MALFORMED),
        (GOOD.replace("the name", '"the" name'), MALFORMED),
        (b"\xff" + GOOD.encode(), MALFORMED),
        (GOOD.replace("the name", "x" * LONGEST_LINE), MALFORMED),
        (GOOD.replace("the name", "x" * 5 * LONGEST_LINE), MALFORMED),
        (GOOD.replace("the name", TOKEN), RowReason.HOLDS_TOKEN),
        (f"{TOKEN}", RowReason.HOLDS_TOKEN),
        (GOOD.replace("the name", f'"of {TOKEN}"'), RowReason.HOLDS_TOKEN),
        (GOOD.replace("the name", '"e5c3b842231543f"".mGCUhfi0uI4J13k010V49D2"'), None),
    ],
)
def test_a_bad_line_says_nothing_about_the_next(line: str | bytes, reason: RowReason | None) -> None:
    """One quotation mark that is not closed would swallow the rest of the file."""
    encoded = line if isinstance(line, bytes) else line.encode()
    found = read(f"{HEADINGS}\n".encode() + encoded + f"\n{GOOD}\n".encode())
    assert [number for number, _ in found] == [2, 3]
    assert found[1] == (3, ROW)
    assert isinstance(found[0][1], dict) if reason is None else found[0][1] is reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[]", MALFORMED),
        ("{", MALFORMED),
        ('{"id":"a","id":"b"}', MALFORMED),
        ('{"token":"a"}', MALFORMED),
        ("[" * LONGEST_LINE, MALFORMED),
        (f'{{"id":{"9" * 5000}}}', MALFORMED),
        (f'{{"name":"{TOKEN}"}}', RowReason.HOLDS_TOKEN),
        ('{"name":"' + TOKEN.replace(".", "\\u002e") + '"}', RowReason.HOLDS_TOKEN),
        ('{"scopes":["' + TOKEN.replace(".", "\\u002e") + '"]}', RowReason.HOLDS_TOKEN),
        (f'{{"{TOKEN}":1}}', RowReason.HOLDS_TOKEN),
    ],
)
def test_a_bad_object_says_nothing_about_the_next(line: str, reason: RowReason) -> None:
    """An object with a name twice would mean one thing here and another to the program that wrote it."""
    good = {"id": "a", "created_at": 5, "scopes": ["x"]}
    assert read(f"{json.dumps(good)}\n{line}\n{json.dumps(good)}\n") == [(1, good), (2, reason), (3, good)]


@pytest.mark.parametrize(
    ("columns", "first", "told"),
    [
        (KEY_COLUMNS, "", "id is missing, sha256 is missing"),
        (KEY_COLUMNS, HEADINGS.replace(",", ";"), "id is missing"),
        (KEY_COLUMNS, HEADINGS.replace(",scopes", ""), "scopes is missing."),
        (KEY_COLUMNS, f"{HEADINGS},expire_at", "expire_at is unknown."),
        (KEY_COLUMNS, f"{HEADINGS},id", "id stands there twice."),
        (KEY_COLUMNS, f"{HEADINGS},", "a name is unknown."),
        (KEY_COLUMNS, f'{HEADINGS},"', "id is missing"),
        (KEY_COLUMNS, TOKEN, "a name is unknown."),
        (KEY_COLUMNS, "[", "a name is unknown."),
        (USER_COLUMNS, "id,sha256,app,created_at,expires_at", "one of user and external_id is missing."),
    ],
)
def test_a_file_of_another_kind_is_refused_whole(columns: Columns, first: str, told: str) -> None:
    """Every row of a file with a mistyped heading would be refused, a million times over; or a token repeated."""
    with pytest.raises(ActRefused) as refused:
        read(f"{first}\nx", columns)
    assert refused.value.reason is ActReason.WISH_INVALID
    assert told in refused.value.message
    assert TOKEN not in refused.value.message


def test_users_go_by_one_name_or_both() -> None:
    """A file that knows users by one name only would have to be given an empty column."""
    for names in ("user", "external_id", "user,external_id"):
        headings = f"id,sha256,app,{names},created_at,expires_at"
        assert read(f"{headings}\n{headings}", USER_COLUMNS) == [(2, {name: name for name in headings.split(",")})]
