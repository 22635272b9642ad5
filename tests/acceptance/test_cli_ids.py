"""Ids at a terminal: by prefix, and alone when piped."""

from uuid import UUID

import pytest

from penstock.db import open_database
from tests.acceptance.console import clean_environment, penstock
from tests.acceptance.terminal import open_terminal

FIRST = UUID("0190a5f2-7c00-8a11-9b22-0123456789ab")
SECOND = UUID("0190a5f2-7c01-8a11-9b22-0123456789ab")
OTHER = UUID("0290a5f2-7c01-8a11-9b22-0123456789ab")


@pytest.fixture
async def environment(database_url: str) -> dict[str, str]:
    """The settings of an installation with three runs, two of which begin alike."""
    database = await open_database(database_url, name="test", most=1)
    async with database.connection() as conn:
        await conn.executemany(
            """
            INSERT INTO penstock.runs (id, chain_id, environment, workflow, trigger, state, depth, scheduled_at)
            VALUES ($1, $1, 'live', 'tidy', 'api', 'queued', 0, clock_timestamp())
            """,
            [(id,) for id in (FIRST, SECOND, OTHER)],
        )
    await database.close()
    return clean_environment(PENSTOCK_DATABASE_URL=database_url)


@pytest.mark.parametrize("prefix", ["0290a5f2", "0290A5F2-7c", "0290a5f27c018a119b220123456789ab"])
async def test_a_prefix_that_only_one_run_has_is_enough(prefix: str, environment: dict[str, str]) -> None:
    shown = await penstock("runs", "--json", "show", prefix, environment=environment)
    assert (shown.code, shown.json.get("id")) == (0, str(OTHER)), shown
    assert (await penstock("chain", "show", prefix, environment=environment)).code == 0


async def test_several_prefixes_are_each_looked_up(environment: dict[str, str]) -> None:
    outcome = await penstock("runs", "cancel", "0190a5f2-7c00", "0290a5f2", environment=environment)
    assert outcome.code == 0, outcome
    assert [line.split() for line in outcome.out.splitlines()] == [[str(FIRST), "cancelled"], [str(OTHER), "cancelled"]]


async def test_a_prefix_that_two_runs_have_names_them(environment: dict[str, str]) -> None:
    outcome = await penstock("runs", "cancel", "0190a5f2", environment=environment)
    assert outcome.code == 1
    assert outcome.err == f"penstock: more than one id begins with 0190a5f2: {FIRST}, {SECOND}; give more of it\n"
    assert "queued" in (await penstock("runs", "show", str(FIRST), environment=environment)).out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("runs", "show", "ffffffff"), "no run has an id that begins with ffffffff"),
        (("runs", "list", "--after", "ffffffff"), "no run has an id that begins with ffffffff"),
        (("recurrences", "pause", "0290a5f2"), "no recurrence has an id that begins with 0290a5f2"),
        (("schedule", "cancel", "ffffffff"), "no run or recurrence or list has an id that begins with ffffffff"),
    ],
    ids=" ".join,
)
async def test_a_prefix_of_nothing_is_one_line(
    command: tuple[str, ...], message: str, environment: dict[str, str]
) -> None:
    outcome = await penstock(*command, environment=environment)
    assert (outcome.code, outcome.err) == (1, f"penstock: {message}\n")


async def test_an_error_continues_between_words_in_a_narrow_terminal(environment: dict[str, str]) -> None:
    async with open_terminal("runs", "show", "0190a5f2", environment=environment, width=60) as terminal:
        assert await terminal.wait() == 1
    lines = terminal.text.splitlines()
    assert " ".join(lines) == f"penstock: more than one id begins with 0190a5f2: {FIRST}, {SECOND}; give more of it"
    assert max(len(line) for line in lines) <= 60


async def test_a_chain_is_named_by_a_prefix_that_its_runs_share(environment: dict[str, str], database_url: str) -> None:
    database = await open_database(database_url, name="test", most=1)
    async with database.connection() as conn:
        await conn.execute("UPDATE penstock.runs SET chain_id = $1, depth = 1 WHERE id = $2", FIRST, SECOND)
    await database.close()
    options = ("schedule", "list", "-e", "live", "--chain", "0190a5f2", "--json")
    outcome = await penstock(*options, environment=environment)
    assert outcome.code == 0, outcome
