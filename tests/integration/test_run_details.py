"""What is shown of a run: each step's times, each try, what started it, and its log in Bubble's kinds of line."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import pytest
from aiohttp import web

from penstock import clock
from penstock.domain.ids import new_run_id
from penstock.domain.log_terms import read_log_terms
from penstock.redaction import Redactor
from penstock.runs.views.logs import LogFilter, LogPlace, levels_from, list_logs
from penstock.runs.views.models import LogEntry, RunDetails, Step
from penstock.runs.views.runs import find_run_details
from penstock.store.logs import LogEvent
from penstock.testing.time import advance
from tests.eventually import eventually
from tests.integration.executing import House, serve_outside

WORKFLOWS = """
workflow: call
retries: {attempts: 3, backoff: 10ms, jitter: 0}
steps:
  - {id: log, log: before}
  - id: asked
    http: "${secrets.URL}"
    retry: {attempts: 3, backoff: PAUSE, factor: 1, jitter: 0}
  - {id: return, return: {asked: "${steps.asked.status}"}}
---
workflow: once
retries: {attempts: 3, backoff: 10ms, jitter: 0}
steps:
  - id: asked
    http: "${secrets.URL}"
    retry: {attempts: 1}
---
workflow: choosy
steps:
  - {id: first, state: {a: 1}}
  - {id: never, when: 1 > 2, state: {b: 1}}
  - {id: last, log: "a word"}
---
workflow: unwilling
when: 1 > 2
steps: [{log: never}]
---
workflow: broken
steps:
  - {id: first, state: {a: 1}}
  - {id: bad, fail: "on purpose"}
"""
BEGUN = [LogEvent.RECEIVED, LogEvent.STARTED, LogEvent.CONDITION_PASSED]


class Server:
    """Answers with the statuses it was given, then 200; notes when it was asked."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.asked_at: list[datetime] = []

    async def handle(self, _: web.Request) -> web.StreamResponse:
        self.asked_at.append(clock.now())
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@pytest.fixture
def database_url(movable_database_url: str) -> str:
    """A database whose time can be moved."""
    return movable_database_url


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """A server on 127.0.0.1, whose URL is a secret of the app."""
    server = Server()
    async with serve_outside(server.handle) as url:
        monkeypatch.setenv("PENSTOCK_SECRET_URL", f"{url}/x")
        yield server


async def show(house: House, run_id: UUID) -> RunDetails:
    async with house.database.connection() as conn:
        details = await find_run_details(conn, run_id=run_id)
    assert details is not None
    return details


async def perform(house: House, workflow: str, pause: str = "10ms") -> RunDetails:
    await house.deploy(WORKFLOWS.replace("PAUSE", pause))
    async with house.services(outgoing_allow="127.0.0.1"):
        run_id = (await house.perform(workflow))["id"]
    return await show(house, run_id)


def find_step(run: RunDetails, path: str) -> Step:
    (found,) = (step for step in run.steps if step.step == path)
    return found


async def test_a_call_that_was_tried_three_times_shows_three(house: House, server: Server) -> None:
    server.statuses = [503, 429]
    run = await perform(house, "call")
    assert (run.state, run.attempt) == ("succeeded", 1)
    tries = find_step(run, "asked").tries
    assert [(one.status, one.attempt, one.error is None) for one in tries] == [
        (503, 1, False),
        (429, 1, False),
        (None, 1, True),
    ]
    assert [one.pause_seconds is not None and one.pause_seconds >= 0.01 for one in tries] == [True, True, False]
    times = [moment for one in tries for moment in (one.started_at, one.finished_at)]
    assert times == sorted(time for time in times if time is not None), "one after the other"
    assert len(find_step(run, "log").tries) == 1


async def test_tries_are_shown_across_pauses_of_the_run(house: House, server: Server) -> None:
    server.statuses = [503, 503]
    await house.deploy(WORKFLOWS.replace("PAUSE", "10s"))
    async with house.services(outgoing_allow="127.0.0.1"):
        run_id = await house.start("call")
        for number in (1, 2):
            await eventually(partial(_is_paused, house, run_id, server, number), within=20)
            between = find_step(await show(house, run_id), "asked")
            assert (between.outcome, len(between.tries)) == ("waiting", number)
            async with house.database.connection() as conn:
                await advance(conn, timedelta(seconds=10))
        await house.ended(run_id)
    run = await show(house, run_id)
    step = find_step(run, "asked")
    assert [(one.attempt, one.status) for one in step.tries] == [(1, 503), (2, 503), (3, None)]
    assert all(one.pause_seconds is not None and 8 < one.pause_seconds < 20 for one in step.tries[:2])
    assert [step.step for step in run.steps] == ["log", "asked", "return"], "a pause is not a step"


async def _is_paused(house: House, run_id: UUID, server: Server, times: int) -> bool:
    return len(server.asked_at) == times and (await house.get(run_id))["state"] == "waiting"


async def test_tries_are_shown_across_attempts_of_the_run(house: House, server: Server) -> None:
    server.statuses = [500, 502]
    run = await perform(house, "once")
    assert (run.state, run.attempt) == ("succeeded", 3)
    tries = find_step(run, "asked").tries
    assert [one.attempt for one in tries] == [1, 2, 3]
    assert [one.error is None for one in tries] == [False, False, True]
    for one, asked_at in zip(tries, server.asked_at, strict=True):
        assert one.started_at <= asked_at, "a failed try begins before it fails"


async def test_a_step_ends_before_the_next_one_that_waits_begins(house: House, server: Server) -> None:
    run = await perform(house, "call")
    assert find_step(run, "log").finished_at <= find_step(run, "asked").started_at
    assert find_step(run, "log").finished_at <= server.asked_at[0]


async def test_one_stored_line_is_unfolded_into_bubbles_kinds(house: House) -> None:
    run = await perform(house, "choosy")
    assert [line["event"] for line in await house.logs(run.id)] == [LogEvent.OUTPUT, LogEvent.FINISHED]
    assert [(line.event, line.step) for line in run.logs] == [
        (LogEvent.RECEIVED, None),
        (LogEvent.STARTED, None),
        (LogEvent.CONDITION_PASSED, None),
        *sorted_by_time(run.logs[3:-1]),
        (LogEvent.FINISHED, None),
    ]
    assert {(line.event, line.step, line.message) for line in run.logs[3:-1]} == {
        (LogEvent.ACTION_STARTED, "first", "state"),
        (LogEvent.ACTION_COMPLETED, "first", "state"),
        (LogEvent.ACTION_CONDITION_FAILED, "never", "state"),
        (LogEvent.ACTION_STARTED, "last", "log"),
        (LogEvent.ACTION_COMPLETED, "last", "log"),
        (LogEvent.OUTPUT, "last", "a word"),
    }
    assert [line.at for line in run.logs] == sorted(line.at for line in run.logs)


def sorted_by_time(lines: list[LogEntry]) -> list[tuple[str, str | None]]:
    return [(line.event, line.step) for line in sorted(lines, key=lambda line: line.at)]


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
async def test_pages_of_the_log_hold_all_lines_once(house: House, limit: int) -> None:
    run = await perform(house, "choosy")
    found = await read_pages(house, LogFilter(run.environment, run_id=run.id), limit)
    assert sorted((line.event, line.step or "") for line in found) == sorted(
        (line.event, line.step or "") for line in run.logs
    )
    assert len(found) == 10


async def read_pages(house: House, wanted: LogFilter, limit: int) -> list[LogEntry]:
    found: list[LogEntry] = []
    after: LogPlace | None = None
    async with house.database.connection() as conn:
        while True:
            page = await list_logs(conn, wanted, after=after, limit=limit)
            assert len(page.results) <= limit
            found += page.results
            if (after := page.after) is None:
                return found


@pytest.mark.parametrize(
    ("contains", "expected"),
    [
        ("action completed", [("action completed", "first"), ("action completed", "last")]),
        ("RUNNING Event", [("running event", None)]),
        ("'running action'", [("running action", "first"), ("running action", "last")]),
        ("'a word' OR never", [("action condition failed", "never"), ("plugin action console output", "last")]),
        ("unning", []),
        ("never", [("action condition failed", "never")]),
        ("event completed", [("event completed", None)]),
        ("nowhere", []),
    ],
)
async def test_unfolded_lines_are_found_by_their_text(
    house: House, contains: str, expected: list[tuple[str, str | None]]
) -> None:
    run, terms = await perform(house, "choosy"), read_log_terms(contains)
    found = await read_pages(house, LogFilter(run.environment, run_id=run.id, contains=terms), 1)
    assert sorted((line.event, line.step or "") for line in found) == sorted(
        (event, step or "") for event, step in expected
    )
    assert (
        await read_pages(
            house, LogFilter(run.environment, run_id=run.id, levels=levels_from("warning"), contains=terms), 50
        )
        == []
    )


async def test_a_run_that_failed_or_was_not_wanted_has_its_kinds_too(house: House) -> None:
    failed = await perform(house, "broken")
    assert [line.event for line in failed.logs] == [
        *BEGUN,
        LogEvent.ACTION_STARTED,
        LogEvent.ACTION_STARTED,
        LogEvent.ACTION_COMPLETED,
        LogEvent.WORKFLOW_ERROR,
    ]
    assert [line.event for line in (await perform(house, "unwilling")).logs] == [
        LogEvent.RECEIVED,
        LogEvent.STARTED,
        LogEvent.CONDITION_NOT_PASSED,
    ]


async def test_errors_after_which_a_run_was_tried_again_are_not_unfolded(house: House, server: Server) -> None:
    server.statuses = [500]
    run = await perform(house, "once")
    assert [line.event for line in run.logs] == [
        *BEGUN,
        LogEvent.WORKFLOW_ERROR,
        LogEvent.ACTION_STARTED,
        LogEvent.HTTP_REQUEST,
        LogEvent.HTTP_RESPONSE,
        LogEvent.ACTION_COMPLETED,
        LogEvent.FINISHED,
    ]


async def test_what_started_a_run_is_shown_without_secrets(house: House) -> None:
    run_id, list_id = new_run_id(), new_run_id()
    webhook = {"source": "stripe", "id": str(new_run_id()), "type": "paid", "payload": {"key": "sesame-and-more"}}
    await house.fetch(
        """
        INSERT INTO penstock.runs
            (id, chain_id, environment, workflow, trigger, state, depth, scheduled_at, list_id, context)
        VALUES ($1, $1, 'live', 'tidy', 'webhook', 'queued', 0, clock_timestamp(), $2, $3)
        """,
        run_id,
        list_id,
        {"webhook": webhook},
    )
    run = await show(house, run_id)
    assert (run.list_id, run.webhook) == (list_id, webhook)
    shown = run.without_secrets(Redactor([("WORD", "sesame-and-more")]))
    assert shown.webhook == {**webhook, "payload": {"key": "[secret WORD]"}}
    assert b"sesame" not in run.encoded_without_payloads()
