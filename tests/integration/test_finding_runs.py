"""Runs are found however many others there are: a page looks at a bounded number, and says where to continue."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from penstock.db import Connection, Database
from penstock.runs.views.finding import MAX_LIVE, MAX_LOOKED, RunFilter
from penstock.runs.views.models import RunFacts
from penstock.runs.views.pages import Page
from penstock.runs.views.runs import RunPlace, list_runs

NOON = datetime(2030, 3, 10, 12, tzinfo=UTC)
USER = "1700000000000x000000000000000001"
MANY = MAX_LOOKED + 2_000
_INSERT = """
    INSERT INTO penstock.runs (
        id, chain_id, environment, workflow, trigger, state, depth, created_at, scheduled_at, finished_at, parameters,
        context
    )
    SELECT i.id, i.id, 'live', $2, 'api', $3, 0, $4::timestamptz - n * interval '1 s', $4,
           CASE WHEN $3 IN ('failed', 'succeeded') THEN $4::timestamptz END, $5::jsonb, $6::jsonb
    FROM generate_series(1, $1::int) n
    CROSS JOIN LATERAL (SELECT md5(concat($2::text, $3::text, $4::timestamptz, n))::uuid AS id) i
"""
OLD = timedelta(days=2)


async def insert(
    conn: Connection, runs: int, workflow: str, *, state: str = "succeeded", ago: timedelta = OLD, **values: object
) -> None:
    """This many runs, a second apart; `parameters` and `context` are among the values."""
    await conn.execute(_INSERT, runs, workflow, state, NOON - ago, values.get("parameters", {}), values.get("context"))


@pytest.fixture
async def crowded(database: Database) -> AsyncIterator[Connection]:
    """A connection to a database with many runs that nobody looks for, and older ones of each kind."""
    async with database.connection() as conn:
        await insert(conn, MANY, "busy", ago=timedelta(0))
        await insert(conn, 1, "rare", parameters={"note": "a Needle"}, context={"user": {"_id": USER}})
        await insert(conn, 2, "rare", state="failed", ago=2 * OLD)
        await insert(conn, 1, "rare", state="scheduled", ago=3 * OLD)
        await insert(conn, 1, "admins", context={"user": {"_id": "admin_user_shop_live"}})
        await conn.execute("ANALYZE")
        yield conn


async def read_all(
    conn: Connection, wanted: RunFilter, user_id: str | None = None, limit: int = 50
) -> list[Page[RunFacts, RunPlace]]:
    pages: list[Page[RunFacts, RunPlace]] = []
    after: RunPlace | None = None
    while True:
        page = await list_runs(conn, wanted, user_id=user_id, after=after, limit=limit)
        pages.append(page)
        if (after := page.after) is None:
            return pages


def found(pages: list[Page[RunFacts, RunPlace]]) -> list[str]:
    return [run.state.value for page in pages for run in page.results]


async def test_what_is_rare_is_found_by_pages_that_look_at_a_bounded_number(crowded: Connection) -> None:
    for wanted in (
        RunFilter("live", workflow="rare"),
        RunFilter("live", contains="NEEDLE"),
        RunFilter("live", states=("succeeded", "failed"), workflow="rare", until=NOON),
    ):
        pages = await read_all(crowded, wanted)
        assert pages[0].results == [], wanted
        assert len(pages) == 2, wanted
    assert found(await read_all(crowded, RunFilter("live", workflow="rare"))) == [
        "succeeded", "failed", "failed", "scheduled",
    ]  # fmt: skip
    assert found(await read_all(crowded, RunFilter("live", contains="NEEDLE"))) == ["succeeded"]


async def test_runs_that_failed_or_have_not_ended_are_found_at_once(crowded: Connection) -> None:
    (failed,) = await read_all(crowded, RunFilter("live", states=("failed",)))
    (live,) = await read_all(crowded, RunFilter("live", states=("scheduled", "waiting")))
    assert (found([failed]), found([live])) == (["failed"] * 2, ["scheduled"])
    assert len(await read_all(crowded, RunFilter("live", states=("failed",)), limit=1)) == 2
    await insert(crowded, MAX_LIVE, "later", state="scheduled", ago=4 * OLD)
    first, *rest = await read_all(crowded, RunFilter("live", states=("scheduled",)), limit=500)
    assert (found([first]), len(found(rest))) == ([], MAX_LIVE + 1)


async def test_the_runs_of_a_user_are_found_at_once(crowded: Connection) -> None:
    (page,) = await read_all(crowded, RunFilter("live"), USER)
    assert [run.workflow for run in page.results] == ["rare"]
    assert found(await read_all(crowded, RunFilter("development"), USER)) == []
    assert found(await read_all(crowded, RunFilter("live", chain_id=page.results[0].id), USER)) == ["succeeded"]
    await insert(crowded, 5, "more", context={"user": {"_id": USER}})
    pages = await read_all(crowded, RunFilter("live"), USER, limit=2)
    assert [len(page.results) for page in pages] == [2, 2, 2]
    assert len({run.id for page in pages for run in page.results}) == 6


async def test_admins_are_no_users_and_a_user_without_an_id_is_none(crowded: Connection) -> None:
    await insert(crowded, 1, "strangers", context={"user": {}})
    await insert(crowded, 1, "odd", context={"user": {"_id": "x" * 300}})
    assert await crowded.fetchval("SELECT array_agg(user_id) FROM penstock.user_runs") == [USER]


async def test_a_page_looks_through_a_bounded_amount_of_json(conn: Connection) -> None:
    await conn.execute("ALTER TABLE penstock.runs ALTER COLUMN parameters SET STORAGE EXTERNAL")
    await insert(conn, 12, "large", parameters={"text": "x" * 1_000_000})
    pages = await read_all(conn, RunFilter("live", contains="nowhere"))
    assert [page.results for page in pages] == [[], []]
    (plain,) = await read_all(conn, RunFilter("live"))
    assert len(plain.results) == 12
