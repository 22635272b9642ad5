"""`penstock lists` as people use it: how far a list is, and steering it."""

import json
from datetime import timedelta
from uuid import UUID

from penstock.db import open_database
from penstock.domain.ids import new_run_id
from penstock.runs.lists import ListRequest, insert_list
from tests.acceptance.console import clean_environment, penstock
from tests.site import deploy_files

WORKFLOW = "workflow: remind\nparameters: {number: number}\nsteps: [{log: hello}]"


async def store(database_url: str) -> UUID:
    """A list of five items, none of which has a run yet; its id."""
    request = ListRequest(new_run_id(), "development", "remind", start_at=timedelta(0))
    database = await open_database(database_url, name="test", most=1)
    await deploy_files(database, {"app.yaml": "app: listed", "workflows/all.yaml": WORKFLOW}, "development")
    await database.in_transaction(
        lambda conn: insert_list(conn, request=request, parameters=[{"number": number} for number in range(5)])
    )
    await database.close()
    return request.id


async def test_a_list_is_seen_paused_resumed_and_cancelled(database_url: str) -> None:
    list_id = str(await store(database_url))
    environment = clean_environment(PENSTOCK_DATABASE_URL=database_url)

    async def ask(*arguments: str) -> dict[str, object]:
        outcome = await penstock("lists", *arguments, "--json", environment=environment)
        assert outcome.code == 0, outcome
        answer: dict[str, object] = json.loads(outcome.out)
        return answer

    shown = await ask("show", list_id[:13])
    assert (shown["total"], shown["scheduled"], shown["state"], shown["paused"]) == (5, 5, "expanding", False)
    assert (await ask("pause", list_id))["paused"] is True
    listed = await penstock("lists", "list", "--open", environment=environment)
    assert [line.split()[1:6] for line in listed.out.splitlines()[1:]] == [
        ["remind", "development", "paused", "5", "0"],
    ]
    assert (await ask("resume", list_id))["paused"] is False
    assert (await ask("cancel", list_id))["cancelled"] == 0
    told = await penstock("lists", "show", list_id, environment=environment)
    assert "5 of 5 have ended: 5 cancelled" in told.out
    assert (await ask("retry", list_id))["retried"] == 0


async def test_a_list_that_is_not_there_is_named(database_url: str) -> None:
    await store(database_url)
    environment = clean_environment(PENSTOCK_DATABASE_URL=database_url)
    outcome = await penstock("lists", "show", str(UUID(int=7)), environment=environment)
    assert (outcome.code, f"no list {UUID(int=7)}" in outcome.err) == (1, True)
