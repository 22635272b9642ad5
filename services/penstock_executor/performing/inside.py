"""Performs the steps inside a step: for each item of a list, or those of several branches.

Each of them is remembered under a path that has the item's index, or the branch's name: `charges[3].pay`. So an attempt
after a crash, a failure or a wait continues where the one before has ended, and an error names where it was. The list
is remembered as well, before its first item, if it might be another one the next time.
"""

import asyncio
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from pydantic import JsonValue

from penstock.errors import Permanent
from penstock_executor.performing.beside import Block, Results, perform_beside
from penstock_executor.performing.frame import Frame
from penstock_executor.runs import StepRecord
from penstock_executor.steps.outcomes import Done, Inside
from penstock_executor.steps.specs import StepPlan

if TYPE_CHECKING:
    from penstock_executor.performing.attempt import Attempt

MAX_ITERATIONS: Final = 10_000
"""In one run, those of all its lists together: each of their steps is a row that every attempt reads."""
_ROUND: Final = 50
"""Iterations after which others have a turn, and what was done is written."""
_PLAIN: Final = re.compile(r"\$\{\s*(?!(?:run|user|now|secrets)\b)[A-Za-z_][\w.]*\s*\}", re.ASCII)
"""A list that reads the same in each attempt, if no reference is followed."""


async def perform_inside(
    attempt: "Attempt", inside: Inside, step: StepPlan, record: StepRecord, frame: Frame
) -> Done | None:
    """Perform the steps inside `step`; what they come to, or None when one of them has ended the workflow."""
    position, results = attempt.journal.position, Results()
    if inside.items is None:
        branches = _open_branches(step, record.step, frame)
        await perform_beside(attempt, iter(branches), len(branches), frame, results)
        result: JsonValue = {str(block.key): results[block.key] for block in branches}
    else:
        items = _settle_items(attempt, inside.items, step, record, frame)
        blocks = _open_iterations(inside, items, step, record.step, frame)
        if inside.at_once > 1:
            await perform_beside(attempt, blocks, min(inside.at_once, len(items)), frame, results)
        elif not await _perform_in_order(attempt, blocks, results):
            return None
        result = [results[index] for index in range(len(items))]
    attempt.journal.position, attempt.journal.performed = position, record
    return Done(result)


def _open_branches(step: StepPlan, path: str, frame: Frame) -> list[Block]:
    return [
        Block(name, steps, frame.open_block(path, name, {}, is_beside=True, may_defer=False))
        for name, steps in step.blocks.items()
    ]


def _open_iterations(
    inside: Inside, items: list[JsonValue], step: StepPlan, path: str, frame: Frame
) -> Iterator[Block]:
    is_beside, steps = frame.is_beside or inside.at_once > 1, step.blocks["steps"]
    may_defer = frame.may_defer and step.is_deferrable
    for index, item in enumerate(items):
        names = {inside.name: item, "index": index}
        yield Block(index, steps, frame.open_block(path, index, names, is_beside=is_beside, may_defer=may_defer))


def _settle_items(
    attempt: "Attempt", items: list[JsonValue], step: StepPlan, record: StepRecord, frame: Frame
) -> list[JsonValue]:
    """The items that an earlier attempt has begun with, or these. Raises Permanent when they are too many."""
    path, target = f"{record.step}[]", step.definition.target
    known = attempt.finished.get(path) if attempt.finished else None
    if isinstance(known, list):
        items = known
    attempt.iterations += len(items)
    if attempt.iterations > MAX_ITERATIONS:
        raise Permanent(
            f"`each` goes through {len(items)} items, and all that this run goes through are {attempt.iterations}; at "
            f"most {MAX_ITERATIONS} are possible. `schedule_list` takes lists of any length",
            kind="arguments",
        )
    if known is None and (step.lookups or not (isinstance(target, str) and _PLAIN.fullmatch(target))):
        secrets = frame.plan.secrets
        kept: JsonValue = attempt.redactor(secrets).value(items) if secrets else items
        attempt.journal.record(StepRecord(path, record.action, "succeeded", record.started_at, kept))
    return items


async def _perform_in_order(attempt: "Attempt", blocks: Iterator[Block], results: Results) -> bool:
    """Perform one block after the other; whether the workflow continues."""
    for count, block in enumerate(blocks, 1):
        for step in block.steps:
            if not await attempt.perform_step(step, block.frame):
                return False
        results[block.key] = block.result
        if count % _ROUND == 0:
            if attempt.journal.is_long:
                await attempt.journal.commit()
            await asyncio.sleep(0)
    return True
