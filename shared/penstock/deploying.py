"""Plan and deploy: an app becomes an environment's current version, with tables, recurrences and watched types."""

import hashlib
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import orjson
from pydantic import JsonValue

from penstock.db import Connection, quote_identifier
from penstock.definitions.differences import Difference, find_differences
from penstock.definitions.models import App, default_limits
from penstock.definitions.notifications import Notifications
from penstock.domain.retention import DEFAULT_RETENTION
from penstock.errors import ConfigurationError
from penstock.runs.ends import watch_run_ends
from penstock.runs.recurrences.rows import replace_triggers
from penstock.store.audit import Act, AuditAction, note_acts
from penstock.store.deployments import load_current
from penstock.store.policies import get_settings, note_changed_settings
from penstock.things.changes import watch_types
from penstock.things.tables import TableChange, apply_table_changes, plan_pruning, plan_tables
from penstock.things.unused_files import guard_files

_MAX_NOTED: Final = 100
"""Differences that the audit lists of a deployment."""
_DEPLOY_LOCK: Final = 0x44504C59  # "DPLY": deployments of one database take turns


@dataclass(frozen=True, slots=True)
class DeploymentPlan:
    """What a deployment would change: definitions and tables. `unused` is what pruning would drop as well."""

    differences: tuple[Difference, ...]
    tables: tuple[TableChange, ...]
    unused: tuple[TableChange, ...]

    @property
    def dropped(self) -> tuple[TableChange, ...]:
        """The changes by which data is lost."""
        return tuple(change for change in self.tables if change.is_loss)


class Deployer(NamedTuple):
    """Who deploys, and how, for the audit."""

    actor: str
    action: Literal[AuditAction.APP_DEPLOY, AuditAction.APP_PROMOTE] = AuditAction.APP_DEPLOY


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a deployment did; `is_new` is False when the same app was current already."""

    version: int
    is_new: bool
    plan: DeploymentPlan


async def plan(conn: Connection, *, environment: str, app: App, prune: bool = False) -> DeploymentPlan:
    """What deploying `app` would change, compared with what is current and with the tables there are."""
    current = await load_current(conn, environment=environment)
    tables = await plan_tables(conn, environment=environment, types=app.types)
    unused = tuple(await plan_pruning(conn, environment=environment, types=app.types))
    return DeploymentPlan(
        differences=tuple(find_differences(current[1] if current else None, app)),
        tables=(*tables, *unused) if prune else tuple(tables),
        unused=() if prune else unused,
    )


async def deploy(
    conn: Connection,
    *,
    environment: str,
    app: App,
    prune: bool = False,
    approved: DeploymentPlan | None = None,
    by: Deployer | None = None,
) -> Deployment:
    """Make `app` the current one: tables first, then a new version, unless the same app is current.

    With `prune`, what no data type uses is dropped with its values. If that, or anything else, is no longer as it was
    `approved`, ConfigurationError is raised.

    The limits and addresses that the app asks for are applied when they differ from what the last deployment asked for,
    so that a limit changed at run time outlives an unrelated deployment. What has changed is noted in the audit as done
    `by` somebody. Raises ConfigurationError for a change of tables that would lose data.
    """
    await conn.execute("SELECT pg_advisory_xact_lock($1)", _DEPLOY_LOCK)
    planned = await plan(conn, environment=environment, app=app, prune=prune)
    if approved is not None and approved != planned:
        raise ConfigurationError(
            f"{environment} was changed after the plan was shown, so nothing was done; look at the new plan"
        )
    settings = await get_settings(conn, environment=environment)
    deployment = await _apply(conn, environment, app, planned)
    if by is not None and (deployment.is_new or planned.tables):
        await note_changed_settings(conn, environment=environment, before=settings, actor=by.actor)
        await note_acts(conn, [_describe(environment, app, deployment, by)])
    return deployment


async def _apply(conn: Connection, environment: str, app: App, planned: DeploymentPlan) -> Deployment:
    await apply_table_changes(conn, changes=planned.tables)
    await guard_files(conn, environment=environment, types=app.types.values())
    current = await load_current(conn, environment=environment)
    content = app.model_dump(mode="json")
    # With sorted keys, because jsonb does not keep their order: an app read back from a deployment is the same app.
    checksum = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    if current is not None and checksum == await _get_checksum(conn, environment, current[0]):
        return Deployment(current[0], False, planned)
    version: int = await conn.fetchval(
        """
        INSERT INTO penstock.deployments (environment, version, app, checksum)
        SELECT $1, coalesce(max(version), 0) + 1, $2, $3 FROM penstock.deployments WHERE environment = $1
        RETURNING version
        """,
        environment,
        content,
        checksum,
    )
    await conn.execute(
        "UPDATE penstock.environments SET deployment_version = $2, passwords = $3 WHERE name = $1",
        environment,
        version,
        {workflow.name: sorted(workflow.passwords) for workflow in app.workflows.values() if workflow.passwords},
    )
    await _apply_limits(conn, environment, app, current[1] if current else None)
    await replace_triggers(conn, environment=environment, app=app)
    await watch_types(conn, environment=environment, app=app)
    await watch_run_ends(conn, environment=environment, app=app)
    return Deployment(version, True, planned)


def _describe(environment: str, app: App, deployment: Deployment, by: Deployer) -> Act:
    planned = deployment.plan
    changes = [
        *(f"{one.sign} {one.kind} {one.name}" for one in planned.differences),
        *(change.description for change in planned.tables),
    ]
    after: dict[str, JsonValue] = {"version": deployment.version, "changes": [*changes[:_MAX_NOTED]]}
    if len(changes) > _MAX_NOTED:
        after["further_changes"] = len(changes) - _MAX_NOTED
    return Act(environment, by.actor, by.action, app.name, None, after)


async def _get_checksum(conn: Connection, environment: str, version: int) -> str:
    checksum: str = await conn.fetchval(
        "SELECT checksum FROM penstock.deployments WHERE environment = $1 AND version = $2", environment, version
    )
    return checksum


async def _apply_limits(conn: Connection, environment: str, app: App, before: App | None) -> None:
    default = default_limits(environment)
    asked = app.environments.get(environment, default)
    asked_before = default if before is None else before.environments.get(environment, default)
    is_first_wish = before is None and environment in app.environments
    for column in ("depth_limit", "depth_policy", "chain_runs_limit", "chain_workload_limit"):
        wish = getattr(asked, column)
        if is_first_wish or wish != getattr(asked_before, column):
            statement = f"UPDATE penstock.environments SET {quote_identifier(column)} = $2 WHERE name = $1"
            await conn.execute(statement, environment, wish)
    default_retention = DEFAULT_RETENTION[environment]
    retention = asked.retention or default_retention
    if (before is None and asked.retention) or retention != (asked_before.retention or default_retention):
        await conn.execute("UPDATE penstock.environments SET retention = $2 WHERE name = $1", environment, retention)
    await _apply_notifications(conn, environment, app, before)
    if before is None or before.admins != app.admins:
        await conn.execute(
            "UPDATE penstock.environments SET notification_addresses = $2 WHERE name = $1",
            environment,
            list(app.admins),
        )


async def _apply_notifications(conn: Connection, environment: str, app: App, before: App | None) -> None:
    wish = _find_notifications(app, environment)
    if wish == (Notifications() if before is None else _find_notifications(before, environment)):
        return
    await conn.execute(
        """
        UPDATE penstock.environments
        SET notification_webhooks = $2, notification_slack = $3, notification_every = $4
        WHERE name = $1
        """,
        environment,
        [webhook.model_dump() for webhook in wish.webhooks],
        list(wish.slack),
        wish.every,
    )


def _find_notifications(app: App, environment: str) -> Notifications:
    limits = app.environments.get(environment)
    own = None if limits is None else limits.notifications
    return own or app.notifications or Notifications()
