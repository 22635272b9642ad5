"""Tells which workflows of the app itself a step may start by calling out, if what it calls is this very installation.

A definition does not show whose host it is, so the path alone decides: /api/1.1/wf/<workflow> and /webhooks/<source>,
as far as it is written out. What is computed matches nothing.
"""

import re
from typing import Final

from penstock.definitions.models import App, Step, StepAction
from penstock.reading.actions import ACTIONS

_COMPUTED: Final = re.compile(r"\$\{[^}]*\}")
_OWN: Final = re.compile(
    r"(?:/+version-[A-Za-z0-9_-]+)?/+(?:api/+1\.1/+wf/+(?P<workflow>[\w-]+)|webhooks/+(?P<source>[\w-]+))/?(?:[?#].*)?"
)
_HOST: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*|\x00[^/?#]*")
_UNKNOWN: Final = "\x00"


def find_own_calls(app: App, step: Step) -> dict[str, str]:
    """The workflows that the step would start, with the path it calls for that."""
    path = _path_of(app, step)
    match = None if path is None else _OWN.fullmatch(path)
    if match is None:
        return {}
    if (name := match["workflow"]) is not None:
        workflow = app.workflows.get(name)
        return {name: f"/api/1.1/wf/{name}"} if workflow is not None and workflow.api is not None else {}
    source = match["source"]
    return {
        workflow.name: f"/webhooks/{source}"
        for workflow in app.workflows.values()
        if any(trigger.source == source for trigger in workflow.webhooks)
    }


def _path_of(app: App, step: Step) -> str | None:
    if not ACTIONS[step.action].calls_out or not isinstance(step.target, str):
        return None
    url = step.target
    if step.action is StepAction.CALL:
        connector, path = app.connectors.get(step.target), step.arguments.get("path")
        if connector is None:
            return None
        url = f"{connector.base_url.rstrip('/')}/{path.lstrip('/') if isinstance(path, str) else ''}"
    url = _COMPUTED.sub(_UNKNOWN, url)
    host = _HOST.match(url)
    return None if host is None else url[host.end() :]
