"""The metrics as published: docs/metrics.md holds what the code says, and all follow Prometheus' conventions."""

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Histogram, Metric

import penstock_scheduler.app
from penstock.definitions import models as definitions
from penstock.domain.states import Termination
from penstock.metrics import ENVIRONMENTS, MAX_NAMES, OTHER, REGISTRY, Names, PlainHistogram, finished_runs

SCHEDULER = penstock_scheduler.app.__name__
"""Importing it makes all its counters."""
PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
BEGIN, END = "<!-- made from the code: begin -->\n", "<!-- made from the code: end -->\n"
UNITS = ("seconds", "bytes", "total", "info")


def list_metrics() -> list[Metric]:
    """All metrics of ours, by name."""
    own = [metric for metric in REGISTRY.collect() if metric.name.startswith("penstock_")]
    return sorted(own, key=lambda metric: metric.name)


def labels_of(metric: Metric) -> tuple[str, ...]:
    """The labels that the code gives it."""
    return tuple(getattr(_collector_of(metric), "_labelnames", ()))


def shown_name(metric: Metric) -> str:
    """The name under which it is asked for; a counter has a suffix."""
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def series_of(metric: Metric) -> set[str]:
    """The names of its series."""
    if metric.type == "histogram":
        return {f"{metric.name}_{suffix}" for suffix in ("bucket", "count", "sum")}
    return {shown_name(metric)}


def _collector_of(metric: Metric) -> object:
    return REGISTRY._names_to_collectors[shown_name(metric)]


def render() -> str:
    rows = [
        f"| `{shown_name(metric)}` | {metric.type} | {' '.join(f'`{label}`' for label in labels_of(metric)) or '–'} "
        f"| {metric.documentation} |"
        for metric in list_metrics()
    ]
    return "\n".join(("| metric | type | labels | what it says |", "|---|---|---|---|", *rows, ""))


def write(page: str) -> str:
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{render()}{END}{rest.partition(END)[2]}"


def test_the_page_is_what_the_code_says() -> None:
    page = PAGE.read_text()
    assert page == write(page), "run `python -m tests.contracts.test_metrics`"


@pytest.mark.parametrize("metric", list_metrics(), ids=lambda metric: metric.name)
def test_a_metric_has_a_name_and_a_help_by_convention(metric: Metric) -> None:
    assert re.fullmatch(r"penstock_[a-z]+(?:_[a-z]+)*", metric.name)
    assert 15 < len(metric.documentation) < 140
    assert not metric.documentation.endswith(".")
    if "seconds" in metric.documentation:
        assert "seconds" in metric.name, "a duration or a time has its unit in its name"
    for label in labels_of(metric):
        assert re.fullmatch(r"[a-z]+", label)


def test_no_label_is_named_by_strangers() -> None:
    known = {
        "action", "activity", "batch", "environment", "kind", "lane", "loop", "outcome", "purpose", "queue", "reason",
        "route", "source", "state", "status", "workflow",
    }  # fmt: skip
    assert set().union(*map(labels_of, list_metrics())) <= known, "show that its values are bounded, then add it here"


def test_names_beyond_the_limit_are_other() -> None:
    names = Names(most=2)
    assert [names.bound(name) for name in ("a", "b", "c", "a", "d")] == ["a", "b", OTHER, "a", OTHER]


def test_what_alerts_wait_for_is_counted_from_zero() -> None:
    """A series that begins with its first event shows no increase to Prometheus."""
    assert (*ENVIRONMENTS,) == (*definitions.ENVIRONMENTS,)
    for environment in ENVIRONMENTS:
        for reason in Termination:
            labels = {"environment": environment, "reason": reason.value}
            assert REGISTRY.get_sample_value("penstock_terminated_runs_total", labels) is not None
    for state in ("queued", "failed"):
        assert REGISTRY.get_sample_value("penstock_reaped_runs_total", {"state": state}) is not None
    for outcome in ("missed", "refused"):
        assert REGISTRY.get_sample_value("penstock_recurrence_ticks_total", {"outcome": outcome}) is not None


def test_a_thousand_workflows_make_a_bounded_number_of_series() -> None:
    for number in range(1000):
        finished_runs("live", f"workflow_{number}", "succeeded").inc()
    metric = next(metric for metric in list_metrics() if metric.name == "penstock_finished_runs")
    workflows = {sample.labels["workflow"] for sample in metric.samples}
    assert OTHER in workflows
    assert len(workflows) <= MAX_NAMES + 1


if __name__ == "__main__":
    PAGE.write_text(write(PAGE.read_text()))


def test_a_plain_histogram_shows_what_the_librarys_own_would() -> None:
    theirs, registry = CollectorRegistry(), CollectorRegistry()
    histograms = (
        Histogram("seconds", "Seconds", buckets=(0.5, 1, 2.5), registry=theirs),
        PlainHistogram("seconds", "Seconds", buckets=(0.5, 1, 2.5), registry=registry),
    )
    for value in (0.0, 0.5, 0.50001, 1, 2.5, 300.0, float("inf")):
        for histogram in histograms:
            histogram.observe(value)
    their_samples, samples = (
        {
            (sample.name, sample.labels.get("le")): sample.value
            for metric in known.collect()
            for sample in metric.samples
        }
        for known in (theirs, registry)
    )
    assert samples.keys() == their_samples.keys()
    assert {key: value for key, value in samples.items() if key[0] != "seconds_created"} == {
        key: value for key, value in their_samples.items() if key[0] != "seconds_created"
    }
