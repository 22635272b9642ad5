"""Rows of things from records of a file: which field each column or member is, and its value as the text that
PostgreSQL reads.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import compress
from typing import Final, NamedTuple

from pydantic import JsonValue

from penstock import exact_json
from penstock.definitions.fields import BUILT_IN_FIELDS, find_field
from penstock.definitions.models import DataType, FieldType
from penstock.definitions.values import coerce_value, compile_text_reader
from penstock.domain.callers import is_admin_user
from penstock.errors import Permanent
from penstock.expressions.language import describe_type
from penstock.expressions.tokens import did_you_mean
from penstock.things.imports.batches import BadLine
from penstock.things.imports.cells import ColumnReader, compile_cell, compile_column
from penstock.things.imports.texts import Piece, Texts, compile_writer
from penstock.things.tabular import NOT_UTF8, Block, Format, unguard_cell
from penstock.things.values import MAX_UNIQUE_BYTES, SLUG, check_uniques, tidy_slug

_ID: Final = FieldType("user")
"""Any type of things: the form of ids is the same."""
_MODIFIED: Final = "Modified Date"
_CREATOR: Final = "created_by"
_BYTES_OF_CHARACTER: Final = 4
"""At most, in UTF-8."""


class Column(NamedTuple):
    """A field to be written: the name of its column in the table, its type, and how a cell of it is read, and many at
    once; no column: it is left out.
    """

    field: str
    column: str | None
    type: FieldType
    read: Callable[[str], JsonValue]
    read_cells: ColumnReader


class RowReader:
    """Makes rows of records, the first of which is the header if the format has one. `key` are the fields of an
    upsert; `is_raw` takes an apostrophe that guards a cell of CSV for part of its text.
    """

    def __init__(self, data_type: DataType, format: Format, key: Sequence[str], *, is_raw: bool = False) -> None:
        self._data_type = data_type
        self._key = key
        self._is_csv = format == "csv"
        self._is_guarded = not is_raw
        self._header: list[Column] | None = None
        self._members: dict[str, Column] = {}
        self._writers: dict[str, Callable[[JsonValue], str]] = {}
        columns = {known.name: known.column for known in (*BUILT_IN_FIELDS, *data_type.fields)}
        self._unique = {columns[name] for group in data_type.unique for name in group}
        together = max((len(group) for group in data_type.unique), default=1)
        self._surely_short = MAX_UNIQUE_BYTES // together // _BYTES_OF_CHARACTER

    @property
    def expects_header(self) -> bool:
        """Whether the next record is the header."""
        return self._is_csv and self._header is None

    def read_header(self, cells: Sequence[str], problem: str | None) -> None:
        """Take the names of the columns. Raises Permanent, naming the fields that there are."""
        if problem is not None or any("\x00" in cell for cell in cells):
            raise Permanent(
                f"the first line, which names the fields, cannot be read: {problem or NOT_UTF8}", kind="import"
            )
        header: dict[str, Column] = {}
        for position, cell in enumerate(cells, 1):
            name = unguard_cell(cell) if self._is_guarded else cell
            if not name.strip():
                raise Permanent(
                    f"column {position} has no name in the first line; it has to name a field", kind="import"
                )
            column = self._find(name.strip())
            if column.field in header:
                raise Permanent(f"the field {column.field!r} is named twice in the first line", kind="import")
            header[column.field] = column
        if missing := [name for name in self._key if name not in header]:
            raise Permanent(
                f"the upsert by {' + '.join(self._key)} needs the column {missing[0]!r} in the first line",
                kind="import",
            )
        self._header = list(header.values())

    def read(self, block: Block) -> tuple[list[Piece], list[BadLine]]:
        """The rows that these records make, and what is wrong with the others."""
        if block.problem is not None:
            return [], [BadLine(line, block.problem) for line in block.lines]
        return self._read_columns(block) if self._is_csv else self._read_objects(block)

    def _read_columns(self, block: Block) -> tuple[list[Piece], list[BadLine]]:
        assert self._header is not None
        width = len(self._header)
        rows, suspects = block.cells, set[int]()
        if set(map(len, rows)) != {width}:
            suspects.update(index for index, row in enumerate(rows) if len(row) != width)
            rows = [[*row[:width], *[""] * (width - len(row))] for row in rows]
        columns: dict[str, Texts] = {}
        for column, cells in zip(self._header, zip(*rows, strict=True), strict=True):
            if column.column is not None:
                columns[column.column], bad = column.read_cells(cells)
                if bad:
                    suspects.update(index for index, cell in enumerate(cells) if cell in bad)
                if column.column in self._unique and len(max(cells, key=len)) > self._surely_short:
                    suspects.update(index for index, cell in enumerate(cells) if len(cell) > self._surely_short)
        return self._settle(block, columns, suspects) if suspects else ([Piece(block.lines, columns)], [])

    def _settle(
        self, block: Block, columns: Mapping[str, Texts], suspects: set[int]
    ) -> tuple[list[Piece], list[BadLine]]:
        """Read by themselves what was not right in its columns; it is bad, unless it looked so only at first glance."""
        texts, bad = {name: list(column) for name, column in columns.items()}, list[BadLine]()
        kept = [True] * len(block.cells)
        for index in sorted(suspects):
            try:
                for name, text in self._read_row(block.cells[index]).items():
                    texts[name][index] = text
            except ValueError as error:
                bad.append(BadLine(block.lines[index], str(error)))
                kept[index] = False
        lines = list(compress(block.lines, kept))
        good = {name: list(compress(column, kept)) for name, column in texts.items()}
        return [Piece(lines, good)] if lines else [], bad

    def _read_row(self, cells: list[str]) -> dict[str, str | None]:
        """The texts by column; empty cells are None. Raises ValueError with what is wrong with the row."""
        assert self._header is not None
        if len(cells) < len(self._header) or any(cells[len(self._header) :]):
            raise ValueError(f"it has {len(cells)} cells, and the first line names {len(self._header)}")
        values: dict[str, JsonValue] = {}
        for column, cell in zip(self._header, cells, strict=False):
            if column.column is not None:
                text = unguard_cell(cell) if self._is_guarded else cell
                try:
                    values[column.column] = column.read(text) if text else None
                except ValueError as error:
                    raise ValueError(f"field {column.field!r}: {error}") from None
        return self._write(values)

    def _read_objects(self, block: Block) -> tuple[list[Piece], list[BadLine]]:
        pieces, bad = list[tuple[list[int], dict[str, list[str | None]]]](), list[BadLine]()
        for line, (text,) in zip(block.lines, block.cells, strict=True):
            try:
                row = self._read_object(text)
            except ValueError as error:
                bad.append(BadLine(line, str(error)))
                continue
            if not pieces or pieces[-1][1].keys() != row.keys():
                pieces.append(([], {name: [] for name in row}))
            lines, columns = pieces[-1]
            lines.append(line)
            for name, value in row.items():
                columns[name].append(value)
        return [Piece(*piece) for piece in pieces], bad

    def _read_object(self, text: str) -> dict[str, str | None]:
        try:
            members = exact_json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"it is not JSON: {error}") from None
        if not isinstance(members, dict):
            raise ValueError(f"expected an object of fields and values, got {describe_type(members)}")
        values: dict[str, JsonValue] = {}
        for name, value in members.items():
            column = self._members.get(name)
            if column is None:
                try:
                    column = self._members[name] = self._find(name)
                except Permanent as error:
                    raise ValueError(str(error)) from None
            if column.column is not None:
                values[column.column] = None if value is None else _coerce(column, value)
        return self._write(values)

    def _write(self, row: Mapping[str, JsonValue]) -> dict[str, str | None]:
        """Values as texts, by column. Raises ValueError for texts that are too long to be unique."""
        if any(isinstance(text := row.get(name), str) and len(text) > self._surely_short for name in self._unique):
            try:
                check_uniques(self._data_type, row)
            except Permanent as error:
                raise ValueError(str(error)) from None
        return {
            name: None if value is None or value == [] else self._writers[name](value) for name, value in row.items()
        }

    def _find(self, name: str) -> Column:
        field = find_field(self._data_type, name)
        if field is None:
            known = [known.name for known in (*self._data_type.fields, *BUILT_IN_FIELDS)]
            near = did_you_mean(name, known)
            raise Permanent(
                f"type {self._data_type.name!r} has no field {name[:60]!r}{near}; known are {', '.join(known)}",
                kind="import",
            )
        type = _ID if field.name == "_id" else field.type
        read = compile_text_reader(type)
        write = self._writers[field.column] = compile_writer(type)
        kind = "" if type.is_list or type.options is not None else type.name
        if field.column == _CREATOR:
            read = partial(_read_creator, read)
        if field.name == SLUG.name:
            read, kind = _read_slug, ""
        read_cells = compile_column(
            kind, compile_cell(read, write, is_guarded=self._is_guarded), is_guarded=self._is_guarded
        )
        return Column(field.name, None if field.name == _MODIFIED else field.column, type, read, read_cells)


def _read_creator(read: Callable[[str], JsonValue], text: str) -> JsonValue:
    """A user's id, or that of the admins, which is in what is exported although there is no such thing."""
    return text if is_admin_user(text) else read(text)


def _read_slug(text: str) -> JsonValue:
    try:
        return tidy_slug(text)
    except Permanent as error:
        raise ValueError(str(error)) from None


def _coerce(column: Column, value: JsonValue) -> JsonValue:
    if column.column == _CREATOR and isinstance(value, str) and is_admin_user(value):
        return value
    try:
        coerced = coerce_value(column.type, value)
    except ValueError as error:
        raise ValueError(f"field {column.field!r}: {error}") from None
    if column.read is _read_slug:
        return _read_slug(str(coerced))
    return None if coerced == [] else coerced


def columns_of(data_type: DataType, names: Sequence[str]) -> tuple[str, ...]:
    """The columns of the fields of an upsert: `_id`, or together declared unique. Raises Permanent."""
    if not names or list(names) == ["_id"]:
        return tuple(names)
    if not any(set(names) == set(group) for group in data_type.unique):
        groups = " or ".join(" + ".join(group) for group in data_type.unique) or "none so far"
        raise Permanent(
            f"upsert by {' + '.join(names)}: type {data_type.name!r} needs these fields as one entry of `unique` (it "
            f"has: {groups})",
            kind="not_unique",
        )
    columns: Mapping[str, str] = {known.name: known.column for known in (*BUILT_IN_FIELDS, *data_type.fields)}
    return tuple(columns[name] for name in names)
