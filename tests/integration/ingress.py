"""An ingress in this process, on the test's own database and virtual host, spoken to over real HTTP."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import UUID

import aiohttp
from yarl import URL

from penstock.db import open_database
from penstock.runtime import Stop
from penstock.testing.databases import fresh_database
from penstock.testing.ports import find_port
from penstock_ingress.app import serve
from penstock_ingress.settings import IngressSettings
from tests.eventually import eventually
from tests.servers import Servers, fresh_vhost
from tests.site import Site, deploy_directory, serving

ADMIN_TOKEN = "integration-admin-token-0123456789"
STRIPE_SECRET = "whsec_integration_0123456789abcdef"
GITHUB_SECRET = "github-secret-0123456789abcdef"
PARTNER_SECRET = "partner-secret-0123456789abcdef"
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
SECRETS = {
    "PENSTOCK_SECRET_STRIPE": STRIPE_SECRET,
    "PENSTOCK_SECRET_GITHUB": GITHUB_SECRET,
    "PENSTOCK_SECRET_PARTNER": PARTNER_SECRET,
}
JsonObject = dict[str, object]
Body = bytes | AsyncIterable[bytes] | aiohttp.FormData | None

APP_YAML = """
app: integration
sources:
  stripe: {scheme: stripe, secrets: ["${secrets.STRIPE}"]}
  github: {scheme: github, secrets: ["${secrets.GITHUB}"]}
  unset: {scheme: github, secrets: ["whsec_${secrets.NOBODY_SET_IT}"]}
  partner:
    scheme: hmac
    secrets: ["${secrets.PARTNER}"]
    encoding: base64
    header: X-Signature
    signed: "{timestamp}.{body}"
    timestamp: {header: X-Timestamp, tolerance: 1m}
    deduplicate: {payload: data.id}
    type: {payload: event.name}
"""
WORKFLOWS_YAML = """
workflow: greet
parameters:
  name: text
  times: {type: number, optional: true, default: 1}
  tags: {type: list of text, optional: true}
on: {api: {method: POST, auth: public}}
steps:
  - return: {greeting: "hello ${params.name}"}
---
workflow: look
parameters: {name: text, times: {type: number, optional: true}}
on: {api: {method: GET, auth: public}}
steps:
  - return: {greeting: "hello ${params.name}"}
---
workflow: secretly
on: {api: {method: POST, auth: admin}}
steps:
  - return: {}
---
workflow: quickly
on: {api: {method: POST, auth: public, respond: at_once}}
steps:
  - return: {}
---
workflow: perhaps
on: {api: {method: POST, auth: public, when_skipped: 200}}
when: 1 > 2
steps:
  - return: {}
---
workflow: hidden
steps:
  - return: {}
---
workflow: paid
on: {webhook: {source: stripe, types: [invoice.paid, "customer.*"]}}
steps:
  - log: "${webhook.payload.id}"
---
workflow: bookkeeping
on: {webhook: {source: stripe, types: [invoice.paid]}}
steps:
  - log: "${webhook.payload.id}"
---
workflow: pushed
on: {webhook: {source: github, types: [push]}}
steps:
  - log: "${webhook.type}"
---
workflow: partner_event
on: {webhook: {source: partner, types: [order.made]}}
steps:
  - log: "${webhook.type}"
"""
TYPE_YAML = """
type: order
api: true
fields: {number: number, name: text, tags: list of text, hidden: text}
privacy:
  - everyone: {find: true, view: [number, name, tags]}
---
type: secret
api: true
fields: {name: text}
---
type: internal
fields: {name: text}
"""


@dataclass
class Ingress(Site):
    """A running ingress and what a test needs around it."""

    settings: IngressSettings
    http: aiohttp.ClientSession
    stop: Stop = field(default_factory=Stop)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.settings.admin_port}"

    async def send(
        self,
        method: str,
        path: str,
        *,
        data: Body = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> "Answer":
        """A request to the public port."""
        return await self._send(method, self.url + path, data, json, headers)

    async def manage(
        self,
        method: str,
        path: str,
        *,
        data: Body = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> "Answer":
        """A request to the admin port, by default as an admin."""
        return await self._send(method, self.admin_url + path, data, json, ADMIN if headers is None else headers)

    async def _send(
        self, method: str, url: str, data: Body, json: object, headers: Mapping[str, str] | None
    ) -> "Answer":
        target = URL(url, encoded=True)
        async with self.http.request(
            method, target, data=data, json=json, headers=headers, allow_redirects=False
        ) as response:
            return Answer(
                response.status,
                {name.lower(): value for name, value in response.headers.items()},
                await response.read(),
            )

    async def finish_run(
        self, run_id: object, state: str = "succeeded", *, result: object = None, error: object = None
    ) -> None:
        """End a run the way an executor does, but for the message."""
        async with self.database.connection() as conn:
            await conn.execute(
                "UPDATE penstock.runs SET state = $2, finished_at = clock_timestamp(), result = $3, error = $4 WHERE "
                "id = $1",
                UUID(str(run_id)),
                state,
                result,
                error,
            )

    async def finish_next(
        self, workflow: str, state: str = "succeeded", *, result: object = None, error: object = None
    ) -> UUID:
        """Wait for a run of `workflow` that has not ended, and end it."""

        async def find() -> object:
            return (
                await self.fetchval(
                    "SELECT id FROM penstock.runs WHERE workflow = $1 AND finished_at IS NULL", workflow
                )
                or False
            )

        run_id = await eventually(find)
        assert isinstance(run_id, UUID)
        await self.finish_run(run_id, state, result=result, error=error)
        return run_id

    async def count_waiting(self, workflow: str, runs: int = 1) -> bool:
        """Whether this many runs of `workflow` have not ended."""
        found = await self.fetchval(
            "SELECT count(*) FROM penstock.runs WHERE workflow = $1 AND finished_at IS NULL", workflow
        )
        return found == runs

    async def count_runs(self) -> object:
        """How many runs there are."""
        return await self.fetchval("SELECT count(*) FROM penstock.runs")

    async def count_deliveries(self) -> object:
        """How many deliveries there are."""
        return await self.fetchval("SELECT count(*) FROM penstock.deliveries")


@dataclass(frozen=True)
class Answer:
    """What came back; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> JsonObject:
        document: JsonObject = json.loads(self.body)
        return document

    @property
    def wrapped(self) -> tuple[object, object, str]:
        """Status code, code and message of Bubble's wrapped envelope."""
        body = self.json["body"]
        assert isinstance(body, dict)
        return self.json["statusCode"], body["status"], body["message"]


def write_app(directory: Path, **more: str) -> Path:
    """The app of these tests, in a directory; `more` are further workflow files by name."""
    files = {"app.yaml": APP_YAML, "workflows/all.yaml": WORKFLOWS_YAML, "types/all.yaml": TYPE_YAML}
    for name, content in {**files, **{f"workflows/{name}.yaml": content for name, content in more.items()}}.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return directory


@asynccontextmanager
async def running_ingress(
    database_url: str, amqp_url: str, directory: Path | None, **settings: object
) -> AsyncIterator[Ingress]:
    """An ingress that serves the app in `directory` (None: nothing is deployed); the ports are free ones."""
    chosen = IngressSettings.model_validate(
        {
            "database_url": database_url,
            "amqp_url": amqp_url,
            "admin_token": ADMIN_TOKEN,
            "port": find_port(),
            "admin_port": find_port(),
            "shutdown_grace_seconds": 3,
            **settings,
        }
    )
    database = await open_database(database_url, name="test", most=4)
    try:
        if directory is not None:
            await deploy_directory(database, directory)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
            serving(serve, chosen) as service,
        ):
            ingress = Ingress(database, chosen, http, service.stop)
            await eventually(partial(_is_up, ingress, service.task))
            yield ingress
    finally:
        await database.close()


@asynccontextmanager
async def sharing_ingress(
    servers: Servers, template: str, directory: Path | None, **settings: object
) -> AsyncIterator[Ingress]:
    """As `running_ingress`, with a database and a virtual host of its own: for the tests of a module that may share
    one, since none of them minds what the others leave.
    """
    async with (
        fresh_database(servers.database_url, template=template) as database_url,
        fresh_vhost(servers) as amqp_url,
        running_ingress(database_url, amqp_url, directory, **settings) as running,
    ):
        yield running


async def _is_up(ingress: Ingress, serving: asyncio.Task[None]) -> bool:
    if serving.done():
        serving.result()
    try:
        return (await ingress.manage("GET", "/readyz")).status == 200
    except aiohttp.ClientError:
        return False


def sign_stripe(event: object, *, secret: str = STRIPE_SECRET, at: float | None = None) -> tuple[bytes, dict[str, str]]:
    """A body and the headers that Stripe would send with it."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    signed_at = int(time.time() if at is None else at)
    signature = hmac.new(secret.encode(), f"{signed_at}.".encode() + body, hashlib.sha256).hexdigest()
    return body, {"Stripe-Signature": f"t={signed_at},v1={signature}", "Content-Type": "application/json"}
