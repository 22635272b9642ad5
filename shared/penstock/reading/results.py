"""The kinds of what expressions read: fields of things, parameters, what is in scope, and the results of steps, where
`actions` names the function of each kind of step beside its arguments.
"""

from collections.abc import Collection, Mapping
from typing import Final

from penstock.definitions.fields import AGGREGATES, BUILT_IN_FIELDS, column_name
from penstock.definitions.models import DataType, FieldType, Parameter, ScalarType
from penstock.definitions.options import OptionSet
from penstock.expressions.kinds import (
    ANYTHING,
    BOOLEAN,
    DATE,
    NUMBER,
    OBJECT,
    TEXT,
    Kind,
    attributes_of,
    id_of,
    join,
    kind_of_value,
    list_of,
    object_of,
    option_of,
)
from penstock.reading.reader import StepReader
from penstock.reading.scopes import (
    CHANGE_MEMBERS,
    RECURRENCE_MEMBERS,
    REQUEST_MEMBERS,
    RUN_EVENT_MEMBERS,
    WEBHOOK_MEMBERS,
)

_SCALARS: Final[Mapping[str, Kind]] = {
    ScalarType.TEXT: TEXT,
    ScalarType.NUMBER: NUMBER,
    ScalarType.BOOLEAN: BOOLEAN,
    ScalarType.DATE: DATE,
    ScalarType.DATE_RANGE: list_of(DATE),
    ScalarType.ADDRESS: object_of({"address": TEXT, "lat": NUMBER, "lng": NUMBER}),
    ScalarType.ANY: ANYTHING,
}
_RUN: Final = object_of(
    {
        **dict.fromkeys(("id", "chain_id", "environment", "workflow"), TEXT),
        **dict.fromkeys(("depth", "depth_limit", "attempt"), NUMBER),
        **dict.fromkeys(("scheduled_at", "started_at"), DATE),
    }
)
_CHANGE: Final[Mapping[str, Kind]] = {"operation": TEXT, "type": TEXT}
_WEBHOOK: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(("source", "id", "event_id", "type"), TEXT),
    "received_at": DATE,
}
_RUN_EVENT: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(("id", "chain_id", "workflow", "state"), TEXT),
    **dict.fromkeys(("attempt", "depth"), NUMBER),
}
FILE: Final = object_of({"file": TEXT, "name": TEXT, "content_type": TEXT, "size": NUMBER})


def kind_of(field_type: FieldType) -> Kind:
    """What a value of this type is in expressions: a thing that a field or parameter refers to is its id."""
    kind = _SCALARS.get(field_type.name) or (id_of(field_type.name) if field_type.is_thing else TEXT)
    if field_type.options is not None:
        kind = option_of(field_type.options.name)
    return list_of(kind) if field_type.is_list else kind


def kind_of_thing(data_type: DataType) -> Kind:
    """A thing itself, as a step gives it: its fields by name, the built-in ones too."""
    members = {field.name: kind_of(field.type) for field in (*data_type.fields, *BUILT_IN_FIELDS)}
    return object_of({**members, "_id": id_of(data_type.name)}, data_type.name)


def kind_of_options(name: str, options: OptionSet) -> Kind:
    """What can be read of an option of this set: its attributes."""
    names = {attribute: None for attributes in options.attributes.values() for attribute in attributes}
    given = {name: [each[name] for each in options.attributes.values() if name in each] for name in names}
    return attributes_of(name, {name: join(map(kind_of_value, values)) for name, values in given.items()})


def kinds_of_parameters(parameters: tuple[Parameter, ...]) -> Kind:
    """What `params` is."""
    return object_of({parameter.name: kind_of(parameter.type) for parameter in parameters})


def kinds_in_scope(
    parameters: tuple[Parameter, ...], user: DataType | None, changed: DataType | None
) -> dict[str, Kind]:
    """What the names are that a workflow's expressions may read; `changed` is the type whose changes start it."""
    thing = OBJECT if changed is None else kind_of_thing(changed)
    return {
        "params": kinds_of_parameters(parameters),
        "run": _RUN,
        "user": OBJECT if user is None else kind_of_thing(user),
        "now": DATE,
        "secrets": OBJECT,
        "request": _object(REQUEST_MEMBERS, {"method": TEXT, "ip": TEXT}),
        "webhook": _object(WEBHOOK_MEMBERS, _WEBHOOK),
        "change": _object(CHANGE_MEMBERS, {**_CHANGE, "before": thing, "after": thing}),
        "run_event": _object(RUN_EVENT_MEMBERS, _RUN_EVENT),
        "recurrence": _object(RECURRENCE_MEMBERS, {"id": TEXT, "tick_at": DATE}),
    }


def _object(members: Collection[str], known: Mapping[str, Kind]) -> Kind:
    return object_of({name: known.get(name, ANYTHING) for name in members})


def unknown(_reader: StepReader) -> Kind:
    """What only the run knows: what code returned, what a signal brought."""
    return ANYTHING


def thing(reader: StepReader) -> Kind:
    """The thing of the step's type."""
    return OBJECT if reader.data_type is None else kind_of_thing(reader.data_type)


def page(reader: StepReader) -> Kind:
    """A page of things."""
    return object_of({"results": list_of(thing(reader)), "after": TEXT, "remaining": NUMBER})


def ids(reader: StepReader) -> Kind:
    """The ids of things of the step's type."""
    return list_of(TEXT if reader.data_type is None else id_of(reader.data_type.name))


def number(_reader: StepReader) -> Kind:
    """How many."""
    return NUMBER


def joined(_reader: StepReader) -> Kind:
    """How many runs ended how, and their results."""
    counts = ("total", "succeeded", "failed", "cancelled", "terminated", "skipped")
    return object_of({**dict.fromkeys(counts, NUMBER), "results": list_of(ANYTHING)})


def text(_reader: StepReader) -> Kind:
    """The id of a run, a list, a recurrence or a message."""
    return TEXT


def rows(reader: StepReader) -> Kind:
    """One object for each group, or one for all things: the fields of `by`, `count`, and each function's result."""
    if reader.data_type is None:
        return ANYTHING
    fields = {field.column: field for field in (*reader.data_type.fields, *BUILT_IN_FIELDS)}
    members: dict[str, Kind] = {"count": NUMBER}
    for key in ("by", *AGGREGATES):
        names = reader.given.get(key)
        for name in names if isinstance(names, list) else ():
            field = fields.get(column_name(str(name)))
            if field is None:
                return ANYTHING
            member = field.name if key == "by" else f"{key}_{field.column}"
            members[member] = NUMBER if key in {"sum", "avg"} else kind_of(field.type)
    return list_of(object_of(members))


def response(_reader: StepReader) -> Kind:
    """The answer to a call; its body is whatever the other side sends."""
    return object_of({"status": NUMBER, "headers": OBJECT, "body": ANYTHING, "body_file": FILE})


def sent(_reader: StepReader) -> Kind:
    """What became of a webhook that was sent."""
    return object_of({"id": TEXT, "status": NUMBER})


def session(_reader: StepReader) -> Kind:
    """A user's new session, as Bubble answers it."""
    return object_of({"token": TEXT, "user_id": id_of("user"), "expires": NUMBER})


def reset(_reader: StepReader) -> Kind:
    """Whose password was chosen, and whether they are new."""
    return object_of({"user_id": id_of("user"), "email": TEXT, "is_new": BOOLEAN})


def verified(reader: StepReader) -> Kind:
    """Whose email was verified; nothing where a mail is sent."""
    return ANYTHING if "link" in reader.table else object_of({"user_id": id_of("user"), "email": TEXT})


def file(_reader: StepReader) -> Kind:
    """A file, as other steps take it."""
    return FILE


def counts(_reader: StepReader) -> Kind:
    """What became of the lines of an import."""
    bad = list_of(object_of({"line": NUMBER, "message": TEXT}))
    return object_of({"created": NUMBER, "updated": NUMBER, "failed": NUMBER, "bad_lines": bad})
