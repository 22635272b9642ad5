"""The admin port: everything goes through the management API."""

import asyncio
from typing import Final
from urllib.parse import quote
from uuid import UUID

from pydantic import JsonValue

from penstock.client.calls import Answer, Call, Calls
from penstock.client.port import Wanted, WantedEnd, WantedSignal
from penstock.client.reading import read_answer
from penstock.client.retries import Deadline, pause_before_look
from penstock.client.values import Ended, RunStatus, ScheduledRun, SignalOutcome
from penstock.client.waiting import wait_for_end
from penstock.domain.durations import format_duration

REPLAYED: Final = "Idempotent-Replayed"


class ManagementPort:
    """See the port."""

    def __init__(self, calls: Calls, environment: str) -> None:
        self._calls = calls
        self._path = f"/v1/{environment}"

    async def run(self, wanted: Wanted, deadline: Deadline) -> JsonValue:
        """See the port."""
        started = await self.schedule(wanted, deadline)
        return (await wait_for_end(self.status, started.run_id, wanted.key, deadline)).answer()

    async def schedule(self, wanted: Wanted, deadline: Deadline) -> ScheduledRun:
        """See the port."""
        body: dict[str, object] = {
            "workflow": wanted.workflow,
            "parameters": dict(wanted.parameters),
            "idempotency_key": wanted.key,
        }
        if wanted.at is not None:
            body["at"] = wanted.at.isoformat()
        if wanted.after is not None:
            body["after"] = format_duration(wanted.after)
        answer = await self._send(Call("POST", "/runs", body, key=wanted.key), deadline)
        return read_answer(ScheduledRun, {**answer.document, "duplicate": REPLAYED in answer.headers})

    async def status(self, run_id: UUID, deadline: Deadline) -> RunStatus:
        """See the port."""
        return read_answer(RunStatus, (await self._send(Call("GET", f"/runs/{run_id}"), deadline)).document)

    async def cancel(self, run_id: UUID, deadline: Deadline) -> bool:
        """See the port."""
        answer = await self._send(Call("POST", f"/runs/{run_id}/cancel"), deadline)
        return answer.document.get("cancelled") == 1

    async def cancel_key(self, wanted: WantedEnd, deadline: Deadline) -> int:
        """See the port."""
        operation = (await self._send(Call("POST", "/runs/cancel", wanted._asdict()), deadline)).document
        looks = 0
        while operation.get("state") == "running" and (pause := pause_before_look(looks)) < deadline.remaining:
            await asyncio.sleep(pause)
            operation = (await self._send(Call("GET", f"/operations/{operation['id']}"), deadline)).document
            looks += 1
        return read_answer(Ended, operation).done

    async def signal(self, wanted: WantedSignal, deadline: Deadline) -> SignalOutcome:
        """See the port."""
        path, headers = f"/signals/{quote(wanted.name, safe='')}", {"Idempotency-Key": f'"{wanted.key}"'}
        answer = await self._send(Call("POST", path, wanted.payload, headers, wanted.key), deadline)
        return read_answer(SignalOutcome, answer.document)

    async def _send(self, call: Call, deadline: Deadline) -> Answer:
        """The answer. Raises Refused and Unavailable."""
        answer = await self._calls.send(
            Call(call.method, f"{self._path}{call.path}", call.body, call.headers, call.key), deadline
        )
        if answer.status >= 300:
            raise answer.refusal()
        return answer
