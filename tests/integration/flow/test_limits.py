"""Limits on how many runs are performed at once, how often they start, and in which order."""

from functools import partial

import pytest

from penstock.domain.runs import Admitted
from penstock.runs.cancellations import Retry, cancel_runs, retry_run
from penstock.runs.views.models import RunDetails
from penstock.runs.views.runs import find_run_details
from penstock.store.deployments import DeploymentCache
from penstock_executor.planning.library import Library
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House
from tests.integration.flow.calling import LOCAL, admit_all, deploy
from tests.integration.flow.ledger import Ledger


async def see(house: House, run: Admitted) -> RunDetails:
    """The run as people see it."""
    async with house.database.connection() as conn:
        found = await find_run_details(conn, run_id=run.run.id)
    assert found is not None
    return found


async def all_ended(house: House, count: int, *, within: float = 30) -> None:
    """Wait until this many runs have succeeded."""

    async def look() -> None:
        rows = await house.fetch("SELECT state, count(*) AS n FROM penstock.runs GROUP BY state")
        done = {row["state"]: row["n"] for row in rows}
        assert done.get("succeeded", 0) == count, done

    await eventually(look, within=within)


async def test_at_most_so_many_runs_of_a_key_are_performed_at_once(house: House, ledger: Ledger) -> None:
    await deploy(house, ledger, "concurrency: {limit: 2, key: params.key}")
    ledger.seconds = 0.01
    await admit_all(house, *({"key": f"k{number % 3}"} for number in range(60)))
    async with house.services(schedulers=2, outgoing_allow=LOCAL):
        await all_ended(house, 60)
    assert dict(ledger.most) == {"k0": 2, "k1": 2, "k2": 2}
    assert await house.fetch("SELECT * FROM penstock.places") == []


async def test_brief_runs_hand_their_places_on_at_once(house: House) -> None:
    await house.deploy("""
workflow: call
parameters: {key: text}
concurrency: {limit: 1, key: params.key}
steps: [{create: thing, set: {name: "${params.key}"}}]
""")
    version = (await house.deployments.current(ENVIRONMENT)).version
    assert (await Library(DeploymentCache(house.database)).find_plans(ENVIRONMENT, version)).is_brief("call")
    await admit_all(house, *({"key": "a"} for _ in range(60)))
    async with house.services(outgoing_allow=LOCAL):
        await all_ended(house, 60)  # a scheduler that looks by itself would take a minute
    assert await house.fetch("SELECT FROM penstock.places") == []


async def test_a_run_that_waits_says_for_what_and_for_whom(house: House, ledger: Ledger) -> None:
    await deploy(house, ledger, "concurrency: {limit: 1, key: params.key}")
    ledger.open.clear()
    first, second = await admit_all(house, {"key": "a"}, {"key": "a"})
    async with house.services(outgoing_allow=LOCAL):
        await eventually(lambda: ledger.calls == 1)
        waiting = await see(house, second)
        assert (waiting.state, waiting.waiting_for is not None) == ("scheduled", True)
        assert waiting.waiting_for is not None
        assert (waiting.waiting_for.reason, waiting.waiting_for.key, waiting.waiting_for.holder) == (
            "concurrency", "a", first.run.id,
        )  # fmt: skip
        ledger.open.set()
        await all_ended(house, 2)


async def test_several_limits_hold_together(house: House, ledger: Ledger) -> None:
    await deploy(house, ledger, "concurrency: [{limit: 3}, {limit: 1, key: params.key}]")
    ledger.seconds = 0.01
    await admit_all(house, *({"key": f"k{number % 6}"} for number in range(60)))
    async with house.services(outgoing_allow=LOCAL):
        await all_ended(house, 60)
    assert set(ledger.most.values()) == {1}


async def test_a_rate_holds_over_every_period(house: House, ledger: Ledger) -> None:
    await deploy(house, ledger, "rate: {limit: 5, per: 500ms, key: params.key}")
    async with house.services(schedulers=2, outgoing_allow=LOCAL):
        await admit_all(house, *({"key": "a"} for _ in range(16)))
        await all_ended(house, 16)
    # By the clock that counts: calls of runs that were handed over long before may begin late, all at once.
    starts = [row["at"] for row in await house.fetch("SELECT at FROM penstock.rate_uses ORDER BY at")]
    gaps = [(sixth - first).total_seconds() for first, sixth in zip(starts, starts[5:], strict=False)]
    assert (len(starts), len(gaps), min(gaps) >= 0.5) == (16, 11, True), gaps


async def test_a_sequence_keeps_the_order_of_admission(house: House, ledger: Ledger) -> None:
    await deploy(house, ledger, "sequence: {key: params.key}")
    given: list[dict[str, str | int]] = [{"key": f"k{number % 2}", "number": number} for number in range(40)]
    await admit_all(house, *given)
    async with house.services(schedulers=2, outgoing_allow=LOCAL):
        await all_ended(house, 40)
    assert ledger.order == {"k0": list(range(0, 40, 2)), "k1": list(range(1, 40, 2))}
    assert set(ledger.most.values()) == {1}


@pytest.mark.parametrize(("on_failure", "called"), [("block", [1]), ("skip", [1, 3])])
async def test_after_a_failure_a_sequence_waits_or_follows(
    house: House, ledger: Ledger, on_failure: str, called: list[int]
) -> None:
    await deploy(
        house, ledger, f"sequence: {{key: params.key, on_failure: {on_failure}}}",
        "  - fail: no\n    when: params.number == 1",
    )  # fmt: skip
    failing, behind = await admit_all(house, {"key": "a", "number": 1}, {"key": "a", "number": 3})
    async with house.services(outgoing_allow=LOCAL):
        await house.ended(failing.run.id, "failed")
        if on_failure == "skip":
            await house.ended(behind.run.id, "succeeded")
        else:
            waiting = (await see(house, behind)).waiting_for
            assert waiting is not None
            assert (waiting.reason, waiting.holder) == ("sequence", failing.run.id)
            await house.fetch("UPDATE penstock.runs SET parameters = '{\"key\": \"a\", \"number\": 2}' WHERE id = $1",
                              failing.run.id)  # fmt: skip
            await house.database.in_transaction(
                lambda conn: retry_run(conn, environment=ENVIRONMENT, run_id=failing.run.id, asked=Retry("a test"))
            )
            await house.ended(behind.run.id, "succeeded")
            called = [1, 3]
    assert ledger.order["a"] == called


async def test_a_cancelled_run_gives_its_place_back(house: House, ledger: Ledger) -> None:
    await deploy(house, ledger, "concurrency: {limit: 1}\nsequence: {}")
    ledger.open.clear()
    first, second, third = await admit_all(house, {"key": "a"}, {"key": "b"}, {"key": "c"})
    async with house.services(outgoing_allow=LOCAL):
        await eventually(lambda: ledger.calls == 1)
        for run in (second, first):
            cancel = partial(cancel_runs, environment=ENVIRONMENT, run_ids=[run.run.id], by="a test")
            await house.database.in_transaction(cancel)
        await eventually(lambda: ledger.order["c"])
        ledger.open.set()
        await house.ended(third.run.id, "succeeded")
    assert not ledger.order["b"]


async def test_a_run_that_waits_in_a_step_gives_its_place_to_others(house: House, ledger: Ledger) -> None:
    await deploy(house, ledger, "concurrency: {limit: 1}", "  - wait_for: go\n    when: params.key == 'first'")
    first, second = await admit_all(house, {"key": "first"}, {"key": "second"})
    async with house.services(outgoing_allow=LOCAL):
        await house.ended(first.run.id, "waiting")
        await house.ended(second.run.id, "succeeded")


async def test_the_higher_priority_is_next(house: House, ledger: Ledger) -> None:
    await deploy(house, ledger, "concurrency: {limit: 1, key: 1}")
    ledger.open.clear()
    async with house.services(outgoing_allow=LOCAL):
        await admit_all(house, {"key": "a"})
        await eventually(lambda: ledger.calls == 1)
        await admit_all(house, *({"key": "late"} for _ in range(5)), priority=9)
        await admit_all(house, {"key": "soon"}, priority=0)
        ledger.open.set()
        await all_ended(house, 7)
    assert list(ledger.order)[:2] == ["a", "soon"]


async def test_of_runs_that_follow_one_another_quickly_the_last_is_performed(house: House, ledger: Ledger) -> None:
    await deploy(house, ledger, "debounce: {quiet: 300ms, key: params.key}")
    runs = []
    for number in range(5):  # before anybody performs them: on a slow machine, not so quickly
        runs += await admit_all(house, {"key": "a", "number": number}, {"key": "b", "number": number})
    waiting = (await see(house, runs[-1])).waiting_for
    assert waiting is not None
    assert waiting.reason == "debounce"
    async with house.services(outgoing_allow=LOCAL):
        rows = [await house.ended(run.run.id) for run in runs]
    assert ledger.order == {"a": [4], "b": [4]}
    assert [row["state"] for row in rows] == ["skipped"] * 8 + ["succeeded"] * 2
    assert rows[0]["error"]["kind"] == "debounced"


async def test_a_run_is_not_put_off_for_longer_than_the_maximum(house: House, ledger: Ledger) -> None:
    await deploy(house, ledger, "debounce: {quiet: 1h, max: 1h, key: params.key}")
    (first,) = await admit_all(house, {"key": "a"})
    await house.fetch("UPDATE penstock.debounces SET first_at = first_at - interval '30 minutes'")
    (second,) = await admit_all(house, {"key": "a"})
    assert (await house.get(first.run.id))["state"] == "skipped"
    gap = (await house.get(second.run.id))["scheduled_at"] - (await house.get(first.run.id))["scheduled_at"]
    assert -31 < gap.total_seconds() / 60 < -29


async def test_a_limit_that_a_deployment_lifts_holds_nobody(house: House, ledger: Ledger) -> None:
    await deploy(house, ledger, "concurrency: {limit: 1}")
    ledger.open.clear()
    await admit_all(house, *({"key": "a"} for _ in range(5)))
    async with house.services(outgoing_allow=LOCAL):
        await eventually(lambda: ledger.calls == 1)
        await deploy(house, ledger, "")
        await eventually(lambda: ledger.calls == 5, within=15)
        ledger.open.set()
        await all_ended(house, 5)
