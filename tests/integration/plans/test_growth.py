"""With 200,000 runs that have ended, admission, claim, dispatch and every page of a list read about as much as with a
few hundred.

What is compared are the pages that PostgreSQL touches, statement by statement: neither the load of the machine nor what
is in memory has a part in it.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final

import pytest
from asyncpg.connection import LoggedQuery

from penstock.db import Connection, Database
from penstock.domain.deliveries import DeliveryFilter
from penstock.domain.log_terms import read_log_terms
from penstock.domain.schedule import ScheduleFilter
from penstock.runs.operations import list_running
from penstock.runs.views.audit import AuditFilter, list_audit
from penstock.runs.views.chains import ChainFilter, ChainMark, list_chain_runs, list_chains
from penstock.runs.views.deliveries import list_deliveries, list_received
from penstock.runs.views.finding import RunFilter
from penstock.runs.views.logs import LogFilter, begin_following, list_logs, list_new_lines
from penstock.runs.views.marks import find_marks
from penstock.runs.views.overview import list_near_chains, list_recent_errors, sample_live_runs
from penstock.runs.views.runs import find_run_details, list_runs
from penstock.runs.views.schedule import list_schedule
from penstock.store.tokens import list_tokens
from penstock_executor.repository.claims import claim_runs
from penstock_scheduler.repository import leases
from penstock_scheduler.repository import lists as list_repository
from penstock_scheduler.repository import runs as repository
from tests.integration.plans.filling import fill
from tests.integration.plans.statements import list_statements
from tests.integration.plans.test_every_statement import find_whole_reads
from tests.integration.test_hot_plans import admit_children_of, admit_roots, admit_webhooks

FEW: Final = 300
MANY: Final = 200_000
BATCH: Final = 20
MAX_FACTOR: Final = 3
"""A higher index has two more pages on the way to each row."""
MAX_MORE: Final = 60
Perform = Callable[[Connection], Awaitable[object]]


async def admit_children(conn: Connection) -> None:
    await admit_children_of(conn, await admit_roots(conn, BATCH))


async def claim(conn: Connection) -> None:
    roots = await admit_roots(conn, BATCH)
    claimed = await claim_runs(conn, run_ids=[run.run_id for run in roots], owner="test", lease=timedelta(seconds=15))
    assert len(claimed) == BATCH


async def find_first(conn: Connection) -> object:
    id = await conn.fetchval("SELECT id FROM penstock.runs WHERE created_at > '-infinity' ORDER BY created_at LIMIT 1")
    await list_chain_runs(conn, chain_id=id, after=None, limit=BATCH)
    await list_runs(conn, RunFilter(chain_id=id), after=None, limit=BATCH)
    await list_runs(conn, RunFilter(parent_run_id=id), after=None, limit=BATCH)
    await list_logs(conn, LogFilter("live", run_id=id), after=None, limit=BATCH)
    return await find_run_details(conn, run_id=id)


async def follow(conn: Connection) -> None:
    await list_new_lines(conn, LogFilter("live"), cursor=await begin_following(conn))


async def turn_pages(conn: Connection) -> None:
    page = await list_runs(conn, RunFilter(), after=None, limit=BATCH)
    await list_runs(conn, RunFilter(environment="live"), after=page.after, limit=BATCH)


async def show_overview(conn: Connection) -> None:
    await sample_live_runs(conn, environment="live")
    await list_near_chains(conn, environment="live", limit=BATCH)
    await list_recent_errors(conn, environment="live", limit=BATCH)


WORK: Final[Mapping[str, Perform]] = {
    "admission of roots": lambda conn: admit_roots(conn, BATCH),
    "admission of children": admit_children,
    "admission of webhooks": lambda conn: admit_webhooks(conn, BATCH),
    "claim": claim,
    "dispatch": lambda conn: repository.dispatch_due_runs(conn, most=100),
    "the next due run": repository.find_next_due,
    "lost dispatches": lambda conn: repository.redispatch_runs(
        conn, older_than=timedelta(seconds=5), most=100, is_bulk=False
    ),
    "dead leases": lambda conn: leases.find_expired(conn, since=None, most=100),
    "the backlog": repository.measure_backlog,
    "the end of lists": list_repository.finish_lists,
    "a page of runs": lambda conn: list_runs(conn, RunFilter(), after=None, limit=BATCH),
    "a page of a chain and the details of a run": find_first,
    "the second page of runs": turn_pages,
    "a page of the runs of an environment": lambda conn: list_runs(
        conn, RunFilter(environment="live", states=["succeeded"]), after=None, limit=BATCH
    ),
    "a page of the runs of a workflow": lambda conn: list_runs(
        conn, RunFilter("live", workflow="greet2"), after=None, limit=BATCH
    ),
    "a page of the runs of a user": lambda conn: list_runs(
        conn, RunFilter("live"), user_id="user 6", after=None, limit=BATCH
    ),
    "a page of chains": lambda conn: list_chains(conn, ChainFilter("live"), after=None, limit=BATCH),
    "a page of chains near a limit": lambda conn: list_chains(
        conn, ChainFilter("live", ChainMark.NEAR), after=None, limit=BATCH
    ),
    "a page of the log": lambda conn: list_logs(conn, LogFilter("live"), after=None, limit=BATCH),
    "a page of the log of a workflow": lambda conn: list_logs(
        conn, LogFilter("live", workflow="greet2"), after=None, limit=BATCH
    ),
    "a page of what is wrong": lambda conn: list_logs(
        conn, LogFilter("live", levels=("warning", "error")), after=None, limit=BATCH
    ),
    "a page of lines that contain a word": lambda conn: list_logs(
        conn, LogFilter("live", contains=read_log_terms("order77")), after=None, limit=BATCH
    ),
    "a page of lines that contain what nothing does": lambda conn: list_logs(
        conn, LogFilter("live", contains=read_log_terms("nowhere")), after=None, limit=BATCH
    ),
    "lines that are new": follow,
    "a page of deliveries": lambda conn: list_deliveries(conn, DeliveryFilter(), after=None, limit=BATCH),
    "the oldest deliveries": lambda conn: list_received(
        conn, DeliveryFilter(environment="live"), after=None, limit=BATCH
    ),
    "a page of the audit": lambda conn: list_audit(conn, AuditFilter("live"), after=None, limit=BATCH),
    "a page of tokens": lambda conn: list_tokens(conn, limit=BATCH),
    "a page of what is coming": lambda conn: list_schedule(conn, ScheduleFilter("live"), after=None, limit=BATCH),
    "operations that are under way": list_running,
    "the overview": show_overview,
    "the marks of what changes": lambda conn: find_marks(conn, environment="live"),
}


@pytest.mark.timeout(300)
async def test_a_large_database_is_read_like_a_small_one(database: Database) -> None:
    async with database.connection() as conn:
        await fill(conn, FEW)
        few = {name: await count_pages(conn, perform) for name, perform in WORK.items()}
        await fill(conn, MANY)
        assert await find_whole_reads(conn, list_statements()) == {}
        await conn.execute("RESET plan_cache_mode")
        many = {name: await count_pages(conn, perform) for name, perform in WORK.items()}
    dear = {name: (few[name], many[name]) for name in WORK if many[name] > MAX_FACTOR * few[name] + MAX_MORE}
    assert dear == {}, "pages that are touched, with few runs and with many"


async def count_pages(conn: Connection, perform: Perform) -> int:
    """The pages that the statements of some work touch, all of which are undone."""
    sent: list[tuple[str, tuple[object, ...]]] = []

    def note(record: LoggedQuery) -> None:
        sent.append((record.query, tuple(record.args or ())))

    transaction = conn.transaction()
    await transaction.start()
    with conn.query_logger(note):
        await perform(conn)
    await transaction.rollback()
    touched = 0
    transaction = conn.transaction()
    await transaction.start()
    for query, arguments in sent:
        if query.lstrip().startswith(("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")):
            (row,) = await conn.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", *arguments)
            plan = json.loads(row[0])[0]["Plan"]
            touched += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    await transaction.rollback()
    return touched
