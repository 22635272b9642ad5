"""The log in the database: each filter finds what it means, by the index too, and followers get each new line once."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from penstock.db import Connection, Database
from penstock.domain.log_terms import read_log_terms
from penstock.runs.views.logs import (
    LogCursor,
    LogFilter,
    LogPlace,
    begin_following,
    levels_from,
    list_logs,
    list_new_lines,
    read_kinds,
)
from penstock.runs.views.models import LogEntry
from penstock.store.logs import MAX_MESSAGE, LogEvent, LogLine, write_logs

NOON = datetime(2030, 3, 10, 12, tzinfo=UTC)
USER = "1700000000000x000000000000000001"
CHAIN = UUID(int=77)
MESSAGES = (
    "charged order ord-77 with 12 cents",
    "the request timed out",
    "it's 100% done: a_b\\c",
    "été à Paris",
    "中文説明",
    "x" * 200,
)


def line(message: str, *, at: datetime = NOON, level: str = "info", environment: str = "live") -> LogLine:
    event = LogEvent.WORKFLOW_ERROR if level == "error" else LogEvent.OUTPUT
    return LogLine(at, environment, level, event, message, workflow="say")


@pytest.fixture
async def conn(database: Database) -> AsyncIterator[Connection]:
    """A connection to a log of some days: messages among very many lines that say only that a run ended well."""
    async with database.connection() as conn:
        plain = [
            LogLine(NOON - timedelta(seconds=n), "live", "info", LogEvent.FINISHED, workflow="busy")
            for n in range(2500)
        ]
        days = [line(message, at=NOON - timedelta(days=n + 1)) for n, message in enumerate(MESSAGES)]
        odd = [
            line("of a user")._replace(user_id=USER),
            line("broken", level="error")._replace(chain_id=CHAIN),
            line("elsewhere", environment="development"),
            LogLine(NOON, "live", "info", LogEvent.CHAIN_STOPPED, "by ada", chain_id=CHAIN),
            LogLine(NOON - timedelta(days=9), "live", "info", LogEvent.FINISHED, workflow="rare-one"),
        ]
        await write_logs(conn, [*plain, *days, *odd])
        yield conn


async def read_all(conn: Connection, wanted: LogFilter, limit: int = 50) -> list[LogEntry]:
    """All pages."""
    found: list[LogEntry] = []
    after: LogPlace | None = None
    while True:
        page = await list_logs(conn, wanted, after=after, limit=limit)
        found += page.results
        if (after := page.after) is None:
            return found


WORDS: Mapping[str, Sequence[str]] = {
    "ord-77": MESSAGES[:1],
    "'order ord' 12": MESSAGES[:1],
    "'12 order'": (),
    "TIMED OR 中文": (MESSAGES[1], MESSAGES[4]),
    "imed": (),
    "100% a_b\\c": MESSAGES[2:3],
    "ÉTÉ": MESSAGES[3:4],
    "x" * 199: MESSAGES[5:6],
    "'; DROP TABLE penstock.logs; --'": (),
    "completed rare-one": ("",),
    "nowhere": (),
}


async def test_rare_words_are_found_by_their_index_days_ago(conn: Connection) -> None:
    for contains, expected in WORDS.items():
        wanted = LogFilter("live", contains=read_log_terms(contains))
        found = await read_all(conn, wanted)
        assert [line.message for line in found] == list(expected), contains
        one_by_one = await read_all(conn, wanted, 1)
        assert [line.id for line in one_by_one] == [line.id for line in found], contains


async def test_common_words_fill_a_page_from_the_newest_lines(conn: Connection) -> None:
    page = await list_logs(conn, LogFilter("live", contains=read_log_terms("busy")), after=None, limit=50)
    assert (len(page.results), {line.workflow for line in page.results}) == (50, {"busy"})
    assert page.after is not None
    assert len(await read_all(conn, LogFilter("live", contains=read_log_terms("busy")), 500)) == 2500


async def test_words_of_very_many_lines_of_one_day_do_not_hide_those_of_others(conn: Connection) -> None:
    burst = [line("burst", at=NOON - timedelta(days=3, seconds=n)) for n in range(2100)]
    single = [line("burst once", at=NOON - timedelta(days=days)) for days in (1, 5, 9, 40)]
    await write_logs(conn, [*burst, *single, line("burst elsewhere", environment="development")])
    wanted = LogFilter("live", contains=read_log_terms("burst"))
    first = await list_logs(conn, wanted, after=None, limit=3)
    assert [found.message for found in first.results] == ["burst once", "burst", "burst"]
    found = await read_all(conn, wanted, 500)
    assert [line.at for line in found] == sorted((line.at for line in [*burst, *single]), reverse=True)


FILTERS: Sequence[tuple[LogFilter, set[str]]] = (
    (LogFilter("live", user_id=USER), {"of a user"}),
    (LogFilter("live", levels=levels_from("warning")), {"broken"}),
    (LogFilter("live", kinds=read_kinds("Chain stopped,log_lines_lost")), {"by ada"}),
    (LogFilter("live", kinds=read_kinds("chain_stopped")), {"by ada"}),
    (LogFilter("live", chain_id=CHAIN), {"broken", "by ada"}),
    (LogFilter("live", workflow="say", since=NOON), {"of a user", "broken"}),
    (LogFilter("live", workflow="say", until=NOON - timedelta(days=5)), {MESSAGES[5]}),
    (LogFilter("development"), {"elsewhere"}),
    (LogFilter("live", workflow="say", kinds=read_kinds("http_request")), set()),
)


async def test_each_filter_finds_what_it_means(conn: Connection) -> None:
    for wanted, expected in FILTERS:
        found = await read_all(conn, wanted, 2)
        assert {line.message for line in found} == expected, wanted
        assert len(found) == len(expected)


async def test_a_kind_that_is_none_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"'nothing' is not a kind of line; there are .*event_completed"):
        read_kinds("running action,nothing")


async def test_a_message_of_any_length_and_with_any_character_is_stored(database: Database) -> None:
    hostile = "\0\ud800 " + "word" * 10_000 + "é" * 20_000 + "\n" * 1000 + "y" * MAX_MESSAGE
    async with database.connection() as conn:
        await write_logs(conn, [line(hostile)])
        (found,) = await read_all(conn, LogFilter("live"))
    assert found.message.startswith("�� wordword")
    assert len(found.message) < MAX_MESSAGE + 50


class Follower:
    """Reads what is new, from one cursor to the next."""

    def __init__(self, conn: Connection, cursor: LogCursor) -> None:
        self.conn = conn
        self.cursor = cursor

    async def read(self) -> list[str]:
        messages: list[str] = []
        while True:
            new = await list_new_lines(self.conn, LogFilter("live"), cursor=self.cursor)
            messages += [one.line.message for one in new.lines]
            self.cursor = LogCursor.read(str(new.cursor))
            if not new.is_more:
                return messages


async def test_lines_that_commit_out_of_order_are_followed_once_each(database: Database) -> None:
    async with database.connection() as reading, database.connection() as late, database.connection() as early:
        await write_logs(reading, [line("before")])
        follower = Follower(reading, await begin_following(reading))
        transaction = late.transaction()
        await transaction.start()
        await write_logs(late, [line("late")])
        await write_logs(early, [line("early", at=NOON + timedelta(seconds=9))])
        assert await follower.read() == ["early"]
        await write_logs(early, [line("next")])
        await transaction.commit()
        assert sorted(await follower.read()) == ["late", "next"]
        assert await follower.read() == []


async def test_a_follower_who_comes_back_continues_behind_any_line(database: Database) -> None:
    async with database.connection() as reading, database.connection() as writing:
        start = await begin_following(reading)
        open_one = writing.transaction()
        await open_one.start()
        await write_logs(writing, [line("late")])
        await write_logs(reading, [line(f"{number}") for number in range(5)])
        new = await list_new_lines(reading, LogFilter("live"), cursor=start)
        await open_one.commit()
        await write_logs(reading, [line("next")])
        everything = [one.line.message for one in new.lines] + ["late", "next"]
        for seen, one in enumerate(new.lines, start=1):
            back = Follower(reading, LogCursor.read(str(one.cursor)))
            assert sorted(await back.read()) == sorted(everything[seen:])


async def test_a_cursor_of_another_database_begins_with_what_comes(database: Database) -> None:
    async with database.connection() as conn:
        await write_logs(conn, [line("before")])
        follower = Follower(conn, LogCursor("4000000000:4000000000:"))
        assert await follower.read() == []
        await write_logs(conn, [line("after")])
        assert await follower.read() == ["after"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1:2",
        "2:1:",
        "0:1:",
        "1:3:2,2",
        "1:3:4",
        "1:2:~1:2:~1~1",
        "9" * 25 + ":1:",
        "1:2:~1:2:~1~1~x",
        "1:2:\n",
    ],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the id of an event"):
        LogCursor.read(text)
