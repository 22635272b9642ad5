"""Prometheus' own tool for checking rules: the installed one, else one unpacked from Debian's package."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests import debian
from tests.private_servers import NoServer


def find_promtool() -> Path:
    """Where `promtool` is. Raises NoServer."""
    unpacked = Path(sys.prefix) / "servers" / "prometheus"
    program = unpacked / "root/usr/bin/promtool"
    installed = shutil.which("promtool")
    if installed is not None:
        return Path(installed)
    if program.exists() or debian.unpack("prometheus", ("prometheus",), unpacked):
        return program
    raise NoServer("There is no promtool, and it could not be unpacked from here. Debian's package prometheus has it.")


def run_promtool(*arguments: str, given: str | None = None) -> str:
    """What it says, with `given` as its input; raises AssertionError with that when it is not content."""
    done = subprocess.run(
        (str(find_promtool()), *arguments), capture_output=True, text=True, check=False, timeout=100, input=given
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
