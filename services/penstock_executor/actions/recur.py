"""`recur: WORKFLOW`: runs of a workflow again and again, for a thing or for none, until stopped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

from penstock.contracts.messages import WakeScheduler
from penstock.db import Connection
from penstock.definitions.models import StepAction
from penstock.domain.states import Termination
from penstock.domain.ticks import MAX_FAILURES, MAX_TIMES, UTC_ZONE, Every, Overlap, Rule, check_cron, check_timezone
from penstock.expressions.language import describe_type
from penstock.runs.recurrences.rows import RecurrenceRequest, set_recurrence, stop_recurrence
from penstock_executor.effects import Effect, Group
from penstock_executor.runs import Values
from penstock_executor.steps.arguments import (
    bind,
    mapping,
    moment,
    number,
    target_text,
    text,
    thing_id,
    workflow,
    wrong,
)
from penstock_executor.steps.consumption import consumption, one_scheduled
from penstock_executor.steps.outcomes import Outcome, Write
from penstock_executor.steps.specs import Call, StepSpec


@dataclass(slots=True)
class ChangeRecurrence(Effect):
    """Have a workflow recur as `request` says; None: no more. `cut` is why it would have been refused."""

    id: UUID
    request: RecurrenceRequest | None
    cut: Termination | None = None

    @property
    def observed(self) -> Termination | None:
        """That of a recurrence that comes too late in a row of them."""
        return self.cut

    def group(self) -> Group:
        """All recurrences, whether they are set or stopped: two commits must meet their rows in one order."""
        return Group("recurrence")

    @classmethod
    async def apply(cls, conn: Connection, environment: str, effects: Sequence[Self]) -> None:
        """No results: ids are known before."""
        for effect in sorted(effects, key=lambda effect: effect.id):
            if effect.request is not None:
                is_observed = await set_recurrence(conn, request=effect.request)
                effect.cut = Termination.DEPTH_LIMIT if is_observed else None
            else:
                await stop_recurrence(conn, environment=environment, id=effect.id)


async def recur(call: Call) -> Outcome:
    """The recurrence's id. It derives from the workflow and the thing, so what is set again is replaced."""
    app = await call.tools.find_app(call.run.environment)
    target = workflow(app, call, target_text(call))
    start = call.arguments.get("start")
    request = RecurrenceRequest(
        environment=call.run.environment,
        workflow=target.name,
        thing=recurring_thing(call),
        rule=_rule(call),
        parameters=bind(app, target, mapping(call, "with")),
        chain_id=call.run.chain_id,
        run_id=call.run.id,
        context=_context(call),
        begins_later=start is None,
        overlap=_overlap(call),
        times=number(call, "times", MAX_TIMES),
        pause_after_failures=number(call, "pause_after_failures", MAX_FAILURES),
    )
    return Write(
        ChangeRecurrence(request.id, request), str(request.id), is_known=True, nudge=WakeScheduler.model_construct()
    )


def _rule(call: Call) -> Rule:
    """What `cron` or `every`, `start` and `timezone` say. A period without a start is counted from now."""
    cron, every, start = text(call, "cron"), text(call, "every"), call.arguments.get("start")
    given = text(call, "timezone")
    timezone = UTC_ZONE if given is None else given
    begins_at = None if start is None else moment(call, "start", start)
    end = call.arguments.get("end")
    ends_at = None if end is None else moment(call, "end", end)
    try:
        check_timezone(timezone)
        if cron is not None:
            check_cron(cron)
            return Rule(cron=cron, start=begins_at, timezone=timezone, end=ends_at)
    except ValueError as error:
        raise wrong(call, str(error)) from None
    if every not in frozenset(Every):
        raise wrong(
            call,
            f"`every` has to be one of {', '.join(Every)}, and it is "
            f"{describe_type(every) if every is None else repr(every)}",
        )
    return Rule(every=Every(every), start=begins_at or call.now, timezone=timezone, end=ends_at)


def _overlap(call: Call) -> Overlap:
    """What `overlap` says; runs of what a step sets may overlap."""
    given = text(call, "overlap")
    if given is not None and given not in frozenset(Overlap):
        raise wrong(call, f"`overlap` has to be one of {', '.join(Overlap)}, and it is {given!r}")
    return Overlap.ALLOW if given is None else Overlap(given)


def recurring_thing(call: Call) -> str | None:
    """What the recurrence is for. Null is an error: it would be another recurrence, for nothing."""
    if "for" not in call.arguments:
        return None
    found = thing_id(call, call.arguments["for"])
    if found is None:
        raise wrong(
            call, "`for` needs a thing or its id, and this is null; leave `for` out where the workflow recurs for none"
        )
    return found


def _context(call: Call) -> Values:
    """What the runs get of this one's: its user, as in Bubble."""
    user = (call.run.context or {}).get("user")
    return {} if user is None else {"user": user}


SPEC: Final = StepSpec(
    action=StepAction.RECUR,
    target="the name of a workflow",
    arguments=(
        "with",
        "cron",
        "every",
        "start",
        "end",
        "timezone",
        "times",
        "overlap",
        "pause_after_failures",
        "for",
    ),
    awaited=recur,
    writes=(ChangeRecurrence,),
    consumes=consumption(done=one_scheduled),
)
