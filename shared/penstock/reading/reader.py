"""What is known while one step is read."""

import re
from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue

from penstock.definitions.models import DataType, FieldType, Parameter
from penstock.reading.documents import Node, Scalar
from penstock.reading.index import Index
from penstock.reading.places import Report
from penstock.reading.scopes import Scope, is_template
from penstock.reading.tables import Table

_STEP_ID: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(slots=True)
class StepReader:
    """A step being read: its mapping, what its expressions may use, and what its target has shown so far.

    `results` are the data types of the earlier steps' results, by id (None: no thing); `result_type` is this one's.
    `given` are its arguments, once they are read.
    `changed_type` is that of the thing whose change starts the run, where all triggers name the same.
    """

    table: Table
    scope: Scope
    index: Index
    report: Report
    results: dict[str, str | None] = field(default_factory=dict)
    types_of_parameters: dict[str, FieldType] = field(default_factory=dict)
    changed_type: str | None = None
    data_type: DataType | None = None
    parameters: tuple[Parameter, ...] | None = None
    result_type: str | None = None
    given: dict[str, JsonValue] = field(default_factory=dict)

    def literal(self, key: str, what: str, hint: str) -> str | None:
        """The text under a key that has to be written out, not computed."""
        node = self.table.node(key)
        if node is None:
            self.report.error(self.table.key_place(key), f"{key!r} needs the name of {what}", hint)
            return None
        if is_template(node):
            self.report.error(node.place, f"the name of {what} cannot be computed", hint)
            return None
        return self.table.text(key)

    def missing(self, key: str, what: str, hint: str = "") -> None:
        """Reports an action without its value."""
        self.report.error(self.table.key_place(key), f"{key!r} needs {what}", hint)

    def is_argument_id(self, node: Node) -> bool:
        """Whether an `id` of a `get` is the id of the thing to get; a plain name is the id of the step."""
        return not (isinstance(node, Scalar) and isinstance(node.value, str) and _STEP_ID.fullmatch(node.value))
