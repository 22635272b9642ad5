"""Checks what ruff has no rule for: long functions and modules, SQL made of f-strings, words a reader stumbles over.

`python .ci/walls.py [--only PART[,PART]] [FILE …]` checks the files that git tracks, or those named, and exits with 1
when it finds anything. The parts are `functions`, `modules`, `sql` and `words`; all of them by default.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

PARTS: Final = ("functions", "modules", "sql", "words")
MAX_FUNCTION_LINES: Final = 50
MAX_MODULE_LINES: Final = 400
SQL_FROM_NAMES: Final = (
    # Tables and columns of things are named by an app's author, so their statements are put together from quoted names.
    "services/penstock_executor/repository/commits.py",
    "shared/penstock/deploying.py",
    "shared/penstock/things/",
    "shared/penstock/testing/",
    "tests/",
)
_NAMES_WORDS: Final = ("walls.py", "test_walls.py")
_SQL: Final = re.compile(r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH|ALTER|CREATE|DROP)\s")
_STILTED: Final = (
    (r"\banew\b", "again"),
    (r"(?<!here )\b(?:is|are|was|were) no (?!longer\b|more\b)[a-z]\w*", "is not a …"),
    (r"\b(?:is|are|be|was|were) told\b", "is reported, is notified"),
    (r"\b(?:it is looked|is looked whether|looked whether)\b", "checks whether"),
    (r"\bwhoever\b", "everyone who, the one who"),
    (r"\b(?:go|goes|going|gone|went) on\b", "continues"),
    (r"\bso many\b", "this many, at most …"),
    (r"\bin work\b", "in progress"),
    (r"\b(?:told|tells?\b.{1,30}) apart\b", "distinguishes"),
    (r"\b(?:to|cannot|can) be had\b", "is available"),
    (r"\bfor ever\b", "forever"),
    (r"\bno more until\b", "not … again until"),
    (r"\b_?(?:MOST|LONGEST|LARGEST|LEAST|SHORTEST)_[A-Z]", "MAX_, MIN_"),
    (r"\b(?:can|could)(?:not|n't) be told\b", "cannot be determined"),
    (r"\b_?bury\b|\b_?buried\b", "dead-letter"),
)
_WORDS: Final = tuple((re.compile(pattern), better) for pattern, better in _STILTED)


def main(arguments: list[str]) -> int:
    """Print every finding as `file:line: what`; 1 when there is any, 2 for an unknown part."""
    parts: Collection[str] = PARTS
    if arguments[:1] == ["--only"]:
        parts, arguments = arguments[1].split(","), arguments[2:]
    if unknown := set(parts) - set(PARTS):
        sys.stderr.write(f"walls: no part {', '.join(sorted(unknown))}; the parts are {', '.join(PARTS)}\n")
        return 2
    names = arguments or _tracked()
    findings = [finding for name in names if Path(name).exists() for finding in check(Path(name), parts)]
    sys.stdout.writelines(f"{finding}\n" for finding in findings)
    return 1 if findings else 0


def _tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "*.py", "*.md"], capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def check(path: Path, parts: Collection[str] = PARTS) -> Iterator[str]:
    """The findings of one file, by its path from the top of the project."""
    text = path.read_text()
    if "words" in parts and path.name not in _NAMES_WORDS:
        yield from _check_words(path, text)
    if path.suffix != ".py":
        return
    if "modules" in parts and (lines := text.count("\n")) > MAX_MODULE_LINES:
        yield f"{path}:1: {lines} lines; a module has at most {MAX_MODULE_LINES}: make it a folder of its parts"
    tree = ast.parse(text)
    if "functions" in parts:
        yield from _check_functions(path, tree)
    if "sql" in parts and not path.as_posix().startswith(SQL_FROM_NAMES):
        yield from _check_sql(path, tree)


def _check_words(path: Path, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, better in _WORDS:
            if found := pattern.search(line):
                yield f"{path}:{number}: {found[0]!r}: write {better}"


def _check_functions(path: Path, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                too_long = f"{node.name} has {length} lines; a function has at most {MAX_FUNCTION_LINES}"
                yield f"{path}:{node.lineno}: {too_long}"


def _check_sql(path: Path, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and _is_sql(node) and not all(map(_is_fixed, node.values)):
            yield f"{path}:{node.lineno}: SQL made of an f-string; pass values as arguments, quote names"


def _is_sql(node: ast.JoinedStr) -> bool:
    first = node.values[0]
    return isinstance(first, ast.Constant) and isinstance(first.value, str) and _SQL.match(first.value) is not None


def _is_fixed(part: ast.expr) -> bool:
    """Whether a part of an f-string is text, or a constant such as a list of columns that several statements share."""
    if not isinstance(part, ast.FormattedValue):
        return True
    value = part.value
    name = value.id if isinstance(value, ast.Name) else value.attr if isinstance(value, ast.Attribute) else ""
    return name.isupper()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
