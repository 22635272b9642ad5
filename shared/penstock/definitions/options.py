"""Option sets: static lists of texts."""

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict


class Options(NamedTuple):
    """The option set that a text is one of: its name and its values."""

    name: str
    values: tuple[str, ...]


class OptionSet(BaseModel):
    """What a field or parameter of its name may hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: tuple[str, ...]
    place: str = ""
