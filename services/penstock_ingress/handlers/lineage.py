"""Where a request comes from: outside, or a run of this installation whose call went round through another service.

A run that continues a chain is deeper than the run that called, whatever environment it runs in: the chain's depth, its
size limit and a stop of it hold across both. Only in its own environment the calling run becomes its parent too, for
the path and the tree.
"""

from multidict import MultiMapping
from pydantic import JsonValue

from penstock import clock
from penstock.domain.lineage import OUTSIDE, Lineage
from penstock.runs.views.runs import has_run
from penstock.tracing import active
from penstock_ingress.room import Room
from penstock_ingress.rules.headers import read_trace_context


def find_trace(headers: MultiMapping[str]) -> dict[str, JsonValue] | None:
    """What the runs of this request keep of its trace; None when there is nothing. Where traces are recorded, the span
    of the request itself is what they begin with.
    """
    trace, spans = read_trace_context(headers), active()
    current = None if spans is None else spans.current_traceparent()
    return trace if current is None else {**(trace or {}), "traceparent": current}


async def find_lineage(room: Room, headers: MultiMapping[str], environment: str) -> Lineage:
    """Where the runs belong that this request starts: what our entry in `baggage` says, if there is one. Raises
    DatabaseUnavailable.

    The calling run may be gone by now (retention): then the signed entry is all there is, and it suffices.
    """
    if "baggage" not in headers:
        return OUTSIDE
    seal = await room.installation.find_seal()
    lineage = seal.read(",".join(headers.getall("baggage")), clock.now())
    if lineage is None or lineage.parent_run_id is None:
        return OUTSIDE
    async with room.database.connection() as conn:
        is_stored = await has_run(conn, run_id=lineage.parent_run_id, environment=environment)
    return lineage if is_stored else lineage._replace(parent_run_id=None)
