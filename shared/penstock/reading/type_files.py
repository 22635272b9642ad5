"""Reads types/*.yaml: data types with their fields, uniqueness and privacy rules."""

import re
from collections.abc import Iterable
from collections.abc import Mapping as DictMapping
from typing import Final, Literal

from pydantic import JsonValue

from penstock.definitions.fields import (
    BUILT_IN_FIELDS,
    MAX_IDENTIFIER_BYTES,
    SYSTEM_COLUMNS,
    WITHOUT_VALUE,
    column_name,
    constraint_types,
    find_field,
)
from penstock.definitions.models import DataField, DataType, FieldType, PrivacyRule, RuleCondition, ScalarType
from penstock.definitions.options import OptionSet
from penstock.reading.documents import Mapping, Node, Scalar, Sequence, describe, to_json
from penstock.reading.index import TypeNames, read_field_type
from penstock.reading.places import Report, shorten
from penstock.reading.scopes import Scope, check_expression, check_templates
from penstock.reading.tables import Table, read_text

MAX_FIELDS: Final = 1_000
_TYPE_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_BUILT_IN_TYPES: Final = frozenset(kind.value for kind in ScalarType)
_BUILT_IN_COLUMNS: Final = {field.column: field.name for field in BUILT_IN_FIELDS}
_STRUCTURED: Final = frozenset({ScalarType.ADDRESS, ScalarType.DATE_RANGE})
_EMAIL: Final = DataField(name="email", type=FieldType(ScalarType.TEXT), column="email")
_OWNER_EXAMPLE: Final = 'when: {created_by: "${user._id}"}; a rule for all is written everyone: {…}'
_PRIVACY_SCOPE: Final = Scope(frozenset({"user", "now"}))


def read_types(documents: Iterable[Node], options: DictMapping[str, OptionSet], report: Report) -> dict[str, DataType]:
    """All data types by name, `user` with its `email` among them. Two passes: fields refer to types of other files."""
    named: dict[str, Table] = {}
    for document in documents:
        table = Table(document, document.place, "a data type", report)
        name = _read_type_name(table)
        if name in named:
            report.error(
                table.key_place("type"),
                f"the data type {name!r} exists twice",
                f"it stands in {named[name].place} already",
            )
        elif name in options:
            report.error(table.key_place("type"), f"{name!r} is an option set already", "choose another name")
        elif name is not None:
            named[name] = table
    names = TypeNames(frozenset(named) | {"user"}, options)
    types = {name: _read_type(name, table, names, report) for name, table in named.items()}
    return {"user": DataType(name="user", fields=(_EMAIL,)), **types}


def _read_type_name(table: Table) -> str | None:
    if "workflow" in table and "type" not in table:
        table.report.error(
            table.key_place("workflow"), "this is a workflow among the data types", "move it to workflows/"
        )
        return None
    if not table.require("type", "type: order"):
        return None
    name = table.text("type")
    node = table.node("type")
    if name is None or node is None:
        return None
    if name in _BUILT_IN_TYPES or name.startswith("list of "):
        table.report.error(node.place, f"{name!r} is a built-in type", "choose another name")
        return None
    if not _TYPE_NAME.fullmatch(name) or len(name) > MAX_IDENTIFIER_BYTES:
        hint = f"use at most {MAX_IDENTIFIER_BYTES} of the characters a-z 0-9 _, a letter first"
        table.report.error(node.place, f"{shorten(name)!r} cannot name a data type", hint)
        return None
    return name


def _read_type(name: str, table: Table, names: TypeNames, report: Report) -> DataType:
    data_type = DataType(
        name=name,
        display=table.text("display") or "",
        is_in_api=table.boolean("api"),
        fields=_read_fields(table, names, report),
        place=str(table.place),
    )
    if name == "user":
        data_type = _with_email(data_type, table, report)
    data_type = data_type.model_copy(update={"unique": _read_groups("unique", table, data_type, report)})
    data_type = data_type.model_copy(update={"indexes": _read_groups("indexes", table, data_type, report)})
    data_type = data_type.model_copy(update={"words": _read_words(table, data_type, report)})
    data_type = data_type.model_copy(update={"privacy": _read_privacy(table, data_type, report)})
    table.close()
    return data_type


def _with_email(user: DataType, table: Table, report: Report) -> DataType:
    email = next((field for field in user.fields if field.column == _EMAIL.column), None)
    if email is None:
        return user.model_copy(update={"fields": (_EMAIL, *user.fields)})
    if email != _EMAIL:
        report.error(
            table.key_place("fields"),
            "the field 'email' of user is built in as text",
            "write email: text, or leave it out",
        )
    return user


def _read_fields(table: Table, names: TypeNames, report: Report) -> tuple[DataField, ...]:
    fields: dict[str, DataField] = {}
    for key, node in table.table("fields", "'fields'", "such as number: text").entries():
        column = column_name(key.text)
        field_type = read_field_type(node, names, report, is_any_allowed=False)
        if column in _BUILT_IN_COLUMNS:
            report.error(
                key.place, f"the field {key.text!r} is built in ({_BUILT_IN_COLUMNS[column]})", "choose another name"
            )
        elif column in SYSTEM_COLUMNS:
            report.error(key.place, f"PostgreSQL keeps the column {column!r} for itself", "choose another name")
        elif len(column.encode()) > MAX_IDENTIFIER_BYTES:
            report.error(
                key.place, f"the name {shorten(key.text)!r} is longer than {MAX_IDENTIFIER_BYTES} bytes", "shorten it"
            )
        elif not key.text.isprintable() or key.text != key.text.strip():
            report.error(
                key.place,
                f"the name {key.text!r} has spaces around it, or characters that cannot be seen",
                "choose another name",
            )
        elif column in fields:
            report.error(
                key.place,
                f"the fields {fields[column].name!r} and {key.text!r} share the column {column!r}",
                "rename one",
            )
        else:
            # One whose type is wrong still has its name, so that its uses are not reported as well.
            fields[column] = DataField(name=key.text, type=field_type or FieldType(ScalarType.ANY), column=column)
    if len(fields) > MAX_FIELDS:
        report.error(table.key_place("fields"), f"a data type may have {MAX_FIELDS} fields, this one has {len(fields)}")
    return tuple(fields.values())


def _read_groups(key: str, table: Table, data_type: DataType, report: Report) -> tuple[tuple[str, ...], ...]:
    """`unique` and `indexes`: fields, or lists of fields. A list field may have an index of its own, for `contains`,
    and an address for `geographic_search`. What `_read_words` reads is left out.
    """
    groups: list[tuple[str, ...]] = []
    for node in table.nodes(key, "fields, or of lists of fields"):
        if key == "indexes" and isinstance(node, Mapping):
            continue
        items = node.items if isinstance(node, Sequence) else (node,)
        fields = [
            field for item in items if (field := _read_field_name(item, data_type, report, f"'{key}'")) is not None
        ]
        for field in fields:
            if what := _find_obstacle(key, field, is_alone=len(items) == 1):
                report.error(node.place, f"{field.name!r} is a {field.type}, which cannot {what}")
        if fields and len(fields) == len(items):
            groups.append(tuple(field.name for field in fields))
    return tuple(groups)


def _find_obstacle(key: str, field: DataField, *, is_alone: bool) -> str:
    """What the field cannot do as a member of `unique` or `indexes`; empty if it can."""
    is_place = field.type.name == ScalarType.ADDRESS and not field.type.is_list
    is_structured = field.type.name in _STRUCTURED
    if key == "unique":
        return "be unique" if is_structured or field.type.is_list else ""
    if is_structured and not is_place:
        return "have an index"
    return "share an index" if (is_place or field.type.is_list) and not is_alone else ""


def _read_words(table: Table, data_type: DataType, report: Report) -> tuple[str, ...]:
    """The fields of `indexes` that are written `{words: field}`."""
    found: dict[str, None] = {}
    for node in table.nodes("indexes", "fields, or of lists of fields"):
        if not isinstance(node, Mapping):
            continue
        index = Table(node, node.place, "an index for words", report)
        name = index.node("words") if index.require("words", "{words: title}") else None
        index.close()
        field = None if name is None else _read_field_name(name, data_type, report, "'indexes'")
        if field is not None and "text contains" not in constraint_types(field.type):
            report.error(node.place, f"{field.name!r} is a {field.type}, which cannot be searched for words")
        elif field is not None:
            found[field.name] = None
    return tuple(found)


def _read_field_name(node: Node, data_type: DataType, report: Report, what: str) -> DataField | None:
    text = read_text(node, f"an entry of {what}", report)
    field = None if text is None else find_field(data_type, text)
    if text is not None and field is None:
        report.unknown(node.place, "field", text, [known.name for known in data_type.fields])
    return field


def _read_privacy(table: Table, data_type: DataType, report: Report) -> tuple[PrivacyRule, ...]:
    rules: list[PrivacyRule] = []
    for node in table.nodes("privacy", "rules"):
        rule = Table(node, node.place, "a privacy rule", report)
        if "everyone" in rule:
            rules.append(_read_rule("everyone", rule.table("everyone", "the rule for everyone"), data_type, report))
            rule.close()
        elif rule.require("name", "name: owner") and ("users" in rule or rule.require("when", _OWNER_EXAMPLE)):
            rules.append(_read_rule(rule.text("name") or "", rule, data_type, report))
    return tuple(rules)


def _read_rule(name: str, table: Table, data_type: DataType, report: Report) -> PrivacyRule:
    has_conditions = name != "everyone"
    when, users = (table.node("when"), table.node("users")) if has_conditions else (None, None)
    rule = PrivacyRule(
        name=name,
        when=None if when is None else _read_constraints(when, data_type, report),
        users=None if users is None else check_expression(users, "users", _PRIVACY_SCOPE, report),
        find=table.boolean("find"),
        view=_read_view(table, data_type, report),
        create=table.boolean("create"),
        modify=table.boolean("modify"),
        delete=table.boolean("delete"),
    )
    table.close()
    return rule


def _read_constraints(
    node: Node, data_type: DataType, report: Report
) -> dict[str, JsonValue] | tuple[RuleCondition, ...]:
    if isinstance(node, Sequence) and node.items:
        tables = [Table(item, item.place, "a condition of a privacy rule", report) for item in node.items]
        read = [_read_condition(table, data_type, report) for table in tables]
        return tuple(condition for condition in read if condition is not None)
    if not isinstance(node, Mapping) or not node.entries:
        message = (
            "'when' of a privacy rule is a mapping of fields to values, or a list of {key, constraint_type, value}, "
            f"not {describe(node)}"
        )
        report.error(node.place, message, 'such as {created_by: "${user._id}"}')
        return {}
    constraints: dict[str, JsonValue] = {}
    for key, value in node.entries.values():
        field = find_field(data_type, key.text)
        if field is None:
            report.unknown(
                key.place, "field", key.text, [known.name for known in (*data_type.fields, *BUILT_IN_FIELDS)]
            )
            continue
        check_templates(value, _PRIVACY_SCOPE, report)
        constraints[field.name] = to_json(value)
    return constraints


def _read_condition(table: Table, data_type: DataType, report: Report) -> RuleCondition | None:
    is_complete = table.require("key", "key: members") and table.require("constraint_type", "constraint_type: contains")
    key, kind, value = table.node("key"), table.text("constraint_type"), table.node("value")
    table.close()
    field = None if key is None else _read_field_name(key, data_type, report, "'when'")
    if not is_complete or field is None or kind is None:
        return None
    if kind not in constraint_types(field.type):
        report.unknown(
            table.key_place("constraint_type"), "constraint_type", kind, sorted(constraint_types(field.type))
        )
        return None
    if value is not None:
        check_templates(value, _PRIVACY_SCOPE, report)
    elif kind not in WITHOUT_VALUE:
        report.error(table.place, f"the constraint {kind!r} needs a value")
    return RuleCondition(key=field.name, constraint_type=kind, value=None if value is None else to_json(value))


def _read_view(table: Table, data_type: DataType, report: Report) -> Literal["all"] | tuple[str, ...]:
    node = table.node("view")
    if isinstance(node, Scalar) and node.text == "all":
        return "all"
    fields = [
        _read_field_name(item, data_type, report, "'view'") for item in table.nodes("view", "fields, or the word all,")
    ]
    return tuple(field.name for field in fields if field is not None)
