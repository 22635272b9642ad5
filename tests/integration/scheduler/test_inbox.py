"""`SELECT penstock.schedule(…)` inside a service's own transaction: admitted once, after the commit, or reported."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial

import asyncpg
import pytest

from penstock.db import Connection
from penstock.runs.floods import MIN_FLOOD
from penstock_scheduler.loops.inbox import BATCH, admit_inbox
from tests.docs import DOCUMENTS, read_blocks
from tests.eventually import eventually
from tests.integration.scheduler.taking_turns import admit_all, root
from tests.integration.scheduling import ENVIRONMENT, Station

NAMED = """'{"name": "a"}'"""


async def schedule(station: Station, arguments: str = NAMED, *, workflow: str = "notify") -> object:
    return await station.fetchval(f"SELECT penstock.schedule('{ENVIRONMENT}', '{workflow}', {arguments})")


async def test_a_request_becomes_a_root_run_and_leaves_the_inbox(station: Station) -> None:
    room = station.furnish()
    number = await schedule(station, f"{NAMED}, depth => 3")
    assert dict((await admit_inbox(room)).done) == {"requests": 1}
    await room.dispatches.drain()

    (run,) = await station.runs()
    assert isinstance(number, int)
    assert (run["workflow"], run["trigger"], run["depth"], run["state"]) == ("notify", "message", 3, "queued")
    assert run["parameters"] == {"name": "a", "urgency": 1}
    assert await station.fetchval("SELECT count(*) FROM penstock.inbox") == 0
    await station.executor.receive()
    assert station.executor.run_ids() == [run["id"]]


async def test_what_is_rolled_back_is_never_asked_for(station: Station) -> None:
    async def give_up(conn: Connection) -> None:
        await conn.execute(f"SELECT penstock.schedule('{ENVIRONMENT}', 'notify', {NAMED})")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await station.database.in_transaction(give_up)

    assert dict((await admit_inbox(station.furnish())).done) == {"requests": 0}


async def test_a_key_makes_one_run_and_other_parameters_under_it_are_reported(station: Station) -> None:
    for parameters in (NAMED, NAMED, """'{"name": "b"}'"""):
        await schedule(station, f"{parameters}, key => 'order 1'")
    await admit_inbox(station.furnish())

    (line,) = await station.fetch("SELECT message, workflow FROM penstock.logs WHERE level = 'error'")
    assert len(await station.runs()) == 1
    assert line["message"].startswith("Workflow error: notify could not be started for penstock.schedule(): ")
    assert "order 1" in line["message"]


async def test_what_cannot_be_admitted_is_reported_and_makes_way(station: Station) -> None:
    await schedule(station, "'{}'", workflow="notfy")
    await schedule(station, """'{"nam": 1}'""")
    await schedule(station)
    await admit_inbox(station.furnish())

    lines = await station.fetch("SELECT message, details FROM penstock.logs WHERE level = 'error' ORDER BY workflow")
    assert len(await station.runs()) == 1
    assert [line["details"]["kind"] for line in lines] == ["unknown_workflow", "invalid_parameter"]
    assert "did you mean 'notify'?" in lines[0]["message"]


async def test_a_time_in_the_past_means_now_and_a_later_one_waits(station: Station) -> None:
    later = datetime.now(UTC) + timedelta(days=3)
    await schedule(station, f"{NAMED}, at => '0001-01-01T00:00:00Z'")
    await schedule(station, f"{NAMED}, at => '{later.isoformat()}'")
    await admit_inbox(station.furnish())

    assert sorted((run["state"], run["scheduled_at"] >= later) for run in await station.runs()) == [
        ("queued", False), ("scheduled", True),
    ]  # fmt: skip


async def test_three_schedulers_admit_each_request_once(station: Station) -> None:
    await station.fetch(
        f"SELECT penstock.schedule('{ENVIRONMENT}', 'notify', {NAMED}) FROM generate_series(1, {2 * BATCH + 1})"
    )
    rooms = [station.furnish() for _ in range(3)]
    counts = await asyncio.gather(*(admit_inbox(room) for room in rooms))
    for room in rooms:
        await room.dispatches.drain()

    assert sum(count.done["requests"] for count in counts) == len(await station.runs()) == 2 * BATCH + 1


async def test_a_running_scheduler_admits_by_itself(station: Station) -> None:
    async with station.scheduler():
        await schedule(station)
        await eventually(station.runs)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("'nowhere', 'notify'", "there is no environment 'nowhere'"),
        ("NULL, 'notify'", "there is no environment null"),
        ("'live', 'no such name'", "'no such name' is not the name of a workflow"),
        ("'live', 'notify', '[1]'", "parameters are not a JSON object"),
        ("'live', 'notify', NULL", "parameters are not a JSON object"),
        ("'live', 'notify', '{}', 'infinity'", "at is beyond the year 9999"),
        ("'live', 'notify', '{}', key => ''", "a key has 1 to 255 characters"),
        ("'live', 'notify', '{}', depth => -1", "depth goes from 0 to 1000000"),
    ],
)
async def test_a_call_that_cannot_be_meant_is_refused_at_once(station: Station, call: str, message: str) -> None:
    with pytest.raises(asyncpg.PostgresError, match=f"penstock.schedule: {message}"):
        await station.fetchval(f"SELECT penstock.schedule({call})")


async def test_the_role_may_schedule_and_nothing_else(station: Station) -> None:
    async def ask(conn: Connection, *, statement: str) -> object:
        await conn.execute("SET LOCAL ROLE penstock_enqueue")
        return await conn.fetchval(statement)

    allowed = f"SELECT penstock.schedule('{ENVIRONMENT}', 'notify', {NAMED})"
    assert await station.database.in_transaction(partial(ask, statement=allowed)) is not None
    for refused in ("SELECT * FROM penstock.inbox", "SELECT * FROM penstock.runs", "DELETE FROM penstock.inbox"):
        with pytest.raises(asyncpg.PostgresError, match="permission denied"):
            await station.database.in_transaction(partial(ask, statement=refused))


async def test_the_sql_that_the_documents_show_works(station: Station) -> None:
    blocks = [block.text for path in DOCUMENTS for block in read_blocks(path) if block.language == "sql"]
    await station.deploy("workflow: send_receipt\nparameters: {order: number}\nsteps: [{log: sent}]")
    await station.fetchval("CREATE SCHEMA shop")
    await station.fetchval("CREATE TABLE shop.orders (id int, state text)")
    assert len(blocks) == 1
    async with station.database.connection() as conn:
        await conn.execute(blocks[0])
    await admit_inbox(station.furnish())

    (run,) = await station.runs()
    assert run["parameters"] == {"order": 17}


async def test_a_flood_of_requests_takes_turns_with_others(station: Station) -> None:
    room = station.furnish()
    await admit_all(station, [root() for _ in range(MIN_FLOOD)])
    for count in (BATCH, 1):
        await station.fetch(
            f"SELECT penstock.schedule('{ENVIRONMENT}', 'notify', {NAMED}) FROM generate_series(1, $1)", count
        )
        await admit_inbox(room)
        await room.admissions.drain()  # and with it the look for floods
    states = Counter((run["state"], run["crowd"] is None) for run in await station.runs())
    assert states == {("queued", True): MIN_FLOOD + BATCH, ("scheduled", False): 1}
