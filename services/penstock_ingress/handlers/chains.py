"""A whole chain: its picture, and stopping and resuming it from outside."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from penstock.db import Connection
from penstock.domain.pictures import ShownFold
from penstock.runs.chains import ChainName, Grant, announce_stop, resume_chain, stop_chain
from penstock.runs.views.chains import find_chain, list_chains
from penstock.runs.views.folded import list_folded
from penstock.runs.views.models import ChainCycle, ChainHead, ChainNode, ChainPicture
from penstock.runs.views.pictures import MAX_READ, measure_chain, read_picture
from penstock_ingress.handlers.pages import (
    read_chain_filter,
    read_fold_token,
    read_id_of,
    read_limit,
    read_nodes,
    read_run_token,
    write_token,
)
from penstock_ingress.repository.overview_views import ChainPage
from penstock_ingress.repository.views import ChainGrant, ChainTree, ResumedChain, StoppedChain
from penstock_ingress.room import Room
from penstock_ingress.rules.management import ChainResumeRequest, ChainStopRequest
from penstock_ingress.rules.replies import Refusal, problem

_BY: Final = "the management API"


async def show_chains(room: Room, environment: str, query: Mapping[str, str]) -> ChainPage:
    """Chains that have scheduled anything, newest first. Raises Refusal."""
    wanted, after, limit = read_chain_filter(environment, query), read_run_token(query), read_limit(query)
    async with room.database.connection() as conn:
        page = await list_chains(conn, wanted, after=after, limit=limit)
    return ChainPage(results=page.results, after=write_token(*page.after) if page.after else None)


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


async def show_picture(room: Room, environment: str, run_id: UUID, query: Mapping[str, str]) -> ChainPicture:
    """The chain with that id, or of the run with that id, as a tree that fits a screen. Raises Refusal."""
    most, start = read_nodes(query), read_id_of(query, "from")
    head = await _find_head(room, environment, run_id)

    async def read(conn: Connection) -> ChainPicture:
        picture = await read_picture(conn, chain_id=head.id)
        root = None if start is None else picture.find_fold(start)
        if start is not None and root is None:
            raise _not_in(head, start)
        cycle = picture.find_cycle()
        return ChainPicture(
            id=head.id,
            environment=environment,
            read=picture.read,
            is_complete=picture.read < MAX_READ,
            stopped_at=head.stopped_at,
            gauges=await measure_chain(conn, chain_id=head.id),
            cycle=None if cycle is None else ChainCycle(workflows=list(cycle.workflows), rounds=cycle.rounds),
            nodes=[_show_node(node) for node in picture.take(most, root)],
        )

    async with room.drawing:
        return await room.database.in_transaction(read)


async def show_folded(room: Room, environment: str, run_id: UUID, query: Mapping[str, str]) -> ChainTree:
    """The runs that are in one node of the picture of their chain with a run. Raises Refusal."""
    limit, after = read_limit(query), read_fold_token(query)
    head = await _find_head(room, environment, run_id)
    of = read_id_of(query, "run") or run_id
    async with room.database.connection() as conn:
        page = await list_folded(conn, chain_id=head.id, run_id=of, after=after, limit=limit)
    if page is None:
        raise Refusal(problem(404, f"the chain {head.id} has no run {of}"))
    after = page.after
    token = None if after is None else write_token(str(after.id), int(after.has_keyed))
    return ChainTree(results=page.results, after=token)


def _show_node(node: ShownFold) -> ChainNode:
    fold, parent, hidden = node
    return ChainNode(
        number=fold.number, parent=parent, run=fold.first, runs=fold.runs, workflow=fold.workflow, state=fold.state,
        depth=fold.depth, cut=fold.cut, hidden=hidden,
    )  # fmt: skip


def _not_in(head: ChainHead, run_id: UUID) -> Refusal:
    detail = f"the chain {head.id} has no run {run_id}, or it is not among the {MAX_READ:,} nearest to its root"
    return Refusal(problem(404, detail))


async def _find(room: Room, environment: str, run_id: UUID) -> ChainName:
    return ChainName((await _find_head(room, environment, run_id)).id, environment)


async def _find_head(room: Room, environment: str, run_id: UUID) -> ChainHead:
    async with room.database.connection() as conn:
        head = await find_chain(conn, run_id=run_id, environment=environment)
    if head is None:
        raise Refusal(problem(404, f"{environment} has no chain {run_id}, and no run of that id"))
    return head
