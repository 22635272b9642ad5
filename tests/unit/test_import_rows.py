"""Rows of an import: columns that are read at once give what their cells give one by one, and COPY reads them back."""

from collections.abc import Mapping
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.definitions.values import ValueSource, coerce_value
from penstock.errors import Permanent
from penstock.things.imports.rows import RowReader
from penstock.things.imports.texts import compile_writer, copy_text, gather
from penstock.things.tabular import Block, unguard_cell
from tests.factories import build_type

TYPE = build_type(
    "order",
    {
        "number": "text", "total": "number", "paid": "boolean", "placed": "date", "customer": "user",
        "tags": "list of text", "sizes": "list of number", "flags": "list of boolean", "stay": "date range",
        "place": "geographic address", "invoice": "file",
    },
    unique=(("number",),),
)  # fmt: skip
NAMES = [field.name for field in TYPE.fields]
NUMBERS = [
    "1", "-1", "+1", "1.50", "-0.0", "0", "007.50", "1e5", ".5", "5.", "1_0", "٣", "123456789012345",
    "1234567890123456", "123456789012345.5", "1234567890123.25", "99999999999999999999", "nan", "1\n2", " 7 ",
    "--1", "1.2.3", "-", ".",
]  # fmt: skip
CELLS = st.sampled_from(
    [
        "", "a", "o'b", "'=1", "'", "x\\y\t\n", "é", "\x00", "yes", "no", "2022-12-22T09:45:37.369Z",
        "2022-02-30T00:00:00.000Z", "2022-12-22", "1700000000000x123456789012345678", "a, b", '["a\\"", "\\\\"]',
        "[1, 2.5]", "[true]", "[]",
        '["2022-01-01", "2022-01-02"]', '{"lat": 1, "lng": 2}', "https://example.com/a", "x" * 3000, *NUMBERS,
    ]
)  # fmt: skip


def read(rows: list[list[str]], names: list[str] = NAMES) -> tuple[dict[int, dict[str, str | None]], dict[int, str]]:
    """The texts of the good rows and what is wrong with the bad ones, by line, when all are one block."""
    reader = RowReader(TYPE, "csv", ())
    reader.read_header(names, None)
    pieces, bad = reader.read(Block(range(2, len(rows) + 2), rows))
    good = {
        line: {name: texts[at] for name, texts in piece.columns.items()}
        for piece in pieces
        for at, line in enumerate(piece.lines)
    }
    return good, {line.line: line.message for line in bad}


def expect(name: str, cell: str) -> tuple[str | None, str]:
    """The text that a cell stands for by the rules for a single value, or what is wrong with it."""
    (known,) = (field for field in TYPE.fields if field.name == name)
    text = unguard_cell(cell)
    try:
        value = coerce_value(known.type, text, source=ValueSource.TEXT) if text else None
    except ValueError as error:
        return None, str(error)
    if name == "number" and len(text) > 2400:
        return None, "is unique, so it holds at most 2400 bytes"
    return (None if value is None or value == [] else compile_writer(known.type)(value)), ""


def same(name: str, one: str | None, other: str | None) -> bool:
    """PostgreSQL reads numbers by their value."""
    return one == other or bool(name == "total" and one and other and Decimal(one) == Decimal(other))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(NAMES), st.lists(CELLS, min_size=1, max_size=12))
def test_a_column_is_read_as_its_cells_are_one_by_one(name: str, cells: list[str]) -> None:
    good, bad = read([[cell] for cell in cells], [name])
    for line, cell in enumerate(cells, 2):
        text, problem = expect(name, cell)
        assert problem in bad.get(line, ""), cell
        assert problem or same(name, good[line][name], text), cell
    assert good.keys() | bad.keys() == set(range(2, len(cells) + 2))
    assert not good.keys() & bad.keys()


@given(st.lists(st.sampled_from(NUMBERS[:12]), min_size=1, max_size=5))
def test_numbers_are_stored_without_zeros_at_their_end(cells: list[str]) -> None:
    good, _ = read([[cell] for cell in cells], ["total"])
    for row in good.values():
        text = str(row["total"])
        assert "." not in text or text[-1] not in "0."


def test_rows_of_another_length_are_bad_unless_what_is_too_much_is_empty() -> None:
    rows = [["a", "1"], ["b"], ["c", "2", ""], ["d", "3", "x"], ["e", "4"]]
    good, bad = read(rows, ["number", "total"])
    assert {line: row["number"] for line, row in good.items()} == {2: "a", 4: "c", 6: "e"}
    assert bad == {
        3: "it has 1 cells, and the first line names 2",
        5: "it has 3 cells, and the first line names 2",
    }


@pytest.mark.parametrize("name", ["number", "total", "tags"])
def test_a_field_is_named_once_however_it_is_spelt(name: str) -> None:
    with pytest.raises(Permanent, match=f"the field '{name}' is named twice in the first line"):
        RowReader(TYPE, "csv", ()).read_header([name, name.title()], None)


def test_objects_may_name_different_fields() -> None:
    reader = RowReader(TYPE, "jsonl", ())
    texts = ['{"number": "a", "total": 1.5}', '{"number": "b"}', '{"paid": true, "tags": ["x"]}', '{"total": "y"}']
    pieces, bad = reader.read(Block(range(1, 5), [[text] for text in texts]))
    rows = gather(pieces, created_by="1700000000000x1")
    assert rows.lines == [1, 2, 3]
    assert rows.shapes == [("number", "total"), ("number",), ("paid", "tags")]
    assert rows.columns["number"] == ["a", "b", None]
    assert rows.columns["total"] == ["1.5", None, None]
    assert (rows.columns["paid"][2], rows.columns["tags"][2]) == ("true", '{"x"}')
    assert rows.columns["created_by"] == ["1700000000000x1"] * 3
    assert len(set(rows.columns["_id"])) == 3
    assert [line.message for line in bad] == ["field 'total': expected a number, got text"]


TEXTS = st.one_of(st.none(), st.text("ab\\\t\n\r N.é", max_size=5))


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5))
def test_what_copy_is_given_are_lines_with_their_cells(rows: list[tuple[str | None, str | None]]) -> None:
    lines = copy_text(zip(*rows, strict=True)).decode().split("\n")
    assert lines.pop() == ""
    assert [tuple(map(unescape, line.split("\t"))) for line in lines] == rows


UNESCAPED: Mapping[str, str] = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}


def unescape(cell: str) -> str | None:
    """A cell as COPY reads it ("File Formats" in PostgreSQL's manual)."""
    if cell == r"\N":
        return None
    parts = cell.split("\\\\")
    return "\\".join(
        "".join(UNESCAPED[p[0]] + p[1:] if at else p for at, p in enumerate(part.split("\\"))) for part in parts
    )
