"""SQL of the management API: settings of an environment."""

from collections.abc import Sequence

from penstock.db import Connection
from penstock_ingress.repository.views import EnvironmentSettings


async def get_settings(conn: Connection, *, environment: str) -> EnvironmentSettings:
    """The settings as they are."""
    row = await conn.fetchrow(
        """
        SELECT depth_limit, chain_runs_limit, notification_addresses, workload_allowance, workload_spike_factor,
               workload_spike_minimum
        FROM penstock.environments
        WHERE name = $1
        """,
        environment,
    )
    assert row is not None, "both environments are made by a migration"
    return EnvironmentSettings(**row)


async def change_settings(
    conn: Connection,
    *,
    environment: str,
    depth_limit: int | None,
    chain_runs_limit: int | None,
    notification_addresses: Sequence[str] | None,
) -> None:
    """Change what is given. What is admitted from the commit on goes by it."""
    await conn.execute(
        """
        UPDATE penstock.environments
        SET depth_limit = coalesce($2, depth_limit), chain_runs_limit = coalesce($3, chain_runs_limit),
            notification_addresses = coalesce($4::text[], notification_addresses)
        WHERE name = $1
        """,
        environment,
        depth_limit,
        chain_runs_limit,
        notification_addresses,
    )
