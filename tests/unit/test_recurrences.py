"""What becomes of ticks: in time, late, missed, and while the run before lives."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from penstock.domain.recurrences import HELD_LOOK, MOST_TICKS, ON_TIME, Recurrence, decide_ticks
from penstock.domain.ticks import Every, Overlap, Rule

RUN_ID = UUID("01890000-0000-8000-8000-000000000001")
FIRST = datetime(2030, 1, 1, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)


def build_recurrence(**over: Any) -> Recurrence:
    """An hourly one whose next tick is at three o'clock."""
    given: dict[str, Any] = {
        "id": RUN_ID, "environment": "live", "workflow": "tidy", "origin": "trigger", "thing": None,
        "rule": Rule(cron="0 * * * *"),
        "overlap": Overlap.SKIP, "catch_up": HOUR, "jitter": timedelta(), "parameters": {}, "context": {},
        "generation": 0,
        "created_at": FIRST, "paused_at": None, "next_tick_at": FIRST, "due_at": FIRST, "held_since": None,
        "last_tick_at": None,
        "last_run_id": None, "ticks": 0, "skipped": 0, "missed": 0, "refused": 0,
    }  # fmt: skip
    return Recurrence(**{**given, **over})


def hours(*numbers: int) -> tuple[datetime, ...]:
    return tuple(FIRST.replace(hour=number) for number in numbers)


@pytest.mark.parametrize(
    ("over", "late", "is_live", "ticks", "skipped", "missed"),
    [
        ({}, timedelta(seconds=1), False, (3,), (), ()),
        ({}, timedelta(seconds=1), True, (), (3,), ()),
        ({"overlap": Overlap.ALLOW}, timedelta(seconds=1), True, (3,), (), ()),
        ({}, timedelta(minutes=50), False, (3,), (), ()),
        ({}, 2 * HOUR, False, (5,), (), (3, 4)),
        ({}, 2 * HOUR, True, (), (4, 5), (3,)),
        ({"overlap": Overlap.ALLOW}, 2 * HOUR, False, (4, 5), (), (3,)),
        ({"overlap": Overlap.ALLOW, "catch_up": 10 * HOUR}, 2 * HOUR, True, (3, 4, 5), (), ()),
        ({"overlap": Overlap.QUEUE}, 2 * HOUR, False, (5,), (), (3, 4)),
        (
            {"overlap": Overlap.QUEUE, "held_since": FIRST, "catch_up": timedelta()},
            2 * HOUR + HOUR / 2,
            False,
            (5,),
            (3, 4),
            (),
        ),
        ({"catch_up": timedelta()}, timedelta(seconds=10), False, (3,), (), ()),
        ({"catch_up": timedelta()}, timedelta(seconds=11), False, (), (), (3,)),
        ({"catch_up": timedelta()}, timedelta(seconds=11), True, (), (), (3,)),
    ],
)
def test_ticks_are_made_skipped_or_missed(
    over: dict[str, object],
    late: timedelta,
    is_live: bool,
    ticks: tuple[int, ...],
    skipped: tuple[int, ...],
    missed: tuple[int, ...],
) -> None:
    decision = decide_ticks(build_recurrence(**over), FIRST + late, is_live=is_live)

    assert (decision.ticks, decision.skipped, decision.missed) == (hours(*ticks), hours(*skipped), hours(*missed))
    assert decision.next_tick_at == decision.due_at == FIRST + (late // HOUR + 1) * HOUR
    assert decision.is_on_time == all(FIRST + late - tick <= ON_TIME for tick in decision.ticks)


def test_a_queued_tick_stays_where_it_is_until_the_run_before_has_ended() -> None:
    now = FIRST + timedelta(seconds=1)
    decision = decide_ticks(build_recurrence(overlap=Overlap.QUEUE), now, is_live=True)

    assert (decision.ticks, decision.next_tick_at, decision.due_at, decision.held_since) == (
        (),
        FIRST,
        now + HELD_LOOK,
        now,
    )
    later = decide_ticks(build_recurrence(overlap=Overlap.QUEUE, held_since=now), now + HOUR, is_live=True)
    assert later.held_since == now


def test_a_scheduler_that_was_away_for_long_takes_several_turns() -> None:
    decision = decide_ticks(build_recurrence(rule=Rule(cron="* * * * *")), FIRST + 100 * HOUR, is_live=False)

    assert len(decision.missed) == MOST_TICKS
    assert decision.next_tick_at == FIRST + timedelta(minutes=MOST_TICKS)


def test_what_never_ticks_again_is_due_no_more() -> None:
    recurrence = build_recurrence(
        rule=Rule(every=Every.YEARLY, start=FIRST.replace(year=9999)), next_tick_at=FIRST.replace(year=9999)
    )
    decision = decide_ticks(recurrence, FIRST.replace(year=9999, hour=4), is_live=False)

    assert (len(decision.ticks), decision.next_tick_at, decision.due_at) == (1, None, None)
