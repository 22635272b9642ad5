"""The test kit in a directory of its own, under a pytest that knows nothing of this project."""

import asyncio
import sys
from pathlib import Path

from tests.acceptance.console import clean_environment

USES = """
from penstock.testing import AppUnderTest, Delivered, Line, Mail, Mailbox, Reply, Run, StepDone, open_app, open_mailbox


def test_the_kit_is_there():
    assert open_app
"""
FIXTURES = "from penstock.testing.fixtures import penstock_app, penstock_app_directory\n"


async def run_pytest(directory: Path, *options: str) -> tuple[int, str]:
    """The exit code and the output of pytest in a directory, where every warning is an error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *options,
        cwd=directory, env=clean_environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(100):
        out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def test_an_import_of_the_kit_gives_no_warning(tmp_path: Path) -> None:
    (tmp_path / "test_uses.py").write_text(USES)
    code, out = await run_pytest(tmp_path, "-p", "no:asyncio")
    assert (code, "1 passed" in out, "warning" in out) == (0, True, False), out


async def test_an_import_of_its_fixtures_gives_no_warning(tmp_path: Path) -> None:
    (tmp_path / "test_uses.py").write_text(USES)
    (tmp_path / "conftest.py").write_text(FIXTURES)
    code, out = await run_pytest(tmp_path, "-o", "asyncio_default_fixture_loop_scope=function")
    assert (code, "1 passed" in out, "warning" in out) == (0, True, False), out
