"""`penstock workload` as people and scripts use it, and what `doctor` says of an allowance."""

from collections.abc import AsyncIterator
from typing import cast
from uuid import UUID

import pytest

from penstock.db import Database, open_database
from tests.acceptance.console import Outcome, clean_environment, penstock

CHAIN = UUID("0190a5f2-7c00-8a11-9b22-0123456789ab")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database in which something was consumed."""
    opened = await open_database(database_url, name="test", most=2)
    async with opened.connection() as conn:
        await conn.execute(
            """
            INSERT INTO penstock.workload (environment, hour, workflow, activity, count, units)
            SELECT 'live', date_trunc('hour', clock_timestamp(), 'UTC'), q.workflow, q.activity, q.count, q.units
            FROM (VALUES ('greet', 'action', 1000, 600), ('greet', 'run', 500, 0), ('', 'api_request', 100, 1)) AS q
                 (workflow, activity, count, units)
            """
        )
        await conn.execute(
            """
            INSERT INTO penstock.runs (id, chain_id, environment, workflow, trigger, state, depth, scheduled_at,
                finished_at, workload)
            VALUES ($1, $1, 'live', 'greet', 'api', 'succeeded', 0, clock_timestamp(), clock_timestamp(), 1.2)
            """,
            CHAIN,
        )
    yield opened
    await opened.close()


@pytest.fixture
def environment(database: Database, database_url: str) -> dict[str, str]:
    """What the command line needs to find it."""
    return clean_environment(PENSTOCK_DATABASE_URL=database_url)


def _results(outcome: Outcome, key: str) -> dict[object, object]:
    assert outcome.code == 0, outcome
    return {part[key]: part["units"] for part in cast("list[dict[str, object]]", outcome.json["results"])}


async def test_workload_is_shown_to_people_and_programs(environment: dict[str, str]) -> None:
    shown = await penstock("workload", "-e", "live", environment=environment)
    assert shown.code == 0, shown
    assert shown.out.startswith("live  601.00 units since ")
    lines = [line.split() for line in shown.out.splitlines()]
    assert ["greet", "500", "600.00", "99.8%"] in lines
    assert ["(requests", "outside", "any", "workflow)", "0", "1.00", "0.2%"] in lines
    assert "nothing was consumed" in (await penstock("workload", environment=environment)).out
    printed = await penstock(
        "workload", "-e", "live", "--by", "activity", "--since", "2h", "--json", environment=environment
    )
    assert _results(printed, "activity") == {"action": 600.0, "api_request": 1.0, "run": 0.0}
    assert (printed.json["units"], cast("dict[str, object]", printed.json["month"])["allowance"]) == (601.0, None)


async def test_a_chain_is_found_wherever_it_ran(environment: dict[str, str]) -> None:
    assert _results(
        await penstock("workload", "--chain", str(CHAIN), "--json", environment=environment), "workflow"
    ) == {"greet": 1.2}
    unknown = await penstock("workload", "--chain", str(UUID(int=5)), environment=environment)
    assert (unknown.code, unknown.err) == (1, f"penstock: no chain {UUID(int=5)}\n")
    assert "1.2 units" in (await penstock("runs", "show", str(CHAIN), environment=environment)).out
    assert "1 run  1.2 units" in (await penstock("chain", "show", str(CHAIN), environment=environment)).out


async def test_weights_are_changed_and_put_back(environment: dict[str, str]) -> None:
    changed = await penstock(
        "workload", "weights", "call=0.5", "action=1", "-e", "live", "--json", environment=environment
    )
    assert {"call": 0.5, "action": 1.0, "search": 0.3}.items() <= {
        str(part["activity"]): part["weight"] for part in cast("list[dict[str, object]]", changed.json["results"])
    }.items()
    shown = await penstock("workload", "weights", "call=", "-e", "live", environment=environment)
    rows = {line.split()[0]: line.split()[1:] for line in shown.out.splitlines()}
    assert (rows["call"], rows["action"], rows["api_byte"]) == (["0.1", "0.1"], ["1", "0.6"], ["0.000003", "0.000003"])


async def test_thresholds_are_set_one_by_one_and_the_doctor_knows_the_allowance(environment: dict[str, str]) -> None:
    before = await penstock("workload", "thresholds", "-e", "live", "--json", environment=environment)
    assert before.json["limits"] == {"allowance": 0.0, "spike_factor": 3.0, "spike_minimum": 1000.0}
    await penstock("workload", "thresholds", "-e", "live", "--spike-factor", "5", environment=environment)
    shown = await penstock("workload", "thresholds", "-e", "live", "--allowance", "800", environment=environment)
    assert "800 units a month; 601.00 units since" in " ".join(shown.out.split())
    assert "5 times the usual hour, and at least 1,000 units in an hour" in " ".join(shown.out.split())
    findings = (await penstock("doctor", "--json", environment=environment)).json["findings"]
    (finding,) = [known for known in cast("list[dict[str, object]]", findings) if known["check"] == "workload"]
    assert (finding["verdict"], finding["found"]) == ("warning", "live has used 75% of the month's 800 units")
