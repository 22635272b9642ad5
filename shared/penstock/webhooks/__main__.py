"""Writes the tables of providers into the page that the command line names."""

import sys
from pathlib import Path

from penstock.webhooks.page import replace_tables


def main() -> None:
    """Replace the tables of that page."""
    page = Path(sys.argv[1])
    page.write_text(replace_tables(page.read_text()))


main()
