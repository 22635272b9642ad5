"""`penstock check` and `penstock deploy`: an app directory, from its problems to its place in an environment."""

import asyncio
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape

from penstock.cli.access import Environment, open_installation
from penstock.cli.database import Data
from penstock.cli.output import AsJson, console, print_json
from penstock.db import Connection
from penstock.db.migrations import find_pending
from penstock.definitions.loader import LoadResult, Problem, Severity, load_app
from penstock.definitions.models import App
from penstock.errors import ConfigurationError
from penstock.store.deployments import Deployment, DeploymentPlan
from penstock.store.deployments import deploy as store_deployment
from penstock.store.deployments import plan as plan_deployment

_CHECK_EXAMPLES: Final = """Examples:

  penstock check examples/quickstart

  penstock check . --json | jq -r '.problems[].message'

Problems go to standard output, one a line, with file and line. Errors prevent deploying; warnings do not. Exits with 1 on errors."""
_DEPLOY_EXAMPLES: Final = """Examples:

  penstock deploy . --environment development --plan   shows what would change

  penstock deploy . --environment live

Adds tables and columns; never drops any."""

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The app directory: where app.yaml is.", show_default=False)]
To = Annotated[Environment, typer.Option("--environment", "-e", help="Where to deploy.", show_default=False)]
Plan = Annotated[bool, typer.Option("--plan", help="Only show what would change.")]


def add_commands(program: typer.Typer) -> None:
    """Add `check` and `deploy`."""
    program.command("check", epilog=_CHECK_EXAMPLES, rich_help_panel="Build")(check)
    program.command("deploy", epilog=_DEPLOY_EXAMPLES, rich_help_panel="Build")(deploy)


def check(directory: Directory, as_json: AsJson = False) -> None:
    """Check an app: everything that is wrong with it, and recursion that nothing guards."""
    loaded = load_app(directory)
    if as_json:
        print_json({"ok": loaded.app is not None, "problems": [asdict(problem) for problem in loaded.problems]})
    else:
        print_problems(loaded.problems)
        console.print(_summary(loaded))
    if loaded.app is None:
        raise typer.Exit(1)


def print_problems(problems: tuple[Problem, ...]) -> None:
    """One line each, so that editors and `grep` can follow them; errors are red where there are colours."""
    for problem in problems:
        colour = typer.colors.RED if problem.severity is Severity.ERROR else typer.colors.YELLOW
        typer.echo(f"{typer.style(problem.severity, fg=colour)}: {problem}")


def _summary(loaded: LoadResult) -> str:
    errors = sum(problem.severity is Severity.ERROR for problem in loaded.problems)
    warnings = len(loaded.problems) - errors
    counts = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in ((errors, "error"), (warnings, "warning")) if count)
    if loaded.app is None:
        return f"[red]{counts}[/]"
    app = loaded.app
    held = f"{len(app.workflows)} workflows, {len(app.types)} data types, {len(app.sources)} sources"
    return f"[green]ok[/]  {escape(app.name)}: {held}" + (f"; {counts}" if counts else "")


def deploy(directory: Directory, environment: To, plan: Plan = False, data: Data = None, as_json: AsJson = False) -> None:
    """Deploy an app to an environment: its tables first, then its definitions, together. Running runs keep their version."""
    loaded = load_app(directory)
    if loaded.app is None:
        if as_json:
            print_json({"ok": False, "problems": [asdict(problem) for problem in loaded.problems]})
        else:
            print_problems(loaded.problems)
        raise typer.Exit(1)
    if not as_json:
        print_problems(loaded.problems)
    planned, version = asyncio.run(_deploy(loaded.app, environment, data, is_plan=plan))
    if as_json:
        shown = asdict(planned) | {"tables": [change.description for change in planned.tables]}
        print_json({"environment": environment, "version": version, **shown})
        return
    print_plan(planned)
    console.print(f"[green]deployed[/] {escape(loaded.app.name)} to {environment}, version {version}" if version else "nothing was changed")


def print_plan(planned: DeploymentPlan) -> None:
    """What a deployment adds, changes and removes, one a line."""
    for sign, colour, names in (("+", "green", planned.added), ("~", "yellow", planned.changed), ("-", "red", planned.removed)):
        for name in names:
            console.print(f"[{colour}]{sign} workflow {escape(name)}[/]")
    for change in planned.tables:
        sign, colour = ("+", "green") if change.kind == "add" else ("-", "red")
        console.print(f"[{colour}]{sign} {escape(change.description)}[/]")
    if not (planned.added or planned.changed or planned.removed or planned.tables):
        console.print("no workflow or table changes")


async def _deploy(app: App, environment: str, data: Path | None, *, is_plan: bool) -> tuple[DeploymentPlan, int | None]:
    async with open_installation(data) as database:
        if await find_pending(database):
            raise ConfigurationError("the database is not up to date; run `penstock migrate` first")
        if is_plan:
            async with database.connection() as conn:
                return await plan_deployment(conn, environment=environment, app=app), None
        deployment: Deployment = await database.in_transaction(partial(_store, environment=environment, app=app))
        return deployment.plan, deployment.version


async def _store(conn: Connection, *, environment: str, app: App) -> Deployment:
    return await store_deployment(conn, environment=environment, app=app)
