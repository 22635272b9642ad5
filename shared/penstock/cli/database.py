"""`penstock migrate`: the database's tables."""

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer

from penstock.cli.access import open_installation
from penstock.cli.output import AsJson, print_json, say
from penstock.db.migrations import find_pending, list_migrations
from penstock.db.migrations import migrate as apply_migrations

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Work on the `penstock up` that runs on this directory.", show_default=False),
]
_EXAMPLES: Final = (
    "Examples:\n\n  penstock migrate\n\n  penstock migrate --check   exits with 1 when something is pending"
)


def add_commands(program: typer.Typer) -> None:
    """Add `migrate`."""
    program.command("migrate", epilog=_EXAMPLES, rich_help_panel="Operate")(migrate)


def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 1 when the database is not up to date.")
    ] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Bring the database up to date. Safe to run while services are running, and from several places at once."""
    names = asyncio.run(_find_pending(data) if check else _migrate(data))
    if as_json:
        print_json({"pending" if check else "applied": names})
    elif check:
        say("\n".join(f"pending  {name}" for name in names) or f"up to date ({len(list_migrations())} migrations)")
    else:
        say("\n".join(f"applied  {name}" for name in names) or f"up to date ({len(list_migrations())} migrations)")
    if check and names:
        raise typer.Exit(1)


async def _find_pending(data: Path | None) -> list[str]:
    async with open_installation(data) as database:
        return [migration.name for migration in await find_pending(database)]


async def _migrate(data: Path | None) -> list[str]:
    async with open_installation(data) as database:
        return await apply_migrations(database)
