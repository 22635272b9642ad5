"""What is known of a value before there is one: its kind, in the words of app authors.

A kind says less than is true, never more: what cannot be decided is ANYTHING, and any value may be null besides.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from pydantic import JsonValue


@dataclass(frozen=True, slots=True)
class Kind:
    """The kind of a value.

    `word` is one of any, null, text, number, boolean, date (a text that holds a time), moment (what `d(…)` gives),
    list, object. `item` is the kind of a list's items, `members` are those of an object whose members are all known.
    `of` names the data type whose thing (object) or whose thing's id (text) it is; `options` names the option set whose
    option (text), or whose attributes of an option (object), it is.
    """

    word: str
    item: "Kind | None" = None
    members: "Mapping[str, Kind] | None" = None
    of: str = ""
    options: str = ""

    @property
    def is_decided(self) -> bool:
        """Whether anything is known."""
        return self.word not in {"any", "null"}

    @property
    def is_text(self) -> bool:
        """Whether the value is written as text in JSON."""
        return self.word in {"text", "date", "moment"}

    def __str__(self) -> str:
        """With an article, for messages: `a list of text`."""
        if self.of:
            return f"a thing of type {self.of!r}" if self.word == "object" else f"the id of a thing of type {self.of!r}"
        if self.options and self.word == "text":
            return f"an option of {self.options!r}"
        if self.word == "list" and self.item is not None and self.item.is_decided:
            return f"a list of {_PLURALS.get(self.item.word, self.item.of or self.item.word)}"
        return _NAMES[self.word]


_NAMES: Final = {
    "any": "any value",
    "null": "null",
    "text": "text",
    "number": "a number",
    "boolean": "true or false",
    "date": "a date",
    "moment": "a date",
    "list": "a list",
    "object": "an object",
}
_PLURALS: Final = {"number": "numbers", "boolean": "booleans", "date": "dates", "moment": "dates", "list": "lists"}

ANYTHING: Final = Kind("any")
NULL: Final = Kind("null")
TEXT: Final = Kind("text")
NUMBER: Final = Kind("number")
BOOLEAN: Final = Kind("boolean")
DATE: Final = Kind("date")
MOMENT: Final = Kind("moment")
OBJECT: Final = Kind("object")


def list_of(item: Kind) -> Kind:
    """A list of such items."""
    return Kind("list", item)


def object_of(members: Mapping[str, Kind], of: str = "") -> Kind:
    """An object with these members and no others; `of` names the data type of a thing."""
    return Kind("object", None, members, of)


def id_of(data_type: str) -> Kind:
    """The id of a thing of this type."""
    return Kind("text", of=data_type)


def option_of(option_set: str) -> Kind:
    """One of the options of this set: a text."""
    return Kind("text", options=option_set)


def attributes_of(option_set: str, attributes: Mapping[str, Kind]) -> Kind:
    """What expressions read of an option of this set."""
    return Kind("object", None, attributes, options=option_set)


def kind_of_value(value: JsonValue) -> Kind:
    """The kind of a value that is there."""
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, int | float):
        return NUMBER
    if isinstance(value, str):
        return TEXT
    if isinstance(value, list):
        return list_of(join(kind_of_value(item) for item in value) if value else ANYTHING)
    return NULL if value is None else object_of({key: kind_of_value(item) for key, item in value.items()})


def join(kinds: Iterable[Kind]) -> Kind:
    """The kind of a value that is of one of these kinds: what they share. Null says nothing, since all may be null."""
    found = [kind for kind in kinds if kind.word != "null"]
    if not found:
        return NULL
    first = found[0]
    if all(kind == first for kind in found):
        return first
    if any(kind.word != first.word for kind in found):
        return TEXT if all(kind.is_text for kind in found) else ANYTHING
    if first.word == "list":
        return list_of(join(kind.item or ANYTHING for kind in found))
    return OBJECT if first.word == "object" else replace(first, of="", options="")


def or_error(kind: Kind) -> Kind:
    """The result of a step with `on_error: continue`: what it gives, or `{error: {kind, message}}`."""
    if kind.word != "object" or kind.members is None:
        return OBJECT if kind.word == "object" else ANYTHING
    return replace(kind, members={**kind.members, "error": object_of({"kind": TEXT, "message": TEXT})})
