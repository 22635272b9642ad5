"""SQL of the management API: settings of an environment."""

from collections.abc import Mapping

from pydantic import JsonValue

from penstock.db import Connection
from penstock_ingress.repository.views import EnvironmentSettings


async def get_settings(conn: Connection, *, environment: str) -> EnvironmentSettings:
    """The settings as they are."""
    row = await conn.fetchrow(
        """
        SELECT depth_limit, depth_policy, chain_runs_limit, chain_workload_limit, notification_addresses,
               workload_allowance, workload_spike_factor, workload_spike_minimum
        FROM penstock.environments
        WHERE name = $1
        """,
        environment,
    )
    assert row is not None, "both environments are made by a migration"
    return EnvironmentSettings(**row)


async def change_settings(conn: Connection, *, environment: str, values: Mapping[str, JsonValue]) -> None:
    """Change what is given, by name; null stays as it is. What is admitted from the commit on goes by it."""
    await conn.execute(
        """
        UPDATE penstock.environments
        SET depth_limit = coalesce($2, depth_limit), depth_policy = coalesce($3, depth_policy),
            chain_runs_limit = coalesce($4, chain_runs_limit),
            chain_workload_limit = CASE WHEN $5::float8 IS NULL THEN chain_workload_limit ELSE nullif($5, 0) END,
            notification_addresses = coalesce($6::text[], notification_addresses)
        WHERE name = $1
        """,
        environment,
        values["depth_limit"],
        values["depth_policy"],
        values["chain_runs_limit"],
        values["chain_workload_limit"],
        values["notification_addresses"],
    )
