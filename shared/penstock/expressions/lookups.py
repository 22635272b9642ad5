"""Reading through references: `params.order.customer.email`, where `params.order` is the id of a thing.

An expression cannot ask a database. So what stands behind an id is looked up before, all ids of one level at once, and
the expression is rewritten to read it there: `penstock_things.KEY[params.order].customer`. This module rewrites the
text; `inference`, which knows the kinds, says where.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

THINGS: Final = "penstock_things"
"""The name in scope under which rewritten expressions read what was looked up: `{key: {id: thing}}`."""


class Lookup(NamedTuple):
    """Things to be looked up before an expression is evaluated.

    `ids` is an expression: an id, null, or lists of these, nested at will. It may read what lookups of lower levels
    found; the first level is 1. Where `type` names an option set, ids are options, and what is found their attributes.
    """

    key: str
    type: str
    ids: str
    level: int


class Lookups(NamedTuple):
    """What the expressions of a step, or the condition of a workflow, read through references: `rewritten` are their
    texts, by the author's, which read what `things` found.
    """

    rewritten: dict[str, str]
    things: tuple[Lookup, ...]


NO_LOOKUPS: Final = Lookups({}, ())


class Rewriting:
    """One expression being rewritten, from left to right and from the inside out; offsets count in its own text."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._inserted: dict[int, str] = {}
        self._lookups: dict[str, Lookup] = {}

    @property
    def lookups(self) -> tuple[Lookup, ...]:
        """What has to be looked up for it, the lower levels first."""
        return tuple(self._lookups.values())

    def text(self, start: int = 0, end: int | None = None) -> str:
        """This part of the expression as rewritten so far."""
        end = len(self._source) if end is None else end
        parts, position = [], start
        for offset in sorted(offset for offset in self._inserted if start <= offset <= end):
            parts += [self._source[position:offset], self._inserted[offset]]
            position = offset
        return "".join((*parts, self._source[position:end]))

    def look_up(self, data_type: str, start: int, end: int, through: Sequence[tuple[int, int, str]]) -> None:
        """Read the thing of this type whose id is what stands from `start` to `end`.

        `through` are the lists that the expression goes through there, the outermost first, each with its offsets and
        its alias.
        """
        ids = self.text(start, end)
        for list_start, list_end, alias in reversed(through):
            named = f" as {alias}" if alias else ""
            ids = f"map({self.text(list_start, list_end).rstrip()}{named}, {ids})"
        key = "t" + hashlib.blake2b(f"{data_type}\0{ids}".encode(), digest_size=6).hexdigest()
        level = 1 + max((known.level for known in self._lookups.values() if known.key in ids), default=0)
        self._lookups[key] = Lookup(key, data_type, ids, level)
        self._inserted[start] = f"{THINGS}.{key}[{self._inserted.get(start, '')}"
        self._inserted[end] = f"]{self._inserted.get(end, '')}"
