"""Workload as it is metered: per run, through retries and crashes, and per hour, with the weights that hold at the
time.
"""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from penstock.db import Database, open_database
from penstock.domain.workload import Activity, no_counts
from penstock.errors import DatabaseUnavailable
from penstock.store.workload import Meter
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House, Outside, serve_outside
from tests.integration.ingress import STRIPE_SECRET, running_ingress, sign_stripe, write_app

LIFE = """
workflow: life
parameters: {name: text}
steps:
  - id: thing
    create: thing
    set: {name: "${params.name}"}
  - get: thing
    where: {name: nobody}
  - find: thing
    where: {name: nobody}
  - update: "${steps.thing}"
    set: {name: changed}
  - delete: "${steps.thing}"
  - when: "1 > 2"
    log: never
  - return: {}
"""
OF_LIFE = {"run": 1, "action": 6, "search": 2, "thing_written": 2, "thing_deleted": 1}
UNITS_OF_LIFE = 6 * 0.6 + 2 * 0.3 + 2 * 0.5 + 0.1


async def _sums(house: House, workflow: str) -> dict[str, int]:
    rows = await house.fetch(
        "SELECT activity, sum(count)::int AS count FROM penstock.workload WHERE workflow = $1 GROUP BY 1", workflow
    )
    return {row["activity"]: row["count"] for row in rows}


async def _units(house: House, workflow: str) -> float:
    (row,) = await house.fetch(
        "SELECT coalesce(sum(units), 0) AS units FROM penstock.workload WHERE workflow = $1", workflow
    )
    units: float = row["units"]
    return units


async def test_a_run_and_its_hour_say_what_it_consumed(house: House) -> None:
    await house.deploy(LIFE)
    async with house.executor():
        run = await house.perform("life", {"name": "a"})
        other = await house.perform("life", {"name": "b"})
    assert run["workload"] == other["workload"] == pytest.approx(UNITS_OF_LIFE)
    assert await _sums(house, "life") == {activity: 2 * count for activity, count in OF_LIFE.items()}
    assert await _units(house, "life") == pytest.approx(2 * UNITS_OF_LIFE)
    (row,) = await house.fetch("SELECT DISTINCT environment, hour FROM penstock.workload")
    assert (row["environment"], row["hour"]) == (
        ENVIRONMENT,
        datetime.now(UTC).replace(minute=0, second=0, microsecond=0),
    )


async def test_children_are_items_of_the_scheduler_and_nested_steps_are_steps(house: House) -> None:
    await house.deploy("""
workflow: parent
steps:
  - trigger: inner
  - schedule: inner
  - schedule_list: inner
    over: [1, 2, 3]
    with: {}
---
workflow: inner
steps: [{log: x}]
""")
    async with house.executor():
        run = await house.perform("parent")
    assert await _sums(house, "parent") == {"run": 1, "action": 4, "item_scheduled": 4}
    assert run["workload"] == pytest.approx(4 * 0.6 + 4 * 0.1)


async def test_attempts_add_up_and_finished_steps_count_once(house: House) -> None:
    fails = 2

    async def answer(_: web.Request) -> web.Response:
        nonlocal fails
        fails -= 1
        return web.json_response({"ok": True}, status=503 if fails >= 0 else 200)

    async with serve_outside(answer) as url:
        await house.deploy(f"""
workflow: stubborn
retries: {{attempts: 3, backoff: 0s}}
steps:
  - create: thing
    set: {{name: once}}
  - http: {url}/x
    retry: {{attempts: 2, backoff: 0s}}
    json: [1, 2]
""")
        async with house.executor(outgoing_allow="127.0.0.0/8"):
            run_id = await house.start("stubborn")
            await house.ended(run_id, "scheduled")
            first = await house.get(run_id)
            await house.fetch(
                "UPDATE penstock.runs SET state = 'queued', dispatched_at = clock_timestamp() WHERE id = $1", run_id
            )
            await house.publisher.dispatch(await house.summaries(run_id))
            run = await house.ended(run_id)
    assert (run["state"], run["attempt"], len(await house.things())) == ("succeeded", 2, 1)
    # Create, and the call twice; then the call once more. Only the call that succeeded has reported its bytes.
    assert first["workload"] == pytest.approx(3 * 0.6 + 0.5 + 2 * 0.1)
    transferred = len(b"[1,2]") + len(b'{"ok": true}')
    assert run["workload"] == pytest.approx(4 * 0.6 + 0.5 + 3 * 0.1 + transferred * 0.000003)
    expected = {"run": 1, "action": 4, "thing_written": 1, "call": 3, "api_byte": transferred}
    assert await _sums(house, "stubborn") == expected
    assert await _units(house, "stubborn") == pytest.approx(run["workload"])


async def test_work_of_an_executor_that_died_is_not_counted(house: House, database_url: str) -> None:
    outside = Outside()
    async with serve_outside(outside.handle) as url:
        await house.deploy(f"workflow: slow\nsteps: [{{create: thing, set: {{name: kept}}}}, {{http: '{url}'}}]\n")
        doomed = await open_database(database_url, name="doomed", most=4)
        dead = House(doomed, house.broker, house.publisher, house.deployments)
        async with dead.executor(outgoing_allow="127.0.0.0/8") as executor:
            run_id = await house.start("slow")
            await eventually(lambda: outside.waiting)
            doomed.cut()
            await executor.kill()
        outside.answers.set()
        assert (await house.get(run_id))["state"] == "running"
        await house.fetch(
            "UPDATE penstock.runs SET state = 'queued', lease_expires_at = NULL, dispatched_at = clock_timestamp() "
            "WHERE id = $1",
            run_id,
        )
        async with house.executor(outgoing_allow="127.0.0.0/8"):
            await house.publisher.dispatch(await house.summaries(run_id))
            run = await house.ended(run_id)
    # The create was remembered, and is not done again; what the first executor consumed died with it.
    assert (run["attempt"], len(await house.things())) == (2, 1)
    assert await _sums(house, "slow") == {"run": 1, "action": 1, "call": 1, "api_byte": len(b'{"ok": true}')}


async def test_a_changed_weight_holds_from_the_next_flush_on(house: House) -> None:
    meter, counts = Meter(house.database), no_counts()
    counts[1] = 10
    meter.add(ENVIRONMENT, "w", counts)
    await _set_weight(house, 2.0)
    await meter.flush()
    assert await _units(house, "w") == pytest.approx(6.0)
    assert (meter.weigh(ENVIRONMENT, counts), meter.weigh("live", counts)) == (20.0, 6.0)
    meter.count(ENVIRONMENT, "w", {Activity.ACTION: 1})
    await meter.flush()
    assert await _units(house, "w") == pytest.approx(8.0)


async def _set_weight(house: House, weight: float) -> None:
    await house.fetch(
        "INSERT INTO penstock.workload_weights (environment, activity, weight) VALUES ($1, 'action', $2)",
        ENVIRONMENT,
        weight,
    )


async def test_processes_that_flush_at_once_lose_nothing(house: House) -> None:
    meters = [Meter(house.database) for _ in range(6)]
    for number, meter in enumerate(meters):
        names = ["b", "a", "c"] if number % 2 else ["c", "b", "a"]
        for name in names:
            meter.count("live", name, {Activity.SEARCH: 1, Activity.ACTION: 2})
    await asyncio.gather(*(meter.flush() for meter in meters))
    assert [await _sums(house, name) for name in "abc"] == [{"search": 6, "action": 12}] * 3


async def test_what_cannot_be_flushed_is_kept(house: House, database_url: str) -> None:
    away: Database = await open_database(database_url, name="away", most=1)
    meter = Meter(away)
    meter.count("live", "w", {Activity.SEARCH: 1})
    await house.fetch("ALTER TABLE penstock.workload RENAME TO elsewhere")
    with pytest.raises(Exception, match="does not exist"):
        await meter.flush()
    await house.fetch("ALTER TABLE penstock.elsewhere RENAME TO workload")
    meter.count("live", "w", {Activity.SEARCH: 1})
    await meter.flush()
    assert await _sums(house, "w") == {"search": 2}
    meter.count("live", "w", {Activity.SEARCH: 1})
    away.cut()
    with pytest.raises(DatabaseUnavailable):
        await meter.flush()


async def test_requests_that_were_accepted_are_metered_by_the_workflow_they_call(
    house: House, database_url: str, amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_SECRET_STRIPE", STRIPE_SECRET)
    async with running_ingress(database_url, amqp_url, write_app(tmp_path)) as ingress:
        answer = await ingress.send(
            "POST", "/api/1.1/wf/quickly", data=b"{}", headers={"Content-Type": "application/json"}
        )
        assert answer.status == 202
        size = 2 + len(answer.body)
        assert (await ingress.send("POST", "/api/1.1/wf/nobody", json={})).status == 404
        assert (await ingress.send("POST", "/api/1.1/wf/greet", json={})).status == 400
        body, headers = sign_stripe({"id": "evt_1", "type": "customer.created"})
        for _ in range(2):
            assert (await ingress.send("POST", "/webhooks/stripe", data=body, headers=headers)).status == 200
        assert (await ingress.send("POST", "/webhooks/stripe", data=body)).status == 401
        things = await ingress.send("GET", "/api/1.1/obj/order")
        assert things.status == 200
        assert (await ingress.send("GET", "/api/1.1/obj/order/1x1")).status == 404
    assert await _sums(house, "quickly") == {"api_request": 1, "api_byte": size}
    assert await _sums(house, "paid") == {"api_request": 2, "api_byte": 2 * len(body)}
    read = len(things.body)
    assert await _sums(house, "") == {"api_request": 1, "api_byte": read, "character_returned": read, "search": 1}
    (row,) = await house.fetch(
        "SELECT count(DISTINCT workflow)::int AS workflows, min(environment) AS environment FROM penstock.workload"
    )
    assert tuple(row) == (3, "live")
