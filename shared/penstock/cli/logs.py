"""`penstock logs`: the log of an app, searched and followed."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, TypeVar
from uuid import UUID

import typer
from rich.text import Text

from penstock import clock
from penstock.cli.access import Environment, find_redactor, open_installation
from penstock.cli.database import Data
from penstock.cli.identifiers import parse_chain_id, parse_run_id
from penstock.cli.output import (
    AsJson,
    console,
    fail,
    make_text,
    print_json_line,
    print_json_list,
    say,
    show_time,
)
from penstock.cli.repository import find_environment
from penstock.cli.values import read_moment
from penstock.db import Connection, Database
from penstock.domain.log_terms import read_log_terms
from penstock.errors import DatabaseUnavailable
from penstock.redaction import Redactor
from penstock.runs.views.logs import (
    LogCursor,
    LogFilter,
    LogPlace,
    begin_following,
    levels_from,
    list_logs,
    list_new_lines,
    read_kinds,
)
from penstock.runs.views.models import LogEntry
from penstock.things.users import find_user

_EXAMPLES: Final = """Examples:

  penstock logs -f                                             what is written from now on, until Ctrl-C

  penstock logs --run 0190a5f2-7c00-8a11                       all about one run, in whichever environment

  penstock logs -e live --level error --since 2h

  penstock logs -e live --contains "'card declined' OR timeout" --user ada@example.com

  penstock logs -e live --kind http_request --kind running_action --json | jq -r '.results[].step'

Lines are printed the oldest first; of all that match, the newest --limit. A word is found where a word of the line \
begins with it."""
_MAX: Final = 10_000
_PAGE: Final = 500
_TAIL: Final = 10
_LIMIT: Final = 50
_LOOK_SECONDS: Final = 0.5
_AWAY_SECONDS: Final = 1.0
_SHORT_ID: Final = 18
Read = TypeVar("Read")
_STYLES: Final[Mapping[str, str]] = {"error": "red", "warning": "yellow", "debug": "bright_black"}


class Level(StrEnum):
    """The levels of lines, from the one that matters least."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


In = Annotated[
    Environment | None,
    typer.Option("--environment", "-e", help="Where.", show_default="development, or that of the run or chain"),
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Print lines as they are written, until Ctrl-C.")]
Run = Annotated[UUID | None, typer.Option("--run", metavar="ID", help="Only of this run.", parser=parse_run_id)]
Chain = Annotated[UUID | None, typer.Option("--chain", metavar="ID", help="Only of this chain.", parser=parse_chain_id)]
AtLeast = Annotated[Level | None, typer.Option("--level", "-l", help="Only of this level or a worse one.")]
Contains = Annotated[
    str | None,
    typer.Option(
        "--contains", "-c", metavar="TEXT", help="Only with these words, a 'phrase in quotes', or one OR another."
    ),
]
Kinds = Annotated[
    list[str] | None, typer.Option("--kind", "-k", help="Only of this kind, such as http_request; repeat it.")
]
Name = Annotated[str | None, typer.Option("--workflow", "-w", metavar="NAME", help="Only of this workflow.")]
User = Annotated[
    str | None, typer.Option("--user", "-u", metavar="WHO", help="Only of runs for this user, by _id or email.")
]
Since = Annotated[str | None, typer.Option("--since", help="Only from this time on (ISO 8601, or 2h).")]
Until = Annotated[str | None, typer.Option("--until", help="Only before this time (ISO 8601, or 2h).")]
Limit = Annotated[
    int | None,
    typer.Option("--limit", "-n", min=0, max=_MAX, help="How many.", show_default=f"{_LIMIT}; with -f {_TAIL}"),
]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked for, before the database was. `who` is the user as the caller named it."""

    wanted: LogFilter
    environment: Environment | None
    who: str | None
    limit: int
    as_json: bool


def add_commands(program: typer.Typer) -> None:
    """Add `logs`."""
    program.command("logs", epilog=_EXAMPLES, rich_help_panel="Operate")(logs)


def logs(
    follow: Follow = False,
    environment: In = None,
    run: Run = None,
    chain: Chain = None,
    level: AtLeast = None,
    contains: Contains = None,
    kinds: Kinds = None,
    workflow: Name = None,
    user: User = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Search the log of an app, or follow it."""
    if follow and until is not None:
        raise typer.BadParameter("what is written from now on is not before a time", param_hint="--until")
    wanted = LogFilter(
        environment=Environment.DEVELOPMENT,
        run_id=run,
        chain_id=chain,
        workflow=workflow,
        kinds=None if not kinds else _read("--kind", lambda: read_kinds(",".join(kinds))),
        levels=None if level is None else levels_from(level),
        since=_moment(since, "--since"),
        until=_moment(until, "--until"),
        contains=None if contains is None else _read("--contains", lambda: read_log_terms(contains)),
    )
    asked = _Asked(wanted, environment, user, limit if limit is not None else _TAIL if follow else _LIMIT, as_json)
    asyncio.run((_follow if follow else _show)(asked, data))


async def _show(asked: _Asked, data: Path | None) -> None:
    async with open_installation(data) as database:
        async with database.connection() as conn:
            wanted = await _complete(conn, asked)
            lines, is_more = await _read_newest(conn, wanted, asked.limit)
        shown = _without_secrets(lines, await find_redactor(database, data, wanted.environment))
    if asked.as_json:
        print_json_list(shown)
        return
    for line in shown:
        _print(line)
    if not shown:
        say("no such lines", is_error=True)
    elif is_more:
        say(f"these are the newest {len(shown)}; --limit shows more, --until older ones", is_error=True)


async def _follow(asked: _Asked, data: Path | None) -> None:
    async with open_installation(data) as database:
        async with database.connection() as conn:
            wanted = await _complete(conn, asked)
            cursor = await begin_following(conn)
            lines, _ = await _read_newest(conn, wanted, asked.limit)
        redactor = await find_redactor(database, data, wanted.environment)
        say(f"following the log of {wanted.environment}; Ctrl-C stops", is_error=True)
        known = {_key(line) for line in lines}
        _print_all(_without_secrets(lines, redactor), as_json=asked.as_json)
        while True:
            new, cursor, is_more = await _read_new(database, wanted, cursor)
            fresh = [line for line in new if _key(line) not in known]
            _print_all(_without_secrets(fresh, redactor), as_json=asked.as_json)
            if not is_more:
                await asyncio.sleep(_LOOK_SECONDS)


async def _read_new(database: Database, wanted: LogFilter, cursor: LogCursor) -> tuple[list[LogEntry], LogCursor, bool]:
    """What is new, the cursor behind it, and whether there is more; waits for a database that is away."""
    is_away = False
    while True:
        try:
            async with database.connection() as conn:
                new = await list_new_lines(conn, wanted, cursor=cursor)
        except DatabaseUnavailable as error:
            if not is_away:
                say(f"penstock: {error}; waiting until it is back", is_error=True)
            is_away = True
            await asyncio.sleep(_AWAY_SECONDS)
        else:
            return [one.line for one in new.lines], new.cursor, new.is_more


async def _complete(conn: Connection, asked: _Asked) -> LogFilter:
    """The filter with its environment and its user, as the database knows them."""
    wanted = asked.wanted
    environment = None if asked.environment is None else asked.environment.value
    id = wanted.run_id or wanted.chain_id
    if id is not None:
        found = await find_environment(conn, run_id=id)
        if found is None or environment not in {None, found}:
            where = "" if environment is None else f" in {environment}"
            fail(f"no {'run' if wanted.run_id else 'chain'} {id}{where}")
        environment = found
    wanted = replace(wanted, environment=environment or Environment.DEVELOPMENT.value)
    if asked.who is None:
        return wanted
    user_id = await find_user(conn, environment=wanted.environment, who=asked.who)
    if user_id is None and "@" in asked.who:
        fail(f"{wanted.environment} has no user with the email {asked.who!r}, or several")
    return replace(wanted, user_id=user_id or asked.who)


async def _read_newest(conn: Connection, wanted: LogFilter, limit: int) -> tuple[list[LogEntry], bool]:
    """The newest lines, the oldest of them first, and whether there are others."""
    found: list[LogEntry] = []
    place: LogPlace | None = None
    while len(found) < limit:
        page = await list_logs(conn, wanted, after=place, limit=min(_PAGE, limit - len(found)))
        found += page.results
        if (place := page.after) is None:
            break
    return found[::-1], place is not None


def _key(line: LogEntry) -> tuple[int, str, str | None, datetime]:
    return line.id, line.event, line.step, line.at


def _without_secrets(lines: Iterable[LogEntry], redactor: Redactor) -> list[LogEntry]:
    return [
        line.model_copy(update={"message": redactor.text(line.message), "details": redactor.value(line.details)})
        for line in lines
    ]


def _print_all(lines: Iterable[LogEntry], *, as_json: bool) -> None:
    for line in lines:
        if as_json:
            print_json_line(line)
        else:
            _print(line)


def _print(line: LogEntry) -> None:
    """A line of text: for a program with its ids whole and on one line, in a terminal between words on several."""
    what = f"{line.event}{f' [{line.step}]' if line.step else ''}{f': {line.message}' if line.message else ''}"
    if not console.is_terminal:
        parts = (show_time(line.at), line.level, line.workflow or "-", str(line.run_id or "-"), what)
        say("  ".join(part.replace("\n", " ") for part in parts))
        return
    style = _STYLES.get(line.level, "")
    text = Text.assemble(
        (show_time(line.at), "bright_black"),
        "  ",
        make_text(line.workflow or "-", "bold"),
        "  ",
        make_text(what, style),
    )
    if line.run_id is not None:
        text.append(f"  {str(line.run_id)[:_SHORT_ID]}", "bright_black")
    if line.user_email or line.user_id:
        text.append("  ").append(make_text(line.user_email or line.user_id or "", "bright_black"))
    console.print(text)


def _moment(text: str | None, option: str) -> datetime | None:
    return None if text is None else _read(option, lambda: read_moment(text, clock.now()))


def _read(option: str, read: Callable[[], Read]) -> Read:
    try:
        return read()
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
