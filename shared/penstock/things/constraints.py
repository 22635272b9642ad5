"""`where`, in the workflow language and in the Data API alike, as SQL: `{paid: true}`, or a list of `{key,
constraint_type, value}`; and under the privacy rules of the type, for those whom they restrict.

A constraint on a field that the viewer may see of no thing is refused. Where that depends on the thing, things of which
the field cannot be seen do not meet the constraint, whatever it demands: what is found says nothing about them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from penstock.definitions.models import DataField, DataType
from penstock.things.clauses import Condition, Constraint, ConstraintProblem, compile_constraint, find_constrained
from penstock.things.privacy import ALWAYS, EVERYTHING, NEVER, Guards, Viewer

Conditions = Mapping[str, JsonValue] | Sequence[JsonValue] | None


@dataclass(frozen=True, slots=True)
class Restricted:
    """Conditions, and for whom things are searched. `drops_hidden`: a constraint or an order does not count for things
    of which the viewer may not see the field, as with Bubble; otherwise it is refused.
    """

    where: Conditions
    viewer: Viewer
    drops_hidden: bool = False


Where = Conditions | Restricted
_UNRESTRICTED: Final = Restricted(None, EVERYTHING)


@dataclass(slots=True)
class Search(Condition):
    """What things of a type have to meet. `guards` are there where privacy rules restrict what may be seen of them."""

    guards: Guards | None = None
    drops_hidden: bool = False

    def seen(self, data_type: DataType, known: DataField) -> str | None:
        """SQL that holds for the things of which the field may be seen; None if it may of all. Raises ConstraintProblem
        where it may be seen of none.
        """
        seen = ALWAYS if self.guards is None else self.guards.sees(known)
        if seen == NEVER:
            raise hidden(data_type, known)
        return None if seen == ALWAYS else seen


def compile_where(data_type: DataType, where: Where) -> Search:
    """What `where` demands of things of `data_type`. Raises ConstraintProblem."""
    asked = where if isinstance(where, Restricted) else _UNRESTRICTED
    search = Search(drops_hidden=asked.drops_hidden)
    if asked.viewer.is_bound(data_type):
        search.guards = Guards(search, data_type, asked.viewer)
        findable = search.guards.findable
        if findable != ALWAYS:
            search.clauses.append(findable)
    for constraint in _read(where.where if isinstance(where, Restricted) else where):
        _add(search, data_type, constraint)
    return search


def hidden(data_type: DataType, known: DataField) -> ConstraintProblem:
    """The refusal of a search by a field that is hidden."""
    return ConstraintProblem(
        f"The field {known.name} of type {data_type.name} is hidden here by privacy rules, so things cannot be "
        "searched, sorted or summed up by it"
    )


def _add(search: Search, data_type: DataType, constraint: Constraint) -> None:
    found = find_constrained(data_type, constraint.key)
    seen = ALWAYS if search.guards is None else search.guards.sees(found)
    if seen == NEVER:
        compile_constraint(Condition(), data_type, found, constraint)
        if search.drops_hidden:
            return
        raise hidden(data_type, found)
    clause = compile_constraint(search, data_type, found, constraint)
    if seen != ALWAYS:
        clause = f"({seen} IS NOT TRUE OR {clause})" if search.drops_hidden else f"({seen} AND {clause})"
    search.clauses.append(clause)


def _read(where: Conditions) -> Iterator[Constraint]:
    if where is None:
        return
    if isinstance(where, Mapping):
        yield from (Constraint(key, "equals", value) for key, value in where.items())
        return
    if isinstance(where, str | bytes):
        raise ConstraintProblem("constraints are a list of {key, constraint_type, value}")
    for number, item in enumerate(where):
        key, kind = (item.get("key"), item.get("constraint_type")) if isinstance(item, dict) else (None, None)
        if not isinstance(item, dict) or not isinstance(key, str) or not isinstance(kind, str):
            raise ConstraintProblem(f"constraint {number} needs a key and a constraint_type, both text")
        yield Constraint(key, kind, item.get("value"))
