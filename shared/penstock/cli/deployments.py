"""`penstock deploy` and `penstock promote`: an app's way into an environment, shown as a plan before it is carried
out.
"""

import asyncio
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from penstock.cli.access import Environment, open_installation
from penstock.cli.apps import Directory, print_imported, print_problems
from penstock.cli.database import Data
from penstock.cli.output import AsJson, complain, console, print_json, show_text
from penstock.db import Connection
from penstock.db.migrations import find_pending
from penstock.definitions.models import App
from penstock.definitions.secrets import find_secret_names
from penstock.deploying import Deployer, Deployment, DeploymentPlan
from penstock.deploying import deploy as store_deployment
from penstock.deploying import plan as plan_deployment
from penstock.errors import ConfigurationError
from penstock.reading.loader import load_app
from penstock.settings import SECRET_PREFIX
from penstock.store.audit import AuditAction, name_cli_actor
from penstock.store.deployments import load_current
from penstock.store.secrets import find_unset, list_secrets

_DEPLOY_EXAMPLES: Final = """Examples:

  penstock deploy . --environment development --plan   shows what would change

  penstock deploy . --environment live

Adds tables and columns; drops those that the app no longer uses only with --prune."""
_PROMOTE_EXAMPLES: Final = """Examples:

  penstock promote --plan   shows what would change

  penstock promote

Copies what is deployed to development, not what lies in a directory; things and secrets stay where they are."""
_COLOURS: Final = {"add": ("+", "green"), "change": ("~", "yellow"), "remove": ("-", "red")}

To = Annotated[Environment, typer.Option("--environment", "-e", help="Where to deploy.", show_default=False)]
IsPlan = Annotated[bool, typer.Option("--plan", help="Only show what would change.")]
IsPruning = Annotated[
    bool, typer.Option("--prune", help="Also drop tables and columns that the app does not use, with all their values.")
]
IsAgreed = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before anything is dropped.")]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked for."""

    environment: str
    is_plan: bool
    is_pruning: bool
    is_agreed: bool
    data: Path | None
    as_json: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. `version` is None for a plan; `unset` are secrets that the app reads and nobody has set, with a
    place each.
    """

    app: App
    plan: DeploymentPlan
    unset: dict[str, str]
    version: int | None = None
    is_new: bool = False


def add_commands(program: typer.Typer) -> None:
    """Add `deploy` and `promote`."""
    program.command("deploy", epilog=_DEPLOY_EXAMPLES, rich_help_panel="Build")(deploy)
    program.command("promote", epilog=_PROMOTE_EXAMPLES, rich_help_panel="Build")(promote)


def deploy(
    directory: Directory,
    environment: To,
    plan: IsPlan = False,
    prune: IsPruning = False,
    yes: IsAgreed = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Deploy an app to an environment: its tables first, then its definitions, together. Running runs keep their
    version. The app's Python modules are imported here, which runs the code at their top.
    """
    loaded = load_app(directory)
    if loaded.app is None and as_json:
        print_json({"ok": False, "problems": [asdict(problem) for problem in loaded.problems]})
    elif not as_json:
        print_problems(loaded.problems)
        print_imported(loaded.app)
    if loaded.app is None:
        raise typer.Exit(1)
    asyncio.run(_fulfil(Wish(environment, plan, prune, yes, data, as_json), loaded.app))


def promote(
    plan: IsPlan = False, prune: IsPruning = False, yes: IsAgreed = False, data: Data = None, as_json: AsJson = False
) -> None:
    """Deploy to live what is deployed to development, tables and definitions alike."""
    asyncio.run(_fulfil(Wish(Environment.LIVE, plan, prune, yes, data, as_json), None))


def print_plan(planned: DeploymentPlan) -> None:
    """What a deployment adds, changes and removes, one a line."""
    for difference in planned.differences:
        sign, colour = _COLOURS[difference.sign]
        parts = f" ({', '.join(difference.parts)})" if difference.parts else ""
        console.print(f"[{colour}]{sign} {difference.kind} {show_text(difference.name)}{show_text(parts)}[/]")
    for change in planned.tables:
        sign, colour = _COLOURS[change.kind]
        note = f" ({change.note})" if change.note else ""
        console.print(f"[{colour}]{sign} {show_text(change.description + note)}[/]")
    if not (planned.differences or planned.tables):
        console.print("no changes")
    for change in planned.unused:
        console.print(f"[bright_black]  with --prune: {show_text(change.description)}[/]")


async def _fulfil(wish: Wish, app: App | None) -> None:
    """Plan, show, ask, deploy. Without an app, it is development's."""
    async with open_installation(wish.data) as database:
        if await find_pending(database):
            raise ConfigurationError("the database is not up to date; run `penstock migrate` first")
        async with database.connection() as conn:
            outcome = await _plan(conn, wish, app or await _load_development(conn))
        if not wish.as_json:
            _show_plan(wish, outcome)
        if not wish.is_plan:
            _ask(wish, outcome.plan)
            store = partial(
                store_deployment,
                environment=wish.environment,
                app=outcome.app,
                prune=wish.is_pruning,
                approved=outcome.plan if wish.is_pruning else None,
                by=Deployer(name_cli_actor(), AuditAction.APP_DEPLOY if app else AuditAction.APP_PROMOTE),
            )
            deployment: Deployment = await database.in_transaction(store)
            outcome = Outcome(outcome.app, deployment.plan, outcome.unset, deployment.version, deployment.is_new)
    _report(wish, outcome)


async def _plan(conn: Connection, wish: Wish, app: App) -> Outcome:
    planned = await plan_deployment(conn, environment=wish.environment, app=app, prune=wish.is_pruning)
    names = find_secret_names(app)
    unset = find_unset(await list_secrets(conn), wish.environment, names)
    return Outcome(app, planned, {name: names[name] for name in unset})


async def _load_development(conn: Connection) -> App:
    current = await load_current(conn, environment=Environment.DEVELOPMENT)
    if current is None:
        raise ConfigurationError(
            "nothing is deployed to development; use `penstock deploy DIR --environment development` first"
        )
    return current[1]


def _show_plan(wish: Wish, outcome: Outcome) -> None:
    print_plan(outcome.plan)
    for name, place in outcome.unset.items():
        complain(
            f"{place}: the secret {name} is not set in {wish.environment}; what needs it fails until then:"
            f" `penstock secret set {name} --environment {wish.environment}`, or {SECRET_PREFIX}{name} on ingress and "
            "executors"
        )


def _ask(wish: Wish, planned: DeploymentPlan) -> None:
    """Raises ConfigurationError, or ends the program, unless what is lost is meant to be lost."""
    if not planned.dropped or wish.is_agreed:
        return
    if wish.as_json or not sys.stdin.isatty():
        raise ConfigurationError(
            f"{len(planned.dropped)} tables and columns would be dropped with their values; add --yes to have it so"
        )
    typer.confirm(f"Drop {len(planned.dropped)} tables and columns with all their values?", abort=True)


def _report(wish: Wish, outcome: Outcome) -> None:
    planned = outcome.plan
    if wish.as_json:
        shown: dict[str, object] = {"environment": wish.environment, "version": outcome.version}
        for word, sign in (("added", "add"), ("changed", "change"), ("removed", "remove")):
            shown[word] = [one.name for one in planned.differences if one.sign == sign and one.kind == "workflow"]
        shown["differences"] = [difference._asdict() for difference in planned.differences]
        shown["tables"] = [change.description for change in planned.tables]
        shown["waits"] = {change.description: change.note for change in planned.tables if change.note}
        shown["unused"] = [change.description for change in planned.unused]
        shown["unset_secrets"] = outcome.unset
        print_json(shown)
    elif outcome.version is None:
        console.print("nothing was changed")
    elif outcome.is_new:
        console.print(
            f"[green]deployed[/] {show_text(outcome.app.name)} to {wish.environment}, version {outcome.version}"
        )
    else:
        console.print(f"{wish.environment} holds {show_text(outcome.app.name)} already, as version {outcome.version}")
