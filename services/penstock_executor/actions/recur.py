"""`recur: WORKFLOW` and `stop_recurring: WORKFLOW`: runs of a workflow again and again, for a thing or for none, until
stopped.
"""

from pydantic import JsonValue

from penstock.contracts.messages import WakeScheduler
from penstock.domain.ticks import UTC_ZONE, Every, Rule, check_cron, check_timezone
from penstock.expressions.language import describe_type
from penstock.runs.recurrences.rows import RecurrenceRequest, step_recurrence_id
from penstock_executor.actions.arguments import bind, mapping, moment, target_text, text, thing_id, workflow, wrong
from penstock_executor.actions.steps import Call, Outcome, Write
from penstock_executor.runs import SetRecurrence, StopRecurrence, Values


async def recur(call: Call) -> Outcome:
    """The recurrence's id. It derives from the workflow and the thing, so what is set again is replaced."""
    app = await call.tools.find_app(call.run.environment)
    target = workflow(app, call, target_text(call, "the name of a workflow"))
    start = call.arguments.get("start")
    request = RecurrenceRequest(
        environment=call.run.environment,
        workflow=target.name,
        thing=_thing(call),
        rule=_rule(call),
        parameters=bind(app, target, mapping(call, "with")),
        chain_id=call.run.chain_id,
        context=_context(call),
        begins_later=start is None,
    )
    return Write(SetRecurrence(request), str(request.id), is_known=True, nudge=WakeScheduler.model_construct())


def stop_recurring(call: Call) -> Outcome:
    """The id of the recurrence, whether there was one or not; runs that it has started go on."""
    environment = call.run.environment
    id = step_recurrence_id(environment, target_text(call, "the name of a workflow"), _thing(call))
    return Write(StopRecurrence(environment, id), str(id), is_known=True)


def _rule(call: Call) -> Rule:
    """What `cron` or `every`, `start` and `timezone` say. A period without a start is counted from now."""
    cron, every, start = text(call, "cron"), text(call, "every"), call.arguments.get("start")
    timezone = text(call, "timezone") or UTC_ZONE
    begins_at = None if start is None else moment(call, "start", start)
    try:
        check_timezone(timezone)
        if cron is not None:
            check_cron(cron)
            return Rule(cron=cron, start=begins_at, timezone=timezone)
    except ValueError as error:
        raise wrong(call, str(error)) from None
    if every not in frozenset(Every):
        raise wrong(
            call,
            f"`every` has to be one of {', '.join(Every)}, and it is "
            f"{describe_type(every) if every is None else repr(every)}",
        )
    return Rule(every=Every(every), start=begins_at or call.now, timezone=timezone)


def _thing(call: Call) -> str | None:
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
    user: JsonValue = call.scope.get("user") if "user" in call.scope else (call.run.context or {}).get("user")
    return {} if user is None else {"user": user}
