"""The steps that evaluate a template once for each item of a list."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from pydantic import JsonValue

from penstock.errors import Permanent
from penstock.expressions.bounded import evaluate_item
from penstock.expressions.lookups import THINGS
from penstock_executor.runs import Values
from penstock_executor.steps.specs import Call, Scope

T = TypeVar("T")
_AT_ONCE: Final = 200
"""Items evaluated before other runs have a turn, and whose references are read together."""


async def make_of_items(call: Call, items: Sequence[JsonValue], make: Callable[[int, Values], T]) -> list[T]:
    """What `make` makes of the step's mapping for each item, with its index, in order. Raises Permanent, naming the
    item, when one of them does not fit.
    """
    template = call.plan.items
    assert template is not None
    made: list[T] = []
    for first in range(0, len(items), _AT_ONCE):
        scopes = _scopes(call, items[first : first + _AT_ONCE], first)
        await _look_up(call, scopes)
        for index, scope in enumerate(scopes, first):
            try:
                values = await evaluate_item(template, scope)
                made.append(make(index, values if isinstance(values, dict) else {}))
            except Permanent as error:
                raise Permanent(f"item {index} of the list: {error}", kind=error.kind) from error
        await asyncio.sleep(0)
    return made


def _scopes(call: Call, items: Sequence[JsonValue], first: int) -> list[Scope]:
    return [{**call.scope, "item": item, "index": index} for index, item in enumerate(items, first)]


async def _look_up(call: Call, scopes: Sequence[Scope]) -> None:
    if call.plan.item_lookups:
        found = await call.look_up(call.plan.item_lookups, scopes)
        known = call.scope.get(THINGS)
        for scope in scopes:
            scope[THINGS] = {**known, **found} if isinstance(known, dict) else found
