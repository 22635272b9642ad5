"""An earlier release of this code, beside the one under test."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.acceptance.console import PENSTOCK, ROOT, clean_environment

_PLACES: Final = ("shared", "services")
_PREVIOUS: Final = "HEAD~1"


def unpack_previous(directory: Path) -> Mapping[str, str]:
    """The code of the commit before this one, put below `directory`; what has to be set for a process to run it. Its
    dependencies are those that are installed.
    """
    archive = subprocess.run(
        ("git", "archive", "--format=tar", _PREVIOUS, *_PLACES), cwd=ROOT, capture_output=True, check=True
    )
    subprocess.run(("tar", "--extract", "--directory", str(directory)), input=archive.stdout, check=True)
    return {"PYTHONPATH": ":".join(str(directory / place) for place in _PLACES)}


def penstock(database_url: str, code: Mapping[str, str], *arguments: str) -> None:
    """A command of that code on that database."""
    environment = clean_environment(PENSTOCK_DATABASE_URL=database_url, **code)
    done = subprocess.run((*PENSTOCK, *arguments), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
