"""Places that are free when a run is admitted: it takes them at once, and nobody is overtaken or forgotten by that."""

from functools import partial

from penstock.domain.ids import new_run_id
from penstock.domain.lineage import Lineage
from penstock.domain.runs import Admitted, Terminated
from penstock.domain.states import Trigger
from penstock.runs.admission import admit
from penstock.runs.cancellations import Retry, retry_run
from penstock.runs.requests import CheckedRun, RunRequest, check_run
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House
from tests.integration.flow.calling import LOCAL, admit_all, deploy
from tests.integration.flow.ledger import Ledger

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('turns/' || $1 || '/call', 0))"


def states(runs: list[Admitted]) -> list[str]:
    return [run.run.state.value for run in runs]


async def count_turns(house: House) -> int:
    return len(await house.fetch("SELECT FROM penstock.turns"))


async def test_runs_take_the_places_that_are_free_and_others_wait_for_who_leaves(house: House, ledger: Ledger) -> None:
    await deploy(house, ledger, "concurrency: {limit: 2, key: params.key}")
    runs = await admit_all(house, *({"key": key} for key in "aabab"))
    assert states(runs) == ["queued", "queued", "queued", "scheduled", "queued"]
    taken = await house.fetch("SELECT key FROM penstock.places WHERE taken_at IS NOT NULL AND waits_since IS NULL")
    assert sorted(row["key"] for row in taken) == ["a", "a", "b", "b"]
    assert await count_turns(house) == 0, "the scope is full, so there is nothing to decide before somebody leaves"
    async with house.services(outgoing_allow=LOCAL):
        await house.publisher.dispatch([run.run for run in runs if run.run.state == "queued"])
        for run in runs:
            await house.ended(run.run.id, "succeeded")
    assert ledger.most["a"] <= 2
    assert await house.fetch("SELECT FROM penstock.places") == []
    assert await house.fetch("SELECT FROM penstock.runs WHERE is_limited") == []


async def test_the_urgent_of_a_batch_take_the_places(house: House, ledger: Ledger) -> None:
    await deploy(house, ledger, "concurrency: {limit: 1}")
    deployment = await house.deployments.current(ENVIRONMENT)
    asked = [
        RunRequest(new_run_id(), ENVIRONMENT, "call", {"key": "a"}, Trigger.API, priority=priority)
        for priority in (5, 1, 9)
    ]
    checked = [run for run in (check_run(one, deployment) for one in asked) if isinstance(run, CheckedRun)]
    outcomes = await house.database.in_transaction(partial(admit, runs=checked))
    assert states([run for run in outcomes if isinstance(run, Admitted)]) == ["scheduled", "queued", "scheduled"]


async def test_while_a_turn_is_decided_all_wait_and_nobody_overtakes_them_then(house: House, ledger: Ledger) -> None:
    await deploy(house, ledger, "concurrency: {limit: 2, key: params.key}")
    async with house.database.connection() as conn, conn.transaction():
        await conn.execute(LOCK, ENVIRONMENT)
        first = await admit_all(house, {"key": "a"})
    assert (states(first), await count_turns(house)) == (["scheduled"], 1)
    later = await admit_all(house, {"key": "a"}, {"key": "b"})
    assert states(later) == ["scheduled", "queued"]
    async with house.services(outgoing_allow=LOCAL):
        for run in (*first, *later[:1]):
            await house.ended(run.run.id, "succeeded")


async def test_starts_are_counted_under_a_rate(house: House, ledger: Ledger) -> None:
    await deploy(house, ledger, "rate: {limit: 2, per: 1h, key: params.key}")
    assert states(await admit_all(house, *({"key": "a"} for _ in range(3)))) == ["queued", "queued", "scheduled"]
    assert states(await admit_all(house, {"key": "a"}, {"key": "b"})) == ["scheduled", "queued"]
    uses = await house.fetch("SELECT count(*) AS n, min(until - at) > interval '59 minutes' AS lasts "
                             "FROM penstock.rate_uses GROUP BY scope ORDER BY n")  # fmt: skip
    assert [(row["n"], row["lasts"]) for row in uses] == [(1, True), (2, True)]


async def test_a_line_lets_its_first_enter_only_when_nobody_is_in_it(house: House, ledger: Ledger) -> None:
    await deploy(house, ledger, "sequence: {key: params.key}")
    assert states(await admit_all(house, *({"key": key} for key in "aab"))) == ["queued", "scheduled", "queued"]
    assert states(await admit_all(house, {"key": "a"}, {"key": "c"})) == ["scheduled", "queued"]


async def test_of_several_limits_all_places_are_taken_or_none(house: House, ledger: Ledger) -> None:
    await deploy(house, ledger, "concurrency: [{limit: 3}, {limit: 1, key: params.key}]")
    runs = await admit_all(house, *({"key": key} for key in "aabcd"))
    assert states(runs) == ["queued", "scheduled", "queued", "queued", "scheduled"]
    rows = await house.fetch("SELECT count(*) AS n FROM penstock.places WHERE taken_at IS NOT NULL GROUP BY run_id")
    assert [row["n"] for row in rows] == [2, 2, 2]


async def test_a_place_meant_for_a_run_that_is_cut_goes_to_the_next(house: House, ledger: Ledger) -> None:
    await deploy(house, ledger, "concurrency: {limit: 1}")
    deployment = await house.deployments.current(ENVIRONMENT)
    asked = [
        RunRequest(new_run_id(), ENVIRONMENT, "call", {"key": "a"}, Trigger.MESSAGE, lineage=lineage)
        for lineage in (Lineage(depth=1_000_000), Lineage())
    ]
    checked = [run for run in (check_run(one, deployment) for one in asked) if isinstance(run, CheckedRun)]
    cut, other = await house.database.in_transaction(partial(admit, runs=checked))
    assert isinstance(cut, Terminated)
    assert isinstance(other, Admitted)
    assert (states([other]), await count_turns(house)) == (["scheduled"], 1)
    async with house.services(outgoing_allow=LOCAL):
        await house.ended(other.run.id, "succeeded")


async def test_a_failed_run_of_a_line_that_is_retried_waits_for_who_has_followed(house: House, ledger: Ledger) -> None:
    await deploy(
        house, ledger, "sequence: {key: params.key, on_failure: skip}", "  - fail: no\n    when: params.number == 1"
    )
    async with house.services(outgoing_allow=LOCAL):
        failing = (await admit_all(house, {"key": "a", "number": 1}))[0].run
        await house.publisher.dispatch([failing])
        await house.ended(failing.id, "failed")
        ledger.open.clear()
        following = (await admit_all(house, {"key": "a", "number": 2}))[0].run
        await eventually(lambda: ledger.calls == 2)
        await house.database.in_transaction(
            lambda conn: retry_run(conn, environment=ENVIRONMENT, run_id=failing.id, asked=Retry("a test"))
        )
        await eventually(partial(has_no_turn, house))
        assert (await house.get(failing.id))["state"] == "scheduled"
        ledger.open.set()
        await house.ended(following.id, "succeeded")
        await house.ended(failing.id, "failed")
    assert ledger.most == {"a": 1}


async def has_no_turn(house: House) -> bool:
    return await count_turns(house) == 0
