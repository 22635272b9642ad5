"""`penstock run` and `penstock runs show`: start a run, and look at one."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from penstock.cli import many_runs, run_lists
from penstock.cli.access import Environment, find_installation, find_keyring, find_redactor, open_installation
from penstock.cli.choices import DeployedIn
from penstock.cli.database import Data
from penstock.cli.identifiers import parse_run_id
from penstock.cli.output import (
    AsJson,
    complain,
    console,
    fail,
    make_facts,
    make_table,
    make_text,
    print_json,
    print_whole,
    say,
    show_number,
    show_seconds,
    show_state,
    show_text,
    show_time,
    show_value,
)
from penstock.cli.starting import Started, start_run, wait_for_end
from penstock.cli.values import split_pairs
from penstock.domain.states import RunState
from penstock.runs.views.models import LogEntry, RunDetails, RunFacts, Step, Try, Waiting, WaitingFor, WaitReason
from penstock.runs.views.runs import find_run_details

_RUN_EXAMPLES: Final = """Examples:

  penstock run start -p batch=monday --wait

  penstock run create_list -p batch=b1 -p names='["a", "b"]' --environment live

A value is read as JSON where that fits the parameter's type, else as text. Works with PENSTOCK_DATABASE_URL \
(and PENSTOCK_AMQP_URL, to start at once), or with the `penstock up` that runs on .penstock."""
_SHOW_EXAMPLES: Final = (
    "Examples:\n\n  penstock runs show 0190a5f2-7c00-8a11-9b22-0123456789ab\n\n  penstock runs "
    "show ID --json | jq .error"
)
_MAX_OUTCOME: Final = 120
_WAITS: Final[Mapping[WaitReason, str]] = {
    "due": "its time",
    "time": "a time, in a step",
    "signal": "a signal",
    "runs": "other runs to end",
    "concurrency": "a place among the runs of its key",
    "rate": "its turn at the rate of its key",
    "sequence": "the run before it in its sequence",
    "debounce": "quiet: another run of its key may replace it",
    "retry": "its next try",
    "paused": "the end of a pause",
    "executor": "an executor",
}
_LEVEL_STYLES: Final = {"error": "red", "warning": "yellow", "info": "", "debug": "bright_black"}

Pairs = Annotated[
    list[str] | None, typer.Option("-p", "--parameter", metavar="KEY=VALUE", help="A parameter of the run; repeat it.")
]
Wait = Annotated[
    bool,
    typer.Option("--wait", help="Wait until the run has ended and print its result; exit with 1 unless it succeeded."),
]
RunArgument = Annotated[
    UUID, typer.Argument(metavar="ID", help="Id of the run.", show_default=False, parser=parse_run_id)
]


def add_commands(program: typer.Typer) -> None:
    """Add `run` and the group `runs`."""
    program.command("run", epilog=_RUN_EXAMPLES, rich_help_panel="Operate")(run)
    group = typer.Typer(help="Show, cancel and retry runs.", no_args_is_help=True)
    group.command("show", epilog=_SHOW_EXAMPLES)(show)
    run_lists.add_commands(group)
    many_runs.add_commands(group)
    program.add_typer(group, name="runs", rich_help_panel="Operate")


def run(
    workflow: Annotated[str, typer.Argument(help="Name of the workflow.", show_default=False)],
    parameters: Pairs = None,
    environment: DeployedIn = Environment.DEVELOPMENT,
    wait: Wait = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Start a run, also of a workflow that only an administrator may start."""
    try:
        given = split_pairs(parameters or [])
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="-p") from None
    started, ended = asyncio.run(_run(workflow, environment, given, data, is_awaited=wait))
    if ended is not None:
        _report_end(ended, as_json=as_json)
    elif as_json:
        print_json(started.as_json())
    elif console.is_terminal:
        console.print(f"{started.id}  {show_state(started.state)}")
    else:
        say(str(started.id))  # for a program, which wants no more than this
    if not started.is_dispatched:
        complain("the broker is out of reach, so the run starts when a scheduler finds it; `penstock doctor` says more")


async def _run(
    workflow: str, environment: Environment, given: dict[str, str], data: Path | None, *, is_awaited: bool
) -> tuple[Started, RunFacts | None]:
    installation = find_installation(data)
    async with open_installation(data) as database:
        started = await start_run(
            database,
            installation.amqp_url,
            environment=environment,
            workflow=workflow,
            given=given,
            keyring=find_keyring(data, is_required=False),
        )
        if not is_awaited:
            return started, None
        ended = await wait_for_end(database, started.id, lambda hint: say(hint, is_error=True))
        return started, ended.without_secrets(await find_redactor(database, data, environment))


def _report_end(run: RunFacts, *, as_json: bool) -> None:
    if as_json:
        print_json(run)
    elif run.state is RunState.SUCCEEDED:
        print_json(run.result)
    else:
        complain(f"run {run.id} {run.state}: {_reason(run)}")
    if run.state is not RunState.SUCCEEDED:
        raise typer.Exit(1)


def _reason(run: RunFacts) -> str:
    if isinstance(run.error, dict) and "message" in run.error:
        return str(run.error["message"])
    return (
        "the workflow's condition was not met"
        if run.state is RunState.SKIPPED
        else f"see `penstock runs show {run.id}`"
    )


def show(run_id: RunArgument, data: Data = None, as_json: AsJson = False) -> None:
    """Show a run: its state, its steps, its log."""
    run = asyncio.run(_read(run_id, data))
    if run is None:
        fail(f"no run {run_id}")
    if as_json:
        print_json(run)
        return
    print_whole(Group(_facts(run), *_step_table(run.steps), *_log_table(run.logs)))


async def _read(run_id: UUID, data: Path | None) -> RunDetails | None:
    async with open_installation(data) as database, database.connection() as conn:
        run = await find_run_details(conn, run_id=run_id)
        if run is None:
            return None
        redactor = await find_redactor(database, data, run.environment)
        steps = [step.without_secrets(redactor) for step in run.steps]
        return run.without_secrets(redactor).model_copy(update={"steps": steps})


def _facts(run: RunDetails) -> Group:
    facts = make_facts()
    facts.add_row("state", show_state(run.state))
    facts.add_row("environment", run.environment)
    facts.add_row("started by", "a run of its chain" if run.trigger == "run" else run.trigger)
    facts.add_row("depth", f"{run.depth} (limit {run.depth_budget})")
    facts.add_row("chain", str(run.chain_id))
    facts.add_row("parent", str(run.parent_run_id or "-"))
    if run.user is not None:
        facts.add_row("user", show_text(run.user))
    if run.list_id is not None:
        facts.add_row("list", str(run.list_id))
    facts.add_row("attempt", f"{run.attempt}" + (f", with deployment {run.version}" if run.version else ""))
    facts.add_row("due", show_time(run.scheduled_at))
    # A run that continues after a wait or a retry is due again long after it has started.
    late = f"  ({show_seconds(run.scheduled_at, run.started_at)} after it was due)" if run.attempt == 1 else ""
    facts.add_row("started", f"{show_time(run.started_at)}{late}")
    if run.waiting_for is not None:
        facts.add_row("waits for", describe_wait(run.waiting_for, run.waiting))
    took = f"  (took {show_seconds(run.started_at, run.finished_at)})" if run.finished_at and run.started_at else ""
    facts.add_row("finished", f"{show_time(run.finished_at)}{took}")
    facts.add_row("workload", f"{show_number(run.workload)} units")
    if isinstance(run.webhook, dict):
        source, kind, delivery = (show_text(str(run.webhook.get(name) or "-")) for name in ("source", "type", "id"))
        facts.add_row("webhook", f"{source}  {kind}  delivery {delivery}")
        facts.add_row("payload", show_value(run.webhook.get("payload")))
    facts.add_row("parameters", show_value(run.parameters))
    if run.result is not None:
        facts.add_row("result", show_value(run.result))
    if run.error is not None:
        message = run.error.get("message") if isinstance(run.error, dict) else None
        facts.add_row("error", f"[red]{show_text(str(message)) if message else show_value(run.error)}[/]")
    return Group(f"[bold]{show_text(run.workflow)}[/]  {run.id}", facts)


def describe_wait(wait: WaitingFor, waiting: Waiting | None) -> str:
    """What a run waits for, as markup: for what, which one of it, until and since when."""
    parts = [_WAITS[wait.reason]]
    if wait.key is not None:
        parts.append(show_text(wait.key))
    if wait.holder is not None:
        parts.append(f"held by run {wait.holder}")
    if waiting is not None and waiting.until is not None:
        parts.append(f"until {show_time(waiting.until)}")
    if wait.since is not None:
        parts.append(f"since {show_time(wait.since)}")
    return "  ".join(parts)


def _step_table(steps: list[Step]) -> list[Text | Table]:
    if not steps:
        return []
    columns = ("step", "action", "outcome", "started", "took", "result")
    table = make_table(*columns, numbers=("took",), wrapped="result")
    for step in steps:
        colour = {"succeeded": "green", "failed": "red", "waiting": "cyan"}.get(step.outcome, "bright_black")
        table.add_row(
            show_text(step.step),
            step.action,
            f"[{colour}]{step.outcome}[/]",
            _show_clock(step.started_at),
            show_seconds(step.started_at, None if step.outcome == "waiting" else step.finished_at),
            _show_outcome(step),
        )
        for number, tried in enumerate(step.tries if len(step.tries) > 1 else (), start=1):
            table.add_row(f"  try {number}", "", *_describe_try(tried, step))
    return [make_text(""), table]


def _show_outcome(step: Step) -> Text:
    """Why it failed, or the beginning of its result: in a terminal as much as one line holds."""
    if isinstance(step.error, dict) and "message" in step.error:
        return make_text(str(step.error["message"])[:_MAX_OUTCOME])
    if step.result is None:
        return make_text("")
    text = Text.from_markup(show_value(step.result, _MAX_OUTCOME))
    if console.is_terminal:
        text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _describe_try(tried: Try, step: Step) -> tuple[str, ...]:
    """Outcome, start, duration; and why it failed, with what came after."""
    is_last = tried is step.tries[-1]
    outcome = "failed" if tried.error is not None else step.outcome if is_last else "-"
    status = "" if tried.status is None else f" ({tried.status})"
    message = tried.error.get("message") if isinstance(tried.error, dict) else None
    said = [] if message is None else [str(message)[:_MAX_OUTCOME]]
    if not is_last and tried.pause_seconds is not None:
        said.append(f"again after {tried.pause_seconds:,.1f} s")
    took = show_seconds(tried.started_at, tried.finished_at)
    colour = "red" if outcome == "failed" else "green" if outcome == "succeeded" else "bright_black"
    return f"[{colour}]{outcome}{status}[/]", _show_clock(tried.started_at), took, show_text("; ".join(said))


def _log_table(lines: list[LogEntry]) -> list[Text | Table]:
    if not lines:
        return []
    table = make_table("time", "log", wrapped="log")
    for line in lines:
        style = _LEVEL_STYLES.get(line.level, "")
        text = f"{line.event}{f' [{line.step}]' if line.step else ''}{f': {line.message}' if line.message else ''}"
        table.add_row(_show_clock(line.at), make_text(text, style))
    return [make_text(""), table]


def _show_clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03}"
