"""What starts when a list has ended (`then`): a workflow, whose parameters may say how many of the items ended how."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self
from uuid import UUID

from pydantic import JsonValue, TypeAdapter

from penstock.domain.ids import child_run_id
from penstock.expressions import compile_template
from penstock.expressions.bounded import evaluate


@dataclass(frozen=True, slots=True)
class Follower:
    """A workflow that starts when a list has ended. `values` are the parameters that were known before; `late` are
    templates that read `list`, evaluated with `scope` when it has ended. `rewritten` are expressions of theirs that
    read through references.
    """

    workflow: str
    values: dict[str, JsonValue] = field(default_factory=dict)
    late: dict[str, JsonValue] = field(default_factory=dict)
    scope: dict[str, JsonValue] = field(default_factory=dict)
    rewritten: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As it is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: JsonValue) -> Self:
        """What `to_json` made."""
        return TypeAdapter(cls).validate_python(stored)

    async def make_parameters(self, ended: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """The parameters of its run; `ended` is what expressions read as `list`. Raises Permanent."""
        if not self.late:
            return self.values
        template = compile_template(self.late, "then_with", rewritten=self.rewritten)
        late = await evaluate(template, {**self.scope, "list": dict(ended)})
        return {**self.values, **(late if isinstance(late, dict) else {})}


def follower_run_id(list_id: UUID) -> UUID:
    """The id of the run that starts when this list has ended: always the same, so that it starts once."""
    return child_run_id(list_id, "then")
