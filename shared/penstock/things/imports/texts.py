"""Values of things as the texts that PostgreSQL reads them from, and rows of such texts, column by column.

Rows do not pass through JSON on their way into a table: to parse it takes PostgreSQL longer than to store them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

from pydantic import JsonValue

from penstock import exact_json
from penstock.definitions.models import FieldType, ScalarType
from penstock.domain.ids import new_thing_ids

Texts = Sequence[str | None]
RECORD_COLUMNS: Final = frozenset({"_id", "created_by", "created_date"})
"""Those of who made a thing and when, which an upsert leaves as they are."""
_SPECIAL: Final = ("\\", "\t", "\n", "\r")
_ESCAPES: Final = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_QUOTES: Final = str.maketrans({"\\": r"\\", '"': r"\""})
_WRITTEN_AS_JSON: Final = frozenset({ScalarType.ADDRESS, ScalarType.DATE_RANGE, ScalarType.ANY})
"""PostgreSQL reads a range with both ends in quotes as JSON writes a list of two texts."""


class Piece(NamedTuple):
    """Rows that name the same columns: the line each starts in, and a text for each row by column; None: empty."""

    lines: Sequence[int]
    columns: Mapping[str, Texts]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that are written together: the line each starts in, a text for each row by column, and which columns of the
    thing's fields each row names, sorted.
    """

    lines: list[int]
    columns: dict[str, list[str | None]]
    shapes: list[tuple[str, ...]]


def gather(pieces: Sequence[Piece], *, created_by: str | None) -> Rows:
    """The rows of all pieces, in order; those without an id get one, those that name no creator have this one."""
    names = {*RECORD_COLUMNS, *(name for piece in pieces for name in piece.columns)}
    columns: dict[str, list[str | None]] = {name: [] for name in sorted(names)}
    rows = Rows([], columns, [])
    for piece in pieces:
        count = len(piece.lines)
        rows.lines.extend(piece.lines)
        rows.shapes.extend([tuple(sorted(piece.columns.keys() - RECORD_COLUMNS))] * count)
        for name, column in columns.items():
            default = created_by if name == "created_by" else None
            column.extend(piece.columns[name] if name in piece.columns else [default] * count)
    ids = new_thing_ids(len(rows.lines))
    columns["_id"] = [given or new for given, new in zip(columns["_id"], ids, strict=True)]
    return rows


def compile_writer(type: FieldType) -> Callable[[JsonValue], str]:
    """What makes of a value in the form of `type`, not null, the text that a column of its type is read from."""
    if type.name in _WRITTEN_AS_JSON:
        return _write_json
    write = _write_boolean if type.name == ScalarType.BOOLEAN else str
    return partial(_write_list, write) if type.is_list else write


def _write_boolean(value: JsonValue) -> str:
    return "true" if value else "false"


def _write_json(value: JsonValue) -> str:
    return exact_json.dumps_storable(value).decode()


def _write_list(write: Callable[[JsonValue], str], value: JsonValue) -> str:
    """An array, each item in quotes ("Array Input and Output Syntax" in PostgreSQL's manual)."""
    assert isinstance(value, list)
    items = [f'"{write(item).translate(_QUOTES)}"' for item in value]
    return f"{{{','.join(items)}}}"


def copy_text(columns: Iterable[Texts]) -> bytes:
    """Rows in the text format of COPY ("File Formats" in PostgreSQL's manual): a line each, and tabs between cells."""
    lines = "\n".join(map("\t".join, zip(*map(_escape, columns), strict=True)))
    return f"{lines}\n".encode()


def _escape(texts: Texts) -> Sequence[str]:
    """The texts with what COPY would take for its own signs as it is written there."""
    whole = "".join(filter(None, texts))
    if any(sign in whole for sign in _SPECIAL):
        return [r"\N" if text is None else text.translate(_ESCAPES) for text in texts]
    return [r"\N" if text is None else text for text in texts]
