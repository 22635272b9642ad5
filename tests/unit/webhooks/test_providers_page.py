"""The page about webhooks: its tables are those of the code, and its sources are sound."""

from pathlib import Path

from penstock.webhooks.page import BEGIN, END, render_tables, replace_tables
from penstock.webhooks.provider_table import PROVIDERS

PAGE = Path(__file__).parents[3] / "docs" / "webhooks.md"


def test_the_tables_are_those_of_the_code() -> None:
    page = PAGE.read_text()
    assert page.count(BEGIN) == page.count(END) == 1
    assert replace_tables(page) == page, "run `python -m penstock.webhooks docs/webhooks.md`"


def test_the_tables_have_a_row_for_each_scheme() -> None:
    rows = render_tables().splitlines()
    for scheme in PROVIDERS:
        assert sum(row.startswith(f"| `{scheme}` |") for row in rows) == 2
