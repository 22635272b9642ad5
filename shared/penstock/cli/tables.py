"""How tables and ids are fitted to the width of a terminal: nothing is wrapped in the middle of a word."""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from rich.console import RenderableType
from rich.table import Column, Table
from rich.text import Text

_ID: Final = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_TIME: Final = re.compile(r"\b(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.\d{3}Z")
_MIN_ID: Final = 13
"""Eight characters are enough to be looked up, but all runs of one minute begin alike; 13 name the millisecond."""

_MIN_CUT: Final = 16
"""A text that is cut shorter than this says too little to be worth its column."""
_MIN_CELL: Final = 4

Measure = Callable[[Table], int]


class FittedTable(Table):
    """A table that knows which of its columns may be left out in a narrow terminal, the least important first, and in
    which the end of a long text may be cut off.
    """

    droppable: Sequence[str] = ()
    elastic: Sequence[str] = ()


def fit_table(table: Table, width: int, measure: Measure) -> Table:
    """The table, or one that is at most `width` wide if it can be: ids and times are shortened, then long texts cut
    with an ellipsis, then columns left out. `measure` determines how wide a table would like to be.
    """
    if measure(table) <= width:
        return table
    names, rows = [str(column.header) for column in table.columns], _read_rows(table)
    shorten = make_shortener(cell for row in rows for cell in row if isinstance(cell, str))
    rows = [[shorten(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    droppable, elastic = (table.droppable, table.elastic) if isinstance(table, FittedTable) else ((), ())
    fitted = _build(table, rows, names, ())
    for count in range(len(droppable) + 1):
        fitted = _build(table, rows, names, droppable[:count])
        if _cut(fitted, measure(fitted) - width, elastic, _MIN_CUT):
            return fitted
    _cut(fitted, measure(fitted) - width, names, _MIN_CELL)
    return fitted


def _cut(table: Table, excess: int, elastic: Collection[str], shortest: int) -> bool:
    """Make the widest of the `elastic` columns narrower until `excess` characters are saved; False, and nothing is
    changed, when that would leave fewer than `shortest` in one.
    """
    widths = {column.header: measure_cells(column) for column in table.columns if column.header in elastic}
    for _ in range(excess):
        widest = max(widths, key=widths.__getitem__, default=None)
        if widest is None or widths[widest] <= shortest:
            return False
        widths[widest] -= 1
    for column in table.columns:
        if excess > 0 and column.header in widths:
            column.width = widths[column.header]
    return True


def measure_cells(column: Column) -> int:
    """The width of the widest of its cells, its head among them, in characters of a terminal."""
    cells = (cell if isinstance(cell, Text) else Text.from_markup(str(cell)) for cell in (column.header, *column.cells))
    return max(cell.cell_len for cell in cells)


def make_shortener(texts: Iterable[str]) -> Callable[[str], str]:
    """Shortens the ids in a text to the characters that distinguish all ids in `texts`, and its times to seconds."""
    ids = {found for text in texts for found in _ID.findall(text)}
    length = next((size for size in range(_MIN_ID, 36) if len({id[:size] for id in ids}) == len(ids)), 36)

    def shorten(text: str) -> str:
        return _TIME.sub(r"\1", _ID.sub(lambda found: found[0][:length], text))

    return shorten


def _read_rows(table: Table) -> list[list[RenderableType]]:
    return [list(row) for row in zip(*(column.cells for column in table.columns), strict=True)]


def _build(
    table: Table, rows: Sequence[Sequence[RenderableType]], names: Sequence[str], left_out: Collection[str]
) -> Table:
    kept = [number for number, name in enumerate(names) if name not in left_out]
    fitted = FittedTable(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for number in kept:
        column: Column = table.columns[number]
        fitted.add_column(column.header, justify=column.justify, overflow="ellipsis", no_wrap=True)
    for row in rows:
        fitted.add_row(*(row[number] for number in kept))
    return fitted
