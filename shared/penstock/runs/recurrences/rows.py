"""Recurrences: rules that start runs again and again, set by a workflow's triggers when it is deployed, and by steps of
runs.

A recurrence's id derives from what it is for (the workflow and its trigger's position, or the workflow and a thing), so
setting it again replaces it and never makes a second one. `next_tick_at` is where it stands; only a scheduler that
holds its row moves it on, in the transaction that admits the tick's run, whose id derives from (recurrence, tick):
racing schedulers and crashes make no second run.

A tick is a new root, which the depth limit does not see. So that recurrences cannot multiply past it either, one that
is set by a run of another recurrence's chain is of the next generation, and the depth limit bounds these; and it does
not tick at once.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection, Record
from penstock.definitions.models import App, RecurrenceTrigger
from penstock.domain.ids import recurrence_id
from penstock.domain.recurrences import Recurrence
from penstock.domain.states import RunState, Termination
from penstock.domain.ticks import Every, Overlap, Rule, jitter, next_tick
from penstock.errors import Permanent
from penstock.runs.terminations import record_observed_step

AT_ONCE: Final = timedelta(minutes=1)
"""A start that is no longer ago than this is now."""
_STEP_CATCH_UP: Final = timedelta(days=1)
_CRON_CATCH_UP: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class RecurrenceRequest:
    """A recurrence that a step of the run `run_id` in `chain_id` sets, or a person (both None). `parameters` have been
    checked; `context` is for its runs.

    `begins_later`: the start is only where counting begins, the first tick comes a period later.
    """

    environment: str
    workflow: str
    thing: str | None
    rule: Rule
    parameters: dict[str, JsonValue]
    chain_id: UUID | None = None
    run_id: UUID | None = None
    context: dict[str, JsonValue] = field(default_factory=dict)
    begins_later: bool = False
    overlap: Overlap = Overlap.ALLOW
    times: int | None = None
    pause_after_failures: int | None = None

    @property
    def id(self) -> UUID:
        """Derived from the workflow and the thing."""
        return step_recurrence_id(self.environment, self.workflow, self.thing)

    def first_ticks(self, now: datetime) -> tuple[datetime | None, datetime | None]:
        """The first tick, and the one to begin with instead when the first would come too soon after others.

        A start that has only just passed is now; of earlier ones, the first tick is the next from now on.
        """
        start = self.rule.start
        is_now = start is not None and not self.begins_later and now - AT_ONCE <= start <= now
        first = next_tick(self.rule, start - timedelta(microseconds=1) if start is not None and is_now else now)
        return first, None if first is None else next_tick(self.rule, max(first, now))


def step_recurrence_id(environment: str, workflow: str, thing: str | None) -> UUID:
    """The id of the recurrence that steps set for a thing, or for none."""
    return recurrence_id(environment, workflow, f"for/{thing or ''}")


def trigger_recurrence_id(environment: str, workflow: str, position: int) -> UUID:
    """The id of the recurrence of a workflow's trigger, by its position among them."""
    return recurrence_id(environment, workflow, f"on/{position}")


COLUMNS: Final = """
    c.id, c.environment, c.workflow, c.origin, c.thing, c.cron, c.every, c.start_at, c.timezone, c.overlap,
    c.catch_up_seconds, c.jitter_seconds, c.parameters, c.context, c.generation, c.created_at, c.paused_at,
    c.next_tick_at, c.due_at, c.held_since, c.owed_since, c.dropped_until,
    c.last_tick_at, c.last_run_id, c.ticks, c.skipped, c.missed, c.refused,
    c.end_at, c.times, c.ticks_left, c.pause_after_failures, c.pause_note, c.is_observed
"""


def recurrence_from_row(row: Record) -> Recurrence:
    """A recurrence from a row with `COLUMNS`, and `last_run_state` if it was asked for."""
    last_run_state = row.get("last_run_state")
    return Recurrence(
        id=row["id"],
        environment=row["environment"],
        workflow=row["workflow"],
        origin=row["origin"],
        thing=row["thing"],
        rule=Rule(
            row["cron"],
            None if row["every"] is None else Every(row["every"]),
            row["start_at"],
            row["timezone"],
            row["end_at"],
        ),
        overlap=Overlap(row["overlap"]),
        catch_up=timedelta(seconds=row["catch_up_seconds"]),
        jitter=timedelta(seconds=row["jitter_seconds"]),
        parameters=row["parameters"],
        context=row["context"],
        generation=row["generation"],
        created_at=row["created_at"],
        paused_at=row["paused_at"],
        next_tick_at=row["next_tick_at"],
        due_at=row["due_at"],
        held_since=row["held_since"],
        last_tick_at=row["last_tick_at"],
        last_run_id=row["last_run_id"],
        ticks=row["ticks"],
        skipped=row["skipped"],
        missed=row["missed"],
        refused=row["refused"],
        owed_since=row["owed_since"],
        dropped_until=row["dropped_until"],
        times=row["times"],
        ticks_left=row["ticks_left"],
        pause_after_failures=row["pause_after_failures"],
        pause_note=row["pause_note"],
        is_observed=row["is_observed"],
        last_run_state=None if last_run_state is None else RunState(last_run_state),
    )


async def get_time(conn: Connection) -> datetime:
    """The database's time, by which everything is due."""
    now: datetime = await conn.fetchval("SELECT clock_timestamp()")
    return now


async def replace_triggers(conn: Connection, *, environment: str, app: App) -> None:
    """Make the recurrences of triggers those of `app`. One whose cron, zone or jitter stay the same keeps its place,
    and each its pause.
    """
    now = await get_time(conn)
    wanted = {
        trigger_recurrence_id(environment, workflow.name, position): (workflow.name, trigger)
        for workflow in app.workflows.values()
        for position, trigger in enumerate(workflow.recurrences)
    }
    await conn.execute(
        "DELETE FROM penstock.recurrences WHERE environment = $1 AND origin = 'trigger' AND NOT id = ANY($2::uuid[])",
        environment,
        list(wanted),
    )
    for id, (workflow, trigger) in sorted(wanted.items()):
        await _put_trigger(conn, id, environment, workflow, trigger, now)


async def _put_trigger(
    conn: Connection, id: UUID, environment: str, workflow: str, trigger: RecurrenceTrigger, now: datetime
) -> None:
    tick_at = next_tick(Rule(trigger.cron, None, trigger.start, trigger.timezone, trigger.end), now)
    await conn.execute(
        """
        INSERT INTO penstock.recurrences AS c (
            id, environment, workflow, origin, cron, timezone, overlap, catch_up_seconds, jitter_seconds, next_tick_at,
                due_at, start_at, end_at, times, ticks_left, pause_after_failures
        )
        VALUES ($1, $2, $3, 'trigger', $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13, $14)
        ON CONFLICT (id) DO UPDATE SET
            overlap = EXCLUDED.overlap, catch_up_seconds = EXCLUDED.catch_up_seconds, cron = EXCLUDED.cron,
            timezone = EXCLUDED.timezone, jitter_seconds = EXCLUDED.jitter_seconds, start_at = EXCLUDED.start_at,
            end_at = EXCLUDED.end_at, times = EXCLUDED.times, pause_after_failures = EXCLUDED.pause_after_failures,
            (next_tick_at, due_at, held_since, ticks_left) = (
                SELECT CASE WHEN is_same THEN c.next_tick_at ELSE EXCLUDED.next_tick_at END,
                       CASE WHEN is_same THEN c.due_at WHEN c.paused_at IS NULL THEN EXCLUDED.due_at END,
                       CASE WHEN is_same THEN c.held_since END,
                       CASE WHEN is_same THEN c.ticks_left ELSE EXCLUDED.ticks_left END
                FROM (
                    SELECT (c.cron, c.timezone, c.jitter_seconds, c.start_at, c.end_at, c.times)
                           IS NOT DISTINCT FROM (EXCLUDED.cron, EXCLUDED.timezone, EXCLUDED.jitter_seconds,
                           EXCLUDED.start_at, EXCLUDED.end_at, EXCLUDED.times)
                ) s (is_same)
            )
        """,
        id,
        environment,
        workflow,
        trigger.cron,
        trigger.timezone,
        trigger.overlap,
        trigger.catch_up_seconds,
        trigger.jitter_seconds,
        tick_at,
        None if tick_at is None else tick_at + jitter(id, tick_at, timedelta(seconds=trigger.jitter_seconds)),
        trigger.start,
        trigger.end,
        trigger.times,
        trigger.pause_after_failures,
    )


async def set_recurrence(conn: Connection, *, request: RecurrenceRequest) -> bool:
    """Set the recurrence of a workflow for a thing; one that is there is replaced, and stays paused if it is.

    It begins one tick later than asked when it would begin with a start that is not after the next tick of the one it
    replaces (as in Bubble), and when the asking chain began with a recurrence and it would tick at once. Raises
    Permanent when recurrences have set one another up beyond the depth limit. Where depth is only observed, that is
    recorded instead, once per path; returns whether it was.
    """
    now = await get_time(conn)
    first, second = request.first_ticks(now)
    row = await _store(conn, request, first, second, now)
    if row["generation"] <= row["depth_limit"]:
        return False
    place = (
        f"number {row['generation']} of recurrences that each set up the next, beyond the depth limit of "
        f"{row['depth_limit']} in {request.environment}"
    )
    if row["depth_policy"] == "observe":
        what = f"the recurrence of {request.workflow} that it sets is {place}"
        return (
            request.run_id is not None
            and not row["was_observed"]
            and await record_observed_step(conn, run_id=request.run_id, what=what)
        )
    raise Permanent(
        f"this recurrence of {request.workflow} would be {place}; set it from a run that no recurrence has started",
        kind=Termination.DEPTH_LIMIT.value,
    )


_STORE: Final = """
    WITH root AS (
        SELECT (r.context -> 'recurrence' ->> 'id')::uuid AS id,
               (r.context -> 'recurrence' ->> 'generation')::int AS generation,
               r.context -> 'recurrence' ? 'observed' AS was_observed
        FROM penstock.runs r
        WHERE r.id = $12 AND r.context ? 'recurrence'
    ), given AS (
        SELECT t.tick_at,
               coalesce((SELECT CASE WHEN root.id = $1 THEN root.generation ELSE root.generation + 1 END
                   FROM root), 0) AS generation,
               coalesce((SELECT root.was_observed FROM root), false) AS was_observed
        FROM (
            SELECT CASE WHEN $13::timestamptz < $15::timestamptz + $16::interval AND EXISTS (SELECT FROM root)
                        THEN $14::timestamptz ELSE $13 END AS tick_at
        ) t
    )
    INSERT INTO penstock.recurrences AS c (
        id, environment, workflow, origin, thing, cron, every, start_at, timezone, catch_up_seconds,
        jitter_seconds, parameters, context, generation, next_tick_at, due_at, overlap, end_at, times, ticks_left,
        pause_after_failures, is_observed
    )
    SELECT $1, $2, $3, 'step', $4, $5, $6, $7, $8, $9, 0, $10, $11, g.generation, g.tick_at, g.tick_at, $17, $18,
           $19, $19, $20, g.was_observed OR g.generation > e.depth_limit
    FROM given g, penstock.environments e
    WHERE e.name = $2
    ON CONFLICT (id) DO UPDATE SET
        cron = EXCLUDED.cron, every = EXCLUDED.every, start_at = EXCLUDED.start_at, timezone = EXCLUDED.timezone,
        catch_up_seconds = EXCLUDED.catch_up_seconds, parameters = EXCLUDED.parameters, context = EXCLUDED.context,
        generation = EXCLUDED.generation, held_since = NULL, overlap = EXCLUDED.overlap, end_at = EXCLUDED.end_at,
        times = EXCLUDED.times, ticks_left = EXCLUDED.ticks_left,
        pause_after_failures = EXCLUDED.pause_after_failures, is_observed = EXCLUDED.is_observed,
        (next_tick_at, due_at) = (
            SELECT s.tick_at, CASE WHEN c.paused_at IS NULL THEN s.tick_at END
            FROM (SELECT CASE WHEN $7 <= c.next_tick_at AND $7 = $13 THEN $14
                ELSE EXCLUDED.next_tick_at END) s (tick_at)
        )
    RETURNING c.generation, (SELECT g.was_observed FROM given g) AS was_observed,
        (SELECT e.depth_limit FROM penstock.environments e WHERE e.name = c.environment) AS depth_limit,
        (SELECT e.depth_policy FROM penstock.environments e WHERE e.name = c.environment) AS depth_policy
    """


async def _store(
    conn: Connection, request: RecurrenceRequest, first: datetime | None, second: datetime | None, now: datetime
) -> Record:
    """Insert or replace the recurrence; its generation, whether it comes from one that was observed to be too deep, and
    what its environment says of depth.
    """
    catch_up = _CRON_CATCH_UP if request.rule.every is None else _STEP_CATCH_UP
    row = await conn.fetchrow(
        _STORE,
        request.id, request.environment, request.workflow, request.thing, request.rule.cron, request.rule.every,
        request.rule.start, request.rule.timezone, catch_up.total_seconds(), request.parameters, request.context,
        request.chain_id, first, second, now, AT_ONCE, request.overlap, request.rule.end, request.times,
        request.pause_after_failures,
    )  # fmt: skip
    assert row is not None, "an insert that updates on conflict returns its row"
    return row


async def stop_recurrence(conn: Connection, *, environment: str, id: UUID) -> bool:
    """Delete a recurrence; runs that it has started continue. False when there is none of that id."""
    status = await conn.execute("DELETE FROM penstock.recurrences WHERE id = $1 AND environment = $2", id, environment)
    return status != "DELETE 0"
