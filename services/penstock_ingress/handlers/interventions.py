"""What people and programs do to runs from outside: cancel them, retry them, send them a signal."""

import hashlib
from typing import Final
from uuid import UUID

from penstock.bodies import Undecodable, parse_json, without_nul
from penstock.db import Connection
from penstock.definitions.mending import Mending
from penstock.domain.runs import Duplicate, Rejected, RunSummary
from penstock.runs.cancellations import NotRetried, Retry, cancel_runs
from penstock.runs.idempotency import IdempotencyKey
from penstock.runs.mending import mend_run
from penstock.runs.views.models import Run
from penstock.runs.views.runs import find_run
from penstock_ingress.accepting.signals import Signal
from penstock_ingress.repository.views import CancelledRun, SignalOutcome
from penstock_ingress.room import Room
from penstock_ingress.rules.replies import Refusal, problem

MAX_SIGNAL_NAME: Final = 200
MAX_SIGNAL_BYTES: Final = 1024 * 1024
"""Every run that is woken keeps the payload."""
_BY: Final = "the management API"


async def cancel_run(room: Room, environment: str, run_id: UUID, actor: str) -> CancelledRun:
    """Cancel a run unless it has ended. Its executor, if it has one, hears of it by the event. Raises Refusal."""
    cancelled = await room.database.in_transaction(
        lambda conn: cancel_runs(conn, environment=environment, run_ids=[run_id], by=_BY, actor=actor),
    )
    for run in cancelled:
        room.publisher.run_event("cancelled", run, reason=f"cancelled by {_BY}")
    return CancelledRun(cancelled=len(cancelled), run=await _get_run(room, environment, run_id))


async def retry_failed_run(room: Room, environment: str, run_id: UUID, mending: Mending, actor: str) -> Run:
    """Queue a failed run again, with what was mended. Raises Refusal for a run in another state, and for what does not
    fit it: nothing is changed then.
    """

    async def work(conn: Connection) -> RunSummary | NotRetried | None:
        asked = Retry(_BY, actor)
        done = await mend_run(
            conn, environment=environment, run_id=run_id, mending=mending, asked=asked, keyring=room.keyring
        )
        if isinstance(done, Rejected):  # in here, so that the transaction ends without a trace
            raise Refusal(problem(422, done.message, extensions={"code": done.code}))
        return done

    retried = await room.database.in_transaction(work)
    if isinstance(retried, NotRetried):
        detail = f"run {run_id} is {retried.state}; only a failed run can be retried"
        raise Refusal(problem(409, detail, extensions={"code": "not_failed", "state": retried.state.value}))
    if retried is not None:
        room.acceptance.dispatch([retried])
    return await _get_run(room, environment, run_id)


async def send_signal(room: Room, environment: str, name: str, body: bytes, key: str | None) -> SignalOutcome:
    """Wake the runs that wait for the signal, with the payload in `body`, or keep it for one that will. Raises Refusal.

    The same request with the same `key`, sent again within 24 hours, does nothing.
    """
    if len(name) > MAX_SIGNAL_NAME or "\x00" in name:
        raise Refusal(problem(400, f"the name of a signal has at most {MAX_SIGNAL_NAME} characters, none of them NUL"))
    if len(body) > MAX_SIGNAL_BYTES:
        raise Refusal(
            problem(
                413,
                f"the payload of a signal is larger than {MAX_SIGNAL_BYTES} bytes; send where it can be found instead",
            )
        )
    try:
        payload = without_nul(parse_json(body), body) if body.strip() else {}
    except Undecodable as error:
        raise Refusal(problem(400, str(error))) from None
    bound = None if key is None else IdempotencyKey(f"signal {name}", key, hashlib.sha256(body).digest())
    match await room.signals.post(Signal(environment, name, payload, bound)):
        case Duplicate():
            return SignalOutcome(woken=0, kept=False, duplicate=True)
        case Rejected(code=code, message=message):
            raise Refusal(problem(422, message, extensions={"code": code}))
        case woken:
            room.acceptance.dispatch(woken)
            return SignalOutcome(woken=len(woken), kept=not woken)


async def _get_run(room: Room, environment: str, run_id: UUID) -> Run:
    async with room.database.connection() as conn:
        found = await find_run(conn, environment=environment, run_id=run_id)
    if found is None:
        raise Refusal(problem(404, f"{environment} has no run {run_id}"))
    return found.plain
