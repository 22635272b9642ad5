"""Parameters on a command line: `-p key=value`, read as the workflow's parameter asks. No I/O."""

from collections.abc import Iterable, Mapping

import orjson
from pydantic import JsonValue

from penstock.definitions.models import FieldType, Workflow
from penstock.definitions.values import ValueSource, coerce_value


def split_pairs(pairs: Iterable[str]) -> dict[str, str]:
    """`["a=1", "b="]` as `{"a": "1", "b": ""}`. Raises ValueError for a text without `=` or without a name, and for a name given twice."""
    given: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise ValueError(f"{pair!r} is not of the form key=value")
        if name in given:
            raise ValueError(f"{name} is given twice; a list is one value, as in {name}='[1, 2]'")
        given[name] = value
    return given


def read_values(workflow: Workflow, given: Mapping[str, str]) -> dict[str, JsonValue]:
    """The values of `given`, each read as the parameter of that name asks: as JSON where that fits its type, else as text.

    What fits neither way, and what the workflow does not know, stays a text: the check of the whole request says what is wrong with it.
    """
    types = {parameter.name: parameter.type for parameter in workflow.parameters}
    return {name: _read_value(types[name], text) if name in types else text for name, text in given.items()}


def _read_value(type: FieldType, text: str) -> JsonValue:
    try:
        value: JsonValue = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _read_text(type, text)
    if value is None:
        return None
    try:
        return coerce_value(type, value, source=ValueSource.JSON)
    except ValueError:
        return _read_text(type, text)


def _read_text(type: FieldType, text: str) -> JsonValue:
    try:
        return coerce_value(type, text, source=ValueSource.TEXT)
    except ValueError:
        return text
