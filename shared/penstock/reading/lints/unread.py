"""Finds files that lie where nothing is read, or that hold nothing, so that nobody waits for what they say."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from penstock.reading.documents import Node
from penstock.reading.places import Problem, Severity

_FOLDERS: Final = ("types", "workflows")
_NOT_READ: Final = frozenset({".json", ".jsonc", ".json5", ".toml", ".txt", ".xml", ".py"})
_YAML: Final = frozenset({".yaml", ".yml"})
_DOCUMENT: Final = re.compile(r"^(workflow|type): ", re.MULTILINE)
_OTHER_NAMES: Final = {
    "flows": "workflows",
    "flow": "workflows",
    "models": "types",
    "schemas": "types",
    "data_types": "types",
    "datatypes": "types",
}
_APP: Final = re.compile(r"^\w+ = App\(\)", re.MULTILINE)
_MAX_READ: Final = 64 * 1024
"""Bytes of a file that are looked at."""


def find_unread(directory: Path, path: Path) -> Iterator[Problem]:
    """A file in types/ or workflows/ whose name says that it should be read, and that is not YAML."""
    if path.suffix.lower() in _NOT_READ:
        hint = "Python modules lie beside app.yaml and are named in it" if path.suffix == ".py" else "write it as YAML"
        yield _warning(directory, path, "only files that end in .yaml or .yml are read here", hint)
    elif path.suffix.lower() in _YAML:
        yield _warning(directory, path, f"files that end in {path.suffix} are not read", "write .yaml")


def find_misplaced(directory: Path) -> Iterator[Problem]:
    """Workflows and data types beside app.yaml, or in a folder that is named almost as it should be."""
    try:
        entries = sorted(directory.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in {*_FOLDERS, "app.yaml"}:
            continue
        if entry.is_dir():
            meant = _OTHER_NAMES.get(entry.name.lower()) or _nearest(entry.name)
            found = [path for path in sorted(entry.glob("*.y*ml")) if _kind_of(path)] if meant else []
            message, hint = f"{entry.name}/ is not read", f"move it into {meant}/"
            yield from (_warning(directory, path, message, hint) for path in found)
        elif entry.suffix in _YAML and (kind := _kind_of(entry)):
            yield _warning(directory, entry, "only app.yaml is read beside the folders", f"move it into {kind}s/")


def find_empty(documents: Mapping[str, Sequence[Node]], problems: Sequence[Problem]) -> list[Problem]:
    """Files without any document, of which nothing else is wrong."""
    wrong = {problem.file for problem in problems}
    return [
        Problem(name, None, None, "there is nothing in this file", Severity.WARNING, "remove it, or write into it")
        for name, found in documents.items()
        if not found and name not in wrong and name.partition("/")[0] in _FOLDERS
    ]


def find_unlisted(directory: Path, modules: Collection[str]) -> Iterator[Problem]:
    """Python files beside app.yaml that make an `App` of their own, where no module of `modules` may import them."""
    listed = {name.partition(".")[0] for name in modules}
    for path in sorted(directory.glob("*.py")):
        is_ours = path.stem not in listed and not path.stem.startswith(("test_", "conftest"))
        if is_ours and _APP.search(_read(path)) and not any(_imports(directory, name, path.stem) for name in modules):
            yield _warning(directory, path, "this module is not imported", f"add it to app.yaml: python: [{path.stem}]")


def _imports(directory: Path, module: str, name: str) -> bool:
    path = directory / (module.replace(".", "/") + ".py")
    return re.search(rf"\b{name}\b", _read(path)) is not None


def _nearest(name: str) -> str:
    return next(iter(get_close_matches(name.lower(), _FOLDERS, n=1, cutoff=0.75)), "")


def _kind_of(path: Path) -> str:
    """`workflow` or `type`, if a file holds documents of that kind."""
    match = _DOCUMENT.search(_read(path))
    return match[1] if match else ""


def _read(path: Path) -> str:
    """The beginning of a file; nothing of one that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_READ).decode(errors="replace")
    except OSError:
        return ""


def _warning(directory: Path, path: Path, message: str, hint: str) -> Problem:
    return Problem(path.relative_to(directory).as_posix(), None, None, message, Severity.WARNING, hint)
