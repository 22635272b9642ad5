"""Reads what is particular to steps with steps inside: `each` and `parallel`."""

import re
from typing import Final

from pydantic import JsonValue

from penstock.expressions.kinds import ANYTHING, Kind, list_of, object_of
from penstock.reading.arguments import items
from penstock.reading.documents import Mapping, Node, describe
from penstock.reading.expected import kind_of_items
from penstock.reading.reader import StepReader

MAX_AT_ONCE: Final = 20
MAX_BRANCHES: Final = 20
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def list_target(reader: StepReader, key: str) -> JsonValue:
    """A list, or a template that gives one."""
    node = reader.table.node(key)
    if node is not None:
        return items(reader, key, node)
    reader.missing(key, "a list", 'such as "${params.orders}"')
    return None


def item_name(reader: StepReader, key: str, node: Node) -> JsonValue:
    """What an item is called in the steps inside; `item`, if nothing is said."""
    name = reader.table.text(key)
    if name is None:
        return None
    if not _NAME.fullmatch(name):
        reader.report.error(node.place, f"{name[:60]!r} cannot name an item", "use letters, digits and _")
    elif name == "index" or name in reader.scope.names:
        reader.report.error(node.place, f"{name!r} means something else here", "choose another name")
    return name


def at_once(reader: StepReader, key: str, _node: Node) -> JsonValue:
    """How many items are worked on at once; 1 if nothing is said."""
    return reader.table.integer(key, 1, MAX_AT_ONCE)


def iterated(reader: StepReader, key: str, node: Node) -> JsonValue:
    """The steps that are performed for each item, where the item and `index` are in scope."""
    written, kind = reader.given.get("as"), kind_of_items(reader, "each")
    scope = reader.scope.plus_item(kind, written) if isinstance(written, str) else reader.scope_of_items(kind)
    reader.add_block(key, node, scope, at_once=reader.given.get("at_once") not in {None, 1})
    return None


def branches_target(reader: StepReader, key: str) -> JsonValue:
    """Branches by their names, each a list of steps; they are performed side by side."""
    node = reader.table.node(key)
    if not isinstance(node, Mapping) or not node.entries:
        found = "" if node is None else f", not {describe(node)}"
        reader.missing(key, f"branches by name{found}", "such as {quick: [{log: one}], slow: [{log: two}]}")
        return None
    if len(node.entries) > MAX_BRANCHES:
        reader.report.error(
            node.place, f"{key!r} has {len(node.entries)} branches; at most {MAX_BRANCHES} are possible"
        )
        return None
    for name, (written, steps) in node.entries.items():
        if not _NAME.fullmatch(name):
            hint = "use letters, digits and _"
            reader.report.error(written.place, f"{name[:60]!r} cannot name a branch", hint)
        else:
            reader.add_block(name, steps, reader.scope, at_once=True)
    return None


def results_of_items(reader: StepReader) -> Kind:
    """What the last of the steps results in, for each item."""
    return list_of(reader.last_kinds.get("steps", ANYTHING))


def results_of_branches(reader: StepReader) -> Kind:
    """What the last step of each branch results in, by its name."""
    return object_of(reader.last_kinds)
