"""The inputs of one step: down the path to it, from the run's workflow through what encloses the step."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from penstock.db import Connection, Database
from penstock.definitions.compiled import PER_ITEM
from penstock.definitions.models import App, Step, StepAction, Workflow
from penstock.definitions.parameters import ParameterProblem, ValueSource, bind_parameters
from penstock.redaction import Redactor
from penstock.runs.step_inputs.frames import ITEMS, Frame, Part, Path, open_frame, split_path
from penstock.runs.step_inputs.models import InputNote, StepInputs, Values
from penstock.runs.step_inputs.rows import StepFacts, find_results, list_states
from penstock.runs.step_inputs.values import MAX_SECONDS, Evaluation, find_references

_CODE: Final = "its arguments are computed by code, and are not kept"
_SKIPPED: Final = "the step was skipped, so its arguments were not evaluated"
_GONE: Final = "the definition that the run is pinned to has no such step"
_NO_ITEM: Final = "the list that it was an item of is not known"


class _Nowhere(Exception):
    """Why there is nothing to evaluate."""


async def show_inputs(database: Database, app: App, facts: StepFacts, redactor: Redactor) -> StepInputs:
    """What a step was given, by the definition that its run is pinned to (`app`). Raises DatabaseUnavailable."""
    inputs: JsonValue = None
    place, workflow = "", None
    try:
        frame, step = await _Descent(database, app, facts).find()
        place, workflow = step.place, frame.workflow.name
        if facts.outcome == "skipped":
            raise _Nowhere(_SKIPPED)
        evaluation = await _prepare(database, facts, frame, step)
        inputs, notes = redactor.value(await _fill(evaluation, step)), evaluation.shown_notes()
    except _Nowhere as why:
        notes = [InputNote(at="", why=str(why))]
    is_mended = facts.mended_at is not None and facts.finished_at < facts.mended_at
    return StepInputs(
        step=facts.step,
        action=facts.action,
        workflow=workflow,
        version=facts.version,
        place=place,
        inputs=inputs,
        notes=notes,
        changed_at=facts.mended_at if is_mended else None,
    )


async def _fill(evaluation: Evaluation, step: Step) -> Values:
    """The step as it is written, with values: what stands behind its action, and its other arguments."""
    filled: Values = {}
    if not step.blocks or step.action is StepAction.EACH:
        filled[step.action.value] = await evaluation.fill(step.target, (step.action.value,))
    per_item, known = PER_ITEM.get(step.action), evaluation.unknown
    for name, written in step.arguments.items():
        if name in step.blocks:
            continue
        evaluation.unknown = {**known, **ITEMS} if name == per_item else known
        filled[name] = await evaluation.fill(written, (name,))
    evaluation.unknown = known
    return filled


async def _prepare(database: Database, facts: StepFacts, frame: Frame, step: Step) -> Evaluation:
    """All that the step's expressions had in scope, as far as they read it."""
    written: JsonValue = [step.target, step.arguments]
    wanted = set(find_references(written, step.place))
    scope: Values = {**frame.scope, "steps": {}, "state": {}}
    roots = {path[0] for path in wanted}
    async with database.connection() as conn:
        if "steps" in roots:
            scope["steps"] = await _find_steps(conn, facts, frame.paths_before(step.id), wanted)
        if "state" in roots:
            before = await list_states(conn, run_id=facts.run_id, prefix=frame.root, before=facts.started_at)
            scope["state"] = {name: value for one in before for name, value in one.items()}
    unknown = {**frame.unknown, **frame.unknown_links(step.id)}
    referring = {} if step.lookups is None else step.lookups.rewritten
    return Evaluation(step.place, scope, unknown, referring, asyncio.get_running_loop().time() + MAX_SECONDS)


async def _find_steps(conn: Connection, facts: StepFacts, paths: Mapping[str, str], wanted: Collection[Path]) -> Values:
    """What expressions saw as `steps`: the results of those that they read."""
    ids = {path[1] for path in wanted if path[0] == "steps" and len(path) > 1}
    if ("steps",) not in wanted:
        paths = {id: path for id, path in paths.items() if id in ids}
    results = await find_results(conn, run_id=facts.run_id, steps=paths.values())
    return {id: results[path] for id, path in paths.items() if path in results}


@dataclass
class _Descent:
    """The way down a path, to the step at its end."""

    database: Database
    app: App
    facts: StepFacts

    async def find(self) -> tuple[Frame, Step]:
        """The step and the frame that it stands in. Raises _Nowhere."""
        frame = self._open(self.facts.workflow, self.facts.parameters, {}, "")
        parts = split_path(self.facts.step)
        for part in parts[:-1]:
            step = self._find_step(frame, part)
            inside = self._enter_block if part.key is not None else self._enter_workflow
            frame = await inside(frame, step, part)
        return frame, self._find_step(frame, parts[-1])

    def _open(self, name: str, parameters: Values, unknown: dict[Path, str], prefix: str) -> Frame:
        workflow = self.app.workflows.get(name)
        if workflow is None:
            raise _Nowhere(_GONE)
        if workflow.python is not None:
            raise _Nowhere(_CODE)
        return open_frame(self.facts, workflow, parameters, unknown, prefix)

    def _find_step(self, frame: Frame, part: Part) -> Step:
        step = frame.find(part.id)
        if step is None:
            raise _Nowhere(_GONE)
        return step

    async def _enter_workflow(self, frame: Frame, step: Step, _: Part) -> Frame:
        """The workflow that a step triggers, with what the step hands to it."""
        if step.action is StepAction.RUN:
            raise _Nowhere(_CODE)
        if step.action is not StepAction.TRIGGER:
            raise _Nowhere(_GONE)
        evaluation = await _prepare(self.database, self.facts, frame, step)
        name = await evaluation.fill(step.target)
        given = await evaluation.fill(step.arguments.get("with"), ("with",))
        unknown: dict[Path, str] = {("params", *map(str, at[1:])): why for at, why in evaluation.notes.items() if at}
        values = given if isinstance(given, dict) else {}
        if () in evaluation.notes or not isinstance(name, str) or name not in self.app.workflows:
            raise _Nowhere(_GONE)
        parameters = _bind(self.app, self.app.workflows[name], values, unknown)
        return self._open(name, parameters, unknown, f"{frame.prefix}{step.id}/")

    async def _enter_block(self, frame: Frame, step: Step, part: Part) -> Frame:
        """The steps inside a step, for one item of its list, or those of one branch."""
        key = part.key or ""
        if step.action is not StepAction.EACH:
            return frame.open_block(step, key, {}, {})
        if not key.isdecimal():
            raise _Nowhere(_GONE)
        item, why = await self._find_item(frame, step, int(key))
        named = step.arguments.get("as")
        name = named if isinstance(named, str) else "item"
        unknown: dict[Path, str] = {} if why is None else {(name,): why}
        return frame.open_block(step, key, {name: item, "index": int(key)}, unknown)

    async def _find_item(self, frame: Frame, step: Step, index: int) -> tuple[JsonValue, str | None]:
        """An item of the list that a step goes through, or why it is not known."""
        path = f"{frame.prefix}{step.id}[]"  # kept where the list might be another one the next time
        async with self.database.connection() as conn:
            items = (await find_results(conn, run_id=self.facts.run_id, steps=[path])).get(path)
        if not isinstance(items, list):
            evaluation = await _prepare(self.database, self.facts, frame, step)
            items = await evaluation.fill(step.target)
            if evaluation.notes:
                return None, next(iter(evaluation.notes.values()))
        if not isinstance(items, list) or index >= len(items):
            return None, _NO_ITEM
        return items[index], None


def _bind(app: App, workflow: Workflow, given: Values, unknown: Mapping[Path, str]) -> Values:
    """The parameters as the triggered workflow sees them. Those that are not known stay as they are written."""
    absent = {path[1] for path in unknown if len(path) > 1}
    declared = tuple(one for one in workflow.parameters if one.name not in absent)
    known = {name: value for name, value in given.items() if name not in absent}
    part = workflow.model_copy(update={"parameters": declared})
    try:
        return bind_parameters(part, known, source=ValueSource.JSON, unknown="ignore", types=app.types)
    except ParameterProblem:
        return known
