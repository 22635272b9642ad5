"""The command `penstock` as a person runs it: a process with an environment, an exit code and two streams."""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import orjson

PENSTOCK = (sys.executable, "-c", "from penstock.cli import main; main()")
ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "examples" / "quickstart"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, object]:
        return cast("dict[str, object]", orjson.loads(self.out))


def clean_environment(**settings: str) -> dict[str, str]:
    """This process's environment without any setting of Penstock's but those given, on a terminal of 100 columns
    without colours.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    return {**inherited, "COLUMNS": "100", "NO_COLOR": "1", **settings}


async def penstock(
    *arguments: str,
    environment: Mapping[str, str],
    directory: Path | None = None,
    within: float = 60,
    stdin: str | None = None,
) -> Outcome:
    """Run a command to its end, with `stdin` piped into it."""
    process = await asyncio.create_subprocess_exec(
        *PENSTOCK,
        *arguments,
        env=dict(environment),
        cwd=directory,
        stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(within):
            out, err = await process.communicate(None if stdin is None else stdin.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Outcome(process.returncode, out.decode(), err.decode())
