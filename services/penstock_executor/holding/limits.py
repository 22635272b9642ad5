"""The depth limits as this executor knows them, checked for every message before its runs are claimed, and again
at the claim.

What it knows may be old. A message that seems too deep makes it look again, so that a limit that was raised holds at
once; one that was lowered is seen by the claim, which asks the database each time. Rows overrule what it knows: a chain
may have been granted more, and a deliberate recursion counts its depth from where it was entered.
"""

from collections.abc import Iterable

from penstock.db import Database
from penstock.domain.depth import MAX_DEPTH, is_within_limit
from penstock_executor.planning.library import Library
from penstock_executor.repository.claims import get_depth_limit


class Limits:
    """The highest depth that a message for given workflows may have."""

    def __init__(self, database: Database, library: Library) -> None:
        self._database = database
        self._library = library
        self._environments: dict[str, int] = {}
        self._workflows: dict[str, dict[str, int | None]] = {}

    async def find_exceeded(self, environment: str, depth: int, workflows: Iterable[str]) -> int | None:
        """The limit, when runs of none of these workflows may be as deep as `depth`; None when the message may pass.

        Raises KeyError for an environment that does not exist, DatabaseUnavailable when it has to look and cannot.
        """
        names = set(workflows)
        if environment in self._environments and is_within_limit(depth, self._highest(environment, names)):
            return None
        await self._look(environment)
        highest = self._highest(environment, names)
        return None if is_within_limit(depth, highest) else highest

    def _highest(self, environment: str, workflows: set[str]) -> int:
        known, limit = self._workflows[environment], self._environments[environment]
        if any(own is not None for own in known.values()) or not workflows <= known.keys():
            # Depth is counted from where a deliberate recursion was entered or left, and a workflow that is no longer
            # deployed may have had any limit: the run's row knows, and the claim asks it.
            return MAX_DEPTH
        return limit

    async def _look(self, environment: str) -> None:
        async with self._database.connection() as conn:
            limit = await get_depth_limit(conn, environment=environment)
        if limit is None:
            raise KeyError(environment)
        self._workflows[environment] = await self._library.find_depth_limits(environment)
        self._environments[environment] = limit
