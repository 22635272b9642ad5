"""What is known while one step is read."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue

from penstock.definitions.models import DataType, FieldType, Parameter, Step
from penstock.expressions.kinds import Kind
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
    `given` are its arguments, once they are read. `read_block` reads steps that stand inside it, which may all be
    performed at once (the last argument) or not; `blocks` are those it has read, `last_kinds` what their last steps
    result in.
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
    read_block: "ReadBlock | None" = None
    blocks: dict[str, tuple[Step, ...]] = field(default_factory=dict)
    last_kinds: dict[str, Kind] = field(default_factory=dict)

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

    def scope_of_items(self, kind: Kind) -> Scope:
        """The scope of what is evaluated for each `item` of a list; reports an `item` that is known already."""
        if "item" in self.scope.names:
            hint = "give that one's items another name, such as: as: order"
            self.report.error(self.table.place, "`item` is that of the `each` around this step", hint)
        return self.scope.plus_item(kind)

    def add_block(self, name: str, node: Node, scope: Scope, *, at_once: bool) -> None:
        """Read the steps at `node` as those inside this step under `name`."""
        assert self.read_block is not None
        self.blocks[name], self.last_kinds[name] = self.read_block(node, name, scope, at_once)


ReadBlock = Callable[[Node, str, Scope, bool], tuple[tuple[Step, ...], Kind]]
"""What stands there, its name, its scope, and whether it is performed beside others: the steps, and what the last
results in.
"""
