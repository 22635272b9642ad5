"""SQL of the weights of activities: which differ from the published ones, by environment."""

from collections.abc import Mapping

from pydantic import JsonValue

from penstock.db import Connection
from penstock.definitions.models import ENVIRONMENTS
from penstock.domain.weights import PUBLISHED_WEIGHTS
from penstock.domain.workload import ACTIVITIES, Activity
from penstock.store.audit import Act, AuditAction, note_acts


async def list_changed_weights(conn: Connection) -> dict[str, dict[str, float]]:
    """By environment, the weights that differ from the published ones, by activity."""
    rows = await conn.fetch("SELECT environment, activity, weight FROM penstock.workload_weights")
    changed: dict[str, dict[str, float]] = {environment: {} for environment in ENVIRONMENTS}
    for row in rows:
        changed[row["environment"]][row["activity"]] = row["weight"]
    return changed


async def get_weights(conn: Connection, *, environment: str) -> dict[Activity, float]:
    """What each activity weighs there now."""
    rows = await conn.fetch(
        "SELECT activity, weight FROM penstock.workload_weights WHERE environment = $1", environment
    )
    changed = {row["activity"]: row["weight"] for row in rows}
    return {activity: changed.get(activity.value, PUBLISHED_WEIGHTS[activity]) for activity in ACTIVITIES}


async def change_weights(
    conn: Connection, *, environment: str, changes: Mapping[Activity, float | None], actor: str
) -> dict[Activity, float]:
    """Let activities weigh something else (None: what is published), and note who did; what each weighs now. Every
    process goes by it within seconds. To be called in a transaction.
    """
    before = await get_weights(conn, environment=environment)
    await conn.execute(
        """
        WITH change AS MATERIALIZED (
            SELECT * FROM unnest($2::text[], $3::float8[]) AS q (activity, weight)
        ), gone AS (
            DELETE FROM penstock.workload_weights w USING change q
            WHERE w.environment = $1 AND w.activity = q.activity AND q.weight IS NULL
        )
        INSERT INTO penstock.workload_weights (environment, activity, weight)
        SELECT $1, q.activity, q.weight FROM change q WHERE q.weight IS NOT NULL
        ON CONFLICT (environment, activity) DO UPDATE SET weight = EXCLUDED.weight, changed_at = EXCLUDED.changed_at
        """,
        environment,
        [activity.value for activity in changes],
        list(changes.values()),
    )
    after = await get_weights(conn, environment=environment)
    changed = [activity for activity in after if after[activity] != before[activity]]
    if changed:
        was: JsonValue = {activity.value: before[activity] for activity in changed}
        now: JsonValue = {activity.value: after[activity] for activity in changed}
        await note_acts(conn, [Act(environment, actor, AuditAction.WEIGHTS_SET, "", was, now)])
    return after
