"""Reading things with privacy rules for callers who are not admins makes a warning, and nothing else does."""

import pytest

from penstock.reading.loader import load_files

TYPES = """
type: order
fields: {number: text}
privacy: [{everyone: {find: false}}]
---
type: open
fields: {number: text}
"""


def warnings(trigger: str, step: str, more: str = "") -> list[str]:
    workflow = f"workflow: show\n{trigger}\n{more}\nsteps:\n  - {step}\n"
    files = {"app.yaml": "app: shop", "types/all.yaml": TYPES, "workflows/all.yaml": workflow}
    result = load_files({name: text.encode() for name, text in files.items()})
    assert result.app is not None, result.problems
    return [str(problem) for problem in result.problems]


@pytest.mark.parametrize("auth", ["public", "user"])
@pytest.mark.parametrize(("step", "action"), [("find: order", "find"), ("{get: order, where: {number: a}}", "get")])
def test_a_workflow_that_strangers_may_call_and_that_reads_protected_things_is_warned_of(
    auth: str, step: str, action: str
) -> None:
    (warning,) = warnings(f"on: {{api: {{auth: {auth}}}}}", step)
    assert warning.startswith(
        f"workflows/all.yaml:5: 'show' may be called by others than admins, and {action} reads every 'order'; "
    )
    assert warning.endswith("write ignore_privacy: true in the workflow")


@pytest.mark.parametrize(
    ("trigger", "step", "more"),
    [
        ("on: {api: {auth: admin}}", "find: order", ""),
        ("label: no trigger", "find: order", ""),
        ("on: {api: {auth: public}}", "find: open", ""),
        ("on: {api: {auth: public}}", "{create: order, set: {number: a}}", ""),
        ("on: {api: {auth: public}}", "find: order", "ignore_privacy: true"),
    ],
)
def test_nothing_else_is(trigger: str, step: str, more: str) -> None:
    assert warnings(trigger, step, more) == []
