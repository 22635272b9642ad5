"""Finds steps that find nothing although things are there, because privacy rules hide all of them.

Workflows read under the rules of their caller. Someone who sends a webhook, or calls a public workflow without a token,
is a stranger; where strangers may find nothing of a type, such a run finds nothing either, and nothing says why. It
reads everything where the workflow says `ignore_privacy: true`.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from penstock import exact_json
from penstock.definitions.models import App, Auth, PrivacyRule, Step, Workflow
from penstock.definitions.steps import walk_steps
from penstock.reading.actions import ACTIONS


class Exposure(NamedTuple):
    """A step (`place`: `file:line`) that reads things of a type of which strangers may find nothing, in a workflow that
    may run for them. `origin` says how: `a webhook`, or `a call without a token`.
    """

    workflow: str
    data_type: str
    action: str
    place: str
    origin: str


def find_exposures(app: App) -> Iterator[Exposure]:
    """All such steps, workflow by workflow."""
    hidden = {
        name for name, one in app.types.items() if one.privacy and not any(map(_may_let_strangers_find, one.privacy))
    }
    for workflow in app.workflows.values():
        origin = _find_origin(workflow)
        if origin is None or workflow.ignore_privacy:
            continue
        for step in walk_steps(workflow.steps):
            name = _type_read(step)
            if name in hidden:
                yield Exposure(workflow.name, str(name), step.action.value, step.place, origin)


def _may_let_strangers_find(rule: PrivacyRule) -> bool:
    """Whether things may be found by the rule without a user. What `users` says is taken to need one."""
    return rule.find and rule.users is None and "user" not in _texts(rule)


def _texts(rule: PrivacyRule) -> str:
    """The expressions that the rule embeds."""
    return " ".join(re.findall(r"\$\{[^}]*\}", exact_json.dumps(rule.model_dump(mode="json")["when"]).decode()))


def _find_origin(workflow: Workflow) -> str | None:
    if workflow.webhooks:
        return "a webhook"
    is_public = workflow.api is not None and workflow.api.auth is Auth.PUBLIC
    return "a call without a token" if is_public else None


def _type_read(step: Step) -> str | None:
    return step.target if ACTIONS[step.action].reads and isinstance(step.target, str) else None
