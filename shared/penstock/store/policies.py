"""SQL of the limits and policies of an environment: what may be changed while everything runs, and who has changed it.

Each deployment sets those that its app.yaml names; the others stay as they were set here.
"""

from typing import Final

from pydantic import JsonValue

from penstock.db import Connection
from penstock.domain.policies import SettingsChange
from penstock.store.audit import Act, AuditAction, note_acts

SETTINGS: Final = (
    "depth_limit",
    "depth_policy",
    "chain_runs_limit",
    "chain_workload_limit",
    "notification_addresses",
    "notification_webhooks",
    "notification_slack",
    "notification_every",
    "workload_allowance",
    "workload_spike_factor",
    "workload_spike_minimum",
    "retention",
)
"""The names of all settings, in the order in which they are shown."""


async def get_settings(conn: Connection, *, environment: str) -> dict[str, JsonValue]:
    """The settings as they are, by name. A chain_workload_limit of null is none."""
    row = await conn.fetchrow(
        """
        SELECT depth_limit, depth_policy, chain_runs_limit, chain_workload_limit, notification_addresses,
               notification_webhooks, notification_slack, notification_every,
               workload_allowance, workload_spike_factor, workload_spike_minimum, retention
        FROM penstock.environments
        WHERE name = $1
        """,
        environment,
    )
    assert row is not None, "both environments are made by a migration"
    return dict(row)


async def change_settings(
    conn: Connection, *, environment: str, change: SettingsChange, actor: str
) -> dict[str, JsonValue]:
    """Change what is given, note who did, and return what holds now. What is admitted from the commit on goes by it.

    To be called in a transaction.
    """
    await conn.execute("SELECT FROM penstock.environments WHERE name = $1 FOR NO KEY UPDATE", environment)
    before = await get_settings(conn, environment=environment)
    wanted = before | change.model_dump(mode="json", exclude_none=True)
    await conn.execute(
        """
        UPDATE penstock.environments
        SET depth_limit = $2, depth_policy = $3, chain_runs_limit = $4, chain_workload_limit = nullif($5::float8, 0),
            notification_addresses = $6, notification_webhooks = $7, notification_slack = $8, notification_every = $9,
            workload_allowance = $10, workload_spike_factor = $11, workload_spike_minimum = $12, retention = $13
        WHERE name = $1
        """,
        environment,
        *(wanted[name] for name in SETTINGS),
    )
    return await note_changed_settings(conn, environment=environment, before=before, actor=actor)


async def note_changed_settings(
    conn: Connection, *, environment: str, before: dict[str, JsonValue], actor: str
) -> dict[str, JsonValue]:
    """Note which settings are no longer what they were `before` in this transaction; returns what holds now."""
    after = await get_settings(conn, environment=environment)
    changed = [name for name, value in after.items() if value != before[name]]
    if changed:
        was, now = {name: before[name] for name in changed}, {name: after[name] for name in changed}
        await note_acts(conn, [Act(environment, actor, AuditAction.SETTINGS_SET, "", was, now)])
    return after
