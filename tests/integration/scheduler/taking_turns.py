"""What tests of the scheduler's loops share: runs that are admitted, and performed as an executor would."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from penstock import clock
from penstock.db import Connection
from penstock.domain.ids import new_run_id
from penstock.runs.admission import admit
from penstock.runs.lists import ListRequest, insert_list
from penstock.runs.requests import CheckedRun
from tests.factories import build_run
from tests.integration.scheduling import ENVIRONMENT, Station


def root(scheduled_at: datetime | None = None, *, priority: int = 5) -> CheckedRun:
    return build_run(
        environment=ENVIRONMENT,
        workflow="notify",
        version=1,
        parameters={"name": "a"},
        scheduled_at=scheduled_at,
        priority=priority,
    )


async def admit_all(station: Station, runs: Sequence[CheckedRun]) -> list[UUID]:
    await station.database.in_transaction(lambda conn: admit(conn, runs))
    return [run.run_id for run in runs]


async def let_it_run(station: Station, run_id: UUID, *, crashes: int = 0, lease: timedelta) -> None:
    await station.fetch(
        """
        UPDATE penstock.runs
        SET state = 'running', attempt = attempt + 1, owner = 'dead', crashes = $2, started_at = clock_timestamp(),
            lease_expires_at = clock_timestamp() + $3
        WHERE id = $1
        """,
        run_id,
        crashes,
        lease,
    )


async def stop_chain(station: Station, chain_id: UUID) -> None:
    await station.fetch(
        "INSERT INTO penstock.chains (id, environment, runs, stopped_at) VALUES ($1, $2, 1, clock_timestamp())",
        chain_id,
        ENVIRONMENT,
    )


async def state_is(station: Station, list_id: object, state: str) -> bool:
    return await station.fetchval("SELECT state FROM penstock.lists WHERE id = $1::text::uuid", str(list_id)) == state


async def count_is(station: Station, count: int) -> bool:
    return len(await station.runs()) == count


async def store_list(station: Station, items: int, *, is_sequential: bool = False) -> UUID:
    request = ListRequest(new_run_id(), ENVIRONMENT, "notify", clock.now(), is_sequential=is_sequential)

    async def store(conn: Connection) -> None:
        await insert_list(conn, request=request, parameters=[{"name": f"{number}"} for number in range(items)])

    await station.database.in_transaction(store)
    return request.id
