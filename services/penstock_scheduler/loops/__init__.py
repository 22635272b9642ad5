"""What a scheduler does by itself, again and again. Each loop is a `run_once(room) -> Counts`.

Most of them are woken by the three that look, and would otherwise look at empty tables again and again.
"""

from functools import partial

from penstock.domain.notices import Channel
from penstock.runtime import Loop
from penstock.store.replicas import REPORT_SECONDS
from penstock.store.workload import FLUSH_SECONDS
from penstock_scheduler.admitting.nudges import Nudges
from penstock_scheduler.loops.change_triggers import start_changes
from penstock_scheduler.loops.dead_letters import publish_retried
from penstock_scheduler.loops.dispatching import dispatch_due, redispatch_lost
from penstock_scheduler.loops.ends import settle_ends
from penstock_scheduler.loops.followers import start_followers
from penstock_scheduler.loops.inbox import admit_inbox
from penstock_scheduler.loops.list_expansion import advance_sequential, expand_lists, finish_lists
from penstock_scheduler.loops.list_feeding import feed_lists
from penstock_scheduler.loops.looking import DUE_SECONDS, WRITTEN_SECONDS, look_for_due, look_for_written, look_now
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
from penstock_scheduler.rules import MAX_REST_SECONDS


def list_loops(room: Room) -> tuple[Loop[Room], ...]:
    """All loops of a scheduler, and how often each takes a turn, in seconds."""
    nudges = room.nudges
    return (
        Loop("admit_inbox", 0.05, admit_inbox),
        Loop("look_for_written", WRITTEN_SECONDS, look_for_written),
        Loop("look_for_due", DUE_SECONDS, look_for_due),
        Loop("look_now", MAX_REST_SECONDS, look_now, nudges.look),
        Loop("start_changes", MAX_REST_SECONDS, start_changes, nudges.changes),
        Loop("start_run_events", MAX_REST_SECONDS, start_run_events, nudges.run_ends),
        Loop("settle_ends", MAX_REST_SECONDS, settle_ends, nudges.ends),
        Loop("feed_lists", MAX_REST_SECONDS, feed_lists, nudges.feed),
        Loop("advance_sequential", MAX_REST_SECONDS, advance_sequential, nudges.sequential),
        Loop("dispatch_due", MAX_REST_SECONDS, dispatch_due, nudges.dispatch),
        Loop("share_out", MAX_REST_SECONDS, share_out, nudges.crowds),
        Loop("redispatch_lost", MAX_REST_SECONDS, redispatch_lost, nudges.redispatch),
        Loop("reap_leases", MAX_REST_SECONDS, reap_leases, nudges.leases),
        Loop("wake_waiting", MAX_REST_SECONDS, wake_waiting, nudges.waits),
        Loop("give_turns", MAX_REST_SECONDS, give_turns, nudges.turns),
        Loop("sweep_turns", MAX_REST_SECONDS, sweep_turns, nudges.sweep),
        Loop("tick_recurrences", MAX_REST_SECONDS, tick_recurrences, nudges.tick),
        Loop("pause_failing_recurrences", MAX_REST_SECONDS, pause_failing_recurrences, nudges.failing),
        Loop("expand_lists", MAX_REST_SECONDS, expand_lists, nudges.expand),
        Loop("finish_lists", MAX_REST_SECONDS, finish_lists, nudges.finish),
        Loop("start_followers", MAX_REST_SECONDS, start_followers, nudges.followers),
        Loop("hold_back", MAX_REST_SECONDS, hold_back, nudges.pauses),
        Loop("work_off_operations", MAX_REST_SECONDS, work_off_operations, nudges.operations),
        Loop("publish_retried", MAX_REST_SECONDS, publish_retried, nudges.retried),
        Loop("gather_notices", MAX_REST_SECONDS, gather_notices, nudges.notices),
        *(_send_by(channel, nudges) for channel in Channel),
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


def _send_by(channel: Channel, nudges: Nudges) -> Loop[Room]:
    wake = {Channel.EMAIL: nudges.email, Channel.WEBHOOK: nudges.webhook, Channel.SLACK: nudges.slack}[channel]
    return Loop(f"send_{channel}", MAX_REST_SECONDS, partial(send_notifications, channel=channel), wake)
