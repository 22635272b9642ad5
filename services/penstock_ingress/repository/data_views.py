"""What the management API shows of an app's data types and their things."""

from pydantic import Field

from penstock.runs.views.models import Shown, Stored


class TypeField(Shown):
    """A field of a data type."""

    name: str
    type: str
    constraints: list[str] = Field(description="The constraints that a search may set on it")


class ShownType(Shown):
    """A data type."""

    name: str
    display: str
    is_in_api: bool = Field(description="Whether the Data API serves it")
    fields: list[TypeField] = Field(description="Built-in ones first")


class TypeList(Shown):
    """The data types of the current deployment; there is one page."""

    results: list[ShownType]
    after: str | None


class ThingPage(Shown):
    """Things of a type, by default in the order in which they were made; `after` asks for the next page."""

    results: list[dict[str, Stored]]
    after: str | None
