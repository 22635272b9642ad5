"""What a scheduler does by itself, again and again. Each loop is a `run_once(room) -> Counts`."""

from functools import partial

from penstock.domain.notices import Channel
from penstock.runtime import Loop
from penstock.store.replicas import REPORT_SECONDS
from penstock.store.workload import FLUSH_SECONDS
from penstock_scheduler.loops.change_triggers import start_changes
from penstock_scheduler.loops.dead_letters import publish_retried
from penstock_scheduler.loops.dispatching import dispatch_due, redispatch_lost
from penstock_scheduler.loops.ends import settle_ends
from penstock_scheduler.loops.followers import start_followers
from penstock_scheduler.loops.inbox import admit_inbox
from penstock_scheduler.loops.list_expansion import advance_sequential, expand_lists, finish_lists
from penstock_scheduler.loops.list_feeding import feed_lists
from penstock_scheduler.loops.notifying import delete_old_notifications, gather_notices, send_notifications
from penstock_scheduler.loops.operations import forget_operations, work_off_operations
from penstock_scheduler.loops.pausing import hold_back
from penstock_scheduler.loops.reaping import reap_leases
from penstock_scheduler.loops.recurrences import pause_failing_recurrences, tick_recurrences
from penstock_scheduler.loops.retention import delete_aged, delete_old_runs, drop_old_days
from penstock_scheduler.loops.run_triggers import start_run_events
from penstock_scheduler.loops.sharing import share_out
from penstock_scheduler.loops.turns import delete_old_places, give_turns, sweep_turns
from penstock_scheduler.loops.upkeep import (
    delete_expired_keys,
    delete_old_files,
    delete_old_replicas,
    delete_old_sessions,
    delete_signals,
    delete_ticks,
    make_partitions,
    measure_backlog,
    report_replica,
)
from penstock_scheduler.loops.uploads import delete_unused_uploads
from penstock_scheduler.loops.waking import wake_waiting
from penstock_scheduler.loops.workload import delete_old_workload, flush_workload, watch_workload
from penstock_scheduler.room import Room


def list_loops(room: Room) -> tuple[Loop[Room], ...]:
    """All loops of a scheduler, and how often each takes a turn, in seconds."""
    nudges = room.nudges
    return (
        Loop("dispatch_due", 1.0, dispatch_due, nudges.dispatch),
        Loop("share_out", 1.0, share_out, nudges.crowds),
        Loop("wake_waiting", 1.0, wake_waiting, nudges.waits),
        Loop("give_turns", 1.0, give_turns, nudges.turns),
        Loop("sweep_turns", 5.0, sweep_turns),
        Loop("start_changes", 0.25, start_changes),
        Loop("start_run_events", 0.25, start_run_events),
        Loop("admit_inbox", 0.05, admit_inbox),
        Loop("tick_recurrences", 1.0, tick_recurrences, nudges.tick),
        Loop("pause_failing_recurrences", 5.0, pause_failing_recurrences),
        Loop("redispatch_lost", 2.0, redispatch_lost, nudges.redispatch),
        Loop("hold_back", 1.0, hold_back),
        Loop("work_off_operations", 1.0, work_off_operations),
        Loop("publish_retried", 1.0, publish_retried),
        Loop("reap_leases", 1.0, reap_leases),
        Loop("feed_lists", 0.5, feed_lists, nudges.feed),
        Loop("expand_lists", 1.0, expand_lists, nudges.expand),
        Loop("settle_ends", 0.25, settle_ends, nudges.ends),
        Loop("advance_sequential", 0.5, advance_sequential, nudges.sequential),
        Loop("finish_lists", 2.0, finish_lists),
        Loop("start_followers", 2.0, start_followers, nudges.followers),
        Loop("gather_notices", 2.0, gather_notices),
        *(Loop(f"send_{channel}", 2.0, partial(send_notifications, channel=channel)) for channel in Channel),
        Loop("flush_workload", FLUSH_SECONDS, flush_workload),
        Loop("report_replica", REPORT_SECONDS, report_replica, is_upkeep=True),
        Loop("watch_workload", 60.0, watch_workload),
        Loop("measure_backlog", 5.0, measure_backlog),
        Loop("make_partitions", 3600.0, make_partitions),
        Loop("delete_expired_keys", 600.0, delete_expired_keys),
        Loop("delete_old_files", 600.0, delete_old_files),
        Loop("delete_unused_uploads", 3600.0, delete_unused_uploads),
        Loop("delete_old_replicas", 600.0, delete_old_replicas),
        Loop("delete_ticks", 600.0, delete_ticks),
        Loop("delete_old_places", 60.0, delete_old_places),
        Loop("delete_signals", 600.0, delete_signals),
        Loop("delete_old_sessions", 600.0, delete_old_sessions),
        Loop("delete_old_notifications", 3600.0, delete_old_notifications),
        Loop("delete_old_workload", 3600.0, delete_old_workload),
        Loop("forget_operations", 3600.0, forget_operations),
        Loop("delete_old_runs", 60.0, delete_old_runs),
        Loop("drop_old_days", 3600.0, drop_old_days),
        Loop("delete_aged", 3600.0, delete_aged),
    )
