"""`penstock schedule` as people use it: start a run later, look at what is coming, and steer it."""

import json
from typing import cast

import pytest

from penstock.db import open_database
from tests.acceptance.console import clean_environment, penstock
from tests.site import deploy_files

WORKFLOWS = """
workflow: remind
parameters: {who: text}
steps: [{log: "${params.who}"}]
---
workflow: list
steps: [{log: listed}]
"""


@pytest.fixture
async def environment(database_url: str) -> dict[str, str]:
    database = await open_database(database_url, name="test", most=1)
    await deploy_files(database, {"app.yaml": "app: scheduled", "workflows/all.yaml": WORKFLOWS}, "development")
    await database.close()
    return clean_environment(PENSTOCK_DATABASE_URL=database_url)


async def run(environment: dict[str, str], *arguments: str) -> dict[str, object]:
    outcome = await penstock("schedule", *arguments, "--json", environment=environment)
    assert outcome.code == 0, outcome
    answer: dict[str, object] = json.loads(outcome.out)
    return answer


def audited(acts: list[dict[str, object]]) -> list[dict[str, object]]:
    """Those on the schedule, the oldest first."""
    return [act for act in reversed(acts) if str(act["action"]).startswith("schedule.")]


async def test_a_run_is_scheduled_seen_moved_and_cancelled(environment: dict[str, str]) -> None:
    first = await run(environment, "remind", "--after", "2h", "-p", "who=Ada")
    named = await penstock("schedule", "--", "list", "--at", "2040-01-31T09:00:00Z", "--json", environment=environment)
    second = json.loads(named.out)
    assert (first["state"], second["workflow"], second["state"]) == ("scheduled", "list", "scheduled")
    page = await run(environment, "list", "--limit", "1")
    rest = await run(environment, "list", "--after", str(page["after"]))
    found = [*cast("list[dict[str, object]]", page["results"]), *cast("list[dict[str, object]]", rest["results"])]
    assert [entry["id"] for entry in found] == [first["id"], second["id"]]
    await run(environment, "move", str(first["id"]), "--at", "2041-01-31T09:00:00Z")
    listed = await penstock("schedule", "list", environment=environment)
    assert [line.split()[4] for line in listed.out.splitlines()[1:]] == ["list", "remind"]
    begun = await run(environment, "cancel", "--workflow", "remind")
    assert (begun["cancelled"], begun["items"]) == (1, 0)
    assert await run(environment, "cancel", str(second["id"])) == {"cancelled": 1, "items": 0}
    audit = json.loads((await penstock("audit", "--json", environment=environment)).out)["results"]
    done = [(act["action"], act["subject"], act["after"]) for act in audited(audit)]
    assert done == [
        ("schedule.move", first["id"], {"at": "2041-01-31T09:00:00+00:00"}),
        ("schedule.cancel", "", {"operation": begun["operation"], "total": 1}),
        ("schedule.cancel", second["id"], {"cancelled": 1, "items": 0}),
    ]
    again = await penstock("schedule", "cancel", str(second["id"]), environment=environment)
    assert (again.code, "is coming in development" in again.err) == (1, True)


async def test_the_schedule_is_paused_and_resumed(environment: dict[str, str]) -> None:
    await run(environment, "pause", "--workflow", "remind", "--note", "not now")
    listed = await penstock("schedule", "list", environment=environment)
    assert "development, workflow remind  (not now)" in listed.out
    other = await penstock("schedule", "resume", environment=environment)
    assert (other.code, "no pause of exactly this kind" in other.err) == (1, True)
    lifted = await penstock("schedule", "resume", "--workflow", "remind", environment=environment)
    assert lifted.out.startswith("resumed: development, workflow remind")
