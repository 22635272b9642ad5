"""No statement reads a large table whole, neither by the plan that is made when a database is new and kept while it
grows, nor by the one that is made when the tables are large.

A plan that is kept is a generic one, which knows no argument. Each statement is planned so in an empty database that
nobody has analyzed, and its plan is looked through; `test_growth` does so in a large database.
"""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final

import pytest

from penstock.db import Connection, Database
from tests.integration.plans.filling import LARGE, fill
from tests.integration.plans.statements import UNREAD, Statement, count_unread, list_statements

LIVE = frozenset(
    {
        "chains_stopped", "list_chunks_open", "lists_followed", "lists_open", "lists_ready", "operations_running",
        "runs_crowd_due", "runs_crowd_handed", "runs_due", "runs_failed", "runs_handed", "runs_parked",
        "runs_scheduled",
    }
)  # fmt: skip
"""Indexes of what is under way, or waits for a person: they may be read whole."""
FEW: Final = 300


@pytest.fixture(scope="module")
def statements() -> list[Statement]:
    return list_statements()


def test_every_statement_can_be_read_or_is_known() -> None:
    assert count_unread() == UNREAD, "a statement is made inside of a function: keep it in a constant, and list it"


def test_enough_statements_are_found(statements: list[Statement]) -> None:
    assert len(statements) > 200


async def test_no_plan_of_a_new_database_reads_a_table_whole(database: Database, statements: list[Statement]) -> None:
    async with database.connection() as conn:
        assert await find_whole_reads(conn, statements) == {}


async def test_no_plan_reads_a_table_whole_when_what_was_under_way_has_ended_and_was_analyzed(
    database: Database, statements: list[Statement]
) -> None:
    # Autovacuum does so to what comes and goes: waits, joins, turns, signals.
    async with database.connection() as conn:
        await vacuum(conn, leaving_out=LARGE)
        assert await find_whole_reads(conn, statements) == {}


async def test_a_plan_made_when_all_was_empty_and_analyzed_is_made_again_once_rows_were_analyzed(
    database: Database,
) -> None:
    # PostgreSQL takes a table that was empty when it was analyzed for empty, and reads it whole: no index is cheaper.
    # Autovacuum analyzes a table after its first 50 rows, which ends such a plan.
    async with database.connection() as conn:
        await conn.execute("SET plan_cache_mode = force_generic_plan")
        await vacuum(conn)
        await conn.execute("PREPARE kept AS SELECT state FROM penstock.runs WHERE id = $1")
        assert list(list_whole_reads(await explain(conn, "kept(NULL)"))), "an empty table is read whole"
        await fill(conn, FEW)
        assert list(list_whole_reads(await explain(conn, "kept(NULL)"))) == []


async def test_no_plan_of_a_claim_or_an_ending_made_when_the_first_runs_were_analyzed_reads_them_whole(
    database: Database, statements: list[Statement]
) -> None:
    # The plan is kept until autovacuum comes again, a minute later: by then there may be a hundred thousand runs.
    marks = ("state = 'running', attempt = r.attempt + 1", "workload = r.workload + q.workload")
    claims = [one for one in statements if any(mark in one.text for mark in marks)]
    assert len(claims) == 4, "a claim, end_attempts, and finish_runs without and with a limit"
    async with database.connection() as conn:
        await fill(conn, 100)
        assert await find_whole_reads(conn, claims) == {}


async def test_a_plan_that_reads_a_table_whole_is_found(database: Database) -> None:
    whole = [
        Statement("every row", "SELECT count(*) FROM penstock.runs WHERE workflow = $1"),
        Statement("every key", "SELECT id FROM penstock.runs ORDER BY id"),
        Statement("some keys", "SELECT id FROM penstock.runs ORDER BY id LIMIT $1"),
        Statement("a lookup", "SELECT state FROM penstock.runs WHERE id = $1"),
    ]
    async with database.connection() as conn:
        assert set(await find_whole_reads(conn, whole)) == {"every row", "every key"}


async def find_whole_reads(conn: Connection, statements: Sequence[Statement]) -> dict[str, list[str]]:
    """By place, the reads of large tables as a whole in the generic plans of these statements."""
    await conn.execute("SET plan_cache_mode = force_generic_plan")
    found: dict[str, list[str]] = {}
    for place, text in statements:
        if reads := list(list_whole_reads(await plan(conn, text))):
            found[place] = reads
    return found


async def plan(conn: Connection, text: str) -> dict[str, object]:
    """The generic plan of a statement."""
    await conn.execute(f"PREPARE planned AS {text}")
    try:
        count: int = await conn.fetchval(
            "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'planned'"
        )
        arguments = f"({', '.join(['NULL'] * count)})" if count else ""
        return await explain(conn, f"planned{arguments}")
    finally:
        await conn.execute("DEALLOCATE planned")


async def explain(conn: Connection, call: str) -> dict[str, object]:
    """The plan of a prepared statement, called with these arguments."""
    (row,) = await conn.fetch(f"EXPLAIN (FORMAT JSON) EXECUTE {call}")
    explained: list[dict[str, dict[str, object]]] = json.loads(row[0])
    return explained[0]["Plan"]


async def vacuum(conn: Connection, *, leaving_out: Collection[str] = ()) -> None:
    """Vacuum and analyze our tables, as autovacuum may do at any time."""
    rows = await conn.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'penstock'::regnamespace AND relkind = 'r'"
    )
    tables = [f"penstock.{row['relname']}" for row in rows if unpartitioned(row["relname"]) not in leaving_out]
    await conn.execute(f"VACUUM (ANALYZE) {', '.join(tables)}")


def list_whole_reads(node: dict[str, object], *, is_limited: bool = False) -> Iterator[str]:
    """What a plan reads of large tables without looking anything up."""
    kind, table = str(node["Node Type"]), str(node.get("Relation Name", ""))
    is_limited = is_limited or kind == "Limit"
    if is_large(table) and kind.endswith("Seq Scan"):
        yield f"{kind} of {table}: {node.get('Filter', '')}"
    is_whole = "Index Name" in node and "Index Cond" not in node and not is_limited
    if is_whole and node["Index Name"] not in LIVE and is_large(table):
        yield f"{kind} of the whole {node['Index Name']}"
    children = node.get("Plans", [])
    assert isinstance(children, list)
    for child in children:
        yield from list_whole_reads(child, is_limited=is_limited)


def is_large(table: str) -> bool:
    """Whether a table, or that of which it is a partition, grows with what has ended."""
    return unpartitioned(table) in LARGE


def unpartitioned(table: str) -> str:
    """The name of the table of which `table` is a partition, or its own."""
    return re.sub(r"_(default|before|first|\d+)$", "", table)
