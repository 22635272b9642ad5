"""Runs loops through the real services, in this process, and reports which runs were cut."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

import orjson
import pytest

from penstock.broker.port import Broker, Delivery
from penstock.contracts import envelope
from penstock.contracts.envelope import Message
from penstock.contracts.topology import EVENTS_EXCHANGE, SCHEDULE_EXCHANGE, app_routing_key
from penstock.db import Record
from penstock.settings import SECRET_PREFIX
from penstock.testing import AppUnderTest
from penstock.testing.house import House, open_house
from tests.loops.corpus import Link, Loop

ENVIRONMENT: Final = "development"
HANDED_ON: Final = (envelope.DEPTH, envelope.CHAIN_ID, envelope.PARENT_RUN_ID)
TRIGGERS: Final[dict[Link, str]] = {
    "schedule": "run", "delayed": "run", "list": "run", "change": "change", "message": "run", "http": "api",
    "other": "api", "event": "run_event", "recurrence": "recurrence",
}  # fmt: skip
"""What the row of a run that a link has started says of it."""


class CutRun(NamedTuple):
    """A run that was terminated, or would have been: why, how deep it is, and the workflows from the root to it."""

    reason: str
    depth: int
    path: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of a loop: the runs of each installation, in order of their ids, and how many things the first one
    made.
    """

    installations: list[list[Record]]
    things: int

    @property
    def runs(self) -> list[Record]:
        """The runs of all installations."""
        return [run for runs in self.installations for run in runs]

    def cut(self, *, installations: int = 2) -> list[CutRun]:
        """The cut runs of the first one or of both installations."""
        return sorted(cut for runs in self.installations[:installations] for cut in _find_cut(runs))

    def deepest(self) -> list[tuple[str, str]]:
        """Workflow and trigger of the runs from the root, left out, to the deepest one that was not cut, the last of
        several.
        """
        runs = self.installations[0]
        run = max((run for run in runs if not _reason(run)), key=lambda run: (run["depth"], run["id"]))
        return [(run["workflow"], run["trigger"]) for run in _lineage(runs, run)[1:]]


@dataclass(frozen=True)
class Stage:
    """A served loop. `houses` are two where it needs a second installation."""

    loop: Loop
    app: AppUnderTest
    houses: list[House]

    async def play(self, policy: str) -> Outcome:
        """Start the loop where it begins, move the time, and wait until nothing is left to do."""
        before = {run["id"] for run in await self._fetch("SELECT id FROM penstock.runs")}
        await self._fetch("UPDATE penstock.environments SET depth_policy = $1", policy)
        await self._fetch(f"TRUNCATE {ENVIRONMENT}.thing")
        await self._fetch("DELETE FROM penstock.recurrences WHERE origin = 'step'")
        if self.loop.start is not None:
            await self.app.start(self.loop.start.workflow, self.loop.start.parameters)
        await self.app.advance(self.loop.advance, within=60)
        await self._settle()
        runs = [
            [run for run in await _fetch(house, "SELECT * FROM penstock.runs ORDER BY id") if run["id"] not in before]
            for house in self.houses
        ]
        return Outcome(runs, await self.app.count("thing"))

    async def _settle(self) -> None:
        """Wait until all houses are idle; a call between them may be under way while each by itself is idle."""
        runs = -1
        while runs != (runs := await self._count_runs()):
            for house in self.houses:
                await AppUnderTest(house).wait_until_idle(within=60)

    async def _count_runs(self) -> int:
        return sum([len(await _fetch(house, "SELECT id FROM penstock.runs")) for house in self.houses])

    async def _fetch(self, statement: str, *arguments: object) -> list[Record]:
        """The rows of all houses. What a statement changes, it changes in each."""
        found = [await _fetch(house, statement, *arguments) for house in self.houses]
        return [row for rows in found for row in rows]


@asynccontextmanager
async def open_stage(loop: Loop, directory: Path, database_urls: list[str]) -> AsyncIterator[Stage]:
    """The loop's app, served; `database_urls` are as many as it needs installations."""
    loop.write(directory)
    async with AsyncExitStack() as stack:
        houses = [
            await stack.enter_async_context(
                open_house(
                    directory, environment=ENVIRONMENT, database_url=url, secrets={},
                    settings={"executor_concurrency": 8},
                )
            )
            for url in database_urls
        ]  # fmt: skip
        urls = {"HERE": houses[0].url, "THERE": houses[-1].url}
        variables = stack.enter_context(pytest.MonkeyPatch.context())
        for name, url in urls.items():
            variables.setenv(SECRET_PREFIX + name, url)
        for house in houses:
            await _renew_key(house)
            await AppUnderTest(house).deploy()
            await house.broker.subscribe(
                EVENTS_EXCHANGE, app_routing_key(ENVIRONMENT, "relay.*"), InternalService(house.broker)
            )
            await house.start()
        yield Stage(loop, AppUnderTest(houses[0]), houses)


class InternalService:
    """A service of one's own: what it hears it asks for, and hands on which run it comes from, as its manual says."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def __call__(self, delivery: Delivery) -> None:
        """A handler."""
        wanted = orjson.loads(delivery.message.body)
        body = orjson.dumps({**wanted, "environment": ENVIRONMENT})
        headers = {name: delivery.message.headers[name] for name in HANDED_ON}
        message = Message(body, message_id=f"relayed {delivery.message.message_id}", headers=headers)
        await self._broker.publish(SCHEDULE_EXCHANGE, f"{ENVIRONMENT}.{wanted['workflow']}", message)
        await delivery.ack()


async def _renew_key(house: House) -> None:
    """An installation knows its calls by its key, and copies of a template have the same."""
    await _fetch(house, "UPDATE penstock.installation SET lineage_key = sha256(gen_random_uuid()::text::bytea)")


async def _fetch(house: House, statement: str, *arguments: object) -> list[Record]:
    async with house.database.connection() as conn:
        return await conn.fetch(statement, *arguments)


def _find_cut(runs: list[Record]) -> list[CutRun]:
    """The runs that depth or lack of progress cut, or would have cut. What the chain's own limits cut is left out."""
    return [
        CutRun(reason, run["depth"], tuple(above["workflow"] for above in _lineage(runs, run)))
        for run in runs
        if (reason := _reason(run)) in {"depth_limit", "no_progress"}
    ]


def _reason(run: Record) -> str | None:
    """Why the run was cut, or would have been; a step that was refused for its depth counts."""
    observed = (run["budget"] or {}).get("observed")
    if isinstance(observed, str):
        return observed
    kind: str | None = (run["error"] or {}).get("kind")
    return kind if run["state"] == "terminated" or kind == "depth_limit" else None


def _lineage(runs: list[Record], run: Record) -> list[Record]:
    """The run and those above it, the root first."""
    by_id: dict[UUID, Record] = {run["id"]: run for run in runs}
    path = [run]
    while path[0]["parent_run_id"] in by_id:
        path.insert(0, by_id[path[0]["parent_run_id"]])
    return path
