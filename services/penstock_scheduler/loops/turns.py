"""Runs that wait under a limit of their workflow get their turns; `penstock.runs.places` has the whole story."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final
from uuid import UUID

from penstock.db import Connection
from penstock.definitions.flow import Concurrency, Rate, Rule
from penstock.definitions.flow import Sequence as Line
from penstock.domain.runs import RunSummary
from penstock.domain.turns import Candidate, choose
from penstock.domain.turns import Room as Free
from penstock.errors import StaleDefinitions
from penstock.runtime import Counts
from penstock.store.deployments import CompiledDeployment
from penstock_scheduler import rules
from penstock_scheduler.repository import next_runs
from penstock_scheduler.repository import turns as repository
from penstock_scheduler.repository.turns import Bound, Due, Scope
from penstock_scheduler.room import Room

BATCH: Final = 1000
"""Scopes that one turn of the loop looks at, and runs that it starts in each, at most."""
_LOOK_BEYOND: Final = 200
"""Runs looked at in a scope whose first may have to wait in another one."""
_BUSY: Final = timedelta(milliseconds=50)
SWEEP_BATCH: Final = 500
CLEARED: Final = 5000

Deployments = Mapping[str, CompiledDeployment]


async def give_turns(room: Room) -> Counts:
    """Start those whose turn it is, and hand them to executors; rests until the next may be."""

    async def take(deployments: Deployments, _is_newest: bool) -> tuple[list[RunSummary], int]:
        turn = Turn(deployments)
        return await room.database.in_transaction(turn.take), turn.looked

    started, looked = await room.admissions.with_current(take)
    await room.dispatches.begin(started)
    async with room.database.connection() as conn:
        next_due = await repository.find_next_turn(conn)
    wait = rules.next_wait(did_work=looked > 0, is_full=looked >= BATCH, next_due_seconds=next_due)
    return Counts({"started": len(started)}, wait)


async def sweep_turns(room: Room) -> Counts:
    """Have all scopes looked at in which somebody waits, a batch at a time: whatever was overlooked starts late."""
    async with room.database.connection() as conn:
        room.sweep.after = await repository.sweep_scopes(conn, after=room.sweep.after, most=SWEEP_BATCH)
    room.nudges.turns.set()
    return Counts()


async def delete_old_places(room: Room) -> Counts:
    """Forget places, starts and replacements that no longer matter, in batches."""
    deleted = 0
    while not room.stop.soft.is_set():
        batch = await room.database.in_transaction(partial(repository.delete_old_places, most=CLEARED))
        deleted += batch
        if batch < CLEARED:
            break
    return Counts({"forgotten": deleted})


@dataclass(slots=True)
class Turn:
    """One look at the scopes that need one: what is deployed, what the scopes' rules say, and what is free in them."""

    deployments: Deployments
    looked: int = 0
    scopes: dict[UUID, Scope] = field(default_factory=dict)
    bounds: dict[UUID, Bound] = field(default_factory=dict)
    rooms: dict[UUID, Free] = field(default_factory=dict)

    async def take(self, conn: Connection) -> list[RunSummary]:
        """The runs that are queued now. Raises StaleDefinitions when another deployment is current."""
        due = await repository.take_due_turns(conn, most=BATCH)
        if not due:
            return []
        self.looked = sum(len(group.scopes) for group in due)
        versions = await repository.list_versions(conn)
        if any(versions[group.environment] != self.deployments[group.environment].version for group in due):
            raise StaleDefinitions("the rules of these runs may have been deployed since")
        started: list[RunSummary] = []
        for group in due:
            match _find_only_rule(group, self.deployments):
                case Concurrency(limit=limit):
                    started += await self._fill(conn, group, limit)
                case Line(on_failure=on_failure):
                    skips_failed = on_failure == "skip"
                    heads = await next_runs.list_next_in_line(conn, scopes=group.scopes, skips_failed=skips_failed)
                    started += await self._begin(conn, heads) if heads else []
                case _:
                    crowded = await next_runs.list_crowded(conn, scopes=group.scopes)
                    if crowded:
                        started += await self._choose(conn, group._replace(scopes=crowded).each)
        return started

    async def _fill(self, conn: Connection, group: Due, limit: int) -> list[RunSummary]:
        """Start those who are next in scopes in which nothing but a number of places counts."""
        found = await next_runs.list_next(conn, scopes=group.scopes, limit=limit, most=BATCH)
        if len(found) >= BATCH:
            await repository.look_again(conn, scopes=group.each)
        return await self._begin(conn, found) if found else []

    async def _choose(self, conn: Connection, due: Sequence[Scope]) -> list[RunSummary]:
        """Start those for whom there is room wherever they wait."""
        self.scopes, self.rooms = {}, {}
        await self._measure(conn, due)
        wanted = {id: self._most(scope) for id, scope in self.scopes.items()}
        candidates = await self._list_candidates(conn, wanted)
        chosen = choose(candidates, self.rooms)
        started = await self._begin(conn, [run.run_id for run in chosen]) if chosen else []
        rates = [(scope, self.bounds[id]) for id, scope in self.scopes.items() if self.bounds[id].per is not None]
        if rates:
            await repository.expect_turns(conn, scopes=rates)
        full = [scope for scope in due if self.rooms[scope.id].free > wanted[scope.id] >= BATCH]
        if full:
            await repository.look_again(conn, scopes=full)
        return started

    async def _measure(self, conn: Connection, scopes: Sequence[Scope]) -> None:
        new = {scope.id: _find_bound(scope, self.deployments) for scope in scopes}
        self.scopes |= {scope.id: scope for scope in scopes}
        self.bounds |= new
        self.rooms |= await repository.measure_scopes(conn, new)

    def _most(self, scope: Scope) -> int:
        """How many runs to look at in a scope: more than there is room for, where the first may wait elsewhere."""
        room = self.rooms[scope.id]
        if room.free <= 0 or room.has_line:
            return 0
        most = max(room.free, _LOOK_BEYOND) if _has_several(scope, self.deployments) else room.free
        return min(most, BATCH)

    async def _list_candidates(self, conn: Connection, wanted: Mapping[UUID, int]) -> list[Candidate]:
        """Those that may be next. The head of a line is asked for by its id."""
        candidates = await repository.list_candidates(conn, wanted=wanted) if any(wanted.values()) else []
        heads = {room.head for room in self.rooms.values() if room.head is not None}
        heads -= {candidate.run_id for candidate in candidates}
        if heads:
            candidates += await repository.list_heads(conn, run_ids=heads)
        if any(scope not in self.scopes for candidate in candidates for scope in candidate.scopes):
            others = await repository.list_scopes(conn, run_ids=[candidate.run_id for candidate in candidates])
            await self._measure(conn, [scope for scope in others if scope.id not in self.scopes])
        return candidates

    async def _begin(self, conn: Connection, chosen: Sequence[UUID]) -> list[RunSummary]:
        rates = {id: bound.per for id, bound in self.bounds.items() if bound.per is not None}
        started = await repository.start_turns(conn, run_ids=chosen, rates=rates)
        missed = set(chosen) - {run.id for run in started}
        if missed:
            await repository.put_off_turns(conn, run_ids=missed, delay=_BUSY)
        return started


def _find_only_rule(group: Due, deployments: Deployments) -> Rule | None:
    """The rule of these scopes, if their workflow has no other."""
    definition = deployments[group.environment].app.workflows.get(group.workflow)
    if definition is None or definition.flow is None or len(definition.flow.rules) > 1:
        return None
    return definition.flow.rules.get(group.rule)


def _has_several(scope: Scope, deployments: Deployments) -> bool:
    """Whether a run in this scope may have to wait in others."""
    definition = deployments[scope.environment].app.workflows.get(scope.workflow)
    return definition is None or definition.flow is None or len(definition.flow.rules) > 1


def _find_bound(scope: Scope, deployments: Deployments) -> Bound:
    """What the rule of a scope says, as it is deployed now: nothing if it was removed."""
    definition = deployments[scope.environment].app.workflows.get(scope.workflow)
    rule = None if definition is None or definition.flow is None else definition.flow.rules.get(scope.rule)
    match rule:
        case Concurrency(limit=limit):
            return Bound(limit)
        case Rate(limit=limit, per_seconds=seconds):
            return Bound(limit, timedelta(seconds=seconds))
        case Line(on_failure=on_failure):
            return Bound(is_line=True, skips_failed=on_failure == "skip")
        case _:
            return Bound()
