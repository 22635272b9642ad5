"""Stopping and resuming a whole chain from outside."""

from typing import Final
from uuid import UUID

from penstock.runs.chains import ChainName, Grant, announce_stop, resume_chain, stop_chain
from penstock.runs.views.chains import find_chain
from penstock_ingress.repository.views import ChainGrant, ResumedChain, StoppedChain
from penstock_ingress.room import Room
from penstock_ingress.rules.management import ChainResumeRequest, ChainStopRequest
from penstock_ingress.rules.replies import Refusal, problem

_BY: Final = "the management API"


async def stop(room: Room, environment: str, run_id: UUID, wanted: ChainStopRequest, actor: str) -> StoppedChain:
    """Stop the chain of that id, or of the run of that id. Raises Refusal, DatabaseUnavailable."""
    chain = await _find(room, environment, run_id)
    stopped = await stop_chain(room.database, chain, reason=wanted.reason, by=_BY, actor=actor)
    announce_stop(room.publisher, chain, stopped, reason=wanted.reason, by=_BY)
    return StoppedChain(id=chain.id, stopped=stopped.is_new, cancelled=stopped.cancelled)


async def resume(room: Room, environment: str, run_id: UUID, wanted: ChainResumeRequest, actor: str) -> ResumedChain:
    """Lift a stop, and readmit what fits now. Raises Refusal, DatabaseUnavailable."""
    chain = await _find(room, environment, run_id)
    grant = Grant(wanted.extra_depth, wanted.extra_runs, wanted.extra_workload)
    resumed = await resume_chain(room.database, chain, grant=grant, by=_BY, actor=actor)
    room.publisher.chain_resumed(chain.id, environment, by=_BY, runs=resumed.resumed)
    return ResumedChain(
        resumed=resumed.resumed,
        still_terminated=resumed.still_terminated,
        grant=ChainGrant(**resumed.grant._asdict()),
    )


async def _find(room: Room, environment: str, run_id: UUID) -> ChainName:
    async with room.database.connection() as conn:
        head = await find_chain(conn, run_id=run_id, environment=environment)
    if head is None:
        raise Refusal(problem(404, f"{environment} has no chain {run_id}, and no run of that id"))
    return ChainName(head.id, environment)
