"""`create_many: TYPE`: a new thing for each item of a list, all of them or none."""

import asyncio
from typing import Final

from penstock.domain.ids import new_thing_ids
from penstock.errors import Permanent
from penstock.expressions.language import describe_type
from penstock.things.bulk import Row, prepare_row
from penstock.things.records import NewThing
from penstock_executor.actions.arguments import created_by, data_type, target_text, wrong
from penstock_executor.actions.steps import Call, Outcome, Write
from penstock_executor.runs import CreateMany

_MOST_ITEMS: Final = 100_000
_AT_ONCE: Final = 200
"""Items evaluated before other runs have a turn."""


async def create_many(call: Call) -> Outcome:
    """The ids, in the order of the list. Raises Permanent, naming the item, when one of them does not fit."""
    kind = data_type(call, target_text(call, "the name of a data type"))
    items, set_ = call.arguments.get("from"), call.plan.items
    assert set_ is not None
    if not isinstance(items, list):
        raise wrong(call, f"`from` has to be a list, and it is {describe_type(items)}")
    if len(items) > _MOST_ITEMS:
        raise wrong(
            call,
            f"`from` has {len(items)} items; at most {_MOST_ITEMS} are possible. `import` takes files of any length",
        )
    user, ids = created_by(call), new_thing_ids(len(items))
    scope, rows = dict(call.scope), list[Row]()
    for index, item in enumerate(items):
        scope["item"], scope["index"] = item, index
        try:
            values = set_.evaluate(scope)
            rows.append(
                prepare_row(kind, NewThing(ids[index], values if isinstance(values, dict) else {}, user, call.now))
            )
        except Permanent as error:
            raise Permanent(f"item {index} of the list: {error}", kind=error.kind) from error
        if index % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)
    return Write(CreateMany(kind, call.until(), rows))
