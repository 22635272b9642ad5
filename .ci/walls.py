"""Checks what ruff has no rule for: long functions and modules, SQL made of f-strings, words a reader stumbles over.

`python .ci/walls.py [FILE …]` checks the files git tracks, or those named, and exits with 1 when it finds anything.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MAX_FUNCTION_LINES: Final = 50
MAX_MODULE_LINES: Final = 400
SQL_FROM_NAMES: Final = (
    # Tables and columns of things are named by an app's author, so their statements are put together from quoted names.
    "services/penstock_executor/repository.py",
    "shared/penstock/deploying.py",
    "shared/penstock/things/",
    "shared/penstock/testing/",
    "tests/",
)
_SQL: Final = re.compile(r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH|ALTER|CREATE|DROP)\s")
_STILTED: Final = (
    (r"\banew\b", "again"),
    (r"\bis no (?:number|text|list|time|date|duplicate|run|workflow|thing|object|key|cron)\b", "is not a …"),
    (r"\b(?:is|are|be|was|were) told\b", "is reported, is notified"),
    (r"\b(?:it is looked|is looked whether|looked whether)\b", "checks whether"),
    (r"\bwhoever\b", "everyone who, the one who"),
    (r"\bgoes on\b", "continues"),
    (r"\bno more until\b", "not … again until"),
    (r"\bMOST_[A-Z]|\bLONGEST_[A-Z]|\bLEAST_[A-Z]", "MAX_, MIN_"),
    (r"\b(?:can|could)(?:not|n't) be told\b", "cannot be determined"),
    (r"\b_?bury\b|\b_?buried\b", "dead-letter"),
)
_WORDS: Final = tuple((re.compile(pattern), better) for pattern, better in _STILTED)


def main() -> int:
    """Print every finding as `file:line: what`; 1 when there is any."""
    named = sys.argv[1:]
    files = named or _tracked()
    findings = [finding for name in files if Path(name).exists() for finding in check(Path(name))]
    sys.stdout.writelines(f"{finding}\n" for finding in findings)
    return 1 if findings else 0


def _tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "*.py", "*.md"], capture_output=True, text=True, check=True)
    return listed.stdout.split()


def check(path: Path) -> Iterator[str]:
    """The findings of one file."""
    if path.name == "walls.py":  # it names the words
        return
    text = path.read_text()
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, better in _WORDS:
            if found := pattern.search(line):
                yield f"{path}:{number}: {found[0]!r}: write {better}"
    if path.suffix == ".py":
        yield from _check_code(path, text)


def _check_code(path: Path, text: str) -> Iterator[str]:
    lines = text.count("\n")
    if lines > MAX_MODULE_LINES:
        yield f"{path}:1: {lines} lines; a module has at most {MAX_MODULE_LINES}: make it a folder of its parts"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                too_long = f"{node.name} has {length} lines; a function has at most {MAX_FUNCTION_LINES}"
                yield f"{path}:{node.lineno}: {too_long}"
        elif isinstance(node, ast.JoinedStr) and _is_sql(node) and not str(path).startswith(SQL_FROM_NAMES):
            yield f"{path}:{node.lineno}: SQL made of an f-string; pass values as arguments, quote names"


def _is_sql(node: ast.JoinedStr) -> bool:
    first = node.values[0]
    return isinstance(first, ast.Constant) and isinstance(first.value, str) and _SQL.match(first.value) is not None


if __name__ == "__main__":
    sys.exit(main())
