"""Carries out the effects of many runs' steps in one transaction, as few statements as their kinds and types allow."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection
from penstock_executor.effects import Effect, Group
from penstock_executor.runs import Commit

Results = dict[UUID, JsonValue]


class _Statement(NamedTuple):
    """What one statement can carry out. `turn` counts the changes of a row that have to come before."""

    group: Group
    environment: str
    turn: int


async def apply_effects(conn: Connection, commits: Sequence[Commit]) -> Results:
    """The results of the effects, by run; the records of their steps get them too.

    Raises Permanent or UniqueViolation when one of them cannot be carried out; which one, is for the caller to find
    out.
    """
    results: Results = {}
    statements = _group(commits)
    # In the order of their keys, so that two transactions that meet in several tables wait for each other in one order.
    for statement in sorted(statements):
        group = statements[statement]
        effects = [effect for _, effect in group]
        given = await type(effects[0]).apply(conn, statement.environment, effects)
        if given is not None:
            results.update(zip((run_id for run_id, _ in group), given, strict=True))
    for commit in commits:
        if commit.effect_record is not None and commit.run_id in results:
            commit.effect_record.result = results[commit.run_id]
    return results


def _group(commits: Sequence[Commit]) -> dict[_Statement, list[tuple[UUID, Effect]]]:
    statements: defaultdict[_Statement, list[tuple[UUID, Effect]]] = defaultdict(list)
    turns: defaultdict[str, int] = defaultdict(int)
    for commit in commits:
        effect = commit.effect
        assert isinstance(effect, Effect), "`bulk` commits the others, each by itself"
        turn, row = 0, effect.changed_row
        if row is not None:
            turn, turns[row] = turns[row], turns[row] + 1
        statements[_Statement(effect.group(), commit.environment, turn)].append((commit.run_id, effect))
    return statements
