"""The static check for recursion: which cycles are found, which are errors, and how they are drawn."""

import pytest
from pydantic import JsonValue

from penstock.definitions.models import App, ChangedBy, ChangeTrigger, Operation, Step, StepAction, Workflow
from penstock.reading.lints.recursion import Recursion, find_recursions
from penstock.reading.loader import load_files


def build_step(target: str, *, action: StepAction = StepAction.SCHEDULE, when: str | None = None) -> Step:
    return Step(id=f"to_{target}", action=action, target=target, when=when, place=f"w.yaml:{len(target)}")


def build_app(graph: dict[str, list[Step]], *, recursive: tuple[str, ...] = (), guarded: tuple[str, ...] = ()) -> App:
    workflows = {
        name: Workflow(
            name=name, steps=tuple(steps), is_recursive=name in recursive, when="params.go" if name in guarded else None
        )
        for name, steps in graph.items()
    }
    return App(name="shop", workflows=workflows)


def drawn(app: App) -> list[tuple[str, bool]]:
    return [(str(recursion), recursion.is_guarded) for recursion in find_recursions(app)]


def test_a_workflow_that_schedules_itself_is_a_cycle() -> None:
    (recursion,) = find_recursions(build_app({"a": [build_step("a")]}))

    assert recursion == Recursion(("a", "a"), False, "w.yaml:1")


def test_schedules_lists_and_triggers_all_count() -> None:
    app = build_app(
        {
            "start": [build_step("create_thing")],
            "create_thing": [build_step("other", action=StepAction.SCHEDULE_LIST)],
            "other": [build_step("create_thing", action=StepAction.TRIGGER)],
        }
    )

    assert drawn(app) == [("create_thing → other → create_thing", False)]


def test_steps_inside_others_count_with_the_conditions_around_them() -> None:
    inside = {"steps": (build_step("a"),)}
    each = Step(id="each", action=StepAction.EACH, target="${params.names}", blocks=inside)
    outer = Step(id="outer", action=StepAction.PARALLEL, blocks={"one": (each,)})

    assert drawn(build_app({"a": [outer]})) == [("a → a", False)]
    assert drawn(build_app({"a": [outer.model_copy(update={"when": "params.go"})]})) == [("a → a", True)]
    assert drawn(build_app({"a": [outer.model_copy(update={"recursion": "it ends"})]})) == []


def test_a_recurrence_is_no_edge_because_its_ticks_are_roots_and_the_same_one_is_replaced() -> None:
    app = build_app(
        {"a": [build_step("a", action=StepAction.RECUR), build_step("a", action=StepAction.STOP_RECURRING)]}
    )

    assert find_recursions(app) == []


def test_a_change_leads_to_what_waits_for_it() -> None:
    def react(*triggers: ChangeTrigger, step: StepAction = StepAction.CREATE, upsert: bool = False) -> App:
        arguments: dict[str, JsonValue] = {"set": {"paid": "${params.paid}"}}
        if upsert:
            arguments["upsert"] = ["number"]
        if step in {StepAction.UPDATE, StepAction.DELETE}:
            arguments["type"] = "order"
        steps = (Step(id="s", action=step, target="order", arguments=arguments, place="w.yaml:2"),)
        return App(name="shop", workflows={"a": Workflow(name="a", changes=triggers, steps=steps)})

    created, updated = (
        ChangeTrigger(type="order", operations=(operation,)) for operation in (Operation.CREATE, Operation.UPDATE)
    )
    assert drawn(react(created)) == [("a → a", False)]
    assert drawn(react(updated)) == drawn(react(ChangeTrigger(type="other"))) == []
    assert drawn(react(updated, upsert=True)) == [("a → a", False)]
    assert (
        drawn(react(updated, step=StepAction.UPDATE))
        == drawn(react(updated, step=StepAction.UPDATE_MANY))
        == [("a → a", False)]
    )
    assert drawn(react(created.model_copy(update={"when": "after.paid"}))) == [("a → a", True)]
    assert drawn(react(created.model_copy(update={"by": ChangedBy.RUNS}))) == [("a → a", False)]
    assert drawn(react(created.model_copy(update={"by": ChangedBy.OUTSIDE}))) == []


def test_a_condition_on_a_step_or_a_workflow_guards_a_cycle() -> None:
    on_step = build_app({"a": [build_step("b")], "b": [build_step("a", when="params.go")]})
    on_workflow = build_app({"a": [build_step("b")], "b": [build_step("a")]}, guarded=("b",))

    assert drawn(on_step) == drawn(on_workflow) == [("a → b → a", True)]


def test_a_second_step_without_condition_takes_the_guard_away() -> None:
    app = build_app({"a": [build_step("a", when="params.go"), build_step("a")]})

    assert drawn(app) == [("a → a", False)]


def test_an_unguarded_way_around_is_found_beside_a_guarded_shortcut() -> None:
    app = build_app(
        {"a": [build_step("b"), build_step("a", when="params.go")], "b": [build_step("c")], "c": [build_step("a")]}
    )

    assert drawn(app) == [("a → b → c → a", False), ("a → a", True)]


def test_recursive_says_that_it_is_meant() -> None:
    app = build_app({"a": [build_step("b")], "b": [build_step("a"), build_step("b")]}, recursive=("a",))

    assert drawn(app) == [("b → b", False)]


def test_what_ends_is_no_cycle() -> None:
    assert drawn(build_app({"a": [build_step("b"), build_step("c")], "b": [build_step("c")], "c": []})) == []


def test_a_dense_graph_is_listed_up_to_a_hundred_cycles() -> None:
    names = [f"w{number}" for number in range(30)]

    assert len(find_recursions(build_app({name: [build_step(other) for other in names] for name in names}))) == 100


OWN = """
workflow: start
on: {api: {method: POST, auth: public}}
steps: [{schedule: middle}]
---
workflow: middle
steps:
  - STEP
---
workflow: hooked
on: {webhook: {source: partner}}
steps: [{schedule: middle}]
"""
HEAD = """
app: shop
sources: {partner: {scheme: github, secrets: ["${secrets.S}"]}}
connectors:
  self: {base_url: "https://shop.example.com/api/1.1"}
  hooks: {base_url: "${secrets.BASE}"}
"""


def warned(step: str) -> list[str]:
    """The warnings of an app whose workflow `middle` has this step."""
    result = load_files({"app.yaml": HEAD.encode(), "workflows/all.yaml": OWN.replace("STEP", step).encode()})
    assert result.app is not None, result.problems
    return [problem.message for problem in result.problems]


@pytest.mark.parametrize(
    ("step", "cycle"),
    [
        ('http: "https://shop.example.com/api/1.1/wf/start"', "start → middle → /api/1.1/wf/start → start"),
        ('http: "https://shop.example.com//version-test/api/1.1/wf/start?a=1"', ("start → middle → /api/1.1/wf/start → "
                                                                                "start")),
        ('http: "${secrets.BASE}/api/1.1/wf/start"', "start → middle → /api/1.1/wf/start → start"),
        ("{call: self, path: /wf/start}", "start → middle → /api/1.1/wf/start → start"),
        ("{call: hooks, path: webhooks/partner}", "middle → /webhooks/partner → hooked → middle"),
        ('{send: "https://shop.example.com/version-live/webhooks/partner", payload: {}, secret: "${secrets.S}"}',
         "middle → /webhooks/partner → hooked → middle"),
    ],
)  # fmt: skip
def test_calling_oneself_is_drawn_as_a_warning(step: str, cycle: str) -> None:
    assert warned(step) == [f"recursion over HTTP: {cycle}"]


@pytest.mark.parametrize(
    "step",
    [
        'http: "https://example.com/orders"',
        'http: "https://example.com/api/1.1/wf/middle"',
        'http: "https://example.com/api/1.1/wf/start/more"',
        'http: "https://example.com/api/1.1/wf/${run.workflow}"',
        'http: "https://example.com/?to=/webhooks/partner"',
        'http: "https://example.com/webhooks/stripe"',
        "{call: self, path: obj/thing}",
        "{call: hooks}",
    ],
)
def test_other_calls_are_no_recursion(step: str) -> None:
    assert warned(step) == []


def test_recursion_over_http_that_is_meant_is_not_mentioned() -> None:
    text = OWN.replace("STEP", 'http: "https://example.com/api/1.1/wf/start"').replace(
        "workflow: middle", "workflow: middle\nrecursive: true"
    )
    result = load_files({"app.yaml": HEAD.encode(), "workflows/all.yaml": text.encode()})
    assert result.problems == ()
