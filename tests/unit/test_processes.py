"""One service in several processes: its metrics, and the settings that its processes read."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from penstock.runtime.processes.merging import merge
from penstock.settings import make_environment, read_settings
from penstock_executor.settings import ExecutorSettings


def write_metrics(runs: float) -> str:
    """What a process with a metric of each type says."""
    registry = CollectorRegistry()
    Counter("runs", "Runs", ("state",), registry=registry).labels("failed").inc(runs)
    Gauge("slots", "Slots", registry=registry).set(400)
    Histogram("seconds", "Seconds", buckets=(1, 5), registry=registry).observe(runs)
    return generate_latest(registry).decode()


def test_metrics_of_processes_are_told_apart_by_a_label_and_stand_together() -> None:
    merged = merge({"1": write_metrics(2), "2": write_metrics(7)}).decode()
    assert merged.count("# TYPE runs_total counter") == merged.count("# TYPE seconds histogram") == 1
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(merged)
        for sample in family.samples
    }
    assert samples["runs_total", ("state", "failed"), ("worker", "1")] == 2
    assert samples["runs_total", ("state", "failed"), ("worker", "2")] == 7
    assert samples["slots", ("worker", "2")] == 400
    assert samples["seconds_bucket", ("le", "5.0"), ("worker", "1")] == 1
    assert samples["seconds_bucket", ("le", "5.0"), ("worker", "2")] == 0
    assert samples["seconds_sum", ("worker", "2")] == 7


def test_a_process_reads_the_settings_of_the_one_that_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_DATABASE_URL", "postgresql://db/one")
    monkeypatch.setenv("PENSTOCK_AMQP_URL", "amqp://mq/")
    given = {"executor_processes": 3, "executor_lanes": ("bulk", "interactive"), "lease_seconds": 2.5}
    settings = read_settings(ExecutorSettings).model_copy(update=given)
    for name, value in make_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert read_settings(ExecutorSettings) == settings
    assert settings.processes == 3
