"""A copy of what `penstock up` needs where any user can read it: the clone, its environment or Python itself may lie
below a directory that only their owner may enter.
"""

import os
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.acceptance.console import QUICKSTART, ROOT

_UNNEEDED: Final = shutil.ignore_patterns("__pycache__", "test", "tests", "idlelib", "ensurepip", "site-packages")


@dataclass(frozen=True, slots=True)
class Place:
    """How to start the command line there, with which settings of Python's, and where the example's app is."""

    program: Sequence[str]
    environment: dict[str, str]
    app: Path


def make_place(directory: Path) -> Place:
    """Copy Python, its packages, the sources and the example into `directory`, by hard links where that is possible."""
    base = Path(sys.base_prefix)
    if not all(parent.stat().st_mode & 0o001 for parent in (base, *base.parents)):
        for part in ("bin", "lib"):
            _copy(base / part, directory / "python" / part)
        base = directory / "python"
    packages = directory / "packages"
    shutil.copytree(
        sysconfig.get_path("purelib"),
        packages,
        symlinks=True,
        copy_function=_link,
        ignore=shutil.ignore_patterns("*.pth"),
    )
    sources = [directory / name for name in ("shared", "services")]
    for source in sources:
        _copy(ROOT / source.name, source)
    _copy(QUICKSTART, directory / "app")
    for path in (directory, *directory.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    # By its full name: links such as `python3` may lead back to where the original is.
    python = base / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    environment = {
        "PYTHONPATH": os.pathsep.join(map(str, (*sources, packages))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LD_LIBRARY_PATH": str(base / "lib"),  # where Python is built with a library of its own
        "HOME": "/tmp",
    }
    return Place((str(python), "-c", "from penstock.cli import main; main()"), environment, directory / "app")


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True, copy_function=_link, ignore=_UNNEEDED)


def _link(source: str, target: str) -> None:
    try:
        if not os.stat(source).st_mode & 0o004:
            raise PermissionError(source)  # a link would have the same rights
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system
        shutil.copyfile(source, target, follow_symlinks=False)
        os.chmod(target, 0o755)
