"""`penstock dead-letters`: runs that have failed and messages that nobody understood, listed, shown, and dealt with."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import typer

from penstock.cli.access import Environment, find_redactor, open_installation
from penstock.cli.choices import Newest, RunsOf, WithoutIds, moment
from penstock.cli.database import Data
from penstock.cli.identifiers import parse_letter_id
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
    show_text,
    show_time,
)
from penstock.domain.dead_letters import MAX_NOTE, LetterChoice, LetterFilter, LetterState, LetterVerb
from penstock.runs.dead_letters import LetterAct, handle_letters
from penstock.runs.operations import OperationKind
from penstock.runs.views.dead_letters import Letter, LetterDetails, LetterPlace, find_letter, list_letters
from penstock.runs.views.pages import Page
from penstock.storable import is_storable
from penstock.store.audit import name_cli_actor

_LIST_EXAMPLES: Final = """Examples:

  penstock dead-letters list -e live

  penstock dead-letters list -e live --kind message --state resolved --json"""
_SHOW_EXAMPLES: Final = "Examples:\n\n  penstock dead-letters show 0190a5f2"
_RETRY_EXAMPLES: Final = """Examples:

  penstock dead-letters retry 0190a5f2 --note "the bank answers again"

  penstock dead-letters retry -e live --workflow charge --since 2h

A run continues from the step that failed; a message goes back to the queue it came from."""
_DISCARD_EXAMPLES: Final = """Examples:

  penstock dead-letters discard 0190a5f2 --note "a test"

  penstock dead-letters discard -e development --all"""
_RESOLVE_EXAMPLES: Final = 'Examples:\n\n  penstock dead-letters resolve 0190a5f2 --note "paid by hand, see ticket 31"'
_BY: Final = "penstock dead-letters"
_MAX_BODY: Final = 10_000
_KINDS: Final = {
    LetterVerb.RETRY: OperationKind.RETRY_LETTERS,
    LetterVerb.DISCARD: OperationKind.DISCARD_LETTERS,
    LetterVerb.RESOLVE: OperationKind.RESOLVE_LETTERS,
}
_COLORS: Final = {LetterState.OPEN: "yellow", LetterState.RETRIED: "cyan", LetterState.RESOLVED: "green"}


class Kind(StrEnum):
    """What a dead letter is about."""

    RUN = "run"
    MESSAGE = "message"


OfKind = Annotated[Kind | None, typer.Option("--kind", "-k", help="Only runs, or only messages.")]
InState = Annotated[LetterState | None, typer.Option("--state", "-s", help="Only in this state; open by default.")]
Every = Annotated[bool, typer.Option("--any-state", help="In whatever state.")]
From = Annotated[str | None, typer.Option("--queue", metavar="NAME", help="Only messages from this queue.")]
Text = Annotated[str | None, typer.Option("--contains", help="Only with this text in their reason.")]
Since = Annotated[str | None, typer.Option("--since", help="Only those first seen from then on (ISO 8601, or 2h).")]
Until = Annotated[str | None, typer.Option("--until", help="Only those first seen before (ISO 8601, or 2h).")]
After = Annotated[
    UUID | None, typer.Option("--after", metavar="ID", help="Only those older than this one.", parser=parse_letter_id)
]
Id = Annotated[
    UUID, typer.Argument(metavar="ID", help="Id of the dead letter.", show_default=False, parser=parse_letter_id)
]
Ids = Annotated[
    list[UUID] | None,
    typer.Argument(metavar="[ID]...", help="Ids of dead letters, in any environment.", parser=parse_letter_id),
]
Note = Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Why; it is kept with the dead letter.")]
All = Annotated[bool, typer.Option("--all", help="All open ones of the environment.")]


def add_commands(program: typer.Typer) -> None:
    """Add the group `dead-letters`."""
    group = typer.Typer(help="Look at failed runs and refused messages; retry or settle them.", no_args_is_help=True)
    group.command("list", epilog=_LIST_EXAMPLES)(show_list)
    group.command("show", epilog=_SHOW_EXAMPLES)(show)
    for verb, epilog, about in (
        (LetterVerb.RETRY, _RETRY_EXAMPLES, "Take up runs again, and publish messages again"),
        (LetterVerb.DISCARD, _DISCARD_EXAMPLES, "Note that dead letters are not needed"),
        (LetterVerb.RESOLVE, _RESOLVE_EXAMPLES, "Note that the matter was settled in another way"),
    ):
        about = f"{about}: of some by their ids, or of all open ones that match."
        group.command(verb.value, epilog=epilog, help=about)(_command_of(verb))
    program.add_typer(group, name="dead-letters", rich_help_panel="Operate")


def show_list(
    environment: WithoutIds = Environment.DEVELOPMENT,
    kind: OfKind = None,
    state: InState = None,
    is_any: Every = False,
    workflow: RunsOf = None,
    queue: From = None,
    contains: Text = None,
    since: Since = None,
    until: Until = None,
    limit: Newest = 50,
    after: After = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the newest first: the open ones, unless you ask for others."""
    wanted_state = None if is_any else (state or LetterState.OPEN).value
    times = moment(since, "--since"), moment(until, "--until")
    wanted = LetterFilter(environment.value, kind, wanted_state, workflow, queue, contains, *times)
    page = asyncio.run(_list(wanted, after, limit, data))
    if as_json:
        print_json_list(page.results, after=str(page.after[1]) if page.after else None)
        return
    if not page.results:
        console.print("no such dead letters")
        return
    columns = ("seen", "id", "about", "state", "times", "reason")
    table = make_table(*columns, numbers=("times",), droppable=("times", "seen"), elastic=("reason", "about"))
    for one in page.results:
        about = one.workflow or one.queue or "a message"
        cells = (show_time(one.last_seen_at), str(one.id), show_text(about), _show_state(one))
        table.add_row(*cells, str(one.times), show_text(one.reason))
    print_table(table)


async def _list(wanted: LetterFilter, after: UUID | None, limit: int, data: Path | None) -> Page[Letter, LetterPlace]:
    async with open_installation(data) as database:
        redactor = await find_redactor(database, data, wanted.environment)
        async with database.connection() as conn:
            place = None
            if after is not None:
                last = await find_letter(conn, id=after)
                if last is None:
                    fail(f"no dead letter {after}; --after takes the id of the last one of a page")
                place = last.first_seen_at, last.id
            page = await list_letters(conn, wanted, after=place, limit=limit)
        return Page([one.without_secrets(redactor) for one in page.results], page.after)


def show(id: Id, data: Data = None, as_json: AsJson = False) -> None:
    """Show a dead letter: why it is one, what was done with it, and, of a message, what was sent."""
    found = asyncio.run(_show(id, data))
    if found is None:
        fail(f"no dead letter {id}")
    if as_json:
        print_json(found)
        return
    facts = make_facts()
    facts.add_row("environment", found.environment)
    facts.add_row("state", _show_state(found))
    facts.add_row("reason", show_text(found.reason))
    facts.add_row("first seen", show_time(found.first_seen_at))
    facts.add_row("last seen", f"{show_time(found.last_seen_at)}, {found.times} in all")
    for name, value in (("workflow", found.workflow), ("queue", found.queue), ("routing key", found.routing_key)):
        if value:
            facts.add_row(name, show_text(value))
    for event in found.history if isinstance(found.history, list) else ():
        facts.add_row("history", _show_event(event))
    console.print(f"[bold]{found.kind}[/]  {found.id}")
    console.print(facts)
    if found.body is None:
        console.print(f"\n`penstock runs show {found.id}` shows the run")
        return
    for key, part in (found.message if isinstance(found.message, dict) else {}).items():
        console.print(f"{key}: {show_text(str(part))}")
    console.print(f"\n[bold]body[/]  {found.size} bytes{', in base64' if found.body_encoding == 'base64' else ''}")
    print_text(f"{found.body[:_MAX_BODY]}\n")
    if len(found.body) > _MAX_BODY:
        console.print(f"… {len(found.body) - _MAX_BODY} more characters; --json shows all")


async def _show(id: UUID, data: Path | None) -> LetterDetails | None:
    async with open_installation(data) as database:
        async with database.connection() as conn:
            found = await find_letter(conn, id=id)
        return found and found.without_secrets(await find_redactor(database, data, found.environment))


def _command_of(verb: LetterVerb) -> Callable[..., None]:
    """The command that does this to dead letters; all three take the same."""

    def handle(
        ids: Ids = None, environment: WithoutIds = Environment.DEVELOPMENT, kind: OfKind = None,
        workflow: RunsOf = None, queue: From = None, contains: Text = None,
        since: Since = None, until: Until = None, is_all: All = False,
        note: Note = None, data: Data = None, as_json: AsJson = False,
    ) -> None:  # fmt: skip
        times = moment(since, "--since"), moment(until, "--until")
        wanted = LetterFilter(environment.value, kind, None, workflow, queue, contains, *times)
        _handle(verb, ids, LetterChoice(wanted, _read_note(note)), data, is_all=is_all, as_json=as_json)

    return handle


def _handle(
    verb: LetterVerb, ids: list[UUID] | None, wanted: LetterChoice, data: Path | None, *, is_all: bool, as_json: bool
) -> None:
    if sum((bool(ids), is_all, not wanted.of.is_everything)) != 1:
        raise typer.BadParameter("give ids, options that narrow it down, or --all")
    if not ids:
        operate(_KINDS[verb], wanted, by=_BY, data=data, as_json=as_json)
        return
    letters, problems = asyncio.run(_handle_each(ids, LetterAct(verb, name_cli_actor(), _BY, wanted.note), data))
    if as_json:
        print_json_list(letters)
    else:
        for one in letters:
            console.print(f"{one.id}  {_show_state(one)}")
    for problem in problems:
        complain(problem)
    if problems:
        raise typer.Exit(1)


async def _handle_each(ids: list[UUID], act: LetterAct, data: Path | None) -> tuple[list[Letter], list[str]]:
    """The letters with which it was done, and why it was not with others."""
    letters, problems = list[Letter](), list[str]()
    async with open_installation(data) as database:
        async with database.connection() as conn:
            found = {id: await find_letter(conn, id=id) for id in dict.fromkeys(ids)}
        if unknown := [str(id) for id, letter in found.items() if letter is None]:
            fail(f"no dead letter {', '.join(unknown)}; nothing was done")
        for letter in filter(None, found.values()):
            work = partial(handle_letters, act=act, environment=letter.environment, ids=[letter.id], is_audited=True)
            handled = await database.in_transaction(work)
            async with database.connection() as conn:
                now = await find_letter(conn, id=letter.id) or letter
            if handled.ids:
                letters.append(now.plain)
            elif act.verb is LetterVerb.RETRY and not now.retryable:
                problems.append(f"{letter.id}: where it came from is unknown, or only its beginning is kept")
            else:
                problems.append(f"{letter.id} is {now.state}")
    return letters, problems


def _show_state(letter: Letter) -> str:
    return f"[{_COLORS.get(letter.state, 'dim')}]{letter.state}[/]"


def _show_event(event: object) -> str:
    if not isinstance(event, dict):
        return ""
    parts = [str(event.get(name)) for name in ("state", "actor", "note", "reason") if event.get(name)]
    at = datetime.fromisoformat(str(event["at"])) if event.get("at") else None
    return f"{show_time(at)}  {show_text('  '.join(parts))}"


def _read_note(note: str | None) -> str | None:
    if note is not None and (len(note) > MAX_NOTE or not is_storable(note)):
        raise typer.BadParameter(f"at most {MAX_NOTE} characters, none of them NUL", param_hint="--note")
    return note
