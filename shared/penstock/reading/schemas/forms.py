"""What kinds of value there are in the files of an app, as pieces of JSON Schema."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from pydantic import JsonValue

from penstock.definitions.fields import CONSTRAINT_TYPES
from penstock.domain.ticks import MAX_FAILURES, MAX_TIMES, Every, Overlap
from penstock.reading.blocks import MAX_AT_ONCE, MAX_BRANCHES
from penstock.reading.targets import SESSIONS

Schema = dict[str, JsonValue]

NAME: Final = "^[A-Za-z0-9_-]+$"
DURATION: Final[Schema] = {
    "type": "string",
    "pattern": r"^\s*[0-9]+(\.[0-9]+)?(ms|s|m|h|d)\s*$",
    "examples": ["5s", "10m", "3d"],
}
TEMPLATE: Final[Schema] = {"type": "string", "pattern": r"\$\{"}
EXPRESSION: Final[Schema] = {
    "type": ["string", "boolean", "number"],
    "not": {"type": "string", "pattern": r"^\$\{.*\}$"},
}
"""One that stands bare."""
TEXT: Final[Schema] = {"type": "string"}
BOOLEAN: Final[Schema] = {"type": "boolean"}
ANYTHING: Final[Schema] = {}


def either(*schemas: Schema) -> Schema:
    """What fits one of these."""
    return {"anyOf": [*schemas]}


def choice(words: Iterable[str]) -> Schema:
    """One of these words."""
    return {"enum": [*words]}


def integer(low: int, high: int) -> Schema:
    """A whole number from `low` to `high`."""
    return {"type": "integer", "minimum": low, "maximum": high}


def number(low: float, high: float) -> Schema:
    """A number from `low` to `high`."""
    return {"type": "number", "minimum": low, "maximum": high}


def list_of(item: Schema) -> Schema:
    """A list of these."""
    return {"type": "array", "items": item}


def one_or_list(item: Schema) -> Schema:
    """One of these, or a list of them."""
    return either(item, list_of(item))


def table(properties: Mapping[str, Schema], *required: str, **more: JsonValue) -> Schema:
    """A mapping that has these keys and no others."""
    needed: Schema = {"required": [*required]} if required else {}
    return {"type": "object", "properties": {**properties}, **needed, "additionalProperties": False, **more}


def named(item: Schema, pattern: str = "") -> Schema:
    """A mapping of the author's own names to these."""
    return {
        "type": "object",
        **({"propertyNames": {"pattern": pattern}} if pattern else {}),
        "additionalProperties": item,
    }


MAPPING: Final[Schema] = {"type": "object"}
_TIME: Final[Schema] = {
    "type": "string",
    "pattern": r"^\d{4}-\d{2}-\d{2}[T ].*(Z|[+-]\d{2}:?\d{2})$",
    "examples": ["2026-01-31T09:00:00Z"],
}
CONSTRAINT: Final = table(
    {"key": TEXT, "constraint_type": choice(sorted(CONSTRAINT_TYPES)), "value": ANYTHING}, "key", "constraint_type"
)
_WHERE: Final = either(MAPPING, list_of(CONSTRAINT))
_ADDRESS: Final = either(TEXT, table({"name": TEXT, "email": TEXT}, "email"))
_ATTACHMENT: Final = table({"name": TEXT, "content_type": TEXT, "text": TEXT, "base64": TEXT}, "name")
_STEPS: Final[Schema] = {"type": "array", "items": {"$ref": "#/$defs/step"}, "minItems": 1}
_SEARCH: Final = table({"find": TEXT, "where": _WHERE, "sort": TEXT}, "find")

FORMS: Final[Mapping[str, Schema]] = {
    # Arguments of every kind.
    "anything": ANYTHING,
    "mapping": either(MAPPING, TEMPLATE),
    "text": TEXT,
    "path": TEXT,
    "boolean": either(BOOLEAN, TEMPLATE),
    "priority": either(integer(0, 9), TEMPLATE),
    "page_size": either(integer(1, 10_000), TEMPLATE),
    "duration": either(DURATION, TEMPLATE),
    "time": either(_TIME, TEMPLATE),
    "method": either(choice(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]), TEMPLATE),
    "fail_or_continue": choice(["fail", "continue"]),
    "file_format": either(choice(["csv", "jsonl"]), TEMPLATE),
    "cron": TEXT,
    "timezone": TEXT,
    "times": either(integer(1, MAX_TIMES), TEMPLATE),
    "failures": either(integer(1, MAX_FAILURES), TEMPLATE),
    "overlap": either(choice([overlap.value for overlap in Overlap]), TEMPLATE),
    "every": either(choice([period.value for period in Every]), TEMPLATE),
    "signing_secret": one_or_list(TEXT),
    "key": {"type": ["string", "number", "boolean"]},
    "thing": TEXT,
    "items": either({"type": "array"}, TEMPLATE),
    "parameters": MAPPING,
    "item_parameters": MAPPING,
    "following_workflow": TEXT,
    "following_parameters": MAPPING,
    # Arguments about data types.
    "data_type": TEXT,
    "field_name": TEXT,
    "unique_fields": one_or_list(TEXT),
    "import_key": one_or_list(TEXT),
    "aggregated": one_or_list(TEXT),
    "values": MAPPING,
    "item_values": MAPPING,
    "list_values": MAPPING,
    "where": _WHERE,
    "over": either({"type": "array"}, TEMPLATE, _SEARCH),
    "password": TEMPLATE,
    "link": TEXT,
    # Arguments about mail.
    "recipients": one_or_list(_ADDRESS),
    "recipients_target": one_or_list(_ADDRESS),
    "headers": either(MAPPING, TEMPLATE),
    "attachments": one_or_list(either(_ATTACHMENT, TEMPLATE)),
    # What stands behind the key of an action.
    "type_target": TEXT,
    "workflow_target": TEXT,
    "workflow_name": TEXT,
    "function_target": TEXT,
    "connector_target": TEXT,
    "thing_target": TEXT,
    "text_target": TEXT,
    "signal_target": TEXT,
    "chain_target": TEXT,
    "routing_key_target": TEXT,
    "runs_target": one_or_list(TEXT),
    "form_schema": MAPPING,
    "cancelled_target": either(one_or_list(TEXT), table({"workflow": TEXT, "key": TEXT}, "workflow", "key")),
    "email_target": TEXT,
    "sessions_target": choice(SESSIONS),
    "mailed_target": TEXT,
    "token_target": TEMPLATE,
    "verified_target": TEXT,
    "url_target": {"type": "string", "pattern": r"^([Hh][Tt][Tt][Pp][Ss]?://|\$\{)"},
    "answer_target": either(MAPPING, TEMPLATE, {"type": "null"}),
    "object_target": either(MAPPING, TEMPLATE),
    "wait_target": either(DURATION, _TIME, TEMPLATE),
    # Steps inside a step.
    "list_target": either({"type": "array"}, TEMPLATE),
    "item_name": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
    "at_once": integer(1, MAX_AT_ONCE),
    "iterated": _STEPS,
    "branches_target": {**named(_STEPS, "^[A-Za-z_][A-Za-z0-9_]*$"), "minProperties": 1, "maxProperties": MAX_BRANCHES},
}
"""By the function that reads it. One that is missing here takes anything, as far as an editor knows."""


def form_of(read: Callable[..., object]) -> Schema:
    """What a reading function takes, with its docstring as the description."""
    description = " ".join((read.__doc__ or "").split())
    return {**({"description": description} if description else {}), **FORMS.get(read.__name__, ANYTHING)}
