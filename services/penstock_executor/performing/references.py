"""What the expressions of an attempt read through references, such as `params.order.customer.email`, and of options,
such as `params.order.status.color`.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from pydantic import JsonValue

from penstock.db import Database, UndefinedTable
from penstock.definitions.compiled import CompiledLookup, Levels
from penstock.definitions.models import App
from penstock.errors import Permanent
from penstock.expressions import ExpressionError
from penstock.expressions.bounded import evaluate
from penstock.expressions.lookups import THINGS
from penstock.things.privacy import Viewer
from penstock.things.records import Thing, show_things
from penstock.things.references import read_things
from penstock.things.tables import USER
from penstock_executor.holding.leases import Lease, outlast
from penstock_executor.runs import Values
from penstock_executor.steps.specs import Scope

MAX_THINGS: Final = 100_000
"""That the expressions of one step, or of a batch of items, read through references."""
_MAX_KEPT: Final = 20_000


class References:
    """The things that one attempt has read through references, each read once until the attempt changes any thing.

    `read` counts those that were read from the database so far. An id that names nothing reads as null.
    """

    def __init__(self, database: Database, lease: Lease, app: App) -> None:
        self._database = database
        self._lease = lease
        self._app = app
        self._known: dict[tuple[str, bool], dict[str, Thing | None]] = defaultdict(dict)
        self.read = 0

    def forget(self) -> None:
        """Read all things again: the attempt changes some."""
        self._known.clear()

    async def look_up(self, viewer: Viewer, levels: Levels, scopes: Sequence[Scope]) -> Values:
        """What these lookups find in all `scopes` together, for `THINGS` in each, as far as `viewer` may see it; one
        query for each level and type.

        Raises Permanent for more than MAX_THINGS, and LeaseLost when the database stays away.
        """
        found: Values = {}
        if sum(map(len, self._known.values())) > _MAX_KEPT:
            self.forget()
        for level in levels:
            ids = {lookup: await self._find_ids(lookup, scopes, found) for lookup in level}
            types = {lookup.type for lookup in level} - self._app.options.keys()
            await self._read(viewer, {name: set().union(*_of_type(ids, name)) for name in types})
            for lookup, wanted in ids.items():
                if (options := self._app.options.get(lookup.type)) is not None:
                    found[lookup.key] = {option: options.attributes.get(option, {}) for option in wanted}
                    continue
                known = self._known[lookup.type, viewer.sees_all]
                found[lookup.key] = {id: thing for id in wanted if (thing := known[id]) is not None}
        return found

    async def _find_ids(self, lookup: CompiledLookup, scopes: Sequence[Scope], found: Values) -> set[str]:
        ids: set[str] = set()
        for scope in scopes:
            above = scope.get(THINGS)
            things = {**above, **found} if isinstance(above, dict) else found
            try:
                ids.update(_texts(await evaluate(lookup.ids, {**scope, THINGS: things})))
            except ExpressionError:
                continue  # the expression that reads them says what is wrong, if it comes to that
            if len(ids) > MAX_THINGS:
                message = f"more than {MAX_THINGS} things of type {lookup.type} are read through references at once"
                raise Permanent(f"{message}; `find` them in pages", kind="too_many_things")
        return ids

    async def _read(self, viewer: Viewer, wanted: dict[str, set[str]]) -> None:
        for name, ids in wanted.items():
            known = self._known[name, viewer.sees_all]
            if missing := [id for id in ids if id not in known]:
                things = await outlast(self._lease, partial(self._fetch, viewer, name, missing))
                known.update({id: things.get(id) for id in missing})
                self.read += len(things)

    async def _fetch(self, viewer: Viewer, name: str, ids: Sequence[str]) -> dict[str, Thing]:
        data_type = self._app.types.get(name, USER)
        async with self._database.connection() as conn:
            try:
                environment = self._lease.run.environment
                found = await read_things(conn, environment=environment, data_type=data_type, ids=ids)
                shown = await show_things(
                    conn, environment=environment, data_type=data_type, things=list(found.values()), viewer=viewer
                )
                return dict(zip(found, shown, strict=True))
            except UndefinedTable:
                return {}  # the type was pruned after this version


def _of_type(ids: dict[CompiledLookup, set[str]], name: str) -> list[set[str]]:
    return [wanted for lookup, wanted in ids.items() if lookup.type == name]


def _texts(value: JsonValue) -> Iterator[str]:
    """The texts in lists inside each other."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
