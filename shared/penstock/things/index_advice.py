"""Which index would serve a search that is slow: pure, from the shape of the search and what its type declares."""

import json
import re
from typing import Final, NamedTuple

from penstock.definitions.fields import find_field
from penstock.definitions.models import DataField, DataType, ScalarType
from penstock.things.ordering import RANDOM
from penstock.things.slow_searches import Shape

_MAX_EQUAL: Final = 3
"""Fields of an index that are compared for equality; more make it large, and no search faster."""
_BUILT_IN: Final = ({"_id"}, {"Created Date"})
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_ ]*")
_UNINDEXED: Final = frozenset({ScalarType.ADDRESS, ScalarType.DATE_RANGE, ScalarType.ANY})


class Advice(NamedTuple):
    """An index to declare: its fields, and whether it is one of words."""

    fields: tuple[str, ...]
    is_of_words: bool = False


def suggest_index(data_type: DataType, shape: Shape) -> Advice | None:
    """The index that would serve the search; None where it is declared already, or none would."""
    of_kind = _by_kind(data_type, shape)
    equal = [*of_kind["equals"], *(field for field in of_kind["in"] if field not in of_kind["equals"])]
    ordered = [*of_kind["greater than"], *of_kind["less than"], *_sorted_by(data_type, shape)]
    further = [field.name for field in ordered if field not in equal][:1]
    if equal:
        return _unless_there(data_type, [field.name for field in equal[:_MAX_EQUAL]], further)
    for field in of_kind["text contains"]:
        return None if field.name in data_type.words else Advice((field.name,), is_of_words=True)
    for field in (*of_kind["contains"], *of_kind["geographic_search"]):
        return None if (field.name,) in data_type.indexes else Advice((field.name,))
    return _unless_there(data_type, [], further) if further else None


def show_index(advice: Advice) -> str:
    """The index as an entry of `indexes`, such as `[customer, placed]` or `{words: title}`."""
    names = [name if _PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False) for name in advice.fields]
    if advice.is_of_words:
        return f"{{words: {names[0]}}}"
    return names[0] if len(names) == 1 else f"[{', '.join(names)}]"


def show_indexes(data_type: DataType, advice: Advice) -> str:
    """The line `indexes: [...]` of the type's file, with the index behind those that are there."""
    declared = [*map(Advice, data_type.indexes), *(Advice((name,), is_of_words=True) for name in data_type.words)]
    return f"indexes: [{', '.join(show_index(one) for one in (*declared, advice))}]"


def _by_kind(data_type: DataType, shape: Shape) -> dict[str, list[DataField]]:
    kinds = ("equals", "in", "greater than", "less than", "text contains", "contains", "geographic_search")
    found: dict[str, list[DataField]] = {kind: [] for kind in kinds}
    for name, kind in shape.where:
        field = find_field(data_type, name)
        is_fit = field is not None and (kind not in {"equals", "in"} or _is_ordered(field))
        if field is not None and is_fit and kind in found:
            found[kind].append(field)
    return found


def _sorted_by(data_type: DataType, shape: Shape) -> list[DataField]:
    first = shape.sort[0] if shape.sort else "Created Date"
    field = None if first == RANDOM else find_field(data_type, first)
    return [field] if field is not None and _is_ordered(field) else []


def _is_ordered(field: DataField) -> bool:
    return not field.type.is_list and field.type.name not in _UNINDEXED


def _unless_there(data_type: DataType, equal: list[str], further: list[str]) -> Advice | None:
    wanted = [*equal, *further]
    if "_id" in equal or (len(wanted) == 1 and {wanted[0]} in _BUILT_IN):
        return None
    for group in (*data_type.indexes, *data_type.unique):
        is_unique = group in data_type.unique and set(group) <= set(equal)
        begins = set(group[: len(equal)]) == set(equal) and group[len(equal) : len(wanted)] == tuple(further)
        if is_unique or begins:
            return None
    return Advice(tuple(wanted))
