"""Flow control as decorators say it."""

import re
from typing import Any, cast

import pytest

from penstock.definitions.flow import Concurrency, Debounce, Rate, Sequence
from penstock.sdk.flow import make_flow


def test_it_is_the_same_as_in_yaml() -> None:
    flow = make_flow(
        {"limit": 1, "key": "params.owner"},
        [{"limit": 100, "per": "1m"}, {"limit": 5, "per": 0.5, "key": "params.owner"}],
        {"key": "params.owner", "on_failure": "skip"},
        {"quiet": "2s", "max": "1m"},
    )
    assert flow is not None
    assert flow.concurrency == (Concurrency(limit=1, key="params.owner"),)
    assert flow.rates == (Rate(limit=100, per_seconds=60), Rate(limit=5, per_seconds=0.5, key="params.owner"))
    assert flow.sequence == Sequence(key="params.owner", on_failure="skip")
    assert flow.debounce == Debounce(quiet_seconds=2, max_seconds=60)


def test_without_limits_there_is_none() -> None:
    assert make_flow() is None


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"concurrency": {"key": "params.a"}}, "concurrency is a dictionary with the keys key, limit"),
        ({"concurrency": {"limit": 0}}, "concurrency: limit is a whole number from 1 to 1000000, not 0"),
        ({"concurrency": {"limit": True}}, "not True"),
        ({"rate": {"limit": 1, "per": "40d"}}, "rate: per is a duration above 0 and at most 31d"),
        ({"rate": [{"limit": 1, "per": 1}] * 6}, "rate: at most 5 of them"),
        ({"sequence": {"on_failure": "stop"}}, "on_failure is 'block' or 'skip'"),
        ({"sequence": {"limit": 1}}, "sequence is a dictionary with the keys key, on_failure"),
        ({"debounce": {"quiet": "1m", "max": "1s"}}, "max is at least as long as quiet"),
        ({"debounce": {"quiet": "1m", "key": 1}}, "key is an expression"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        make_flow(**cast("dict[str, Any]", given))
