"""Searches for things that took long, summed in memory by their shape and written now and then.

A shape is the type, which fields are constrained how, and by what is sorted; no value of anybody is kept. A process
that dies loses what it has not written. What is found here, `penstock doctor` makes suggestions of (`index_advice`).
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from penstock.db import Connection, Database
from penstock.definitions.fields import find_field
from penstock.definitions.models import DataType
from penstock.logs import get_logger
from penstock.things.constraints import Restricted, Where
from penstock.things.ordering import BY_AGE, Order

log = get_logger(__name__)

SLOW_SECONDS: Final = 0.1
FLUSH_SECONDS: Final = 30.0
MAX_ROWS: Final = 500
_MAX_NOTED: Final = 100
"""Shapes that a process keeps until they are written."""
_MAX_FIELDS: Final = 8
"""Of a shape; so that it fits into a key."""


class Shape(NamedTuple):
    """What a search of a type asks for: pairs of a field and a constraint type, sorted, and the fields of its order."""

    environment: str
    data_type: str
    where: tuple[tuple[str, str], ...]
    sort: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SlowSearch:
    """How often searches of one shape were slow, and how long they took, in seconds."""

    shape: Shape
    count: int
    total_seconds: float
    max_seconds: float


class SlowSearches:
    """The slow searches of one process. `threshold` is how long one takes to count, in seconds."""

    def __init__(self, database: Database, threshold: float = SLOW_SECONDS) -> None:
        self._database = database
        self._threshold = threshold
        self._noted: dict[Shape, SlowSearch] = {}

    @contextmanager
    def watch(self, environment: str, data_type: DataType, where: Where, order: Order = BY_AGE) -> Iterator[None]:
        """Note the search that the block makes if it takes long, also where it fails by that."""
        began = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - began
            if seconds >= self._threshold:
                self._note(SlowSearch(_shape_of(environment, data_type, where, order), 1, seconds, seconds))

    async def flush(self) -> None:
        """Write what was noted since the last time. Raises DatabaseUnavailable; what was noted is kept then."""
        noted, self._noted = self._noted, {}
        if not noted:
            return
        try:
            async with self._database.connection() as conn:
                await add_slow_searches(conn, searches=sorted(noted.values(), key=lambda search: search.shape))
        except BaseException:
            for search in noted.values():
                self._note(search)
            raise

    async def close(self) -> None:
        """Write what is left; what cannot be written now is lost, with a line in the log."""
        try:
            await self.flush()
        except Exception as error:
            log.warning("slow_searches.not_written", error=f"{type(error).__name__}: {error}")

    def _note(self, search: SlowSearch) -> None:
        known = self._noted.get(search.shape)
        if known is not None:
            search = SlowSearch(
                search.shape,
                known.count + search.count,
                known.total_seconds + search.total_seconds,
                max(known.max_seconds, search.max_seconds),
            )
        elif len(self._noted) >= _MAX_NOTED:
            return
        self._noted[search.shape] = search


async def add_slow_searches(conn: Connection, *, searches: list[SlowSearch]) -> None:
    """Add to the sums, in one order, so that two processes wait for each other instead of both. Forgets what was last
    slow 30 days ago; where there are MAX_ROWS, other shapes are left out.
    """
    await conn.execute(
        """
        DELETE FROM penstock.slow_searches WHERE last_at < statement_timestamp() - interval '30 days'
        """
    )
    await conn.execute(
        """
        INSERT INTO penstock.slow_searches AS s (environment, data_type, shape, count, total_seconds, max_seconds)
        SELECT q.environment, q.data_type, q.shape, q.count, q.total_seconds, q.max_seconds
        FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::float8[], $6::float8[])
            AS q (environment, data_type, shape, count, total_seconds, max_seconds)
        WHERE (SELECT count(*) FROM penstock.slow_searches) < $7
           OR EXISTS (SELECT FROM penstock.slow_searches k
                      WHERE (k.environment, k.data_type, k.shape) = (q.environment, q.data_type, q.shape))
        ON CONFLICT (environment, data_type, shape) DO UPDATE
            SET count = s.count + EXCLUDED.count, total_seconds = s.total_seconds + EXCLUDED.total_seconds,
                max_seconds = greatest(s.max_seconds, EXCLUDED.max_seconds), last_at = statement_timestamp()
        """,
        [search.shape.environment for search in searches],
        [search.shape.data_type for search in searches],
        [json.dumps({"where": search.shape.where, "sort": search.shape.sort}) for search in searches],
        [search.count for search in searches],
        [search.total_seconds for search in searches],
        [search.max_seconds for search in searches],
        MAX_ROWS,
    )


async def list_slow_searches(conn: Connection) -> list[SlowSearch]:
    """All of them; first those on which most time was spent."""
    rows = await conn.fetch(
        """
        SELECT environment, data_type, shape, count, total_seconds, max_seconds FROM penstock.slow_searches
        ORDER BY total_seconds DESC, environment, data_type, shape
        """
    )
    return [
        SlowSearch(
            _read_shape(row["environment"], row["data_type"], row["shape"]),
            row["count"],
            row["total_seconds"],
            row["max_seconds"],
        )
        for row in rows
    ]


def _read_shape(environment: str, data_type: str, text: str) -> Shape:
    parts = json.loads(text)
    where = tuple((str(field), str(kind)) for field, kind in parts["where"])
    return Shape(environment, data_type, where, tuple(map(str, parts["sort"])))


def _shape_of(environment: str, data_type: DataType, where: Where, order: Order) -> Shape:
    conditions = where.where if isinstance(where, Restricted) else where
    pairs = set[tuple[str, str]]()
    if isinstance(conditions, Mapping):
        pairs = {(key, "equals") for key in conditions}
    elif conditions is not None:
        pairs = {
            (str(item.get("key")), str(item.get("constraint_type"))) for item in conditions if isinstance(item, dict)
        }
    known = ((find_field(data_type, key), kind) for key, kind in pairs)
    named = sorted({(field.name, kind) for field, kind in known if field is not None})
    sorts = [name for name in (order.sort, *(name for name, _ in order.further)) if name is not None]
    fields = [found.name if (found := find_field(data_type, name)) else name[:63] for name in sorts]
    return Shape(environment, data_type.name, tuple(named[:_MAX_FIELDS]), tuple(fields[:_MAX_FIELDS]))
