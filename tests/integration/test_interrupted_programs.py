"""Random programs give the same data whether or not they are interrupted: connections cut in mid-commit, leases lost,
executors stopped.

The interruptions are real. A trigger in the test's database counts the records of a run's steps, and at some of them
ends its own connection (the executor cannot know what became of its commit) or lets the run's lease run out (another
attempt begins while the first still works). At others the test stops the executor as the end of a grace period does.
"""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Literal
from uuid import UUID

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from penstock.db import Record
from penstock.runtime import Resources, Stop
from penstock_scheduler.loops.reaping import reap_leases
from penstock_scheduler.room import Room, furnish
from tests.eventually import eventually
from tests.integration.executing import ENVIRONMENT, House
from tests.integration.scheduling import build_settings
from tests.site import Service

Kind = Literal["cut", "expire", "stop"]
Step = dict[str, JsonValue]
EXAMPLES: Final = 20
MAX_TRIES: Final = 20
WATCH: Final = f"""
CREATE SEQUENCE public.recorded;
CREATE TABLE public.interruptions (number bigint PRIMARY KEY, kind text NOT NULL);
CREATE TABLE public.changes (place text, change text);
CREATE FUNCTION public.note_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO public.changes
    SELECT split_part(n.name, '/', 1), TG_OP || ' ' || n.name FROM (SELECT coalesce(NEW.name, OLD.name) AS name) n;
    RETURN NULL;
END $$;
CREATE TRIGGER note_change AFTER INSERT OR UPDATE
    OR DELETE ON {ENVIRONMENT}.thing FOR EACH ROW EXECUTE FUNCTION public.note_change();
CREATE FUNCTION public.interrupt() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE what text; BEGIN
    IF EXISTS (SELECT FROM penstock.runs r WHERE r.id = NEW.run_id
        AND r.parameters ->> 'place' LIKE 'interrupted%') THEN
        SELECT i.kind INTO what FROM public.interruptions i WHERE i.number = (SELECT nextval('public.recorded'));
        IF what = 'cut' THEN
            PERFORM pg_terminate_backend(pg_backend_pid());
        ELSIF what = 'expire' THEN
            UPDATE penstock.runs SET lease_expires_at = clock_timestamp() - interval '1 s' WHERE id = NEW.run_id
                AND state = 'running';
        END IF;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER interrupt AFTER INSERT ON penstock.steps FOR EACH ROW EXECUTE FUNCTION public.interrupt();
"""


@dataclass(frozen=True)
class Operation:
    """One step of a program. What `number` means depends on the action; `inner` are the steps of a workflow that is
    triggered.
    """

    action: str
    number: int = 0
    inner: tuple["Operation", ...] = ()


def _triggers(inner: st.SearchStrategy[Operation], most: int) -> st.SearchStrategy[Operation]:
    return st.builds(Operation, st.just("trigger"), inner=st.lists(inner, max_size=most).map(tuple))


ACTIONS: Final = "create update delete state maybe schedule wait create_many update_many count".split()
SIMPLE: Final = st.builds(Operation, st.sampled_from(ACTIONS), st.integers(0, 3))
PROGRAMS: Final = st.lists(SIMPLE | _triggers(SIMPLE | _triggers(SIMPLE, 3), 4), min_size=5, max_size=9)
INTERRUPTIONS: Final = st.dictionaries(
    st.integers(1, 9), st.sampled_from(["cut", "expire", "stop"]), min_size=2, max_size=5
)
_NUMBERS = count(1)


@dataclass
class Compiler:
    """Makes workflows of operations. `labels` are the names of things that this or an earlier workflow of the program
    may have made.
    """

    workflows: list[dict[str, JsonValue]] = field(default_factory=list)
    labels: list[JsonValue] = field(default_factory=list)

    def compile(self, operations: Sequence[Operation], name: str = "program") -> str:
        """The name of the workflow that performs these operations; those it triggers come before it."""
        steps: list[JsonValue] = []
        counts: list[JsonValue] = []
        last: str | None = None
        for operation in operations:
            id = f"s{len(steps)}"
            label = f"${{params.place}}/{name}/{id}"
            step = (
                self._triggering(operation, f"{name}_{id}") if operation.inner else self._simple(operation, label, last)
            )
            if step is not None:
                steps.append({"id": id, **step})
                # What the next update or delete is about: the thing that this step's result is.
                last = {"create": id, "update": id, "delete": None}.get(operation.action, last)
                counts += [f"${{steps.{id}}}"] if operation.action == "count" else []
        steps.append({"return": {"n": "${state.n ?? 0}", "counts": counts}})
        parameters: JsonValue = {"place": "text"}
        self.workflows.append({"workflow": name, "parameters": parameters, "steps": steps})
        return name

    def _triggering(self, operation: Operation, name: str) -> Step:
        return {"trigger": self.compile(operation.inner, name), "with": {"place": "${params.place}"}}

    def _simple(self, operation: Operation, label: str, last: str | None) -> Step | None:
        number = operation.number
        known: JsonValue = [{"key": "name", "constraint_type": "in", "value": [*self.labels]}]
        if operation.action in {"create", "maybe", "create_many"}:
            self.labels.append(label)
        match operation.action:
            case "create":
                return {"create": "thing", "set": {"name": label, "remaining": number}}
            case "update" if last is not None:
                return {"update": f"${{steps.{last}}}", "set": {"remaining": f"${{steps.{last}.remaining + {number}}}"}}
            case "delete" if last is not None:
                return {"delete": f"${{steps.{last}}}"}
            case "state":
                return {"state": {"n": f"${{(state.n ?? 0) + {number}}}"}}
            case "maybe":
                return {
                    "when": f"(state.n ?? 0) > {number}",
                    "create": "thing",
                    "set": {"name": label, "remaining": "${state.n}"},
                }
            case "schedule":
                return {"schedule": "child", "with": {"place": label}}
            case "wait":
                return {"wait": f"{number}ms"}
            case "create_many":
                items: JsonValue = list(range(number))
                return {"create_many": "thing", "from": items, "set": {"name": label, "remaining": "${item}"}}
            case "update_many":
                return {"update_many": "thing", "where": known, "set": {"remaining": number}}
            case "count":
                return {"count": "thing", "where": known}
            case _:
                return None


CHILD: Final[dict[str, JsonValue]] = {
    "workflow": "child",
    "parameters": {"place": "text"},
    "steps": [{"create": "thing", "set": {"name": "${params.place}/child"}}],
}


@dataclass
class Laboratory:
    """A house whose database interrupts runs, with two executors, one of which may be stopped, and a scheduler."""

    house: House
    room: Room
    stack: AsyncExitStack
    executors: list[Service] = field(default_factory=list)

    async def deploy(self, operations: Sequence[Operation]) -> None:
        """Make these operations the workflow `program`."""
        compiler = Compiler()
        compiler.compile(operations)
        documents = [*compiler.workflows, CHILD]
        await self.house.deploy("\n---\n".join(orjson.dumps(document).decode() for document in documents))

    async def perform(
        self, kind: str, interruptions: dict[int, Kind]
    ) -> tuple[Record, Counter[str], list[tuple[str, float | None]]]:
        """Perform the program; the run's row, what was changed how often, and the things there are. `place` in names is
        left out.
        """
        place = f"{kind}{next(_NUMBERS)}"
        await self.house.fetch("SELECT setval('public.recorded', 1, false)")
        await self.house.fetch("DELETE FROM public.interruptions")
        await self.house.fetch(
            "INSERT INTO public.interruptions SELECT * FROM unnest($1::bigint[], $2::text[])",
            list(interruptions),
            list(interruptions.values()),
        )
        stops = sorted(number for number, what in interruptions.items() if what == "stop")
        run_id = await self.house.start("program", {"place": place})
        await eventually(lambda: self._turn(run_id, stops), within=60, every=0.005)
        changes = await self.house.fetch("SELECT change FROM public.changes WHERE place = $1", place)
        things = await self.house.fetch(
            f"SELECT name, remaining FROM {ENVIRONMENT}.thing WHERE name LIKE $1", f"{place}/%"
        )
        return (
            await self.house.get(run_id),
            Counter(row["change"].replace(place, "") for row in changes),
            sorted((row["name"].replace(place, ""), row["remaining"]) for row in things),
        )

    async def interrupt(
        self, interruptions: dict[int, Kind], attempts: int = 2
    ) -> AsyncIterator[tuple[Record, Counter[str], list[tuple[str, float | None]]]]:
        """Perform the program until one run of it took that many `attempts`, and yield what each gave: a fast run may
        end before anybody finds that its lease ran out, or that its executor was to be stopped.
        """
        for _ in range(MAX_TRIES):
            performed = await self.perform("interrupted", interruptions)
            yield performed
            if performed[0]["attempt"] >= attempts:
                return
        raise AssertionError(f"none of {MAX_TRIES} runs was interrupted")

    async def _turn(self, run_id: UUID, stops: list[int]) -> bool:
        """Reap at once what has lost its lease, stop an executor when it is time, and see whether the chain has
        ended.
        """
        await reap_leases(self.room)
        (row,) = await self.house.fetch("SELECT last_value FROM public.recorded")
        if stops and row["last_value"] >= stops[0]:
            stops.pop(0)
            await self.executors.pop(0).kill()
            await self.start_executor()
        # One snapshot: a run that has ended has recorded all that it has scheduled.
        (row,) = await self.house.fetch(
            """
            SELECT EXISTS (SELECT FROM penstock.runs r WHERE r.chain_id = $1 AND r.finished_at IS NULL) AS is_open,
                   EXISTS (
                       SELECT FROM penstock.steps s
                       WHERE s.run_id = $1 AND s.action = 'schedule' AND s.outcome = 'succeeded'
                         AND NOT EXISTS (SELECT FROM penstock.runs r WHERE r.id::text = s.result #>> '{}')
                   ) AS is_expected
            """,
            run_id,
        )
        return not row["is_open"] and not row["is_expected"]

    async def start_executor(self) -> None:
        """One more."""
        self.executors.append(await self.stack.enter_async_context(self.house.executor(lease_seconds=5)))


@pytest.fixture
async def laboratory(house: House) -> AsyncIterator[Laboratory]:
    """Ready to perform programs."""
    await house.deploy("workflow: program\nsteps: [{log: nothing}]\n")
    async with house.database.connection() as conn:
        await conn.execute(WATCH)
    async with AsyncExitStack() as stack:
        room = furnish(build_settings(), Resources(house.database, house.broker), Stop())
        laboratory = Laboratory(house, room, stack)
        laboratory.executors.append(await stack.enter_async_context(house.services(lease_seconds=5)))
        await laboratory.start_executor()
        yield laboratory
        await room.dispatches.drain()


@pytest.mark.parametrize("interruptions", [{4: "stop"}, dict.fromkeys(range(2, 12), "expire")], ids=["stop", "expire"])
async def test_interruptions_are_real(laboratory: Laboratory, interruptions: dict[int, Kind]) -> None:
    operations = [Operation("create"), *[Operation("update", 1) for _ in range(14)]]
    await laboratory.deploy(operations)
    async for run, changes, things in laboratory.interrupt(interruptions):
        assert run["state"] == "succeeded"
        assert changes == {"INSERT /program/s0": 1, "UPDATE /program/s0": 14}
        assert things == [("/program/s0", 14)]


async def test_a_connection_cut_in_mid_commit_is_survived_within_the_attempt(laboratory: Laboratory) -> None:
    await laboratory.deploy([Operation("create"), Operation("update", 1), Operation("update", 1)])
    run, changes, _ = await laboratory.perform("interrupted", {2: "cut", 3: "cut"})
    assert (run["state"], run["attempt"]) == ("succeeded", 1)
    assert changes == {"INSERT /program/s0": 1, "UPDATE /program/s0": 2}
    (row,) = await laboratory.house.fetch("SELECT last_value FROM public.recorded")
    assert row["last_value"] > 4  # more than there are steps: what was cut was recorded again


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(operations=PROGRAMS, interruptions=INTERRUPTIONS)
@pytest.mark.timeout(240)
async def test_interrupted_programs_give_the_same_data(
    laboratory: Laboratory, operations: list[Operation], interruptions: dict[int, Kind]
) -> None:
    await laboratory.deploy(operations)
    expected, expected_changes, expected_things = await laboratory.perform("quiet", {})
    run, changes, things = await laboratory.perform("interrupted", interruptions)
    assert expected["state"] == "succeeded", expected["error"]
    assert (run["state"], run["result"], run["error"]) == ("succeeded", expected["result"], None)
    assert changes == expected_changes
    assert things == expected_things
