"""A small clone for tests of set-up: its real scripts, locks of one package each, and a project that builds itself.

Nothing is downloaded: the packages lie in a directory, and the build may be held up until the test lets it continue.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.acceptance.console import ROOT

_SCRIPTS: Final = (".ci/setup", ".ci/environment.py", "tests/__init__.py", "tests/debian.py")
_PROJECT: Final = """
[build-system]
requires = []
build-backend = "building"
backend-path = ["."]

[project]
name = "penstock"
version = "0.1.0"
"""
_BACKEND: Final = '''
"""Builds an empty package; waits first at the pipe `gate`, if there is one."""

import pathlib
import zipfile


def build_editable(directory, config_settings=None, metadata_directory=None):
    gate = pathlib.Path("gate")
    if gate.exists():
        gate.read_text()
    name, about = "penstock-0.1.0-py3-none-any.whl", "penstock-0.1.0.dist-info"
    with zipfile.ZipFile(pathlib.Path(directory, name), "w") as wheel:
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\\nName: penstock\\nVersion: 0.1.0\\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{about}/RECORD", "")
    return name
'''


@dataclass(frozen=True, slots=True)
class Said:
    """How a set-up ended, and the lines that it said."""

    code: int
    text: str

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


class Clone:
    """A directory in which set-up runs as after `git clone`. `uv` None lets it do with pip."""

    def __init__(self, directory: Path, packages: Path, uv: Path | None) -> None:
        self.directory: Final = directory
        self._packages: Final = packages
        self.programs: Final = packages / "programs"
        self.programs.mkdir(parents=True)
        if uv is not None:
            (self.programs / "uv").symlink_to(uv)
        for name in _SCRIPTS:
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, directory / name)
        (directory / "pyproject.toml").write_text(_PROJECT)
        (directory / "building.py").write_text(_BACKEND)
        self.lock(".ci/requirements.lock", "greeting")
        self.lock(".ci/requirements-dev.lock", "greeting", "tools")

    def lock(self, file: str, *names: str) -> None:
        """Write a lock that names these packages."""
        lines = [f"{name}==1.0 --hash=sha256:{self._package(name)}" for name in names]
        (self.directory / file).write_text("\n".join((f"# {len(names)} packages, 1 MB to download", *lines, "")))

    def _package(self, name: str) -> str:
        """Make a package of one module; its hash."""
        path = self._packages / f"{name}-1.0-py3-none-any.whl"
        if not path.exists():
            about = f"{name}-1.0.dist-info"
            with zipfile.ZipFile(path, "w") as wheel:
                wheel.writestr(f"{name}.py", "")
                wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
                wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
                wheel.writestr(f"{about}/RECORD", "")
        return hashlib.sha256(path.read_bytes()).hexdigest()

    @property
    def stamp(self) -> Path:
        return self.directory / ".venv" / ".penstock-setup"

    def installed(self) -> set[str]:
        """Which of the packages are there."""
        found = self.directory.glob(".venv/lib/python*/site-packages/*-1.0.dist-info")
        return {path.name.removesuffix("-1.0.dist-info") for path in found}

    def environment(self) -> dict[str, str]:
        """No index, no settings of this machine's, and packages from the directory alone."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "VIRTUAL_ENV"))
        }
        own = {
            "PATH": f"{self.programs}:/usr/local/bin:/usr/bin:/bin",
            "PYTHON": str(getattr(sys, "_base_executable", sys.executable)),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self._packages),
            "UV_NO_CONFIG": "1",
            "UV_OFFLINE": "1",
            "UV_FIND_LINKS": str(self._packages),
            "UV_CACHE_DIR": str(self._packages / "cache"),
        }
        return {**kept, **own}

    def start(
        self, *arguments: str, output: int = subprocess.PIPE, settings: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a set-up, in a process group of its own; what it says goes to `output`."""
        return subprocess.Popen(
            (str(self.directory / ".ci" / "setup"), *arguments),
            env={**self.environment(), **(settings or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def set_up(self, *arguments: str, settings: Mapping[str, str] | None = None) -> Said:
        """A set-up from its beginning to its end."""
        return wait(self.start(*arguments, settings=settings))

    def hold_up(self) -> Path:
        """Let the build wait until something is written to the pipe that is returned."""
        gate = self.directory / "gate"
        os.mkfifo(gate)
        return gate


def wait(process: subprocess.Popen[str], before: Sequence[str] = ()) -> Said:
    """Wait for a set-up's end; `before` are lines of it that were read already."""
    text, _ = process.communicate(timeout=100)
    return Said(process.returncode, "".join(before) + text)


def read_until(process: subprocess.Popen[str], words: str) -> list[str]:
    """The lines up to the one that holds `words`."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError(f"no line says {words!r}: {''.join(lines)}")


def interrupt(process: subprocess.Popen[str]) -> None:
    """Ctrl-C: everything that runs in the terminal gets the signal."""
    os.killpg(process.pid, signal.SIGINT)
