"""Receives a webhook: is it genuine, is it new, who wants it; stored with its runs in one transaction before it is
answered.
"""

import asyncio
from functools import partial
from typing import Final, NamedTuple

from multidict import MultiMapping
from pydantic import JsonValue

from penstock import clock
from penstock.bodies import Undecodable, decode_payload
from penstock.domain.ids import RunId, new_run_id
from penstock.domain.lineage import Lineage
from penstock.domain.workload import Activity
from penstock.logs import get_logger
from penstock.metrics import deliveries
from penstock.runs.deliveries import NewDelivery
from penstock.runs.webhook_runs import Event, make_runs
from penstock.store.deployments import CompiledDeployment
from penstock.webhooks import SignedRequest, Verdict
from penstock.webhooks.events import join_types
from penstock_ingress.accepting.acceptance import COMMIT_SECONDS, Accepted, Entry
from penstock_ingress.handlers.lineage import find_lineage, find_trace
from penstock_ingress.room import Room
from penstock_ingress.rules.acknowledgements import Received, acknowledge
from penstock_ingress.rules.deliveries import SourcePlan
from penstock_ingress.rules.handshakes import answer_handshake, answer_probe, find_confirmation, refuse_method
from penstock_ingress.rules.headers import storable_headers
from penstock_ingress.rules.replies import Refusal, Reply, json_reply, problem, unavailable

log = get_logger(__name__)

_MARGIN_SECONDS: Final = 0.5
"""How long before its sender gives up a delivery is answered at the latest."""
_REFUSED: Final = (
    "the signature is missing, wrong or too old; check the secret of this source, and the clock of the sender"
)


class WebhookCall(NamedTuple):
    """One request to `/webhooks/{source}`, as it was sent."""

    environment: str
    source: str
    request: SignedRequest

    @property
    def headers(self) -> MultiMapping[str]:
        """The request's headers."""
        return self.request.headers


async def check_source(room: Room, environment: str, source: str) -> None:
    """Raises Refusal (404) when no such source is deployed; asked before a body is read."""
    if room.definitions.has_plan(environment, source):
        return
    await room.definitions.decide(environment, partial(_find_plan, room, environment, source))


async def receive_delivery(room: Room, call: WebhookCall) -> Reply:
    """200 once the delivery is durable, also for copies and for what no workflow wants. Raises Refusal,
    DatabaseUnavailable.
    """
    return await room.definitions.decide(call.environment, partial(_receive, room, call, new_run_id()))


async def _find_plan(room: Room, environment: str, source: str, deployment: CompiledDeployment) -> SourcePlan:
    plan = room.definitions.plan_source(environment, deployment, source)
    if plan is None:
        _count("", "unknown_source")
        raise Refusal(
            problem(404, f"no source {source!r} is deployed to {environment}; sources are declared in app.yaml")
        )
    return plan


async def _receive(room: Room, call: WebhookCall, delivery_id: RunId, deployment: CompiledDeployment) -> Reply:
    plan = await _find_plan(room, call.environment, call.source, deployment)
    if (reply := _answer_unsigned(plan, call)) is not None:
        return reply
    await _check_signature(room, plan, call)
    payload = _decode(call)
    is_asking = plan.provider.handshake is not None
    if is_asking and (reply := await _answer_handshake(room, plan, _Read(call, payload))) is not None:
        _count(call.source, "handshake")
        return reply
    lineage = await find_lineage(room, call.headers, call.environment)
    entry = _prepare(plan, _Read(call, payload), delivery_id, lineage, deployment)
    accepted = await _accept(room, plan, entry)
    _meter(room, call, entry)
    if (first := accepted.duplicate_of) is not None:
        _count(call.source, "duplicate")
        outcome = Received(first.id, first.run_ids, is_duplicate=True)
    else:
        _count(call.source, "accepted" if entry.runs else "unmatched")
        outcome = Received(delivery_id, [run.request.run_id for run in entry.runs], is_duplicate=False)
    return acknowledge(plan.provider.form, call.request, payload, outcome)


def _answer_unsigned(plan: SourcePlan, call: WebhookCall) -> Reply | None:
    """The answer to a request that carries nothing to be stored. Raises Refusal for a method that means nothing."""
    if call.request.method not in plan.methods:
        raise Refusal(refuse_method(plan, call.request.method))
    reply = None if plan.provider.handshake is None else answer_probe(plan, call.request)
    if reply is not None:
        _count(call.source, "handshake")
    return reply


async def _accept(room: Room, plan: SourcePlan, entry: Entry) -> Accepted:
    """Store the delivery before its sender gives up. Raises Refusal (503) when that takes longer; it may be stored all
    the same, and what is sent again is then a copy.
    """
    seconds = plan.provider.answer_seconds
    if seconds is None or seconds > COMMIT_SECONDS + _MARGIN_SECONDS:
        return await room.acceptance.accept(entry)
    try:
        async with asyncio.timeout(seconds - _MARGIN_SECONDS):
            return await room.acceptance.accept(entry)
    except TimeoutError:
        raise Refusal(unavailable("the delivery could not be stored in time; send it again", 1)) from None


def _meter(room: Room, call: WebhookCall, entry: Entry) -> None:
    """A delivery is a request, to the workflow that wants it; when several do, or none, it belongs to none."""
    workflow = entry.runs[0].request.workflow if len(entry.runs) == 1 else ""
    room.meter.count(call.environment, workflow, {Activity.API_REQUEST: 1, Activity.API_BYTE: len(call.request.body)})


async def _answer_handshake(room: Room, plan: SourcePlan, read: "_Read") -> Reply | None:
    """The answer to a genuine request that is not a delivery; None for a delivery. Raises Refusal (503) when an address
    that has to be asked for does not answer.
    """
    url = find_confirmation(plan, read.payload)
    if url is None:
        return answer_handshake(plan, read.call.request, read.payload, clock.now().timestamp())
    if not await room.keys.confirm(url, plan.source.trust.ca if plan.source.trust else None):
        raise Refusal(unavailable("the subscription could not be confirmed; send this again", 20))
    log.info("subscription.confirmed", source=read.call.source, environment=read.call.environment)
    return json_reply(200, {"status": "confirmed"})


async def _check_signature(room: Room, plan: SourcePlan, call: WebhookCall) -> None:
    """Raises Refusal unless one of the secrets has signed the request. A secret that is not set may be the one, and a
    key that cannot be fetched now too, so that is not a 401.
    """
    now = clock.now().timestamp()
    wanted = plan.want(call.request, now)
    if wanted is not None and not await room.keys.prepare(wanted, now):
        _count(call.source, "key_unavailable")
        raise Refusal(unavailable("the key of the signature cannot be fetched at this moment", 5))
    verdict = plan.check(call.request, now) if plan.is_checkable else Verdict.FORGED
    if verdict is Verdict.GENUINE:
        return
    if verdict is Verdict.FORGED and plan.missing:
        _count(call.source, "secret_missing")
        log.error("delivery.secret_missing", source=call.source, environment=call.environment, secrets=plan.missing)
        raise Refusal(
            unavailable("a secret of this source is not set on the server, or not of the form that its scheme has", 60)
        )
    _count(call.source, verdict.value)
    raise Refusal(problem(401, _REFUSED))


def _decode(call: WebhookCall) -> JsonValue:
    try:
        return decode_payload(call.request.body, call.headers.get("Content-Type", ""))
    except Undecodable as error:
        _count(call.source, "undecodable")
        raise Refusal(problem(400, str(error))) from None


class _Read(NamedTuple):
    """A genuine request, and what its body says."""

    call: WebhookCall
    payload: JsonValue


def _prepare(
    plan: SourcePlan, read: _Read, delivery_id: RunId, lineage: Lineage, deployment: CompiledDeployment
) -> Entry:
    (call, payload), headers = read, read.call.headers
    types = plan.events.types_of(headers, payload)
    now = clock.now()
    keys = plan.keys_of(call.request, payload, now.timestamp())
    event = Event(
        delivery_id=delivery_id,
        environment=call.environment,
        source=call.source,
        type=join_types(types),
        event_id=keys.event_id,
        payload=payload,
        headers=storable_headers(headers),
        received_at=now,
        trace=find_trace(headers),
    )
    runs = make_runs(event, plan.events.workflows_for(types), deployment, lineage)
    delivery = NewDelivery(
        id=delivery_id,
        environment=call.environment,
        source=call.source,
        dedup_key=keys.dedup_key,
        type=event.type,
        version=deployment.version,
        run_ids=tuple(run.request.run_id for run in runs),
        headers=event.headers,
        body=call.request.body,
        verdict=plan.verdict,
        signature_key=keys.signature_key,
        unique_seconds=keys.seconds,
    )
    return Entry(runs, delivery)


def _count(source: str, outcome: str) -> None:
    """Count a request; `source` is one that is deployed, or empty."""
    deliveries(source, outcome).inc()
