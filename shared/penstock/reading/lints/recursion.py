"""Finds the cycles in who schedules whom, before anything runs.

Workflows are nodes; a step that schedules, schedules over a list, or triggers a workflow is an edge, and so is one that
changes things of a type to each workflow with a change trigger whose condition that change can meet (`meeting`). Steps
in Python count as well, as far as their source names what they start (`python_calls`). An edge with a `when` (of the
step, or of the trigger), or a workflow with one, is a guard: a cycle without any is certain to run until the depth
limit cuts it. `recursive: true` takes a workflow, and so all cycles through it, out of the check; a step's `recursion:
reason` takes that step out.

A step that calls one of the app's own API workflows or webhooks is an edge too, if what it calls is this installation;
nobody can know here, so cycles over such edges are listed apart from the others. (At run time the call carries its
chain, and the depth limit holds.)

`recur` is not an edge: what it sets is replaced when it is set again, and ticks later, as a root.
`penstock.runs.recurrences.rows` says what bounds it.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from penstock.definitions.models import App, ChangedBy, Operation, Step, StepAction, Workflow
from penstock.definitions.steps import walk_steps
from penstock.reading.actions import ACTIONS
from penstock.reading.lints.meeting import can_meet
from penstock.reading.lints.own_urls import find_own_calls
from penstock.reading.lints.python_calls import ANY_WORKFLOW

_MAX_LISTED: Final = 100


class Recursion(NamedTuple):
    """A cycle: `path` begins and ends with the same workflow. `place` is the step that leaves the first one
    (`file:line`).

    `calls` are the paths of URLs by which workflows on it would call each other, for each hop; empty for one that calls
    nothing.
    """

    path: tuple[str, ...]
    is_guarded: bool
    place: str
    calls: tuple[str, ...] = ()

    def __str__(self) -> str:
        hops = self.calls or ("",) * (len(self.path) - 1)
        arrows = (f" → {call} → " if call else " → " for call in hops)
        return self.path[0] + "".join(f"{arrow}{name}" for arrow, name in zip(arrows, self.path[1:], strict=True))


class Start(NamedTuple):
    """That runs of `source` start runs of `target`: `by` a kind of step, `change` or `run` (the end of a run).

    `is_guarded`: a condition stands on the way. `place` is the step, or the trigger, as `file:line`.
    """

    source: str
    target: str
    by: str
    is_guarded: bool
    place: str


class _Edge(NamedTuple):
    is_guarded: bool
    place: str
    call: str = ""


_Graph = dict[str, dict[str, _Edge]]
CodeSteps = Mapping[str, Sequence[Step]]
"""The steps that an app's Python asks for, by the function's name; see `python_calls.read_code_steps`."""


def find_open_ends(app: App, code_steps: CodeSteps) -> list[str]:
    """The places (`file:line`) of steps in Python that may schedule any workflow, so that no cycle is seen there."""
    steps = (step for workflow in app.workflows.values() for step in _code_steps_of(workflow, code_steps))
    return sorted({step.place for step in steps if ACTIONS[step.action].starts and step.target is ANY_WORKFLOW})


def find_recursions(app: App, code_steps: CodeSteps | None = None) -> list[Recursion]:
    """For every edge that lies on a cycle, the shortest cycle through it, each once; unguarded ones first, at most a
    hundred.

    A cycle is found unguarded whenever there is one through the edge, even if a shorter one has a guard. Those over
    calls come last.
    """
    graph = _graph_of(app, code_steps or {})
    bare = {
        source: {target: edge for target, edge in edges.items() if not edge.is_guarded}
        for source, edges in graph.items()
    }
    unguarded = _cycles(bare)
    guarded = {path: place for path, place in _cycles(graph).items() if path not in unguarded}
    found = [Recursion(path, is_guarded=False, place=place) for path, place in unguarded.items()]
    found += [Recursion(path, is_guarded=True, place=place) for path, place in guarded.items()]
    return [*found, *_find_over_calls(app, graph)][:_MAX_LISTED]


def find_all_recursions(app: App) -> list[Recursion]:
    """As `find_recursions`, those included that are meant, by their workflow or step."""
    plain = {
        name: workflow.model_copy(
            update={
                "is_recursive": False,
                "steps": tuple(step.model_copy(update={"recursion": None}) for step in workflow.steps),
            }
        )
        for name, workflow in app.workflows.items()
    }
    return find_recursions(app.model_copy(update={"workflows": plain}))


def list_starts(app: App) -> list[Start]:
    """Who starts whom, by what the definitions say, deliberate recursion included; steps in Python are not read."""
    starts: dict[Start, None] = {}
    for name, workflow in app.workflows.items():
        for step in walk_steps(workflow.steps):
            by = step.action.value if ACTIONS[step.action].starts else "change"
            for target, is_guarded in _targets_of(step, app):
                if target in app.workflows:
                    guarded = workflow.when is not None or step.when is not None or is_guarded
                    starts[Start(name, target, by, guarded, step.place)] = None
        for other in app.workflows.values():
            for trigger in other.run_ends:
                if other.name != name and trigger.covers(name):
                    starts[Start(name, other.name, "run", is_guarded=True, place=trigger.place)] = None
    return list(starts)


def _find_over_calls(app: App, graph: _Graph) -> list[Recursion]:
    """The cycles that would be closed by calling oneself."""
    wider: _Graph = {name: {**edges} for name, edges in graph.items()}
    for name in graph:
        workflow = app.workflows[name]
        for step in walk_steps(workflow.steps):
            for target, call in find_own_calls(app, step).items():
                if target in graph:
                    wider[name].setdefault(
                        target, _Edge(workflow.when is not None or step.when is not None, step.place, call)
                    )
    found = []
    for path, place in _cycles(wider).items() if wider != graph else ():
        edges = [wider[source][target] for source, target in pairwise(path)]
        if any(edge.call for edge in edges):
            found.append(
                Recursion(path, any(edge.is_guarded for edge in edges), place, tuple(edge.call for edge in edges))
            )
    return found


def _graph_of(app: App, code_steps: CodeSteps) -> _Graph:
    graph: _Graph = {name: {} for name, workflow in app.workflows.items() if not workflow.is_recursive}
    for name in graph:
        workflow = app.workflows[name]
        for step in _steps_of(workflow, code_steps):
            for target, is_guarded in _targets_of(step, app):
                if target not in graph:
                    continue
                edge = _Edge(workflow.when is not None or step.when is not None or is_guarded, step.place)
                known = graph[name].get(target)
                if known is None or (known.is_guarded and not edge.is_guarded):
                    graph[name][target] = edge
    _add_run_ends(graph, app)
    return graph


def _add_run_ends(graph: _Graph, app: App) -> None:
    """A run that ends leads to what waits for its end, under the condition that it ends so."""
    for name, edges in graph.items():
        for workflow in app.workflows.values():
            for trigger in workflow.run_ends:
                if workflow.name in graph and workflow.name != name and trigger.covers(name):
                    edges.setdefault(workflow.name, _Edge(is_guarded=True, place=trigger.place))


def _steps_of(workflow: Workflow, code_steps: CodeSteps) -> Iterator[Step]:
    """The steps of a workflow, and those of its Python, but for those that give a reason."""
    yield from (step for step in walk_steps(workflow.steps) if step.recursion is None)
    yield from _code_steps_of(workflow, code_steps)


def _code_steps_of(workflow: Workflow, code_steps: CodeSteps) -> Iterator[Step]:
    """What the workflow's own Python asks for, and the actions in Python that its steps run."""
    yield from (step for step in code_steps.get(workflow.python or "", ()) if step.recursion is None)
    for step in walk_steps(workflow.steps):
        if step.action is StepAction.RUN and isinstance(step.target, str) and step.recursion is None:
            for inner in code_steps.get(step.target, ()):
                if inner.recursion is None:
                    yield inner if step.when is None else inner.model_copy(update={"when": step.when})


def _targets_of(step: Step, app: App) -> Iterator[tuple[str, bool]]:
    """The workflows that a step starts, and whether a condition of theirs stands before it."""
    spec = ACTIONS[step.action]
    if spec.starts and isinstance(step.target, str):
        yield step.target, False
        if isinstance(following := step.arguments.get("then"), str):
            yield following, False
    elif spec.changes:
        type_name = step.arguments.get("type") if step.action in {StepAction.UPDATE, StepAction.DELETE} else step.target
        type_name = "user" if step.action in {StepAction.SIGN_UP, StepAction.RESET_PASSWORD} else type_name
        done = {*spec.changes, *((Operation.UPDATE,) if step.arguments.get("upsert") else ())}
        for workflow in app.workflows.values():
            yield from ((workflow.name, is_guarded) for is_guarded in _reactions(workflow, step, type_name, done))


def _reactions(workflow: Workflow, step: Step, type_name: object, done: set[Operation]) -> Iterator[bool]:
    """For each change trigger that such a step fires, whether it has a condition."""
    for trigger in workflow.changes:
        if (
            trigger.type == type_name
            and trigger.by is not ChangedBy.OUTSIDE
            and any(can_meet(step, operation, trigger.when) for operation in done & set(trigger.operations))
        ):
            yield trigger.when is not None


def _cycles(graph: _Graph) -> dict[tuple[str, ...], str]:
    """The shortest cycle through each edge, drawn from the workflow that is defined first, with the place it leaves
    from.
    """
    order = {name: position for position, name in enumerate(graph)}
    cycles: dict[tuple[str, ...], str] = {}
    for source, edges in graph.items():
        for target in edges:
            way_back = _shortest_path(graph, target, source)
            if way_back is None:
                continue
            ring = [source, *way_back[:-1]] if target != source else [source]
            first = min(range(len(ring)), key=lambda index: order[ring[index]])
            ring = ring[first:] + ring[:first]
            cycles.setdefault((*ring, ring[0]), graph[ring[0]][ring[1 % len(ring)]].place)
            if len(cycles) >= _MAX_LISTED:
                return cycles
    return cycles


def _shortest_path(graph: _Graph, start: str, goal: str) -> list[str] | None:
    before: dict[str, str | None] = {start: None}
    waiting = deque([start])
    while waiting:
        name = waiting.popleft()
        if name == goal:
            path = [name]
            while (previous := before[path[-1]]) is not None:
                path.append(previous)
            return path[::-1]
        for following in graph[name]:
            if following not in before:
                before[following] = name
                waiting.append(following)
    return None
