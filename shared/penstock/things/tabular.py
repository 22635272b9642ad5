"""CSV and JSON lines, piece by piece: bytes as they come in, blocks of records with the line each starts in out; never
more than one piece in memory.

CSV is that of RFC 4180 in UTF-8, with or without a byte order mark. Semicolons or tabs may stand for the commas, and a
first line such as `sep=;`, which spreadsheets write, names any other separator. A record that cannot be read is handed
out with its problem, and reading continues in the line after it.

Spreadsheets run cells that begin like a formula, so an exported text that begins so gets an apostrophe before it, which
an import takes away again: `guard_cell` and `unguard_cell` (OWASP, "CSV Injection").
"""

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import Final, Literal, NamedTuple

from penstock.errors import Permanent

Format = Literal["csv", "jsonl"]
FORMATS: Final[tuple[Format, ...]] = ("csv", "jsonl")
MAX_CHARACTERS: Final = 1024 * 1024
"""Of a record; what is longer is a bad line."""
BLOCK_LINES: Final = 500
"""Handed out together, if there are as many: worth the work per block, and read before others have to wait for it."""
_DELIMITERS: Final = ",;\t"
_QUOTED: Final = re.compile(r'"[^"]*"?')
_SEPARATOR_LINE: Final = re.compile(r'"?sep=([^"\w\s]|\t)"?\r?\n?', re.IGNORECASE)
FORMULA_STARTS: Final = r"=+\-@\t\r\n＝＋－＠"
"""What begins a formula in a spreadsheet, in some languages in its wide form too; as it stands in the brackets of a
regular expression, here and in PostgreSQL.
"""
_FORMULA: Final = re.compile(f"'*[{FORMULA_STARTS}]")
_GUARDED: Final = re.compile(f"'+[{FORMULA_STARTS}]")
_NOT_UTF8: Final = re.compile("[\ud800-\udfff]")
_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
NOT_UTF8: Final = "it is not UTF-8 text; save the file as UTF-8"
_TOO_LONG: Final = f"it is longer than {MAX_CHARACTERS} characters"
_ENDLESS: Final = f"it does not end within {MAX_CHARACTERS} characters; is a quote left open?"
_OPEN: Final = "unexpected end of data"
_PLAIN: Final = (
    (_OPEN, "a quote that is opened in it is not closed"),
    (
        "expected after",
        "a closing quote is followed by something other than the next cell; inside quotes, a quote is written twice",
    ),
    (
        "new-line character",
        "it holds a carriage return outside of quotes; lines end with a line feed, with or without one before it",
    ),
    ("field limit", _ENDLESS),
)
"""What the csv module says, in words for who made the file."""

csv.field_size_limit(MAX_CHARACTERS)  # the module knows no limit per reader; its own is an eighth of this


class Block(NamedTuple):
    """Records that follow each other: the line each starts in, and its cells: those of a row of CSV, or one text of
    JSON. `size` is their length in characters.

    With a `problem` it is a single record, without cells, that cannot be used.
    """

    lines: Sequence[int]
    cells: list[list[str]]
    size: int = 0
    problem: str | None = None

    def part(self, first: int, end: int | None = None) -> "Block":
        """Some of the records, by position."""
        lines = self.lines[first:end]
        return self._replace(
            lines=lines, cells=self.cells[first:end], size=self.size * len(lines) // max(len(self.lines), 1)
        )


class Lines:
    """Bytes as lines. Bytes that are not UTF-8 become lone surrogates, so that their record can be named."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._start = b""
        self._rest = ""
        self._is_too_long = False

    def feed(self, chunk: bytes) -> list[str | None]:
        """The lines that end in this piece, with their ends; None: longer than MAX_CHARACTERS. Raises Permanent for
        UTF-16.
        """
        if len(self._start) < 2:
            self._start += chunk[:2]
            if self._start[:2] in _UTF16_MARKS:
                raise Permanent(f"the file cannot be read: {NOT_UTF8}", kind="encoding")
        *complete, self._rest = (self._rest + self._decoder.decode(chunk)).split("\n")
        lines: list[str | None] = [f"{text}\n" for text in complete]
        if complete and (self._is_too_long or len(max(complete, key=len)) >= MAX_CHARACTERS):
            lines = [None if len(text) >= MAX_CHARACTERS else f"{text}\n" for text in complete]
            if self._is_too_long:
                lines[0], self._is_too_long = None, False
        if len(self._rest) > MAX_CHARACTERS:
            self._rest, self._is_too_long = "", True
        return lines

    def finish(self) -> list[str | None]:
        """The last line, if it does not end with a line break."""
        text = self._rest + self._decoder.decode(b"", True)
        if self._is_too_long or len(text) > MAX_CHARACTERS:
            return [None]
        return [text] if text else []


class JsonRecords:
    """JSON lines: one text per line that is not blank; what is in it is for the caller to read."""

    def __init__(self) -> None:
        self._lines = Lines()
        self._number = 1

    def feed(self, chunk: bytes) -> Iterator[Block]:
        """The records that end in this piece. Raises Permanent for UTF-16."""
        yield from self._read(self._lines.feed(chunk))

    def finish(self) -> Iterator[Block]:
        """What is left."""
        yield from self._read(self._lines.finish())

    def _read(self, lines: list[str | None]) -> Iterator[Block]:
        numbers, texts = list[int](), list[str]()
        for number, text in enumerate(lines, self._number):
            if text is not None and text.strip():
                numbers.append(number)
                texts.append(text)
            if text is None or len(texts) == BLOCK_LINES:
                yield from _as_blocks(numbers, texts, [[one] for one in texts])
                numbers, texts = [], []
            if text is None:
                yield _unusable(number, _TOO_LONG)
        yield from _as_blocks(numbers, texts, [[one] for one in texts])
        self._number += len(lines)


def _as_blocks(lines: Sequence[int], texts: list[str], cells: list[list[str]]) -> Iterator[Block]:
    """Records whose texts are these, as one block; by themselves where some are not UTF-8."""
    whole = "".join(texts)
    if whole.isascii() or not _NOT_UTF8.search(whole):
        if texts:
            yield Block(lines, cells, len(whole))
        return
    for line, text, found in zip(lines, texts, cells, strict=True):
        yield _unusable(line, NOT_UTF8) if _NOT_UTF8.search(text) else Block([line], [found], len(text))


def _unusable(line: int, problem: str) -> Block:
    return Block([line], [[]], problem=problem)


def guard_cell(cell: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula; exports do the same in SQL."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unguard_cell(cell: str) -> str:
    """The text that `guard_cell` made this cell of."""
    return cell[1:] if cell[:1] == "'" and _GUARDED.match(cell) else cell


class CsvRecords:
    """CSV: one record per row, the header's the first. Blank lines are left out, and so are those of nothing but
    separators: spreadsheets write them for rows that were cleared.
    """

    def __init__(self) -> None:
        self._lines = Lines()
        self._waiting: list[str | None] = []
        self._number = 1
        """Of the first line that waits."""
        self._delimiter: str | None = None
        self._is_ended = False

    def feed(self, chunk: bytes) -> Iterator[Block]:
        """The records that end in this piece. Raises Permanent for UTF-16."""
        self._waiting += self._lines.feed(chunk)
        yield from self._read()

    def finish(self) -> Iterator[Block]:
        """What is left."""
        self._waiting += self._lines.finish()
        self._is_ended = True
        yield from self._read()

    def _read(self) -> Iterator[Block]:
        self._delimiter = self._delimiter or self._find_delimiter()
        if self._delimiter is None:
            return
        waiting, at, most = self._waiting, 0, BLOCK_LINES
        while at < len(waiting):
            lines = _until_none(waiting[at : at + most])
            if not lines:
                yield _unusable(self._number + at, _TOO_LONG)
                at += 1
                continue
            rows, ends, problem = self._parse(lines)
            if rows:
                yield from _pack(self._number + at, lines, rows, ends)
            reached = at + len(lines)
            at, most = at + (ends[-1] if ends else 0), BLOCK_LINES
            if problem is not None and _OPEN in problem:
                problem = self._judge_open(at, reached)
                if problem is None and reached == len(waiting):
                    break
                if problem is None:
                    most = 2 * len(lines)
            if problem is not None:
                # The first line of what cannot be read; the others are tried again as records of their own.
                yield _unusable(self._number + at, _plain(problem))
                at += 1
        self._number += at
        del waiting[:at]

    def _judge_open(self, at: int, reached: int) -> str | None:
        """What is wrong with the record that begins at this place and does not end in the lines before `reached`; None:
        nothing, if further lines end it.
        """
        if reached < len(self._waiting):
            return None if self._waiting[reached] is not None else _ENDLESS
        if self._is_ended:
            return _OPEN
        return None if sum(len(line or "") for line in self._waiting[at:]) <= MAX_CHARACTERS else _ENDLESS

    def _parse(self, lines: list[str]) -> tuple[list[list[str]], list[int], str | None]:
        """Rows, how many of the lines are read behind each, and what is wrong with what follows them."""
        assert self._delimiter is not None
        rows, ends = list[list[str]](), list[int]()
        # Strict, so that a quote that is out of place is a problem of its line, and not of all that follow.
        reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
        try:
            for row in reader:
                rows.append(row)
                ends.append(reader.line_num)
        except csv.Error as error:
            return rows, ends, str(error)
        return rows, ends, None

    def _find_delimiter(self) -> str | None:
        """The separator that the first line names, or else uses most; None until that line is there."""
        blank = 0
        while blank < len(self._waiting) and (line := self._waiting[blank]) is not None and not line.strip():
            blank += 1
        self._leave_out(blank)
        if not self._waiting:
            return None
        head = self._waiting[0] or ""
        if (named := _SEPARATOR_LINE.fullmatch(head)) is not None:
            self._leave_out(1)
            return named[1]
        bare = _QUOTED.sub("", head)
        return max(_DELIMITERS, key=bare.count)

    def _leave_out(self, count: int) -> None:
        del self._waiting[:count]
        self._number += count


def _until_none(lines: list[str | None]) -> list[str]:
    if None in lines:
        lines = lines[: lines.index(None)]
    return [line for line in lines if line is not None]


def _plain(problem: str) -> str:
    return next((plain for theirs, plain in _PLAIN if theirs in problem), problem)


def _pack(number: int, lines: list[str], rows: list[list[str]], ends: list[int]) -> Iterator[Block]:
    """The rows without blank ones; `lines`, of which the first has this number, are those that they are made of."""
    starts, texts = [0, *ends[:-1]], lines[: len(ends)]
    if len(ends) != ends[-1]:
        texts = ["".join(lines[start:end]) for start, end in zip(starts, ends, strict=True)]
    numbers = [number + start for start in starts]
    if not all(map(any, rows)):
        kept = [bool(row) and (any(row) or '"' in lines[start]) for row, start in zip(rows, starts, strict=True)]
        numbers, texts, rows = list(compress(numbers, kept)), list(compress(texts, kept)), list(compress(rows, kept))
    yield from _as_blocks(numbers, texts, rows)


def read_records(format: Format) -> CsvRecords | JsonRecords:
    """A reader for a file in that format."""
    return CsvRecords() if format == "csv" else JsonRecords()
