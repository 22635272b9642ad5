"""How many runs of large chains may be queued ahead of the executors."""

import pytest

from penstock_scheduler.rules import MAX_AHEAD, MIN_AHEAD, ahead_after, share_of


@pytest.mark.parametrize(
    ("ahead", "used", "running", "after"),
    [
        (MIN_AHEAD, MIN_AHEAD, 0, 2 * MIN_AHEAD),
        (400, 200, 0, 800),
        (400, 100, 0, 400),
        (400, 40, 0, 360),
        (400, 0, 0, 360),
        (MIN_AHEAD, 0, 0, MIN_AHEAD),
        (MAX_AHEAD, MAX_AHEAD, 0, MAX_AHEAD),
        (400, 0, 5000, 10_000),
    ],
)
def test_executors_are_given_ahead_what_they_use_up(ahead: int, used: int, running: int, after: int) -> None:
    assert ahead_after(ahead, used=used, running=running) == after


def test_a_share_is_never_nothing() -> None:
    assert share_of(1000, crowds=3) == 334
    assert share_of(100, crowds=1000) == 10
