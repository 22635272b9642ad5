"""SIGTERM is noticed from the first moment on, and a service is gone in time whatever it does."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE

STARTING = """
from penstock.cli.stopping import stop_at_once
stop_at_once()
print("ready", flush=True)
input()
"""
STUCK = """
import asyncio, threading
from penstock.logs import configure_logs
from penstock.runtime import run_process
from penstock.runtime.shutdown import bounded

configure_logs("json", "error")

async def serve(stop):
    print("ready", flush=True)
    await asyncio.to_thread(threading.Event().wait)

run_process("executor", serve, grace_seconds=0.1, on_signal=bounded("executor", 0.1, last_seconds=0.3))
"""


async def _terminate(code: str) -> tuple[int | None, str]:
    """The exit code and the standard error of a program that is sent SIGTERM once it says that it is ready."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, errors.decode()


async def test_a_program_that_starts_handles_sigterm_which_the_first_process_of_a_container_would_else_ignore() -> None:
    assert await _terminate(STARTING) == (143, "")


async def test_a_service_whose_thread_never_returns_is_cut_off_after_its_grace_and_says_where_it_was() -> None:
    code, errors = await _terminate(STUCK)
    assert code == 1
    (line,) = (json.loads(line) for line in errors.splitlines() if '"service.cut_off"' in line)
    assert line["service"] == "executor"
    assert any("threading.py" in place and "wait" in place for place in line["at"]), line
