"""Columns of CSV as the texts that PostgreSQL reads, a block of lines at a time.

Cells that are alike are read once. Columns of plain texts, and of numbers as most programs write them, are checked as a
whole; only where such a check fails are their cells looked at one by one.
"""

import re
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final

from pydantic import JsonValue

from penstock.definitions.models import ScalarType
from penstock.storable import is_storable
from penstock.things.imports.texts import Texts
from penstock.things.tabular import unguard_cell

CellReader = Callable[[str], str | None]
"""The text of a cell that is not empty. Raises ValueError."""
ColumnReader = Callable[[Sequence[str]], tuple[Texts, Collection[str]]]
"""The texts of the cells of a column, None for those that cannot be read; and which cells these are."""
_PLAIN_NUMBERS: Final = re.compile(r"(?:(?:-?(?=[0-9.]{1,16}\n)[0-9]+(?:\.[0-9]+)?)?\n)*+")
"""A number of at most 15 digits is the same as decimal and as double; 16 digits make an integer of 64 bits."""
_ALL_GOOD: Final[Collection[str]] = frozenset()


def compile_cell(
    read: Callable[[str], JsonValue], write: Callable[[JsonValue], str], *, is_guarded: bool
) -> CellReader:
    """`read` and `write` for a cell; `is_guarded` takes away the apostrophe before what looks like a formula."""

    def read_cell(cell: str) -> str | None:
        value = read(unguard_cell(cell) if is_guarded else cell)
        return None if value is None or value == [] else write(value)

    return read_cell


def compile_column(kind: str, read_cell: CellReader, *, is_guarded: bool) -> ColumnReader:
    """How a column is read whose cells `read_cell` reads; `kind` is TEXT or NUMBER where it does nothing but check
    them.
    """
    if kind == ScalarType.TEXT:
        return partial(_read_texts, read_cell, is_guarded)
    if kind == ScalarType.NUMBER:
        return partial(_read_numbers, read_cell)
    return partial(_read_distinct, read_cell)


def _read_distinct(read_cell: CellReader, cells: Sequence[str]) -> tuple[Texts, Collection[str]]:
    known: dict[str, str | None] = {}
    bad = set[str]()
    for cell in set(cells):
        try:
            known[cell] = read_cell(cell) if cell else None
        except ValueError:
            known[cell] = None
            bad.add(cell)
    return [known[cell] for cell in cells], bad


def _read_texts(read_cell: CellReader, is_guarded: bool, cells: Sequence[str]) -> tuple[Texts, Collection[str]]:
    whole = "".join(cells)
    if not is_storable(whole) or (is_guarded and "'" in whole):
        return _read_distinct(read_cell, cells)
    return [cell or None for cell in cells], _ALL_GOOD


def _read_numbers(read_cell: CellReader, cells: Sequence[str]) -> tuple[Texts, Collection[str]]:
    whole = "\n".join(cells) + "\n"
    if whole.count("\n") != len(cells) or not _PLAIN_NUMBERS.fullmatch(whole):
        return _read_distinct(read_cell, cells)
    # A double has no zeros at its end, and what is read back has none.
    return [cell.rstrip("0").rstrip(".") if "." in cell else cell or None for cell in cells], _ALL_GOOD
