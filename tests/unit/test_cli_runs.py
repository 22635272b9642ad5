"""What `penstock runs show` says of a run that waits, and numbers as people read them."""

from datetime import UTC, datetime
from typing import get_args

import pytest

from penstock.cli.output import show_count, show_number
from penstock.cli.runs import describe_wait
from penstock.runs.views.models import Waiting, WaitingFor, WaitReason

AT = datetime(2030, 1, 31, 9, tzinfo=UTC)


@pytest.mark.parametrize("reason", get_args(WaitReason))
def test_a_run_that_waits_says_for_what_and_since_when(reason: WaitReason) -> None:
    said = describe_wait(WaitingFor(reason=reason, key=None, holder=None, since=AT), None)
    assert said.endswith("  since 2030-01-31 09:00:00.000Z")


def test_a_wait_for_a_signal_names_it_and_its_end() -> None:
    wait = WaitingFor(reason="signal", key="[paid]", holder=None, since=None)
    waiting = Waiting(step="paid", until=AT, signal="[paid]", match=None)
    assert describe_wait(wait, waiting) == r"a signal  \[paid]  until 2030-01-31 09:00:00.000Z"


def test_numbers_have_all_of_their_digits_and_things_their_number() -> None:
    shown = [show_number(value) for value in (0, 12, 1_000_000, 1_234_567.89, 0.7, 1.23456789)]
    assert shown == ["0", "12", "1,000,000", "1,234,568", "0.7", "1.23457"]
    assert [show_count(count, "run") for count in (0, 1, 2_000)] == ["0 runs", "1 run", "2,000 runs"]
