"""`penstock runs show`: what happened in a run, as a person reads it."""

from uuid import UUID

from penstock.db import open_database
from tests.acceptance.console import clean_environment
from tests.acceptance.terminal import open_terminal

RUN = UUID("0190a5f2-7c00-8a11-9b22-0123456789ab")
LIST = UUID("0190a5f2-7c01-8a11-9b22-0123456789ab")
WEBHOOK = {"source": "stripe", "id": "0190a5f2-7c02", "type": "invoice.paid", "payload": {"total": 12}}
ERROR = {"kind": "http", "message": "GET shop.example answered with status 503: come back later"}
TRIES = [
    {"attempt": 1, "started_at": "2030-01-31T09:00:01Z", "finished_at": "2030-01-31T09:00:02Z", "status": 503,
     "error": ERROR},
    {"attempt": 1, "started_at": "2030-01-31T09:00:04Z", "finished_at": "2030-01-31T09:00:05.5Z"},
]  # fmt: skip


async def _insert(database_url: str) -> None:
    database = await open_database(database_url, name="test", most=1)
    async with database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO penstock.runs (id, chain_id, environment, workflow, trigger, state, depth, attempt, list_id,
                scheduled_at, started_at, finished_at, context)
            VALUES ($1, $1, 'live', 'tidy', 'webhook', 'succeeded', 0, 1, $2, '2030-01-31T09:00:00Z',
                '2030-01-31T09:00:01Z', '2030-01-31T09:00:06Z', $3)
            """,
            RUN,
            LIST,
            {"webhook": WEBHOOK},
        )
        await conn.execute(
            """
            INSERT INTO penstock.steps (run_id, step, action, outcome, attempt, started_at, finished_at, result, tries)
            VALUES ($1, 'asked', 'http', 'succeeded', 1, '2030-01-31T09:00:01Z', '2030-01-31T09:00:05.5Z', $2, $3)
            """,
            RUN,
            {"body": "x" * 90},
            TRIES,
        )
        await conn.execute(
            """
            INSERT INTO penstock.logs (at, environment, level, event, run_id, workflow)
            VALUES ('2030-01-31T09:00:06Z', 'live', 'info', 'event completed', $1, 'tidy')
            """,
            RUN,
        )
    await database.close()


async def test_each_try_is_shown_with_its_status_and_pause_and_what_started_the_run(database_url: str) -> None:
    await _insert(database_url)
    environment = clean_environment(PENSTOCK_DATABASE_URL=database_url)
    async with open_terminal("runs", "show", str(RUN)[:8], environment=environment, width=80) as terminal:
        assert await terminal.wait() == 0, terminal.text
    lines = [" ".join(line.split()) for line in terminal.text.splitlines()]
    assert max(map(len, terminal.text.splitlines())) <= 80
    for expected in (
        f"list {LIST}",
        "webhook stripe invoice.paid delivery 0190a5f2-7c02",
        'payload {"total":12}',
        "try 2 succeeded 09:00:04.000 1500 ms",
        "09:00:01.000 event condition passed",
        "09:00:05.500 action completed [asked]: http",
        "09:00:06.000 event completed",
    ):
        assert expected in lines, terminal.text
    (result,) = (line for line in lines if line.startswith("asked http succeeded 09:00:01.000 4500 ms"))
    assert result.endswith("…")
    (first,) = (number for number, line in enumerate(lines) if line.startswith("try 1 failed (503)"))
    told = " ".join((lines[first].partition("1000 ms ")[2], *lines[first + 1 : first + 4]))
    assert told.startswith("GET shop.example answered with status 503: come back later; again after 2.0 s"), told
