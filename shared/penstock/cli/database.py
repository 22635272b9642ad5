"""`penstock migrate`: the database's tables; `penstock provision`: who may do what to them, and in the broker."""

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer

from penstock.cli.access import open_installation
from penstock.cli.output import AsJson, print_json, say
from penstock.db.migrations import find_pending, list_migrations
from penstock.db.migrations import migrate as apply_migrations
from penstock.provisioning import provision as run_provision
from penstock.provisioning.settings import ProvisionSettings
from penstock.settings import read_settings

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Work on the `penstock up` that runs on this directory.", show_default=False),
]
_EXAMPLES: Final = (
    "Examples:\n\n  penstock migrate\n\n  penstock migrate --check   exits with 1 when something is pending"
)
_PROVISION_EXAMPLES: Final = (
    "Examples:\n\n  penstock provision\n\n"
    "Reads the URLs that the services will have from PENSTOCK_INGRESS_DATABASE_URL, PENSTOCK_INGRESS_AMQP_URL and the "
    "same of SCHEDULER and EXECUTOR; what is not set is left as it is. Works as PENSTOCK_DATABASE_URL, which owns the "
    "database and may create roles, and as the administrator in PENSTOCK_RABBITMQ_MANAGEMENT_URL."
)


def add_commands(program: typer.Typer) -> None:
    """Add `migrate` and `provision`."""
    program.command("migrate", epilog=_EXAMPLES, rich_help_panel="Operate")(migrate)
    program.command("provision", epilog=_PROVISION_EXAMPLES, rich_help_panel="Operate")(provision)


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


def provision(as_json: AsJson = False) -> None:
    """Give each service a database role and a broker user of its own, with no more rights than it needs.

    Run it again after a password has changed.
    """
    made = asyncio.run(run_provision(read_settings(ProvisionSettings)))
    if as_json:
        print_json({"database_users": made.database_users, "broker_users": made.broker_users})
        return
    lines = [f"database  {service:10} {user}" for service, user in made.database_users.items()]
    lines += [f"broker    {service:10} {user}" for service, user in made.broker_users.items()]
    say("\n".join(lines) or "no PENSTOCK_…_DATABASE_URL or PENSTOCK_…_AMQP_URL of a service is set; nothing was made")
