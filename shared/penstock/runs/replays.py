"""A replay: a delivery that is stored starts runs again, by the definitions of now, as if it came in at this moment.

*Model.* A replay is a delivery of its own. It names its origin, has the same body, headers and verdict, and no key:
copies of the origin are still known by the origin, and nothing is a copy of a replay. Its runs are new runs, with the
depth and the chain of those of its origin: what could not go deeper the first time cannot by being replayed.

*Twice.* Who asks chooses the id of the replay. Asked for again under the same id, it does nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from multidict import CIMultiDict
from pydantic import JsonValue

from penstock import clock
from penstock.bodies import Undecodable, decode_payload
from penstock.db import Connection
from penstock.domain.deliveries import DeliveryVerdict
from penstock.domain.lineage import OUTSIDE, Lineage, LineageSeal, read_trace
from penstock.domain.runs import Admission
from penstock.errors import Permanent
from penstock.runs.admission import admit_deliveries
from penstock.runs.deliveries import NewDelivery
from penstock.runs.requests import CheckedRun
from penstock.runs.views.runs import has_run
from penstock.runs.webhook_runs import Event, make_runs
from penstock.store.audit import Act, AuditAction, note_acts
from penstock.store.deployments import CompiledDeployment
from penstock.store.installation import get_lineage_key
from penstock.webhooks.events import Events, join_types


class NotReplayable(Permanent):
    """The delivery cannot start runs as things are; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A delivery as it is stored."""

    id: UUID
    environment: str
    source: str
    headers: Mapping[str, str]
    body: bytes
    verdict: DeliveryVerdict | None
    received_at: datetime
    run_ids: Sequence[UUID]


class ReplayRequest(NamedTuple):
    """Which delivery is to be replayed, under which id, and who asks."""

    origin_id: UUID
    environment: str
    id: UUID
    actor: str


class Replay(NamedTuple):
    """What is to be stored: a new delivery of `origin` with its runs."""

    delivery: NewDelivery
    runs: tuple[CheckedRun, ...]


class Replayed(NamedTuple):
    """The ids of the replays that are new, and what became of the runs of these."""

    ids: Collection[UUID]
    admissions: Sequence[Admission]


async def find_origins(conn: Connection, *, ids: Sequence[UUID], environment: str | None = None) -> list[Origin]:
    """Those of these deliveries that there are, the oldest first."""
    rows = await conn.fetch(
        """
        SELECT d.id, d.environment, d.source, d.headers, d.body, d.verdict, d.received_at, d.run_ids
        FROM penstock.deliveries d
        WHERE d.id = ANY($1::uuid[]) AND ($2::text IS NULL OR d.environment = $2)
        ORDER BY d.received_at, d.id
        """,
        ids,
        environment,
    )
    return [Origin(**row) for row in rows]


def plan_replay(
    origin: Origin, id: UUID, *, deployment: CompiledDeployment, lineage: Lineage, due: timedelta | None = None
) -> Replay:
    """The replay of `origin` under `id`, with a run for each workflow that wants it now; due now, or `due` from now.

    Raises NotReplayable when its source is not deployed any more, or its body cannot be read.
    """
    source = deployment.app.sources.get(origin.source)
    if source is None:
        raise NotReplayable(
            f"the source {origin.source!r} of delivery {origin.id} is not deployed to {origin.environment} any more; "
            "declare it in app.yaml again, and deploy"
        )
    headers = CIMultiDict(origin.headers)
    try:
        payload = decode_payload(origin.body, headers.get("content-type", ""))
    except Undecodable as error:
        raise NotReplayable(f"delivery {origin.id} cannot be read: {error}") from None
    events = Events(source, deployment.app)
    types = events.types_of(headers, payload)
    event = Event(
        delivery_id=id,
        environment=origin.environment,
        source=origin.source,
        type=join_types(types),
        event_id=events.id_of(headers, payload),
        payload=payload,
        headers=origin.headers,
        received_at=clock.now(),
        trace={**read_trace({name: origin.headers.get(name) for name in ("traceparent", "tracestate", "baggage")})}
        or None,
    )
    runs = make_runs(event, events.workflows_for(types), deployment, lineage, due)
    return Replay(_delivery(origin, event, runs, deployment.version), runs)


def _delivery(origin: Origin, event: Event, runs: Sequence[CheckedRun], version: int) -> NewDelivery:
    return NewDelivery(
        id=event.delivery_id,
        environment=origin.environment,
        source=origin.source,
        dedup_key=None,
        type=event.type,
        version=version,
        run_ids=tuple(run.run_id for run in runs),
        headers=origin.headers,
        body=origin.body,
        verdict=origin.verdict,
        origin_id=origin.id,
    )


async def store_replays(conn: Connection, replays: Sequence[Replay]) -> Replayed:
    """Store replays and admit their runs; leaves out those whose id is taken. To be called in a transaction.

    Raises StaleDefinitions as `admit` does.
    """
    runs = [run for replay in replays for run in replay.runs]
    ordered = sorted((replay.delivery for replay in replays), key=lambda delivery: delivery.id.int)
    admissions, ids = await admit_deliveries(conn, runs, ordered)
    return Replayed(ids, [admissions[position] for position in sorted(admissions)])


async def replay_one(
    conn: Connection, request: ReplayRequest, *, deployment: CompiledDeployment, due: timedelta | None = None
) -> Replayed | None:
    """Replay a delivery, with the note for the audit; None when the environment has none of that id. To be called in a
    transaction.

    Raises NotReplayable, and StaleDefinitions as `admit` does.
    """
    found = await find_origins(conn, ids=[request.origin_id], environment=request.environment)
    if not found:
        return None
    lineages = await find_lineages(conn, found)
    replay = plan_replay(found[0], request.id, deployment=deployment, lineage=lineages[request.origin_id], due=due)
    replayed = await store_replays(conn, [replay])
    if replayed.ids:
        after: JsonValue = {"delivery": str(request.id), "runs": [str(run.run_id) for run in replay.runs]}
        act = Act(request.environment, request.actor, AuditAction.DELIVERY_REPLAY, str(request.origin_id), None, after)
        await note_acts(conn, [act])
    return replayed


async def find_lineages(conn: Connection, origins: Sequence[Origin]) -> dict[UUID, Lineage]:
    """Where the runs of each delivery belong, by its id: where those of the delivery do that came in first, as far as
    that is known.

    A delivery without runs was sent by the run that its signed baggage names; when that run is gone (retention), the
    chain and the depth suffice.
    """
    rows = await conn.fetch(
        """
        SELECT r.id, r.depth, r.chain_id, p.id AS parent_run_id
        FROM penstock.runs r
        LEFT JOIN penstock.runs p ON p.id = r.parent_run_id
        WHERE r.id = ANY($1::uuid[])
        """,
        [run_id for origin in origins for run_id in origin.run_ids],
    )
    stored = {
        row["id"]: Lineage(row["depth"], row["chain_id"], row["parent_run_id"]) if row["depth"] else OUTSIDE
        for row in rows
    }
    seal: LineageSeal | None = None
    lineages: dict[UUID, Lineage] = {}
    for origin in origins:
        known = next((stored[run_id] for run_id in origin.run_ids if run_id in stored), None)
        if known is None and "baggage" in origin.headers:
            seal = seal or LineageSeal(await get_lineage_key(conn))
            known = await _read_baggage(conn, seal, origin)
        lineages[origin.id] = known or OUTSIDE
    return lineages


async def _read_baggage(conn: Connection, seal: LineageSeal, origin: Origin) -> Lineage | None:
    claimed = seal.read(origin.headers["baggage"], origin.received_at)
    if claimed is None or claimed.parent_run_id is None:
        return None
    is_stored = await has_run(conn, run_id=claimed.parent_run_id, environment=origin.environment)
    return claimed if is_stored else claimed._replace(parent_run_id=None)
