"""Reads `options` of app.yaml: option sets, static lists of texts, such as `status: [new, paid]`, or of texts with
attributes, such as `status: {new: {label: New}, paid: {label: Paid}}`.
"""

import re
from collections.abc import Iterator
from typing import Final

from pydantic import JsonValue

from penstock.definitions.models import FieldType, ScalarType
from penstock.definitions.options import OptionSet
from penstock.definitions.values import coerce_value
from penstock.expressions.kinds import Kind, kind_of_value
from penstock.reading.documents import Mapping, Node, Scalar, Sequence, describe, to_json
from penstock.reading.places import Place, Report, shorten
from penstock.reading.tables import Table

MAX_OPTIONS: Final = 1_000
MAX_ATTRIBUTES: Final = 50
"""Of one option."""
ATTRIBUTE_NAME: Final = r"[A-Za-z][A-Za-z0-9_]{0,62}"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_BUILT_IN: Final = frozenset(kind.value for kind in ScalarType) | {"user"}
_EXAMPLE: Final = "such as new: {label: New}"


def read_option_sets(table: Table) -> dict[str, OptionSet]:
    """All option sets by name."""
    given = table.table("options", "'options'", "such as status: [new, paid]")
    found: dict[str, OptionSet] = {}
    for key, node in given.entries():
        if not _is_name(key, table.report):
            continue
        if isinstance(node, Mapping):
            found[key.text] = _read_described(given, key, node)
        else:
            values = _check_values(given, key.text, given.texts(key.text))
            found[key.text] = OptionSet(values=values, place=str(key.place))
    return found


def _is_name(key: Scalar, report: Report) -> bool:
    if key.text in _BUILT_IN:
        report.error(key.place, f"{key.text!r} is a built-in type", "choose another name")
    elif not _NAME.fullmatch(key.text):
        hint = "use at most 63 of the characters a-z 0-9 _, a letter first"
        report.error(key.place, f"{shorten(key.text)!r} cannot name an option set", hint)
    else:
        return True
    return False


def _check_values(table: Table, name: str, given: list[tuple[str, Place]]) -> tuple[str, ...]:
    values: dict[str, None] = {}
    for text, place in given:
        if text in values:
            table.report.error(place, f"the option {shorten(text)!r} of {name!r} is there twice")
        elif not text or text != text.strip() or not text.isprintable():
            what = "is empty, or has spaces around it or characters that cannot be seen"
            table.report.error(place, f"the option {shorten(text)!r} of {name!r} {what}")
        values[text] = None
    if not values:
        table.report.error(table.key_place(name), f"the option set {name!r} has no options", "such as [new, paid]")
    if len(values) > MAX_OPTIONS:
        message = f"an option set may have {MAX_OPTIONS} options, and {name!r} has {len(values)}"
        table.report.error(table.key_place(name), message, "make it a data type")
    return tuple(values)


def _read_described(table: Table, name: Scalar, node: Mapping) -> OptionSet:
    """Options with their attributes."""
    values = _check_values(table, name.text, [(key.text, key.place) for key, _ in node.entries.values()])
    attributes: dict[str, dict[str, JsonValue]] = {}
    kinds: dict[str, tuple[Kind, str]] = {}
    for option, given in node.entries.values():
        one = Table(given, option.place, f"the option {shorten(option.text)!r}", table.report, _EXAMPLE)
        read = attributes[option.text] = dict(_read_attributes(one, table.report))
        for attribute, value in read.items():
            if value == []:
                continue  # of any items
            kind = kind_of_value(value)
            first, where = kinds.setdefault(attribute, (kind, option.text))
            if kind != first:
                what = f"{attribute!r} of {option.text!r} is {kind}, and {first} in {where!r}"
                table.report.error(one.key_place(attribute), what, "give the attribute one type in all options")
    return OptionSet(values=values, attributes=attributes, place=str(name.place))


def _read_attributes(option: Table, report: Report) -> Iterator[tuple[str, JsonValue]]:
    """Those that have a value."""
    if len(option.written) > MAX_ATTRIBUTES:
        report.error(option.place, f"an option may have {MAX_ATTRIBUTES} attributes, {option.what} has more")
        return
    for key, node in option.entries():
        if not re.fullmatch(ATTRIBUTE_NAME, key.text):
            hint = "use at most 63 of the characters A-Z a-z 0-9 _, a letter first"
            report.error(key.place, f"{shorten(key.text)!r} cannot name an attribute", hint)
        elif (value := _read_value(key, node, report)) is not None:
            yield key.text, value


def _read_value(key: Scalar, node: Node, report: Report) -> JsonValue:
    """A text, number or boolean, or a list of these that are all of one kind; None for an empty or a wrong one."""
    items = node.items if isinstance(node, Sequence) else (node,)
    wrong = next((item for item in items if not isinstance(item, Scalar)), None)
    if wrong is not None:
        what = f"the attribute {key.text!r} is a text, a number, true or false, or a list of these"
        report.error(wrong.place, f"{what}, not {describe(wrong)}")
    elif any(kind_of_value(to_json(item)) != kind_of_value(to_json(items[0])) for item in items):
        report.error(node.place, f"the items of the attribute {key.text!r} are not all of one type")
    else:
        try:
            value = to_json(node)
            return None if value is None else coerce_value(FieldType(ScalarType.ANY), value)
        except ValueError as error:
            report.error(node.place, f"the attribute {key.text!r}: {error}")
    return None
