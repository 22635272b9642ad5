"""The management API's verbs about workflows, over real HTTP: what they are, who starts whom, pause and resume."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.ingress import Ingress, running_ingress, write_app
from tests.site import deploy_directory

APP = """
workflow: charge
label: Charge a card
when: params.amount > 0
parameters: {amount: {type: number, optional: true, default: 1}}
steps:
  - when: params.amount > 1
    schedule: receipt
    with: {amount: "${params.amount - 1}"}
---
workflow: receipt
parameters: {amount: number}
steps:
  - when: params.amount > 1
    schedule: charge
    with: {amount: "${params.amount}"}
---
workflow: apologise
on: {run: {states: [failed], workflows: [charge]}}
steps: [{log: sorry}]
"""
PATH = "/v1/live/workflows/charge"


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    """An ingress with the app, and no executor."""
    async with running_ingress(database_url, amqp_url, write_app(tmp_path, money=APP)) as running:
        yield running


async def read(ingress: Ingress, path: str) -> Any:
    """What the management API shows."""
    return (await ingress.manage("GET", path)).json


async def test_a_workflow_shows_its_definition_and_who_starts_whom(ingress: Ingress) -> None:
    shown = (await ingress.manage("GET", PATH)).json
    assert (shown["name"], shown["label"], shown["environment"], shown["version"]) == (
        "charge", "Charge a card", "live", 1,
    )  # fmt: skip
    definition = shown["definition"]
    assert isinstance(definition, dict)
    assert (definition["when"], definition["steps"][0]["action"]) == ("params.amount > 0", "schedule")
    assert "retries" not in definition, "what is as it is by default is left out"
    step = "workflows/money.yaml"
    graph = shown["graph"]
    assert isinstance(graph, dict)
    assert [(edge["starts"], edge["by"], edge["is_guarded"]) for edge in graph["starts"]] == [
        ("receipt", "schedule", True), ("apologise", "run", True),
    ]  # fmt: skip
    assert [(edge["workflow"], edge["by"], edge["place"][: len(step)]) for edge in graph["started_by"]] == [
        ("receipt", "schedule", step)
    ]
    assert graph["cycles"] == [["charge", "receipt", "charge"]]


async def test_a_workflow_shows_the_deployments_that_have_changed_it(ingress: Ingress, tmp_path: Path) -> None:
    for number, text in enumerate((APP, APP.replace("a card", "the card"), "\n" + APP, "workflow: x\nsteps: []", APP)):
        await deploy_directory(
            ingress.database, write_app(tmp_path, money=text, other=f"workflow: o{number}\nsteps: []")
        )
    versions = (await ingress.manage("GET", PATH)).json["versions"]
    assert isinstance(versions, list)
    assert [(change["version"], change["change"]) for change in versions] == [
        (6, "added"), (5, "removed"), (4, "changed"), (3, "changed"), (1, "added"),
    ]  # fmt: skip


async def test_versions_say_what_each_of_them_changed(ingress: Ingress, tmp_path: Path) -> None:
    for text in (APP.replace("a card", "the card"), APP.replace("params.amount > 0", "params.amount > 9")):
        await deploy_directory(ingress.database, write_app(tmp_path, money=text))
    newest, second, first = (await read(ingress, f"{PATH}/versions"))["results"]
    assert (first["change"], first["parts"]) == ("added", [])
    assert second["parts"] == [{"path": "label", "before": "Charge a card", "after": "Charge the card"}]
    assert newest["parts"] == [
        {"path": "label", "before": "Charge the card", "after": "Charge a card"},
        {"path": "when", "before": "params.amount > 0", "after": "params.amount > 9"},
    ]


async def test_the_graph_names_all_workflows_and_marks_cycles_without_a_condition(
    ingress: Ingress, tmp_path: Path
) -> None:
    ping = "workflow: ping\nrecursive: true\nsteps: [{schedule: pong}]"
    pong = "workflow: pong\nsteps: [{schedule: ping}]"
    await deploy_directory(ingress.database, write_app(tmp_path, ping=ping, pong=pong))
    await ingress.manage("POST", f"{PATH}/pause")
    graph = await read(ingress, "/v1/live/graph")
    assert [(cycle["path"], cycle["is_guarded"], cycle["is_meant"]) for cycle in graph["cycles"]] == [
        (["ping", "pong", "ping"], False, True), (["charge", "receipt", "charge"], True, False),
    ]  # fmt: skip
    nodes = {node["name"]: node for node in graph["workflows"]}
    assert (nodes["charge"]["is_paused"], nodes["ping"]["is_paused"]) == (True, False)
    assert nodes["apologise"]["triggers"] == ["run"]
    assert ("ping", "pong") in {(start["workflow"], start["starts"]) for start in graph["starts"]}


async def test_a_workflow_is_paused_and_resumed_with_what_was_missed_queued_or_dropped(ingress: Ingress) -> None:
    for given, missed in (({}, "queue"), ({"missed": "drop"}, "drop")):
        paused = await ingress.manage("POST", f"{PATH}/pause", json={"note": "the bank is down"})
        assert (paused.status, paused.json["workflow"]) == (200, "charge")
        assert (await ingress.manage("POST", f"{PATH}/pause")).json["id"] == paused.json["id"]
        assert [pause["note"] for pause in (await read(ingress, PATH))["pauses"]] == ["the bank is down"]
        run: Any = (await ingress.manage("POST", "/v1/live/runs", json={"workflow": "charge"})).json
        assert (run["state"], run["waiting_for"]["reason"]) == ("scheduled", "paused")
        resumed = await ingress.manage("POST", f"{PATH}/resume", json=given or None)
        assert (resumed.status, resumed.json["missed"]) == (200, missed)
        assert (await ingress.manage("GET", PATH)).json["pauses"] == []
    acts = (await read(ingress, "/v1/live/audit?action=schedule"))["results"]
    assert [act["action"] for act in acts] == ["schedule.resume", "schedule.pause"] * 2


@pytest.mark.parametrize(
    ("method", "path", "detail"),
    [
        ("GET", "workflows/charg", "no workflow 'charg' is deployed to live; did you mean 'charge'?"),
        ("POST", "workflows/charg/pause", "did you mean 'charge'?"),
        ("POST", "workflows/charge/resume", "live has no pause of exactly this filter"),
        ("POST", "workflows/%00/resume", "is deployed to live"),
        ("GET", "workflows/%00", "is deployed to live"),
        ("GET", "workflows/%00/versions", "is deployed to live"),
        ("GET", "workflows/charg/versions", "did you mean 'charge'?"),
    ],
)
async def test_what_is_not_there_is_named(ingress: Ingress, method: str, path: str, detail: str) -> None:
    answer = await ingress.manage(method, f"/v1/live/{path}")
    assert (answer.status, detail in str(answer.json["detail"])) == (404, True), answer.body


async def test_a_pause_of_a_workflow_that_is_gone_can_be_lifted(ingress: Ingress, tmp_path: Path) -> None:
    await ingress.manage("POST", f"{PATH}/pause")
    await deploy_directory(ingress.database, write_app(tmp_path, money="workflow: x\nsteps: []"))
    assert (await ingress.manage("POST", f"{PATH}/resume")).status == 200
