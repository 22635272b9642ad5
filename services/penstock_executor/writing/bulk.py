"""Commits an effect on many things, alone, with the records of its run's steps.

It may take minutes, so it goes about it the other way round: first the effect, then the lock on the run's row that
tells whether the run is still this attempt's. Until that moment the lease is renewed as always; an attempt that lost
its run meanwhile undoes the effect. A rival attempt that begins the same effect waits for the rows, or does it beside
us: only one of the two finds its attempt in the row.
"""

import asyncio
from functools import partial

from pydantic import JsonValue

from penstock.db import Connection, Database, UniqueViolation, describe_duplicate
from penstock.errors import LeaseLost, Permanent, Transient
from penstock_executor.effects import BulkEffect
from penstock_executor.repository.commits import find_committed, record_steps
from penstock_executor.repository.held_runs import Held, hold_runs, wait_for_locks
from penstock_executor.runs import ClaimedRun, Commit


class _Committed(Exception):
    """An earlier try of this commit had succeeded: what this one did is to be undone."""

    def __init__(self, result: JsonValue) -> None:
        super().__init__()
        self.result = result


async def commit_bulk(database: Database, gate: asyncio.Semaphore, commit: Commit, effect: BulkEffect) -> JsonValue:
    """The effect's result, once it and all of `commit` are durable; few at a time, as each keeps a connection.

    Raises LeaseLost, DatabaseUnavailable (then it may have succeeded), Permanent for data that is refused, and
    Transient when it takes longer than until `effect.until`. Whatever is raised, nothing was written unless
    DatabaseUnavailable is.
    """
    try:
        async with asyncio.timeout_at(effect.until):
            await gate.acquire()
    except TimeoutError:
        raise _took_too_long() from None
    try:
        return await database.in_transaction(partial(_write, commit=commit, effect=effect))
    except _Committed as committed:
        return committed.result
    except UniqueViolation as error:
        raise Permanent(f"the values are not unique: {describe_duplicate(error)}", kind="unique") from error
    finally:
        gate.release()


async def _write(conn: Connection, *, commit: Commit, effect: BulkEffect) -> JsonValue:
    seconds = effect.until - asyncio.get_running_loop().time()
    if seconds <= 0:
        raise _took_too_long()
    # Rows that another bulk step is changing are worth waiting for, as long as the step may take.
    await wait_for_locks(conn, seconds=seconds, run_id=commit.run_id)
    try:
        result = await effect.apply(conn, commit.environment, seconds)
    except TimeoutError:
        raise _took_too_long() from None
    await _hold(conn, (commit.run_id, commit.attempt))
    if commit.is_repeat and (done := await find_committed(conn, commits=[commit])):
        raise _Committed(next(iter(done.values())))
    assert commit.effect_record is not None
    commit.effect_record.result = result
    await record_steps(conn, records=[(commit.run_id, commit.attempt, record) for record in commit.records])
    return result


async def hold_run(conn: Connection, run: ClaimedRun) -> None:
    """Lock the run's row until the transaction ends. Raises LeaseLost when this attempt no longer holds it."""
    await _hold(conn, (run.id, run.attempt))


async def _hold(conn: Connection, held: Held) -> None:
    if not await hold_runs(conn, held=[held]):
        raise LeaseLost(f"run {held[0]} is no longer held in attempt {held[1]}")


def _took_too_long() -> Transient:
    return Transient(
        "the step took longer than its timeout, or than what was left of the run's; nothing was changed. Give it a "
        "longer `timeout`,"
        " or narrow `where`",
        kind="timeout",
    )
