"""The command line as people and scripts use it: what it prints, where, and with which exit code."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from penstock.db import open_database
from penstock.domain.ids import new_run_id
from penstock.domain.lineage import Lineage
from penstock.domain.states import Trigger
from penstock.runs.admission import admit
from penstock.runs.requests import CheckedRun, RunRequest, check_run
from penstock.store.deployments import DeploymentCache
from penstock.testing.databases import fresh_database
from penstock.visible import make_visible
from tests.acceptance.console import QUICKSTART, Outcome, clean_environment, penstock
from tests.acceptance.installation import STRIPE_SECRET, Installation, Service
from tests.servers import Servers

NOBODY = "00000000-0000-8000-8000-000000000000"


@pytest.fixture
async def empty_database(servers: Servers) -> AsyncIterator[str]:
    """The URL of a database that nothing was done to yet."""
    async with fresh_database(servers.database_url) as url:
        yield url


def _assert_one_clear_line(outcome: Outcome, *parts: str) -> None:
    assert outcome.code == 1, outcome
    assert outcome.err.count("\n") == 1, outcome.err
    assert outcome.err.startswith("penstock: ")
    for part in parts:
        assert part in outcome.err
    assert "Traceback" not in outcome.err + outcome.out


@pytest.mark.parametrize(
    "command", [("migrate",), ("run", "start"), ("runs", "show", NOBODY), ("chain", "show", NOBODY)], ids=" ".join
)
async def test_without_an_installation_a_command_says_how_to_name_one(command: tuple[str, ...], tmp_path: Path) -> None:
    outcome = await penstock(*command, environment=clean_environment(), directory=tmp_path)
    _assert_one_clear_line(outcome, "PENSTOCK_DATABASE_URL", "penstock up", "--data")


async def test_a_secret_is_not_asked_for_its_key_where_there_is_no_installation(tmp_path: Path) -> None:
    outcome = await penstock(
        "secret", "set", "TOKEN", environment=clean_environment(), directory=tmp_path, stdin="a secret"
    )
    _assert_one_clear_line(outcome, "no `penstock up` runs on", "PENSTOCK_DATABASE_URL")


async def test_a_list_is_as_wide_as_it_is_so_that_ids_can_be_copied(database_url: str) -> None:
    environment = clean_environment(PENSTOCK_DATABASE_URL=database_url) | {"COLUMNS": "40"}
    await _insert_runs(database_url, UUID(NOBODY))
    head, line = (await penstock("runs", "list", environment=environment)).out.splitlines()
    assert head.split()[0] == "id"
    assert line.split()[:5] == [NOBODY, "a_workflow_with_a_long_name", "live", "queued", "0"]


async def test_a_list_is_read_page_by_page(database_url: str) -> None:
    environment = clean_environment(PENSTOCK_DATABASE_URL=database_url)
    ids = [UUID(int=number) for number in range(5)]
    await _insert_runs(database_url, *ids)
    listed: list[object] = []
    after: tuple[str, ...] = ()
    for has_more in (True, True, False):
        page = (await penstock("runs", "list", "--limit", "2", "--json", *after, environment=environment)).json
        listed += [run["id"] for run in _items(page["results"])]
        assert isinstance(page["after"], str) is has_more
        after = ("--after", str(page["after"]))
    assert listed == [str(id) for id in reversed(ids)]
    unknown = await penstock("runs", "list", "--after", NOBODY, environment=environment)
    _assert_one_clear_line(unknown, f"no run {NOBODY}")


async def test_what_a_stranger_sent_never_reaches_the_terminal_as_it_is(database_url: str) -> None:
    environment = clean_environment(PENSTOCK_DATABASE_URL=database_url)
    title = "\x1b]0;owned\x07\u202e"
    await _insert_runs(database_url, UUID(NOBODY), parameters={title: title, "c1": "\x9b2J"}, error={"message": title})
    for command in (("runs", "show", NOBODY), ("runs", "list"), ("chain", "show", NOBODY)):
        for form in ((), ("--json",)):
            outcome = await penstock(*command, *form, environment=environment)
            assert outcome.code == 0, outcome.err
            assert make_visible(outcome.out) == outcome.out, outcome.out
    shown = (await penstock("runs", "show", NOBODY, environment=environment)).out
    assert "\\x1b]0;owned\\x07\\u202e" in shown
    assert (await penstock("runs", "show", NOBODY, "--json", environment=environment)).json["error"] == {
        "message": title
    }


async def _insert_runs(database_url: str, *ids: UUID, parameters: object = None, error: object = None) -> None:
    database = await open_database(database_url, name="test", most=1)
    async with database.connection() as conn:
        for id in ids:
            await conn.execute(
                """
                INSERT INTO penstock.runs (
                    id, chain_id, environment, workflow, trigger, state, depth, scheduled_at, parameters, error
                )
                VALUES ($1, $1, 'live', 'a_workflow_with_a_long_name', 'api', 'queued', 0, clock_timestamp(), $2, $3)
                """,
                id,
                parameters or {},
                error,
            )
    await database.close()


@pytest.mark.parametrize("service", ["ingress", "scheduler", "executor"])
async def test_a_service_without_settings_names_each_that_is_missing(service: str, tmp_path: Path) -> None:
    outcome = await penstock(service, environment=clean_environment(PENSTOCK_ADMIN_PORT="many"), directory=tmp_path)
    assert outcome.code == 1
    for name in ("PENSTOCK_DATABASE_URL", "PENSTOCK_AMQP_URL", "PENSTOCK_ADMIN_PORT"):
        assert name in outcome.err
    assert "Traceback" not in outcome.err


async def test_a_database_that_is_away_is_one_line(tmp_path: Path) -> None:
    environment = clean_environment(PENSTOCK_DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")
    _assert_one_clear_line(await penstock("migrate", environment=environment, directory=tmp_path), "PostgreSQL")


async def test_migrate_brings_a_database_up_to_date_once(empty_database: str) -> None:
    environment = clean_environment(PENSTOCK_DATABASE_URL=empty_database)
    before = await penstock("migrate", "--check", environment=environment)
    assert before.code == 1
    assert "pending  0001_create_engine" in before.out
    applied = await penstock("migrate", "--json", environment=environment)
    assert applied.code == 0
    assert "0001_create_engine" in str(applied.json["applied"])
    assert (await penstock("migrate", "--check", environment=environment)).code == 0
    assert "up to date" in (await penstock("migrate", environment=environment)).out


async def test_check_finds_nothing_wrong_with_the_quickstart() -> None:
    outcome = await penstock("check", str(QUICKSTART), environment=clean_environment())
    assert outcome.code == 0
    assert outcome.out.splitlines() == [
        "ok  quickstart: 9 workflows, 3 data types, 1 source",
        "secrets: STRIPE_WEBHOOK_SECRET",
    ]


async def test_check_prints_every_problem_with_its_place(tmp_path: Path) -> None:
    _write(tmp_path / "app.yaml", "app: broken\n")
    _write(
        tmp_path / "workflows" / "notify.yaml",
        "workflow: notify\nparameters: {n: number}\nsteps:\n  - emial: someone\n  - when: params.m > 1\n    log: hi\n",
    )
    _write(tmp_path / "workflows" / "loop.yaml", "workflow: loop\nsteps:\n  - schedule: loop\n")
    outcome = await penstock("check", str(tmp_path), environment=clean_environment())
    assert outcome.code == 1
    lines = outcome.out.splitlines()
    assert any(line.startswith("error: workflows/notify.yaml:4: ") and "emial" in line for line in lines), lines
    assert any(line.startswith("error: workflows/notify.yaml:5") and "params.m" in line for line in lines), lines
    assert any(line.startswith("error: workflows/loop.yaml:") and "loop → loop" in line for line in lines), lines
    as_json = await penstock("check", str(tmp_path), "--json", environment=clean_environment())
    assert as_json.code == 1
    assert as_json.json["ok"] is False
    assert len(_items(as_json.json["problems"])) == len(lines) - 1


async def test_deploy_shows_what_it_would_do_and_then_does_it(database_url: str) -> None:
    environment = clean_environment(PENSTOCK_DATABASE_URL=database_url)
    arguments = ("deploy", str(QUICKSTART), "--environment", "live")
    planned = await penstock(*arguments, "--plan", environment=environment)
    assert planned.code == 0
    assert "+ workflow create_thing" in planned.out
    assert "+ add type thing to live" in planned.out
    assert "nothing was changed" in planned.out
    done = await penstock(*arguments, environment=environment)
    assert done.code == 0
    assert "deployed quickstart to live, version 1" in done.out
    again = await penstock(*arguments, "--json", environment=environment)
    assert again.json["version"] == 1
    assert again.json["added"] == again.json["changed"] == again.json["removed"] == again.json["tables"] == []


async def test_deploy_of_a_broken_app_changes_nothing(database_url: str, tmp_path: Path) -> None:
    _write(tmp_path / "app.yaml", "app: broken\nsauces: {}\n")
    environment = clean_environment(PENSTOCK_DATABASE_URL=database_url)
    outcome = await penstock("deploy", str(tmp_path), "--environment", "live", environment=environment)
    assert outcome.code == 1
    assert "error: app.yaml:2" in outcome.out
    refused = await penstock("run", "anything", "--environment", "live", environment=environment)
    _assert_one_clear_line(refused, "nothing is deployed to live", "penstock deploy")


async def test_run_waits_for_the_result_and_shows_what_was_done(
    installation: Installation, services: tuple[Service, Service, Service]
) -> None:
    environment = _environment_of(installation)
    waited = await penstock("run", "one_thing", "-p", "name=from a terminal", "--wait", environment=environment)
    assert waited.code == 0, waited
    assert set(waited.json) == {"id"}
    started = await penstock(
        "run", "start", "-p", "first=a", "--environment", "live", "--json", environment=environment
    )
    assert started.code == 0, started
    assert started.json["state"] == "queued"
    await installation.settled()
    run_id = str(started.json["id"])
    await _assert_shown(run_id, environment)
    assert await installation.count_things() == 8


async def test_a_chain_is_stopped_and_resumed_at_a_terminal(installation: Installation) -> None:
    environment = _environment_of(installation)
    started = await penstock(
        "run", "one_thing", "-p", "name=a", "--environment", "live", "--json", environment=environment
    )
    run_id = str(started.json["id"])
    stopped = await penstock("chain", "stop", run_id, "--reason", "it loops", "--json", environment=environment)
    assert stopped.json == {"id": run_id, "stopped": True, "cancelled": 1}
    listed = await penstock("chain", "list", "-e", "live", "--mark", "stopped", "--json", environment=environment)
    assert [chain["id"] for chain in _items(listed.json["results"])] == [run_id]
    unknown = await penstock("runs", "list", "-e", "live", "--user", "nobody@example.com", environment=environment)
    _assert_one_clear_line(unknown, "live has no user with the email 'nobody@example.com', or several")
    again = await penstock("chain", "stop", run_id, environment=environment)
    assert "was stopped before; 0 runs were cancelled" in again.out
    resumed = await penstock("chain", "resume", run_id, "--extra-depth", "5", "--json", environment=environment)
    assert resumed.json == {
        "resumed": 1, "still_terminated": 0, "grant": {"extra_depth": 5, "extra_runs": 0, "extra_workload": 0.0},
    }  # fmt: skip
    _assert_one_clear_line(await penstock("chain", "stop", str(new_run_id()), environment=environment), "no chain")


async def test_a_run_that_was_cut_shows_the_limit_that_cut_it(installation: Installation) -> None:
    environment = _environment_of(installation)
    async with installation.database.connection() as conn:
        await conn.execute("UPDATE penstock.environments SET depth_limit = 3")
    deployment = await DeploymentCache(installation.database).current("live")
    request = RunRequest(new_run_id(), "live", "one_thing", {"name": "a"}, Trigger.MESSAGE, Lineage(depth=4))
    run = check_run(request, deployment)
    assert isinstance(run, CheckedRun)
    await installation.database.in_transaction(lambda conn: admit(conn, [run]))
    async with installation.database.connection() as conn:
        await conn.execute("UPDATE penstock.environments SET depth_limit = 77")
    shown = await penstock("runs", "show", str(request.run_id), environment=environment)
    assert "4 (limit 3)" in shown.out
    assert (await penstock("runs", "show", str(request.run_id), "--json", environment=environment)).json[
        "depth_budget"
    ] == 3


@pytest.mark.parametrize("service", ["ingress", "scheduler", "executor"])
async def test_a_service_does_not_start_on_a_database_that_lacks_migrations(
    empty_database: str, amqp_url: str, service: str
) -> None:
    environment = clean_environment(
        PENSTOCK_DATABASE_URL=empty_database, PENSTOCK_AMQP_URL=amqp_url, PENSTOCK_ADMIN_PORT="0"
    )
    outcome = await penstock(service, environment=environment)
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1].startswith(
        "penstock: the database is not up to date, it lacks 0001_create_engine, "
    )
    assert outcome.err.splitlines()[-1].endswith("; run `penstock migrate`, then start this again")
    assert "Traceback" not in outcome.err


async def _assert_shown(run_id: str, environment: dict[str, str]) -> None:
    shown = await penstock("runs", "show", run_id, environment=environment)
    assert shown.code == 0
    for part in ("start", run_id, "succeeded", "manual", "0 (limit 10)", "schedule"):
        assert part in shown.out
    run = (await penstock("runs", "show", run_id, "--json", environment=environment)).json
    assert run["parameters"] == {"first": "a"}
    assert _items(run["steps"])
    chain = await penstock("chain", "show", run_id, environment=environment)
    assert chain.code == 0
    assert "  └ a  succeeded" in chain.out
    assert "create_thing  terminated (depth_limit)" in chain.out
    assert "depth 10 of 10, runs " in chain.out
    assert "repeats create_thing → create_thing, " in chain.out
    counted = (await penstock("chain", "show", run_id, "--json", environment=environment)).json
    assert counted["total"] == 12
    assert {"depth": 11, "state": "terminated", "runs": 1} in _items(counted["counts"])


async def test_a_list_is_drawn_as_one_line(
    installation: Installation, services: tuple[Service, Service, Service]
) -> None:
    environment = _environment_of(installation)
    started = await penstock("run", "start_list", "-p", "items=[1, 2, 3, 4, 5]", "--json", environment=environment)
    assert started.code == 0, started
    await installation.settled(environment="development")
    chain = await penstock("chain", "show", str(started.json["id"]), environment=environment)
    line = next(line for line in chain.out.splitlines() if "└ item  succeeded" in line)
    assert line.startswith("5 alike ")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("run", "one_thin"), ("no workflow 'one_thin'", "did you mean 'one_thing'?")),
        (("run", "one_thing"), ("Missing parameter", "name")),
        (("run", "one_thing", "-p", "name=a", "-p", "nmae=b"), ("nmae", "did you mean 'name'?")),
        (("run", "start_list", "-p", "items=many"), ("items", "list")),
        (("runs", "show", NOBODY), (f"no run {NOBODY}",)),
        (("chain", "show", NOBODY), (f"no chain {NOBODY}",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_what_does_not_exist_is_one_line(
    installation: Installation, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    _assert_one_clear_line(await penstock(*arguments, environment=_environment_of(installation)), *parts)


async def test_run_that_fails_exits_with_1_and_says_why(
    installation: Installation, services: tuple[Service, ...], tmp_path: Path
) -> None:
    _write(tmp_path / "app.yaml", "app: failing\n")
    _write(tmp_path / "workflows" / "failing.yaml", "workflow: failing\nsteps:\n  - fail: the card was declined\n")
    environment = _environment_of(installation)
    assert (await penstock("deploy", str(tmp_path), "--environment", "development", environment=environment)).code == 0
    outcome = await penstock("run", "failing", "--wait", environment=environment)
    _assert_one_clear_line(outcome, "failed", "the card was declined")
    assert not outcome.out


async def test_run_is_stored_when_the_broker_is_away(installation: Installation) -> None:
    environment = {**_environment_of(installation), "PENSTOCK_AMQP_URL": "amqp://guest:guest@127.0.0.1:1/"}
    outcome = await penstock("run", "one_thing", "-p", "name=later", environment=environment)
    assert outcome.code == 0
    assert "the broker is out of reach" in outcome.err
    assert await installation.fetchval("SELECT count(*) FROM penstock.runs WHERE state = 'queued'") == 1


async def test_doctor_finds_an_installation_well(installation: Installation, services: tuple[Service, ...]) -> None:
    secrets = {"PENSTOCK_SECRET_STRIPE_WEBHOOK_SECRET": STRIPE_SECRET, "PENSTOCK_SECRET_OUTSIDE": "http://127.0.0.1:1"}
    outcome = await penstock("doctor", "--json", environment={**_environment_of(installation), **secrets})
    assert outcome.code == 0, outcome
    verdicts = {str(finding["check"]): finding["verdict"] for finding in _items(outcome.json["findings"])}
    assert set(verdicts.values()) == {"ok"}, verdicts
    assert {"settings", "database", "migrations", "clock", "deployments", "executors", "schedulers", "broker"} <= set(
        verdicts
    )
    assert "queue penstock.scheduler" in verdicts


async def test_doctor_says_what_to_do_about_each_failure(empty_database: str, tmp_path: Path) -> None:
    away = urlsplit(empty_database)._replace(netloc="nobody@127.0.0.1:1").geturl()
    broker_away = "amqp://guest:guest@127.0.0.1:1/"
    environment = clean_environment(PENSTOCK_DATABASE_URL=empty_database, PENSTOCK_AMQP_URL=broker_away)
    outdated, unreachable, nameless = await asyncio.gather(
        penstock("doctor", environment=environment),
        penstock("doctor", environment={**environment, "PENSTOCK_DATABASE_URL": away}),
        penstock("doctor", environment=clean_environment(), directory=tmp_path),
    )
    assert outdated.code == unreachable.code == nameless.code == 1
    assert "→ run `penstock migrate`" in outdated.out
    assert "RabbitMQ is out of reach" in outdated.out
    assert "→ is the server up" in unreachable.out
    assert "→ see deploy/env.example" in nameless.out


async def test_doctor_notices_that_nobody_works(installation: Installation) -> None:
    environment = _environment_of(installation)
    await penstock("run", "one_thing", "-p", "name=stuck", environment=environment)
    async with installation.database.connection() as conn:
        await conn.execute("UPDATE penstock.runs SET scheduled_at = scheduled_at - interval '1 hour'")
    outcome = await penstock("doctor", environment=environment)
    assert outcome.code == 1
    assert re.search(r"1 run waits for an executor, the oldest for 36\d\d s", outcome.out)
    assert "→ start an executor" in outcome.out


def _environment_of(installation: Installation) -> dict[str, str]:
    return clean_environment(PENSTOCK_DATABASE_URL=installation.database_url, PENSTOCK_AMQP_URL=installation.amqp_url)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _items(value: object) -> list[dict[str, object]]:
    assert isinstance(value, list)
    return value
