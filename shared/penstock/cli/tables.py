"""How tables and ids are fitted to the width of a terminal: nothing is wrapped in the middle of a word."""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from rich.console import RenderableType
from rich.table import Column, Table

_ID: Final = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_TIME: Final = re.compile(r"\b(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.\d{3}Z")
_MIN_ID: Final = 13
"""Eight characters are enough to be looked up, but all runs of one minute begin alike; 13 name the millisecond."""

Measure = Callable[[Table], int]


class FittedTable(Table):
    """A table that knows which of its columns may be left out in a narrow terminal, the least important first."""

    droppable: Sequence[str] = ()


def fit_table(table: Table, width: int, measure: Measure) -> Table:
    """The table, or one that is at most `width` wide if it can be: ids and times are shortened, then columns left out,
    then long cells cut with an ellipsis. `measure` determines how wide a table would like to be.
    """
    if measure(table) <= width:
        return table
    names, rows = [str(column.header) for column in table.columns], _read_rows(table)
    shorten = make_shortener(cell for row in rows for cell in row if isinstance(cell, str))
    rows = [[shorten(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    left_out: set[str] = set()
    fitted = _build(table, rows, names, left_out)
    for name in table.droppable if isinstance(table, FittedTable) else ():
        if measure(fitted) <= width:
            break
        left_out.add(name)
        fitted = _build(table, rows, names, left_out)
    return fitted


def make_shortener(texts: Iterable[str]) -> Callable[[str], str]:
    """Shortens the ids in a text to as many characters as tell all ids in `texts` apart, and its times to seconds."""
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
