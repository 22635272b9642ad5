"""Every loop of the corpus is judged as it should be: none that is meant is cut, and no runaway gets away."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from penstock.testing.databases import fresh_database, install_clock_at
from tests.loops.corpus import NAMES, Loop, read_loop
from tests.loops.running import TRIGGERS, Outcome, Stage, open_stage
from tests.servers import Servers

LEGITIMATE = [name for name in NAMES if not read_loop(name).is_runaway]
RUNAWAYS = [name for name in NAMES if read_loop(name).is_runaway]


@pytest.fixture
async def stage(
    request: pytest.FixtureRequest, servers: Servers, movable_template: str, tmp_path: Path
) -> AsyncIterator[Stage]:
    """The loop that the test names, served."""
    loop = read_loop(request.param)
    async with AsyncExitStack() as stack:
        urls = [
            await stack.enter_async_context(fresh_database(servers.database_url, template=movable_template))
            for _ in range(1 + loop.both)
        ]
        for url in urls:
            await install_clock_at(url)
        yield await stack.enter_async_context(open_stage(loop, tmp_path, urls))


def test_the_corpus_has_twenty_of_each() -> None:
    assert (len(LEGITIMATE), len(RUNAWAYS)) == (20, 20)


@pytest.mark.parametrize("stage", LEGITIMATE, indirect=True)
async def test_a_loop_that_is_meant_is_not_cut(stage: Stage) -> None:
    outcome = await stage.play("terminate")

    assert [(run["workflow"], run["error"]) for run in outcome.runs if run["state"] == "terminated"] == []
    assert {run["state"] for run in outcome.runs} <= {"succeeded", "failed"}
    assert outcome.cut() == []
    assert outcome.things == stage.loop.things
    check_path(stage.loop, outcome)
    assert (await stage.play("observe")).cut() == []


@pytest.mark.parametrize("stage", RUNAWAYS, indirect=True)
async def test_a_runaway_is_cut_and_observing_names_the_same_runs(stage: Stage) -> None:
    outcome = await stage.play("terminate")

    expected = stage.loop.cut
    assert expected is not None
    assert {run["state"] for run in outcome.runs} <= {"succeeded", "failed", "terminated"}
    if stage.loop.cycle != [{"plan": "recurrence"}]:
        assert [(cut.reason, cut.depth) for cut in outcome.cut()] == [
            (expected.reason, expected.depth)
        ] * expected.paths
        check_path(stage.loop, outcome)
    else:  # ticks are roots; what is bounded is how often recurrences set up recurrences
        assert {cut.reason for cut in outcome.cut()} == {expected.reason}
    # A second installation has a chain of its own, which is never too deep when the first is cut.
    assert (await stage.play("observe")).cut(installations=1) == outcome.cut(installations=1)


def check_path(loop: Loop, outcome: Outcome) -> None:
    """The corpus describes the deepest path as it was."""
    deepest = outcome.deepest()
    assert [(hop.workflow, TRIGGERS[hop.link]) for hop in loop.path(len(deepest))] == deepest
    if loop.hops is not None:
        assert len(deepest) == loop.hops
