"""Ctrl-C in a terminal: whenever it comes, a command ends quietly."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.testing.ports import find_port
from tests.acceptance.console import QUICKSTART, clean_environment
from tests.acceptance.embedded import short_directory
from tests.acceptance.terminal import Terminal, open_terminal
from tests.eventually import eventually

IMPORTS = ("importlib.metadata", "rich.console", "penstock.cli.output", "asyncpg", "penstock.embedded.up")
Moment = Callable[[Terminal, Path], bool]


def _says(text: str) -> Moment:
    return lambda terminal, _: text in terminal.text


def _has(name: str) -> Moment:
    return lambda _, data: (data / name).exists()


MOMENTS: dict[str, Moment] = {
    "the database is being made": _has("postgres.new"),
    "the database starts": _has("socket"),
    "the tables are being made": _has("admin-token"),
    "everything serves": _says("Penstock serves."),
    "the story begins": _says("playing the quickstart's story"),
    "a chapter is played": _says("a list of"),
    "the story is over": _says("Still serving"),
}


def _arguments(data: Path) -> tuple[str, ...]:
    ports = ("--port", str(find_port()), "--admin-port", str(find_port()))
    return ("up", "--app", str(QUICKSTART), "--demo", "--data", str(data), *ports)


def _check_quiet(terminal: Terminal, code: int) -> None:
    text = terminal.text
    assert code in {0, 130}, text
    assert text.rstrip().endswith("stopped"), text
    for noise in ("Traceback", "differ", "Exception ignored", "KeyboardInterrupt", "penstock: ", "Error"):
        assert noise not in text, text


@pytest.mark.parametrize("name", IMPORTS)
async def test_while_it_is_imported_it_ends_with_one_word(name: str) -> None:
    environment = clean_environment(PYTHONPROFILEIMPORTTIME="1")
    async with short_directory() as directory, open_terminal(*_arguments(directory), environment=environment) as up:
        await eventually(lambda: f"| {name}\n" in up.text.replace(" ", "").replace("|", "| "), within=60)
        up.interrupt()
        code = await up.wait()
        # After the last import it may have begun to serve, which it ends in order.
        assert (code in {0, 130}, "Penstock serves" in up.text) == (True, False), up.text
        assert up.text.splitlines()[-1] == "stopped"
        assert "Traceback" not in up.text


@pytest.mark.parametrize("name", MOMENTS)
async def test_once_it_has_begun_it_closes_what_is_open(name: str) -> None:
    async with short_directory() as directory:
        data = directory / "data"
        async with open_terminal(*_arguments(data), environment=clean_environment()) as up:
            await eventually(lambda: MOMENTS[name](up, data), within=60, every=0.001)
            up.interrupt()
            code = await up.wait()
        _check_quiet(up, code)
        assert not (data / "postgres" / "postmaster.pid").exists(), "its database has ended in order"


async def test_a_command_that_asks_ends_with_one_word() -> None:
    command = ("secret", "set", "KEY", "-e", "live")
    async with open_terminal(*command, environment=clean_environment()) as terminal:
        await terminal.wait_for("Value of KEY")
        terminal.interrupt()
        assert await terminal.wait() == 130
    assert terminal.text.splitlines()[-1] == "stopped", terminal.text
    assert "Traceback" not in terminal.text


def test_hardly_anything_is_imported_before_ctrl_c_is_quiet() -> None:
    listed = "import sys, penstock.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", listed], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert "penstock.cli.stopping" in modules
    assert not modules & {"typing", "re", "asyncio", "penstock.cli.program"}
