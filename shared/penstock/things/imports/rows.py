"""Rows of things from records of a file: which field each column or member is, and its value in the form that is
stored.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
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
from penstock.things.tabular import NOT_UTF8, Format, Record, unguard_cell
from penstock.things.values import SLUG, check_uniques, tidy_slug

Row = dict[str, JsonValue]
_ID: Final = FieldType("user")
"""Any type of things: the form of ids is the same."""
_MODIFIED: Final = "Modified Date"
_CREATOR: Final = "created_by"
_SURELY_SHORT: Final = 20
"""Characters of a unique text that need not be looked at more closely."""


class Column(NamedTuple):
    """A field to be written: the name of its column in the table, its type, and how its cells are read; no column: it
    is left out.
    """

    field: str
    column: str | None
    type: FieldType
    read: Callable[[str], JsonValue]


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
        columns = {known.name: known.column for known in (*BUILT_IN_FIELDS, *data_type.fields)}
        self._unique = {columns[name] for group in data_type.unique for name in group}

    @property
    def expects_header(self) -> bool:
        """Whether the next record is the header."""
        return self._is_csv and self._header is None

    def read_header(self, record: Record) -> None:
        """Take the names of the columns. Raises Permanent, naming the fields that there are."""
        if record.problem is not None or any("\x00" in cell for cell in record.cells):
            raise Permanent(
                f"the first line, which names the fields, cannot be read: {record.problem or NOT_UTF8}", kind="import"
            )
        header = []
        for position, cell in enumerate(record.cells, 1):
            name = unguard_cell(cell) if self._is_guarded else cell
            if not name.strip():
                raise Permanent(
                    f"column {position} has no name in the first line; it has to name a field", kind="import"
                )
            column = self._find(name.strip())
            if column in header:
                raise Permanent(f"the field {column.field!r} is named twice in the first line", kind="import")
            header.append(column)
        named = {column.field for column in header}
        if missing := [name for name in self._key if name not in named]:
            raise Permanent(
                f"the upsert by {' + '.join(self._key)} needs the column {missing[0]!r} in the first line",
                kind="import",
            )
        self._header = header

    def read(self, record: Record) -> Row:
        """The row, by column; empty cells are null. Raises ValueError with what is wrong with it."""
        if record.problem is not None:
            raise ValueError(record.problem)
        row = self._read_cells(record.cells) if self._is_csv else self._read_object(record.cells[0])
        if any(isinstance(text := row.get(column), str) and len(text) > _SURELY_SHORT for column in self._unique):
            try:
                check_uniques(self._data_type, row)
            except Permanent as error:
                raise ValueError(str(error)) from None
        return row

    def _read_cells(self, cells: list[str]) -> Row:
        assert self._header is not None
        if len(cells) < len(self._header) or any(cells[len(self._header) :]):
            raise ValueError(f"it has {len(cells)} cells, and the first line names {len(self._header)}")
        row: Row = {}
        for (name, target, _, read), cell in zip(self._header, cells, strict=False):
            if target is not None:
                text = unguard_cell(cell) if cell[:1] == "'" and self._is_guarded else cell
                try:
                    value = read(text) if text else None
                except ValueError as error:
                    raise ValueError(f"field {name!r}: {error}") from None
                row[target] = None if value == [] else value
        return row

    def _read_object(self, text: str) -> Row:
        try:
            values = exact_json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"it is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise ValueError(f"expected an object of fields and values, got {describe_type(values)}")
        row: Row = {}
        for name, value in values.items():
            column = self._members.get(name)
            if column is None:
                try:
                    column = self._members[name] = self._find(name)
                except Permanent as error:
                    raise ValueError(str(error)) from None
            if column.column is not None:
                row[column.column] = None if value is None else _coerce(column, value)
        return row

    def _find(self, name: str) -> Column:
        field = find_field(self._data_type, name)
        if field is None:
            known = [known.name for known in (*self._data_type.fields, *BUILT_IN_FIELDS)]
            near = did_you_mean(name, known)
            raise Permanent(
                f"type {self._data_type.name!r} has no field {name[:60]!r}{near}; known are {', '.join(known)}",
                kind="import",
            )
        kind = _ID if field.name == "_id" else field.type
        read = compile_text_reader(kind)
        if field.column == _CREATOR:
            read = partial(_read_creator, read)
        if field.name == SLUG.name:
            read = _read_slug
        return Column(field.name, None if field.name == _MODIFIED else field.column, kind, read)


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
