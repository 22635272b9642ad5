"""What has been kept long enough is deleted: runs by chain, lists, log lines and deliveries by the environment's
`retention`; the audit by a time of its own. `docs/retention.md` has the whole list.
"""

from functools import partial
from typing import Final

from penstock.db import Connection
from penstock.definitions.models import ENVIRONMENTS
from penstock.errors import DatabaseUnavailable
from penstock.logs import get_logger
from penstock.runs.dead_letters import delete_old_messages
from penstock.runs.keyed import forget_keyed_runs
from penstock.runtime import Counts
from penstock_scheduler.repository import aging
from penstock_scheduler.repository import retention as repository
from penstock_scheduler.repository.aging import ByDay
from penstock_scheduler.repository.retention import Deleted, Judged, Passage
from penstock_scheduler.room import Room

log = get_logger(__name__)

BATCH: Final = 1000
"""Runs that are looked at, and that are deleted, in one transaction."""
_CHAINS_AGAIN: Final = 200
_LISTS: Final = 10
_ROWS: Final = 5000
_LETTERS: Final = 100
"""Dead letters of messages may be large."""
_REST_SECONDS: Final = 0.05
"""Between two batches, so that work comes first."""


async def delete_old_runs(room: Room, *, most: int = BATCH) -> Counts:
    """Take one batch of each environment, of `most` runs; continues at once while there is more."""
    runs, is_more = 0, False
    for environment in ENVIRONMENTS:
        if room.stop.soft.is_set():
            break
        work = partial(_delete_batch, environment=environment, most=most)
        deleted, has_more = await room.database.in_transaction(work)
        runs += deleted.runs
        is_more |= has_more
    return Counts({"runs": runs}, _REST_SECONDS if is_more else None)


async def _delete_batch(conn: Connection, *, environment: str, most: int) -> tuple[Deleted, bool]:
    passage = await repository.begin_turn(conn, environment=environment)
    if passage is None:
        return Deleted(), False
    coming, is_more = await repository.pass_runs(conn, passage, most=most)
    again = await repository.list_due_chains(conn, environment=environment, most=_CHAINS_AGAIN)
    judged = await repository.judge_chains(conn, chain_ids=sorted({*coming, *again}))
    deleted = await _delete_chains(conn, passage, judged, most)
    lists = await repository.delete_lists(conn, passage, most=_LISTS)
    deleted = deleted._replace(lists=lists)
    await repository.note_deleted(conn, environment=environment, deleted=deleted)
    return deleted, is_more or deleted.runs >= most or len(again) >= _CHAINS_AGAIN or lists >= _LISTS


async def _delete_chains(conn: Connection, passage: Passage, judged: list[Judged], most: int) -> Deleted:
    """Delete what has been over for long enough, as far as one batch goes; the rest is kept, to be looked at again."""
    over = [chain.id for chain in judged if chain.ended_at is not None and chain.ended_at < passage.cutoff]
    runs = await repository.delete_runs(conn, passage, chain_ids=over, most=most) if over else 0
    gone = set(await repository.forget_chains(conn, passage, chain_ids=over)) if over else set()
    if kept := [chain for chain in judged if chain.id not in gone]:
        await repository.keep_chains(conn, passage, chains=kept)
    return Deleted(runs=runs, chains=len(gone))


async def drop_old_days(room: Room) -> Counts:
    """Drop days that no environment keeps, then delete what the one that keeps less has in the others."""
    dropped = 0
    for table in ByDay:
        async with room.database.connection() as conn:
            old = await aging.list_old_partitions(conn, table=table)
        for name, rows in old:
            try:
                dropped += await room.database.in_transaction(partial(aging.drop_partition, name=name))
            except DatabaseUnavailable as error:  # somebody reads it for long: there is another turn
                log.info("retention.partition_in_use", partition=name, error=str(error))
                break
            log.info("retention.partition_dropped", partition=name, rows=rows)
    lines, deliveries = 0, 0
    for environment in ENVIRONMENTS:
        while not room.stop.soft.is_set():
            batch = await room.database.in_transaction(partial(_delete_lines, environment=environment))
            lines += batch
            if batch < _ROWS:
                break
        is_more = True
        while is_more and not room.stop.soft.is_set():
            work = partial(_delete_deliveries, environment=environment)
            deleted, is_more = await room.database.in_transaction(work)
            deliveries += deleted
    return Counts({"partitions": dropped, "lines": lines, "deliveries": deliveries})


async def _delete_lines(conn: Connection, *, environment: str) -> int:
    deleted = await aging.delete_lines(conn, environment=environment, most=_ROWS)
    await repository.note_deleted(conn, environment=environment, deleted=Deleted(lines=deleted))
    return deleted


async def _delete_deliveries(conn: Connection, *, environment: str) -> tuple[int, bool]:
    deleted, is_more = await aging.delete_deliveries(conn, environment=environment, most=_ROWS)
    await repository.note_deleted(conn, environment=environment, deleted=Deleted(deliveries=deleted))
    return deleted, is_more


async def delete_aged(room: Room) -> Counts:
    """Delete old entries of the audit, keys of deliveries whose time is over, and old dead letters of messages, a batch
    at a time.
    """
    async with room.database.connection() as conn:
        acts = await aging.delete_old_acts(conn, most=_ROWS)
        runs = await forget_keyed_runs(conn, most=_ROWS)
        keys = await aging.delete_delivery_keys(conn, most=_ROWS)
        old = [await delete_old_messages(conn, environment=name, most=_LETTERS) for name in ENVIRONMENTS]
    is_more = max(acts, keys, runs) >= _ROWS or max(old) >= _LETTERS
    counts = {"acts": acts, "delivery_keys": keys, "dead_letters": sum(old)}
    return Counts(counts, _REST_SECONDS if is_more else None)
