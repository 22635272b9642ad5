"""The model of an installation: it computes what was measured, and scales as the manifests say."""

from dataclasses import replace

import pytest

from tests.bench.simulation.cluster import Burst, Cluster, simulate, write_table
from tests.bench.simulation.costs import Part, load_measured
from tests.bench.simulation.machine import PREDICTIONS
from tests.bench.simulation.scaling import Autoscaler, ScalingRule
from tests.docs import ROOT

MEASURED = load_measured()
RULE = ScalingRule.read("penstock-executor")


@pytest.mark.parametrize("name", PREDICTIONS)
def test_the_rate_of_one_machine_is_computed_from_its_costs(name: str) -> None:
    computed = PREDICTIONS[name](MEASURED.costs, MEASURED.cores)
    assert computed == pytest.approx(MEASURED.rates[name], rel=0.15)


def test_a_costlier_step_is_felt() -> None:
    slow = replace(MEASURED.costs, executor=Part(MEASURED.costs.executor.batch, 2 * MEASURED.costs.executor.run))
    assert PREDICTIONS["drain"](slow, MEASURED.cores) < 0.95 * PREDICTIONS["drain"](MEASURED.costs, MEASURED.cores)


def test_the_rule_is_that_of_the_manifest() -> None:
    assert (RULE.fewest, RULE.runs_each, RULE.oldest, RULE.interval) == (2, 300, 10, 15)
    assert ScalingRule.read("penstock-executor", most=300).most == 300


def test_replicas_double_or_grow_by_four_at_each_look_up_to_what_the_work_asks_for() -> None:
    scaler = Autoscaler(RULE, replicas=2)
    assert [scaler.decide(now=15.0 * look, runs=30_000, oldest=0) for look in range(5)] == [6, 12, 24, 30, 30]


def test_few_runs_that_wait_long_ask_for_replicas_too() -> None:
    scaler = Autoscaler(RULE, replicas=2)
    assert scaler.decide(now=0, runs=10, oldest=30) == 6


def test_replicas_leave_slowly_and_only_when_the_work_has_been_less_for_minutes() -> None:
    scaler = Autoscaler(RULE, replicas=16)
    scaler.decide(now=0, runs=16 * RULE.runs_each, oldest=0)
    assert scaler.decide(now=RULE.shrink_after - 1, runs=0, oldest=0) == 16
    assert [scaler.decide(now=RULE.shrink_after + 60 * minute + 1, runs=0, oldest=0) for minute in range(3)] == [
        12,
        9,
        6,
    ]


def test_a_burst_is_done_sooner_by_more_executors_and_none_of_it_is_left() -> None:
    burst = Burst(webhooks=50_000, seconds=5.0, outside=1.0)
    few, many = (
        simulate(burst, Cluster(ScalingRule.read("penstock-executor", most=most), ingresses=4, cores=8), MEASURED.costs)
        for most in (3, 30)
    )
    assert few.done == many.done == burst.webhooks
    assert few.most_executors == 3 < many.most_executors <= 30
    assert many.done_at < few.done_at
    assert many.accepted_at == pytest.approx(few.accepted_at)


def test_the_table_of_the_guide_is_what_the_model_says() -> None:
    table = "\n".join(write_table(MEASURED.costs))
    assert table in (ROOT / "docs" / "scaling.md").read_text(), f"docs/scaling.md lacks\n{table}"
