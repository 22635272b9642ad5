"""Arguments that speak of data types and their fields: values to set, constraints, sorting, what a list is searched
by.
"""

from typing import Final

from pydantic import JsonValue

from penstock.definitions.fields import (
    AGGREGATES,
    BUILT_IN_FIELDS,
    CONSTRAINT_TYPES,
    WITHOUT_VALUE,
    WRITABLE_BUILT_IN,
    constraint_types,
    find_field,
    misfit,
)
from penstock.definitions.models import DataField, DataType, FieldType, ScalarType
from penstock.reading.arguments import anything, check_constant
from penstock.reading.available import refuse_unavailable
from penstock.reading.documents import Mapping, Node, Sequence, describe, to_json
from penstock.reading.expected import check_field_value, check_list, kind_of_items
from penstock.reading.habits import hint_for_choice
from penstock.reading.places import Place
from penstock.reading.reader import StepReader
from penstock.reading.scopes import Scope, check_templates, is_template, kind_of_node
from penstock.reading.tables import Table, read_text

_BUILT_IN: Final = frozenset(field.name for field in BUILT_IN_FIELDS)


def data_type(reader: StepReader, _key: str, _node: Node) -> JsonValue:
    """The literal name of a data type, which the target has read already."""
    return None if reader.data_type is None else reader.data_type.name


def type_name(reader: StepReader) -> str | None:
    """The data type that `type` names, if it exists."""
    node = reader.table.node("type")
    name = reader.literal("type", "a data type", "such as order")
    if name is None or node is None or name in reader.index.types:
        return name
    if reader.data_type is None and not reader.report.is_partial:
        reader.report.unknown(node.place, "data type", name, reader.index.types)
    return None


def field_name(reader: StepReader, key: str, node: Node) -> JsonValue:
    """The literal name of a field of the target's type."""
    name = read_text(node, f"{key!r}", reader.report)
    if name is None or reader.data_type is None:
        return name
    field = _field(reader, reader.data_type, node, name)
    return None if field is None else field.name


def aggregated(reader: StepReader, key: str, _node: Node) -> JsonValue:
    """The literal names of one or several fields that make groups (`by`), or that are summed up by the function
    `key`.
    """
    found: list[JsonValue] = []
    for name, place in reader.table.texts(key):
        field = None if reader.data_type is None else find_field(reader.data_type, name)
        if field is None and reader.data_type is not None:
            _report_unknown_field(reader, reader.data_type, place, name)
        elif field is not None and (problem := misfit(field, key if key in AGGREGATES else None)) is not None:
            reader.report.error(place, problem)
        elif (kept := name if field is None else field.name) not in found:
            found.append(kept)
    return found


def unique_fields(reader: StepReader, key: str, node: Node) -> JsonValue:
    """The fields of an upsert: together declared `unique` in the data type."""
    names = [name for name, _ in reader.table.texts(key)]
    if reader.data_type is None:
        return list(names)
    fields = [_field(reader, reader.data_type, node, name) for name in names]
    found = [field.name for field in fields if field is not None]
    groups = reader.data_type.unique
    if len(found) == len(fields) and frozenset(found) not in {frozenset(group) for group in groups}:
        declared = (
            f"unique are {', '.join(' + '.join(group) for group in groups)}" if groups else "declare them under unique:"
        )
        reader.report.error(
            node.place, f"an upsert needs fields that are unique in {reader.data_type.name!r}", declared
        )
    return list(found)


def import_key(reader: StepReader, key: str, node: Node) -> JsonValue:
    """The fields by which an import finds things that exist: `_id`, or what an upsert takes."""
    names = [name for name, _ in reader.table.texts(key)]
    return ["_id"] if names == ["_id"] else unique_fields(reader, key, node)


def values(reader: StepReader, key: str, node: Node) -> JsonValue:
    """Fields and their new values; null clears a field. Constants are checked against the field's type."""
    return _fields_and_values(reader, key, node, are_lists=False)


def item_values(reader: StepReader, key: str, node: Node) -> JsonValue:
    """Fields and their values in each thing that is made of an item, where `item` and `index` are in scope."""
    return _fields_and_values(
        reader, key, node, are_lists=False, scope=reader.scope_of_items(kind_of_items(reader, "from"))
    )


def list_values(reader: StepReader, key: str, node: Node) -> JsonValue:
    """List fields, with the item or the items to add or remove."""
    return _fields_and_values(reader, key, node, are_lists=True)


def _fields_and_values(
    reader: StepReader, key: str, node: Node, *, are_lists: bool, scope: Scope | None = None
) -> JsonValue:
    if not isinstance(node, Mapping):
        reader.report.error(node.place, f"{key!r} is a mapping of fields to values, not {describe(node)}")
        return {}
    kept: dict[str, JsonValue] = {}
    for name, value in node.entries.values():
        check_templates(value, scope or reader.scope, reader.report)
        field = None if reader.data_type is None else _field(reader, reader.data_type, name, name.text)
        if field is None:
            kept[name.text] = to_json(value)
            continue
        if field.name in _BUILT_IN - WRITABLE_BUILT_IN:
            reader.report.error(name.place, f"{field.name!r} is built in and cannot be set")
        elif are_lists and not field.type.is_list and field.type.name != ScalarType.ANY:
            reader.report.error(name.place, f"{field.name!r} is not a list", "write it under set:")
        elif field.name in kept:
            reader.report.error(name.place, f"the field {field.name!r} is given twice")
        else:
            check_constant(reader, name.text, value, _item_or_list(field, value) if are_lists else field.type)
            known = scope or reader.scope
            if not are_lists or kind_of_node(value, known).word != "list":
                wanted = _item_or_list(field, value) if are_lists else field.type
                check_field_value(value, name.text, wanted, known, reader.report)
        kept[field.name] = to_json(value)
    return kept


def _item_or_list(field: DataField, value: Node) -> FieldType:
    return field.type._replace(is_list=isinstance(value, Sequence))


def _field(reader: StepReader, data_type: DataType, node: Node, name: str) -> DataField | None:
    field = find_field(data_type, name)
    if field is None:
        _report_unknown_field(reader, data_type, node.place, name)
    return field


def _report_unknown_field(reader: StepReader, data_type: DataType, place: Place, name: str) -> None:
    if not reader.report.is_partial:
        reader.report.unknown(place, f"field of {data_type.name!r}", name, [known.name for known in data_type.fields])


def where(reader: StepReader, _key: str, node: Node) -> JsonValue:
    """Constraints: a mapping of fields to the values they equal, or a list of {key, constraint_type, value}."""
    return _where(reader, node, reader.data_type)


def _where(reader: StepReader, node: Node, data_type: DataType | None) -> JsonValue:
    if isinstance(node, Sequence):
        return [
            _constraint(reader, Table(item, item.place, "a constraint", reader.report), data_type)
            for item in node.items
        ]
    if not isinstance(node, Mapping):
        expected = "a mapping of fields to values, or a list of {key, constraint_type, value}"
        hint = "such as {paid: true}, or [{key: total, constraint_type: greater than, value: 3}]"
        reader.report.error(node.place, f"'where' is {expected}, not {describe(node)}", hint)
        return {}
    kept: dict[str, JsonValue] = {}
    for name, value in node.entries.values():
        check_templates(value, reader.scope, reader.report)
        field = None if data_type is None else _field(reader, data_type, name, name.text)
        if field is not None:
            check_constant(reader, name.text, value, field.type)
            check_field_value(value, name.text, field.type, reader.scope, reader.report)
        kept[field.name if field is not None else name.text] = to_json(value)
    return kept


def _constraint(reader: StepReader, table: Table, data_type: DataType | None) -> JsonValue:
    is_complete = table.require("key", "key: total") and table.require(
        "constraint_type", "constraint_type: greater than"
    )
    name, kind, value = table.text("key"), table.text("constraint_type"), table.node("value")
    table.close()
    if not is_complete or name is None or kind is None:
        return {}
    field = None
    if data_type is not None and (key_node := table.node("key")) is not None:
        field = _field(reader, data_type, key_node, name)
    _check_kind(reader, table, kind, field)
    if kind not in WITHOUT_VALUE and "value" not in table:
        reader.report.error(table.place, f"the constraint {kind!r} needs a value")
    if value is not None:
        check_templates(value, reader.scope, reader.report)
        if field is not None:
            wanted = field.type._replace(is_list=kind in {"in", "not in"})
            check_constant(reader, name, value, wanted)
            check_field_value(value, name, wanted, reader.scope, reader.report)
    return {
        "key": field.name if field else name,
        "constraint_type": kind,
        "value": None if value is None else to_json(value),
    }


def _check_kind(reader: StepReader, table: Table, kind: str, field: DataField | None) -> None:
    place = table.key_place("constraint_type")
    if kind not in CONSTRAINT_TYPES:
        if not refuse_unavailable(reader.report, place, "constraint_type", kind):
            reader.report.unknown(
                place, "constraint_type", kind, CONSTRAINT_TYPES, hint_for_choice(kind, CONSTRAINT_TYPES)
            )
    elif field is not None and kind not in constraint_types(field.type):
        fitting = ", ".join(sorted(constraint_types(field.type)))
        reader.report.error(
            place, f"{kind!r} does not fit {field.name!r}, which is a {field.type}", f"fitting are {fitting}"
        )


def over(reader: StepReader, key: str, node: Node) -> JsonValue:
    """What a list is made of: a list, a template that gives one, or {find: TYPE, where, sort}."""
    if isinstance(node, Sequence) or is_template(node):
        check_list(reader, key, node)
        return anything(reader, key, node)
    if not isinstance(node, Mapping):
        hint = f'did you mean "${{{node.text}}}"?' if isinstance(node.value, str) else ""
        reader.report.error(
            node.place, f"'over' needs a list, or {{find: TYPE, where, sort}}, not {describe(node)}", hint
        )
        return []
    search = Table(node, node.place, "'over'", reader.report)
    name, find_node = (
        (search.text("find"), search.node("find")) if search.require("find", "find: order") else (None, None)
    )
    data_type = reader.index.types.get(name) if name is not None else None
    if name is not None and find_node is not None and data_type is None and not reader.report.is_partial:
        reader.report.unknown(find_node.place, "data type", name, reader.index.types)
    kept: dict[str, JsonValue] = {"find": name}
    if (where_node := search.node("where")) is not None:
        kept["where"] = _where(reader, where_node, data_type)
    if (sort := search.text("sort")) is not None and (sort_node := search.node("sort")) is not None:
        field = None if data_type is None else _field(reader, data_type, sort_node, sort)
        kept["sort"] = field.name if field else sort
    search.close()
    return kept
