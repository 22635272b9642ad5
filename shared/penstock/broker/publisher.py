"""Typed messages over a broker: what the services publish, in batches, with the headers of the envelope."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from uuid import UUID

from penstock import clock, exact_json
from penstock.broker.port import Broker
from penstock.broker.run_events import Happening, RunEventStream
from penstock.contracts import envelope, topology
from penstock.contracts.envelope import Message, new_message_id
from penstock.contracts.messages import (
    ChainEvent,
    ChildRun,
    Contract,
    DueRun,
    ExecuteRuns,
    RunAnswer,
    ScheduleChildren,
)
from penstock.domain.runs import Admission, Admitted, ChainWarning, Duplicate, Rejected, RunSummary, Terminated
from penstock.domain.states import Termination
from penstock.logs import get_logger
from penstock.metrics import ADMISSIONS, ENVIRONMENTS, OBSERVED_CUTS, TERMINATIONS, run_depth

log = get_logger(__name__)

EXECUTE_BATCH = 100
"""Runs per execute message, at most: enough to make the message's cost vanish, few enough to spread over executors."""


class Publisher:
    """The services' outgoing messages."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._events = RunEventStream(broker)
        broker.before_close(self._events.drain)

    async def dispatch(self, runs: Iterable[RunSummary], reply_to: Mapping[UUID, str] | None = None) -> None:
        """Hand due runs to executors, one message per environment, lane, depth, priority and hundred
        runs. Raises BrokerUnavailable."""
        groups: dict[tuple[str, str, int, int], list[dict[str, object]]] = defaultdict(list)
        replies = reply_to or {}
        for run in runs:
            lane = topology.BULK_LANE if run.is_bulk else topology.DEFAULT_LANE
            groups[run.environment, lane, run.depth, run.priority].append(_describe_due(run, replies.get(run.id)))
        messages = [
            self._send_due(_encode_due(due[first : first + EXECUTE_BATCH]), *order)
            for order, due in groups.items()
            for first in range(0, len(due), EXECUTE_BATCH)
        ]
        if len(messages) == 1:  # without a task
            await messages[0]
        else:
            await asyncio.gather(*messages)

    async def execute(
        self,
        environment: str,
        depth: int,
        runs: Sequence[DueRun],
        *,
        lane: str = topology.DEFAULT_LANE,
        priority: int = 5,
    ) -> None:
        """One execute message. Raises BrokerUnavailable."""
        await self._send_due(ExecuteRuns.model_construct(runs=list(runs)).encode(), environment, lane, depth, priority)

    async def _send_due(self, body: bytes, environment: str, lane: str, depth: int, priority: int) -> None:
        headers = {
            envelope.DEPTH: depth,
            envelope.ENVIRONMENT: environment,
            envelope.LANE: lane,
            envelope.PRIORITY: priority,
        }
        message = Message(body, type=ExecuteRuns.TYPE, message_id=new_message_id(), headers=headers)
        await self._broker.publish(topology.EXECUTE_EXCHANGE, lane, message)

    async def schedule(self, environment: str, depth: int, children: Sequence[ChildRun]) -> None:
        """Ask the scheduler for the runs that steps have scheduled, all at `depth`. Raises BrokerUnavailable."""
        message = _message(
            ScheduleChildren.model_construct(environment=environment, runs=list(children)),
            {envelope.DEPTH: depth, envelope.ENVIRONMENT: environment},
        )
        routing_key = topology.schedule_routing_key(environment, children[0].workflow)
        await self._broker.publish(topology.SCHEDULE_EXCHANGE, routing_key, message)

    async def nudge(self, environment: str, nudge: Contract) -> None:
        """Send ExpandList or WakeScheduler. Raises BrokerUnavailable; it may be ignored: schedulers find rows."""
        await self._broker.publish(
            topology.SCHEDULE_EXCHANGE, topology.schedule_routing_key(environment, "-"), _message(nudge, {})
        )

    def answer(self, reply_to: str, answer: RunAnswer) -> None:
        """Tell an ingress instance how a run ended. Best effort: the answer is stored on the run too."""
        self._broker.publish_soon("", reply_to, _message(answer, {}, is_persistent=False))

    def reply(
        self, reply_to: str, correlation_id: str | None, body: bytes, content_type: str = "application/json"
    ) -> None:
        """Answer an internal service. Best effort."""
        message = Message(
            body,
            message_id=new_message_id(),
            correlation_id=correlation_id,
            content_type=content_type,
            is_persistent=False,
        )
        self._broker.publish_soon("", reply_to, message)

    def announce(self, outcomes: Iterable[Admission]) -> None:
        """Count what was admitted, terminated, rejected, and publish the events; after the commit."""
        for outcome in outcomes:
            _ADMISSIONS[type(outcome)].inc()
            match outcome:
                case Admitted(run=run):
                    run_depth(run.environment).observe(run.depth)
                    self.run_event("scheduled", run)
                    for warning in outcome.warnings:
                        self._chain_warned(run, outcome.depth_limit, warning)
                    if outcome.observed is not None:
                        self.observed(run.environment, outcome.observed)
                case Terminated(run=run, reason=reason):
                    self.terminated(run, reason, outcome.path)
                case _:
                    pass

    def observed(self, environment: str, reason: Termination) -> None:
        """Count that a protection would have stopped a run, where depth is only observed; after the commit."""
        OBSERVED_CUTS.labels(environment, reason.value).inc()

    def terminated(self, run: RunSummary, reason: Termination, path: Sequence[str]) -> None:
        """After the commit: count, publish and log a terminated run. `path` names its workflows, from the root."""
        TERMINATIONS.labels(run.environment, reason.value).inc()
        self.run_event("terminated", run, reason=reason.value, path=path)
        write = log.info if reason is Termination.CHAIN_STOPPED else log.warning  # somebody asked for a stop
        write(
            "run.terminated",
            run_id=str(run.id),
            chain_id=str(run.chain_id),
            workflow=run.workflow,
            depth=run.depth,
            reason=reason.value,
            path=" → ".join(path),
        )

    def chain_stopped(self, chain_id: UUID, environment: str, *, reason: str, by: str, runs: int) -> None:
        """Publish that a chain was stopped, with `runs` cancelled. Best effort, after the commit."""
        event = ChainEvent.model_construct(
            chain_id=chain_id, environment=environment, reason=reason or None, by=by, runs=runs, at=clock.now()
        )
        self.event(f"{environment}.chain.stopped", event)

    def chain_resumed(self, chain_id: UUID, environment: str, *, by: str, runs: int) -> None:
        """Publish that a chain was resumed, with `runs` readmitted. Best effort, after the commit."""
        event = ChainEvent.model_construct(chain_id=chain_id, environment=environment, by=by, runs=runs, at=clock.now())
        self.event(f"{environment}.chain.resumed", event)

    def _chain_warned(self, run: RunSummary, depth_limit: int, warning: ChainWarning) -> None:
        event = ChainEvent.model_construct(
            chain_id=run.chain_id,
            environment=run.environment,
            depth=run.depth,
            depth_limit=depth_limit,
            workflow=run.workflow,
            limit=warning.limit_kind,
            reached=warning.reached,
            of=warning.limit,
            cycle=None if warning.cycle is None else warning.cycle.workflows,
            at=clock.now(),
        )
        self.event(f"{run.environment}.chain.warned", event, depth=run.depth)

    def run_event(
        self, what: str, run: RunSummary, *, reason: str | None = None, path: Sequence[str] | None = None
    ) -> None:
        """Publish `<environment>.run.<what>`. Best effort, after the commit."""
        happening = Happening(
            run.id, run.chain_id, run.parent_run_id, run.environment, run.workflow, run.state, run.depth, run.attempt,
            clock.now(), reason, path,
        )  # fmt: skip
        self._events.add(f"{run.environment}.run.{what}", (happening,))

    def run_events(self, environment: str, what: str, happenings: Sequence[Happening]) -> None:
        """The same of many runs of one environment."""
        self._events.add(f"{environment}.run.{what}", happenings)

    async def publish(
        self, environment: str, key: str, body: bytes, *, message_id: str, headers: Mapping[str, object]
    ) -> None:
        """A message of an app, on the events exchange; nobody has to listen. Raises BrokerUnavailable."""
        message = Message(body, type=topology.APP_MESSAGE_TYPE, message_id=message_id, headers=headers)
        await self._broker.publish(
            topology.EVENTS_EXCHANGE, topology.app_routing_key(environment, key), message, must_route=False
        )

    def event(self, routing_key: str, event: Contract, *, depth: int | None = None) -> None:
        """Publish any event. Best effort, after the commit."""
        headers = {} if depth is None else {envelope.DEPTH: depth}
        self._broker.publish_soon(topology.EVENTS_EXCHANGE, routing_key, _message(event, headers))


def _message(contract: Contract, headers: Mapping[str, object], *, is_persistent: bool = True) -> Message:
    return Message(
        contract.encode(),
        type=contract.TYPE,
        message_id=new_message_id(),
        headers=headers,
        is_persistent=is_persistent,
    )


def _describe_due(run: RunSummary, reply_to: str | None) -> dict[str, object]:
    # Ids are texts already: the JSON encoder would call back for each one of the driver's class.
    due: dict[str, object] = {"run_id": str(run.id), "workflow": run.workflow, "chain_id": str(run.chain_id)}
    if run.parent_run_id is not None:
        due["parent_run_id"] = str(run.parent_run_id)
    if reply_to is not None:
        due["reply_to"] = reply_to
    return due


def _encode_due(due: Sequence[dict[str, object]]) -> bytes:
    """The body of ExecuteRuns, without going through the model, which costs ten times as much. A test holds the two
    together.
    """
    return exact_json.dumps({"runs": due})


_ADMISSIONS: Final = {
    kind: ADMISSIONS.labels(kind.__name__.lower()) for kind in (Admitted, Duplicate, Terminated, Rejected)
}
for _environment in ENVIRONMENTS:  # a series that begins with the first event shows no increase
    for _reason in Termination:
        TERMINATIONS.labels(_environment, _reason.value)
