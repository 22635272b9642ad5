"""Which trace and which span a run is, derived from its row: nothing about it has to be stored or sent."""

import secrets
from typing import Final, NamedTuple
from uuid import UUID

from penstock.domain.lineage import parse_traceparent

_LAST_64_BITS: Final = (1 << 64) - 1


class RunIdentity(NamedTuple):
    """What places a run in its trace. `traceparent` is that of the request which began its chain, if it had one."""

    run_id: UUID
    attempt: int
    chain_id: UUID
    parent_run_id: UUID | None
    traceparent: str | None

    @property
    def trace_id(self) -> int:
        """The trace of the chain."""
        given = parse_traceparent(self.traceparent)
        return self.chain_id.int if given is None else given.trace_id

    @property
    def is_sampled(self) -> bool | None:
        """What the request that began the chain said; None when it is ours to decide."""
        given = parse_traceparent(self.traceparent)
        return None if given is None else given.is_sampled

    @property
    def span_id(self) -> int:
        """The span of this attempt: known from the run's id for the first, a new one for each later attempt."""
        return span_of(self.run_id) if self.attempt == 1 else secrets.randbits(64) or 1

    @property
    def parent_span_id(self) -> int | None:
        """The span of the first attempt, of the run that scheduled this one, or of the request; None for a root."""
        if self.attempt > 1:
            return span_of(self.run_id)
        if self.parent_run_id is not None:
            return span_of(self.parent_run_id)
        given = parse_traceparent(self.traceparent)
        return None if given is None else given.span_id


def span_of(run_id: UUID) -> int:
    """The span of a run's first attempt. Never 0: a UUID's variant is among these bits."""
    return run_id.int & _LAST_64_BITS


def traceparent_of(trace_id: int, span_id: int, *, is_sampled: bool) -> str:
    """The header of W3C Trace Context."""
    return f"00-{trace_id:032x}-{span_id:016x}-{'01' if is_sampled else '00'}"
