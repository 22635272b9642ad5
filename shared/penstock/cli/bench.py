"""`penstock bench`: how fast an installation is, measured through its front door with a workflow of the app's own."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from penstock.cli.access import Environment, find_installation, open_installation
from penstock.cli.choices import DeployedIn
from penstock.cli.database import Data
from penstock.cli.loading import Calls, Load, Report, start_runs, summarize, wait_for_ends
from penstock.cli.output import AsJson, VisibleConsole, complain, console, fail, make_table, print_json, print_table
from penstock.cli.repository import read_times
from penstock.cli.runs import Pairs
from penstock.cli.values import read_values, split_pairs
from penstock.client.client import Client
from penstock.db import Database
from penstock.embedded.keys import read_kept_token
from penstock.embedded.settings import ServerSettings
from penstock.settings import AppSettings, read_settings
from penstock.store.deployments import DeploymentCache

_EXAMPLES: Final = """Examples:

  penstock bench start -p batch=bench --runs 500

  penstock bench start -p batch=bench --url https://penstock.example.com:8081 -e live --runs 5000 --yes

Starts real runs, which do what the workflow does: name one that may be repeated, such as one that only creates a \
thing. The calls go to the admin port, with the token in PENSTOCK_ADMIN_TOKEN; \
how the runs went is read from the database."""

Workflow = Annotated[str, typer.Argument(help="The workflow whose runs are started.", show_default=False)]
Runs = Annotated[int, typer.Option("--runs", "-n", min=1, max=100_000, help="How many runs to start.")]
InFlight = Annotated[int, typer.Option("--in-flight", min=1, max=256, help="How many calls are made at the same time.")]
Within = Annotated[int, typer.Option("--within", min=1, max=3600, help="Seconds to wait for the ends of the runs.")]
Url = Annotated[str | None, typer.Option("--url", help="The admin port; that of `penstock up` if not given.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before runs are started in live.")]


def add_commands(program: typer.Typer) -> None:
    """Add `bench`."""
    program.command("bench", epilog=_EXAMPLES, rich_help_panel="Look")(bench)


def bench(
    workflow: Workflow,
    parameters: Pairs = None,
    environment: DeployedIn = Environment.DEVELOPMENT,
    runs: Runs = 1000,
    in_flight: InFlight = 16,
    within: Within = 120,
    url: Url = None,
    is_sure: Yes = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Measure this installation: start many runs of a workflow, and time their acceptance, start and end."""
    try:
        given = split_pairs(parameters or [])
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="-p") from None
    door = _find_door(url, data)
    question = f"Start {runs} runs of {workflow} in live?"
    if environment is Environment.LIVE and not is_sure and not typer.confirm(question, err=True):
        fail("nothing was started")
    report = asyncio.run(_bench(Load(environment, workflow, runs, in_flight, within), given, door, data))
    if as_json:
        print_json(report)
    else:
        _print(report)
    if report.refused or report.states.keys() != {"succeeded"}:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Door:
    url: str
    token: str | None


def _find_door(url: str | None, data: Path | None) -> _Door:
    installation = find_installation(data)
    found = url or installation.admin_url
    if found is None:
        fail("which admin port is to be measured? Name it, such as --url http://localhost:8081")
    given = read_settings(ServerSettings).admin_token
    kept = None if installation.admin_url is None else read_kept_token(data or read_settings(AppSettings).data)
    return _Door(found, given.get_secret_value() if given else kept)


async def _bench(load: Load, given: dict[str, str], door: _Door, data: Path | None) -> Report:
    async with (
        open_installation(data) as database,
        Client(door.url, door.token, environment=load.environment) as client,
    ):
        deployment = await DeploymentCache(database).refresh(load.environment)
        definition = deployment.app.workflows.get(load.workflow)
        if definition is None:
            fail(f"no workflow {load.workflow!r} is deployed to {load.environment}")
        terminal = VisibleConsole(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=terminal, disable=not terminal.is_terminal) as progress:
            started = progress.add_task("accepted", total=load.runs)
            ended = progress.add_task("ended", total=load.runs)
            calls = await start_runs(
                client, load, read_values(definition, given), lambda done: progress.update(started, completed=done)
            )
            await wait_for_ends(database, calls, load, lambda done: progress.update(ended, completed=done))
        return await _report(database, calls)


async def _report(database: Database, calls: Calls) -> Report:
    async with database.connection() as conn:
        return summarize(calls, await read_times(conn, calls.ids))


def _print(report: Report) -> None:
    table = make_table("what", "median", "99 of 100", "slowest")
    for what, spread in (
        ("from the call to its answer", report.accept_ms),
        ("from acceptance to the start", report.wait_ms),
        ("from the start to the end", report.run_ms),
    ):
        cells: Sequence[str] = ("-", "-", "-") if spread is None else [f"{ms:.1f} ms" for ms in spread.values]
        table.add_row(what, *cells)
    print_table(table)
    states = ", ".join(f"{count} {state}" for state, count in sorted(report.states.items()))
    console.print(f"{report.accepted_per_second:.0f} accepted a second, {report.ended_per_second:.0f} ended a second")
    console.print(f"{report.accepted} runs: {states or 'none'}")
    if report.refused:
        complain(f"{report.refused} calls were refused, the first with: {report.first_refusal}")
