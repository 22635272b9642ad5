"""Lists over a search. The search is stored with the list, and schedulers go through it, a chunk at a time.

What was there when the list began is found, in the order of `Created Date` (`until` is a bound of it), as far as the
user who has begun the list may see it, by the rules and the user's fields of the time when a chunk is found. Each chunk
begins behind the last thing of the one before, so a thing is found once. One that has been deleted meanwhile, or does
not meet the search any more, is passed over; how many these were is known at the end, and `total` is exact then.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from pydantic import JsonValue, TypeAdapter

from penstock.db import Connection
from penstock.definitions.models import DataType
from penstock.definitions.values import format_date
from penstock.things.constraints import Restricted, Where
from penstock.things.privacy import Viewer
from penstock.things.records import Page, Window, count_things, find_things

_MOMENT = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class ListSearch:
    """What a list goes through: the things of a type that meet `where` and were created before `until`.

    `written` are the parameters of each item's run, templates that see `scope`, the thing as `item`, and `index`;
    `rewritten` are expressions of theirs that read through references. `user_id` is who searches, unless everything is
    seen. `after` is where the first chunk ended that was stored with the list.
    """

    type: str
    where: JsonValue
    until: datetime
    written: dict[str, JsonValue] = field(default_factory=dict)
    scope: dict[str, JsonValue] = field(default_factory=dict)
    rewritten: dict[str, str] = field(default_factory=dict)
    sees_all: bool = True
    user_id: str | None = None
    after: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As it is stored."""
        return {**asdict(self), "until": self.until.isoformat()}

    @classmethod
    def from_json(cls, stored: JsonValue) -> Self:
        """What `to_json` made."""
        return TypeAdapter(cls).validate_python(stored)

    def constraints(self, user: Mapping[str, JsonValue] | None) -> Where:
        """What the things have to meet, for who searches: `user` is the thing of that user."""
        where = self.where if isinstance(self.where, dict | list) else None
        return where if self.sees_all else Restricted(where, Viewer(user=user, now=format_date(datetime.now(UTC))))


def until_now(now: datetime) -> datetime:
    """The bound of a search that begins now: what was created by now is found."""
    return now + _MOMENT


async def find_chunk(
    conn: Connection, *, environment: str, data_type: DataType, search: ListSearch,
    user: Mapping[str, JsonValue] | None, most: int,
) -> Page:  # fmt: skip
    """The next things behind `search.after`. Raises ConstraintProblem."""
    return await find_things(
        conn,
        environment=environment,
        data_type=data_type,
        where=search.constraints(user),
        window=Window(most, search.after, until=search.until),
    )


async def count_all(
    conn: Connection, *, environment: str, data_type: DataType, where: Where, until: datetime, seconds: float
) -> int:
    """How many things a search will find that begins now. Raises ConstraintProblem; TimeoutError."""
    return await count_things(
        conn, environment=environment, data_type=data_type, where=where, until=until, seconds=seconds
    )
