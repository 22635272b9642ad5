"""What `check` says of flow control that is written wrongly."""

import pytest

from tests.unit.loading.reading import problems

LIMIT = "such as concurrency: {limit: 1, key: params.owner}"
RATE = "{limit: 1, per: 1s}"


@pytest.mark.parametrize(
    ("flow", "problem"),
    [
        ("concurrency: {key: 1}", f"2: 'concurrency' needs 'limit'; {LIMIT}"),
        ("concurrency: {limit: 0}", "2: 'limit': expected a whole number from 1 to 1000000, got '0'"),
        ("concurrency: 3", f"2: 'concurrency' is written as keys and values, not as a number; {LIMIT}"),
        ("concurrency: {limit: 1, key: params.x}", "2:30: `params.x`: unknown parameter 'x'"),
        (
            "concurrency: {limit: 1, key: steps.a}",
            (
                "2:30: `steps.a`: unknown name 'steps'; in scope here: params, recurrence; steps are known only inside "
                "steps"
            ),
        ),
        ("rate: {limit: 1}", "2: 'rate' needs 'per'; such as rate: {limit: 100, per: 1m, key: params.owner}"),
        ("rate: {limit: 1, per: 40d}", "2: 'per' is at most 31d"),
        ("rate: {limit: 1, per: 0s}", "2: 'per': expected a duration above 0, got '0s'"),
        (f"rate: [{', '.join([RATE] * 6)}]", "2: a workflow has at most 5 of 'rate'"),
        ("sequence: {on_failure: stop}", "2: unknown on_failure 'stop'; known are block, skip"),
        ("sequence: {limit: 1}", "2: unknown key 'limit'; known are key, on_failure"),
        (
            "debounce: {key: 1}",
            "2: 'debounce' needs 'quiet'; such as debounce: {quiet: 2s, key: params.owner, max: 1m}",
        ),
        ("debounce: {quiet: 5s, max: 1s}", "2: 'max' is at least as long as 'quiet'"),
    ],
)
def test_problems_of_flow_control(flow: str, problem: str) -> None:
    assert problems(f"workflow: w\n{flow}")[0] == problem
