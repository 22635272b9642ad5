"""Finds the cycles in who schedules whom, before anything runs.

Workflows are nodes; a step that schedules, schedules over a list, or triggers a workflow is an edge. An edge with a `when`, or a
workflow with one, is a guard: a cycle without any is certain to run until the depth limit cuts it. `recursive: true` takes a
workflow, and so all cycles through it, out of the check.

`recur` is no edge: what it sets is replaced when it is set again, and ticks later, as a root. `penstock.store.recurrences` says what
bounds it.
"""

from collections import deque
from typing import Final, NamedTuple

from penstock.definitions.models import App, StepAction

_SCHEDULING: Final = frozenset({StepAction.SCHEDULE, StepAction.SCHEDULE_LIST, StepAction.TRIGGER})
_MOST_LISTED: Final = 100


class Recursion(NamedTuple):
    """A cycle: `path` begins and ends with the same workflow. `place` is the step that leaves the first one (`file:line`)."""

    path: tuple[str, ...]
    is_guarded: bool
    place: str

    def __str__(self) -> str:
        return " → ".join(self.path)


class _Edge(NamedTuple):
    is_guarded: bool
    place: str


_Graph = dict[str, dict[str, _Edge]]


def find_recursions(app: App) -> list[Recursion]:
    """For every edge that lies on a cycle, the shortest cycle through it, each once; unguarded ones first, at most a hundred.

    A cycle is found unguarded whenever there is one through the edge, even if a shorter one has a guard.
    """
    graph = _graph_of(app)
    bare = {source: {target: edge for target, edge in edges.items() if not edge.is_guarded} for source, edges in graph.items()}
    unguarded = _cycles(bare)
    guarded = {path: place for path, place in _cycles(graph).items() if path not in unguarded}
    found = [Recursion(path, is_guarded=False, place=place) for path, place in unguarded.items()]
    found += [Recursion(path, is_guarded=True, place=place) for path, place in guarded.items()]
    return found[:_MOST_LISTED]


def _graph_of(app: App) -> _Graph:
    graph: _Graph = {name: {} for name, workflow in app.workflows.items() if not workflow.is_recursive}
    for name in graph:
        workflow = app.workflows[name]
        for step in workflow.steps:
            target = step.target
            if step.action not in _SCHEDULING or not isinstance(target, str) or target not in graph:
                continue
            edge = _Edge(workflow.when is not None or step.when is not None, step.place)
            known = graph[name].get(target)
            if known is None or (known.is_guarded and not edge.is_guarded):
                graph[name][target] = edge
    return graph


def _cycles(graph: _Graph) -> dict[tuple[str, ...], str]:
    """The shortest cycle through each edge, drawn from the workflow that is defined first, with the place it leaves from."""
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
            if len(cycles) >= _MOST_LISTED:
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
