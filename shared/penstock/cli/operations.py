"""Operations on many runs at a terminal: begun, worked off here and by schedulers, with a bar of their progress."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from penstock.cli.access import open_installation
from penstock.cli.interventions import publish
from penstock.cli.output import VisibleConsole, console, fail, print_json
from penstock.db import Database
from penstock.runs.operations import (
    Asked,
    Filter,
    Operation,
    OperationKind,
    begin_operation,
    find_operation,
    take_turn_of,
)
from penstock.store.audit import name_cli_actor

_LOOK_SECONDS: Final = 0.2
"""How often to look how far a scheduler is that has the operation in hand."""
_WORDS: Final = {
    OperationKind.CANCEL_RUNS: "cancelled",
    OperationKind.RETRY_RUNS: "retried",
    OperationKind.CANCEL_SCHEDULE: "cancelled",
    OperationKind.REPLAY_DELIVERIES: "replayed",
    OperationKind.RETRY_LETTERS: "retried",
    OperationKind.DISCARD_LETTERS: "discarded",
    OperationKind.RESOLVE_LETTERS: "resolved",
}


def operate(kind: OperationKind, of: Filter, *, by: str, data: Path | None, as_json: bool) -> None:
    """Do it to all that meets the filter, and report it. Exits with 1 when it failed."""
    operation = asyncio.run(_operate(kind, of, by, data, shows_progress=not as_json))
    word = _WORDS[kind]
    if operation.state == "failed":
        fail(
            f"operation {operation.id} has failed after {operation.done} of {operation.total}: {operation.error}; "
            f"{_describe_rest(operation)}"
        )
    if as_json:
        print_json({"operation": operation.id, word: operation.done, "items": operation.items})
        return
    items = f", {operation.items} items given up" if operation.items else ""
    console.print(f"{operation.done} {word}{items}")


def _describe_rest(operation: Operation) -> str:
    """How to continue with what is left: a delivery that was replayed still meets the filter, a run does not."""
    if operation.reached is None:
        return "the same command continues with the rest"
    since = operation.reached[0] + timedelta.resolution
    return f"to continue with the rest, add --since {since.isoformat()}"


async def _operate(kind: OperationKind, of: Filter, by: str, data: Path | None, *, shows_progress: bool) -> Operation:
    asked = Asked(name_cli_actor(), by)
    async with open_installation(data) as database:
        operation = await database.in_transaction(partial(begin_operation, kind=kind, of=of, asked=asked))
        with _bar(_WORDS[kind], operation.total, is_shown=shows_progress) as show:
            while not operation.is_over:
                operation = await _advance(database, operation, data, by)
                show(operation.done)
        return operation


async def _advance(database: Database, operation: Operation, data: Path | None, by: str) -> Operation:
    """Take a turn, or wait for the one that somebody else is taking, or for what is on its way."""
    turn = await take_turn_of(database, operation.id)
    if turn is not None:
        await publish(data, cancelled=list(turn.cancelled), by=by)
        if turn.rests:
            await asyncio.sleep(_LOOK_SECONDS)
        return turn.operation
    await asyncio.sleep(_LOOK_SECONDS)
    async with database.connection() as conn:
        found = await find_operation(conn, environment=operation.environment, id=operation.id)
    assert found is not None, "operations are kept for a month"
    return found


@contextmanager
def _bar(what: str, total: int, *, is_shown: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, if that is a terminal; yields what says how many runs are done."""
    terminal = VisibleConsole(stderr=True)
    if not is_shown or not terminal.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)
