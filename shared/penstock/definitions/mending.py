"""What is changed before a failed run is retried; `penstock.runs.mending` does it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from penstock.definitions.parameters import ValueSource

Version = Literal["pinned", "current"]


@dataclass(frozen=True, slots=True)
class Mending:
    """What is changed before a retry. Of `parameters` those that are named replace what the run has.

    `source` says how their values are written: as JSON, or as text by the command line.
    """

    step: str | None = None
    version: Version = "pinned"
    parameters: Mapping[str, JsonValue] | None = None
    source: ValueSource = ValueSource.JSON

    @property
    def is_empty(self) -> bool:
        """Whether nothing is changed."""
        return self.step is None and self.version == "pinned" and not self.parameters

    def describe(self) -> dict[str, JsonValue]:
        """The same, by the names that people write."""
        given: dict[str, JsonValue] = {"from": self.step}
        given["version"] = None if self.version == "pinned" else self.version
        given["parameters"] = {**self.parameters} if self.parameters else None
        return {name: value for name, value in given.items() if value is not None}
