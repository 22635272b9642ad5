"""What each action takes: the value behind its key (its target) and its other keys (its arguments).

What is kept in a `Step` is what was written, with these liberties: names of fields are those of the data type, `key`
becomes a template, and `type` is added where it can be told. So an executor evaluates target and arguments as templates
and needs no guess.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from pydantic import JsonValue

from penstock.definitions.fields import AGGREGATES
from penstock.definitions.models import StepAction
from penstock.domain.routing_keys import find_routing_key_problem
from penstock.reading import arguments as take
from penstock.reading import field_arguments as fields
from penstock.reading import mail, times
from penstock.reading.documents import Scalar, to_json
from penstock.reading.reader import StepReader
from penstock.reading.scopes import check_templates, is_template, whole_expression

__all__ = ["ACTIONS", "StepReader", "read_arguments", "read_target"]


class Action(NamedTuple):
    """How the target and the arguments of an action are read; of each group in `exclusive`, one may be given."""

    target: Callable[[StepReader, str], JsonValue]
    arguments: dict[str, take.Take]
    exclusive: tuple[tuple[str, ...], ...] = ()
    required: tuple[tuple[str, ...], ...] = ()
    """Of each group, at least one has to be given."""


def _type_target(reader: StepReader, key: str) -> JsonValue:
    """The literal name of a data type."""
    node = reader.table.node(key)
    name = reader.literal(key, "a data type", "such as order")
    if name is None or node is None:
        return None
    reader.data_type = reader.index.types.get(name)
    if reader.data_type is None and not reader.report.is_partial:
        reader.report.unknown(node.place, "data type", name, reader.index.types)
    if key in {"create", "get"}:
        reader.result_type = name
    return name


def _workflow_target(reader: StepReader, key: str) -> JsonValue:
    """The literal name of a workflow to be started: with all parameters that it requires."""
    name = _workflow_name(reader, key)
    if isinstance(name, str) and reader.parameters is not None:
        take.check_required(reader, f"the workflow {name!r}", reader.parameters)
    return name


def _workflow_name(reader: StepReader, key: str) -> JsonValue:
    """The literal name of a workflow."""
    node = reader.table.node(key)
    name = reader.literal(key, "a workflow", "such as create_thing")
    if name is None or node is None:
        return None
    reader.parameters = reader.index.workflows.get(name)
    if reader.parameters is None and not reader.report.is_partial:
        reader.report.unknown(node.place, "workflow", name, reader.index.workflows)
    return name


def _function_target(reader: StepReader, key: str) -> JsonValue:
    """The literal name of an action in Python, `module.function`."""
    node = reader.table.node(key)
    name = reader.literal(key, "a Python action", "such as shop.actions.charge")
    if name is None or node is None:
        return None
    reader.parameters = reader.index.actions.get(name)
    if reader.parameters is not None:
        take.check_required(reader, f"the action {name!r}", reader.parameters)
    elif not reader.report.is_partial:
        hint = (
            ""
            if reader.index.actions
            else "name its module in app.yaml under python:, and decorate the function with @app.action"
        )
        reader.report.unknown(node.place, "Python action", name, reader.index.actions, hint)
    return name


def _thing_target(reader: StepReader, key: str) -> JsonValue:
    """A thing or its id; its data type is told by `type`, by the step or parameter it comes from, or it is a
    problem.
    """
    node = reader.table.node(key)
    if node is None:
        reader.report.error(reader.table.key_place(key), f"{key!r} needs a thing or its id", 'such as "${steps.thing}"')
        return None
    if not is_template(node):
        try:
            take.coerce_thing(node)
        except ValueError:
            text = node.text if isinstance(node, Scalar) else "steps.thing"
            reader.report.error(node.place, f"{key!r} needs a thing or its id", f'did you mean "${{{text}}}"?')
            return None
    check_templates(node, reader.scope, reader.report)
    name = fields.type_name(reader) if "type" in reader.table else _type_of(reader, whole_expression(node))
    if name is not None:
        reader.data_type = reader.index.types.get(name)
        reader.result_type = name if key == "update" else None
    elif "type" not in reader.table:
        reader.report.error(
            reader.table.key_place(key), "the data type of this thing is not known here", "add type: to the step"
        )
    return to_json(node)


def _type_of(reader: StepReader, expression: str | None) -> str | None:
    """The data type of `${user}`, `${params.owner}`, `${steps.thing}` or `${steps.thing._id}`."""
    path = (expression or "").strip().removesuffix("._id").split(".")
    match path:
        case ["user"]:
            return "user"
        case ["steps", id]:
            return reader.results.get(id)
        case ["params", name]:
            kind = reader.types_of_parameters.get(name)
            return kind.name if kind is not None and kind.is_thing and not kind.is_list else None
        case _:
            return None


def _answer_target(reader: StepReader, key: str) -> JsonValue:
    """The mapping of an answer, which may be left out beside `text` or `redirect`."""
    node = reader.table.node(key)
    return None if node is None else take.mapping(reader, key, node)


def _object_target(reader: StepReader, key: str) -> JsonValue:
    node = reader.table.node(key)
    if node is not None:
        return take.mapping(reader, key, node)
    reader.missing(key, "a mapping", "such as {total: 1}")
    return None


def _text_target(reader: StepReader, key: str) -> JsonValue:
    node = reader.table.node(key)
    if node is not None:
        return take.text(reader, key, node)
    reader.missing(key, "a text")
    return None


def _url_target(reader: StepReader, key: str) -> JsonValue:
    node = reader.table.node(key)
    if node is None:
        reader.missing(key, "a URL", "such as https://example.com")
        return None
    url = take.text(reader, key, node)
    if isinstance(url, str) and not url.lower().startswith(("http://", "https://", "${")):
        reader.report.error(node.place, f"{url[:60]!r} is not a URL", "it starts with https:// or http://")
    return url


def _connector_target(reader: StepReader, key: str) -> JsonValue:
    """The literal name of a connector."""
    node = reader.table.node(key)
    name = reader.literal(key, "a connector", "one of those under connectors: in app.yaml")
    if name is not None and node is not None and name not in reader.index.connectors and not reader.report.is_partial:
        hint = "" if reader.index.connectors else "declare it in app.yaml under connectors:"
        reader.report.unknown(node.place, "connector", name, reader.index.connectors, hint)
    return name


def _wait_target(reader: StepReader, key: str) -> JsonValue:
    """A duration (`wait`) or a time (`wait_until`). No `timeout`: a wait takes the time it says."""
    node = reader.table.node(key)
    if node is None:
        reader.missing(
            key,
            "a duration" if key == "wait" else "a time",
            "such as 3d" if key == "wait" else "such as 2026-01-31T09:00:00Z",
        )
        return None
    if "timeout" in reader.table:
        reader.report.error(
            reader.table.key_place("timeout"),
            f"{key!r} takes no 'timeout'",
            "the run waits for as long as it says there",
        )
    return (take.duration if key == "wait" else take.time)(reader, key, node)


def _signal_target(reader: StepReader, key: str) -> JsonValue:
    """The name of a signal, which may embed expressions."""
    node = reader.table.node(key)
    name = None if node is None else take.text(reader, key, node)
    if node is None or name == "":
        reader.missing(key, "the name of a signal", "such as payment_confirmed")
    return name


def _runs_target(reader: StepReader, key: str) -> JsonValue:
    """The id of a run, or a list of them."""
    node = reader.table.node(key)
    if node is not None:
        return take.anything(reader, key, node)
    reader.missing(key, "the id of a run, or a list of them", 'such as "${steps.reminder}"')
    return None


def _routing_key_target(reader: StepReader, key: str) -> JsonValue:
    """The routing key of a message, which may be computed."""
    node = reader.table.node(key)
    if node is None:
        reader.missing(key, "a routing key", "such as order.paid")
        return None
    written = take.text(reader, key, node)
    if (
        isinstance(written, str)
        and not is_template(node)
        and (problem := find_routing_key_problem(written)) is not None
    ):
        reader.report.error(node.place, f"{written[:60]!r} cannot be a routing key: {problem}")
    return written


_WHEN_TO_RUN: Final[dict[str, take.Take]] = {"with": take.parameters, "at": take.time, "after": take.duration}
_HTTP: Final[dict[str, take.Take]] = {
    "method": take.method,
    "query": take.mapping,
    "headers": take.mapping,
    "json": take.anything,
    "form": take.mapping,
    "body": take.text,
    "errors": take.fail_or_continue,
}
ACTIONS: Final[dict[StepAction, Action]] = {
    StepAction.CREATE: Action(_type_target, {"set": fields.values, "upsert": fields.unique_fields}),
    StepAction.CREATE_MANY: Action(
        _type_target, {"from": take.items, "set": fields.item_values}, (), (("from",), ("set",))
    ),
    StepAction.GET: Action(
        _type_target, {"where": fields.where, "id": take.thing}, (("where", "id"),), (("where", "id"),)
    ),
    StepAction.FIND: Action(
        _type_target,
        {
            "where": fields.where,
            "sort": fields.field_name,
            "descending": take.boolean,
            "limit": take.page_size,
            "after": take.text,
        },
    ),
    StepAction.UPDATE: Action(
        _thing_target,
        {"type": fields.data_type, "set": fields.values, "add": fields.list_values, "remove": fields.list_values},
        (),
        (("set", "add", "remove"),),
    ),
    StepAction.DELETE: Action(_thing_target, {"type": fields.data_type}),
    StepAction.UPDATE_MANY: Action(
        _type_target, {"where": fields.where, "set": fields.values}, (), (("where",), ("set",))
    ),
    StepAction.DELETE_MANY: Action(_type_target, {"where": fields.where}, (), (("where",),)),
    StepAction.COUNT: Action(_type_target, {"where": fields.where}),
    StepAction.AGGREGATE: Action(
        _type_target, {"where": fields.where, "by": fields.aggregated, **dict.fromkeys(AGGREGATES, fields.aggregated)}
    ),
    StepAction.EXPORT: Action(
        _type_target, {"where": fields.where, "format": take.file_format, "name": take.text, "raw": take.boolean}
    ),
    StepAction.IMPORT: Action(
        _type_target,
        {"from": take.anything, "format": take.file_format, "upsert": fields.import_key, "raw": take.boolean},
        (),
        (("from",),),
    ),
    StepAction.SCHEDULE: Action(
        _workflow_target, {**_WHEN_TO_RUN, "priority": take.priority, "key": take.key}, (("at", "after"),)
    ),
    StepAction.SCHEDULE_LIST: Action(
        _workflow_target,
        {
            "over": fields.over,
            **_WHEN_TO_RUN,
            "with": take.item_parameters,
            "interval": take.duration,
            "sequential": take.boolean,
        },
        (("at", "after"),),
        (("over",),),
    ),
    StepAction.RECUR: Action(
        _workflow_target,
        {
            "with": take.parameters,
            "cron": times.cron,
            "every": times.every,
            "start": take.time,
            "timezone": times.timezone,
            "for": take.thing,
        },
        (("cron", "every"),),
        (("cron", "every"),),
    ),
    StepAction.STOP_RECURRING: Action(_workflow_name, {"for": take.thing}),
    StepAction.TRIGGER: Action(_workflow_target, {"with": take.parameters}),
    StepAction.RUN: Action(_function_target, {"with": take.parameters}),
    StepAction.RETURN: Action(
        _answer_target, {"text": take.text, "content_type": take.text, "redirect": take.text}, (("text", "redirect"),)
    ),
    StepAction.STATE: Action(_object_target, {}),
    StepAction.LOG: Action(_text_target, {}),
    StepAction.FAIL: Action(_text_target, {}),
    StepAction.STOP: Action(_text_target, {}),
    StepAction.HTTP: Action(_url_target, _HTTP, (("json", "form", "body"),)),
    StepAction.SEND: Action(
        _url_target, {"payload": take.anything, "secret": take.signing_secret}, (), (("payload",), ("secret",))
    ),
    StepAction.PUBLISH: Action(_routing_key_target, {"body": take.anything}, (), (("body",),)),
    StepAction.CALL: Action(_connector_target, {"path": take.path, **_HTTP}, (("json", "form", "body"),)),
    StepAction.WAIT: Action(_wait_target, {}),
    StepAction.WAIT_UNTIL: Action(_wait_target, {}),
    StepAction.WAIT_FOR: Action(_signal_target, {"match": take.mapping}),
    StepAction.CANCEL: Action(_runs_target, {}),
    StepAction.EMAIL: Action(
        mail.recipients_target,
        {
            "cc": mail.recipients,
            "bcc": mail.recipients,
            "reply_to": mail.recipients,
            "subject": take.text,
            "text": take.text,
            "html": take.text,
            "headers": mail.headers,
            "attachments": mail.attachments,
        },
        (),
        (("subject",), ("text", "html")),
    ),
}


def read_target(reader: StepReader, action: StepAction) -> JsonValue:
    """The value behind the action's key. What it tells (a data type, a workflow's parameters) is put into the
    reader.
    """
    return ACTIONS[action].target(reader, action.value)


def read_arguments(reader: StepReader, action: StepAction) -> dict[str, JsonValue]:
    """The arguments that are given; problems with them, and missing ones, go to the report."""
    spec, table = ACTIONS[action], reader.table
    given: dict[str, JsonValue] = {}
    for key, read in spec.arguments.items():
        node = table.node(key)
        if key == "id" and node is not None and not reader.is_argument_id(node):
            continue
        if node is not None:
            given[key] = read(reader, key, node)
    for group in spec.exclusive:
        if len(both := [key for key in group if key in given]) > 1:
            reader.report.error(
                table.key_place(both[1]), f"{' and '.join(both)} exclude each other", "keep one of them"
            )
    for group in spec.required:
        if not any(key in given for key in group):
            reader.report.error(table.place, f"{action.value!r} needs {' or '.join(group)}")
    if action in {StepAction.UPDATE, StepAction.DELETE} and reader.data_type is not None:
        given["type"] = reader.data_type.name
    return given
