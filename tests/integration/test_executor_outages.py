"""PostgreSQL goes away in the middle of runs and comes back: nothing is lost, nothing is done twice."""

import pytest

from penstock.db import open_database
from penstock.db.migrations import migrate
from tests.eventually import eventually
from tests.integration.executing import House, Outside, serve_outside
from tests.private_servers import PrivatePostgres


@pytest.fixture
async def database_url(private_postgres: PrivatePostgres) -> str:
    """A database in a server of the test's own, which it may kill."""
    database = await open_database(private_postgres.url, name="test", most=2)
    await migrate(database)
    await database.close()
    return private_postgres.url


async def test_runs_outlive_a_restart_of_the_database(
    house: House, private_postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = Outside()
    async with serve_outside(outside.handle) as outside.url:
        monkeypatch.setenv("PENSTOCK_SECRET_URL", outside.url)
        await house.deploy("""
workflow: across
steps:
  - create: thing
    set: {name: before}
  - http: "${secrets.URL}"
  - create: thing
    set: {name: after}
  - id: found
    find: thing
    where: {name: after}
  - return: {found: "${len(steps.found.results) > 0}"}
""")
        runs = await house.admit("across", count=20)
        late = await house.admit("across", count=20)
        async with house.executor(outgoing_allow="127.0.0.1", lease_seconds=60):
            await house.publisher.dispatch(runs)
            await eventually(lambda: outside.waiting == 20)
            await private_postgres.kill()
            outside.answers.set()  # all twenty commit into nothing
            await house.publisher.dispatch(late)  # and these cannot be claimed
            await private_postgres.start()
            rows = [await house.ended(run.id) for run in (*runs, *late)]
    assert {(row["state"], row["attempt"], str(row["result"])) for row in rows} == {("succeeded", 1, "{'found': True}")}
    names = [thing["name"] for thing in await house.things()]
    assert (names.count("before"), names.count("after"), len(names)) == (40, 40, 80)
