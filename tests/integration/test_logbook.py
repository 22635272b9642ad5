"""Lines of the log that cannot be written: bounded in memory, counted, and no harm to others."""

import pytest

from penstock import clock
from penstock.db import Database, open_database
from penstock.metrics import REGISTRY
from penstock.store.logs import MAX_MESSAGE, LogEvent, LogLine
from penstock_executor.writing.logbook import MAX_WAITING_CHARACTERS, Logbook
from tests.cuttable import cuttable

ENVIRONMENT = "development"


def line(message: str, level: str = "info") -> LogLine:
    return LogLine(clock.now(), ENVIRONMENT, level, LogEvent.OUTPUT, message, workflow="say")


def count_lost() -> float:
    return REGISTRY.get_sample_value("penstock_log_lines_lost_total", {"environment": ENVIRONMENT}) or 0.0


async def read(database: Database) -> list[tuple[str, str]]:
    async with database.connection() as conn:
        rows = await conn.fetch("SELECT event, left(message, 200) AS message FROM penstock.logs ORDER BY id")
    return [(row["event"], row["message"]) for row in rows]


async def test_what_there_is_no_room_for_is_counted_and_noted(database: Database) -> None:
    logbook, before = Logbook(database), count_lost()
    for _ in range(MAX_WAITING_CHARACTERS // 1_000_000 + 3):
        logbook.write(line("x" * 1_000_000))
    assert count_lost() - before == 3
    await logbook.drain()
    written = await read(database)
    assert len(written) == MAX_WAITING_CHARACTERS // 1_000_000 + 1
    assert written[-1] == (
        "log lines lost",
        "3 lines of the log could not be written; the runs that they are about are not affected",
    )
    logbook.write(line("after"))
    await logbook.drain()
    assert (await read(database))[-1] == (LogEvent.OUTPUT, "after")


async def test_a_line_that_the_database_refuses_does_not_take_others_with_it(database: Database) -> None:
    logbook, before = Logbook(database), count_lost()
    for number in range(10):
        logbook.write(line(f"{number}", level="loud" if number == 5 else "info"))
    await logbook.drain()
    messages = [message for event, message in await read(database) if event == LogEvent.OUTPUT]
    assert messages == ["0", "1", "2", "3", "4", "6", "7", "8", "9"]
    assert count_lost() - before == 1


async def test_lines_that_nobody_takes_until_the_end_are_counted(database_url: str) -> None:
    async with cuttable(database_url) as door:
        database = await open_database(door.url, name="test", most=2)
        logbook, before = Logbook(database), count_lost()
        logbook.write(line("there"))
        await logbook.drain()
    door.cut()
    logbook.write(line("away"))
    logbook.write(line("away"))
    await logbook.drain()
    assert count_lost() - before == 2
    await database.close()


@pytest.mark.parametrize("characters", [MAX_MESSAGE, MAX_MESSAGE + 1])
async def test_a_long_message_is_cut_where_the_log_says_so(database: Database, characters: int) -> None:
    logbook = Logbook(database)
    logbook.write(line("x" * characters))
    await logbook.drain()
    async with database.connection() as conn:
        message = await conn.fetchval("SELECT message FROM penstock.logs WHERE at > '-infinity'")
    expected = "x" * MAX_MESSAGE + (f" … ({characters} characters)" if characters > MAX_MESSAGE else "")
    assert message == expected
