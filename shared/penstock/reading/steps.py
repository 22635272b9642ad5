"""Reads the steps of a workflow: which action each performs, its id, and what all steps have; `actions` knows their
arguments.
"""

import re
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Literal

from penstock.definitions.models import ChangeTrigger, FieldType, Parameter, Step, StepAction
from penstock.expressions.kinds import ANYTHING, TEXT, Kind, object_of, or_error
from penstock.reading.actions import ACTIONS, StepReader, read_arguments, read_target
from penstock.reading.available import UNAVAILABLE, refuse_unavailable
from penstock.reading.documents import Mapping, Node, Scalar, Sequence, describe
from penstock.reading.habits import hint_for_action
from penstock.reading.index import Index, read_retries
from penstock.reading.places import Report
from penstock.reading.scopes import Scope, check_expression, children
from penstock.reading.tables import Table

MAX_STEPS: Final = 1_000
MAX_NESTED: Final = 4
"""How deep steps may stand inside steps."""
_STEP_ID: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ACTIONS: Final = frozenset(action.value for action in StepAction)
_ARGUMENTS: Final = frozenset(argument for spec in ACTIONS.values() for argument in spec.arguments)
STEP_KEYS: Final = _ACTIONS | _ARGUMENTS | {"on_error"}
"""What stands in steps and nowhere in the head of a workflow."""
_OF_WORKFLOWS: Final = frozenset(
    {"workflow", "parameters", "on", "steps", "depth_limit", "recursive", "ignore_privacy"}
)
_TAKING_MAPPINGS: Final = frozenset({StepAction.RETURN, StepAction.STATE, StepAction.CANCEL, StepAction.PARALLEL})
_OF_THE_WHOLE: Final = frozenset({StepAction.RETURN, StepAction.STATE, StepAction.STOP})
_NUMBERED: Final = re.compile(r"step\d+")
_ENDING: Final = frozenset({StepAction.STOP, StepAction.FAIL})
_LINK: Final = object_of({"link": TEXT})
"""What earlier steps know of a `wait_for` that a link may end."""
_SHARED_KEYS: Final = frozenset({"id", "when", "timeout", "retry", "on_error", "recursion"})


def read_steps(
    table: Table, scope: Scope, parameters: tuple[Parameter, ...], index: Index, report: Report,
    changes: tuple[ChangeTrigger, ...] = (),
) -> tuple[Step, ...]:  # fmt: skip
    """The steps of a workflow, in order. Each sees the results of those before it under their ids; `changes` are its
    change triggers.
    """
    changed = {trigger.type for trigger in changes}
    changed_type = changed.pop() if len(changed) == 1 else None
    nodes = table.nodes("steps", "steps")
    if (count := sum(map(_count_steps, nodes))) > MAX_STEPS:
        report.error(table.key_place("steps"), f"a workflow may have {MAX_STEPS} steps, this one has {count}")
        return ()
    types_of_parameters = {parameter.name: parameter.type for parameter in parameters}
    return _Block(index, report, types_of_parameters, changed_type).read(nodes, scope)


def _count_steps(node: Node) -> int:
    """A step and those inside it."""
    if not isinstance(node, Mapping):
        return 1
    inside = [node.entries[key][1] for key in ("steps", "parallel") if key in node.entries]
    lists = [block for found in inside for block in (found, *children(found)) if isinstance(block, Sequence)]
    return 1 + sum(_count_steps(step) for block in lists for step in block.items)


@dataclass(slots=True)
class _Block:
    """Steps that stand in a list: those of a workflow, or those inside a step, which see what the steps before that one
    see. `results` and `kinds` are of the steps before, by id.
    """

    index: Index
    report: Report
    types_of_parameters: dict[str, FieldType]
    changed_type: str | None
    results: dict[str, str | None] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    coming: dict[str, Kind] = field(default_factory=dict)
    """Steps behind the one that is read of which something is known: `steps.<id>.link`, before it waits."""
    taken: frozenset[str] = frozenset()
    """The ids that authors have given to steps around, or before those."""
    depth: int = 0
    is_beside: bool = False
    """Its steps are performed beside those of other blocks."""
    last: Kind = ANYTHING
    """The kind of what the last step results in."""

    def read(self, nodes: tuple[Node, ...], scope: Scope) -> tuple[Step, ...]:
        """The steps, in order."""
        ids = [_id_of(node, position) for position, node in enumerate(nodes, 1)]
        linked = [id if _has_link(node) and not self.depth else None for node, id in zip(nodes, ids, strict=True)]
        steps: list[Step] = []
        for position, (node, id) in enumerate(zip(nodes, ids, strict=True)):
            table = Table(node, node.place, "a step", self.report)
            if id in ids[:position] or id in self.taken:
                hint = "ids are unique in a workflow"
                self.report.error(table.key_place("id"), f"two steps have the id {id!r}", hint)
            self.coming = {one: _LINK for one in linked[position + 1 :] if one is not None}
            reader = self._open(table, scope, frozenset(ids[position:]) - self.coming.keys(), ids)
            step = _read_step(reader, id)
            self.results[id] = reader.result_type
            self.kinds[id] = self.last = _kind_of_result(step, reader)
            if step is None:
                continue
            self._refuse_beside(step, table)
            if self.depth and _has_link(node):
                hint = "put it into a workflow, and trigger it in here"
                self.report.error(table.key_place("link"), "a link cannot lead to a step inside another one", hint)
            steps.append(step)
            if step.action in _ENDING and step.when is not None:  # what follows is reached when it does not hold
                scope = replace(scope, nullable=scope.nullable.where(step.when))
        return tuple(steps)

    def _open(self, table: Table, scope: Scope, later: frozenset[str], ids: list[str]) -> StepReader:
        members = {**scope.members, "steps": self.results.keys() | self.coming.keys()}
        known = {**scope.kinds, "steps": object_of({**self.coming, **self.kinds})}
        names = scope.names | {"steps", "state"}
        inner = Scope(names, members, later | scope.later_steps, kinds=known, nullable=scope.nullable)
        inner.things, inner.passwords = scope.things, scope.passwords
        reader = StepReader(
            table, inner, self.index, self.report, self.results, self.types_of_parameters, self.changed_type
        )
        reader.read_block = partial(self._read_inside, frozenset(id for id in ids if not _NUMBERED.fullmatch(id)))
        return reader

    def _read_inside(
        self, ids: frozenset[str], node: Node, name: str, scope: Scope, is_beside: bool
    ) -> tuple[tuple[Step, ...], Kind]:
        if not isinstance(node, Sequence) or not node.items:
            hint = "begin each with a dash" if isinstance(node, Mapping) else ""
            found = describe(node) if not isinstance(node, Sequence) else "an empty one"
            self.report.error(node.place, f"{name!r} is a list of steps, not {found}", hint)
            return (), ANYTHING
        if self.depth >= MAX_NESTED:
            hint = "put the inner ones into a workflow, and trigger it"
            self.report.error(node.place, f"steps may stand inside steps {MAX_NESTED} deep", hint)
            return (), ANYTHING
        inner = replace(
            self, results={**self.results}, kinds={**self.kinds}, taken=self.taken | ids, depth=self.depth + 1,
            is_beside=self.is_beside or is_beside, last=ANYTHING,
        )  # fmt: skip
        return inner.read(node.items, scope), inner.last

    def _refuse_beside(self, step: Step, table: Table) -> None:
        """What concerns the whole workflow would depend on which of the blocks is quicker."""
        if self.is_beside and step.action in _OF_THE_WHOLE:
            message = f"{step.action.value!r} cannot stand in steps that are performed beside others"
            hint = "use the results of the steps in a step behind them, or trigger a workflow in here"
            self.report.error(table.key_place(step.action.value), message, hint)


def _has_link(node: Node) -> bool:
    """Whether it is a `wait_for` that a link may end."""
    entries = node.entries if isinstance(node, Mapping) else {}
    link = entries["link"][1] if "link" in entries else None
    return StepAction.WAIT_FOR.value in entries and isinstance(link, Scalar) and link.value is True


def _kind_of_result(step: Step | None, reader: StepReader) -> Kind:
    if step is None:
        return ANYTHING
    kind = ACTIONS[step.action].result(reader)
    return or_error(kind) if step.on_error == "continue" else kind


def _id_of(node: Node, position: int) -> str:
    """The author's id, or `step<position>`. An `id` that is not a name belongs to the action (`get: order`, `id:
    "${…}"`).
    """
    if isinstance(node, Mapping) and "id" in node.entries:
        id_node = node.entries["id"][1]
        if isinstance(id_node, Scalar) and isinstance(id_node.value, str) and _STEP_ID.fullmatch(id_node.value):
            return id_node.value
    return f"step{position}"


def _read_step(reader: StepReader, id: str) -> Step | None:
    table, report = reader.table, reader.report
    action = _read_action(table, report)
    if action is None:
        return None
    if not (action is StepAction.GET and table.text("id") != id):
        _check_id(table, id, report)
    if _reports_misplaced(reader, action):
        return None
    when, scope = table.node("when"), reader.scope
    given = scope.nullable.where(when.text) if isinstance(when, Scalar) else scope.nullable
    reader.scope = replace(scope, is_kept=not ACTIONS[action].takes_secrets, nullable=given)
    target = read_target(reader, action)
    step = Step(
        id=id,
        action=action,
        target=target,
        arguments=read_arguments(reader, action),
        when=None if when is None else check_expression(when, "when", scope, report),
        timeout_seconds=table.seconds("timeout", is_zero_allowed=False),
        retry=read_retries(table, "retry"),
        on_error=_read_on_error(table),
        recursion=_read_reason(table),
        blocks=reader.blocks,
        place=str(table.place),
    )
    table.close(_explain_key)
    return step.model_copy(update={"lookups": scope.lookups.gathered()})


def _reports_misplaced(reader: StepReader, action: StepAction) -> bool:
    """Whether the arguments stand below the action instead of beside it."""
    node = reader.table.node(action.value)
    if not isinstance(node, Mapping) or action in _TAKING_MAPPINGS:
        return False
    below = [key for key in node.entries if key in {*ACTIONS[action].arguments, "to", "url", "type", "workflow"}]
    if below:
        message = f"{' and '.join(map(repr, below))}: the arguments of {action.value!r} stand beside it, not below it"
        reader.report.error(node.place, message, f"write {action.value}: …, and below it, in its column, its arguments")
    return bool(below)


def _explain_key(key: str) -> str:
    return "it belongs to the workflow, so begin it in the first column" if key in _OF_WORKFLOWS else ""


def _check_id(table: Table, id: str, report: Report) -> None:
    node = table.node("id")
    if node is not None and not (isinstance(node, Scalar) and node.value == id):
        written = node.text if isinstance(node, Scalar) else "this"
        report.error(
            node.place,
            f"{written!r} cannot be the id of a step",
            "use letters, digits and _, so that steps.<id> works in expressions",
        )


def _read_on_error(table: Table) -> Literal["fail", "continue"]:
    return "continue" if table.one_of("on_error", ["fail", "continue"]) == "continue" else "fail"


def _read_reason(table: Table) -> str | None:
    """Why a recursion through the step ends, in the author's words."""
    reason = table.text("recursion")
    if reason is not None and not reason.strip():
        table.report.error(table.key_place("recursion"), "'recursion' is empty", "say why the recursion ends")
    return reason


def _read_action(table: Table, report: Report) -> StepAction | None:
    """The action a step performs: the one key that names an action."""
    named = [key for key in table.written if key in _ACTIONS]
    if not named:
        _report_no_action(table, report)
        return None
    if len(named) > 1:
        report.error(
            table.key_place(named[1]),
            f"a step does one thing, and this one names {' and '.join(named)}",
            "make two steps of it",
        )
        return None
    return StepAction(named[0])


def _report_no_action(table: Table, report: Report) -> None:
    for key in table.written:
        if key in UNAVAILABLE["action"] and refuse_unavailable(report, table.key_place(key), "action", key):
            return
    unknown = [key for key in table.written if key not in _SHARED_KEYS and key not in _ARGUMENTS]
    named = next((key for key in table.written if table.peek(key) in _ACTIONS), None)
    called = next((key for key in table.written if key not in _SHARED_KEYS and hint_for_action(key)), None)
    if named is not None:
        hint = f"write {table.peek(named)}: …"
        report.error(table.key_place(named), f"the action is a key itself, not the value of {named!r}", hint)
    elif called is not None:
        report.unknown(table.key_place(called), "action", called, _ACTIONS, hint_for_action(called))
    elif unknown:
        report.unknown(table.key_place(unknown[0]), "action", unknown[0], _ACTIONS | UNAVAILABLE["action"])
    elif table.written:
        first, hint = table.written[0], f"it needs one of {', '.join(sorted(_ACTIONS))}"
        if first not in _SHARED_KEYS:
            hint = f"if {first!r} belongs to the step above, remove the dash before it"
        report.error(table.place, "this step has no action", hint)
    elif table.is_mapping:
        report.error(table.place, "this step is empty", f"it needs one of {', '.join(sorted(_ACTIONS))}")
