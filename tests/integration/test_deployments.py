"""Deployments: versions, limits, and what a process keeps at hand."""

import asyncio

import pytest

from penstock.db import Connection, Database
from penstock.definitions.differences import Difference
from penstock.definitions.models import (
    App,
    EnvironmentLimits,
    Parameter,
    Step,
    StepAction,
    Workflow,
)
from penstock.definitions.notifications import Notifications, NotificationWebhook
from penstock.deploying import Deployment, deploy, plan
from penstock.errors import ConfigurationError
from penstock.store.deployments import DeploymentCache, load_current, load_version
from tests.factories import build_app, build_field_type, build_type

LIVE = "live"


def build_workflow(name: str = "notify", text: str = "hello") -> Workflow:
    parameter = Parameter(name="to", type=build_field_type("list of text"), default=["a", 1.5, {"b": None}])
    step = Step(
        id="say",
        action=StepAction.LOG,
        target=text,
        arguments={"alpha": "${params.to}", "zeta": 1},  # jsonb puts the shorter key first
    )
    return Workflow(name=name, parameters=(parameter,), steps=(step,))


def build_version(text: str = "hello", **over: object) -> App:
    return build_app(build_type("order", {"number": "text"})).model_copy(
        update={"workflows": {"notify": build_workflow(text=text)}, **over}
    )


async def put(database: Database, app: App, environment: str = LIVE) -> Deployment:
    return await database.in_transaction(lambda conn: deploy(conn, environment=environment, app=app))


async def get_limits(conn: Connection, environment: str = LIVE) -> tuple[int, int]:
    row = await conn.fetchrow(
        "SELECT depth_limit, chain_runs_limit FROM penstock.environments WHERE name = $1", environment
    )
    assert row is not None
    return row["depth_limit"], row["chain_runs_limit"]


async def test_an_app_is_read_back_as_deployed(database: Database, conn: Connection) -> None:
    assert await load_current(conn, environment=LIVE) is None
    app = build_version()
    deployed = await put(database, app)
    assert (deployed.version, deployed.is_new) == (1, True)
    assert await load_current(conn, environment=LIVE) == (1, app)
    assert await load_current(conn, environment="development") is None


async def test_versions_count_up_and_stay(database: Database, conn: Connection) -> None:
    first, second = build_version("one"), build_version("two")
    assert [(await put(database, app)).version for app in (first, second, first)] == [1, 2, 3]
    assert [await load_version(conn, environment=LIVE, version=version) for version in (1, 2, 3)] == [
        first,
        second,
        first,
    ]
    with pytest.raises(ConfigurationError, match="live has no deployment 4"):
        await load_version(conn, environment=LIVE, version=4)


async def test_the_same_app_is_no_new_version(database: Database, conn: Connection) -> None:
    await put(database, build_version())
    assert await put(database, build_version()) == Deployment(
        1, False, await plan(conn, environment=LIVE, app=build_version())
    )
    current = await load_current(conn, environment=LIVE)
    assert current is not None
    assert not (await put(database, current[1])).is_new, "an app read back from a deployment, as when it is promoted"
    assert (await put(database, current[1], "development")).version == 1


async def test_a_plan_names_what_changes(database: Database, conn: Connection) -> None:
    workflows = {name: build_workflow(name) for name in ("kept", "old", "edited")}
    await put(database, build_version(workflows=workflows))
    workflows = {"kept": workflows["kept"], "edited": build_workflow("edited", "other"), "new": build_workflow("new")}
    planned = await plan(conn, environment=LIVE, app=build_version(workflows=workflows))
    assert planned.differences == (
        Difference("change", "workflow", "edited", ("steps",)),
        Difference("add", "workflow", "new"),
        Difference("remove", "workflow", "old"),
    )
    assert planned.tables == ()


async def test_a_workflow_that_only_moved_in_its_file_is_not_changed(database: Database, conn: Connection) -> None:
    workflow = build_workflow()
    await put(database, build_version(workflows={"notify": workflow}))
    steps = tuple(step.model_copy(update={"place": "workflows/all.yaml:9"}) for step in workflow.steps)
    moved = workflow.model_copy(update={"place": "workflows/all.yaml:7", "steps": steps})
    assert (await plan(conn, environment=LIVE, app=build_version(workflows={"notify": moved}))).differences == ()
    assert (await put(database, build_version(workflows={"notify": moved}))).is_new, "its errors name the new place"


async def test_two_deployers_at_once_make_one_version(database: Database, conn: Connection) -> None:
    both = await asyncio.gather(put(database, build_version()), put(database, build_version()))
    assert sorted((deployed.version, deployed.is_new) for deployed in both) == [(1, False), (1, True)]
    assert await conn.fetchval("SELECT count(*) FROM penstock.deployments") == 1
    others = await asyncio.gather(*(put(database, build_version(f"text {number}")) for number in range(3)))
    assert sorted(deployed.version for deployed in others) == [2, 3, 4]


async def test_a_refused_deployment_leaves_everything_as_it_was(database: Database, conn: Connection) -> None:
    await put(database, build_version())
    refused = build_version("other", types={"order": build_type("order", {"number": "list of date"})})
    with pytest.raises(ConfigurationError, match="field 'number' of type 'order'"):
        await put(database, refused)
    assert await load_current(conn, environment=LIVE) == (1, build_version())


async def test_limits_of_an_app_hold_where_it_asks_for_them(database: Database, conn: Connection) -> None:
    await put(database, build_version(environments={LIVE: EnvironmentLimits(depth_limit=7, chain_runs_limit=99)}))
    assert await get_limits(conn) == (7, 99)
    assert await get_limits(conn, "development") == (10, 10_000)


async def test_a_limit_set_at_run_time_outlives_a_deployment_that_does_not_change_it(
    database: Database, conn: Connection
) -> None:
    asks = {LIVE: EnvironmentLimits(depth_limit=7)}
    await put(database, build_version("one", environments=asks))
    await conn.execute("UPDATE penstock.environments SET depth_limit = 50 WHERE name = $1", LIVE)
    await put(database, build_version("two", environments=asks))
    assert await get_limits(conn) == (50, 1_000_000)
    await put(database, build_version("two", environments={LIVE: EnvironmentLimits(depth_limit=7, chain_runs_limit=5)}))
    assert await get_limits(conn) == (50, 5), "another limit is another matter"
    await put(database, build_version("two", environments={LIVE: EnvironmentLimits(depth_limit=8, chain_runs_limit=5)}))
    assert await get_limits(conn) == (8, 5)


async def test_a_limit_set_before_anything_is_deployed_yields_only_to_one_asked_for(
    database: Database, conn: Connection
) -> None:
    await conn.execute("UPDATE penstock.environments SET depth_limit = 50")
    await put(database, build_version())
    assert await get_limits(conn) == (50, 1_000_000)
    await put(database, build_version(environments={"development": EnvironmentLimits(depth_limit=10)}), "development")
    assert await get_limits(conn, "development") == (10, 1_000_000)


async def test_notifications_are_those_of_the_environment_else_of_the_app_and_outlive_other_deployments(
    database: Database, conn: Connection
) -> None:
    query = "SELECT notification_webhooks, notification_slack, notification_every FROM penstock.environments "
    hook = NotificationWebhook(url="https://ops.example.com/hook", secret="${secrets.HOOK}")
    of_app = Notifications(webhooks=(hook,), every={"stops": "1h"})
    await put(database, build_version(notifications=of_app))
    row = await conn.fetchrow(query + "WHERE name = 'live'")
    assert row is not None
    assert tuple(row) == ([hook.model_dump()], [], {"stops": "1h"})
    await conn.execute("UPDATE penstock.environments SET notification_slack = '{https://a.example.com}'")
    await put(database, build_version("other", notifications=of_app))
    assert await conn.fetchval("SELECT notification_slack FROM penstock.environments WHERE name = 'live'") != []
    own = EnvironmentLimits(notifications=Notifications(slack=("${secrets.SLACK}",)))
    await put(database, build_version(notifications=of_app, environments={"live": own}))
    row = await conn.fetchrow(query + "WHERE name = 'live'")
    assert row is not None
    assert tuple(row) == ([], ["${secrets.SLACK}"], {})


async def test_admins_are_told_of_what_happens(database: Database, conn: Connection) -> None:
    query = "SELECT notification_addresses FROM penstock.environments WHERE name = 'live'"
    await put(database, build_version(admins=("a@example.com",)))
    assert await conn.fetchval(query) == ["a@example.com"]
    await conn.execute("UPDATE penstock.environments SET notification_addresses = '{b@example.com}'")
    await put(database, build_version("other", admins=("a@example.com",)))
    assert await conn.fetchval(query) == ["b@example.com"]
    await put(database, build_version("other"))
    assert await conn.fetchval(query) == []


# ---- the cache


async def test_the_cache_knows_what_it_saw_until_it_is_refreshed(database: Database) -> None:
    cache = DeploymentCache(database)
    assert cache.known(LIVE) is None
    nothing = await cache.current(LIVE)
    assert (nothing.version, nothing.app.workflows) == (0, {})
    await put(database, build_version())
    assert (await cache.current(LIVE)) is nothing
    fresh = await cache.refresh(LIVE)
    assert (fresh.version, fresh.app) == (1, build_version())
    assert (
        await cache.current(LIVE) is cache.known(LIVE) is await cache.refresh(LIVE) is await cache.get(LIVE, 1) is fresh
    )
    assert (await cache.current("development")).version == 0


async def test_the_cache_compiles_a_version_once(database: Database) -> None:
    cache = DeploymentCache(database)
    await put(database, build_version("one"))
    await put(database, build_version("two"))
    first = await cache.get(LIVE, 1)
    assert first.app == build_version("one")
    assert first.compiled.workflow("notify") is (await cache.get(LIVE, 1)).compiled.workflow("notify")
    assert cache.known(LIVE) is None, "an old version is not the current one"
    assert (await cache.current(LIVE)).version == 2


async def test_the_cache_asks_for_an_unknown_version_in_words(database: Database) -> None:
    with pytest.raises(ConfigurationError, match="live has no deployment 3"):
        await DeploymentCache(database).get(LIVE, 3)


async def test_the_cache_forgets_what_was_not_used_for_longest(database: Database) -> None:
    cache = DeploymentCache(database)
    for number in range(22):
        await put(database, build_version(str(number)))
    current = await cache.current(LIVE)
    first, second = await cache.get(LIVE, 1), await cache.get(LIVE, 2)
    for version in range(3, 22):
        await cache.get(LIVE, version)
        assert await cache.get(LIVE, 1) is first, "used all the time"
    assert await cache.get(LIVE, 2) is not second
    assert await cache.get(LIVE, 22) is current, "the current one is always at hand"


async def test_pruning_does_only_what_was_approved(database: Database, conn: Connection) -> None:
    wide = build_version(types={"order": build_type("order", {"number": "text", "old": "text"})})
    narrow = build_version(types={"order": build_type("order", {"number": "text"})})
    await put(database, wide)
    approved = await plan(conn, environment=LIVE, app=narrow, prune=True)
    assert [change.description for change in approved.dropped] == [
        "drop column old and its values from type order in live"
    ]
    await conn.execute('ALTER TABLE live."order" ADD COLUMN by_hand text')
    with pytest.raises(ConfigurationError, match="live was changed after the plan was shown"):
        await database.in_transaction(
            lambda conn: deploy(conn, environment=LIVE, app=narrow, prune=True, approved=approved)
        )
    assert await conn.fetchval('SELECT count("old") FROM live."order"') == 0
