"""What `doctor` checks, one function each: what was found, and what to do about it."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

import aiohttp
import orjson

from penstock import clock
from penstock.broker.rabbitmq import connect
from penstock.cli.access import Installation, find_installation, find_keyring, open_installation
from penstock.cli.repository import Health, read_health
from penstock.contracts.topology import DEAD_LETTER_QUEUE, topology
from penstock.db import Database
from penstock.db.migrations import find_pending, list_migrations
from penstock.definitions.models import ENVIRONMENTS, App
from penstock.definitions.secrets import find_secret_names
from penstock.domain.thresholds import reached_percents
from penstock.errors import ConfigurationError, DatabaseUnavailable
from penstock.runs.views.dead_letters import count_open_by_kind
from penstock.settings import KEY_VARIABLE, SECRET_PREFIX
from penstock.store.deployments import load_current
from penstock.store.retention import Keeping, KeptTable, list_keepings, list_sizes
from penstock.store.secrets import StoredSecret, explain_unreadable, find_unreadable, find_unset, list_secrets
from penstock.store.workload_sums import MonthlyWorkload, list_months
from penstock.things.index_advice import show_index, show_indexes, suggest_index
from penstock.things.slow_searches import SlowSearch, list_slow_searches

_OLDEST_POSTGRES: Final = 15
_MAX_SKEW_SECONDS: Final = 1.0
_MAX_WAIT_SECONDS: Final = 30.0
_DEEP_QUEUE: Final = 10_000
_PROBE_SECONDS: Final = 5.0
_MAX_DELETION_LAG: Final = timedelta(hours=6)
_LARGEST: Final = 5
_MIN_SLOW: Final = 3
"""Searches of a kind that have to be slow; a single one may have waited for something else."""
_MAX_SUGGESTED: Final = 5


class Verdict(StrEnum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `advice` says what to do when it is not well."""

    check: str
    verdict: Verdict
    found: str
    advice: str = ""


async def examine(data: Path | None) -> AsyncIterator[Finding]:
    """All checks, in an order in which each may rely on those before."""
    try:
        installation = find_installation(data)
    except ConfigurationError as error:
        yield Finding("settings", Verdict.FAILED, str(error), "see deploy/env.example for all settings")
        return
    yield Finding("settings", Verdict.OK, f"the installation of {installation.source}")
    async with AsyncExitStack() as stack:
        try:
            database = await stack.enter_async_context(open_installation(data))
        except (ConfigurationError, DatabaseUnavailable) as error:
            advice = "is the server up, and do host, port, user and database in PENSTOCK_DATABASE_URL fit?"
            yield Finding("database", Verdict.FAILED, str(error), advice)
        else:
            async for finding in _examine_database(database, data):
                yield finding
    async for finding in _examine_services(installation):
        yield finding
    async for finding in _examine_broker(installation):
        yield finding


async def _examine_database(database: Database, data: Path | None) -> AsyncIterator[Finding]:
    pending = await find_pending(database)
    if pending:
        found = f"{len(pending)} of {len(list_migrations())} migrations are pending"
        yield Finding("migrations", Verdict.FAILED, found, "run `penstock migrate`")
        return
    before = clock.now()
    async with database.connection() as conn:
        health = await read_health(conn)
        months = await list_months(conn)
        keepings = await list_keepings(conn)
        sizes = await list_sizes(conn)
        letters = await count_open_by_kind(conn)
        stored = await list_secrets(conn)
        slow = await list_slow_searches(conn)
        apps = [await load_current(conn, environment=environment) for environment in ENVIRONMENTS]
    yield _judge_version(health)
    yield Finding("migrations", Verdict.OK, f"up to date ({len(list_migrations())} applied)")
    yield _judge_clock(health, before, clock.now())
    yield _judge_deployments(health)
    yield _judge_waiting(health)
    yield _judge_scheduling(health)
    yield _judge_letters(letters)
    for keeping in keepings:
        yield judge_keeping(keeping)
    yield Finding("storage", Verdict.OK, describe_sizes(sizes))
    for month in months:
        if month.allowance:
            yield _judge_workload(month)
    deployed = {name: app[1] for name, app in zip(ENVIRONMENTS, apps, strict=True) if app is not None}
    for finding in judge_searches(slow, deployed):
        yield finding
    used = {name: find_secret_names(app[1]) for name, app in zip(ENVIRONMENTS, apps, strict=True) if app is not None}
    yield _judge_secrets(stored, used, data)


def _judge_version(health: Health) -> Finding:
    major = health.server_version // 10_000
    if major < _OLDEST_POSTGRES:
        return Finding(
            "database", Verdict.FAILED, f"PostgreSQL {major}", f"upgrade to PostgreSQL {_OLDEST_POSTGRES} or later"
        )
    return Finding("database", Verdict.OK, f"PostgreSQL {major} answers")


def _judge_clock(health: Health, before: datetime, after: datetime) -> Finding:
    # The server looked at its clock somewhere between our two looks at ours.
    skew = max((health.clock_at - after).total_seconds(), (before - health.clock_at).total_seconds(), 0.0)
    if skew > _MAX_SKEW_SECONDS:
        advice = (
            "synchronise both machines' clocks (NTP); leases and due times follow the database's, signatures the "
            "ingress's"
        )
        return Finding("clock", Verdict.FAILED, f"{skew:.1f} s apart from the database's", advice)
    return Finding("clock", Verdict.OK, "within a second of the database's")


def _judge_deployments(health: Health) -> Finding:
    found = ", ".join(
        f"{name} {f'version {number}' if number else 'none'}" for name, number in sorted(health.deployments.items())
    )
    if not any(health.deployments.values()):
        return Finding(
            "deployments", Verdict.WARNING, found, "deploy an app: `penstock deploy DIR --environment development`"
        )
    return Finding("deployments", Verdict.OK, found)


def _judge_waiting(health: Health) -> Finding:
    found = f"{_count(health.waiting_runs, 'run')} for an executor"
    if health.oldest_waiting_seconds > _MAX_WAIT_SECONDS:
        advice = "start an executor, or more of them; their logs say if they cannot reach the broker or the database"
        return Finding(
            "executors", Verdict.FAILED, f"{found}, the oldest for {health.oldest_waiting_seconds:.0f} s", advice
        )
    return Finding("executors", Verdict.OK, found)


def _judge_scheduling(health: Health) -> Finding:
    late = health.overdue_runs + health.expired_leases
    if late:
        found = f"{health.overdue_runs:,} runs are overdue, {health.expired_leases:,} are held by executors that died"
        return Finding(
            "schedulers",
            Verdict.FAILED,
            found,
            "start a scheduler; its logs say if it cannot reach the broker or the database",
        )
    return Finding("schedulers", Verdict.OK, f"nothing is overdue, {health.open_lists:,} lists are being expanded")


def _judge_letters(letters: Mapping[tuple[str, str], int]) -> Finding:
    if not letters:
        return Finding("dead letters", Verdict.OK, "none is open")
    found = ", ".join(f"{number:,} of {kind}s in {place}" for (place, kind), number in sorted(letters.items()))
    advice = "`penstock dead-letters list -e ENVIRONMENT` shows why; retry, discard or resolve them"
    return Finding("dead letters", Verdict.WARNING, f"{found} are open", advice)


def judge_keeping(keeping: Keeping) -> Finding:
    """Whether deletion keeps up in an environment; with what is kept there, and what was deleted."""
    parts = ", ".join(f"{count:,} {noun}" for noun, count in keeping.deleted.items() if count)
    found = f"{keeping.environment} keeps what has ended for {keeping.retention}; deleted so far: {parts or 'nothing'}"
    if keeping.lag is not None and keeping.lag > _MAX_DELETION_LAG:
        return Finding(
            "retention",
            Verdict.WARNING,
            f"{found}; deletion is {keeping.lag.total_seconds() / 3600:,.0f} hours behind",
            "start a scheduler; if one runs, its logs say what keeps `delete_old_runs` from its work",
        )
    return Finding("retention", Verdict.OK, found)


def describe_sizes(sizes: Sequence[KeptTable]) -> str:
    """What the tables take in all, and the largest of them."""
    largest = ", ".join(
        f"{table.name} {show_bytes(table.size)} ({_show_rows(table.rows)})" for table in sizes[:_LARGEST]
    )
    return f"{show_bytes(sum(table.size for table in sizes))} in all; {largest}"


def show_bytes(size: int) -> str:
    """A size in the largest unit of which there is one, such as `1.5 GiB`."""
    units = ("bytes", "KiB", "MiB", "GiB", "TiB")
    power = min(max(size.bit_length() - 1, 0) // 10, len(units) - 1)
    return f"{size / 1024**power:,.1f} {units[power]}" if power else f"{size} bytes"


def judge_searches(slow: Sequence[SlowSearch], deployed: Mapping[str, App]) -> Iterator[Finding]:
    """For each kind of search that is often slow, the index that would serve it; those that take most time first."""
    suggested = set[tuple[str, str, str]]()
    for search in slow:
        shape = search.shape
        app = deployed.get(shape.environment)
        data_type = None if app is None else app.types.get(shape.data_type)
        advice = None if data_type is None else suggest_index(data_type, shape)
        if data_type is None or advice is None or search.count < _MIN_SLOW or len(suggested) == _MAX_SUGGESTED:
            continue
        key = (shape.environment, data_type.name, show_index(advice))
        if key not in suggested:
            suggested.add(key)
            where = data_type.place.rpartition(":")[0] or f"the file of type {data_type.name}"
            line = f"write `{show_indexes(data_type, advice)}` in {where}, and deploy"
            yield Finding("searches", Verdict.WARNING, describe_search(search), line)
    if not suggested:
        found = "some were slow, and no index is missing for them" if slow else "none was slow"
        yield Finding("searches", Verdict.OK, found)


def describe_search(search: SlowSearch) -> str:
    """What is searched for, and how slowly."""
    shape = search.shape
    conditions = ", ".join(f"{field} {kind}" for field, kind in shape.where) or "without a constraint"
    order = f", sorted by {', '.join(shape.sort)}" if shape.sort else ""
    mean = search.total_seconds / search.count
    return (
        f"{search.count:,} searches of {shape.data_type} in {shape.environment} ({conditions}{order}) took "
        f"{mean:.2f} s on average, {search.max_seconds:.2f} s at most"
    )


def _judge_secrets(stored: list[StoredSecret], used: Mapping[str, Mapping[str, str]], data: Path | None) -> Finding:
    """Whether all that is stored can be read here, and all that is used is set somewhere; `used` is by environment."""
    try:
        keyring = find_keyring(data, is_required=False)
    except ConfigurationError as error:
        return Finding("secrets", Verdict.FAILED, str(error), f"correct {KEY_VARIABLE}; services do not start with it")
    if unreadable := find_unreadable(stored, keyring):
        return Finding(
            "secrets", Verdict.FAILED, explain_unreadable(unreadable, keyring), "services do not start until then"
        )
    found = f"{len(stored)} stored"
    missing = [
        f"{name} in {environment}"
        for environment, names in used.items()
        for name in find_unset(stored, environment, names)
    ]
    if missing:
        advice = f"unless ingress and executors have {SECRET_PREFIX}<NAME>, set them: `penstock secret set`"
        return Finding("secrets", Verdict.UNKNOWN, f"{found}; used and not stored: {', '.join(missing)}", advice)
    if keyring is not None and any(secret.sealed.key_id != keyring.first_id for secret in stored):
        return Finding(
            "secrets", Verdict.WARNING, f"{found}, some encrypted with an old key", "run `penstock secret rotate`"
        )
    return Finding("secrets", Verdict.OK, found)


def _judge_workload(month: MonthlyWorkload) -> Finding:
    found = f"{month.environment} has used {month.share:.0%} of the month's {month.allowance:,.0f} units"
    if reached_percents(month.units, month.allowance):
        advice = (
            f"`penstock workload --environment {month.environment}` says what consumes it; `penstock workload "
            "thresholds` changes it"
        )
        return Finding("workload", Verdict.WARNING, found, advice)
    return Finding("workload", Verdict.OK, found)


async def _examine_services(installation: Installation) -> AsyncIterator[Finding]:
    """What the services of a `penstock up` say of themselves; where separate ones listen is not known here."""
    if installation.admin_url is None:
        return
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_PROBE_SECONDS)) as http,
            http.get(f"{installation.admin_url}/readyz") as response,
        ):
            text = await response.text()
            is_ready = response.status == 200
    except (aiohttp.ClientError, TimeoutError) as error:
        yield Finding(
            "services",
            Verdict.FAILED,
            f"{installation.admin_url} does not answer: {error}",
            "look at what `penstock up` prints",
        )
        return
    yield Finding(
        "services",
        Verdict.OK if is_ready else Verdict.FAILED,
        describe_readiness(text),
        "" if is_ready else "look at what `penstock up` prints",
    )


def describe_readiness(text: str) -> str:
    """The answer of `/readyz` in words; as it is where it is another one."""
    try:
        answer = orjson.loads(text)
        checks = ", ".join(f"{name} {'reached' if well else 'not reached'}" for name, well in answer["checks"].items())
        return f"{answer['status']}: {checks}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return text


async def _examine_broker(installation: Installation) -> AsyncIterator[Finding]:
    if installation.amqp_url is None:
        if installation.admin_url is None:
            advice = "set PENSTOCK_AMQP_URL to have the broker checked too"
            yield Finding("broker", Verdict.UNKNOWN, "PENSTOCK_AMQP_URL is not set", advice)
        return
    try:
        broker = await connect(installation.amqp_url, topology=topology(), name="penstock doctor")
    except ConfigurationError as error:
        yield Finding("broker", Verdict.FAILED, str(error), "correct PENSTOCK_AMQP_URL")
        return
    try:
        if not broker.is_connected:
            advice = (
                "is RabbitMQ up, and do host, user and vhost in PENSTOCK_AMQP_URL fit? What was accepted is "
                "stored and waits"
            )
            yield Finding("broker", Verdict.FAILED, "RabbitMQ is out of reach", advice)
            return
        yield Finding("broker", Verdict.OK, "RabbitMQ answers")
        for queue in topology().queues:
            yield _judge_queue(queue.name, await broker.count_ready(queue.name))
    finally:
        await broker.close()


def _judge_queue(name: str, ready: int | None) -> Finding:
    check = f"queue {name}"
    if ready is None:
        return Finding(
            check,
            Verdict.FAILED,
            "cannot be read",
            "look at it in RabbitMQ's management console; services declare it at start",
        )
    found = _count(ready, "message")
    if name == DEAD_LETTER_QUEUE:
        advice = "start a scheduler, which keeps them as dead letters; its log says if it cannot" if ready else ""
        return Finding(check, Verdict.WARNING if ready else Verdict.OK, found, advice)
    if ready > _DEEP_QUEUE:
        return Finding(check, Verdict.WARNING, found, "start more of the services that consume it")
    return Finding(check, Verdict.OK, found)


def _count(number: int, noun: str) -> str:
    return f"1 {noun} waits" if number == 1 else f"{number:,} {noun}s wait"


def _show_rows(rows: int | None) -> str:
    return "rows not counted yet" if rows is None else f"about {rows:,} rows"
