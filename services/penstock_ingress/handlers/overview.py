"""What an environment does at this moment, and that it has changed."""

from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from typing import Final

from penstock import clock
from penstock.runs.views.overview import list_near_chains, list_recent_errors, sample_live_runs
from penstock.store.replicas import Minute, ReplicaRow, list_minutes, list_replicas
from penstock_ingress.repository.overview_views import Changes, Overview, OverviewMinute, OverviewReplica
from penstock_ingress.room import Room

_PERIOD: Final = timedelta(hours=1)
_LISTED: Final = 20


async def show_overview(room: Room, environment: str) -> Overview:
    """The last hour, what waits and why, what came near a limit or failed, and who works."""
    now = clock.now()
    async with room.database.connection() as conn:
        minutes = await list_minutes(conn, environment=environment, since=now - _PERIOD)
        sample = await sample_live_runs(conn, environment=environment)
        chains = await list_near_chains(conn, environment=environment, limit=_LISTED)
        errors = await list_recent_errors(conn, environment=environment, limit=_LISTED)
        replicas = await list_replicas(conn)
    late = timedelta() if sample.late_since is None else now - sample.late_since
    return Overview(
        environment=environment,
        at=now,
        minutes=_by_minute(minutes),
        lateness_seconds=max(0.0, late.total_seconds()),
        live=sample.reasons,
        is_exact=sample.is_exact,
        chains=chains,
        errors=errors,
        replicas=[_show_replica(replica) for replica in replicas],
    )


async def watch(room: Room, environment: str) -> AsyncGenerator[Changes, None]:
    """What has changed, whenever something has, at most once a second; at first everything."""
    changes = room.watching.follow(environment)
    try:
        async for topics in changes:
            yield Changes(topics=topics)
    finally:
        await changes.aclose()


def _by_minute(minutes: Sequence[Minute]) -> list[OverviewMinute]:
    outcomes: dict[object, dict[str, int]] = {}
    for counted in minutes:
        outcomes.setdefault(counted.minute, {})[counted.outcome] = counted.runs
    return [OverviewMinute(minute=minute, outcomes=runs) for minute, runs in outcomes.items()]


def _show_replica(replica: ReplicaRow) -> OverviewReplica:
    return OverviewReplica(
        id=replica.id, service=replica.service, host=replica.host, release=replica.release,
        started_at=replica.started_at, seen_at=replica.seen_at,
        health="silent" if replica.is_silent else "stuck" if replica.stuck else "working", stuck=list(replica.stuck),
    )  # fmt: skip
