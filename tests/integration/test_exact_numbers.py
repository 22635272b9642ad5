"""Numbers with more digits than a float keeps pass through runs, steps, things and answers of other servers."""

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from aiohttp import web
from pydantic import JsonValue

from penstock import exact_json
from penstock.broker.inprocess import InProcessBroker
from penstock.broker.publisher import Publisher
from penstock.contracts.messages import ScheduleRun
from penstock.contracts.topology import topology
from penstock.db import open_database
from penstock.store.deployments import DeploymentCache
from tests.integration.executing import House, serve_outside

_LONG = "[9007199254740993,18446744073709551617,123456789012345678901234567890,0.1234567890123456789]"


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    """A house with the in-process broker."""
    database = await open_database(database_url, name="number tests", most=8)
    broker = InProcessBroker(topology())
    yield House(database, broker, Publisher(broker), DeploymentCache(database))
    await broker.close()
    await database.close()


def _long() -> JsonValue:
    return exact_json.loads(_LONG)


async def test_parameters_and_results_keep_their_digits(house: House) -> None:
    await house.deploy("""
workflow: pass_on
parameters: {given: any, ids: list of any}
steps:
  - id: inner
    trigger: inner
    with: {given: "${params.given}"}
  - return: {given: "${params.given}", ids: "${params.ids}", inner: "${steps.inner}", text: "id ${params.ids[1]}"}
---
workflow: inner
parameters: {given: any}
steps:
  - return: {deep: "${params.given.deep}"}
""")
    async with house.executor():
        run = await house.perform("pass_on", {"given": {"deep": _long()}, "ids": _long()})
    assert run["state"] == "succeeded", run["error"]
    shown = exact_json.dumps(run["result"]).decode()
    assert shown.count("18446744073709551617") == 4
    assert shown.count("0.1234567890123456789") == 3
    (row,) = await house.fetch("SELECT parameters #>> '{ids,3}' AS kept FROM penstock.runs WHERE id = $1", run["id"])
    assert Decimal(row["kept"]) == Decimal("0.1234567890123456789")


async def test_an_answer_of_another_server_keeps_its_digits(house: House) -> None:
    async def answer(request: web.Request) -> web.Response:
        sent = await request.text()
        return web.Response(text=sent or _LONG, content_type="application/json")

    async with serve_outside(answer) as url:
        await house.deploy(
            f"""
workflow: ask
parameters: {{given: any}}
steps:
  - id: asked
    http: {url}/
    method: POST
    json: "${{params.given}}"
  - return: {{body: "${{steps.asked.body}}"}}
"""
        )
        async with house.executor(outgoing_allow="127.0.0.0/8"):
            run = await house.perform("ask", {"given": _long()})
    assert run["state"] == "succeeded", run["error"]
    assert exact_json.dumps(run["result"]).decode() == f'{{"body":{_LONG}}}'


def test_a_message_keeps_the_digits_of_its_parameters() -> None:
    body = f'{{"workflow":"w","environment":"live","parameters":{{"given":{_LONG}}}}}'.encode()
    message = ScheduleRun.decode(body)
    assert exact_json.dumps(message.parameters).decode() == f'{{"given":{_LONG}}}'
