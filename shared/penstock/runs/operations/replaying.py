"""One batch of the operation that replays deliveries: the oldest first, and only what came from outside, because a
replay of the replays would double them.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from penstock.db import Connection, Record
from penstock.definitions.compiled import CompiledApp
from penstock.definitions.models import App
from penstock.domain.deliveries import DeliveryFilter
from penstock.domain.ids import child_run_id
from penstock.domain.runs import Admission
from penstock.logs import get_logger
from penstock.runs.replays import NotReplayable, Replay, find_lineages, find_origins, plan_replay, store_replays
from penstock.runs.views.deliveries import MEETS, arguments_of
from penstock.store.deployments import CompiledDeployment, load_current

log = get_logger(__name__)

REPLAY_BATCH: Final = 100
"""Deliveries of one turn."""
_MAX_BYTES: Final = 8 * 1024 * 1024
"""Bodies of one turn, but for a single one that is larger: they are in memory at once."""
_DELAY: Final = timedelta(milliseconds=200)
"""Due runs are what schedulers look for, so these are stored as due a moment later."""
Reached = tuple[datetime, UUID]

_REPLAYABLE: Final = f"{MEETS} AND d.origin_id IS NULL"


class Batch(NamedTuple):
    """How many were replayed, where the next batch begins, and whether there is one."""

    replayed: int
    admissions: Sequence[Admission]
    reached: Reached | None
    is_last: bool


async def count_replayable(conn: Connection, of: DeliveryFilter) -> int:
    """How many deliveries meet the filter, replays left out."""
    count: int = await conn.fetchval(f"SELECT count(*) {_REPLAYABLE}", *arguments_of(of))
    return count


async def replay_batch(
    conn: Connection, of: DeliveryFilter, *, operation_id: UUID, before: datetime, reached: Reached | None
) -> Batch:
    """Replay the next deliveries that were received until `before`. What cannot be replayed is logged and passed over.

    To be called in a transaction. Raises StaleDefinitions when somebody deploys meanwhile.
    """
    found, is_last = await _find_next(conn, of, before, reached)
    if not found:
        return Batch(0, (), reached, is_last=True)
    environment = of.environment
    assert environment is not None, "an operation belongs to one environment"
    version, app = await load_current(conn, environment=environment) or (0, App(name=""))
    deployment = CompiledDeployment(version, app, CompiledApp(app))
    origins = await find_origins(conn, ids=[row["id"] for row in found])
    lineages = await find_lineages(conn, origins)
    replays: list[Replay] = []
    for origin in origins:
        # Derived from the origin, whose time it takes: a batch is stored by its ids, so in the order of the origins.
        id, lineage = child_run_id(origin.id, str(operation_id)), lineages[origin.id]
        try:
            replays.append(plan_replay(origin, id, deployment=deployment, lineage=lineage, due=_DELAY))
        except NotReplayable as error:
            log.warning("delivery.not_replayed", delivery_id=str(origin.id), error=str(error))
    replayed = await store_replays(conn, replays)
    last = found[-1]
    return Batch(len(replayed.ids), replayed.admissions, (last["received_at"], last["id"]), is_last)


async def _find_next(
    conn: Connection, of: DeliveryFilter, before: datetime, reached: Reached | None
) -> tuple[list[Record], bool]:
    """The next deliveries, as many as one turn may have in memory, and whether these are all."""
    rows = await conn.fetch(
        f"""
        SELECT d.id, d.received_at, octet_length(d.body) AS size {_REPLAYABLE}
          AND d.received_at <= $8
          AND d.received_at >= coalesce($9::timestamptz, '-infinity')
          AND ($9::timestamptz IS NULL OR (d.received_at, d.id) > ($9, $10::uuid))
        ORDER BY d.received_at, d.id
        LIMIT $11
        """,
        *arguments_of(of),
        before,
        reached[0] if reached else None,
        reached[1] if reached else None,
        REPLAY_BATCH + 1,
    )
    size, kept = 0, list[Record]()
    for row in rows[:REPLAY_BATCH]:
        size += row["size"]
        if kept and size > _MAX_BYTES:
            break
        kept.append(row)
    return kept, len(kept) == len(rows)
