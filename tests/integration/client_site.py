"""What the client talks to: the three services in this process, on a database and a virtual host of the test's own."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from penstock import Client
from penstock.client import SignalOutcome
from penstock_executor.app import serve as serve_executor
from penstock_executor.settings import ExecutorSettings
from penstock_scheduler.app import serve as serve_scheduler
from penstock_scheduler.settings import SchedulerSettings
from tests.eventually import eventually
from tests.integration.ingress import Ingress, running_ingress
from tests.site import serving

APP = """
workflow: echo
parameters: {word: text, number: number}
on: {api: {method: POST, auth: admin}}
steps:
  - return: {said: "${params.word}", number: "${params.number}"}
---
workflow: silent
on: {api: {method: POST, auth: admin}}
steps:
  - log: nothing is returned
---
workflow: written
on: {api: {method: POST, auth: admin}}
steps:
  - return: {text: "<p>hello</p>", content_type: text/html}
---
workflow: moved
on: {api: {method: POST, auth: admin}}
steps:
  - return: {redirect: "https://example.com/next", page: 2}
---
workflow: sold_out
on: {api: {method: POST, auth: admin}}
steps:
  - fail: nothing is left in stock
---
workflow: unwanted
on: {api: {method: POST, auth: admin}}
when: 1 > 2
steps:
  - log: never
---
workflow: patient
on: {api: {method: POST, auth: admin}}
steps:
  - id: word
    wait_for: go
  - return: {word: "${steps.word}"}
---
workflow: plan
on: {api: {method: POST, auth: admin}}
parameters: {order: text}
steps:
  - schedule: patient
    after: 3d
    key: "order-${params.order}"
---
workflow: told_at_once
on: {api: {method: POST, auth: admin, respond: at_once}}
steps:
  - return: {told: true}
"""


async def wake(site: Ingress, client: Client) -> None:
    """Send the signal that `patient` waits for, once it does: before, the signal would be kept."""

    async def is_waiting() -> bool:
        return await site.fetchval("SELECT count(*) FROM penstock.runs WHERE state = 'waiting'") == 1

    await eventually(is_waiting, within=30)
    assert await client.signal("go", {"it": "is time"}) == SignalOutcome(woken=1)


@asynccontextmanager
async def running_site(database_url: str, amqp_url: str, directory: Path) -> AsyncIterator[Ingress]:
    """The three services with the app in `directory`, while the block runs."""
    servers = {"database_url": database_url, "amqp_url": amqp_url, "admin_port": 0}
    async with AsyncExitStack() as stack:
        ingress = await stack.enter_async_context(running_ingress(database_url, amqp_url, directory))
        await stack.enter_async_context(serving(serve_scheduler, SchedulerSettings.model_validate(servers)))
        await stack.enter_async_context(serving(serve_executor, ExecutorSettings.model_validate(servers)))
        yield ingress
