"""What is published: a wheel that holds everything, and works in an environment of its own, far from any clone."""

import asyncio
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from penstock.testing.ports import find_ports
from tests.acceptance.console import ROOT, Outcome, clean_environment
from tests.eventually import eventually

UV = Path(sys.prefix) / "bin" / "uv"


@dataclass(frozen=True, slots=True)
class Published:
    """A source distribution, a wheel, and an environment with the wheel."""

    source: Path
    wheel: Path
    program: Path

    async def run(self, directory: Path, *arguments: str) -> Outcome:
        """Run a command of the installed program in `directory`."""
        process = await asyncio.create_subprocess_exec(
            self.program,
            *arguments,
            cwd=directory,
            env=clean_environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return Outcome(process.returncode, out.decode(), err.decode())


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Built from this clone, and the wheel installed where of the clone only the dependencies are within reach."""
    directory = tmp_path_factory.mktemp("published")
    _do(sys.executable, "-m", "hatchling", "build", "-d", str(directory), cwd=ROOT)
    (source,), (wheel,) = directory.glob("*.tar.gz"), directory.glob("*.whl")
    environment = directory / "an environment"
    _do(sys.executable, "-m", "venv", "--without-pip", str(environment))
    python = str(environment / "bin" / "python")
    if UV.exists():
        _do(str(UV), "pip", "install", "--offline", "--no-deps", "--python", python, str(wheel))
    else:
        _do(sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", str(wheel))
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return Published(source, wheel, environment / "bin" / "penstock")


def _do(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done


def _tracked(*places: str) -> set[str]:
    listed = subprocess.run(("git", "ls-files", *places), cwd=ROOT, capture_output=True, text=True, check=True)
    return set(listed.stdout.splitlines())


def test_the_wheel_holds_the_packages_migrations_templates_and_examples_and_no_more(published: Published) -> None:
    with zipfile.ZipFile(published.wheel) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        about = wheel.read("penstock-0.1.0.dist-info/METADATA").decode()
    library = {name.removeprefix("shared/") for name in _tracked("shared")}
    services = {name.removeprefix("services/") for name in _tracked("services")}
    examples = {f"penstock/{name}" for name in _tracked("examples")}
    assert names == library | services | examples
    assert {"Provides-Extra: embedded", "Provides-Extra: otel", "Provides-Extra: testing"} <= set(about.splitlines())


def test_the_source_distribution_holds_what_it_takes_to_test_and_build_it(published: Published) -> None:
    with tarfile.open(published.source) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    assert _tracked("shared", "services", "tests", "examples", "docs", "deploy", ".ci", "Makefile") <= names
    assert {".ci/requirements.lock", ".ci/requirements-dev.lock", "LICENSE", "README.md", "pyproject.toml"} <= names


async def test_an_installed_program_makes_and_checks_an_app(published: Published, tmp_path: Path) -> None:
    version = await published.run(tmp_path, "--version")
    assert (version.code, version.out) == (0, "penstock 0.1.0\n")
    for arguments in (("shop", "--template", "python"), ("--example", "campaign")):
        made = await published.run(tmp_path, "new", *arguments)
        assert made.code == 0, made
    for name in ("shop", "campaign"):
        checked = await published.run(tmp_path, "check", name)
        assert (checked.code, "warning" in checked.out) == (0, False), checked


@pytest.mark.timeout(240)
async def test_an_installed_program_plays_the_quickstart(published: Published, tmp_path: Path) -> None:
    assert (await published.run(tmp_path, "new", "--example", "quickstart")).code == 0
    port, admin_port = map(str, find_ports(2))
    said = tmp_path / "said"
    with said.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            published.program, "up", "--demo", "--port", port, "--admin-port", admin_port,
            cwd=tmp_path / "quickstart",
            env=clean_environment(PYTHONUNBUFFERED="1"),
            stdout=output,
            stderr=output,
        )  # fmt: skip
    try:
        await eventually(lambda: "All 10 as expected." in said.read_text(), within=110)
    finally:
        process.terminate()
        async with asyncio.timeout(40):
            await process.wait()
    assert process.returncode == 0, said.read_text()
    assert sorted(os.listdir(tmp_path / "quickstart" / ".penstock"))
