"""What every statement about lines of the log asks beside the way to them."""

from collections.abc import Sequence
from typing import Final

from penstock.db import Connection
from penstock.runs.views.logs.filters import LogFilter
from penstock.runs.views.logs.unfolding import ENDS
from penstock.store.logs import LogEvent

_PLAIN: Final = (
    LogEvent.RECEIVED, LogEvent.SCHEDULED, LogEvent.STARTED, LogEvent.CONDITION_PASSED, LogEvent.CONDITION_NOT_PASSED,
    LogEvent.FINISHED, LogEvent.SCHEDULED_DONE,
)  # fmt: skip
"""Kinds of lines that have no text but the name of their workflow."""


def residual(wanted: LogFilter, names: Sequence[str], *, reads_all_ends: bool = False) -> tuple[object, ...]:
    """The arguments of `statements.IS_WANTED` behind the environment; `names` are those of `list_names`.

    With `reads_all_ends`, what a run's end stands for is looked through whatever its workflow is called.
    """
    return (
        wanted.run_id,
        wanted.chain_id,
        wanted.workflow,
        wanted.user_id,
        wanted.levels,
        None if wanted.kinds is None else [kind.value for kind in wanted.kinds],
        None if wanted.contains is None else wanted.contains.query,
        names,
        [event.value for event in ENDS],
        reads_all_ends or wanted.is_narrow,
        wanted.wants_derived,
    )


async def list_names(conn: Connection, wanted: LogFilter) -> list[str]:
    """The workflows of whose runs plain lines contain what is wanted. None when nothing is to be contained."""
    if wanted.contains is None:
        return []
    if wanted.workflow is not None:
        return [wanted.workflow]
    rows = await conn.fetch(
        """
        WITH RECURSIVE found AS (
            (
                SELECT l.workflow FROM penstock.logs l
                WHERE l.environment = $1 AND l.workflow > ''
                ORDER BY l.workflow
                LIMIT 1
            )
            UNION ALL
            SELECT (
                SELECT l.workflow FROM penstock.logs l
                WHERE l.environment = $1 AND l.workflow > f.workflow
                ORDER BY l.workflow
                LIMIT 1
            )
            FROM found f
            WHERE f.workflow IS NOT NULL
        )
        SELECT f.workflow FROM found f WHERE f.workflow IS NOT NULL
        """,
        wanted.environment,
    )
    names: list[str] = [row["workflow"] for row in rows]
    return [name for name in names if any(wanted.contains.match((event, name)) for event in _PLAIN)]
