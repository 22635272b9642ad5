"""What keeps the tables ready and small, and what tells how much work waits."""

from datetime import timedelta
from functools import partial
from itertools import product
from typing import Final

from penstock import clock
from penstock.definitions.models import ENVIRONMENTS
from penstock.domain.dead_letters import LETTER_KINDS
from penstock.metrics import (
    BACKLOG_MEASURED,
    DEAD_LETTERS_OPEN,
    OLDEST_READY_SECONDS,
    RUNS_HELD,
    RUNS_READY,
    RUNS_SCHEDULED,
    RUNS_WAITING,
)
from penstock.runs.idempotency import KEY_LIFETIME
from penstock.runs.recurrences.history import delete_old_ticks
from penstock.runs.views.dead_letters import count_open_by_kind
from penstock.runs.waits_and_signals import delete_expired_signals
from penstock.runtime import Counts
from penstock.store import replicas
from penstock.store.console_sessions import delete_ended_console_sessions
from penstock.store.tokens import delete_ended_sessions
from penstock.things.account_tokens import delete_expired_tokens
from penstock.things.files import delete_expired_files, delete_removed_objects
from penstock.things.idempotency import delete_old_keys
from penstock.things.imports.batches import delete_old_imports
from penstock.things.tries import delete_old_tries
from penstock_scheduler.repository import runs as run_repository
from penstock_scheduler.repository import upkeep as repository
from penstock_scheduler.repository.aging import ByDay, make_partition
from penstock_scheduler.room import Room

DAYS_AHEAD: Final = 7
_KEY_BATCH: Final = 5000
_FILE_BATCH: Final = 20
_OBJECT_BATCH: Final = 1000
_IMPORT_BATCH: Final = 1000


async def measure_backlog(room: Room) -> Counts:
    """Set the gauges by which executors are scaled, and that of the open dead letters."""
    async with room.database.connection() as conn:
        backlog = await run_repository.measure_backlog(conn)
        letters = await count_open_by_kind(conn)
    for lane, ready in backlog.lanes.items():
        RUNS_READY.labels(lane).set(ready.runs)
        OLDEST_READY_SECONDS.labels(lane).set(ready.oldest_seconds)
    RUNS_SCHEDULED.set(backlog.scheduled)
    RUNS_WAITING.set(backlog.waiting)
    RUNS_HELD.set(backlog.held)
    for environment, kind in product(ENVIRONMENTS, LETTER_KINDS):
        DEAD_LETTERS_OPEN.labels(environment, kind).set(letters.get((environment, kind), 0))
    BACKLOG_MEASURED.set_to_current_time()
    return Counts()


async def make_partitions(room: Room) -> Counts:
    """Make the daily partitions for today and the next week, each once however many schedulers try."""
    today = clock.now().date()
    made = 0
    for table in ByDay:
        for ahead in range(DAYS_AHEAD + 1):
            day = today + timedelta(days=ahead)
            made += await room.database.in_transaction(partial(make_partition, table=table, day=day))
    return Counts({"partitions": made})


async def delete_expired_keys(room: Room) -> Counts:
    """Forget idempotency keys that have expired, in batches."""
    deleted = 0
    while not room.stop.soft.is_set():
        async with room.database.connection() as conn:
            batch = await repository.delete_expired_keys(conn, older_than=KEY_LIFETIME, most=_KEY_BATCH)
        deleted += batch
        if batch < _KEY_BATCH:
            break
    async with room.database.connection() as conn:
        deleted += await delete_old_keys(conn, older_than=KEY_LIFETIME, most=_KEY_BATCH)
    return Counts({"keys": deleted})


async def delete_old_files(room: Room) -> Counts:
    """Delete expired files, a few at a time (each may have thousands of chunks), and the progress of old imports."""
    deleted = 0
    async with room.database.connection() as conn:
        imports = await delete_old_imports(conn, most=_IMPORT_BATCH)
    while not room.stop.soft.is_set():
        async with room.database.connection() as conn:
            batch = await delete_expired_files(conn, most=_FILE_BATCH)
        deleted += batch
        if batch < _FILE_BATCH:
            break
    objects = await delete_removed_objects(room.files, most=_OBJECT_BATCH)
    return Counts({"files": deleted, "imports": imports, "objects": objects})


async def delete_old_sessions(room: Room) -> Counts:
    """Forget sessions of users and of the console that have ended, tokens of mails that have expired, and how often
    passwords were tried long ago, in batches.
    """
    deleted = 0
    while not room.stop.soft.is_set():
        async with room.database.connection() as conn:
            sessions = await delete_ended_sessions(conn, most=_KEY_BATCH)
            tries = await delete_old_tries(conn, most=_KEY_BATCH)
            tokens = await delete_expired_tokens(conn, most=_KEY_BATCH)
            consoles = await delete_ended_console_sessions(conn, most=_KEY_BATCH)
        deleted += sessions + tries + tokens + consoles
        if max(sessions, tries, tokens, consoles) < _KEY_BATCH:
            break
    return Counts({"sessions": deleted})


async def delete_signals(room: Room) -> Counts:
    """Forget signals that no run has waited for in time, in batches."""
    deleted = 0
    while not room.stop.soft.is_set():
        async with room.database.connection() as conn:
            batch = await delete_expired_signals(conn, most=_KEY_BATCH)
        deleted += batch
        if batch < _KEY_BATCH:
            break
    return Counts({"signals": deleted})


async def delete_ticks(room: Room) -> Counts:
    """Forget old ticks of recurrences, in batches."""
    deleted = 0
    while not room.stop.soft.is_set():
        async with room.database.connection() as conn:
            batch = await delete_old_ticks(conn, most=_KEY_BATCH)
        deleted += batch
        if batch < _KEY_BATCH:
            break
    return Counts({"ticks": deleted})


async def report_replica(room: Room) -> Counts:
    """Note that this scheduler is there, and what it has counted."""
    await room.replica.report()
    return Counts()


async def delete_old_replicas(room: Room) -> Counts:
    """Forget replicas that died, and counts of old minutes."""
    async with room.database.connection() as conn:
        return Counts({"rows": await replicas.delete_old_replicas(conn)})
