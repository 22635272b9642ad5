"""Which ends of runs a deployed app waits for (`on: run`); the database notes just those, in `penstock.run_ends`."""

from penstock.db import Connection
from penstock.definitions.models import App


async def watch_run_ends(conn: Connection, *, environment: str, app: App) -> None:
    """Note the ends that workflows of `app` wait for, from the commit on, and no others."""
    wanted = {
        (state.value, workflow)
        for waiting in app.workflows.values()
        for trigger in waiting.run_ends
        for state in trigger.states
        for workflow in trigger.workflows
    }
    await conn.execute("DELETE FROM penstock.run_watches WHERE environment = $1", environment)
    await conn.execute(
        """
        INSERT INTO penstock.run_watches (environment, state, workflow)
        SELECT $1, q.state, q.workflow FROM unnest($2::text[], $3::text[]) AS q (state, workflow)
        """,
        environment,
        [state for state, _ in sorted(wanted)],
        [workflow for _, workflow in sorted(wanted)],
    )
