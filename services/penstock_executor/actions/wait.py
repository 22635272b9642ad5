"""`wait: 3d`, `wait_until: <time>` and `wait_for: NAME`: the run gives up its place until then, and costs nothing
meanwhile.
"""

from datetime import datetime, timedelta
from typing import Final

from penstock_executor.actions.arguments import duration, mapping, moment, target_text, wrong
from penstock_executor.actions.steps import Call, Done, Outcome, Suspend

LONGEST_NAME: Final = 200


def wait(call: Call) -> Outcome:
    """Nothing, once the duration is over."""
    return _until(call, _later(call, duration(call, "wait", call.target)))


def wait_until(call: Call) -> Outcome:
    """Nothing, once that time has come; at once when it has already."""
    return _until(call, moment(call, "wait_until", call.target))


def wait_for(call: Call) -> Outcome:
    """The payload of the signal; null when it did not come within the step's `timeout`."""
    name = target_text(call, "the name of a signal")
    if len(name) > LONGEST_NAME or "\x00" in name:
        raise wrong(call, f"the name of a signal has at most {LONGEST_NAME} characters, none of them NUL")
    seconds = call.plan.definition.timeout_seconds
    until = None if seconds is None else _later(call, timedelta(seconds=seconds))
    return Suspend(until, name, mapping(call, "match") or None)


def _later(call: Call, delay: timedelta) -> datetime:
    try:
        return call.now + delay
    except OverflowError:
        raise wrong(call, "that is after the year 9999") from None


def _until(call: Call, until: datetime) -> Outcome:
    return Done() if until <= call.now else Suspend(until)
