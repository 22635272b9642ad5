"""The loader: a whole app as it is read, and no text that makes it raise."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from penstock.definitions.compiled import CompiledApp
from penstock.definitions.models import App, FieldType, Respond, RetryPolicy, StepAction, WebhookTrigger
from penstock.reading.loader import load_app, load_files
from tests.unit.loading.reading import MEANT, SHOP, problems


def load_shop() -> App:
    result = load_app(SHOP)
    assert [str(problem) for problem in result.problems] == [
        (
            "workflows/orders.yaml:51: recursion, under a condition: create_thing → create_thing; if that is meant, "
            "say so at the step: `recursion: why it ends` (in Python `# recursion: why`)"
        )
    ]
    assert result.app is not None
    return result.app


def test_an_app_with_everything_is_read() -> None:
    app = load_shop()

    assert (app.name, app.admins) == ("shop", ("ops@example.com",))
    assert app.environments["development"].chain_runs_limit == 10_000
    assert app.environments["live"].depth_limit == 20
    assert set(app.types) == {"order", "order_line", "user"}
    assert [field.name for field in app.types["user"].fields] == ["email", "name"]
    order = app.types["order"]
    assert (order.is_in_api, order.unique) == (True, (("number",), ("customer", "placed")))
    assert (order.fields[1].name, order.fields[1].column) == ("Total price", "total_price")
    assert order.fields[5].type == FieldType("order_line", is_list=True)
    assert order.privacy[0].when == {"Created By": "${user._id}"}
    assert (order.privacy[0].view, order.privacy[1].name, order.privacy[1].view) == (
        "all",
        "everyone",
        ("number", "paid"),
    )


def test_sources_of_an_app_are_read() -> None:
    sources = load_shop().sources

    assert (sources["stripe"].scheme, sources["stripe"].secrets) == ("stripe", ("${secrets.STRIPE_WEBHOOK_SECRET}",))
    partner = sources["partner"]
    assert (partner.algorithm, partner.encoding, partner.header, partner.prefix) == (
        "sha512",
        "base64",
        "X-Signature",
        "sha512=",
    )
    assert partner.timestamp is not None
    assert (partner.timestamp.header, partner.timestamp.tolerance_seconds) == ("X-Timestamp", 600)
    assert partner.deduplicate is not None
    assert partner.type is not None
    assert (partner.deduplicate.header, partner.type.payload) == ("X-Event-Id", "event.name")


def test_the_head_of_a_workflow_is_read() -> None:
    app = load_shop()
    workflow = app.workflows["create_thing"]

    assert workflow.api is not None
    assert (workflow.api.respond, workflow.api.when_skipped) == (Respond.ON_RETURN, 200)
    assert workflow.retries == RetryPolicy(attempts=3, backoff_seconds=5, factor=3, max_seconds=600, jitter=0.1)
    assert (workflow.timeout_seconds, workflow.depth_limit, workflow.priority, workflow.ignore_privacy) == (
        120,
        500,
        2,
        True,
    )
    assert [parameter.default for parameter in workflow.parameters] == [None, 0, None, None, None]
    assert app.workflows["ship"].webhooks == (
        WebhookTrigger(source="stripe", types=("invoice.paid", "customer.*")),
        WebhookTrigger(source="partner"),
    )
    assert app.workflows["ship"].is_recursive


def test_steps_are_kept_as_written_but_for_what_can_be_told() -> None:
    steps = {step.id: step for step in load_shop().workflows["create_thing"].steps}

    assert steps["thing"].target == "order"
    assert steps["thing"].arguments["upsert"] == ["number"]
    assert steps["thing"].arguments["set"] == {
        "number": "${params.name}",
        "Total price": 1.5,
        "tags": ["a", "${params.name}"],
        "customer": "${params.owner}",
    }
    assert (steps["step4"].action, steps["step4"].arguments) == (StepAction.GET, {"id": "${steps.thing._id}"})
    assert steps["step6"].arguments["type"] == "order"
    assert steps["step7"].arguments["type"] == "user"
    assert steps["step9"].on_error == "continue"
    assert steps["next"].arguments["key"] == "${steps.thing._id}"
    assert steps["step11"].arguments["key"] == "ship-${run.id}"
    assert (steps["answer"].retry, steps["answer"].timeout_seconds) == (RetryPolicy(attempts=2), 10)
    assert steps["step20"].place == "workflows/orders.yaml:90"


def test_an_app_survives_the_way_through_json() -> None:
    app = load_shop()

    assert App.model_validate_json(app.model_dump_json()) == app


def test_a_compiled_workflow_is_compiled_once() -> None:
    compiled = CompiledApp(load_shop())
    workflow = compiled.workflow("create_thing")
    scope: dict[str, JsonValue] = {"params": {"name": "a", "remaining": 2}, "steps": {"thing": {"_id": "1x1"}}}

    assert compiled.workflow("create_thing") is workflow
    assert workflow.when is not None
    assert workflow.when.holds({"params": {"name": "a"}, "request": {"method": "POST"}})
    following = next(step for step in workflow.steps if step.definition.id == "next")
    assert following.when is not None
    assert following.when.holds(scope)
    assert (following.target.is_constant, following.target.evaluate(scope)) == (True, "create_thing")
    assert following.arguments.evaluate(scope) == {
        "with": {"name": "a", "remaining": 1},
        "after": "0s",
        "priority": 3,
        "key": "1x1",
    }
    with pytest.raises(KeyError):
        compiled.workflow("unknown")


def test_with_of_a_list_waits_for_its_items() -> None:
    steps = CompiledApp(load_shop()).workflow("create_thing").steps
    many = next(step for step in steps if step.definition.id == "many")

    assert many.arguments.evaluate({}) == {
        "over": {"find": "order", "where": {"paid": True}, "sort": "placed"},
        "interval": "1s",
        "sequential": True,
    }
    assert many.per_item is not None
    assert many.per_item.evaluate({"item": {"_id": "1x1"}, "index": 3}) == {"order": "1x1", "position": 3}
    assert steps[0].per_item is None


def test_all_problems_are_told_at_once_in_the_order_of_the_files() -> None:
    found = problems(
        "workflow: w\nlabl: x\nsteps:\n- {emial: a}\n- {create: ordr, set: {a: '${b}'}}\n",
        types="type: order\nfields: {a: txt}",
        app="app: s\nadmns: []",
    )

    assert found == [
        "app.yaml:2: unknown key 'admns'; did you mean 'admins'?",
        "types/order.yaml:2: unknown type 'txt'; did you mean 'text'?",
        "2: unknown key 'labl'; did you mean 'label'?",
        "4: unknown action 'emial'; did you mean 'email'?",
        "5: unknown data type 'ordr'; did you mean 'order'?",
        "5:30: `b`: unknown name 'b'; in scope here: now, params, recurrence, run, secrets, state, steps, user",
    ]


def test_endless_recursion_is_an_error_with_its_path() -> None:
    assert problems("workflow: w\nsteps: [{schedule: v}]\n---\nworkflow: v\nsteps:\n- {trigger: w}") == [
        f"2: endless recursion: w → v → w; nothing on this path has a condition; {MEANT}"
    ]


def test_a_file_that_cannot_be_read_hides_no_names_from_others() -> None:
    found = problems(
        "workflow: w\nsteps: [{schedule: elsewhere}, {create: elsewhere, set: {a: 1}}]\n---\n[", app="app: shop"
    )

    assert found == ["4:2: this is not YAML: expected the node content, but found '<stream end>'"]


def test_a_directory_without_an_app_says_so(tmp_path: Path) -> None:
    (problem,) = load_app(tmp_path).problems
    (nowhere,) = load_app(tmp_path / "nowhere").problems

    assert str(problem) == f"app.yaml: there is no app.yaml in {tmp_path}; it names the app, as in `app: shop`"
    assert str(nowhere) == f"app.yaml: there is no directory {tmp_path / 'nowhere'}; name the one that holds app.yaml"


def test_files_in_deeper_folders_are_warned_of_and_hidden_ones_ignored(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text("app: shop")
    for folder in ("types/..2026_01_01", "workflows/deep"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.yaml").write_text("type: a")
    os.symlink(tmp_path / "types/..2026_01_01/a.yaml", tmp_path / "types/a.yml")

    result = load_app(tmp_path)

    assert [str(problem) for problem in result.problems] == [
        "workflows/deep/a.yaml: files in deeper folders are not read; move it into workflows/"
    ]
    assert result.app is not None
    assert set(result.app.types) == {"a", "user"}


FRAGMENTS = (
    "workflow: w\n|steps:\n|- |  |create: order\n|set: {total: 1}|where: |when: |${|}|params.n|steps.a|\n|[|]|{|}|on: "
    "|api: |with: |~|3|"
    "schedule: w\n|over: |id: |parameters: |x: |type: |retries: |: |'|\"|&a |*a|!!str |---\n|find: order|5s|key: "
    "|sources: |privacy: "
)
words = st.sampled_from(FRAGMENTS.split("|"))


@settings(max_examples=300, deadline=None)
@given(st.lists(words, max_size=25).map("".join), st.lists(words, max_size=15).map("".join), st.text(max_size=20))
def test_no_text_makes_the_loader_raise(first: str, second: str, third: str) -> None:
    result = load_files(
        {
            "app.yaml": f"app: shop\n{second}".encode(),
            "types/order.yaml": f"type: order\nfields: {{total: number}}\n{second}".encode(),
            "workflows/a.yaml": first.encode(),
            "workflows/b.yaml": f"workflow: w\nsteps:\n- {second}".encode(),
            "workflows/c.yaml": third.encode(errors="replace"),
        }
    )

    assert all(str(problem) for problem in result.problems)
    assert result.app is None or App.model_validate_json(result.app.model_dump_json()) == result.app


def test_every_member_of_a_webhook_that_is_promised_is_known() -> None:
    members = "source id event_id type payload headers received_at".split()
    steps = ", ".join(f"{{log: '${{webhook.{member}}}'}}" for member in members)

    assert problems(f"workflow: w\non: {{webhook: {{source: stripe}}}}\nsteps: [{steps}]") == []
