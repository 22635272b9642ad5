"""What an executor does by itself, again and again, for as long as it holds any run."""

from typing import Final

from penstock.runtime import Counts, Loop
from penstock.store.replicas import REPORT_SECONDS
from penstock.store.secrets import PERIOD_SECONDS as SECRETS_SECONDS
from penstock.store.workload import FLUSH_SECONDS
from penstock.things.slow_searches import FLUSH_SECONDS as SLOW_SEARCHES_SECONDS
from penstock_executor.room import Room

_EXPIRY_SECONDS: Final = 0.5
"""Shorter than what a scheduler takes to hand a run whose lease has expired to another executor."""


def list_loops(room: Room) -> tuple[Loop[Room], ...]:
    """All loops of an executor, and how often each takes a turn, in seconds."""
    return (
        Loop("renew_leases", room.leases.period_seconds, renew_leases, is_upkeep=True),
        Loop("stop_expired", _EXPIRY_SECONDS, stop_expired, is_upkeep=True),
        Loop("refresh_secrets", SECRETS_SECONDS, refresh_secrets, is_upkeep=True),
        Loop("flush_workload", FLUSH_SECONDS, flush_workload, is_upkeep=True),
        Loop("flush_slow_searches", SLOW_SEARCHES_SECONDS, flush_slow_searches, is_upkeep=True),
        Loop("report_replica", REPORT_SECONDS, report_replica, is_upkeep=True),
    )


async def renew_leases(room: Room) -> Counts:
    """Extend all leases."""
    await room.leases.renew()
    return Counts()


async def stop_expired(room: Room) -> Counts:
    """Stop the runs whose lease has expired."""
    await room.leases.stop_expired()
    return Counts()


async def refresh_secrets(room: Room) -> Counts:
    """Notice secrets that were changed."""
    await room.secrets.refresh()
    return Counts()


async def flush_workload(room: Room) -> Counts:
    """Write what this executor has metered."""
    await room.meter.flush()
    return Counts()


async def flush_slow_searches(room: Room) -> Counts:
    """Write which searches were slow here."""
    await room.tools.slow_searches.flush()
    return Counts()


async def report_replica(room: Room) -> Counts:
    """Note that this executor is there, and what it has counted."""
    await room.replica.report()
    return Counts()
