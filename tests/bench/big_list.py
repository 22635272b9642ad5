"""A list over a search of very many things: what it takes, whether what it shows is true, and what others wait."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final

import aio_pika

from tests.acceptance.installation import Installation, Service
from tests.bench.machine import Cpu, memory_of_tree
from tests.eventually import eventually

if TYPE_CHECKING:
    from tests.bench.measures import Bench

ITEMS: Final = 1_000_000
"""Of a full measurement. A quick one has _FEW, and `PENSTOCK_BENCH_LIST_ITEMS` says how many otherwise."""
_FEW: Final = 20_000
_FILL_SECONDS: Final = 600
_FILL: Final = """
    INSERT INTO live.item ("_id", "created_date", "modified_date", "number", "part", "name")
    SELECT '1700000000000x' || lpad(n::text, 18, '0'), now() - n * interval '1 millisecond', now(), n,
           'part ' || n % 10000, 'item ' || n
    FROM generate_series(1, $1::int) n
    """
_ENDED: Final = """
    SELECT count(*) FROM penstock.runs WHERE list_id = $1::text::uuid AND finished_at IS NOT NULL
    """
_STARTED: Final = """
    SELECT count(*) FROM penstock.runs WHERE list_id = $1::text::uuid AND started_at IS NOT NULL
    """
_COUNTS: Final = """
    SELECT jsonb_object_agg(state, n) FROM (
        SELECT state, count(*) AS n FROM penstock.runs WHERE list_id = $1::text::uuid GROUP BY state
    ) counted
    """
_CALLS_EVERY_SECONDS: Final = 0.5
_PAUSED_SECONDS: Final = 3.0


@dataclass(slots=True)
class Seen:
    """What was seen of the list while it was performed."""

    memory: dict[str, list[float]] = field(default_factory=lambda: {"scheduler": [], "executor": []})
    call_ms: list[float] = field(default_factory=list)
    look_ms: list[float] = field(default_factory=list)
    wrong_by: list[float] = field(default_factory=list)
    finished: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class BigList:
    """One list of an installation, and what is done with it."""

    installation: Installation
    ingress: Service
    items: int
    seen: Seen
    id: str = ""

    async def begin(self) -> float:
        """Ask for the list; returns how many seconds the answer took."""
        began = time.perf_counter()
        wanted = {"job": "${item.number}", "payload": "${item.name}"}
        body = {"workflow": "insert", "find": "item", "where": {}, "with": wanted}
        answer = await self._ask("POST", "live/lists", body)
        assert answer["total"] == self.items, answer
        self.id = str(answer["id"])
        return time.perf_counter() - began

    async def show(self) -> Mapping[str, object]:
        """What the management API shows of it."""
        began = time.perf_counter()
        shown = await self._ask("GET", f"live/lists/{self.id}")
        self.seen.look_ms.append((time.perf_counter() - began) * 1000)
        return shown

    async def act(self, verb: str) -> None:
        """Pause, resume or cancel it."""
        await self._ask("POST", f"live/lists/{self.id}/{verb}")

    async def compare(self) -> None:
        """Note by which part of the whole the progress that is shown differs from what the database has."""
        before = await self.count(_ENDED)
        shown = _ended(await self.show())
        after = await self.count(_ENDED)
        self.seen.wrong_by.append(max(before - shown, shown - after, 0) / self.items)

    async def count(self, query: str) -> int:
        """A number from the database."""
        found = await self.installation.fetchval(query, self.id)
        assert isinstance(found, int)
        return found

    async def has_reached(self, share: float) -> bool:
        """Whether that part of the items has ended, as the API shows it."""
        return _ended(await self.show()) >= share * self.items

    async def is_over(self) -> bool:
        """Whether it is finished."""
        return (await self.show())["state"] == "finished"

    async def _ask(self, method: str, path: str, body: object = None) -> dict[str, object]:
        status, answer = await self.installation.manage(self.ingress, method, path, body)
        assert status < 300, answer
        assert isinstance(answer, dict)
        return answer


async def measure_big_list(bench: "Bench") -> Mapping[str, object]:
    """A list over a search, paused and resumed at a third, cancelled at nine tenths; and one cancelled at once."""
    items = int(os.environ.get("PENSTOCK_BENCH_LIST_ITEMS", ITEMS if bench.share == 1 else _FEW))
    async with bench.installation() as installation:
        ingress, scheduler, executor = await installation.start_all()
        seen = Seen()
        async with installation.database.connection() as conn:
            await conn.execute(_FILL, items, timeout=_FILL_SECONDS)
            await conn.execute("ANALYZE live.item", timeout=_FILL_SECONDS)
        async with _watching(installation, ingress, seen, {"scheduler": scheduler, "executor": executor}):
            with Cpu() as cpu:
                figures = await _perform(BigList(installation, ingress, items, seen))
            at_once = await _cancel_at_once(BigList(installation, ingress, items, seen))
        return {**figures, **at_once, **await _summarise(installation, seen), "cpu": cpu.shares}


async def _perform(big: BigList) -> dict[str, object]:
    asked = await big.begin()
    began = time.perf_counter()
    await _follow(big, 0.33)
    paused = await _pause(big)
    await _follow(big, 0.9)
    spent = time.perf_counter() - began - paused["pause_and_resume_seconds"]
    cancelled = await _cancel(big)
    return {"items": big.items, "begin_seconds": round(asked, 2), "items_per_second": round(0.9 * big.items / spent),
            **paused, **cancelled}  # fmt: skip


async def _follow(big: BigList, until: float) -> None:
    """Look at the list until that part has ended, and compare at each tenth."""
    tenths = [tenth / 10 for tenth in range(1, 10) if tenth / 10 < until]
    done = _ended(await big.show()) / big.items
    for share in [*(tenth for tenth in tenths if tenth > done), until]:
        await eventually(partial(big.has_reached, share), within=60 + big.items / 500, every=0.2)
        await big.compare()


async def _pause(big: BigList) -> dict[str, float]:
    """Pause the list, see that nothing of it starts any more, and resume it."""
    began = time.perf_counter()
    await big.act("pause")
    answered = time.perf_counter()
    await eventually(partial(_rests, big), within=60, every=0.1)
    rests = time.perf_counter()
    started = await big.count(_STARTED)
    await asyncio.sleep(_PAUSED_SECONDS)
    late = await big.count(_STARTED) - started
    await big.compare()
    resumed = time.perf_counter()
    await big.act("resume")
    await eventually(partial(_has_started, big, started + late), within=60, every=0.02)
    again = time.perf_counter()
    return {
        "pause_answer_ms": round((answered - began) * 1000), "pause_until_rest_ms": round((rests - began) * 1000),
        "started_in_pause": late, "resume_until_start_ms": round((again - resumed) * 1000),
        "pause_and_resume_seconds": again - began,
    }  # fmt: skip


async def _rests(big: BigList) -> bool:
    shown = await big.show()
    return bool(shown["paused"]) and shown["running"] == 0


async def _has_started(big: BigList, before: int) -> bool:
    return await big.count(_STARTED) > before


async def _cancel(big: BigList) -> dict[str, object]:
    """Cancel the list; its counts have to be those of its runs, and of the items that never became any."""
    began = time.perf_counter()
    await big.act("cancel")
    answered = time.perf_counter()
    await eventually(big.is_over, within=120, every=0.1)
    over = time.perf_counter()
    shown = await big.show()
    stored = await big.installation.fetchval(_COUNTS, big.id)
    assert isinstance(stored, str | dict)
    runs = json.loads(stored) if isinstance(stored, str) else stored
    given_up = big.items - sum(runs.values())
    is_true = shown["succeeded"] == runs["succeeded"] and shown["cancelled"] == runs.get("cancelled", 0) + given_up
    return {
        "cancel_answer_ms": round((answered - began) * 1000), "cancel_until_finished_ms": round((over - began) * 1000),
        "succeeded": shown["succeeded"], "cancelled": shown["cancelled"], "of_these_runs": runs.get("cancelled", 0),
        "counts_are_true": is_true and shown["remaining"] == 0,
    }  # fmt: skip


async def _cancel_at_once(big: BigList) -> dict[str, object]:
    await big.begin()
    await eventually(partial(big.has_reached, 1000 / big.items), within=60, every=0.02)
    figures = await _cancel(big)
    return {f"at_once_{name}": figures[name] for name in ("cancel_until_finished_ms", "cancelled", "counts_are_true")}


@asynccontextmanager
async def _watching(
    installation: Installation, ingress: Service, seen: Seen, services: Mapping[str, Service]
) -> AsyncIterator[None]:
    """Meanwhile: sample the memory, call another workflow twice a second, and count `list.finished`."""
    tasks = [
        asyncio.create_task(_repeat(0.5, partial(_sample, seen, services))),
        asyncio.create_task(_repeat(_CALLS_EVERY_SECONDS, partial(_call, installation, ingress, seen))),
    ]
    connection = await aio_pika.connect(installation.amqp_url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind("penstock.events", "live.list.finished")
        await queue.consume(partial(_note, seen), no_ack=True)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


async def _repeat(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.gather(work(), asyncio.sleep(seconds))


async def _sample(seen: Seen, services: Mapping[str, Service]) -> None:
    for name, service in services.items():
        seen.memory[name].append(await asyncio.to_thread(memory_of_tree, service.process.pid))


async def _call(installation: Installation, ingress: Service, seen: Seen) -> None:
    began = time.perf_counter()
    status, answer = await installation.call(ingress, "answer", {})
    assert status == 200, answer
    seen.call_ms.append((time.perf_counter() - began) * 1000)


async def _note(seen: Seen, message: aio_pika.abc.AbstractIncomingMessage) -> None:
    id = json.loads(message.body)["list_id"]
    seen.finished[id] = seen.finished.get(id, 0) + 1


async def _summarise(installation: Installation, seen: Seen) -> dict[str, object]:
    starts = await installation.fetchval(
        """
        SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - created_at)::float8) * 1000
        FROM penstock.runs WHERE workflow = 'answer' AND started_at IS NOT NULL
        """
    )
    assert isinstance(starts, float)
    memory = {
        f"{name}_mb": {"at_first": round(values[0]), "at_most": round(max(values)),
                       "grown": round(max(values) - values[0], 1)}
        for name, values in seen.memory.items()
    }  # fmt: skip
    return {
        **memory, "others_start_p50_ms": round(starts, 1), "others_call_p50_ms": round(median(seen.call_ms), 1),
        "others_call_p99_ms": round(quantiles(seen.call_ms, n=100)[98], 1), "calls": len(seen.call_ms),
        "progress_wrong_by_at_most": round(max(seen.wrong_by), 5), "compared": len(seen.wrong_by),
        "look_p50_ms": round(median(seen.look_ms), 1), "look_max_ms": round(max(seen.look_ms), 1),
        "finished_events": sorted(seen.finished.values()),
    }  # fmt: skip


def _ended(shown: Mapping[str, object]) -> int:
    return sum(int(str(shown[name])) for name in ("succeeded", "failed", "skipped", "cancelled", "terminated"))
