"""What a deployment would change is listed by kind, name and part, whatever kinds of definition there are."""

from pydantic import JsonValue

from penstock.definitions.differences import Difference, find_differences, list_changed_values
from penstock.definitions.models import App
from penstock.reading.loader import load_files

HEAD = "app: shop\nadmins: [a@example.com]\nsources:\n  stripe: {scheme: stripe, secrets: ['${secrets.S}']}\n"
TYPES = "type: order\nfields: {number: text}\n---\ntype: gone\nfields: {a: text}\n"
WORKFLOWS = "workflow: a\nsteps: [{log: hi}]\n---\nworkflow: b\nsteps: [{log: hi}]\n"


def load(head: str = HEAD, types: str = TYPES, workflows: str = WORKFLOWS) -> App:
    result = load_files(
        {"app.yaml": head.encode(), "types/all.yaml": types.encode(), "workflows/all.yaml": workflows.encode()}
    )
    assert result.app is not None, result.problems
    return result.app


def test_an_app_does_not_differ_from_itself_wherever_it_is_written() -> None:
    assert find_differences(load(), load()) == []
    assert find_differences(load(), load(workflows=f"\n\n{WORKFLOWS}")) == []


def test_a_first_deployment_adds_everything() -> None:
    assert set(find_differences(None, load())) == {
        Difference("add", "source", "stripe"),
        Difference("add", "data type", "order"),
        Difference("add", "data type", "gone"),
        Difference("add", "data type", "user"),
        Difference("add", "workflow", "a"),
        Difference("add", "workflow", "b"),
    }


def test_each_kind_tells_what_was_added_changed_and_removed() -> None:
    after = load(
        "app: shop\nadmins: [b@example.com]\nenvironments: {live: {depth_limit: 5}}\n"
        "sources:\n  github: {scheme: github, secrets: ['${secrets.S}']}\n",
        "type: order\napi: true\nfields: {number: text, total: number}\n",
        "workflow: a\nlabel: other\nsteps: [{log: hi, when: 1 > 2}]\n---\nworkflow: c\nsteps: []\n",
    )
    assert find_differences(load(), after) == [
        Difference("change", "setting", "admins"),
        Difference("change", "environment", "live", ("depth_limit",)),
        Difference("add", "source", "github"),
        Difference("remove", "source", "stripe"),
        Difference("remove", "data type", "gone"),
        Difference("change", "data type", "order", ("fields", "is_in_api")),
        Difference("change", "workflow", "a", ("label", "steps")),
        Difference("remove", "workflow", "b"),
        Difference("add", "workflow", "c"),
    ]


def test_what_a_version_changed_is_named_place_by_place() -> None:
    one: JsonValue = {"id": "one", "set": {"x": 1, "y": 2}, "place": "a:1"}
    other: JsonValue = {"id": "one", "set": {"x": 3, "y": 2}, "place": "a:9"}
    before: JsonValue = {"name": "a", "steps": [one, {"id": "two"}]}
    after: JsonValue = {"name": "a", "steps": [other, {"id": "new"}], "when": "x"}
    assert list_changed_values(before, after) == [
        ("steps.one.set.x", 1, 3),
        ("steps.two", {"id": "two"}, None),
        ("steps.new", None, {"id": "new"}),
        ("when", None, "x"),
    ]
    assert list_changed_values(before, before) == []


def test_steps_in_another_order_and_steps_without_ids_are_compared_as_wholes() -> None:
    a, b, nameless = (dict[str, JsonValue](id="a"), dict[str, JsonValue](id="b"), dict[str, JsonValue]())
    assert list_changed_values({"s": [a, b]}, {"s": [b, a]}) == [("s (order)", ["a", "b"], ["b", "a"])]
    assert list_changed_values({"s": [a, nameless]}, {"s": [a]}) == [("s", [a, nameless], [a])]
