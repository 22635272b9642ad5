"""Lists beyond the 50,000 things at which Bubble's end: by `cursor`, each page from behind the one before it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from tests.integration.ingress import ADMIN, Ingress, running_ingress, write_app

MANY = 50_250
FIRST = 49_950
ORDERS = "/api/1.1/obj/order"


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    async with running_ingress(database_url, amqp_url, write_app(tmp_path)) as running:
        await running.fetch(
            """
            INSERT INTO live."order" (_id, created_date, modified_date, number, name)
            SELECT '1700000000000x' || lpad(n::text, 6, '0'), '2026-01-01'::timestamptz + n * interval '1 s', now(),
                   CASE WHEN n % 3 > 0 THEN n / 10 END, 'a'
            FROM generate_series(0, $1::int - 1) n
            """,
            MANY,
        )
        yield running


async def read(ingress: Ingress, query: str) -> tuple[list[int], int]:
    """The numbers of the things of a page, by their ids, and `remaining`."""
    answer = await ingress.send("GET", f"{ORDERS}?{query}", headers=ADMIN)
    assert answer.status == 200, answer.body
    page = cast("dict[str, object]", answer.json["response"])
    things = cast("list[dict[str, str]]", page["results"])
    assert page["count"] == len(things)
    return [int(thing["_id"][14:]) for thing in things], cast("int", page["remaining"])


async def test_pages_beyond_bubbles_end_follow_each_other(ingress: Ingress) -> None:
    assert await read(ingress, f"cursor={MANY - 1}&limit=5") == ([MANY - 1], 0), "a jump"
    for sort in ("", "sort_field=_id", "sort_field=Created Date&descending=true".replace(" ", "%20")):
        falls = "descending" in sort
        cursor = FIRST
        while cursor < MANY:
            ids, remaining = await read(ingress, f"cursor={cursor}&{sort}")
            places = range(cursor, min(cursor + 100, MANY))
            assert ids == [MANY - 1 - place if falls else place for place in places]
            assert remaining == MANY - cursor - len(ids)
            cursor += len(ids)
        assert await read(ingress, f"cursor={cursor}&{sort}") == ([], 0)
    seen = set[int]()
    for cursor in range(FIRST, MANY, 100):
        for further in ("", "&additional_sort_fields=%5B%7B%22sort_field%22:%22name%22%7D%5D"):
            ids, remaining = await read(ingress, f"cursor={cursor}&sort_field=number{further}")
            assert remaining == MANY - cursor - len(ids)
            seen.update(ids)
    assert len(seen) == MANY - FIRST, "with empty values, too"

    # What is deleted before a page moves the positions. The next page is behind the last one all the same.
    await read(ingress, "cursor=50000")
    await ingress.fetch("""DELETE FROM live."order" WHERE _id <= '1700000000000x000049'""")
    assert (await read(ingress, "cursor=50100"))[0] == list(range(50_100, 50_200))
    assert (await read(ingress, "cursor=50110&limit=3"))[0] == [50_110, 50_111, 50_112], "from the nearest one"
    assert (await read(ingress, "cursor=50100&sort_field=Slug"))[0][0] == 50_150, "another list has no such place"
