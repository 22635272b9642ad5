"""`stop_chain: <chain id>`: nothing of the chain starts from then on, and what has not ended is cancelled.

A chain that is stopped again stays as it is, so the step may be performed twice. A run that stops its own chain is
cancelled with it, at this step.
"""

from typing import Final
from uuid import UUID

from penstock.definitions.models import StepAction
from penstock.errors import Permanent
from penstock.runs.chains import ChainName, announce_stop, stop_chain
from penstock.runs.views.chains import find_chain
from penstock_executor.steps.arguments import target_text, text, wrong
from penstock_executor.steps.outcomes import Done, Outcome
from penstock_executor.steps.specs import Call, StepSpec


async def stop(call: Call) -> Outcome:
    """Nothing, once the chain is stopped and its live runs are cancelled. Raises Permanent for an unknown chain."""
    environment, reason = call.run.environment, text(call, "reason") or ""
    async with call.tools.database.connection() as conn:
        head = await find_chain(conn, run_id=_read_id(call), environment=environment)
    if head is None:
        raise Permanent(f"{environment} has no chain {call.target}, and no run of that id", kind="unknown_chain")
    chain, by = ChainName(head.id, environment), f"run {call.run.id}"
    stopped = await stop_chain(call.tools.database, chain, reason=reason, by=by, actor=by)
    announce_stop(call.tools.publisher, chain, stopped, reason=reason, by=by)
    return Done()


def _read_id(call: Call) -> UUID:
    given = target_text(call)
    try:
        return UUID(given)
    except ValueError:
        raise wrong(call, f"the id of a chain is expected, and this is {given[:60]!r}") from None


SPEC: Final = StepSpec(action=StepAction.STOP_CHAIN, target="the id of a chain", arguments=("reason",), awaited=stop)
