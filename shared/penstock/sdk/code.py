"""The code of an app directory: its functions by name, with their signatures, as an executor calls them."""

import asyncio
import inspect
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from penstock.errors import Permanent
from penstock.sdk.app import App, WorkflowOptions
from penstock.sdk.modules import ImportProblem, import_modules
from penstock.sdk.signature import Function, Signature, SignatureProblem, read_signature


class Callee(NamedTuple):
    """A function that may be called for a run: `name` is `module:function` of a workflow, `module.function` of an
    action.
    """

    name: str
    function: Function
    signature: Signature
    is_async: bool


@dataclass(frozen=True, slots=True)
class Code:
    """What the modules of one directory hold. `options` are those of the workflows, by the same name."""

    directory: Path
    modules: frozenset[str]
    workflows: Mapping[str, Callee]
    actions: Mapping[str, Callee]
    options: Mapping[str, tuple[WorkflowOptions, ...]]

    def find(self, name: str) -> Callee | None:
        """The workflow `module:function`, or the action `module.function`."""
        return self.workflows.get(name) or self.actions.get(name)


def read_code(directory: Path, names: Sequence[str]) -> tuple[Code, list[tuple[str, ImportProblem]]]:
    """Import the modules and look at what they registered; problems come with the name of the module they belong to."""
    apps, problems = import_modules(directory, names)
    workflows: dict[str, Callee] = {}
    actions: dict[str, Callee] = {}
    options: dict[str, tuple[WorkflowOptions, ...]] = {}
    for app in apps:
        _read_workflows(directory, app, workflows, options, problems)
        for function in app.actions:
            name = f"{function.__module__}.{function.__qualname__}"
            callee = _read_function(directory, name, function, problems)
            if callee is not None:
                actions[name] = callee
    return Code(directory, frozenset(names), workflows, actions, options), problems


def _read_workflows(
    directory: Path, app: App, workflows: dict[str, Callee], options: dict[str, tuple[WorkflowOptions, ...]],
    problems: list[tuple[str, ImportProblem]],
) -> None:  # fmt: skip
    for function, chosen in app.workflows:
        name = f"{function.__module__}:{function.__qualname__}"
        if name not in workflows:
            callee = _read_function(directory, name, function, problems)
            if callee is None:
                continue
            workflows[name] = callee
        options[name] = (*options.get(name, ()), chosen)


def _read_function(
    directory: Path, name: str, function: Function, problems: list[tuple[str, ImportProblem]]
) -> Callee | None:  # fmt: skip
    try:
        return Callee(name, function, read_signature(function), inspect.iscoroutinefunction(function))
    except SignatureProblem as problem:
        file, line = where(directory, function)
        problems.append((function.__module__, ImportProblem(file, line, f"{function.__qualname__}: {problem}")))
        return None


def where(directory: Path, function: Function) -> tuple[str, int]:
    """File, relative to the directory, and line of a function."""
    code = inspect.unwrap(function).__code__
    file = Path(code.co_filename)
    return (
        file.relative_to(directory).as_posix() if file.is_relative_to(directory) else str(file)
    ), code.co_firstlineno


_LOADED: Final[dict[Path, Code]] = {}
_LOADING: Final = threading.Lock()


def keep_code(code: Code) -> None:
    """From now on this is the code of its directory in this process: what the loader found good."""
    _LOADED[code.directory] = code


async def find_callee(directory: Path, modules: Sequence[str], name: str) -> Callee | None:
    """The function of that name in the code of a directory, which is imported if it is not yet; None when there is no
    such function.

    `modules` are those of the app's version that asks: an older one, perhaps, of which not all are there any more, and
    not all needed. Raises Permanent naming what cannot be imported.
    """
    known = _LOADED.get(directory)
    callee = None if known is None else known.find(name)
    if callee is None and (known is None or not known.modules.issuperset(modules)):
        callee = (await asyncio.to_thread(_load, directory, modules)).find(name)
    return callee


def _load(directory: Path, modules: Sequence[str]) -> Code:
    with _LOADING:
        known = _LOADED.get(directory)
        if known is not None and known.modules.issuperset(modules):
            return known
        wanted = [*(known.modules if known is not None else ()), *modules]
        code, problems = read_code(directory, list(dict.fromkeys(wanted)))
        if problems:
            told = "; ".join(problem.show(name) for name, problem in problems)
            raise Permanent(f"the app's Python in {directory} cannot be imported by this executor: {told}", kind="code")
        keep_code(code)
        return code
