"""CSV and JSON lines as records: the same however the bytes are cut into pieces, and every unreadable line told and
passed over.
"""

import csv
import io
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import Permanent
from penstock.things.tabular import BLOCK_LINES, MAX_CHARACTERS, NOT_UTF8, guard_cell, read_records, unguard_cell


class Record(NamedTuple):
    """A record of a block: the line it starts in, its cells, and what is wrong with it."""

    line: int
    cells: list[str]
    problem: str | None


def read(content: bytes, *, size: int = 7, format: str = "csv") -> list[Record]:
    """All records of `content`, fed in pieces of `size` bytes."""
    reader = read_records("csv" if format == "csv" else "jsonl")
    pieces = [content[first : first + size] for first in range(0, len(content), size)]
    blocks = [block for piece in pieces for block in reader.feed(piece)] + list(reader.finish())
    return [
        Record(line, cells, block.problem)
        for block in blocks
        for line, cells in zip(block.lines, block.cells, strict=True)
    ]


def cells(content: bytes, *, size: int = 7) -> list[tuple[int, list[str]]]:
    """Lines and cells; nothing may be wrong with them."""
    records = read(content, size=size)
    assert [record.problem for record in records] == [None] * len(records)
    return [(record.line, record.cells) for record in records]


def test_rows_have_the_line_they_start_in() -> None:
    content = b'\xef\xbb\xbfname,total\r\n"a\nb",1\n\n"c ""d""",\ne,"2,5"'
    expected = [(1, ["name", "total"]), (2, ["a\nb", "1"]), (5, ['c "d"', ""]), (6, ["e", "2,5"])]
    assert all(cells(content, size=size) == expected for size in (1, 2, 3, 10, 1000))


@pytest.mark.parametrize("sign", [b";", b"\t"])
def test_semicolons_and_tabs_separate_too(sign: bytes) -> None:
    assert cells(b"a,b\n1,2\n".replace(b",", sign)) == [(1, ["a", "b"]), (2, ["1", "2"])]


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_rows_of_nothing_but_separators_are_left_out(size: int) -> None:
    content = b";;\r\na;b;c\r\n;;\r\n1;;3\r\n;;\r\n\r\n;;;;;\r\n;2;"
    assert cells(content, size=size) == [(2, ["a", "b", "c"]), (4, ["1", "", "3"]), (8, ["", "2", ""])]


def test_a_row_of_quoted_nothing_is_a_row() -> None:
    assert cells(b'a,b\n"",""\n,\n') == [(1, ["a", "b"]), (2, ["", ""])]


@pytest.mark.parametrize("sign", [";", "|", "\t", ",", ":", "¦"])
@pytest.mark.parametrize("first", ["sep={}\r\n", "\ufeffsep={}\n", '"sep={}"\n', "SEP={}\n", "\r\nsep={}\n"])
def test_a_first_line_may_name_the_separator(sign: str, first: str) -> None:
    content = first.format(sign) + f"a{sign}b\n1{sign}2\n"
    assert [row for _, row in cells(content.encode())] == [["a", "b"], ["1", "2"]]


def test_what_only_looks_like_a_named_separator_is_the_header() -> None:
    for head in ("sep=x", "sep=", 'sep="', "sep=;;", "separator=;"):
        (record, *_) = read(f"{head}\n".encode())
        assert (record.line == 1 and "".join(record.cells).startswith("sep")) or record.problem, head


@pytest.mark.parametrize("head", [b"\n\na;b", b'"a,b,c";b', b"a;b;c, d"])
def test_the_separator_is_the_one_that_the_header_uses_most_outside_of_quotes(head: bytes) -> None:
    assert cells(head + b"\n1;2\n")[-1][1] == ["1", "2"]


@given(st.text(alphabet="'=+-@\t\r\n ax＝"))
def test_a_guarded_cell_is_no_formula_and_is_read_as_it_was(text: str) -> None:
    assert unguard_cell(guard_cell(text)) == text
    assert guard_cell(text)[:1] not in set("=+-@\t\r\n＝＋－＠")


def test_nothing_is_no_record() -> None:
    assert read(b"") == read(b"", format="jsonl") == read(b"\n \n", format="jsonl") == []
    assert read(b"\n\r\n") == []


@pytest.mark.parametrize(
    ("content", "bad", "good"),
    [
        (b'a,b\n1,"2\n3,4\n5,6\n', {2: "a quote that is opened in it is not closed"}, {1, 3, 4}),
        (b'a,b\n1,"2"x\n3,4\n', {2: "a closing quote is followed by something othe"}, {1, 3}),
        (b'a,b\n1,"2\n3,"4"\n5,6\n', {2: "a closing quote is followed by something othe"}, {1, 3, 4}),
        (b"a,b\n1,\xe9\n3,4\n", {2: NOT_UTF8}, {1, 3}),
        (b'a,b\n1,"\n\xe9"\n3,4\n', {2: NOT_UTF8}, {1, 4}),
        (b"a,b\n1,2\r3,4\n5,6\n", {2: "it holds a carriage return outside of quotes"}, {1, 3}),
        (b"a,b\n" + b"x" * (MAX_CHARACTERS + 1) + b"\n3,4\n", {2: "it is longer than 1048576 characters"}, {1, 3}),
        (b"a,b\n" + b"x" * (MAX_CHARACTERS + 1), {2: "it is longer than 1048576 characters"}, {1}),
        (
            b'a,b\n1,"' + (b"x" * 1000 + b"\n") * 1100,
            {2: "it does not end within 1048576 characters; is a quote left open?"},
            None,
        ),
    ],
)
def test_a_line_that_cannot_be_read_is_told_and_passed_over(
    content: bytes, bad: dict[int, str], good: set[int] | None
) -> None:
    for size in (5, 100_000) if len(content) < 1000 else (100_000, 2_000_000):
        records = read(content, size=size)
        assert {
            record.line: (record.problem or "")[: len(bad.get(record.line, ""))] for record in records if record.problem
        } == bad
        if good is not None:
            assert {record.line for record in records if not record.problem} == good


@pytest.mark.parametrize("size", [1000, 100_000])
def test_rows_may_be_longer_than_what_is_read_at_once(size: int) -> None:
    cell = "\n".join(str(n) for n in range(3 * BLOCK_LINES))
    rows = [["a", "b"], ["1", cell], ["2", "x"], *([str(n), ""] for n in range(BLOCK_LINES)), ["3", cell]]
    content = "".join(f'{one},"{other}"\n' for one, other in rows).encode()
    assert [row for _, row in cells(content, size=size)] == rows
    opened = content[: content.rindex(b'"')] + b"\n4,x\n"
    assert [record.problem for record in read(opened, size=size) if record.problem] == [
        "a quote that is opened in it is not closed"
    ]


def test_utf16_is_refused_at_once() -> None:
    with pytest.raises(Permanent, match="it is not UTF-8 text; save the file as UTF-8"):
        read("name,total\n".encode("utf-16"), size=1)


def test_json_lines_are_handed_out_as_they_stand() -> None:
    records = read(b'{"a": "\\n"}\r\n\n {"b": 1} \n\xff\n[', format="jsonl")
    assert [(record.line, [cell.strip() for cell in record.cells], record.problem) for record in records[:2]] == [
        (1, ['{"a": "\\n"}'], None), (3, ['{"b": 1}'], None),
    ]  # fmt: skip
    assert [(record.line, record.problem) for record in records[2:]] == [(4, NOT_UTF8), (5, None)]


tables = st.lists(st.lists(st.text("ab,\"\n\r;'é😀\x00 ", max_size=6), min_size=2, max_size=4), min_size=1, max_size=8)


@settings(max_examples=300, deadline=None)
@given(tables, st.integers(1, 40))
def test_what_the_csv_module_writes_is_read_back_whatever_the_pieces(table: list[list[str]], size: int) -> None:
    head = ["x", "y"]
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([head, *table])
    assert [record.cells for record in read(text.getvalue().encode(), size=size)] == [head, *table]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.integers(1, 10))
def test_no_bytes_break_the_readers_and_pieces_change_nothing(content: bytes, size: int) -> None:
    content = content.replace(b"\xff\xfe", b"").replace(b"\xfe\xff", b"")
    for format in ("csv", "jsonl"):
        assert read(content, size=size, format=format) == read(content, size=1000, format=format)
