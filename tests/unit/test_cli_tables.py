"""Tables in a narrow terminal: nothing is wrapped in the middle of a word, and an id that is shown can be looked up."""

from datetime import UTC, datetime

import pytest
from rich.measure import Measurement
from rich.table import Table

from penstock.cli.output import VisibleConsole, make_table, print_table, show_time
from penstock.cli.tables import fit_table, make_shortener

FIRST = "0190a5f2-7c00-8a11-9b22-0123456789ab"
SAME_SECOND = "0190a5f2-7c01-8a11-9b22-0123456789ab"
SAME_MOMENT = "0190a5f2-7c00-8a12-9b22-0123456789ab"
AT = datetime(2030, 1, 31, 9, 0, tzinfo=UTC)


def _measure(table: Table) -> int:
    console = VisibleConsole(width=80)
    return Measurement.get(console, console.options.update(max_width=1000), table).maximum


def _print(table: Table, width: int) -> list[str]:
    console = VisibleConsole(width=width)
    with console.capture() as capture:
        console.print(fit_table(table, width, _measure))
    return capture.get().splitlines()


def _make_runs() -> Table:
    columns = ("id", "workflow", "environment", "state", "depth", "created", "due")
    table = make_table(*columns, numbers=("depth",), droppable=("due", "depth", "environment", "created"))
    for id in (FIRST, SAME_SECOND):
        table.add_row(id, "send_receipt", "development", "[green]succeeded[/]", "3", show_time(AT), show_time(AT))
    return table


def test_a_table_that_fits_is_left_as_it_is() -> None:
    head, first, _ = _print(_make_runs(), 200)
    assert head.split() == ["id", "workflow", "environment", "state", "depth", "created", "due"]
    assert FIRST in first


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120])
def test_each_row_is_one_line_of_whole_words(width: int) -> None:
    lines = _print(_make_runs(), width)
    assert len(lines) == 3
    assert all(len(line) <= width for line in lines)
    assert lines[1].split()[:2] == ["0190a5f2-7c00", "send_receipt"]
    assert "succeeded" in lines[1]


def test_columns_are_left_out_by_importance() -> None:
    assert _print(_make_runs(), 80)[0].split() == ["id", "workflow", "environment", "state", "depth", "created"]
    assert _print(_make_runs(), 60)[0].split() == ["id", "workflow", "state", "created"]


def test_what_cannot_be_left_out_is_cut_with_an_ellipsis() -> None:
    table = make_table("name", "value")
    table.add_row("name", "x" * 100)
    _, line = _print(table, 40)
    assert len(line) <= 40
    assert line.endswith("…")


def test_ids_are_shortened_no_further_than_they_differ() -> None:
    assert make_shortener([FIRST, SAME_SECOND])(f"run {FIRST}") == "run 0190a5f2-7c00"
    assert make_shortener([FIRST, SAME_MOMENT])(FIRST) == FIRST[:18]
    assert make_shortener([FIRST])(SAME_MOMENT) == "0190a5f2-7c00"


AUDIT = ("at", "actor", "action", "what", "before", "after")


def _make_audit() -> Table:
    table = make_table(*AUDIT, droppable=("before", "after"), elastic=("actor", "what", "before", "after"))
    table.add_row(show_time(AT), "cli:root", "settings.set", "", '{"depth_limit": 10}' * 9, '{"depth_limit": 20}' * 9)
    return table


@pytest.mark.parametrize(("width", "left_out"), [(140, ()), (100, ()), (80, ("before",)), (60, ("before", "after"))])
def test_long_texts_are_cut_before_their_columns_are_left_out(width: int, left_out: tuple[str, ...]) -> None:
    head, row = _print(_make_audit(), width)
    assert head.split() == [column for column in AUDIT if column not in left_out]
    assert len(row) <= width
    assert row.split()[:4] == ["2030-01-31", "09:00:00", "cli:root", "settings.set"]


def test_a_table_that_can_leave_out_nothing_cuts_its_widest_columns() -> None:
    table = make_table("name", "first", "second")
    table.add_row("name", "x" * 90, "y" * 30)
    _, line = _print(table, 60)
    assert line.startswith("name  xxx")
    assert "y" * 24 in line
    assert len(line) <= 60


@pytest.mark.parametrize("empty", [("",), ("", "note")])
def test_what_is_piped_is_one_line_per_row_though_columns_are_empty(
    empty: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    table = make_table("due", "what", "id", "workflow", "depth", "items", *empty)
    table.add_row(show_time(AT), "run", FIRST, "ask", "0", "-", *("" for _ in empty))
    print_table(table)
    _, *rows = capfd.readouterr().out.splitlines()
    assert [row.split() for row in rows] == [["2030-01-31", "09:00:00.000Z", "run", FIRST, "ask", "0", "-"]]
