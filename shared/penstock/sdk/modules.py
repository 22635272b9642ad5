"""Imports an author's modules from an app directory, and keeps what was imported last, for the runs of this process.

Modules are imported again each time the app is loaded, so that a changed file counts; runs that use what was imported
before continue to do so. Nothing is written beside the sources: Python takes a compiled file for current if
the source has the same second and size.
"""

import importlib
import inspect
import os
import re
import sys
import threading
import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Final, NamedTuple

from penstock.expressions.tokens import did_you_mean
from penstock.sdk.app import App

_IMPORTING: Final = threading.RLock()
_IMPORTED: Final[set[str]] = set()
"""The modules in app directories that were imported with the last apps: these are imported again, and none that was
there before.
"""
_OURS: Final = "penstock"


class ImportProblem(NamedTuple):
    """What is wrong with an author's module: in which file (relative to the directory), if it is one of theirs, and on
    which line.
    """

    file: str | None
    line: int | None
    message: str

    def show(self, module: str) -> str:
        """`shop/workflows.py:12: …`; without a place, the module's name."""
        place = self.file or module
        return f"{place}:{self.line}: {self.message}" if self.line else f"{place}: {self.message}"


def import_modules(directory: Path, names: Sequence[str]) -> tuple[list[App], list[tuple[str, ImportProblem]]]:
    """All `App`s of the modules, each once, and the problems by the name of the module that has them."""
    found: dict[int, App] = {}
    problems: list[tuple[str, ImportProblem]] = []
    with _IMPORTING, _importing_from(directory):
        _forget(directory, {name.partition(".")[0] for name in names})
        before = set(sys.modules)
        for name in names:
            imported = _import(directory, name)
            if isinstance(imported, ImportProblem):
                problems.append((name, imported))
                continue
            apps = {id(value): value for value in vars(imported).values() if isinstance(value, App)}
            if not apps:
                file = _relative(directory, getattr(imported, "__file__", None))
                problems.append(
                    (
                        name,
                        ImportProblem(
                            file, 1, "this module has no App; begin with `from penstock import App` and `app = App()`"
                        ),
                    )
                )
            found |= apps
        new = {name: module for name, module in sys.modules.items() if name not in before}
        _IMPORTED.update(
            name for name, module in new.items() if _relative(directory, getattr(module, "__file__", None)) is not None
        )
    return list(found.values()), problems


def find_place(directory: Path, trace: TracebackType | None) -> tuple[str, int] | None:
    """The innermost line of an author's file in a traceback; None when there is none."""
    places = [(_relative(directory, frame.filename), frame.lineno) for frame in traceback.extract_tb(trace)]
    own = [(file, line) for file, line in places if file is not None and line is not None]
    return own[-1] if own else None


def show_trace(directory: Path, error: BaseException) -> str:
    """The traceback of an error from the first line of an author's file on; without the values of variables."""
    frames = traceback.extract_tb(error.__traceback__)
    first = next((index for index, frame in enumerate(frames) if _relative(directory, frame.filename) is not None), 0)
    return "".join(traceback.format_list(frames[first:]))


def show_place(directory: Path, file: str, line: int) -> str:
    """`shop/workflows.py:12`, for a file of the app's; others by their whole path."""
    return f"{_relative(directory, file) or file}:{line}"


def _import(directory: Path, name: str) -> ModuleType | ImportProblem:
    top = name.partition(".")[0]
    if top == _OURS or (top in sys.stdlib_module_names and _stands_in(directory, top)):
        return ImportProblem(None, None, f"{top!r} is the name of a module of Python or Penstock; rename yours")
    try:
        return importlib.import_module(name)
    except SyntaxError as error:
        return ImportProblem(_relative(directory, error.filename), error.lineno, f"{type(error).__name__}: {error.msg}")
    except ModuleNotFoundError as error:
        if (
            find_place(directory, error.__traceback__) is None
            and error.name is not None
            and f"{name}.".startswith(f"{error.name}.")
        ):
            where = name.replace(".", "/")
            return ImportProblem(
                None, None, f"there is no module {name!r}: neither {where}.py in {directory} nor an installed one"
            )
        return _problem(directory, error)
    except (Exception, SystemExit) as error:
        return _problem(directory, error)


def _problem(directory: Path, error: BaseException) -> ImportProblem:
    file, line = find_place(directory, error.__traceback__) or (None, None)
    return ImportProblem(file, line, _explain_decorator(error) or f"{type(error).__name__}: {error}")


def _explain_decorator(error: BaseException) -> str:
    """What is wrong with `@app.workflow` or `@app.action` as an author wrote it; empty for every other error."""
    text = str(error) if isinstance(error, TypeError) else ""
    if text.startswith("App.action() "):
        return "write @app.action without brackets; it takes no options"
    if not text.startswith("App.workflow() "):
        return ""
    match = re.search(r"unexpected keyword argument '(\w+)'", text)
    if match is None:
        return "write @app.workflow() with brackets, and each option by its name"
    known = [name for name in inspect.signature(App.workflow).parameters if name != "self"]
    hint = did_you_mean(match[1], known) or f"; it takes {', '.join(known)}"
    return f"@app.workflow(…) takes no {match[1]!r}{hint}"


@contextmanager
def _importing_from(directory: Path) -> Iterator[None]:
    """The directory comes first while its modules are imported, and last from then on, for imports inside of
    functions.
    """
    entry, writes_none = str(directory), sys.dont_write_bytecode
    sys.path[:] = [entry, *(path for path in sys.path if path != entry)]
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.dont_write_bytecode = writes_none
        sys.path.remove(entry)
        sys.path.append(entry)


def _forget(directory: Path, tops: Collection[str]) -> None:
    """Let what was imported with an app be imported again, and what has the names of this one's modules and comes from
    elsewhere.
    """
    shadowed = {
        top for top in tops if _stands_in(directory, top) and top not in sys.stdlib_module_names and top != _OURS
    }
    for name in list(sys.modules):
        if name in _IMPORTED or name.partition(".")[0] in shadowed:
            del sys.modules[name]
    _IMPORTED.clear()


def _stands_in(directory: Path, top: str) -> bool:
    return (directory / f"{top}.py").is_file() or (directory / top).is_dir()


def _relative(directory: Path, file: str | None) -> str | None:
    """The file's name relative to the directory; None for one that is elsewhere, as installed packages in a `.venv`
    there are.
    """
    if not file:
        return None
    inside = os.path.relpath(file, directory)
    is_elsewhere = inside.startswith("..") or "site-packages" in Path(inside).parts
    return None if is_elsewhere else Path(inside).as_posix()
