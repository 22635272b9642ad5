"""Rules, alerts and dashboards in deploy/ ask for metrics and labels that there are, and each alert has its runbook."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import JsonValue
from ruamel.yaml import YAML

from penstock.metrics import REGISTRY
from tests.contracts.test_metrics import labels_of, list_metrics, series_of
from tests.docs import ROOT

RULES = sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
RUNBOOKS = ROOT / "docs" / "runbooks.md"
FOREIGN = {"up", "ALERTS"}
_SELECTOR = re.compile(r"([a-z_:][\w:]*)\{([^}]*)\}")


class Rule(NamedTuple):
    """One rule: a recording with its name, or an alert with its annotations."""

    record: str | None
    alert: str | None
    expression: str
    annotations: Mapping[str, str]
    labels: Mapping[str, str]


def read_rules() -> list[Rule]:
    groups = [group for path in RULES for group in YAML(typ="safe").load(path)["groups"]]
    return [
        Rule(rule.get("record"), rule.get("alert"), rule["expr"], rule.get("annotations", {}), rule.get("labels", {}))
        for group in groups
        for rule in group["rules"]
    ]


ALERTS = [rule for rule in read_rules() if rule.alert]
RECORDED = {rule.record for rule in read_rules() if rule.record}
KNOWN = {
    **{name: {*labels_of(metric)} for metric in list_metrics() for name in series_of(metric)},
    **{
        series: set[str]()
        for metric in REGISTRY.collect()
        if metric.name.startswith("process_")
        for series in series_of(metric)
    },
}
SCRAPED = {"job", "instance", "le", "alertname", "alertstate"}


def read_panels(dashboard: Path) -> Iterator[Mapping[str, JsonValue]]:
    for panel in json.loads(dashboard.read_text())["panels"]:
        if panel["type"] != "row":
            yield panel


EXPRESSIONS = [
    *((rule.record or rule.alert or "", rule.expression) for rule in read_rules()),
    *(
        (f"{path.stem}: {panel['title']}", str(target["expr"]))
        for path in DASHBOARDS
        for panel in read_panels(path)
        for target in json.loads(json.dumps(panel["targets"]))
    ),
]


def names_in(expression: str) -> set[str]:
    """The metrics that an expression asks for."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|on|without|ignoring|group_left) \([^)]*\)", " ", bare)
    words = set(re.findall(r"[a-zA-Z_:][\w:]*(?!\w*\s*\()", bare)) - {
        "and",
        "or",
        "unless",
        "by",
        "on",
        "bool",
        "offset",
    }
    return {word for word in words if "_" in word or ":" in word or word in FOREIGN} - _functions(bare)


def _functions(expression: str) -> set[str]:
    return set(re.findall(r"([a-z_]+)\s*\(", expression))


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
def test_what_is_asked_for_is_there(where: str, expression: str) -> None:
    names = names_in(expression)
    assert names, expression
    assert names <= {*KNOWN, *RECORDED, *FOREIGN}, where
    for name, selector in _SELECTOR.findall(expression):
        asked = set(re.findall(r"(\w+)\s*(?:=|!)", selector))
        assert asked <= KNOWN.get(name, asked) | SCRAPED, f"{where}: {name} has no label of these: {asked}"


def test_a_metric_that_is_not_there_is_found() -> None:
    assert names_in('sum by (a_b) (rate(penstock_none_total{x="penstock_y"}[5m])) > 0') == {"penstock_none_total"}
    assert names_in("a:b_c:max and on () (max(up)) == 0") == {"a:b_c:max", "up"}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule.alert)
def test_an_alert_says_what_is_wrong_and_where_its_runbook_is(rule: Rule) -> None:
    assert rule.alert is not None
    assert rule.labels["severity"] in {"critical", "warning", "info"}
    assert rule.annotations["runbook"] == f"docs/runbooks.md#{rule.alert.lower()}"
    assert rule.annotations["summary"]
    assert rule.annotations["description"]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    headings = re.findall(r"^## (.+)$", RUNBOOKS.read_text(), re.MULTILINE)
    assert headings == [rule.alert for rule in ALERTS], "in the order of the alerts"


def test_a_runbook_says_what_it_means_where_to_look_and_what_to_do() -> None:
    for part in RUNBOOKS.read_text().split("\n## ")[1:]:
        assert re.findall(r"^\*\*(\w+)\.\*\*", part, re.MULTILINE) == ["Means", "Look", "Do"], part.splitlines()[0]


def test_metrics_that_documents_name_are_there() -> None:
    for name in ("architecture", "metrics", "operations", "runbooks", "scaling"):
        page = ROOT / "docs" / f"{name}.md"
        named = set(re.findall(r"`(penstock_[a-z_]+)[`{]", page.read_text()))
        assert {name for name in named if name.count("_") > 1} <= {
            *KNOWN,
            *(metric.name for metric in list_metrics()),
        }, page.name


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_can_be_told_apart_and_read(path: Path) -> None:
    dashboard = json.loads(path.read_text())
    assert dashboard["uid"].startswith("penstock-")
    panels = list(read_panels(path))
    assert len({panel["title"] for panel in panels}) == len(panels)
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, "any data source will do"
    assert len({json.loads(other.read_text())["uid"] for other in DASHBOARDS}) == len(DASHBOARDS)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_of_a_dashboard_do_not_overlap(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(path.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
