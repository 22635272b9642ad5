"""What starts a Python workflow, and how it is tried again: the same as in YAML, written as calls."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from penstock.definitions.models import (
    ApiTrigger,
    Auth,
    ChangedBy,
    ChangeTrigger,
    Operation,
    RecurrenceTrigger,
    Respond,
    RetryPolicy,
    RunEnd,
    RunEndTrigger,
    WebhookTrigger,
)
from penstock.definitions.redirects import REDIRECT_TARGET
from penstock.domain.durations import parse_duration
from penstock.domain.moments import to_utc
from penstock.domain.ticks import MAX_FAILURES, MAX_TIMES, UTC_ZONE, Overlap, check_cron, check_timezone

Duration = str | float | timedelta
"""`"5m"`, a number of seconds, or a timedelta."""
Trigger = ApiTrigger | ChangeTrigger | RecurrenceTrigger | WebhookTrigger | RunEndTrigger


def api(
    *,
    method: Literal["GET", "POST"] = "POST",
    auth: Literal["public", "user", "admin"] = "admin",
    respond: Literal["when_done", "on_return", "at_once"] = "when_done",
    when_skipped: Literal[200, 400] = 400,
    redirect: str | None = None,
    redirect_on_error: str | None = None,
) -> ApiTrigger:
    """The workflow can be called over HTTP, at `/api/1.1/wf/<name>`; with `redirect` its callers are sent to that page,
    and with `redirect_on_error` to that one when it fails. Raises ValueError for what is not one of the choices.
    """
    for target in (redirect, redirect_on_error):
        if target is not None and ("${" in target or not REDIRECT_TARGET.fullmatch(target)):
            raise ValueError(f"{target[:100]!r} is neither an http(s) URL nor a path")
    return ApiTrigger(
        method=method,
        auth=Auth(auth),
        respond=Respond(respond),
        when_skipped=when_skipped,
        redirect=redirect,
        redirect_on_error=redirect_on_error,
    )


def webhook(source: str, types: Sequence[str] = ("*",)) -> WebhookTrigger:
    """Deliveries of `source`, which app.yaml declares, start it when their type matches one of `types` (`*`: any
    characters).
    """
    return WebhookTrigger(source=source, types=tuple(types))


def recurrence(
    cron: str,
    *,
    timezone: str = UTC_ZONE,
    overlap: Literal["skip", "allow", "queue", "cancel_other"] = "skip",
    catch_up: Duration = 3600.0,
    jitter: Duration = 0.0,
    start: datetime | None = None,
    end: datetime | None = None,
    times: int | None = None,
    pause_after_failures: int | None = None,
) -> RecurrenceTrigger:
    """A run at each tick of `cron` in `timezone`; ticks that were missed for at most `catch_up` are made up.

    No tick is before `start` or after `end`, and there are at most `times` ticks; it pauses when as many runs in a
    row have failed as `pause_after_failures` says. Raises ValueError for an expression or a zone that does not exist,
    a time without a zone, and numbers out of range.
    """
    check_cron(cron)
    check_timezone(timezone)
    start, end = (None if moment is None else to_utc(moment) for moment in (start, end))
    if start is not None and end is not None and end < start:
        raise ValueError("end is before start, so it would never tick")
    if times is not None and not 1 <= times <= MAX_TIMES:
        raise ValueError(f"times is from 1 to {MAX_TIMES}")
    if pause_after_failures is not None and not 1 <= pause_after_failures <= MAX_FAILURES:
        raise ValueError(f"pause_after_failures is from 1 to {MAX_FAILURES}")
    return RecurrenceTrigger(
        cron=cron,
        timezone=timezone,
        overlap=Overlap(overlap),
        catch_up_seconds=to_seconds(catch_up),
        jitter_seconds=to_seconds(jitter),
        start=start,
        end=end,
        times=times,
        pause_after_failures=pause_after_failures,
    )


def change(
    type: str,
    operations: Sequence[Literal["create", "update", "delete"]] = ("create", "update", "delete"),
    *,
    when: str | None = None,
    by: Literal["anyone", "outside", "runs"] = "anyone",
) -> ChangeTrigger:
    """A run for each thing of `type` that is created, updated or deleted; `ctx.change` says how.

    `when` is an expression of `before` and `after`, as in YAML; `by` says whose changes count. Raises ValueError for an
    unknown operation, and for an unknown `by`.
    """
    return ChangeTrigger(
        type=type, operations=tuple(Operation(operation) for operation in operations), by=ChangedBy(by), when=when
    )


def run_event(
    states: Sequence[Literal["failed", "terminated", "cancelled"]] = ("failed",), workflows: Sequence[str] = ("*",)
) -> RunEndTrigger:
    """A run for each run of one of `workflows` (`*`: any) that ends in one of `states`; `ctx.run_event` says which.

    It is one deeper than the run that ended. Ends of runs that were started in this way start nothing. Raises
    ValueError for an unknown state.
    """
    return RunEndTrigger(states=tuple(RunEnd(state) for state in states), workflows=tuple(workflows))


def retries(
    attempts: int, *, backoff: Duration = 5.0, factor: float = 2.0, max: Duration = 600.0, jitter: float = 0.2
) -> RetryPolicy:
    """How often a run is tried in all, and how long to wait: `backoff * factor ** n`, at most `max`, give or take
    `jitter` of it.

    Raises ValueError for a duration that cannot be read, and for figures out of range.
    """
    if not 1 <= attempts <= 1000 or not 1 <= factor <= 100 or not 0 <= jitter <= 1:
        raise ValueError("attempts are from 1 to 1000, factor is from 1 to 100, jitter from 0 to 1")
    return RetryPolicy(
        attempts=attempts,
        backoff_seconds=to_seconds(backoff),
        factor=factor,
        max_seconds=to_seconds(max),
        jitter=jitter,
    )


def to_seconds(duration: Duration) -> float:
    """A duration in seconds. Raises ValueError for one that cannot be read or is negative."""
    if isinstance(duration, str):
        duration = parse_duration(duration)
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
    if not 0 <= seconds < 3_155_760_000:
        raise ValueError(f"{seconds:g} seconds is not a duration; use 0 or more, and at most a century")
    return seconds
