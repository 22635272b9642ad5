"""CSV and JSON lines, piece by piece: bytes as they come in, records with the line they start in out; never more than
one piece in memory.

CSV is that of RFC 4180 in UTF-8, with or without a byte order mark. Semicolons or tabs may stand for the commas, and a
first line such as `sep=;`, which spreadsheets write, names any other separator. A record that cannot be read is handed
out with its problem, and reading continues in the line after it.

Spreadsheets run cells that begin like a formula, so an exported text that begins so gets an apostrophe before it, which
an import takes away again: `guard_cell` and `unguard_cell` (OWASP, "CSV Injection").
"""

import codecs
import csv
import re
from collections import deque
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from penstock.errors import Permanent

Format = Literal["csv", "jsonl"]
FORMATS: Final[tuple[Format, ...]] = ("csv", "jsonl")
MAX_CHARACTERS: Final = 1024 * 1024
"""Of a record; what is longer is a bad line."""
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
_ENDLESS: Final = f"it does not end within {MAX_CHARACTERS} characters; is a quote left open?"
_PLAIN: Final = (
    ("unexpected end of data", "a quote that is opened in it is not closed"),
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


class Line(NamedTuple):
    """A line with its end, and its number from 1. None: longer than MAX_CHARACTERS."""

    number: int
    text: str | None


class Record(NamedTuple):
    """What starts in line `line`: the cells of a row of CSV, or one text of JSON; with a `problem` it cannot be used.

    `size` is its length in characters.
    """

    line: int
    cells: list[str]
    problem: str | None = None
    size: int = 0


class Lines:
    """Bytes as lines. Bytes that are not UTF-8 become lone surrogates, so that their record can be named."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._start = b""
        self._rest = ""
        self._is_too_long = False
        self._number = 0

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """The lines that end in this piece. Raises Permanent for UTF-16."""
        if len(self._start) < 2:
            self._start += chunk[:2]
            if self._start[:2] in _UTF16_MARKS:
                raise Permanent(f"the file cannot be read: {NOT_UTF8}", kind="encoding")
        *complete, rest = (self._rest + self._decoder.decode(chunk)).split("\n")
        self._rest = rest
        for text in complete:
            yield self._line(f"{text}\n")
        if len(self._rest) > MAX_CHARACTERS:
            self._rest, self._is_too_long = "", True

    def finish(self) -> Iterator[Line]:
        """The last line, if it does not end with a line break."""
        text = self._rest + self._decoder.decode(b"", True)
        if text or self._is_too_long:
            yield self._line(text)

    def _line(self, text: str) -> Line:
        self._number += 1
        is_too_long, self._is_too_long = self._is_too_long or len(text) > MAX_CHARACTERS, False
        return Line(self._number, None if is_too_long else text)


class JsonRecords:
    """JSON lines: one text per line that is not blank; what is in it is for the caller to read."""

    def __init__(self) -> None:
        self._lines = Lines()

    def feed(self, chunk: bytes) -> Iterator[Record]:
        """The records that end in this piece. Raises Permanent for UTF-16."""
        yield from _as_texts(self._lines.feed(chunk))

    def finish(self) -> Iterator[Record]:
        """What is left."""
        yield from _as_texts(self._lines.finish())


def _as_texts(lines: Iterator[Line]) -> Iterator[Record]:
    for number, text in lines:
        if text is None:
            yield _too_long(number)
        elif text.strip():
            yield Record(number, [text], _problem_of(text), len(text))


def guard_cell(cell: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula; exports do the same in SQL."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unguard_cell(cell: str) -> str:
    """The text that `guard_cell` made this cell of."""
    return cell[1:] if cell[:1] == "'" and _GUARDED.match(cell) else cell


class _MoreNeeded(Exception):
    """The lines at hand end in the middle of a record."""


class _Source:
    """The lines that the csv module takes; those of the record under way can be given back."""

    def __init__(self) -> None:
        self.waiting: deque[Line] = deque()
        self.taken: list[Line] = []
        self.is_ended = False

    def __iter__(self) -> "_Source":
        return self

    def __next__(self) -> str:
        if not self.waiting:
            if self.is_ended:
                raise StopIteration
            raise _MoreNeeded
        if self.waiting[0].text is None and self.taken:
            raise csv.Error(_ENDLESS)
        line = self.waiting.popleft()
        self.taken.append(line)
        return line.text if line.text is not None else ""

    def give_back(self, first: int) -> None:
        """Have all lines of this record after the first few read again."""
        self.waiting.extendleft(reversed(self.taken[first:]))
        self.taken.clear()


class CsvRecords:
    """CSV: one record per row, the header's the first. Blank lines are left out, and so are those of nothing but
    separators: spreadsheets write them for rows that were cleared.
    """

    def __init__(self) -> None:
        self._lines = Lines()
        self._source = _Source()
        self._delimiter: str | None = None

    def feed(self, chunk: bytes) -> Iterator[Record]:
        """The records that end in this piece. Raises Permanent for UTF-16."""
        self._source.waiting.extend(self._lines.feed(chunk))
        yield from self._read()

    def finish(self) -> Iterator[Record]:
        """What is left."""
        self._source.waiting.extend(self._lines.finish())
        self._source.is_ended = True
        yield from self._read()

    def _read(self) -> Iterator[Record]:
        source = self._source
        self._delimiter = self._delimiter or self._find_delimiter()
        if self._delimiter is None:
            return
        # Strict, so that a quote that is out of place is a problem of its line, and not of all that follow.
        reader = csv.reader(source, delimiter=self._delimiter, strict=True)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except _MoreNeeded:
                if sum(len(line.text or "") for line in source.taken) <= MAX_CHARACTERS:
                    source.give_back(0)
                    return
                yield self._skip(_ENDLESS)
            except csv.Error as error:
                yield self._skip(next((plain for theirs, plain in _PLAIN if theirs in str(error)), str(error)))
            else:
                if (record := self._take(cells)) is not None:
                    yield record

    def _find_delimiter(self) -> str | None:
        """The separator that the first line names, or else uses most; None until that line is there."""
        waiting = self._source.waiting
        while waiting and waiting[0].text is not None and not waiting[0].text.strip():
            waiting.popleft()
        if not waiting:
            return None
        head = waiting[0].text or ""
        if (named := _SEPARATOR_LINE.fullmatch(head)) is not None:
            waiting.popleft()
            return named[1]
        bare = _QUOTED.sub("", head)
        return max(_DELIMITERS, key=bare.count)

    def _take(self, cells: list[str]) -> Record | None:
        taken = self._source.taken
        number, text = taken[0]
        if text is None:
            taken.clear()
            return _too_long(number)
        if not any(cells) and '"' not in text:
            taken.clear()
            return None
        whole = text if len(taken) == 1 else "".join([line.text or "" for line in taken])
        taken.clear()
        return Record(number, cells, _problem_of(whole), len(whole)) if cells else None

    def _skip(self, problem: str) -> Record:
        """The first line of what cannot be read; the others are tried again as records of their own."""
        number = self._source.taken[0].number
        self._source.give_back(1)
        return Record(number, [], problem)


def read_records(format: Format) -> CsvRecords | JsonRecords:
    """A reader for a file in that format."""
    return CsvRecords() if format == "csv" else JsonRecords()


def _problem_of(text: str) -> str | None:
    return None if text.isascii() or not _NOT_UTF8.search(text) else NOT_UTF8


def _too_long(number: int) -> Record:
    return Record(number, [], f"it is longer than {MAX_CHARACTERS} characters")
