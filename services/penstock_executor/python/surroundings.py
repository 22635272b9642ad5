"""What code sees of its run: what it is, and what it came from."""

from functools import partial

from penstock.domain.lineage import LineageSeal
from penstock.sdk.context import Surroundings
from penstock.sdk.engine import RunInfo
from penstock.sdk.values import Thing
from penstock_executor.outside.requests import lineage_headers
from penstock_executor.python.secrets import UsedSecrets
from penstock_executor.runs import ClaimedRun, Values


def describe_run(run: ClaimedRun) -> RunInfo:
    """What code sees as `ctx.run`."""
    return RunInfo(
        str(run.id), str(run.chain_id), run.depth, run.depth_limit, run.attempt, run.environment, run.workflow,
        run.scheduled_at, run.started_at,
    )  # fmt: skip


def describe_surroundings(
    run: ClaimedRun, user: Values | None, secrets: UsedSecrets, seal: LineageSeal
) -> Surroundings:
    """What code sees beside: secrets, the user, and what started the run."""
    context = run.context or {}
    others = {
        name: value
        for name in ("webhook", "request", "change", "run_event", "recurrence")
        if isinstance(value := context.get(name), dict)
    }
    of_user = None if user is None else Thing(user, "user")
    return Surroundings(secrets, of_user, **others, outgoing_headers=partial(lineage_headers, run, seal))
