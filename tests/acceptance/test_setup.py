"""`make setup`: it says what it does, does nothing twice, and can be killed at any moment."""

import importlib.util
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.testing.ports import find_port
from tests.acceptance.clone import Clone, interrupt, read_until, wait
from tests.acceptance.console import ROOT
from tests.eventually import eventually

UV = Path(sys.prefix) / "bin" / "uv"
HAS_PIP = importlib.util.find_spec("ensurepip") is not None
INSTALLERS = [*([UV] if UV.exists() else []), *([None] if HAS_PIP else [])]


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A clone in a path with spaces, set up by the quickest installer there is."""
    return Clone(tmp_path / "a path with spaces", tmp_path / "packages", INSTALLERS[0])


@pytest.mark.parametrize("uv", INSTALLERS, ids=lambda uv: "uv" if uv else "pip")
def test_each_stage_is_said_as_it_begins_and_with_its_time_and_nothing_is_done_twice(
    tmp_path: Path, uv: Path | None
) -> None:
    clone = Clone(tmp_path / "a path with spaces", tmp_path / "packages", uv)
    first = clone.set_up("run")
    assert first.code == 0, first.text
    for begun in (
        "an environment in .venv with Python",
        "up to 1 MB: 1 packages of .ci/requirements.lock",
        "Penstock itself",
    ):
        (number,) = [number for number, line in enumerate(first.lines) if begun in line]
        assert re.search(r"done after \d+\.\d s", "".join(first.lines[number + 1 : number + 3])), first.text
    assert re.search(r"ready after \d+\.\d s; \.venv takes [\d.]+ MB", first.text)
    assert max(map(len, first.lines)) <= 80
    assert "\x1b" not in first.text
    again = clone.set_up("run")
    assert (again.code, again.text) == (0, "")


def test_serving_installs_no_tools_and_what_has_them_keeps_them(clone: Clone) -> None:
    assert clone.set_up("run").code == 0
    assert clone.installed() == {"greeting"}
    everything = clone.set_up()
    assert (everything.code, clone.installed()) == (0, {"greeting", "tools"}), everything.text
    assert clone.set_up("run").text == ""
    clone.lock(".ci/requirements-dev.lock", "greeting", "newer_tools")
    assert clone.set_up("run").code == 0
    assert clone.installed() == {"greeting", "newer_tools"}


def test_ctrl_c_ends_it_quietly_and_the_next_starts_from_scratch(clone: Clone) -> None:
    assert clone.set_up("run").code == 0
    half = next(clone.directory.glob(".venv/lib/python*/site-packages")) / "half_written.py"
    half.touch()
    clone.lock(".ci/requirements.lock", "greeting", "tools")
    gate = clone.hold_up()
    process = clone.start("run")
    begun = read_until(process, "Penstock itself")
    interrupt(process)
    stopped = wait(process, begun)
    assert stopped.code == 130
    assert "setup: stopped" in stopped.lines[-1] or "setup: stopped" in stopped.lines[-2]
    assert "Traceback" not in stopped.text
    gate.unlink()
    again = clone.set_up("run")
    assert (again.code, clone.installed(), half.exists()) == (0, {"greeting", "tools"}, False), again.text


def test_an_environment_that_was_not_made_to_its_end_is_made_again(tmp_path: Path) -> None:
    clone = Clone(tmp_path / "clone", tmp_path / "packages", None)
    uv = clone.programs / "uv"
    uv.write_text('#!/bin/sh\n"$PYTHON" -m venv --without-pip .venv\ntouch .venv/half\nexit 1\n')
    uv.chmod(0o755)
    assert clone.set_up("run").code == 1
    assert (clone.directory / ".venv" / "half").exists()
    uv.unlink()
    if INSTALLERS[0] is not None:
        uv.symlink_to(INSTALLERS[0])
    again = clone.set_up("run")
    assert (again.code, clone.installed()) == (0, {"greeting"}), again.text
    assert not (clone.directory / ".venv" / "half").exists()


async def test_what_a_killed_one_left_running_is_waited_for(clone: Clone) -> None:
    gate = clone.hold_up()
    killed = clone.start("run")
    read_until(killed, "Penstock itself")
    waiting = await eventually(lambda: _reach(gate))
    killed.kill()
    killed.wait()
    assert killed.stdout is not None
    killed.stdout.close()
    process = clone.start("run")
    begun = read_until(process, "another set-up is in progress here")
    gate.unlink()
    os.close(waiting)
    again = wait(process, begun)
    assert (again.code, clone.installed()) == (0, {"greeting"}), again.text
    assert "an environment in .venv" in again.text


async def test_ctrl_c_waits_for_what_must_not_be_interrupted(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    process = _run_whole(f"cat '{gate}'; touch '{tmp_path / 'whole'}'")
    waiting = await eventually(lambda: _reach(gate))
    interrupt(process)
    os.close(waiting)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, "KeyboardInterrupt" in said) == (-signal.SIGINT, True)
    assert (tmp_path / "whole").exists()


def _run_whole(script: str) -> subprocess.Popen[str]:
    """Run a script as apt-get is run while it installs."""
    program = "from tests.debian import _run; import sys; _run(('sh', '-c', sys.argv[1]), is_whole=True)"
    return subprocess.Popen(
        (sys.executable, "-c", program, script), cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def _reach(gate: Path) -> int:
    """The end of a pipe to write to, once somebody waits at the other. Raises AssertionError before."""
    try:
        return os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        raise AssertionError("nobody waits there yet") from error


@pytest.mark.parametrize("uv", INSTALLERS, ids=lambda uv: "uv" if uv else "pip")
def test_no_registry_within_reach_is_one_sentence(tmp_path: Path, uv: Path | None) -> None:
    clone = Clone(tmp_path / "clone", tmp_path / "packages", uv)
    nowhere = f"http://127.0.0.1:{find_port()}/simple"
    for package in (tmp_path / "packages").glob("*.whl"):
        package.unlink()
    online = {"PIP_NO_INDEX": "0", "PIP_FIND_LINKS": "", "UV_OFFLINE": "0", "UV_FIND_LINKS": "", "UV_HTTP_RETRIES": "0"}
    nowhere_else = {"PIP_INDEX_URL": nowhere, "UV_DEFAULT_INDEX": nowhere, "PIP_RETRIES": "0"}
    said = clone.set_up("run", settings={**online, **nowhere_else})
    assert said.code == 1
    words = " ".join(line.removeprefix("setup:").strip() for line in said.lines)
    assert words.count("no package registry is within reach, so nothing can be installed: check the network") == 1
    assert "Traceback" not in said.text
    assert "refused" in (clone.directory / ".venv" / "setup.log").read_text()
    assert max(map(len, said.lines)) <= 80


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The two ends of a terminal: ours, and the one that a program writes to."""
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)


def test_in_a_terminal_a_stage_is_one_line_that_counts_the_seconds(clone: Clone, terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    process = clone.start("run", output=theirs, settings={"TERM": "xterm", "COLUMNS": "80"})
    os.close(theirs)
    shown = b"".join(iter(lambda: _read(ours), b"")).decode()
    assert process.wait() == 0
    screen = [line.split("\r\x1b[K")[-1] for line in shown.replace("\r\n", "\n").removesuffix("\n").split("\n")]
    assert len(screen) == 4, screen
    assert all(re.search(r"(:|ready after) \d+\.\d s", line) for line in screen), screen
    assert "Penstock itself, from this directory … 0 s" in shown
    assert max(map(len, screen)) <= 80


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return b""


def test_an_unknown_level_is_a_usage_error(clone: Clone) -> None:
    assert (clone.set_up("everything").code, clone.set_up("run", "all").code) == (2, 2)


@pytest.mark.parametrize(("is_there", "said"), [(False, "no such program"), (True, "Python 3.9.2")])
def test_an_interpreter_that_is_named_and_will_not_do_is_explained_and_no_other_is_taken(
    clone: Clone, is_there: bool, said: str
) -> None:
    named = clone.programs / "python3.12"
    if is_there:
        named.write_text('#!/bin/sh\ntest "$1" = --version && echo Python 3.9.2\n')
        named.chmod(0o755)
    failed = clone.set_up(settings={"PYTHON": "python3.12"})
    assert failed.code == 1
    assert failed.text.startswith("setup: PYTHON names python3.12, "), failed.text
    assert said in failed.text
    assert not (clone.directory / ".venv").exists()
