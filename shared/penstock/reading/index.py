"""What the files of an app may refer to across files: data types, workflows with their parameters, sources, connectors;
and field types.
"""

import re
from collections.abc import Mapping as DictMapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from penstock.definitions.models import ONLY_FOR_PARAMETERS, DataType, FieldType, Parameter, RetryPolicy, ScalarType
from penstock.definitions.options import Options, OptionSet
from penstock.reading.documents import Mapping, Node, Scalar, Sequence, describe
from penstock.reading.habits import write_type
from penstock.reading.places import Place, Report
from penstock.reading.tables import Table

NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
_SCALARS: Final = frozenset(kind.value for kind in ScalarType)
_OTHER_WORDS: Final = {
    "string": "text",
    "str": "text",
    "int": "number",
    "integer": "number",
    "float": "number",
    "decimal": "number",
    "bool": "boolean",
    "yes/no": "boolean",
    "datetime": "date",
    "timestamp": "date",
    "time": "date",
    "address": "geographic address",
    "json": "any",
    "object": "any",
}


@dataclass(slots=True)
class Index:
    """All names of the app; filled before the first workflow is read. `actions` are those in Python, as
    `module.function`.
    """

    types: dict[str, DataType] = field(default_factory=dict)
    options: dict[str, OptionSet] = field(default_factory=dict)
    workflows: dict[str, tuple[Parameter, ...]] = field(default_factory=dict)
    actions: dict[str, tuple[Parameter, ...]] = field(default_factory=dict)
    sources: frozenset[str] = frozenset()
    connectors: frozenset[str] = frozenset()


class TypeNames(NamedTuple):
    """What the type of a field or parameter may be, besides the built-in ones."""

    types: frozenset[str]
    options: DictMapping[str, OptionSet]


def read_field_type(node: Node, names: TypeNames, report: Report, *, is_any_allowed: bool) -> FieldType | None:
    """`text`, `order`, `list of order` as a FieldType; None after reporting a problem."""
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        hint = "such as text, number, or list of text"
        if isinstance(node, Sequence) and len(node.items) == 1 and isinstance(node.items[0], Scalar):
            hint = f"write list of {node.items[0].text}"
        elif isinstance(node, Mapping) and "type" in node.entries and isinstance(node.entries["type"][1], Scalar):
            hint = f"write the type alone: {node.entries['type'][1].text}"
        report.error(node.place, f"expected a type, got {describe(node)}", hint)
        return None
    text = " ".join(node.value.split())
    name = text.removeprefix("list of ")
    if name in ONLY_FOR_PARAMETERS and not is_any_allowed:
        hint = "a field needs a type of its own, such as text"
        if name == ScalarType.PASSWORD:
            hint = "the steps sign_up and reset_password keep passwords apart from the users"
        report.error(node.place, f"{name!r} is a type for parameters only", hint)
        return None
    if name == ScalarType.PASSWORD and name != text:
        report.error(node.place, "there are no lists of passwords", "give each one a parameter of its own")
        return None
    if name in _SCALARS or name in names.types:
        return FieldType(name, is_list=name != text)
    if name in names.options:
        return FieldType(ScalarType.TEXT.value, name != text, Options(name, names.options[name].values))
    if name.startswith("list of "):
        report.error(node.place, "a list cannot hold lists", "make a data type for the inner ones, or use any")
        return None
    if not report.is_partial or name.lower() in _OTHER_WORDS:
        known = (_SCALARS | names.types | names.options.keys()) - (
            frozenset() if is_any_allowed else ONLY_FOR_PARAMETERS
        )
        other = _OTHER_WORDS.get(name.lower())
        hint = f"did you mean {other!r}?" if other in known else write_type(text)
        report.unknown(node.place, "type", name, known, hint)
    return None


def read_name(table: Table, key: str, example: str, longest: int) -> str | None:
    """The name under a key: letters, digits, `_` and `-`."""
    if not table.require(key, example):
        return None
    name = table.text(key)
    if name is None or (NAME.fullmatch(name) and len(name) <= longest):
        return name
    node = table.node(key)
    place: Place = node.place if node else table.place
    report = table.report
    report.error(place, f"{name!r} is not a name", f"use at most {longest} of the characters A-Z a-z 0-9 _ -")
    return None


def read_retries(table: Table, key: str) -> RetryPolicy | None:
    """`retries: 3` (attempts in all, the first one included) or the mapping with backoff, factor, max and jitter."""
    node = table.node(key)
    if node is None:
        return None
    if isinstance(node, Scalar):
        attempts = table.integer(key, 1, 1000)
        return RetryPolicy(attempts=attempts or 1)
    retries = table.table(key, f"{key!r}")
    default = RetryPolicy()
    given = {
        "attempts": retries.integer("attempts", 1, 1000),
        "backoff_seconds": retries.seconds("backoff"),
        "factor": retries.number("factor", 1, 100),
        "max_seconds": retries.seconds("max"),
        "jitter": retries.number("jitter", 0, 1),
    }
    retries.close()
    return default.model_copy(update={name: value for name, value in given.items() if value is not None})
