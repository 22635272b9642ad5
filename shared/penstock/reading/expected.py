"""Compares the kinds of computed values with what an argument, field or parameter takes. Where nothing is known of a
value, or it may fit, nothing is said.
"""

from typing import Final

from penstock.definitions.models import FieldType, ScalarType
from penstock.expressions.kinds import ANYTHING, Kind
from penstock.reading.documents import Mapping, Node, Scalar, Sequence
from penstock.reading.places import Report, shorten
from penstock.reading.reader import StepReader
from penstock.reading.results import kind_of_thing
from penstock.reading.scopes import Scope, children, is_template, kind_of_node, whole_expression

_TEXTS: Final = frozenset({"text", "date", "moment"})
_FITTING: Final = {
    ScalarType.TEXT: _TEXTS,
    ScalarType.NUMBER: frozenset({"number"}),
    ScalarType.BOOLEAN: frozenset({"boolean"}),
    ScalarType.DATE: _TEXTS | {"number"},
    ScalarType.DATE_RANGE: frozenset({"list", "object"}),
    ScalarType.ADDRESS: _TEXTS | {"object"},
}
_THING: Final = _TEXTS | {"object"}
_HINTS: Final = {
    ("text", "number"): "write string(…) to make text of it",
    ("text", "boolean"): "write string(…) to make text of it",
    ("text", "object"): "name the member you mean",
    ("number", "text"): "write number(…) to read a number from a text",
    ("number", "list"): "write len(…) for the number of items",
    ("boolean", "text"): "write a condition, such as a == 'yes'",
    ("boolean", "number"): "write a condition, such as a > 0",
}


def check_field_value(node: Node, name: str, field_type: FieldType, scope: Scope, report: Report) -> None:
    """A computed value of a field or parameter has to be of its type."""
    kind = kind_of_node(node, scope)
    if field_type.is_list:
        check_kind(node, name, kind, frozenset({"list"}), str(field_type), report)
        if kind.word != "list":
            return
        kind, field_type = kind.item or ANYTHING, field_type.item
    if field_type.name == ScalarType.ANY:
        return
    fitting = _THING if field_type.is_thing else _FITTING.get(ScalarType(field_type.name), _TEXTS)
    expected = f"a thing of type {field_type.name!r}, or its id" if field_type.is_thing else str(field_type)
    check_kind(node, name, kind, fitting, expected, report)


def check_kind(node: Node, name: str, kind: Kind, fitting: frozenset[str], expected: str, report: Report) -> None:
    """Reports a value that is of none of the `fitting` kinds."""
    if not kind.is_decided or kind.word in fitting or not _is_computed(node):
        return
    word = "text" if kind.is_text else kind.word
    hint = _HINTS.get((expected, word), "")
    if word == "list" and expected == "text":
        hint = f"put it into a text, or name one item: ${{{_written(node)}[0]}}"
    report.error(node.place, f"{name!r}: expected {expected}, got {kind}", hint)


def check_text(reader: StepReader, key: str, node: Node) -> None:
    """An argument that has to be text."""
    check_kind(node, key, kind_of_node(node, reader.scope), _TEXTS, "text", reader.report)


def check_list(reader: StepReader, key: str, node: Node) -> None:
    """An argument that has to be a list."""
    check_kind(node, key, kind_of_node(node, reader.scope), frozenset({"list"}), "a list", reader.report)


def check_thing(reader: StepReader, key: str, node: Node) -> None:
    """An argument that has to be a thing or its id."""
    check_kind(node, key, kind_of_node(node, reader.scope), _THING, "a thing or its id", reader.report)


def kind_of_items(reader: StepReader, key: str) -> Kind:
    """The kind of the items of the list under `key`: written out, computed, or `{find: TYPE}`."""
    node = reader.table.node(key)
    if node is None:
        return ANYTHING
    if isinstance(node, Mapping):
        find = node.entries.get("find")
        known = reader.index.types.get(find[1].text) if find is not None and isinstance(find[1], Scalar) else None
        return ANYTHING if known is None else kind_of_thing(known)
    return kind_of_node(node, reader.scope).item or ANYTHING


def _is_computed(node: Node) -> bool:
    return is_template(node) or any(_is_computed(child) for child in children(node))


def _written(node: Node) -> str:
    if isinstance(node, Sequence | Mapping):
        return "…"
    return shorten((whole_expression(node) or "…").strip())
