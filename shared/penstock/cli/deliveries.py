"""`penstock deliveries`: webhook requests that were let in, listed, shown, replayed and followed."""

import asyncio
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import typer

from penstock.cli.access import Environment, find_installation, find_redactor, open_installation
from penstock.cli.choices import Newest, WithoutIds, moment
from penstock.cli.database import Data
from penstock.cli.following import follow, read_url
from penstock.cli.identifiers import parse_delivery_id, parse_run_id
from penstock.cli.interventions import publish
from penstock.cli.operations import operate
from penstock.cli.output import (
    AsJson,
    complain,
    console,
    fail,
    make_facts,
    make_table,
    print_json,
    print_json_list,
    print_table,
    print_text,
    show_count,
    show_text,
    show_time,
)
from penstock.cli.starting import SCHEDULER_DELAY, with_current_deployment
from penstock.db import Connection, Database
from penstock.domain.deliveries import DeliveryFilter, DeliveryOutcome
from penstock.domain.ids import new_run_id
from penstock.domain.runs import Admitted, RunSummary
from penstock.domain.states import RunState
from penstock.runs.operations import OperationKind
from penstock.runs.replays import NotReplayable, ReplayRequest, replay_one
from penstock.runs.views.deliveries import DeliveryPlace, find_delivery, list_deliveries
from penstock.runs.views.models import Delivery, DeliveryDetails
from penstock.runs.views.pages import Page
from penstock.store.audit import name_cli_actor
from penstock.store.deployments import CompiledDeployment

_LIST_EXAMPLES: Final = """Examples:

  penstock deliveries list -e live --source stripe --outcome unmatched

  penstock deliveries list --run 0190a5f2 --json

  penstock deliveries list --after ID   the next page: that id is `after` in JSON"""
_SHOW_EXAMPLES: Final = (
    "Examples:\n\n  penstock deliveries show 0190a5f2\n\n  penstock deliveries show ID --json | jq -r .body"
)
_REPLAY_EXAMPLES: Final = """Examples:

  penstock deliveries replay 0190a5f2

  penstock deliveries replay -e live --source stripe --outcome unmatched --since 2030-01-31T09:00:00Z

  penstock deliveries replay -e live --all

Runs are started again, by what is deployed now. A replay is a new delivery that names its origin; a filter leaves \
replays out."""
_TAIL_EXAMPLES: Final = """Examples:

  penstock deliveries tail --source stripe

  penstock deliveries tail --forward http://127.0.0.1:8080/version-test/webhooks/stripe

Each delivery is posted to the URL as it came, but for credentials in headers, which are not kept. Ctrl-C stops."""
_BY: Final = "penstock deliveries"
_MAX_BODY: Final = 10_000

Of = Annotated[str | None, typer.Option("--source", "-s", metavar="NAME", help="Only of this source.")]
Type = Annotated[str | None, typer.Option("--type", "-t", help="Only of this type, as it is shown.")]
Outcome = Annotated[
    DeliveryOutcome | None, typer.Option("--outcome", help="Only those that have started runs, or none.")
]
Since = Annotated[str | None, typer.Option("--since", help="Only those received from this time on (ISO 8601, or 2h).")]
Until = Annotated[str | None, typer.Option("--until", help="Only those received before this time (ISO 8601, or 2h).")]
Run = Annotated[
    UUID | None, typer.Option("--run", metavar="ID", help="Only the one that started this run.", parser=parse_run_id)
]
After = Annotated[
    UUID | None, typer.Option("--after", metavar="ID", help="Only those older than this one.", parser=parse_delivery_id)
]
Id = Annotated[
    UUID, typer.Argument(metavar="ID", help="Id of the delivery.", show_default=False, parser=parse_delivery_id)
]
Ids = Annotated[
    list[UUID] | None,
    typer.Argument(metavar="[ID]...", help="Ids of deliveries, in any environment.", parser=parse_delivery_id),
]
All = Annotated[bool, typer.Option("--all", help="Everything in the environment.")]
Forward = Annotated[str | None, typer.Option("--forward", metavar="URL", help="Post each delivery to this URL.")]


def add_commands(program: typer.Typer) -> None:
    """Add the group `deliveries`."""
    group = typer.Typer(help="Look at webhooks that came in, and replay them.", no_args_is_help=True)
    group.command("list", epilog=_LIST_EXAMPLES)(show_list)
    group.command("show", epilog=_SHOW_EXAMPLES)(show)
    group.command("replay", epilog=_REPLAY_EXAMPLES)(replay)
    group.command("tail", epilog=_TAIL_EXAMPLES)(tail)
    program.add_typer(group, name="deliveries", rich_help_panel="Operate")


def show_list(
    environment: WithoutIds = Environment.DEVELOPMENT,
    source: Of = None,
    type: Type = None,
    outcome: Outcome = None,
    since: Since = None,
    until: Until = None,
    run: Run = None,
    limit: Newest = 50,
    after: After = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List deliveries, the newest first."""
    times = moment(since, "--since"), moment(until, "--until")
    page = asyncio.run(_list(DeliveryFilter(environment.value, source, type, outcome, *times, run), after, limit, data))
    if as_json:
        print_json_list(page.results, after=str(page.after[1]) if page.after else None)
        return
    if not page.results:
        console.print("no such deliveries")
        return
    columns = ("received", "id", "source", "type", "outcome", "runs", "copies")
    table = make_table(*columns, numbers=("runs", "copies"), droppable=("copies", "runs"), elastic=("type", "source"))
    for one in page.results:
        row = (show_time(one.received_at), str(one.id), show_text(one.source), show_text(one.type or "-"))
        table.add_row(*row, _show_outcome(one), str(len(one.run_ids)), str(one.duplicates))
    print_table(table)


async def _list(
    wanted: DeliveryFilter, after: UUID | None, limit: int, data: Path | None
) -> Page[Delivery, DeliveryPlace]:
    async with open_installation(data) as database, database.connection() as conn:
        place = None
        if after is not None:
            last = await find_delivery(conn, id=after)
            if last is None:
                fail(f"no delivery {after}; --after takes the id of the last delivery of a page")
            place = last.received_at, last.id
        return await list_deliveries(conn, wanted, after=place, limit=limit)


def show(id: Id, data: Data = None, as_json: AsJson = False) -> None:
    """Show a delivery: who sent it, what became of it, its headers and its body."""
    found = asyncio.run(_show(id, data))
    if found is None:
        fail(f"no delivery {id}")
    if as_json:
        print_json(found)
        return
    facts = make_facts()
    facts.add_row("environment", found.environment)
    facts.add_row("type", show_text(found.type or "-"))
    facts.add_row("received", show_time(found.received_at))
    facts.add_row("signature", found.verdict or "not noted")
    facts.add_row("outcome", _show_outcome(found))
    facts.add_row("copies", str(found.duplicates))
    if found.origin_id is not None:
        facts.add_row("replay of", str(found.origin_id))
    for name, ids in (("runs", found.run_ids), ("replays", found.replays)):
        if ids:
            facts.add_row(name, "\n".join(map(str, ids)))
    for name, value in found.headers.items():
        facts.add_row("header", show_text(f"{name}: {value}"))
    console.print(f"[bold]{show_text(found.source)}[/]  {found.id}")
    console.print(facts)
    console.print(f"\n[bold]body[/]  {found.size} bytes{', in base64' if found.body_encoding == 'base64' else ''}")
    print_text(f"{found.body[:_MAX_BODY]}\n")
    if len(found.body) > _MAX_BODY:
        console.print(f"… {len(found.body) - _MAX_BODY} more characters; --json shows all")


async def _show(id: UUID, data: Path | None) -> DeliveryDetails | None:
    async with open_installation(data) as database:
        async with database.connection() as conn:
            found = await find_delivery(conn, id=id)
        return found and found.without_secrets(await find_redactor(database, data, found.environment))


def replay(
    ids: Ids = None,
    environment: WithoutIds = Environment.DEVELOPMENT,
    source: Of = None,
    type: Type = None,
    outcome: Outcome = None,
    since: Since = None,
    until: Until = None,
    run: Run = None,
    is_all: All = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Start the runs of deliveries again, by what is deployed now: of some by their ids, or of all that match."""
    times = moment(since, "--since"), moment(until, "--until")
    wanted = DeliveryFilter(environment.value, source, type, outcome, *times, run)
    if sum((bool(ids), is_all, not wanted.is_everything)) != 1:
        raise typer.BadParameter("give ids, options that narrow it down, or --all")
    if not ids:
        operate(OperationKind.REPLAY_DELIVERIES, wanted, by=_BY, data=data, as_json=as_json)
        return
    replays, problems, is_dispatched = asyncio.run(_replay(ids, data))
    if as_json:
        print_json_list(replays)
    else:
        for one in replays:
            runs = show_count(len(one.run_ids), "run")
            console.print(f"{one.id}  {_show_outcome(one)}  {runs}  replay of {one.origin_id}")
    if not is_dispatched:
        complain("the broker is out of reach, so runs start when a scheduler finds them; `penstock doctor` says more")
    for problem in problems:
        complain(problem)
    if problems:
        raise typer.Exit(1)


async def _replay(ids: list[UUID], data: Path | None) -> tuple[list[Delivery], list[str], bool]:
    """The replays, why others could not be made, and whether runs were handed to executors where there is a broker."""
    replays, queued, problems = list[Delivery](), list[RunSummary](), list[str]()
    has_broker = find_installation(data).amqp_url is not None
    async with open_installation(data) as database:
        async with database.connection() as conn:
            origins = {id: await find_delivery(conn, id=id) for id in dict.fromkeys(ids)}
        if unknown := [str(id) for id, origin in origins.items() if origin is None]:
            fail(f"no delivery {', '.join(unknown)}; nothing was replayed")
        for origin in filter(None, origins.values()):
            try:
                replay, runs = await _replay_one(database, origin, has_broker=has_broker)
            except NotReplayable as error:
                problems.append(str(error))
                continue
            replays.append(replay)
            queued += runs
    return replays, problems, await publish(data, queued=queued)


async def _replay_one(
    database: Database, origin: DeliveryDetails, *, has_broker: bool
) -> tuple[Delivery, list[RunSummary]]:
    request = ReplayRequest(origin.id, origin.environment, new_run_id(), name_cli_actor())
    due = None if has_broker else SCHEDULER_DELAY
    work = partial(_store, request=request, due=due)
    runs = await with_current_deployment(database, origin.environment, work)
    async with database.connection() as conn:
        found = await find_delivery(conn, id=request.id)
    assert found is not None, "it was stored just now"
    return found.plain, runs


async def _store(
    conn: Connection, /, *, deployment: CompiledDeployment, request: ReplayRequest, due: timedelta | None
) -> list[RunSummary]:
    """Those of the replay's runs that are to be handed to executors."""
    done = await replay_one(conn, request, deployment=deployment, due=due)
    assert done is not None, "deliveries are not deleted while they are looked at"
    runs = [admission.run for admission in done.admissions if isinstance(admission, Admitted)]
    return [run for run in runs if run.state is RunState.QUEUED]


def tail(
    environment: WithoutIds = Environment.DEVELOPMENT,
    source: Of = None,
    type: Type = None,
    outcome: Outcome = None,
    forward: Forward = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Print deliveries as they come in, one a line, until Ctrl-C; or post each to a URL too."""
    url = read_url(forward)
    wanted = DeliveryFilter(environment.value, source, type, outcome)
    asyncio.run(follow(wanted, url, data, as_json=as_json))


def _show_outcome(delivery: Delivery) -> str:
    return f"[{'green' if delivery.outcome == 'accepted' else 'yellow'}]{delivery.outcome}[/]"
