"""Where a step stands: the steps around it, and what its expressions had in scope."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from pydantic import JsonValue

from penstock.definitions.models import Step, StepAction, Workflow
from penstock.definitions.values import format_date
from penstock.expressions import Reference
from penstock.runs.step_inputs.models import Values
from penstock.runs.step_inputs.rows import StepFacts

_PART: Final = re.compile(r"(?P<id>[^/\[]+)(?:\[(?P<key>[^\]]*)\]\.|/|$)")
_WITHOUT_RESULT: Final = frozenset(
    {StepAction.FAIL, StepAction.LOG, StepAction.RETURN, StepAction.STATE, StepAction.STOP}
)
_OF_CONTEXT: Final = frozenset({"request", "webhook", "change", "run_event", "recurrence"})
_CHANGED: Final = "it may have changed since the step had it"
_LINK: Final = "it is a signed link, which is shown to nobody else"

_OF_ITEMS: Final = "it is evaluated once for each item of the list"

Path = tuple[str, ...]
ITEMS: Final[Mapping[Path, str]] = {("item",): _OF_ITEMS, ("index",): _OF_ITEMS}
_OF_LISTS: Final[Mapping[Path, str]] = {**ITEMS, ("list",): "it is evaluated when the list has ended"}


class Part(NamedTuple):
    """A part of a step's path: the id of a step, and which of the blocks inside it the next one stands in."""

    id: str
    key: str | None


def split_path(path: str) -> list[Part]:
    """The parts of a step's path, such as `charges[3].pay/inner`."""
    return [Part(match["id"], match["key"]) for match in _PART.finditer(path)]


@dataclass(frozen=True, slots=True)
class Frame:
    """The steps of a workflow, or those inside one of its steps, and what they see.

    `prefix` stands before the paths of these steps, `root` before those of the workflow's. `before` are the paths of
    the steps, by id, that had ended before those around; `top` is the outermost of those around. `unknown` says of
    members of the scope why they are not known.
    """

    workflow: Workflow
    steps: Sequence[Step]
    scope: Values
    unknown: dict[Path, str]
    prefix: str = ""
    root: str = ""
    top: str = ""
    before: dict[str, str] = field(default_factory=dict)

    def find(self, id: str) -> Step | None:
        """The step of that id."""
        return next((step for step in self.steps if step.id == id), None)

    def paths_before(self, id: str) -> dict[str, str]:
        """The paths of the steps whose results the step of that id sees, by their ids."""
        own: dict[str, str] = {}
        for step in self.steps:
            if step.id == id:
                break
            if step.action not in _WITHOUT_RESULT:
                own[step.id] = self.prefix + step.id
        return {**self.before, **own}

    def unknown_links(self, id: str) -> dict[Path, str]:
        """The links that end the waits of later steps of the workflow: all of its steps see them."""
        ids = [step.id for step in self.workflow.steps]
        later = self.workflow.steps[ids.index(self.top or id) :]
        return {
            ("steps", step.id): _LINK
            for step in later
            if step.action is StepAction.WAIT_FOR and step.arguments.get("link") is True
        }

    def open_block(self, step: Step, key: str, names: Values, unknown: dict[Path, str]) -> "Frame":
        """The frame of the steps in one block of `step`."""
        block = step.blocks.get("steps" if step.action is StepAction.EACH else key, ())
        known = {path: why for path, why in self.unknown.items() if path[0] not in names}
        return replace(
            self,
            steps=block,
            scope={**self.scope, **names},
            unknown={**known, **unknown},
            prefix=f"{self.prefix}{step.id}[{key}].",
            top=self.top or step.id,
            before=self.paths_before(step.id),
        )


def open_frame(
    facts: StepFacts, workflow: Workflow, parameters: Values, unknown: dict[Path, str], prefix: str
) -> Frame:
    """The frame of a workflow: the run's own, or one that a step of it triggers. `unknown` are parameters of it."""
    context = facts.context or {}
    user: JsonValue = None if facts.user_id is None else {"_id": facts.user_id}
    scope: Values = {
        **{
            name: value
            for name, value in context.items()
            if name in {"request", "webhook", "change", "run_event", "recurrence"}
        },
        "params": parameters,
        "run": facts.to_scope(),
        "user": user,
        "now": format_date(facts.started_at),
    }
    return Frame(workflow, workflow.steps, scope, {**unknown, **_unknown_of(facts)}, prefix, prefix)


def _unknown_of(facts: StepFacts) -> dict[Path, str]:
    unknown: dict[Path, str] = {**_OF_LISTS}
    if facts.user_id is not None:
        unknown["user",] = _CHANGED
    if facts.depth_limit is None:
        unknown["run", "depth_limit"] = _CHANGED
    if not facts.is_of_last_attempt:
        unknown["run", "scheduled_at"] = _CHANGED
    return unknown


def find_unknown(reference: Reference, unknown: Mapping[Path, str]) -> str | None:
    """Why what an expression reads there is not known; None when it is."""
    path = reference.path
    if path[:2] == ("user", "_id"):
        return None
    for other, why in unknown.items():
        length = min(len(path), len(other))
        if path[:length] == other[:length]:
            return why
    return None
