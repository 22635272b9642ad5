"""`admit`, the one door: limits, chains, fences and keys hold however many ask at once; its depth rule is the
domain's.
"""

import asyncio
from collections import Counter
from functools import partial
from typing import cast
from uuid import UUID

import pytest
from pydantic import JsonValue

from penstock.db import Connection, Database
from penstock.domain.ids import child_run_id, new_run_id
from penstock.domain.runs import Admission, Admitted, Duplicate, Rejected, Terminated
from penstock.domain.states import Termination, Trigger
from penstock.errors import StaleDefinitions
from penstock.runs.admission import admit, admit_deliveries
from penstock.runs.deliveries import NewDelivery
from penstock.runs.idempotency import IdempotencyKey
from penstock.runs.requests import CheckedRun
from penstock.runs.terminations import MAX_ANCESTORS
from tests.eventually import eventually
from tests.factories import build_run, change_run

ENVIRONMENT = "development"


def _root(**over: object) -> CheckedRun:
    return build_run(**over)


def _child(parent: UUID, step: str = "next", **over: object) -> CheckedRun:
    return build_run(run_id=child_run_id(parent, step), trigger=Trigger.RUN, parent_run_id=parent, **over)


async def _admit(database: Database, *requests: CheckedRun) -> list[Admission]:
    async def work(conn: Connection) -> list[Admission]:
        return await admit(conn, requests)

    return await database.in_transaction(work)


async def _fetchval(database: Database, statement: str, *arguments: object) -> object:
    async with database.connection() as conn:
        value: object = await conn.fetchval(statement, *arguments)
        return value


async def test_chain_of_runs_is_cut_beyond_the_limit_and_says_how_it_came_about(database: Database) -> None:
    request = _root()
    outcomes: list[Admission] = []
    for _ in range(12):
        (outcome,) = await _admit(database, request)
        outcomes.append(outcome)
        if isinstance(outcome, Terminated):
            break
        request = _child(request.run_id)
    assert [type(outcome) for outcome in outcomes] == [Admitted] * 11 + [Terminated]
    last = outcomes[-1]
    assert isinstance(last, Terminated)
    assert (last.reason, last.depth_limit, last.path) == (Termination.DEPTH_LIMIT, 10, ("loop",) * 12)
    warned = [outcome.run.depth for outcome in outcomes if isinstance(outcome, Admitted) and outcome.has_warned_chain]
    assert warned == [8]
    message = await _fetchval(database, "SELECT message FROM penstock.logs WHERE level = 'error'")
    assert "loop → loop" in str(message)
    assert "(the cycle is loop → loop, 12 times)" in str(message)
    error = await _fetchval(database, "SELECT error FROM penstock.runs WHERE state = 'terminated'")
    assert isinstance(error, dict)
    assert error["cycle"] == {"workflows": ["loop"], "rounds": 12}
    assert await _fetchval(database, "SELECT count(*) FROM penstock.notices WHERE kind = 'terminations'") == 1


async def test_chain_limit_is_exact_under_concurrent_admissions(database: Database) -> None:
    root = _root()
    await _admit(database, root)
    await _fetchval(database, "UPDATE penstock.environments SET chain_runs_limit = 50 WHERE name = $1", ENVIRONMENT)
    batches = [[_child(root.run_id, f"{batch}/{n}") for n in range(9)] for batch in range(20)]
    outcomes = [
        outcome for batch in await asyncio.gather(*(_admit(database, *batch) for batch in batches)) for outcome in batch
    ]
    admitted = [outcome for outcome in outcomes if isinstance(outcome, Admitted)]
    assert len(admitted) == 49
    assert {outcome.reason for outcome in outcomes if isinstance(outcome, Terminated)} == {Termination.CHAIN_LIMIT}
    assert len(outcomes) == 180


async def test_repeated_batches_do_not_count_twice_toward_the_chain_limit(database: Database) -> None:
    root = _root()
    await _admit(database, root)
    await _fetchval(database, "UPDATE penstock.environments SET chain_runs_limit = 10 WHERE name = $1", ENVIRONMENT)
    children = [_child(root.run_id, f"{n}") for n in range(5)]
    for turn in range(4):
        outcomes = await _admit(database, *children)
        assert {type(outcome) for outcome in outcomes} == {Duplicate if turn else Admitted}
    fresh = await _admit(database, *children, *(_child(root.run_id, f"new/{n}") for n in range(5)))
    assert Counter(type(outcome) for outcome in fresh) == {Duplicate: 5, Admitted: 4, Terminated: 1}


async def test_nothing_is_admitted_into_a_stopped_chain(database: Database) -> None:
    root = _root()
    await _admit(database, root)
    await _admit(database, _child(root.run_id, "before"))
    await _fetchval(database, "UPDATE penstock.chains SET stopped_at = clock_timestamp() WHERE id = $1", root.run_id)
    outcomes = await asyncio.gather(*(_admit(database, _child(root.run_id, f"{n}")) for n in range(10)))
    assert {outcome.reason for (outcome,) in outcomes if isinstance(outcome, Terminated)} == {Termination.CHAIN_STOPPED}
    assert await _fetchval(database, "SELECT count(*) FROM penstock.runs WHERE state <> 'terminated'") == 2


async def test_chain_that_multiplies_cannot_outrun_its_stop(database: Database) -> None:
    root = _root()
    await _admit(database, root)
    await _admit(database, _child(root.run_id, "first"))
    stop_at: list[int] = []

    async def multiply(lane: int) -> None:
        parents = [root.run_id]
        for generation in range(30):
            children = [_child(parent, f"{lane}/{generation}") for parent in parents[:20]]
            outcomes = await _admit(database, *children)
            parents += [
                outcome.run.id for outcome in outcomes if isinstance(outcome, Admitted) and outcome.run.depth < 9
            ]

    async def has_multiplied() -> bool:
        return cast("int", await _fetchval(database, "SELECT count(*) FROM penstock.runs")) > 50

    async def stop() -> None:
        await eventually(has_multiplied)
        statement = "UPDATE penstock.chains SET stopped_at = clock_timestamp() WHERE id = $1"
        await _fetchval(database, statement, root.run_id)
        count = await _fetchval(database, "SELECT count(*) FROM penstock.runs WHERE state <> 'terminated'")
        assert isinstance(count, int)
        stop_at.append(count)

    await asyncio.gather(multiply(0), multiply(1), stop())
    assert await _fetchval(database, "SELECT count(*) FROM penstock.runs WHERE state <> 'terminated'") == stop_at[0]


async def test_key_makes_one_run_of_two_hundred_concurrent_requests(database: Database) -> None:
    key = IdempotencyKey("test", "order-42", b"same")
    outcomes = [
        outcome
        for batch in await asyncio.gather(*(_admit(database, *(_root(key=key) for _ in range(4))) for _ in range(50)))
        for outcome in batch
    ]
    (made,) = [outcome.run.id for outcome in outcomes if isinstance(outcome, Admitted)]
    assert {outcome.of for outcome in outcomes if isinstance(outcome, Duplicate)} == {made}
    assert await _fetchval(database, "SELECT count(*) FROM penstock.runs") == 1


async def test_key_with_another_request_is_a_conflict_and_leaves_no_trace(database: Database) -> None:
    await _admit(database, _root(key=IdempotencyKey("test", "k", b"one")))
    (outcome,) = await _admit(database, _root(key=IdempotencyKey("test", "k", b"two")))
    assert isinstance(outcome, Rejected)
    assert outcome.code == "idempotency_conflict"
    assert await _fetchval(database, "SELECT count(*) FROM penstock.runs") == 1


async def test_key_of_a_rejected_request_may_be_used_again(database: Database) -> None:
    key = IdempotencyKey("test", "k", b"one")
    unknown = _child(new_run_id(), key=key)
    (outcome,) = await _admit(database, unknown)
    assert isinstance(outcome, Rejected)
    assert outcome.code == "unknown_parent"
    assert isinstance((await _admit(database, _root(key=key)))[0], Admitted)


async def test_expired_key_may_be_used_again(database: Database) -> None:
    key = IdempotencyKey("test", "k", b"one")
    await _admit(database, _root(key=key))
    await _fetchval(database, "UPDATE penstock.idempotency_keys SET created_at = created_at - interval '25 hours'")
    assert isinstance((await _admit(database, _root(key=key)))[0], Admitted)


async def test_parent_of_another_environment_is_refused(database: Database) -> None:
    root = _root()
    await _admit(database, root)
    (outcome,) = await _admit(database, _child(root.run_id, environment="live"))
    assert isinstance(outcome, Rejected)
    assert "belongs to development" in outcome.message


async def test_children_inherit_the_trace_of_their_parent_beside_their_own_context(database: Database) -> None:
    trace: dict[str, JsonValue] = {
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "baggage": "tenant=a",
    }
    root = _root(context={"trace": {**trace}, "request": {"method": "POST"}})
    plain, own = _child(root.run_id, "plain"), _child(root.run_id, "own", context={"user": None})
    await _admit(database, root)
    await _admit(database, plain, own)
    contexts = "SELECT context FROM penstock.runs WHERE id = $1"
    assert await _fetchval(database, contexts, plain.run_id) == {"trace": trace}
    assert await _fetchval(database, contexts, own.run_id) == {"trace": trace, "user": None}


async def test_request_checked_against_another_deployment_changes_nothing(database: Database) -> None:
    with pytest.raises(StaleDefinitions):
        await _admit(database, _root(), _root(version=7))
    assert await _fetchval(database, "SELECT count(*) FROM penstock.runs") == 0


def _delivery(run: CheckedRun, key: str, version: int = 0) -> tuple[CheckedRun, NewDelivery]:
    delivery_id = new_run_id()
    delivery = NewDelivery(delivery_id, ENVIRONMENT, "shop", key, None, version, (run.run_id,), {}, b"{}")
    return change_run(run, delivery_id=delivery_id, version=version), delivery


async def test_without_a_transaction_a_stale_delivery_keeps_the_whole_batch_from_being_stored(
    database: Database,
) -> None:
    (fresh, first), (stale, second) = _delivery(_root(), "a"), _delivery(_root(), "b", version=7)
    for requests, deliveries in (([fresh, stale], [first, second]), ([fresh], [first, second])):
        with pytest.raises(StaleDefinitions):
            await database.at_once(partial(admit_deliveries, runs=requests, deliveries=deliveries))
    assert await _fetchval(database, "SELECT count(*) FROM penstock.runs") == 0
    assert await _fetchval(database, "SELECT count(*) FROM penstock.deliveries") == 0


async def test_runs_of_a_delivery_that_is_known_are_not_admitted_and_those_beside_it_are(database: Database) -> None:
    known, delivery = _delivery(_root(), "a")
    await database.at_once(partial(admit_deliveries, runs=[known], deliveries=[delivery]))
    (copy, again), (other, new), lone = _delivery(_root(), "a"), _delivery(_root(), "b"), _root()
    admissions, delivered = await database.at_once(
        partial(admit_deliveries, runs=[copy, other, lone], deliveries=[again, new])
    )
    assert delivered == {new.id}
    assert {position: type(outcome) for position, outcome in admissions.items()} == {1: Admitted, 2: Admitted}
    assert await _fetchval(database, "SELECT count(*) FROM penstock.runs") == 3


async def test_rivals_with_the_same_children_make_each_once(database: Database) -> None:
    root = _root()
    await _admit(database, root)
    children = [_child(root.run_id, f"{n}") for n in range(50)]
    rivals = await asyncio.gather(*(_admit(database, *(children if n % 2 else reversed(children))) for n in range(8)))
    assert sum(isinstance(outcome, Admitted) for outcomes in rivals for outcome in outcomes) == 50
    assert await _fetchval(database, "SELECT count(*) FROM penstock.runs") == 51
    assert await _fetchval(database, "SELECT runs FROM penstock.chains WHERE id = $1", root.run_id) == 51


async def test_a_batch_that_ends_very_deep_is_told_of_in_time_with_a_shortened_path(database: Database) -> None:
    depth, children = 10_000, 1000
    ids = [new_run_id() for _ in range(depth)]
    async with database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO penstock.runs (
                id, chain_id, parent_run_id, environment, workflow, trigger, state, depth, scheduled_at, finished_at
            )
            SELECT q.id, $4, q.parent, $5, 'loop' || q.depth, 'run', 'succeeded', q.depth, now(), now()
            FROM unnest($1::uuid[], $2::uuid[], $3::int[]) AS q (id, parent, depth)
            """,
            ids,
            [None, *ids[:-1]],
            list(range(depth)),
            ids[0],
            ENVIRONMENT,
        )
    outcomes = await _admit(database, *(_child(ids[-1], str(number)) for number in range(children)))
    ended = [outcome for outcome in outcomes if isinstance(outcome, Terminated)]
    assert len(ended) == children
    last = [f"loop{number}" for number in range(depth - MAX_ANCESTORS, depth)]
    assert ended[0].path == ("loop0", "…", *last, "loop")
