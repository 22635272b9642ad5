"""Finds workflows that may show strangers what privacy rules hide from them.

Rules hold for the Data API; steps read every thing. That is as it should be in a workflow that only admins call, or
that says
`ignore_privacy: true`. In one that users or anybody may call it is easily overlooked, so it is a warning.
"""

from collections.abc import Iterator
from typing import NamedTuple

from penstock.definitions.models import App, Auth, Step
from penstock.reading.actions import ACTIONS


class Exposure(NamedTuple):
    """A step (`place`: `file:line`) that reads things of a type with privacy rules for all who call its workflow."""

    workflow: str
    data_type: str
    action: str
    place: str


def find_exposures(app: App) -> Iterator[Exposure]:
    """All such steps, workflow by workflow."""
    for workflow in app.workflows.values():
        if workflow.api is None or workflow.api.auth is Auth.ADMIN or workflow.ignore_privacy:
            continue
        for step in workflow.steps:
            name = _type_read(step)
            if name is not None and name in app.types and app.types[name].privacy:
                yield Exposure(workflow.name, name, step.action.value, step.place)


def _type_read(step: Step) -> str | None:
    return step.target if ACTIONS[step.action].reads and isinstance(step.target, str) else None
