"""Parameters as one sample of a request shows them: their names and types, and the block of YAML that declares them."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from pydantic import JsonValue

from penstock.definitions.models import FieldType, ScalarType
from penstock.definitions.values import ValueSource
from penstock.domain.moments import read_iso

MAX_DETECTED: Final = 200
"""Parameters of one sample."""
MAX_NAME: Final = 200
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
_YAML_WORDS: Final = frozenset({"true", "false", "null"})
_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.\d{1,15})?", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d.*)?", re.ASCII)
_MAX_DATE_LENGTH: Final = 40
_SEPARATORS: Final = re.compile(r"[\s_.-]")
_PASSWORD: Final = re.compile(
    r"(?:\w*(?:password|passwd|passphrase)(?:confirm(?:ation)?|repeat(?:ed)?|again|[12])?)|pwd"
)
"""Names of passwords, in lower case and without what separates words."""
_ADDRESS: Final = frozenset({"address", "lat", "lng"})
_FILE: Final = frozenset({"filename", "contents", "content_type", "private", "attach_to"})


class DetectedParameter(NamedTuple):
    """A parameter that a sample suggests. One without a value in the sample is optional."""

    name: str
    type: str
    is_optional: bool = False


def detect_parameters(sample: Mapping[str, JsonValue], source: ValueSource) -> list[DetectedParameter]:
    """What the sample's members could be declared as, in their order. In TEXT (forms, queries) a value that reads as
    a number, a date, true or false counts as one; a number with leading zeros stays text.

    Names that no parameter can have are left out. Raises ValueError for a sample with too many members.
    """
    if len(sample) > MAX_DETECTED:
        raise ValueError(f"the sample has {len(sample)} members; at most {MAX_DETECTED} are detected")
    return [
        DetectedParameter(name, str(_detect_named(name, value, source)), value is None)
        for name, value in sample.items()
        if name and name.isprintable() and len(name) <= MAX_NAME
    ]


def write_parameters(parameters: Sequence[DetectedParameter]) -> str:
    """The key `parameters:` of a workflow, as YAML that ends with a line break."""
    if not parameters:
        return "parameters: {}\n"
    lines = ["parameters:"]
    for parameter in parameters:
        value = f"{{type: {parameter.type}, optional: true}}" if parameter.is_optional else parameter.type
        lines.append(f"  {_write_key(parameter.name)}: {value}")
    return "\n".join(lines) + "\n"


def _detect_named(name: str, value: JsonValue, source: ValueSource) -> FieldType:
    # What a text is for only its name says, and a password that is declared as text is stored as it is.
    is_password = (value is None or isinstance(value, str)) and _PASSWORD.fullmatch(_SEPARATORS.sub("", name.lower()))
    return FieldType(ScalarType.PASSWORD) if is_password else _detect(value, source)


def _detect(value: JsonValue, source: ValueSource) -> FieldType:
    if not isinstance(value, list):
        return FieldType(_detect_one(value, source))
    kinds = {_detect_one(item, source) for item in value if item is not None}
    return FieldType(kinds.pop() if len(kinds) == 1 else ScalarType.ANY, is_list=True)


def _detect_one(value: JsonValue, source: ValueSource) -> str:
    match value:
        case bool():
            return ScalarType.BOOLEAN
        case int() | float():
            return ScalarType.NUMBER
        case str():
            return _detect_text(value, source)
        case dict() if value and _is_address(value):
            return ScalarType.ADDRESS
        case dict() if value.keys() <= _FILE and isinstance(value.get("contents"), str):
            return ScalarType.FILE
        case _:
            return ScalarType.ANY


def _detect_text(text: str, source: ValueSource) -> str:
    if source is ValueSource.TEXT:
        if text in {"true", "false"}:
            return ScalarType.BOOLEAN
        if _NUMBER.fullmatch(text):
            return ScalarType.NUMBER
    return ScalarType.DATE if _is_date(text) else ScalarType.TEXT


def _is_date(text: str) -> bool:
    if len(text) > _MAX_DATE_LENGTH or not _DATE.fullmatch(text):
        return False
    try:
        read_iso(text)
    except ValueError:
        return False
    return True


def _is_address(value: Mapping[str, JsonValue]) -> bool:
    return value.keys() <= _ADDRESS and ("address" in value or value.keys() >= {"lat", "lng"})


def _write_key(name: str) -> str:
    """The name as a key: what could be read as something else is quoted, as JSON, which is YAML too."""
    if _PLAIN_KEY.fullmatch(name) and name.lower() not in _YAML_WORDS:
        return name
    return json.dumps(name, ensure_ascii=False)
