"""`penstock up`: everything in one process."""

import typer


def add_commands(program: typer.Typer) -> None:
    """Add `up`."""
