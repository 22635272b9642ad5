"""What becomes of ticks: in time, late, missed, and while the run before lives."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from penstock.domain.recurrences import HELD_LOOK, MAX_TICKS, ON_TIME, Recurrence, decide_ticks, list_next_ticks
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

    assert len(decision.missed) == MAX_TICKS
    assert decision.next_tick_at == FIRST + timedelta(minutes=MAX_TICKS)


def test_what_never_ticks_again_is_due_no_more() -> None:
    recurrence = build_recurrence(
        rule=Rule(every=Every.YEARLY, start=FIRST.replace(year=9999)), next_tick_at=FIRST.replace(year=9999)
    )
    decision = decide_ticks(recurrence, FIRST.replace(year=9999, hour=4), is_live=False)

    assert (len(decision.ticks), decision.next_tick_at, decision.due_at) == (1, None, None)


def test_a_live_run_is_cancelled_for_the_latest_tick() -> None:
    decision = decide_ticks(build_recurrence(overlap=Overlap.CANCEL_OTHER), FIRST + HOUR, is_live=True)
    assert (decision.ticks, decision.missed, decision.cancels) == (hours(4), hours(3), True)
    assert not decide_ticks(build_recurrence(overlap=Overlap.CANCEL_OTHER), FIRST, is_live=False).cancels


@pytest.mark.parametrize(("left", "ticks"), [(1, (3,)), (2, (3, 4)), (3, (3, 4, 5)), (4, (3, 4, 5))])
def test_it_ends_with_the_last_of_its_ticks(left: int, ticks: tuple[int, ...]) -> None:
    recurrence = build_recurrence(overlap=Overlap.ALLOW, catch_up=10 * HOUR, ticks_left=left)
    decision = decide_ticks(recurrence, FIRST + 2 * HOUR, is_live=False)
    assert (decision.ticks, decision.due_at is None) == (hours(*ticks), left <= 3)


def test_a_skipped_tick_does_not_count_among_its_ticks() -> None:
    decision = decide_ticks(build_recurrence(ticks_left=1), FIRST, is_live=True)
    assert (decision.skipped, decision.next_tick_at) == (hours(3), FIRST + HOUR)


def test_what_a_pause_held_back_is_made_up_however_long_ago_or_dropped() -> None:
    late = FIRST + 3 * HOUR + HOUR / 2
    owed = build_recurrence(overlap=Overlap.ALLOW, catch_up=timedelta(), owed_since=FIRST + HOUR)
    decision = decide_ticks(owed, late, is_live=False)
    assert (decision.ticks, decision.missed) == (hours(4, 5, 6), hours(3))
    dropped = decide_ticks(build_recurrence(overlap=Overlap.ALLOW, dropped_until=late), late, is_live=False)
    assert (dropped.ticks, dropped.missed, dropped.dropped) == ((), (), hours(3, 4, 5, 6))


def test_the_next_ticks_are_those_that_are_left() -> None:
    assert list_next_ticks(build_recurrence(), FIRST, 3) == [*hours(3, 4, 5)]
    assert list_next_ticks(build_recurrence(ticks_left=2), FIRST, 3) == [*hours(3, 4)]
    assert list_next_ticks(build_recurrence(next_tick_at=None), FIRST, 3) == []
    paused = build_recurrence(paused_at=FIRST)
    assert list_next_ticks(paused, FIRST + 2 * HOUR, 2) == [*hours(6, 7)]
