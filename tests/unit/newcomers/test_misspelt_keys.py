"""Every key of app.yaml, data types, workflows, triggers and steps with two letters in the wrong order: `check` knows
which was meant.
"""

import pytest

from penstock.reading.actions import ACTIONS
from penstock.reading.loader import load_files

APP = "app: shop\nsources: {stripe: {scheme: stripe, secrets: ['${secrets.S}']}}\n"
HMAC = "sources: {s: {scheme: hmac, secrets: ['${secrets.S}'], header: X-S, KEY: }}"
PLACES = {
    "app.yaml": ("KEY:", "admins environments sources connectors email notifications python"),
    "an environment": (
        "environments: {live: {KEY: }}",
        "depth_limit chain_runs_limit chain_workload_limit depth_policy retention",
    ),
    "a source": (HMAC, "algorithm encoding prefix signed timestamp deduplicate type"),
    "a timestamp": (HMAC.replace("KEY: ", "timestamp: {header: X-T, KEY: }"), "tolerance"),
    "a connector": ("connectors: {c: {base_url: https://example.com, KEY: }}", "headers timeout"),
    "email": ("email: {from: a@example.com, KEY: }", "transport"),
    "a data type": ("type: t\nKEY:", "api fields unique privacy"),
    "a privacy rule": ("type: t\nprivacy: [everyone: {KEY: }]", "find view create modify delete"),
    "a workflow": (
        "workflow: w\nKEY:",
        "label parameters when timeout retries depth_limit recursive priority ignore_privacy steps",
    ),
    "a parameter": ("workflow: w\nparameters: {a: {type: text, KEY: }}", "optional default"),
    "an api trigger": ("workflow: w\non: {api: {KEY: }}", "method auth respond when_skipped"),
    "a webhook trigger": ("workflow: w\non: {webhook: {source: stripe, KEY: }}", "types"),
    "a recurrence": (
        "workflow: w\non: {recurrence: {cron: '@daily', KEY: }}",
        "timezone overlap catch_up jitter start times pause_after_failures",
    ),
    "a change": ("workflow: w\non: {change: {type: user, KEY: }}", "operations when"),
    "the end of a run": ("workflow: w\non: {run: {KEY: }}", "states workflows"),
    "retries": ("workflow: w\nretries: {KEY: }", "attempts backoff factor jitter"),
    "a step": ("workflow: w\nsteps: [{log: a, KEY: }]", "when timeout retry on_error recursion"),
    **{
        f"a step {action.value}": (
            f"workflow: w\nsteps: [{{{action.value}: user, KEY: }}]",
            " ".join(key for key in spec.arguments if len(key) > 3),
        )
        for action, spec in ACTIONS.items()
    },
}
CASES = [(place, text, key) for place, (text, keys) in PLACES.items() for key in keys.split()]


def misspell(key: str) -> str:
    """The key with two letters in its middle in the wrong order, or the nearest two that differ."""
    middle = len(key) // 2
    at = next(i for i in [*range(middle, len(key) - 1), *range(middle)] if key[i] != key[i + 1])
    return key[:at] + key[at + 1] + key[at] + key[at + 2 :]


@pytest.mark.parametrize(("place", "text", "key"), CASES, ids=lambda value: value if len(value) < 30 else "")
def test_the_key_that_was_meant_is_named(place: str, text: str, key: str) -> None:
    wrong = misspell(key)
    text = text.replace("KEY", wrong)
    folder = {"type: t": "types/t.yaml", "workflow": "workflows/w.yaml"}
    name = next((name for begin, name in folder.items() if text.startswith(begin)), "app.yaml")
    app = f"app: shop\n{text}" if text.startswith("sources") else f"{APP}{text}"
    files = {"app.yaml": app.encode()} if name == "app.yaml" else {"app.yaml": APP.encode(), name: text.encode()}
    told = [f"{problem.message}; {problem.hint}" for problem in load_files(files).problems]
    assert f"unknown key '{wrong}'; did you mean '{key}'?" in told, (place, told)
