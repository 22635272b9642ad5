"""`penstock logs` as people use it: piped, in a terminal, and followed."""

import asyncio
import shlex
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import cast
from uuid import UUID

import orjson
import pytest

from penstock import clock
from penstock.db import Database, open_database
from penstock.store.logs import LogEvent, LogLine, write_logs
from tests.acceptance.console import PENSTOCK, clean_environment, penstock
from tests.acceptance.terminal import open_terminal

RUN = UUID("0190a5f2-7c00-8a11-9b22-0123456789ab")
LONG = "could not charge ord-9: " + "the card was declined " * 8
HOSTILE = "\x1b]0;owned\x07 [red]x[/]"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The test's database, from here."""
    opened = await open_database(database_url, name="test", most=1)
    yield opened
    await opened.close()


@pytest.fixture
def environment(database_url: str) -> dict[str, str]:
    return clean_environment(PENSTOCK_DATABASE_URL=database_url)


async def write(database: Database, *messages: str, level: str = "info", age: float = 0) -> None:
    event = LogEvent.WORKFLOW_ERROR if level == "error" else LogEvent.OUTPUT
    at = clock.now() - timedelta(seconds=age)
    async with database.connection() as conn:
        await write_logs(conn, [LogLine(at, "live", level, event, text, RUN, RUN, "greet", "say") for text in messages])


async def test_the_log_is_searched_piped_and_in_a_terminal(database: Database, environment: dict[str, str]) -> None:
    await write(database, "long ago", age=7200)
    await write(database, "charged ord-7\nfor Ada", "refunded ord-8", HOSTILE, age=60)
    await write(database, LONG, level="error", age=30)
    piped = await penstock("logs", "-e", "live", environment=environment)
    assert (piped.code, piped.err) == (0, "")
    lines = [line.split("  ") for line in piped.out.splitlines()]
    assert [line[1:] for line in lines[:2]] == [
        ["info", "greet", str(RUN), "plugin action console output [say]: long ago"],
        ["info", "greet", str(RUN), "plugin action console output [say]: charged ord-7 for Ada"],
    ]
    assert len(lines) == 5
    assert "\x1b" not in piped.out
    found = await penstock(
        "logs", "-e", "live", "--since", "1h", "-c", "'charged ord' OR refunded", "--json", environment=environment
    )
    results = cast("list[dict[str, object]]", found.json["results"])
    assert [line["message"] for line in results] == ["charged ord-7\nfor Ada", "refunded ord-8"]
    newest = await penstock("logs", "-e", "live", "-n", "1", environment=environment)
    assert ("could not charge" in newest.out, "these are the newest 1" in newest.err) == (True, True)
    async with open_terminal("logs", "-e", "live", "-l", "error", environment=environment) as terminal:
        assert await terminal.wait() == 0
    assert all(len(line) <= 80 for line in terminal.text.splitlines())
    assert LONG.strip() in " ".join(terminal.text.split())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("-e", "live", "--kind", "nothing"), 2, "is not a kind of line"),
        (("--contains", "***"), 2, "needs a letter or a digit"),
        (("-f", "--until", "1h"), 2, "is not before a time"),
        (("--run", str(RUN)), 1, f"no run {RUN}"),
        (("--user", "nobody@example.com"), 1, "development has no user with the email 'nobody@example.com'"),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    environment: dict[str, str], arguments: tuple[str, ...], code: int, message: str
) -> None:
    outcome = await penstock("logs", *arguments, environment=environment)
    assert (outcome.code, outcome.out) == (code, "")
    assert message in " ".join(outcome.err.replace("│", " ").split())


async def test_lines_are_followed_until_ctrl_c(database: Database, environment: dict[str, str]) -> None:
    await write(database, "before")
    async with open_terminal("logs", "-f", "-e", "live", environment=environment) as terminal:
        await terminal.wait_for("following the log of live; Ctrl-C stops")
        await terminal.wait_for("before")
        await write(database, "one", "two")
        await terminal.wait_for("two")
        terminal.interrupt()
        assert await terminal.wait() == 130
    assert terminal.text.count("before") == 1
    assert terminal.text.endswith("stopped\n")


async def test_following_ends_when_nobody_reads_any_more(database: Database, environment: dict[str, str]) -> None:
    command = f"{shlex.join(PENSTOCK)} logs -f -e live --json | head -n 1"
    pipeline = await asyncio.create_subprocess_shell(command, env=environment, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    assert pipeline.stdout is not None
    assert pipeline.stderr is not None
    async with asyncio.timeout(60):
        assert b"following" in await pipeline.stderr.readline()
        await write(database, "first")
        assert orjson.loads(await pipeline.stdout.readline())["message"] == "first"
        await write(database, "second")
        assert await pipeline.wait() == 0
        assert b"Traceback" not in await pipeline.stderr.read()
