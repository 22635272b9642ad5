"""The executor is killed between any two steps of a run: every change of data happens once, every call to the outside
at most twice.

A trigger in the test's database holds up the transaction that records a certain step of a certain run. So the process
dies at the worst moment there is: the step has been carried out, or is about to be committed, and nobody knows.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, cast
from uuid import UUID

import pytest
from aiohttp import web

from tests.acceptance.installation import Installation, Service
from tests.eventually import eventually
from tests.integration.executing import serve_outside
from tests.site import deploy_files

ENVIRONMENT: Final = "live"
APP: Final = """
workflow: journey
parameters: {place: text}
timeout: 2m
steps:
  - id: made
    create: thing
    set: {place: "${params.place}", label: made, number: 1}
  - id: called
    http: "${secrets.OUTSIDE}/called"
    method: POST
    json: {place: "${params.place}"}
  - id: child
    schedule: child
    with: {place: "${params.place}"}
  - id: grown
    update: "${steps.made}"
    set: {number: "${steps.made.number + 1}"}
  - id: pause
    wait: 20ms
  - id: many
    create_many: thing
    from: [1, 2, 3]
    set: {place: "${params.place}", label: "item ${item}", number: "${item}"}
  - id: inner
    trigger: inner
    with: {place: "${params.place}"}
  - id: raised
    update_many: thing
    where: {place: "${params.place}", label: item 2}
    set: {number: 20}
  - id: sent
    send: "${secrets.OUTSIDE}/sent"
    payload: {place: "${params.place}"}
    secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
  - id: answered
    return:
      {made: "${steps.made._id}", many: "${len(steps.many)}", inner: "${steps.inner.word}", raised: "${steps.raised}"}
---
workflow: inner
parameters: {place: text}
steps:
  - state: {word: "in ${params.place}"}
  - id: thing
    create: thing
    set: {place: "${params.place}", label: inner}
  - id: call
    http: "${secrets.OUTSIDE}/inner"
    method: POST
  - return: {word: "${state.word}"}
---
workflow: child
parameters: {place: text}
steps:
  - create: thing
    set: {place: "${params.place}", label: child}
"""
TYPES: Final = "type: thing\nfields: {place: text, label: text, number: number}\n"
PLACES: Final = "made called child grown pause many inner inner/thing inner/call raised sent answered".split()
CHANGES: Final = {
    "INSERT made": 1, "UPDATE made": 1, "INSERT child": 1, "INSERT inner": 1, "INSERT item 1": 1, "INSERT item "
                                                                                                  "2": 1,
                                                                                                  "INSERT item 3": 1,
    "UPDATE item 2": 1,
}  # fmt: skip
GATE: Final = 4711
WATCH: Final = f"""
CREATE TABLE public.held (place text PRIMARY KEY);
CREATE TABLE public.changes (place text, change text);
-- The triggers run with the rights of the services.
GRANT SELECT, INSERT ON public.held, public.changes TO PUBLIC;
CREATE FUNCTION public.note_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO public.changes VALUES (NEW.place, TG_OP || ' ' || NEW.label);
    RETURN NEW;
END $$;
CREATE TRIGGER note_change AFTER INSERT
    OR UPDATE ON {ENVIRONMENT}.thing FOR EACH ROW EXECUTE FUNCTION public.note_change();
CREATE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (
        SELECT FROM public.held h JOIN penstock.runs r ON r.parameters ->> 'place' = h.place
        WHERE r.id = NEW.run_id AND r.workflow = 'journey' AND h.place = NEW.step
    ) THEN
        PERFORM pg_advisory_xact_lock_shared({GATE});
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER hold BEFORE INSERT ON penstock.steps FOR EACH ROW EXECUTE FUNCTION public.hold();
"""
BLOCKED: Final = """
SELECT coalesce(array_agg(pid), '{}') FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'advisory'
"""


@dataclass
class Recorder:
    """A server outside that keeps what it is asked: path and idempotency key."""

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)

    async def handle(self, request: web.Request) -> web.Response:
        """200."""
        key = request.headers.get("Idempotency-Key") or request.headers.get("webhook-id")
        self.calls[request.path, str(key)] += 1
        return web.json_response({})


@asynccontextmanager
async def _gate(installation: Installation) -> AsyncIterator[None]:
    """While the block runs, everyone who records a held step waits."""
    async with installation.database.connection() as conn, conn.transaction():
        await conn.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        await conn.execute("SELECT pg_advisory_xact_lock($1)", GATE)
        yield


async def _prepare(installation: Installation) -> None:
    files = {"app.yaml": "app: journeys", "types/thing.yaml": TYPES, "workflows/all.yaml": APP}
    await deploy_files(installation.database, files, ENVIRONMENT)
    async with installation.database.connection() as conn:
        await conn.execute(WATCH)


@dataclass
class Fleet:
    """Two executors; one that is killed is replaced."""

    installation: Installation
    settings: Mapping[str, str]
    executors: list[Service] = field(default_factory=list)

    async def start(self) -> None:
        """One more; it gets ready by itself."""
        self.executors.append(await self.installation.start("executor", is_awaited=False, **self.settings))

    async def are_ready(self) -> bool:
        """Whether all of them are."""
        return all([await self.installation.is_ready(executor) for executor in self.executors])

    async def kill_owner(self, run_id: UUID) -> None:
        """SIGKILL for the one that performs this run, and a new one in its place."""
        owner = await self.installation.fetchval("SELECT owner FROM penstock.runs WHERE id = $1", run_id)
        (executor,) = [each for each in self.executors if str(each.process.pid) == str(owner).split(":")[1]]
        await executor.kill()
        self.executors.remove(executor)
        await self.start()


async def _kill_at(place: str, installation: Installation, fleet: Fleet, ingress: Service) -> UUID:
    """Start a run, kill its executor as it records that step, and wait until another has finished it."""
    await installation.fetchval("INSERT INTO public.held VALUES ($1)", place)
    async with _gate(installation):
        _, run = await installation.manage(
            ingress, "POST", "live/runs", {"workflow": "journey", "parameters": {"place": place}}
        )
        run_id = UUID(cast("dict[str, str]", run)["id"])
        await eventually(
            lambda: installation.fetchval(f"SELECT cardinality(pids) FROM ({BLOCKED}) AS b (pids)"), within=40
        )
        await fleet.kill_owner(run_id)
        # As if its whole machine had died: otherwise the server might still commit what was on its way.
        await installation.fetchval(f"SELECT count(pg_terminate_backend(pid)) FROM unnest(({BLOCKED})) AS b (pid)")
        await installation.fetchval("DELETE FROM public.held")
    await eventually(partial(_has_ended, installation, run_id), within=60)
    return run_id


async def _has_ended(installation: Installation, run_id: UUID) -> bool:
    return bool(await installation.fetchval("SELECT finished_at IS NOT NULL FROM penstock.runs WHERE id = $1", run_id))


@pytest.mark.timeout(400)
async def test_an_executor_killed_at_any_step_repeats_no_change_and_no_call_more_than_once(
    installation: Installation,
) -> None:
    await _prepare(installation)
    recorder = Recorder()
    async with serve_outside(recorder.handle) as url:
        fleet = Fleet(installation, {"PENSTOCK_SECRET_OUTSIDE": url, "PENSTOCK_OUTGOING_ALLOW": "127.0.0.0/8"})
        ingress, _ = await asyncio.gather(installation.start("ingress"), installation.start("scheduler"))
        await asyncio.gather(fleet.start(), fleet.start())
        runs = {}
        for place in PLACES:
            await eventually(fleet.are_ready, within=60)
            runs[place] = await _kill_at(place, installation, fleet, ingress)
        await installation.settled(within=60)
    for place, run_id in runs.items():
        await _assert_done_once(installation, place, run_id)
        expected = {("/called", f"{run_id}/called"), ("/inner", f"{run_id}/inner/call"), ("/sent", f"{run_id}/sent")}
        calls = {call: count for call, count in recorder.calls.items() if call[1].startswith(str(run_id))}
        assert calls.keys() == expected, place
        repeated = {key: count for (_, key), count in calls.items() if count > 1}
        # Only the call that was made and not yet recorded is made again, under the same key.
        assert sum(repeated.values()) in {0, 2}, place
        if place in {"called", "inner/call", "sent"}:
            assert repeated == {f"{run_id}/{place}": 2}, place


async def _assert_done_once(installation: Installation, place: str, run_id: UUID) -> None:
    async with installation.database.connection() as conn:
        run = await conn.fetchrow("SELECT * FROM penstock.runs WHERE id = $1", run_id)
        rows = await conn.fetch("SELECT change, count(*) FROM public.changes WHERE place = $1 GROUP BY 1", place)
        children = await conn.fetchval("SELECT count(*) FROM penstock.runs WHERE parent_run_id = $1", run_id)
    assert run is not None
    assert (run["state"], run["failures"]) == ("succeeded", 0), (place, run["error"])
    assert {row["change"]: row["count"] for row in rows} == CHANGES, place
    assert children == 1, place
    assert {**run["result"], "made": None} == {"made": None, "many": 3, "inner": f"in {place}", "raised": 1}, place
    assert run["attempt"] >= 3, place  # the first, that after the crash, and that after the wait, in whatever order
