"""Workload over the management API: sums by workflow, activity and hour, of one chain, the month, and the weights."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest

from penstock.domain.weights import PUBLISHED_WEIGHTS
from tests.integration.ingress import Ingress, running_ingress, write_app

HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
PATH = "/v1/live/workload"


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    async with running_ingress(database_url, amqp_url, write_app(tmp_path)) as running:
        await _consume(running, 0, "greet", "action", 10, 6.0)
        await _consume(running, 0, "greet", "run", 5, 0.0)
        await _consume(running, 1, "greet", "search", 10, 3.0)
        await _consume(running, 1, "paid", "search", 100, 30.0)
        await _consume(running, 1, "", "api_request", 100, 1.0)
        await _consume(running, 24 * 40, "greet", "action", 1000, 600.0)
        yield running


async def _consume(ingress: Ingress, hours_ago: int, workflow: str, activity: str, count: int, units: float) -> None:
    async with ingress.database.connection() as conn:
        await conn.execute(
            "INSERT INTO penstock.workload (environment, hour, workflow, activity, count, units) VALUES ('live', $1, "
            "$2, $3, $4, $5)",
            HOUR - timedelta(hours=hours_ago),
            workflow,
            activity,
            count,
            units,
        )


async def _get(ingress: Ingress, query: str = "") -> dict[str, object]:
    answer = await ingress.manage("GET", f"{PATH}?{query}")
    assert answer.status == 200, answer.body
    return answer.json


async def _parts(ingress: Ingress, query: str, key: str) -> list[tuple[object, object, object]]:
    results = cast("list[dict[str, object]]", (await _get(ingress, query))["results"])
    return [(part[key], part["count"], part["units"]) for part in results]


async def test_workload_is_summed_three_ways(ingress: Ingress) -> None:
    assert await _parts(ingress, "", "workflow") == [("paid", 0, 30.0), ("greet", 5, 9.0), (None, 0, 1.0)]
    assert await _parts(ingress, "by=activity", "activity") == [
        ("search", 110, 33.0), ("action", 10, 6.0), ("api_request", 100, 1.0), ("run", 5, 0.0),
    ]  # fmt: skip
    hours = [f"{HOUR - timedelta(hours=ago):%Y-%m-%dT%H:00:00Z}" for ago in (0, 1)]
    assert await _parts(ingress, "by=hour", "hour") == [(hours[0], 5, 6.0), (hours[1], 0, 34.0)]
    assert await _parts(ingress, "by=activity&workflow=greet", "activity") == [
        ("action", 10, 6.0),
        ("search", 10, 3.0),
        ("run", 5, 0.0),
    ]


async def test_a_period_is_whole_hours_from_since_until(ingress: Ingress) -> None:
    assert (await _get(ingress))["units"] == 40.0
    since = (HOUR + timedelta(minutes=10)).isoformat().replace("+00:00", "Z")
    assert (await _get(ingress, f"since={since}"))["units"] == 6.0
    assert (await _get(ingress, f"until={HOUR.isoformat().replace('+00:00', 'Z')}"))["units"] == 34.0
    assert (await _get(ingress, "since=2000-01-01T00:00:00Z"))["units"] == 640.0
    assert (await ingress.manage("GET", "/v1/development/workload")).json["units"] == 0


async def test_pages_hold_all_parts_once(ingress: Ingress) -> None:
    names: list[object] = []
    query = "limit=2"
    while True:
        page = await _get(ingress, query)
        assert page["units"] == 40.0
        names += [part["workflow"] for part in cast("list[dict[str, object]]", page["results"])]
        if page["after"] is None:
            break
        query = f"limit=2&after={page['after']}"
    assert names == ["paid", "greet", None]


async def test_the_month_stands_against_its_allowance(ingress: Ingress) -> None:
    month = cast("dict[str, object]", (await _get(ingress))["month"])
    assert (month["since"], month["allowance"]) == (f"{HOUR:%Y-%m-01T00:00:00Z}", None)
    await ingress.manage("PUT", "/v1/live/settings", json={"workload_allowance": 50})
    assert cast("dict[str, object]", (await _get(ingress))["month"])["allowance"] == 50.0


async def test_a_chain_is_summed_from_its_runs(ingress: Ingress) -> None:
    chain = UUID("0190a5f2-7c00-8a11-9b22-0123456789ab")
    async with ingress.database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO penstock.runs (id, chain_id, parent_run_id, environment, workflow, trigger, state, depth,
                scheduled_at,
                                       finished_at, workload)
            SELECT CASE n WHEN 0 THEN $1 ELSE gen_random_uuid() END, $1, CASE WHEN n > 0 THEN $1 END, 'live',
                   CASE n WHEN 0 THEN 'greet' ELSE 'look' END, 'run', CASE n WHEN 3 THEN 'queued' ELSE 'succeeded' END,
                   least(n, 1), $2::timestamptz, CASE WHEN n < 3 THEN $2 END, CASE WHEN n < 3 THEN 1.1 ELSE 0.1 END
            FROM generate_series(0, 3) n
            """,
            chain,
            HOUR,
        )
    assert await _parts(ingress, f"chain={chain}", "workflow") == [("look", 2, 2.3), ("greet", 1, 1.1)]
    assert await _parts(ingress, f"chain={chain}&by=hour", "hour") == [(f"{HOUR:%Y-%m-%dT%H:00:00Z}", 3, 3.4)]
    assert (await ingress.manage("GET", f"/v1/live/chains/{chain}")).json["workload"] == 3.4
    assert (await ingress.manage("GET", f"/v1/live/runs/{chain}")).json["workload"] == 1.1


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("by=colour", "by: expected one of workflow, activity, hour"),
        ("by=activity&chain=0190a5f2-7c00-8a11-9b22-0123456789ab", "a run keeps only its total"),
        ("chain=x", "chain"), ("since=yesterday", "since"), ("until=2030-01-01", "until"), ("limit=0", "limit"),
        ("after=x", "after"),
        ("after=WyIyMDMwIiwxXQ", "after"),
    ],
)  # fmt: skip
async def test_a_query_that_makes_no_sense_is_refused_by_name(ingress: Ingress, query: str, named: str) -> None:
    answer = await ingress.manage("GET", f"{PATH}?{query}")
    assert (answer.status, named in str(answer.json["detail"])) == (400, True), answer.body


async def test_weights_are_changed_one_by_one_and_back(ingress: Ingress) -> None:
    async def weights(environment: str = "live") -> dict[str, object]:
        results = (await ingress.manage("GET", f"/v1/{environment}/workload/weights")).json["results"]
        return {str(known["activity"]): known["weight"] for known in cast("list[dict[str, object]]", results)}

    published = {activity.value: weight for activity, weight in PUBLISHED_WEIGHTS.items()}
    assert await weights() == published
    changed = await ingress.manage("PUT", f"{PATH}/weights", json={"weights": {"search": 0.5, "run": 1, "action": 0}})
    assert changed.status == 200
    assert await weights() == {**published, "search": 0.5, "run": 1, "action": 0}
    assert await weights("development") == published
    await ingress.manage("PUT", f"{PATH}/weights", json={"weights": {"search": None, "call": 2}})
    assert await weights() == {**published, "run": 1, "action": 0, "call": 2}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"weights": {"colour": 1}},
        {"weights": {"search": -1}},
        {"weights": {"search": 2e6}},
        {"weights": {"search": "1"}},
        {"weights": []},
    ],
    ids=str,
)
async def test_weights_that_make_no_sense_are_refused(ingress: Ingress, body: object) -> None:
    assert (await ingress.manage("PUT", f"{PATH}/weights", json=body)).status == 422
