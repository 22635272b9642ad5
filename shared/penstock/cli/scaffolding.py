"""Makes app directories: from one of the templates beside this module, or as a copy of an example app.

A directory appears whole or not at all: its files are written under another name, and moved when they are complete.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from uuid import uuid4

from penstock.errors import ConfigurationError

Kind = Literal["template", "example"]

DEFAULT_TEMPLATE: Final = "webhook"
_PACKAGE: Final = Path(__file__).parents[1]
_TOKEN: Final = "my_app"
"""What an app is called in a template."""
_MAX_NAME: Final = 63
_ADDED: Final[Mapping[str, bytes]] = {
    ".gitignore": b".penstock/\n.pytest_cache/\n__pycache__/\n",
    "pytest.ini": (
        b"[pytest]\n"
        b"asyncio_mode = auto\n"
        b"asyncio_default_fixture_loop_scope = function\n"
        b"pythonpath = .\n"
        b"testpaths = tests\n"
    ),
}
"""Files of every app: what stays out of a repository, and how its tests run by a plain `pytest`."""


@dataclass(frozen=True, slots=True)
class Source:
    """What an app is made from."""

    kind: Kind
    name: str
    directory: Path


def list_sources(kind: Kind) -> dict[str, Source]:
    """The templates, or the examples, by name."""
    root = _PACKAGE / "cli" / "templates" if kind == "template" else _find_examples()
    return {path.parent.name: Source(kind, path.parent.name, path.parent) for path in sorted(root.glob("*/app.yaml"))}


def _find_examples() -> Path:
    """In a wheel they are a part of the package, in a clone its neighbours."""
    inside = _PACKAGE / "examples"
    return inside if inside.is_dir() else _PACKAGE.parents[1] / "examples"


def make_app(source: Source, directory: Path) -> list[str]:
    """Write an app into `directory`, which is new or empty; the names of its files, sorted.

    Raises ConfigurationError when it is neither, or cannot be written; then nothing is left behind.
    """
    try:
        _refuse_what_is_there(directory)
        files = {**_ADDED, **_render(source, name_of_app(directory))}
        if directory.is_dir():
            _fill(directory, files)
        else:
            _create(directory, files)
    except OSError as error:
        raise ConfigurationError(f"cannot write {directory}: {error.strerror or error}") from None
    return sorted(files)


def name_of_app(directory: Path) -> str:
    """The name of an app in `directory`: the directory's, as far as it can be one."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", directory.resolve().name).strip("_")[:_MAX_NAME]
    if not name:
        return _TOKEN
    # Not what YAML takes for a number or a truth value.
    is_plain = name[0].isalpha() and name.lower() not in {"true", "false", "null"}
    return name if is_plain else f"app_{name}"[:_MAX_NAME]


def _refuse_what_is_there(directory: Path) -> None:
    if not os.path.lexists(directory):
        return
    if not directory.is_dir():
        raise ConfigurationError(f"{directory} is not a directory; name one that is new or empty")
    if any(directory.iterdir()):
        raise ConfigurationError(f"{directory} is not empty, and nothing of it is overwritten; name a new directory")


def _render(source: Source, app: str) -> dict[str, bytes]:
    """The files of the source by their path, fitted to where they will be."""
    files = {}
    for path in sorted(source.directory.rglob("*")):
        name = path.relative_to(source.directory)
        # What tools and `penstock up` leave behind is hidden, or bytecode.
        if not path.is_file() or any(part.startswith((".", "__pycache__")) for part in name.parts):
            continue
        content = path.read_bytes()
        if source.kind == "template":
            content = content.replace(_TOKEN.encode(), app.encode())
        elif name.suffix == ".md":
            content = _stand_alone(content.decode(), source.name).encode()
        files[str(name)] = content
    return files


def _stand_alone(text: str, example: str) -> str:
    """A text of an example for where there is no repository around it: paths begin here, and links out are words."""
    for written, here in (
        (f"pytest examples/{example}", "pytest"),
        (f"examples/{example}/", ""),
        (f"examples/{example}", "."),
    ):
        text = text.replace(written, here)
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"\1", text)


def _create(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write the files beside `directory`, and give them its name in one step."""
    missing = [parent for parent in directory.parents if not parent.exists()]
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with _staged(directory.parent, files) as staged:
            staged.rename(directory)
    except BaseException:
        for parent in missing:
            with suppress(OSError):  # it was not made, or somebody else uses it by now
                parent.rmdir()
        raise


def _fill(directory: Path, files: Mapping[str, bytes]) -> None:
    """The same for an empty directory that stays the one it is: a shell may be in it."""
    moved: list[Path] = []
    with _staged(directory, files) as staged:
        try:
            for part in sorted(staged.iterdir()):
                moved.append(directory / part.name)
                part.rename(directory / part.name)
        except BaseException:
            for path in moved:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
            raise


@contextmanager
def _staged(parent: Path, files: Mapping[str, bytes]) -> Iterator[Path]:
    """A new hidden directory in `parent` with the files; gone at the end, unless it was given another name."""
    staged = parent / f".penstock-new-{uuid4().hex[:12]}"
    try:
        staged.mkdir()
        for name, content in files.items():
            path = staged / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)
