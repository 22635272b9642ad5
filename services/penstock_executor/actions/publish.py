"""`publish: ROUTING_KEY`: a message on the events exchange; the step is done when the broker has confirmed it."""

import asyncio
from typing import Final

from penstock import exact_json
from penstock.contracts import envelope
from penstock.definitions.models import StepAction
from penstock.domain.routing_keys import find_routing_key_problem
from penstock.errors import BrokerUnavailable, Interrupted
from penstock_executor.actions.schedule import PATIENCE_SECONDS
from penstock_executor.outside.requests import idempotency_key, next_traceparent
from penstock_executor.steps.arguments import target_text, wrong
from penstock_executor.steps.outcomes import Done, Outcome
from penstock_executor.steps.specs import Call, StepSpec

MAX_BODY_BYTES: Final = 1024 * 1024
_FIRST_PAUSE_SECONDS: Final = 0.1
_MAX_PAUSE_SECONDS: Final = 2.0


async def publish(call: Call) -> Outcome:
    """The message's id, the same in every attempt. Nobody has to listen.

    Published again while the broker is away; raises Interrupted when it stays away, so that the run is given back and
    not failed.
    """
    key = target_text(call)
    if (problem := find_routing_key_problem(key)) is not None:
        raise wrong(call, f"{key[:60]!r} cannot be a routing key: {problem}")
    body = exact_json.dumps(call.arguments.get("body"))
    if len(body) > MAX_BODY_BYTES:
        raise wrong(
            call, f"the body has {len(body)} bytes as JSON, and a message may have {MAX_BODY_BYTES}; send an id instead"
        )
    patience = call.plan.definition.timeout_seconds or PATIENCE_SECONDS
    loop = asyncio.get_running_loop()
    until, pause = loop.time() + patience, _FIRST_PAUSE_SECONDS
    message_id, headers = idempotency_key(call), _headers(call)
    while True:
        try:
            await call.tools.publisher.publish(call.run.environment, key, body, message_id=message_id, headers=headers)
            return Done(message_id, must_commit=True)
        except BrokerUnavailable as error:
            if loop.time() + pause > until:
                raise Interrupted(f"the broker did not take a message for {patience:g} s: {error}") from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, _MAX_PAUSE_SECONDS)


def _headers(call: Call) -> dict[str, object]:
    """Whose message it is, in the words of schedule messages: a service that schedules a run in turn hands them on."""
    run = call.run
    return {
        envelope.ENVIRONMENT: run.environment,
        envelope.DEPTH: run.depth,
        envelope.CHAIN_ID: str(run.chain_id),
        envelope.PARENT_RUN_ID: str(run.id),
        envelope.TRACEPARENT: next_traceparent(run),
    }


SPEC: Final = StepSpec(
    action=StepAction.PUBLISH,
    target="a routing key such as order.paid",
    arguments=("body",),
    awaited=publish,
    minds_its_time=True,
)
