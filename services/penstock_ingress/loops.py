"""What an ingress does by itself, again and again."""

from penstock.runtime import Counts, Loop
from penstock.store.replicas import REPORT_SECONDS
from penstock.store.secrets import PERIOD_SECONDS as SECRETS_SECONDS
from penstock.store.workload import FLUSH_SECONDS
from penstock.things.slow_searches import FLUSH_SECONDS as SLOW_SEARCHES_SECONDS
from penstock_ingress.room import Room


def list_loops(_: Room) -> tuple[Loop[Room], ...]:
    """All loops of an ingress, and how often each takes a turn, in seconds."""
    return (
        Loop("refresh_secrets", SECRETS_SECONDS, refresh_secrets, is_upkeep=True),
        Loop("flush_workload", FLUSH_SECONDS, flush_workload, is_upkeep=True),
        Loop("flush_slow_searches", SLOW_SEARCHES_SECONDS, flush_slow_searches, is_upkeep=True),
        Loop("report_replica", REPORT_SECONDS, report_replica, is_upkeep=True),
    )


async def refresh_secrets(room: Room) -> Counts:
    """Notice secrets that were changed."""
    await room.secrets.refresh()
    return Counts()


async def flush_workload(room: Room) -> Counts:
    """Write what this ingress has metered."""
    await room.meter.flush()
    return Counts()


async def flush_slow_searches(room: Room) -> Counts:
    """Write which searches were slow here."""
    await room.slow_searches.flush()
    return Counts()


async def report_replica(room: Room) -> Counts:
    """Note that this ingress is there, and what it has counted."""
    await room.replica.report()
    return Counts()
