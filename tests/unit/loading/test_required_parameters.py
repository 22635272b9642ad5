"""Required parameters of workflows that more than an API call starts: they bind the callers, are null elsewhere, and
what uses them without asking is warned of.
"""

from pathlib import Path

import pytest

from penstock.reading.loader import Severity, load_app
from tests.unit.loading.reading import APP, TYPES, problems

CREATE_THING = """
workflow: create_thing
label: Create a thing
parameters:
  name: text
  remaining: {type: number, optional: true, default: 0}
  tags: {type: list of text, optional: true}
  owner: {type: user, optional: true}
on:
  api: {method: POST, auth: admin, respond: when_done, when_skipped: 400}
  webhook: {source: stripe, types: [invoice.paid, "customer.*"]}
  recurrence: {cron: "0 3 * * 1-5", timezone: Europe/Paris, overlap: skip, catch_up: 1h, jitter: 30s}
  change:
    {type: order, operations: [create, update, delete], when: "after.paid and before.paid != true", by: anyone}
  run: {states: [failed, terminated], workflows: [other]}
when: params.name != ''
timeout: 5m
retries: {attempts: 3, backoff: 5s, factor: 2, max: 10m, jitter: 0.2}
depth_limit: 500
recursive: true
priority: 5
ignore_privacy: false
steps:
  - id: thing
    create: thing
    set: {name: "${params.name}", remaining: "${params.remaining}"}
  - id: next
    when: params.remaining > 0
    schedule: create_thing
    with: {name: "${params.name}", remaining: "${params.remaining - 1}"}
    after: 0s
  - return: {id: "${steps.thing._id}"}
"""
THING = "\n---\ntype: thing\nfields: {name: text, remaining: number}\n"
HEAD = "workflow: w\nparameters: {a: text, b: {type: text, optional: true}}\n"
STARTERS = {
    "webhook: {source: stripe}": "a webhook",
    "recurrence: {cron: 0 3 * * *}": "a recurrence",
    "change: {type: order}": "a change",
    "run: {workflows: [other]}": "the end of a run",
}


def test_the_long_example_is_deployed_and_warned_of_once() -> None:
    told = problems(CREATE_THING, types=TYPES + THING)
    assert len(told) == 1
    assert told[0].startswith(
        "16:7: params.name is null in runs that a webhook, a recurrence, a change or the end of a run starts (and "
        "used in 2 more places); write params.name ?? …, or a condition such as when: params.name != null; what is "
        "known is in webhook.payload, change.after, run_event"
    )


@pytest.mark.parametrize(("trigger", "starter"), STARTERS.items())
def test_each_trigger_without_a_caller_leaves_them_null(trigger: str, starter: str) -> None:
    (told,) = problems(f"{HEAD}on: {{{trigger}}}\nsteps: [{{log: 'a ${{params.a}}'}}]\n")
    assert told.startswith(f"4:20: params.a is null in runs that {starter} starts; write params.a ?? …")


@pytest.mark.parametrize(
    "rest",
    [
        "on: {api: {}}\nsteps: [{log: '${params.a}'}]",
        "steps: [{log: '${params.a}'}]",
        "on: {webhook: {source: stripe}}\nsteps: [{log: '${params.b}'}]",
        "on: {webhook: {source: stripe}}\nsteps: [{log: \"${params.a ?? 'none'}\"}]",
        "on: {webhook: {source: stripe}}\nsteps: [{log: \"${params.a == null ? 'none' : params.a}\"}]",
        "on: {webhook: {source: stripe}}\nsteps: [{when: params.a != null, log: '${params.a}'}]",
        "on: {webhook: {source: stripe}}\nwhen: null != params.a\nsteps: [{log: '${params.a}'}]",
        "on: {webhook: {source: stripe}}\nsteps: [{when: params.a == null, stop: none}, {log: '${params.a}'}]",
        "on: {api: {}, webhook: {source: stripe}}\nsteps: [{when: request != null, log: '${params.a}'}]",
    ],
)
def test_what_asks_for_null_or_is_always_called_is_not_warned_of(rest: str) -> None:
    assert problems(f"{HEAD}{rest}\n") == []


@pytest.mark.parametrize(
    ("trigger", "signature", "problem"),
    [
        ("webhook('stripe')", "x: str", "x: None in a run that a webhook starts; write x: … | None = None; what is "),
        ("recurrence('0 3 * * *')", "x: str", "x: None in a run that a recurrence starts"),
        ("change('order')", "x: str, y: int", "x, y: None in a run that a change starts"),
        ("run_event()", "x: str", "x: None in a run that the end of a run starts"),
        ("webhook('stripe')", "x: str | None", ""),
        ("webhook('stripe')", "x: str = ''", ""),
        ("api()", "x: str", ""),
    ],
)
def test_in_python_they_are_warned_of_at_the_function(
    tmp_path: Path, trigger: str, signature: str, problem: str
) -> None:
    result = load_app(write(tmp_path, f"@app.workflow(on=[{trigger}])\ndef f(ctx: Context, {signature}): ...\n"))
    assert result.app is not None
    told = [str(one) for one in result.problems if one.severity is Severity.WARNING]
    assert [one.startswith(f"flows.py:3: {problem}") for one in told] == [True] * bool(problem), told


def test_a_model_that_requires_them_is_refused(tmp_path: Path) -> None:
    code = "class P(BaseModel):\n    x: str\n@app.workflow(on=[webhook('stripe')])\ndef f(ctx: Context, p: P): ...\n"
    result = load_app(write(tmp_path, code))
    (told,) = [str(one) for one in result.problems]
    assert told.startswith("flows.py:5: a run that a webhook starts gives no x, which the model requires")


def write(directory: Path, code: str) -> Path:
    """An app whose Python begins with two lines of imports."""
    imports = (
        "from penstock import App, Context, api, change, recurrence, run_event, webhook; from pydantic import BaseModel"
    )
    (directory / "types").mkdir()
    (directory / "types" / "order.yaml").write_text(TYPES)
    (directory / "app.yaml").write_text(f"{APP}python: [flows]\n")
    (directory / "flows.py").write_text(f"{imports}\napp = App()\n{code}")
    return directory
