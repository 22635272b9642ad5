"""`penstock runs cancel` and `retry` by filter, with no service running: the command works it off by itself."""

import json

import pytest

from penstock.db import open_database
from tests.acceptance.console import clean_environment, penstock
from tests.site import deploy_files

WORKFLOWS = "workflow: remind\nsteps: [{log: hello}]\n---\nworkflow: other\nsteps: [{log: hello}]\n"


@pytest.fixture
async def environment(database_url: str) -> dict[str, str]:
    """Three runs for later: two of `remind`, one of `other`."""
    database = await open_database(database_url, name="test", most=1)
    await deploy_files(database, {"app.yaml": "app: many", "workflows/all.yaml": WORKFLOWS}, "development")
    await database.close()
    environment = clean_environment(PENSTOCK_DATABASE_URL=database_url)
    for workflow in ("remind", "remind", "other"):
        assert (await penstock("schedule", workflow, "--after", "2h", environment=environment)).code == 0
    return environment


async def test_runs_are_cancelled_by_filter(environment: dict[str, str]) -> None:
    outcome = await penstock("runs", "cancel", "--workflow", "remind", environment=environment)
    assert (outcome.code, outcome.out) == (0, "2 cancelled\n"), outcome
    rest = await penstock("runs", "cancel", "--all", "--json", environment=environment)
    assert json.loads(rest.out)["cancelled"] == 1
    nothing = await penstock("runs", "retry", "--all", environment=environment)
    assert (nothing.code, nothing.out) == (0, "0 retried\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--key", "a"), "give it with --workflow, and with no other option"),
        (("--key", "a", "--workflow", "remind", "--state", "queued"), "and with no other option"),
        ((), "give ids, options that narrow it down, or --all"),
        (("--all", "--workflow", "remind"), "give ids, options that narrow it down, or --all"),
        (("--state", "succeeded"), "runs that are succeeded have ended"),
        (("--workflow", "remind", "--since", "yesterday"), "yesterday"),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    environment: dict[str, str], arguments: tuple[str, ...], says: str
) -> None:
    outcome = await penstock("runs", "cancel", *arguments, environment=environment)
    assert (outcome.code, says in " ".join(outcome.err.split())) == (2, True), outcome
