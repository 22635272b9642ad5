"""Finds slips in an author's Python that only a run would show: steps that are not awaited, methods and options that a
context does not have, and names of workflows, data types and fields that do not exist.

All are warnings: what a function does is read from its source, and it may do something else. Only what is called on the
first parameter of a workflow or an action is looked at.
"""

import ast
import inspect
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Final

from penstock.definitions.fields import BUILT_IN_FIELDS, find_field
from penstock.definitions.models import DataType, Parameter
from penstock.expressions.tokens import did_you_mean
from penstock.reading.index import Index
from penstock.reading.lints.python_sources import Sources, Text, literal, method_on
from penstock.reading.places import Problem, Severity
from penstock.sdk.code import Code
from penstock.sdk.context import Context
from penstock.sdk.engine import StepOptions

_NO_STEPS: Final = frozenset({"do", "outgoing_headers"})
_STEPS: Final = frozenset(name for name in dir(Context) if not name.startswith("_")) - _NO_STEPS
_MEMBERS: Final = frozenset(dir(Context)) | frozenset(Context.__init__.__code__.co_names)  # those that __init__ sets
_OPTIONS: Final = frozenset(StepOptions.__annotations__)
_ELSEWHERE: Final[Mapping[str, str]] = {
    "sleep": "wait", "print": "log", "info": "logger.info", "warn": "logger.warning", "execute_activity": "step",
    "run_action": "step", "execute": "step", "start": "schedule", "start_workflow": "schedule", "delay": "schedule",
    "enqueue": "schedule", "save": "update", "insert": "create", "query": "find", "search": "find", "mail": "email",
    "send_email": "email", "import": "import_", "raise_": "fail", "set_state": "state", "wait_for_signal": "wait_for",
    "parameters": "params", "inputs": "params", "execute_child_workflow": "trigger", "call_activity": "step",
}  # fmt: skip
_SLEEPING: Final = frozenset({"time.sleep", "asyncio.sleep"})


def find_slips(code: Code, index: Index) -> Iterator[Problem]:
    """What is likely wrong with the workflows and actions of an app."""
    sources = Sources(code.directory)
    functions = {callee.function for callee in (*code.workflows.values(), *code.actions.values())}
    for function in functions:
        text = sources.find(function)
        parameters = [] if text is None else [*text.node.args.posonlyargs, *text.node.args.args]
        if text is not None and parameters and not _is_bound_again(text, parameters[0].arg):
            names = getattr(inspect.unwrap(function), "__globals__", {})
            yield from _Reader(text, parameters[0].arg, names, index).read()


def _is_bound_again(text: Text, context: str) -> bool:
    stored = (node for node in ast.walk(text.node) if isinstance(node, ast.Name) and node.id == context)
    return any(not isinstance(node.ctx, ast.Load) for node in stored)


class _Reader:
    """Reads one function, whose first parameter is called `context`; `names` are those of its module."""

    def __init__(self, text: Text, context: str, names: Mapping[str, object], index: Index) -> None:
        self.text = text
        self.names = names
        self.context = context
        self.index = index

    def read(self) -> Iterator[Problem]:
        for node in ast.walk(self.text.node):
            if isinstance(node, ast.Attribute):
                yield from self.member(node)
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                yield from self.statement(node.value)
            elif isinstance(node, ast.Assign):
                yield from self.assignment(node)
            if isinstance(node, ast.Call):
                yield from self.call(node)

    def warn(self, node: ast.expr, message: str, hint: str) -> Problem:
        file, line, column = self.text.file, node.lineno, node.col_offset + 1
        return Problem(file, line, column, message, Severity.WARNING, hint.removeprefix("; "), is_exact=True)

    def member(self, node: ast.Attribute) -> Iterator[Problem]:
        is_ours = isinstance(node.value, ast.Name) and node.value.id == self.context
        if is_ours and node.attr not in _MEMBERS and not node.attr.startswith("_"):
            other = _ELSEWHERE.get(node.attr)
            hint = f"write {self.context}.{other}" if other else did_you_mean(node.attr, _STEPS)
            yield self.warn(node, f"{self.context} has no {node.attr!r}", hint)

    def statement(self, call: ast.Call) -> Iterator[Problem]:
        """A step that is called and neither awaited nor kept."""
        method = method_on(call, self.context)
        if method in _STEPS:
            message = f"{self.context}.{method}(…) is not awaited, so it is never performed"
            yield self.warn(call, message, self.awaited(f"{self.context}.{method}(…)"))

    def awaited(self, written: str) -> str:
        is_async = isinstance(self.text.node, ast.AsyncFunctionDef)
        return f"write await {written}" if is_async else f"write {self.context}.do({written})"

    def assignment(self, node: ast.Assign) -> Iterator[Problem]:
        """`order = ctx.create(…)` without await, of which members are read."""
        value, target = node.value, node.targets[0]
        if not isinstance(value, ast.Call) or not isinstance(target, ast.Name):
            return
        method = method_on(value, self.context)
        if method in _STEPS and self.is_only_looked_into(target.id):
            message = f"{target.id} is a step that is not awaited, not its result"
            yield self.warn(value, message, self.awaited(f"{self.context}.{method}(…)"))

    def is_only_looked_into(self, name: str) -> bool:
        looked = {
            id(node.value)
            for node in ast.walk(self.text.node)
            if isinstance(node, ast.Attribute | ast.Subscript | ast.FormattedValue)
        }
        uses = [node for node in ast.walk(self.text.node) if isinstance(node, ast.Name) and node.id == name]
        loads = [node for node in uses if isinstance(node.ctx, ast.Load)]
        return bool(loads) and len(uses) - len(loads) == 1 and all(id(node) in looked for node in loads)

    def call(self, call: ast.Call) -> Iterator[Problem]:
        method = method_on(call, self.context)
        called = ast.unparse(call.func) if isinstance(call.func, ast.Attribute) else ""
        if called in _SLEEPING:
            message = f"{called} keeps the run's place, and begins again when the run is tried again"
            yield self.warn(call, message, self.awaited(f"{self.context}.wait('5m')"))
        if method == "step":
            yield from self.function(call)
        elif method in _STEPS:
            yield from self.step(call, method)

    def function(self, call: ast.Call) -> Iterator[Problem]:
        """`ctx.step("price", fetch())`, which calls the function before the step, and options that it passes on."""
        given = call.args[1] if len(call.args) > 1 else None
        if isinstance(given, ast.Call):
            hint = f"write {self.context}.step('name', function, argument), without calling it"
            yield self.warn(given, "a step is given a function, and this is what it returns", hint)
        called = self.names.get(given.id) if isinstance(given, ast.Name) else None
        for keyword in call.keywords if inspect.isfunction(called) else ():
            taken = inspect.signature(called).parameters.values() if inspect.isfunction(called) else ()
            is_taken = any(one.name == keyword.arg or one.kind is inspect.Parameter.VAR_KEYWORD for one in taken)
            if keyword.arg in {"retry", "retries", "timeout", "attempts"} and not is_taken:
                message = f"{self.context}.step passes {keyword.arg!r} to the function, which does not take it"
                yield self.warn(keyword.value, message, "write @app.workflow(retries=…) for the whole workflow")

    def step(self, call: ast.Call, method: str) -> Iterator[Problem]:
        known = _parameters_of(method)
        for keyword in call.keywords:
            if keyword.arg is not None and keyword.arg not in {*known, *_OPTIONS}:
                message = f"{self.context}.{method}(…) takes no {keyword.arg!r}"
                yield self.warn(keyword.value, message, did_you_mean(keyword.arg, {*known, *_OPTIONS}))
        given = dict(zip(known, call.args, strict=False)) | {one.arg: one.value for one in call.keywords if one.arg}
        name, type_name = given.get("workflow"), given.get("type")
        if name is not None and isinstance(workflow := literal(name), str):
            yield from self.workflow(name, workflow, given.get("parameters"))
        if type_name is not None and isinstance(data_type := literal(type_name), str):
            found = self.index.types.get(data_type)
            if found is None:
                hint = did_you_mean(data_type, self.index.types)
                yield self.warn(type_name, f"unknown data type {data_type!r}", hint)
                return
            for key in ("values", "where", "add", "remove"):
                yield from self.fields(found, given.get(key))

    def workflow(self, node: ast.expr, name: str, given: ast.expr | None) -> Iterator[Problem]:
        parameters = self.index.workflows.get(name)
        if parameters is None:
            yield self.warn(node, f"unknown workflow {name!r}", did_you_mean(name, self.index.workflows))
        elif given is None or isinstance(given, ast.Dict):
            yield from self.parameters(node, name, parameters, given)

    def parameters(
        self, node: ast.expr, name: str, parameters: tuple[Parameter, ...], given: ast.Dict | None
    ) -> Iterator[Problem]:
        keys = [] if given is None else given.keys
        names = [key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
        known = [parameter.name for parameter in parameters]
        for key in keys:
            if isinstance(key, ast.Constant) and isinstance(key.value, str) and key.value not in known:
                hint = did_you_mean(key.value, known) or f"there are {', '.join(known) or 'none'}"
                yield self.warn(key, f"the workflow {name!r} has no parameter {key.value!r}", hint)
        missing = [one.name for one in parameters if not one.is_optional and one.name not in names]
        if missing and len(names) == len(keys):
            shown = ", ".join(repr(one) for one in missing)
            yield self.warn(node, f"the workflow {name!r} requires {shown}", "give it in the parameters")

    def fields(self, data_type: DataType, given: ast.expr | None) -> Iterator[Problem]:
        for key in given.keys if isinstance(given, ast.Dict) else ():
            if isinstance(key, ast.Constant) and isinstance(key.value, str) and not find_field(data_type, key.value):
                hint = did_you_mean(key.value, _field_names(data_type))
                yield self.warn(key, f"{data_type.name!r} has no field {key.value!r}", hint)


def _field_names(data_type: DataType) -> Collection[str]:
    return [field.name for field in (*data_type.fields, *BUILT_IN_FIELDS)]


@cache
def _parameters_of(method: str) -> tuple[str, ...]:
    """The names of a step's own parameters, in order."""
    found = inspect.signature(getattr(Context, method)).parameters.values()
    return tuple(one.name for one in found if one.name != "self" and one.kind is not inspect.Parameter.VAR_KEYWORD)
