"""The files of deploy/, the programs that read them, and the settings that they may name."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings
from ruamel.yaml import YAML

from penstock.embedded.settings import ServerSettings
from penstock.provisioning.settings import ProvisionSettings
from penstock.settings import AppSettings, CommonSettings
from penstock_executor.settings import ExecutorSettings
from penstock_ingress.settings import IngressSettings
from penstock_scheduler.settings import SchedulerSettings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
Document = dict[str, Any]
SETTINGS: Mapping[str, tuple[type[BaseSettings], ...]] = {
    "ingress": (IngressSettings,),
    "scheduler": (SchedulerSettings,),
    "executor": (ExecutorSettings,),
    "migrate": (ServerSettings,),
    "provision": (ProvisionSettings,),
    "cli": (CommonSettings, AppSettings, IngressSettings, ExecutorSettings),
}
"""What each command reads from the environment."""


def read_yaml(path: Path) -> Document:
    """The one document of a file."""
    document: Document = YAML(typ="safe", pure=True).load(path.read_text())
    return document


def read_documents(text: str) -> list[Document]:
    """All documents of a stream that hold something."""
    return [document for document in YAML(typ="safe", pure=True).load_all(text) if document]


def known_variables(command: str) -> set[str]:
    """The variables that a command reads."""
    return {f"PENSTOCK_{name.upper()}" for kind in SETTINGS[command] for name in kind.model_fields}


def run_tool(name: str, *arguments: str | Path) -> str:
    """What a program of this environment prints. Raises AssertionError with all it said when it fails."""
    program = Path(sys.executable).parent / name
    done = subprocess.run(
        (program, *arguments),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    """The instructions of a Dockerfile and their arguments, continued lines joined, comments left out."""
    text = re.sub(r"^#.*\n", "", dockerfile, flags=re.MULTILINE)
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word, rest.strip()
