"""The source of an app's Python functions as syntax trees, and what calls in them say."""

import ast
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Text:
    """One function's syntax tree, with the lines of its file."""

    node: Function
    lines: list[str]
    file: str


class Sources:
    """The files of the app directory, each parsed once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._files: dict[Path, tuple[ast.Module, list[str]] | None] = {}

    def find(self, function: Callable[..., object]) -> Text | None:
        """The source of a function of the app; None for one that stands elsewhere or cannot be read."""
        code = inspect.unwrap(function).__code__
        path = Path(code.co_filename).resolve()
        if not path.is_relative_to(self._directory):
            return None
        parsed = self._parse(path)
        if parsed is None:
            return None
        tree, lines = parsed
        for node in ast.walk(tree):
            if isinstance(node, Function) and node.name == code.co_name:
                first = min((one.lineno for one in node.decorator_list), default=node.lineno)
                if first <= code.co_firstlineno <= node.lineno:
                    return Text(node, lines, path.relative_to(self._directory).as_posix())
        return None

    def _parse(self, path: Path) -> tuple[ast.Module, list[str]] | None:
        if path not in self._files:
            try:
                text = path.read_text()
                self._files[path] = ast.parse(text), text.splitlines()
            except (OSError, ValueError, SyntaxError, RecursionError):
                self._files[path] = None
        return self._files[path]


def method_on(call: ast.Call, context: str) -> str:
    """The method that a call calls on the name `context`; empty for other calls."""
    func = call.func
    is_ours = isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and func.value.id == context
    return func.attr if is_ours and isinstance(func, ast.Attribute) else ""


def argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    """The argument of that name, or at that position; None when it is not given."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    return call.args[position] if position < len(call.args) else None


def literal(node: ast.expr | None) -> object:
    """The value of an expression that is a literal, else None."""
    try:
        return None if node is None else ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
