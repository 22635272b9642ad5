"""The public port: API workflows on the wire, as any caller of theirs speaks it.

A caller sees the runs that it has started by a call, and no others. What only operators may do is at the admin port.
"""

from typing import Final, NoReturn
from urllib.parse import quote
from uuid import UUID

from pydantic import JsonValue

from penstock.client.calls import Answer, Call, Calls
from penstock.client.errors import Refused, RunFailed, Unsupported
from penstock.client.management import REPLAYED
from penstock.client.port import Wanted, WantedEnd, WantedSignal
from penstock.client.reading import read_answer
from penstock.client.retries import Deadline
from penstock.client.values import RunStatus, ScheduledRun
from penstock.client.waiting import wait_for_end
from penstock.domain.states import RunState

PREFIXES: Final = {"live": "", "development": "/version-test"}
MAX_WAIT_SECONDS: Final = 20
"""How long one request waits for the end of a run: proxies close connections that are silent for long."""
_NOT_RUN: Final = "NOT_RUN"


class PublicPort:
    """See the port."""

    def __init__(self, calls: Calls, environment: str) -> None:
        self._calls = calls
        self._path = f"{PREFIXES[environment]}/api/1.1"

    async def run(self, wanted: Wanted, deadline: Deadline) -> JsonValue:
        """See the port."""
        answer = await self._call(wanted, deadline, _preference(deadline.remaining))
        if answer.status == 202:
            run_id = read_answer(ScheduledRun, answer.document).run_id
            return (await wait_for_end(self.status, run_id, wanted.key, deadline)).answer()
        if answer.status >= 400 or _is_not_run(answer):
            return await self._answer_of_ended(answer, deadline)
        return _returned(answer)

    async def schedule(self, wanted: Wanted, deadline: Deadline) -> ScheduledRun:
        """See the port."""
        if not wanted.is_for_now:
            raise _needs_admin_port("schedule a run for later")
        answer = await self._call(wanted, deadline, "respond-async")
        if answer.run_id is None:
            raise answer.refusal()
        state = (await self.status(answer.run_id, deadline)).state if answer.status >= 400 else None  # cut at once
        return ScheduledRun.model_validate(
            {"run_id": answer.run_id, "state": state, "duplicate": REPLAYED in answer.headers}
        )

    async def status(self, run_id: UUID, deadline: Deadline) -> RunStatus:
        """See the port."""
        answer = await self._calls.send(Call("GET", f"{self._path}/runs/{run_id}"), deadline)
        if answer.status != 200:
            raise answer.refusal()
        document = answer.document
        error: dict[str, JsonValue] = {"error": {"message": document["message"]}} if "message" in document else {}
        return read_answer(RunStatus, {**document, **error})

    async def cancel(self, run_id: UUID, _deadline: Deadline) -> NoReturn:
        """Raises Unsupported."""
        raise _needs_admin_port(f"cancel run {run_id}")

    async def cancel_key(self, wanted: WantedEnd, _deadline: Deadline) -> NoReturn:
        """Raises Unsupported."""
        raise _needs_admin_port(f"cancel runs of {wanted.workflow}")

    async def signal(self, wanted: WantedSignal, _deadline: Deadline) -> NoReturn:
        """Raises Unsupported."""
        raise _needs_admin_port(f"send the signal {wanted.name}")

    async def _call(self, wanted: Wanted, deadline: Deadline, preference: str) -> Answer:
        headers = {"Idempotency-Key": f'"{wanted.key}"', "Prefer": preference}
        path = f"{self._path}/wf/{quote(wanted.workflow, safe='')}"
        return await self._calls.send(Call("POST", path, dict(wanted.parameters), headers, wanted.key), deadline)

    async def _answer_of_ended(self, answer: Answer, deadline: Deadline) -> JsonValue:
        """The answer of a run that an error reports. Raises Refused where there is no run, else RunFailed."""
        if answer.run_id is None:
            raise answer.refusal()
        try:
            status = await self.status(answer.run_id, deadline)
        except Refused:  # the caller may not look at it, perhaps because its address changes
            state = RunState.SKIPPED if _is_not_run(answer) else RunState.FAILED
            raise RunFailed(answer.run_id, state, answer.detail) from None
        return status.answer()


def _preference(remaining_seconds: float) -> str:
    """How the end of a run is waited for, so that an answer has still come when this many seconds are over."""
    seconds = min(MAX_WAIT_SECONDS, int(remaining_seconds) - 1)
    return f"wait={seconds}" if seconds > 0 else "respond-async"


def _is_not_run(answer: Answer) -> bool:
    match answer.document:
        case {"body": {"status": str(code)}, "statusCode": int()}:
            return code == _NOT_RUN
        case _:
            return False


def _returned(answer: Answer) -> JsonValue:
    """What a workflow has returned, from the answer to its call."""
    if "Location" in answer.headers and answer.status == 302:
        return {"redirect": answer.headers["Location"]}
    match answer.document:
        case {"status": "success", "response": response}:
            return response
        case _:
            return {
                "text": answer.body.decode(errors="replace"),
                "content_type": answer.headers.get("Content-Type", "text/plain"),
            }


def _needs_admin_port(what: str) -> Unsupported:
    return Unsupported(f"the public port cannot {what}; make the client with the URL of the admin port (8081)")
