"""What an outside service and an operator do: webhooks, API workflows, the Data API, the management API."""

import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import Final, cast
from uuid import UUID

import aiohttp
import orjson
from pydantic import JsonValue

from penstock.domain.states import FINAL_STATES, RunState

OPEN_STATES: Final = tuple(state for state in RunState if state not in FINAL_STATES)
TIMEOUT_SECONDS: Final = 30.0


class Unexpected(Exception):
    """An answer that the story has no place for; the text is what was got instead."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, JSON body and headers of an HTTP answer."""

    status: int
    body: dict[str, JsonValue]
    run_id: UUID | None


class Client:
    """Speaks to one environment of a running Penstock, as an admin."""

    def __init__(self, http: aiohttp.ClientSession, *, url: str, admin_url: str, token: str, environment: str) -> None:
        self._http = http
        self._url = url if environment == "live" else f"{url}/version-test"
        self._admin_url = f"{admin_url}/v1/{environment}"
        self._headers = {"Authorization": f"Bearer {token}"}

    async def deliver_stripe(self, event: JsonValue, secret: str) -> Answer:
        """POST a webhook as Stripe does, signed with `secret` (https://docs.stripe.com/webhooks/signature)."""
        body = orjson.dumps(event)
        moment = str(int(time.time()))
        signature = hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers = {"Stripe-Signature": f"t={moment},v1={signature}", "Content-Type": "application/json"}
        return await self._request("POST", f"{self._url}/webhooks/stripe", data=body, headers=headers)

    async def start(self, workflow: str, parameters: dict[str, JsonValue]) -> UUID:
        """Call an API workflow; the id of its run. Raises Unexpected unless it is taken."""
        answer = await self._request(
            "POST", f"{self._url}/api/1.1/wf/{workflow}", json=parameters, headers=self._headers
        )
        if answer.status not in {200, 202} or answer.run_id is None:
            raise Unexpected(f"HTTP {answer.status} from workflow {workflow}: {answer.body}")
        return answer.run_id

    async def count_things(self, kind: str, **fields: JsonValue) -> int:
        """How many things of that type have these values."""
        constraints = [{"key": key, "constraint_type": "equals", "value": value} for key, value in fields.items()]
        parameters = {"constraints": orjson.dumps(constraints).decode(), "limit": "1"}
        answer = await self._request("GET", f"{self._url}/api/1.1/obj/{kind}", params=parameters, headers=self._headers)
        if answer.status != 200:
            raise Unexpected(f"HTTP {answer.status} from the Data API: {answer.body}")
        page = cast("dict[str, JsonValue]", answer.body["response"])
        return cast("int", page["count"]) + cast("int", page["remaining"])

    async def get_depth_limit(self) -> int:
        """The environment's limit, which may have been changed since it was deployed."""
        return cast("int", (await self._manage("settings")).body["depth_limit"])

    async def get_run(self, run_id: UUID) -> dict[str, JsonValue]:
        """A run with its steps."""
        return (await self._manage(f"runs/{run_id}")).body

    async def has_runs(self, chain_id: UUID, state: RunState) -> bool:
        """Whether a chain has runs in that state."""
        answer = await self._manage(f"runs?chain={chain_id}&state={state}&limit=1")
        return bool(answer.body["results"])

    async def is_settled(self, chain_id: UUID) -> bool:
        """Whether all runs of the chain that exist by now have ended."""
        for state in OPEN_STATES:
            if await self.has_runs(chain_id, state):
                return False
        return True

    async def _manage(self, path: str) -> Answer:
        answer = await self._request("GET", f"{self._admin_url}/{path}", headers=self._headers)
        if answer.status != 200:
            raise Unexpected(f"HTTP {answer.status} from the management API: {answer.body}")
        return answer

    async def _request(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str],
        data: bytes | None = None,
        json: JsonValue = None,
        params: dict[str, str] | None = None,
    ) -> Answer:
        content = data if json is None else orjson.dumps(json)
        if json is not None:
            headers = {**headers, "Content-Type": "application/json"}
        try:
            async with self._http.request(method, url, data=content, params=params, headers=headers) as response:
                text = await response.read()
                run_id = response.headers.get("Penstock-Run-Id")
                return Answer(response.status, _read_object(text), UUID(run_id) if run_id else None)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unexpected(f"{method} {url}: {type(error).__name__}: {error}") from error


def _read_object(text: bytes) -> dict[str, JsonValue]:
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        body = None
    return body if isinstance(body, dict) else {"text": text.decode(errors="replace")[:200]}
