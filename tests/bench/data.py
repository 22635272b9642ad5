"""Things by the million over HTTP: an import beside a bare COPY of the same rows, pages of lists, bulk creation."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from statistics import median
from typing import Final
from urllib.parse import quote

from penstock.db import Connection
from penstock.things.records import Window, find_things
from tests.acceptance.installation import ADMIN_TOKEN, Installation, Service
from tests.bench.bulk import MemoryPeak
from tests.factories import build_type

GROUPS: Final = 10_000
_TRIES: Final = 100
_ADMIN: Final = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
_ITEM: Final = build_type("item", {"number": "number", "part": "text", "name": "text", "made": "date"})
_BARE: Final = """
    CREATE TABLE public.bare (
        "_id" text PRIMARY KEY, "created_date" timestamptz, "modified_date" timestamptz, "created_by" text, "slug" text,
        "number" numeric, "part" text, "name" text, "made" timestamptz
    );
    CREATE INDEX ON public.bare ("created_date", "_id");
    CREATE INDEX ON public.bare ("part", "_id");
    """


async def measure_things(installation: Installation, ingress: Service, rows: int) -> dict[str, object]:
    """Seconds and ratios of an import of this many rows, milliseconds of pages of them, and of 1,000 lines of bulk."""
    async with MemoryPeak(ingress) as peak:
        imported = await _time(lambda: _import(installation, ingress, rows))
    async with installation.database.connection() as conn:
        bare = await _time(lambda: _copy(conn, rows))
        await conn.execute("VACUUM ANALYZE live.item", timeout=300)
        deep = await find_things(conn, environment="live", data_type=_ITEM, window=Window(100, skip=rows - 200))
    where = json.dumps([{"key": "part", "constraint_type": "equals", "value": "part 77"}])
    first = f"constraints={quote(where)}"
    figures = {
        "first_page_ms": await _page(installation, ingress, first),
        "first_page_without_remaining_ms": await _page(installation, ingress, f"{first}&exclude_remaining=true"),
        "unconstrained_page_ms": await _page(installation, ingress, "exclude_remaining=true"),
        "unconstrained_page_with_remaining_ms": await _page(installation, ingress, ""),
        "last_page_by_after_ms": await _page(installation, ingress, f"after={deep.after}"),
        "jump_to_last_cursor_ms": await _page(installation, ingress, f"cursor={rows - 150}", tries=1),
    }
    await _page(installation, ingress, f"cursor={rows - 200}", tries=1)
    figures["last_cursor_ms"] = await _page(installation, ingress, f"cursor={rows - 100}")
    return {
        "rows": rows,
        "import_seconds": round(imported, 2),
        "copy_seconds": round(bare, 2),
        "import_to_copy": round(imported / bare, 2),
        "memory_growth_mb": round(peak.growth, 1),
        **figures,
        "bulk_1000_lines_ms": await _bulk(installation, ingress),
    }


async def _time(work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def _import(installation: Installation, ingress: Service, rows: int) -> None:
    url = f"{ingress.admin_url}/v1/live/data/item/import"
    headers = {**_ADMIN, "Content-Type": "text/csv"}
    async with installation.http.post(url, data=_lines(rows), headers=headers, timeout=None) as response:
        answer = await response.json()
        assert (response.status, answer["created"]) == (200, rows), answer


async def _lines(rows: int) -> AsyncIterator[bytes]:
    yield b"number,part,name,made\n"
    for first in range(0, rows, 1000):
        yield "".join(
            f"1{n}.50,part {n % GROUPS},item {n} of many,2026-01-01T00:00:00.000Z\n"
            for n in range(first, min(first + 1000, rows))
        ).encode()


async def _copy(conn: Connection, rows: int) -> None:
    """The same rows and indexes by COPY alone: what PostgreSQL itself takes for them."""
    await conn.execute(_BARE)

    async def lines() -> AsyncIterator[bytes]:
        for first in range(0, rows, 1000):
            yield "".join(
                f"1700000000000x{n:018d},2026-01-01,2026-01-01,admin_user_bench_live,,1{n}.50,part {n % GROUPS},"
                f"item {n} of many,2026-01-01\n"
                for n in range(first, min(first + 1000, rows))
            ).encode()

    await conn.copy_to_table("bare", schema_name="public", source=lines(), format="csv", timeout=600)
    await conn.execute("DROP TABLE public.bare")


async def _page(installation: Installation, ingress: Service, query: str, *, tries: int = _TRIES) -> float:
    """The median of the milliseconds that a page takes, as its client sees it."""
    url, taken = f"{ingress.url}/api/1.1/obj/item?{query}", []
    for _ in range(tries):
        began = time.perf_counter()
        async with installation.http.get(url, headers=_ADMIN) as response:
            answer = await response.json()
            assert response.status == 200, answer
            assert answer["response"]["count"], answer
        taken.append(time.perf_counter() - began)
    return round(median(taken) * 1000, 2)


async def _bulk(installation: Installation, ingress: Service) -> float:
    body = "\n".join(json.dumps({"number": n, "part": f"part {n}", "name": "x" * 100}) for n in range(1000)).encode()
    taken = []
    for _ in range(10):
        began = time.perf_counter()
        headers = {**_ADMIN, "Content-Type": "text/plain"}
        async with installation.http.post(
            f"{ingress.url}/api/1.1/obj/item/bulk", data=body, headers=headers
        ) as response:
            text = await response.text()
            assert (response.status, text.count('"success"')) == (200, 1000), text[:200]
        taken.append(time.perf_counter() - began)
    return round(median(taken) * 1000, 1)
