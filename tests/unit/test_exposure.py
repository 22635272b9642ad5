"""Finding nothing because of privacy rules, without being told so, makes a warning, and nothing else does."""

import pytest

from penstock.reading.loader import load_files

TYPES = """
type: order
fields: {number: text}
privacy: [{name: owner, when: {created_by: "${user._id}"}, find: true}, {everyone: {find: false}}]
---
type: published
fields: {is_public: boolean}
privacy: [{name: public, when: {is_public: true}, find: true}]
---
type: open
fields: {number: text}
"""
APP = """
app: shop
sources: {partner: {scheme: none}}
"""


def warnings(trigger: str, step: str, more: str = "") -> list[str]:
    workflow = f"workflow: show\n{trigger}\n{more}\nsteps:\n  - {step}\n"
    files = {"app.yaml": APP, "types/all.yaml": TYPES, "workflows/all.yaml": workflow}
    result = load_files({name: text.encode() for name, text in files.items()})
    assert result.app is not None, result.problems
    return [str(problem) for problem in result.problems]


@pytest.mark.parametrize(
    ("trigger", "origin"),
    [("on: {api: {auth: public}}", "a call without a token"), ("on: {webhook: {source: partner}}", "a webhook")],
)
@pytest.mark.parametrize(("step", "action"), [("find: order", "find"), ("{get: order, where: {number: a}}", "get")])
def test_a_workflow_that_strangers_may_start_and_that_finds_nothing_then_is_warned_of(
    trigger: str, origin: str, step: str, action: str
) -> None:
    (warning,) = warnings(trigger, step)
    assert warning.startswith(
        f"workflows/all.yaml:5: 'show' may be started by {origin}, and {action} finds no 'order' then: its privacy "
        "rules let strangers find none"
    )
    assert warning.endswith("write ignore_privacy: true in the workflow if it is meant to read past them")


@pytest.mark.parametrize(
    ("trigger", "step", "more"),
    [
        ("on: {api: {auth: admin}}", "find: order", ""),
        ("on: {api: {auth: user}}", "find: order", ""),
        ("label: no trigger", "find: order", ""),
        ("on: {api: {auth: public}}", "find: open", ""),
        ("on: {api: {auth: public}}", "find: published", ""),
        ("on: {api: {auth: public}}", "{create: order, set: {number: a}}", ""),
        ("on: {api: {auth: public}}", "find: order", "ignore_privacy: true"),
    ],
)
def test_nothing_else_is(trigger: str, step: str, more: str) -> None:
    assert warnings(trigger, step, more) == []
