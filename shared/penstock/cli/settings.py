"""`penstock settings` and `penstock audit`: limits and policies of an environment, and who has steered what."""

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import orjson
import typer
from pydantic import JsonValue, ValidationError

from penstock import clock, exact_json
from penstock.cli.access import Environment, open_installation
from penstock.cli.choices import Newest, moment
from penstock.cli.database import Data
from penstock.cli.output import (
    AsJson,
    console,
    make_facts,
    make_table,
    print_json,
    print_json_list,
    print_table,
    show_text,
    show_time,
    show_value,
)
from penstock.cli.values import read_moment, split_pairs
from penstock.contracts.messages import describe
from penstock.domain.policies import SettingsChange
from penstock.runs.views.audit import AuditFilter, AuditPlace, list_audit
from penstock.runs.views.models import AuditEntry
from penstock.runs.views.pages import Page
from penstock.store.audit import name_cli_actor
from penstock.store.policies import change_settings, get_settings

_SHOW_EXAMPLES: Final = "Examples:\n\n  penstock settings show -e live\n\n  penstock settings show -e live --json"
_SET_EXAMPLES: Final = """Examples:

  penstock settings set -e live depth_limit=25

  penstock settings set -e live depth_policy=observe chain_workload_limit=0

  penstock settings set -e live notification_addresses=ops@example.com,boss@example.com

A value is read as JSON where that is what it is, else as text; commas separate the items of a list. \
What is admitted from now on goes by it."""
_AUDIT_EXAMPLES: Final = """Examples:

  penstock audit -e live

  penstock audit -e live --action settings --since 7d

  penstock audit -e live --actor admin --limit 200 --json

The next page: --after with the `after` of the page before, in JSON."""

Of = Annotated[Environment, typer.Option("--environment", "-e", help="The environment.")]
Changes = Annotated[list[str], typer.Argument(metavar="SETTING=VALUE...", help="What to change.", show_default=False)]
Actor = Annotated[str | None, typer.Option("--actor", help="Only what this actor did.", show_default=False)]
Action = Annotated[
    str | None, typer.Option("--action", help="Only this (run.cancel), or all of its kind (run).", show_default=False)
]
Since = Annotated[
    str | None, typer.Option("--since", help="From this time (ISO 8601), or so long ago (7d).", show_default=False)
]
Until = Annotated[str | None, typer.Option("--until", help="Before this time, or so long ago.", show_default=False)]
After = Annotated[str | None, typer.Option("--after", metavar="PLACE", help="Only older ones than this place.")]


def add_commands(program: typer.Typer) -> None:
    """Add the group `settings`, and `audit`."""
    group = typer.Typer(help="Show and change limits and policies.", no_args_is_help=True)
    group.command("show", epilog=_SHOW_EXAMPLES)(show)
    group.command("set", epilog=_SET_EXAMPLES)(set_)
    program.add_typer(group, name="settings", rich_help_panel="Operate")
    program.command("audit", epilog=_AUDIT_EXAMPLES, rich_help_panel="Operate")(audit)


def show(environment: Of = Environment.DEVELOPMENT, data: Data = None, as_json: AsJson = False) -> None:
    """Show the limits and policies of an environment."""
    _print(environment, asyncio.run(_read(environment, data)), as_json=as_json)


async def _read(environment: Environment, data: Path | None) -> dict[str, JsonValue]:
    async with open_installation(data) as database, database.connection() as conn:
        return await get_settings(conn, environment=environment)


def set_(
    changes: Changes, environment: Of = Environment.DEVELOPMENT, data: Data = None, as_json: AsJson = False
) -> None:
    """Change limits and policies; `penstock audit` shows who did, and what they were before."""
    try:
        change = read_change(split_pairs(changes))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="SETTING=VALUE") from None
    _print(environment, asyncio.run(_change(environment, change, data)), as_json=as_json)


def read_change(given: Mapping[str, str]) -> SettingsChange:
    """The change that is asked for: JSON where a value is JSON, else text. Raises ValueError that says what is
    wrong.
    """
    values = {name: _read_value(name, text) for name, text in given.items()}
    try:
        return SettingsChange.model_validate_json(exact_json.dumps(values))
    except ValidationError as error:
        raise ValueError(describe(error, SettingsChange)) from None


def _read_value(name: str, text: str) -> JsonValue:
    try:
        value: JsonValue = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = text
    if name in SettingsChange.LISTS and isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


async def _change(environment: Environment, change: SettingsChange, data: Path | None) -> dict[str, JsonValue]:
    async with open_installation(data) as database:
        work = partial(change_settings, environment=environment, change=change, actor=name_cli_actor())
        return await database.in_transaction(work)


def _print(environment: Environment, settings: Mapping[str, JsonValue], *, as_json: bool) -> None:
    if as_json:
        print_json(settings)
        return
    facts = make_facts()
    for name, value in settings.items():
        facts.add_row(name, _show(value))
    console.print(f"[bold]{environment}[/]")
    console.print(facts)


def _show(value: JsonValue) -> str:
    if value is None or value in ([], {}):
        return "none"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return show_text(", ".join(str(item) for item in value))
    if isinstance(value, float):
        return f"{value:.15g}"  # as `set` takes it
    return show_text(value) if isinstance(value, str) else show_value(value)


def audit(
    environment: Of = Environment.DEVELOPMENT,
    actor: Actor = None,
    action: Action = None,
    since: Since = None,
    until: Until = None,
    limit: Newest = 50,
    after: After = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show who has steered what, the newest first."""
    wanted = AuditFilter(environment, actor, action, moment(since, "--since"), moment(until, "--until"))
    page = asyncio.run(_list(wanted, _place(after), limit, data))
    if as_json:
        place = None if page.after is None else f"{page.after[0].isoformat()}/{page.after[1]}"
        print_json_list(page.results, after=place)
        return
    columns = ("at", "actor", "action", "what", "before", "after")
    table = make_table(*columns, droppable=("before", "after"), elastic=("actor", "what", "before", "after"))
    for act in page.results:
        cells = ("" if value is None else show_value(value, 200) for value in (act.before, act.after))
        table.add_row(show_time(act.at), show_text(act.actor), act.action, show_text(act.subject), *cells)
    if page.results:
        print_table(table)
    else:
        console.print("nothing was noted")


async def _list(
    wanted: AuditFilter, after: AuditPlace | None, limit: int, data: Path | None
) -> Page[AuditEntry, AuditPlace]:
    async with open_installation(data) as database, database.connection() as conn:
        return await list_audit(conn, wanted, after=after, limit=limit)


def _place(text: str | None) -> AuditPlace | None:
    if text is None:
        return None
    at, _, id = text.partition("/")
    try:
        return read_moment(at, clock.now()), int(id)
    except ValueError:
        raise typer.BadParameter("this is not the `after` of a page", param_hint="--after") from None
