"""What the Python of an app schedules and changes, read from its source without running it: steps like those of YAML.

A call counts where its method is called on the context: the first parameter of a workflow or action, or the parameter
under which a function of the app was given it. A call below an `if`, in a loop, or after a line that may leave the
function is under a condition. A workflow that is not named by a literal may be any workflow.

What is not seen: changes of things whose type stands nowhere (`ctx.update(thing, …)` of a thing that came as a value),
and contexts kept in other objects. The depth limit holds for those as for everything.
"""

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue

from penstock.definitions.models import Step, StepAction
from penstock.reading.lints.python_sources import Function, Sources, Text, argument, literal, method_on
from penstock.sdk.code import Code

ANY_WORKFLOW: Final = None
"""The target of a step that schedules a workflow which the source does not name."""
UNDER_CONDITION: Final = "a condition in Python"
UNKNOWN: Final = "${python}"
"""Stands for a value, or for all fields, that only the running code knows."""
_STARTING: Final = {
    "schedule": StepAction.SCHEDULE,
    "schedule_list": StepAction.SCHEDULE_LIST,
    "schedule_for_each": StepAction.SCHEDULE_LIST,
    "trigger": StepAction.TRIGGER,
}
_CHANGING: Final = {
    "create": (StepAction.CREATE, 1),
    "create_many": (StepAction.CREATE_MANY, None),
    "update": (StepAction.UPDATE, 1),
    "update_many": (StepAction.UPDATE_MANY, 2),
    "delete": (StepAction.DELETE, None),
    "delete_many": (StepAction.DELETE_MANY, None),
    "import_": (StepAction.IMPORT, None),
}
"""The step, and the position of the values it sets; None where they are not written in one place."""
_OF_A_THING: Final = frozenset({"update", "delete"})
_GIVING_THINGS: Final = frozenset({"create", "get"})
_REASON: Final = re.compile(r"#\s*recursion:\s*(\S.*?)\s*$")
_MAX_DEPTH: Final = 20
"""Functions that call each other are followed so far."""
_CONDITIONAL: Final = (
    ast.If, ast.IfExp, ast.While, ast.For, ast.AsyncFor, ast.ExceptHandler, ast.match_case, ast.BoolOp, ast.Lambda,
    ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.FunctionDef, ast.AsyncFunctionDef,
)  # fmt: skip
_LEAVING: Final = (ast.Return, ast.Raise, ast.Break, ast.Continue, ast.Assert)


def read_code_steps(code: Code) -> dict[str, tuple[Step, ...]]:
    """For each workflow (`module:function`) and action (`module.function`), the steps that its source asks for."""
    sources = Sources(code.directory)
    callees = {**code.workflows, **code.actions}
    return {name: tuple(_Reader(sources).read(callee.function)) for name, callee in callees.items()}


@dataclass(slots=True)
class _Reader:
    """Reads one workflow's or action's function, and those it hands its context to."""

    sources: Sources
    seen: set[tuple[str, int]] = field(default_factory=set)

    def read(self, function: Callable[..., object], position: int = 0, *, is_guarded: bool = False) -> Iterator[Step]:
        """The steps of `function`, whose context is its parameter at `position`."""
        text = self.sources.find(function)
        if text is None or (text.file, text.node.lineno) in self.seen or len(self.seen) >= _MAX_DEPTH:
            return
        self.seen.add((text.file, text.node.lineno))
        parameters = [*text.node.args.posonlyargs, *text.node.args.args]
        if position >= len(parameters):
            return
        context, types = parameters[position].arg, _types_of_names(text.node, parameters[position].arg)
        for call, is_conditional in _calls_in(text.node):
            if step := _step_of(call, context, types, text, is_guarded or is_conditional):
                yield step
            elif (given := _position_of(call, context)) is not None:
                yield from self._follow(function, call, given, is_guarded or is_conditional)

    def _follow(
        self, function: Callable[..., object], call: ast.Call, position: int, is_guarded: bool
    ) -> Iterator[Step]:
        scope: object = getattr(inspect.unwrap(function), "__globals__", {})
        called: object = None
        if isinstance(call.func, ast.Name) and isinstance(scope, dict):
            called = scope.get(call.func.id)
        elif isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) and isinstance(scope, dict):
            called = getattr(scope.get(call.func.value.id), call.func.attr, None)
        if inspect.isfunction(called):
            yield from self.read(called, position, is_guarded=is_guarded)


def _calls_in(function: Function) -> Iterator[tuple[ast.Call, bool]]:
    """Every call in the body, in order, and whether something decides that it is reached."""
    may_have_left = False
    for statement in function.body:
        yield from _calls_below(statement, is_guarded=may_have_left)
        may_have_left = may_have_left or _may_leave(statement)


def _calls_below(node: ast.AST, *, is_guarded: bool) -> Iterator[tuple[ast.Call, bool]]:
    if isinstance(node, ast.Call):
        yield node, is_guarded
    is_guarded = is_guarded or isinstance(node, _CONDITIONAL)
    for child in ast.iter_child_nodes(node):
        yield from _calls_below(child, is_guarded=is_guarded)
        if isinstance(child, ast.stmt) and _may_leave(child):
            is_guarded = True


def _may_leave(statement: ast.stmt) -> bool:
    """Whether what follows may not be reached, after a return, a raise, an assertion, or `ctx.stop`."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    for node in ast.walk(statement):
        if isinstance(node, _LEAVING):
            return True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"stop", "fail"}:
            return True
    return False


def _step_of(call: ast.Call, context: str, types: Mapping[str, str], text: Text, is_guarded: bool) -> Step | None:
    """The step that a call on the context is, if it is one that starts or changes something."""
    method = method_on(call, context)
    when, place = UNDER_CONDITION if is_guarded else None, f"{text.file}:{call.lineno}"
    reason = _reason_of(call, text.lines)
    if method in _STARTING:
        name = literal(argument(call, 0, "workflow"))
        target = name if isinstance(name, str) else ANY_WORKFLOW
        action = _STARTING[method]
        return Step(id=place, action=action, target=target, when=when, place=place, recursion=reason)
    if method in _CHANGING:
        action, values = _CHANGING[method]
        kind = _type_changed(call, method, types)
        if kind is None:
            return None
        arguments: dict[str, JsonValue] = {"set": _values_of(call, values)}
        if argument(call, 99, "upsert") is not None:
            arguments["upsert"] = [UNKNOWN]
        if method in _OF_A_THING:
            arguments["type"] = kind
            arguments |= {name: UNKNOWN for name in ("add", "remove") if argument(call, 99, name) is not None}
        return Step(id=place, action=action, target=kind, arguments=arguments, when=when, place=place, recursion=reason)
    return None


def _type_changed(call: ast.Call, method: str, types: Mapping[str, str]) -> str | None:
    if method not in _OF_A_THING:
        name = literal(argument(call, 0, "type"))
        return name if isinstance(name, str) else None
    name = literal(argument(call, 99, "type"))
    thing = argument(call, 0, "thing")
    if isinstance(name, str):
        return name
    return types.get(thing.id) if isinstance(thing, ast.Name) else None


def _values_of(call: ast.Call, position: int | None) -> JsonValue:
    """The values a call sets: those that are literals as they are, UNKNOWN for others, or for all of them."""
    if position is None:
        return UNKNOWN
    given = argument(call, position, "values")
    if given is None:
        return {}
    if not isinstance(given, ast.Dict):
        return UNKNOWN
    values: dict[str, JsonValue] = {}
    for key, value in zip(given.keys, given.values, strict=True):
        name = None if key is None else literal(key)
        if not isinstance(name, str):
            return UNKNOWN
        known = literal(value)
        is_null = isinstance(value, ast.Constant) and value.value is None
        values[name] = None if is_null else known if isinstance(known, str | int | float) else UNKNOWN
    return values


def _types_of_names(function: Function, context: str) -> dict[str, str]:
    """The data types of the names that hold what `ctx.create("type", …)` or `ctx.get("type", …)` gave."""
    types: dict[str, str] = {}
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Await):
            continue
        call, targets = node.value.value, node.targets
        if isinstance(call, ast.Call) and method_on(call, context) in _GIVING_THINGS:
            kind = literal(argument(call, 0, "type"))
            if isinstance(kind, str) and len(targets) == 1 and isinstance(targets[0], ast.Name):
                types[targets[0].id] = kind
    return types


def _position_of(call: ast.Call, context: str) -> int | None:
    """Where a call hands on the context, among its positional arguments."""
    for position, given in enumerate(call.args):
        if isinstance(given, ast.Name) and given.id == context:
            return position
    return None


def _reason_of(call: ast.Call, lines: list[str]) -> str | None:
    """The author's reason in a comment `# recursion: …` on a line of the call."""
    for line in lines[call.lineno - 1 : call.end_lineno]:
        if match := _REASON.search(line):
            return match[1]
    return None
