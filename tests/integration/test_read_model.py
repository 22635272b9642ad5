"""What every door shows of runs, chains and the log: why a run is not being performed, its budget, and pages."""

from datetime import timedelta
from uuid import UUID

import pytest
from pydantic import JsonValue

from penstock import clock, exact_json
from penstock.redaction import Redactor
from penstock.runs.views.chains import count_chain, find_chain, list_chain_runs
from penstock.runs.views.finding import RunFilter
from penstock.runs.views.logs import LogFilter, list_logs, list_run_logs
from penstock.runs.views.models import RunFacts
from penstock.runs.views.runs import find_run, find_run_details, list_runs
from penstock.store.logs import LogEvent, LogLine, write_logs
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House

APP = """
workflow: simple
parameters: {n: {type: any, optional: true}}
steps: [{return: {n: "${params.n}"}}]
---
workflow: deep
depth_limit: 500
steps: [{log: deep}]
---
workflow: slow
steps: [{wait: 30d}]
---
workflow: paid
steps: [{id: paid, wait_for: "paid-7", match: {order: 7}, timeout: 1h}]
---
workflow: retried
retries: {attempts: 3, backoff: 1h}
steps: [{http: "http://127.0.0.1:9/"}]
---
workflow: asking
steps: [{id: asked, http: "http://127.0.0.1:9/", retry: {attempts: 3, backoff: 1h}}]
---
workflow: family
steps: [{schedule_list: simple, over: "${[1, 2, 3]}", with: {n: "${item}"}}]
"""


@pytest.fixture(autouse=True)
async def app(house: House) -> None:
    """The app of these tests, deployed."""
    await house.deploy(APP)


async def show(house: House, run_id: UUID) -> RunFacts:
    async with house.database.connection() as conn:
        found = await find_run(conn, run_id=run_id, environment=ENVIRONMENT)
    assert found is not None
    return found


def waiting(run: RunFacts) -> tuple[str, str | None] | None:
    """Reason and key of what a run waits for."""
    return None if run.waiting_for is None else (run.waiting_for.reason, run.waiting_for.key)


async def waits_for(house: House, run_id: UUID, reason: str) -> RunFacts:
    """The run, once it waits for that."""

    async def look() -> RunFacts:
        run = await show(house, run_id)
        assert (waiting(run) or ("", None))[0] == reason, run
        return run

    return await eventually(look)


@pytest.mark.parametrize(
    ("workflow", "reason", "key"),
    [("slow", "time", None), ("paid", "signal", "paid-7"), ("retried", "retry", None), ("asking", "retry", None)],
)
async def test_a_run_says_what_it_waits_for(house: House, workflow: str, reason: str, key: str | None) -> None:
    async with house.executor(outgoing_allow="127.0.0.1"):
        run_id = await house.start(workflow)
        run = await waits_for(house, run_id, reason)
    assert waiting(run) == (reason, key)
    assert run.waiting_for is not None
    assert run.waiting_for.holder is None


async def test_a_run_that_nobody_has_taken_waits_for_its_time_or_an_executor(house: House) -> None:
    (queued,) = await house.admit("simple")
    assert waiting(await show(house, queued.id)) == ("executor", None)
    await house.fetch(
        "UPDATE penstock.runs SET state = 'scheduled', dispatched_at = NULL, scheduled_at = now() + interval '1 day'"
    )
    later = await show(house, queued.id)
    assert waiting(later) == ("due", None)
    assert later.waiting_for is not None
    assert later.waiting_for.since == later.created_at


async def test_a_run_that_has_ended_waits_for_nothing(house: House) -> None:
    async with house.executor():
        run = await house.perform("simple", {"n": 1})
    shown = await show(house, run["id"])
    assert (shown.state, shown.waiting_for, shown.waiting) == ("succeeded", None, None)
    assert (shown.attempts.begun, shown.trigger, shown.version) == (1, "api", 1)


async def test_the_budget_is_the_limit_that_holds_or_that_has_cut_the_run(house: House) -> None:
    (simple,), (deep,) = await house.admit("simple"), await house.admit("deep")
    assert ((await show(house, simple.id)).depth_budget, (await show(house, deep.id)).depth_budget) == (10, 500)
    await house.fetch("UPDATE penstock.environments SET depth_limit = 3")
    assert (await show(house, simple.id)).depth_budget == 3
    await house.fetch(
        "UPDATE penstock.runs SET state = 'terminated', finished_at = now(), depth = 11, "
        """error = '{"kind": "depth_limit", "limit": 7}' WHERE id = $1""",
        simple.id,
    )
    assert (await show(house, simple.id)).depth_budget == 7
    await house.fetch("UPDATE penstock.runs SET environment = 'gone' WHERE id = $1", deep.id)
    async with house.database.connection() as conn:
        gone = await find_run(conn, run_id=deep.id)
        assert await find_run(conn, run_id=deep.id, environment=ENVIRONMENT) is None
    assert gone is not None
    assert gone.depth_budget == 500


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
async def test_pages_of_runs_give_each_once_newest_first(house: House, limit: int) -> None:
    runs = await house.admit("simple", count=7)
    await house.fetch("UPDATE penstock.runs SET created_at = now()")  # one moment for all: the id has to decide
    found, after, pages = list[UUID](), None, 0
    async with house.database.connection() as conn:
        while True:
            page = await list_runs(conn, RunFilter(ENVIRONMENT), after=after, limit=limit)
            found, after, pages = found + [run.id for run in page.results], page.after, pages + 1
            assert len(page.results) <= limit
            if after is None:
                break
    assert found == sorted((run.id for run in runs), key=lambda id: id.bytes, reverse=True)
    assert pages == -(-7 // limit)


async def test_a_filter_without_an_environment_means_all(house: House) -> None:
    await house.admit("simple", count=2)
    await house.fetch("UPDATE penstock.runs SET environment = 'live' WHERE id = (SELECT id FROM penstock.runs LIMIT 1)")
    async with house.database.connection() as conn:
        everywhere = await list_runs(conn, RunFilter(), after=None, limit=9)
        here = await list_runs(conn, RunFilter(ENVIRONMENT, states=("queued",)), after=None, limit=9)
        nowhere = await list_runs(conn, RunFilter(workflow="other"), after=None, limit=9)
    assert (len(everywhere.results), len(here.results), len(nowhere.results), nowhere.after) == (2, 1, 0, None)


async def test_a_chain_is_found_by_any_of_its_runs_and_paged_from_its_root(house: House) -> None:
    async with house.services():
        root = await house.perform("family")
        await eventually(lambda: has_ended(house, 4))
    async with house.database.connection() as conn:
        page = await list_chain_runs(conn, chain_id=root["id"], after=None, limit=3)
        rest = await list_chain_runs(conn, chain_id=root["id"], after=page.after, limit=3)
        chain = await find_chain(conn, run_id=rest.results[0].id)
        assert await find_chain(conn, run_id=root["id"], environment="live") is None
        counted = await count_chain(conn, chain_id=root["id"])
    assert [run.depth for run in (*page.results, *rest.results)] == [0, 1, 1, 1]
    assert (rest.after, page.results[0].list_id, rest.results[0].list_id is None) == (None, None, False)
    assert chain is not None
    assert (chain.id, chain.environment, chain.stopped_at) == (root["id"], ENVIRONMENT, None)
    assert [(count.depth, count.state, count.runs) for count in counted] == [(0, "succeeded", 1), (1, "succeeded", 3)]


async def has_ended(house: House, count: int) -> bool:
    return len(await house.fetch("SELECT FROM penstock.runs WHERE state = 'succeeded'")) == count


async def test_of_a_runs_log_the_newest_lines_are_shown_the_oldest_of_them_first(house: House) -> None:
    first, second = await house.admit("simple", count=2)
    began = clock.now()
    lines = [
        LogLine(began + timedelta(seconds=number), ENVIRONMENT, "info", LogEvent.OUTPUT, f"{number}", run.id)
        for number in range(5)
        for run in (first, second)
    ]
    async with house.database.connection() as conn:
        await write_logs(conn, lines)
        newest = await list_run_logs(conn, run_ids=[first.id, second.id], limit=2)
        everything = await list_run_logs(conn, run_ids=[second.id], limit=None)
        page = await list_logs(conn, LogFilter(ENVIRONMENT, run_id=first.id), after=None, limit=3)
        rest = await list_logs(conn, LogFilter(ENVIRONMENT, run_id=first.id), after=page.after, limit=3)
    assert {run_id: [line.message for line in found] for run_id, found in newest.items()} == {
        first.id: ["3", "4"],
        second.id: ["3", "4"],
    }
    assert [line.message for line in everything[second.id]] == ["0", "1", "2", "3", "4"]
    assert [line.message for line in (*page.results, *rest.results)] == ["4", "3", "2", "1", "0"]
    assert rest.after is None


async def test_what_callers_sent_is_printed_without_secrets(house: House) -> None:
    secret: JsonValue = "sesame-and-more"
    async with house.executor():
        run = await house.perform("simple", {"n": secret})
    async with house.database.connection() as conn:
        details = await find_run_details(conn, run_id=run["id"])
    assert details is not None
    redactor = Redactor([("WORD", "sesame-and-more")])
    shown = details.without_secrets(redactor)
    assert (shown.parameters, shown.result) == ({"n": "[secret WORD]"}, {"n": "[secret WORD]"})
    assert details.steps[0].without_secrets(redactor).result != details.steps[0].result


async def test_numbers_are_shown_with_all_their_digits(house: House) -> None:
    long = exact_json.loads(b"[1.23456789012345678901, 123456789012345678901234567890]")
    async with house.executor():
        run = await house.perform("simple", {"n": long})
    async with house.database.connection() as conn:
        details = await find_run_details(conn, run_id=run["id"])
    assert details is not None
    for document in (details.encoded(), details.plain.encoded(), details.steps[0].encoded()):
        assert b"[1.23456789012345678901,123456789012345678901234567890]" in document
