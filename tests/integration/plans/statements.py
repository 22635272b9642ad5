"""Every statement that the product sends, read out of its source: nothing has to be performed to know them.

A statement that is put together inside of a function cannot be read so. `UNREAD` counts those; the ones that are about
tables of ours are kept in constants, and `_list_made` has them.
"""

import ast
import importlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from penstock.domain.states import RunState
from penstock.runs.admission import rows as admission
from penstock.runs.views import chains as chain_views
from penstock.runs.views import finding, folded, pictures, runs
from penstock.runs.views.logs import statements as logs
from penstock_executor.repository import commits
from penstock_executor.runs import Commit, Ending
from penstock_scheduler.repository import aging

ROOTS: Final = tuple(Path(__file__).parents[3] / name for name in ("shared", "services"))
VERBS: Final = frozenset({"fetch", "fetchrow", "fetchval", "execute"})
CONNECTIONS: Final = frozenset({"conn", "connection"})
KIT: Final = "penstock/testing/"
"""Whatever the test kit asks, it asks databases of tests."""
UNREAD: Final = {
    "penstock/deploying.py": 1,
    "penstock/runs/admission/rows.py": 1,
    "penstock/runs/views/logs/pages.py": 1,
    "penstock/runs/views/chains.py": 1,
    "penstock/runs/views/runs.py": 1,
    "penstock_executor/repository/commits.py": 1,
    "penstock_scheduler/repository/aging.py": 3,
}
"""How many statements of each file cannot be read. Those about tables of ours are in `_list_made`."""
_OF_APPS: Final = ("penstock/things/", "penstock/db/")
"""Rooms whose statements are about tables of apps, or make tables."""


class Statement(NamedTuple):
    """A statement and where it is sent."""

    place: str
    text: str


class Sent(NamedTuple):
    """A call that sends a statement; `text` is None when it cannot be read out of the source."""

    file: str
    line: int
    text: str | None


def list_sent() -> Iterator[Sent]:
    """All calls in the product that send a statement, but for those of the test kit."""
    for root in ROOTS:
        for path in sorted(root.rglob("*.py")):
            file = path.relative_to(root).as_posix()
            if not file.startswith(KIT):
                for call in _list_calls(ast.parse(path.read_text("utf-8"))):
                    yield Sent(file, call.lineno, _read(file, call.args[0]))


def list_statements() -> list[Statement]:
    """Every statement about tables of ours that can be planned."""
    read = [Statement(f"{sent.file}:{sent.line}", sent.text) for sent in list_sent() if sent.text is not None]
    return [*(statement for statement in read if _is_planned(statement.text)), *_list_made()]


def count_unread() -> Counter[str]:
    """By file, how many statements cannot be read, but for those about tables of apps."""
    return Counter(sent.file for sent in list_sent() if sent.text is None and not sent.file.startswith(_OF_APPS))


def _list_calls(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            of = node.func.value
            if node.func.attr in VERBS and isinstance(of, ast.Name) and of.id in CONNECTIONS:
                yield node


def _read(file: str, argument: ast.expr) -> str | None:
    module = importlib.import_module(file.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    try:
        value = eval(compile(ast.Expression(argument), file, "eval"), dict(vars(module)))
    except NameError:
        return None
    assert isinstance(value, str), f"{file}:{argument.lineno} does not send a text"
    return value


def _is_planned(text: str) -> bool:
    return "penstock." in text and text.split(maxsplit=1)[0] in {
        "SELECT",
        "INSERT",
        "UPDATE",
        "DELETE",
        "WITH",
        "(SELECT",
    }


def _list_made() -> Iterator[Statement]:
    for chains, text in admission._STATEMENTS.items():
        yield Statement(f"admission of runs, chains {chains.value}", text)
    for chains, text in admission._OF_DELIVERIES.items():
        yield Statement(f"admission of deliveries, chains {chains.value}", text)
    ended = Commit(UUID(int=1), 1, "live", [], ending=Ending(RunState.SUCCEEDED))
    for is_limited in (False, True):
        name = f"the end of runs, {'with' if is_limited else 'without'} a limit"
        yield Statement(name, commits._finish_statement(ended, is_limited=is_limited))
    for table, text in aging._HOLDS.items():
        yield Statement(f"rows of a day in the default partition of {table}", text)
    yield Statement("how many runs have not ended", finding.COUNT_LIVE)
    for run_way, text in runs.LIST_RUNS.items():
        yield Statement(f"runs by {run_way}", text)
    for mark, text in chain_views.LIST_CHAINS.items():
        yield Statement(f"chains, {mark or 'all'}", text)
    yield Statement("runs of a chain that look alike", folded.LIST_ALIKE)
    yield Statement("ancestors of runs", folded.LIST_ANCESTORS)
    yield Statement("the runs of a picture", pictures.LIST_SEEN_RUNS)
    for way, text in logs.LIST_BY.items():
        yield Statement(f"lines of the log by {way}", text)
    yield Statement("lines of the log by words", logs.LIST_BY_WORDS)
