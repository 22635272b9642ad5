"""Prometheus takes the rules and the configuration, and the alerts fire when they should, and only then."""

from pathlib import Path

import pytest

from penstock.metrics import finished_runs, render_metrics
from tests.docs import ROOT
from tests.prometheus import run_promtool

PROMETHEUS = ROOT / "deploy" / "prometheus"


def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    said = run_promtool("check", "config", str(PROMETHEUS / "prometheus.yml"))
    assert "2 rule files found" in said
    run_promtool("check", "rules", *map(str, sorted((PROMETHEUS / "rules").glob("*.yml"))))


def test_alerts_fire_when_they_should() -> None:
    run_promtool("test", "rules", str(PROMETHEUS / "tests" / "alerts.yml"))


def test_a_rule_that_is_wrong_is_found(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text("groups:\n  - name: wrong\n    rules:\n      - {record: a, expr: 'sum by penstock_runs_ready'}\n")
    with pytest.raises(AssertionError, match="FAILED"):
        run_promtool("check", "rules", str(wrong))


def test_metrics_have_the_form_that_prometheus_wants() -> None:
    finished_runs("live", 'a "name"', "succeeded").inc()
    run_promtool("check", "metrics", given=render_metrics().decode())
