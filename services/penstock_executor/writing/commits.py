"""Commits of many runs in one transaction: effects, step records and outcomes, each guarded by its attempt.

A step's effect and its record commit together, so the record tells whether the effect happened. That is how a commit
whose outcome is unknown (the server died in it) is sent again: first it is asked whether its record is there.
"""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from uuid import UUID

from pydantic import JsonValue

from penstock.contracts.topology import BULK_LANE, LANES
from penstock.db import Coalescer, Connection, Database, UniqueViolation, describe_duplicate, isolate
from penstock.errors import DatabaseUnavailable, Interrupted, LeaseLost, Permanent
from penstock.logs import get_logger
from penstock.runs.waits_and_signals import begin_waits, lock_signals
from penstock.things.changes import is_unattributed, tell_changing_run
from penstock_executor.effects import BulkEffect, Effect
from penstock_executor.holding.leases import Lease, outlast
from penstock_executor.repository.commits import (
    Shape,
    end_attempts,
    find_committed,
    finish_runs,
    record_steps,
    shape_of,
    store_answers,
)
from penstock_executor.repository.held_runs import Held, hold_runs
from penstock_executor.runs import Commit, Written
from penstock_executor.writing.bulk import commit_bulk
from penstock_executor.writing.effects import Results, apply_effects
from penstock_executor.writing.offspring import Offspring

log = get_logger(__name__)
_AT_ONCE = 2
"""Batches under way, for each lane."""
_MAX_COMMITS = 250
_MAX_BATCHES = 20
_MAX_PARENTS = 50


class Commits:
    """Commits of many runs at once."""

    def __init__(self, database: Database, bulk: asyncio.Semaphore, offspring: Offspring | None = None) -> None:
        self._database = database
        self._bulk = bulk
        self._offspring = offspring
        self._watched: set[tuple[str, str]] = set()
        """Types of which changes are noted, as far as this executor had to learn it."""
        self._single: dict[str, Coalescer[Commit, JsonValue]] = {
            lane: Coalescer(self._flush, name="commits", lanes=_AT_ONCE, most=_MAX_COMMITS) for lane in LANES
        }
        self._batches: dict[str, Coalescer[Sequence[Commit], list[Written]]] = {
            lane: Coalescer(self._flush_batches, name="commit_batches", lanes=_AT_ONCE, most=_MAX_BATCHES)
            for lane in LANES
        }
        # Apart, since these wait for the rows of their chains.
        self._parents: dict[str, Coalescer[Commit, JsonValue]] = {
            lane: Coalescer(self._flush, name="commits_with_children", lanes=_AT_ONCE, most=_MAX_PARENTS)
            for lane in LANES
        }

    async def commit(self, lease: Lease, commit: Commit) -> JsonValue:
        """Returns the result of the effect, if there is one, once all of `commit` is durable.

        While the database is away it is sent again, for as long as the lease may hold. Raises LeaseLost when the run
        belongs to another attempt by now, Permanent when the data is refused, Transient when a bulk effect takes too
        long (nothing of this commit was written then).
        """
        return await outlast(lease, lambda: self._try(commit, lease.lane))

    async def commit_all(self, commits: Sequence[Commit], lane: str) -> list[Written]:
        """The results of the effects, or why a commit was not written: LeaseLost, Permanent, or DatabaseUnavailable,
        and then it may have been.

        For commits that come together anyway, none with a bulk effect or one that has to be alone. Who is cancelled
        meanwhile leaves the commits on their way.
        """
        return await self._batches[lane].submit(commits)

    def give_way(self, grain: int | None) -> None:
        """Write runs of bulk in batches of `grain`; None: in batches of any size. No fewer batches at once, because
        claims are to be what slows bulk down: what is performed is written soon.
        """
        self._single[BULK_LANE].adjust(lanes=_AT_ONCE, most=grain or _MAX_COMMITS)
        self._parents[BULK_LANE].adjust(lanes=_AT_ONCE, most=min(grain or _MAX_PARENTS, _MAX_PARENTS))
        if grain is None:
            self._batches[BULK_LANE].adjust(lanes=_AT_ONCE, most=_MAX_BATCHES)
        else:
            self._batches[BULK_LANE].adjust(lanes=_AT_ONCE, most=grain, weigh=len)

    async def _flush_batches(self, batches: list[Sequence[Commit]]) -> Sequence[list[Written]]:
        commits = [commit for batch in batches for commit in batch]
        written: list[Written] = []
        for first in range(0, len(commits), _MAX_COMMITS):
            written += await isolate(commits[first : first + _MAX_COMMITS], self._flush)
        rest = iter(written)
        return [[next(rest) for _ in batch] for batch in batches]

    async def drain(self) -> None:
        """Wait until everything submitted so far has been written or refused."""
        for lane in LANES:
            await self._single[lane].drain()
            await self._batches[lane].drain()
            await self._parents[lane].drain()

    async def _try(self, commit: Commit, lane: str) -> JsonValue:
        try:
            match commit.effect:
                case BulkEffect() as effect:
                    return await commit_bulk(self._database, self._bulk, commit, effect)
                case Effect(is_alone=True):
                    return await self._commit_alone(commit)
                case _ if commit.has_children:
                    return await self._parents[lane].submit(commit)
                case _:
                    return await self._single[lane].submit(commit)
        except DatabaseUnavailable:
            commit.is_repeat = True
            raise

    async def _commit_alone(self, commit: Commit) -> JsonValue:
        """What may be much takes its time, and nobody else's commit should wait for it."""
        written = (await self._flush([commit]))[0]
        if isinstance(written, BaseException):
            raise written
        return written

    async def _flush(self, submitted: list[Commit]) -> Sequence[Written]:
        commits = submitted
        results: dict[Held, Written] = {}  # of those that have one: most are written, and that is all
        rest: list[Commit] = []
        if self._watched:
            commits = await self._write_watched(commits, results)
        for shape, group in _group(commits).items():
            if shape is None or not await self._finish(group, results):
                rest += group
        if rest:
            written = await isolate(rest, self._write)
            results.update((_key(commit), _refusal(outcome)) for commit, outcome in zip(rest, written, strict=True))
        return [results.get(_key(commit)) for commit in submitted] if results else [None] * len(submitted)

    async def _finish(self, commits: list[Commit], results: dict[Held, Written]) -> bool:
        """Finish runs in one statement, and add those that are lost to `results`; False when it was refused. Nothing is
        changed then, and each is tried with more care.
        """
        commits.sort(key=lambda commit: commit.run_id.bytes)
        try:
            results.update(await self._finish_with_children(commits))
        except (DatabaseUnavailable, Interrupted):
            raise
        except Exception:
            return False
        return True

    async def _finish_with_children(self, commits: list[Commit]) -> Mapping[Held, Written]:
        if self._offspring is not None and any(commit.has_children for commit in commits):
            return await self._offspring.write(commits, partial(_finish, commits=commits))
        async with self._database.connection() as conn:
            return await _finish(conn, commits)

    async def _write(self, commits: list[Commit]) -> list[Written]:
        """Any commits, in one transaction."""
        try:
            written = await self._write_in_transaction(commits)
        except Exception as error:
            if len(commits) > 1 or not is_unattributed(error) or (watched := watched_type(commits[0])) is None:
                raise
            self._watched.add(watched)
            return await self._write_attributed(commits)
        return [written[_key(commit)] for commit in commits]

    async def _write_watched(self, commits: list[Commit], results: dict[Held, Written]) -> list[Commit]:
        """Write alone each commit that changes a watched type, so that its transaction names its run. Returns the
        others.
        """
        watched = [commit for commit in commits if watched_type(commit) in self._watched]
        for commit in watched:
            (outcome,) = await isolate([commit], self._write_attributed)
            results[_key(commit)] = _refusal(outcome)
        return [commit for commit in commits if watched_type(commit) not in self._watched] if watched else commits

    async def _write_attributed(self, commits: list[Commit]) -> list[Written]:
        """One commit, whose transaction says which run changes things."""
        (commit,) = commits
        written = await self._write_in_transaction(commits, run_id=commit.run_id)
        return [written[_key(commit)]]

    async def _write_in_transaction(
        self, commits: list[Commit], *, run_id: UUID | None = None
    ) -> Mapping[Held, Written]:
        write = partial(_write, commits=commits, run_id=run_id)
        if self._offspring is not None and any(commit.has_children for commit in commits):
            return await self._offspring.write(commits, write)
        return await self._database.in_transaction(write)


def watched_type(commit: Commit) -> tuple[str, str] | None:
    """Environment and type of the thing that a commit changes; None when it changes none."""
    changed = commit.effect.changed_type if isinstance(commit.effect, Effect) else None
    return None if changed is None else (commit.environment, changed.name)


def _group(commits: list[Commit]) -> dict[Shape | None, list[Commit]]:
    groups: dict[Shape | None, list[Commit]] = {}
    for commit in commits:
        groups.setdefault(shape_of(commit), []).append(commit)
    return groups


async def _finish(conn: Connection, commits: Sequence[Commit]) -> dict[Held, Written]:
    """Those that are lost."""
    lost = await finish_runs(conn, commits=commits)
    return {_key(commit): _lost(commit) for commit in commits if _key(commit) in lost} if lost else {}


async def _write(conn: Connection, commits: Sequence[Commit], *, run_id: UUID | None = None) -> dict[Held, Written]:
    if run_id is not None:
        await tell_changing_run(conn, run_id=run_id)
    await _lock_signals(conn, commits)
    held = await _hold(conn, sorted(commits, key=lambda commit: commit.run_id.bytes))
    # Asked behind the lock: the server may still be busy with the earlier try. An ending that took hold just now is no
    # repeat.
    repeats = [commit for commit in commits if commit.is_repeat and (commit.ending is None or _key(commit) not in held)]
    done = await find_committed(conn, commits=repeats) if repeats else {}
    ours = [commit for commit in commits if _key(commit) in held and _key(commit) not in done]
    results = await apply_effects(conn, [commit for commit in ours if commit.effect is not None])
    records = [(commit.run_id, commit.attempt, record) for commit in ours for record in commit.records]
    if records:
        await record_steps(conn, records=records)
    await _begin_waits(conn, ours, results)
    written: dict[Held, Written] = {_key(commit): _lost(commit) for commit in commits}
    return {**written, **{_key(commit): results.get(commit.run_id) for commit in ours}, **done}


async def _lock_signals(conn: Connection, commits: Sequence[Commit]) -> None:
    """Before any run is locked: that is the order of those who post signals, too."""
    names: dict[str, list[str]] = {}
    for commit in commits:
        if commit.ending is not None and commit.ending.wait is not None and commit.ending.wait.signal is not None:
            names.setdefault(commit.environment, []).append(commit.ending.wait.signal)
    for environment in sorted(names):
        await lock_signals(conn, environment=environment, names=names[environment])


async def _begin_waits(conn: Connection, commits: Sequence[Commit], results: Results) -> None:
    """Let runs wait. The result says whether the signal was there already; then the run is queued."""
    waits = [
        (commit.run_id, commit.environment, commit.ending.wait)
        for commit in commits
        if commit.ending and commit.ending.wait
    ]
    if waits:
        woken = await begin_waits(conn, waits=waits)
        results.update((run_id, run_id in woken) for run_id, _, _ in waits)


async def _hold(conn: Connection, commits: Sequence[Commit]) -> set[Held]:
    """Lock the runs that are still held, those that end by ending them."""
    ending = [
        (commit.run_id, commit.attempt, commit.ending, commit.workload)
        for commit in commits
        if commit.ending is not None
    ]
    going_on = [_key(commit) for commit in commits if commit.ending is None]
    held = await end_attempts(conn, endings=ending) if ending else set()
    if going_on:
        held |= await hold_runs(conn, held=going_on)
    answers = [
        (commit.run_id, commit.answer) for commit in commits if commit.answer is not None and _key(commit) in held
    ]
    if answers:
        await store_answers(conn, answers=answers)
    return held


def _key(commit: Commit) -> Held:
    return (commit.run_id, commit.attempt)


def _lost(commit: Commit) -> LeaseLost:
    return LeaseLost(f"run {commit.run_id} is no longer held in attempt {commit.attempt}")


def _refusal(written: Written) -> Written:
    if isinstance(written, UniqueViolation):
        return Permanent(f"the values are not unique: {describe_duplicate(written)}", kind="unique")
    return written
