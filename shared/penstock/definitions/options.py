"""Option sets: static lists of texts, which may have attributes."""

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class Options(NamedTuple):
    """The option set that a text is one of: its name and its values."""

    name: str
    values: tuple[str, ...]


class OptionSet(BaseModel):
    """What a field or parameter of its name may hold. `attributes` are what expressions read of an option, by option
    and name: texts, numbers, booleans, or lists of these. An option that lacks one reads as null.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: tuple[str, ...]
    attributes: Mapping[str, dict[str, JsonValue]] = Field(default_factory=dict)
    place: str = ""
