"""Floods: many single runs of one workflow, each a chain of its own, that arrive faster than they are performed.

*Model.* Executors take runs in the order in which they were queued. So when a source sends 50,000 webhooks at once, all
who come later would wait behind all of them. Who admits such runs looks now and then at what was queued last. When a
thousand runs of a workflow are among it, its next ones are a crowd: schedulers hand them over a few at a time
(`penstock_scheduler.loops.sharing`), and others get their turns between them. It ends when none of them waits any more.

*What it costs.* Nothing is counted with the runs: one look a second, and only while hundreds of runs are admitted. It
reads at most two thousand entries of the index of queued runs. What came before the look is queued already, so a later
run may wait behind the runs of a second or two.

*What takes part.* Webhooks, messages of the broker, requests in the inbox, and changes that no run has made: nobody
waits for their answers. Calls are queued at once. What runs start (children, changes, ends) belongs to their chains,
whose roots have taken turns. What a limit of its workflow holds back cannot flood the others.
"""

import time
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from penstock.db import Coalescer, Connection, Database
from penstock.domain.states import Trigger
from penstock.errors import DatabaseUnavailable
from penstock.runs.places import scope_of
from penstock.runs.requests import CheckedRun

MIN_FLOOD: Final = 1000
"""Runs of one workflow that wait for executors, from which on the next ones take turns."""
_LOOKED_AT: Final = 2 * MIN_FLOOD
_LOOK_EVERY_SECONDS: Final = 1.0
_LOOK_EVERY_RUNS: Final = 500
_HOLDS_SECONDS: Final = 5.0
"""How long what was seen holds when nobody looks again, because few runs come."""
_SOURCES: Final = frozenset({Trigger.WEBHOOK, Trigger.MESSAGE, Trigger.CHANGE})
_Workflow = tuple[str, str]


class Floods:
    """The floods that this process knows of. Whoever admits runs marks them before, and notes them afterwards."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._crowds: dict[_Workflow, UUID] = {}
        self._admitted = 0
        self._looked_at = float("-inf")
        self._looks: Coalescer[None, None] = Coalescer(self._look_for, name="floods", lanes=1, most=1)

    @property
    def is_calm(self) -> bool:
        """Whether there is none, so that there is nothing to mark."""
        return not self._crowds

    def mark(self, runs: Sequence[CheckedRun]) -> tuple[CheckedRun, ...]:
        """The runs; those of a workflow in flood belong to its crowd."""
        if time.monotonic() - self._looked_at > _HOLDS_SECONDS:
            self._crowds = {}
        return tuple(self._mark(run) for run in runs)

    def note(self, admitted: int) -> None:
        """So many runs were admitted and queued. Looks again when it is time to, without being waited for."""
        self._admitted += admitted
        now = time.monotonic()
        if now - self._looked_at < _LOOK_EVERY_SECONDS or (self._admitted < _LOOK_EVERY_RUNS and not self._crowds):
            return
        self._admitted, self._looked_at = 0, now
        _ = self._looks.submit(None)

    async def look(self) -> None:
        """See which workflows are in flood now. Raises DatabaseUnavailable."""
        async with self._database.connection() as conn:
            found = await list_floods(conn, known=self._crowds)
        self._crowds, self._looked_at = found, time.monotonic()

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        await self._looks.drain()

    def _mark(self, run: CheckedRun) -> CheckedRun:
        request = run.request
        crowd = self._crowds.get((request.environment, request.workflow))
        if crowd is None or request.crowd is not None or request.list_id is not None or request.trigger not in _SOURCES:
            return run
        if request.trigger is Trigger.CHANGE and request.lineage.parent_run_id is not None:
            return run
        return run._replace(request=request._replace(crowd=crowd))

    async def _look_for(self, asked: list[None]) -> list[None]:
        try:
            await self.look()
        except DatabaseUnavailable:
            self._crowds = {}
        return asked


async def list_floods(conn: Connection, *, known: dict[_Workflow, UUID]) -> dict[_Workflow, UUID]:
    """The workflows with a flood, by environment and name, each with its crowd: those of which many runs were queued
    last, and those of the known ones that still have due runs which nobody has handed over.
    """
    rows = await conn.fetch(
        """
        WITH newest AS MATERIALIZED (
            SELECT r.environment, r.workflow, r.crowd FROM penstock.runs r
            WHERE r.finished_at IS NULL AND r.indexed_state IS NULL AND r.state = 'queued'
            ORDER BY r.dispatched_at DESC LIMIT $1
        )
        SELECT n.environment, n.workflow FROM newest n WHERE n.crowd IS NULL
        GROUP BY n.environment, n.workflow HAVING count(*) >= $2
        UNION
        SELECT q.environment, q.workflow
        FROM unnest((SELECT $3::text[]), (SELECT $4::text[]), (SELECT $5::uuid[])) AS q (environment, workflow, crowd)
        CROSS JOIN LATERAL (
            SELECT FROM penstock.runs r
            WHERE r.indexed_state || '' = 'scheduled' AND r.parked_at IS NULL AND r.crowd = q.crowd
              AND r.scheduled_at <= statement_timestamp()
            LIMIT 1
        ) r
        """,
        _LOOKED_AT,
        MIN_FLOOD,
        [environment for environment, _ in known],
        [workflow for _, workflow in known],
        list(known.values()),
    )
    found = [(row["environment"], row["workflow"]) for row in rows]
    return {(environment, workflow): scope_of(environment, workflow, "flood", "") for environment, workflow in found}
