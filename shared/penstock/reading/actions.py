"""What each action takes: the value behind its key (its target) and its other keys (its arguments).

What is kept in a `Step` is what was written, with these liberties: names of fields are those of the data type, `key`
becomes a template, and `type` is added where it is known. So an executor evaluates target and arguments as templates
and needs no guess.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from pydantic import JsonValue

from penstock.definitions.fields import AGGREGATES
from penstock.definitions.models import Operation, StepAction
from penstock.expressions.kinds import Kind
from penstock.reading import arguments as take
from penstock.reading import blocks, mail, results, targets, times
from penstock.reading import field_arguments as fields
from penstock.reading.reader import StepReader

__all__ = ["ACTIONS", "StepReader", "read_arguments", "read_target"]


class Action(NamedTuple):
    """How the target and the arguments of an action are read; of each group in `exclusive`, one may be given."""

    target: Callable[[StepReader, str], JsonValue]
    arguments: dict[str, take.Take]
    exclusive: tuple[tuple[str, ...], ...] = ()
    required: tuple[tuple[str, ...], ...] = ()
    """Of each group, at least one has to be given."""
    takes_secrets: bool = False
    """Its arguments may hold secrets. What the others are given is stored or shown: in records, things, messages, the
    log.
    """
    calls_out: bool = False
    """It calls a URL."""
    starts: bool = False
    """It starts the workflow that is its target, one hop deeper or inside this run."""
    reads: bool = False
    """It reads things of the type that is its target."""
    changes: tuple[Operation, ...] = ()
    """What it does to things of a type; with `upsert` it updates, too."""
    result: Callable[[StepReader], Kind] = results.unknown
    """The kind of its result."""


_CREATES: Final = (Operation.CREATE,)
_UPDATES: Final = (Operation.UPDATE,)
_DELETES: Final = (Operation.DELETE,)
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
_LETTER: Final[dict[str, take.Take]] = {
    "link": take.link,
    "subject": take.text,
    "text": take.text,
    "html": take.text,
    "expires": take.duration,
}
ACTIONS: Final[dict[StepAction, Action]] = {
    StepAction.CREATE: Action(
        targets.type_target,
        {"set": fields.values, "upsert": fields.unique_fields},
        changes=_CREATES,
        result=results.thing,
    ),
    StepAction.CREATE_MANY: Action(
        targets.type_target,
        {"from": take.items, "set": fields.item_values},
        (),
        (("from",), ("set",)),
        changes=_CREATES,
        result=results.ids,
    ),
    StepAction.GET: Action(
        targets.type_target,
        {"where": fields.where, "id": take.thing, "thing": take.thing},
        (("where", "id", "thing"),),
        (("where", "id", "thing"),),
        reads=True,
        result=results.thing,
    ),
    StepAction.FIND: Action(
        targets.type_target,
        {
            "where": fields.where,
            "sort": fields.field_name,
            "descending": take.boolean,
            "limit": take.page_size,
            "after": take.text,
        },
        reads=True,
        result=results.page,
    ),
    StepAction.UPDATE: Action(
        targets.thing_target,
        {"type": fields.data_type, "set": fields.values, "add": fields.list_values, "remove": fields.list_values},
        (),
        (("set", "add", "remove"),),
        changes=_UPDATES,
        result=results.thing,
    ),
    StepAction.DELETE: Action(targets.thing_target, {"type": fields.data_type}, changes=_DELETES),
    StepAction.UPDATE_MANY: Action(
        targets.type_target,
        {"where": fields.where, "set": fields.values},
        (),
        (("where",), ("set",)),
        changes=_UPDATES,
        result=results.number,
    ),
    StepAction.DELETE_MANY: Action(
        targets.type_target, {"where": fields.where}, (), (("where",),), changes=_DELETES, result=results.number
    ),
    StepAction.COUNT: Action(targets.type_target, {"where": fields.where}, result=results.number),
    StepAction.AGGREGATE: Action(
        targets.type_target,
        {"where": fields.where, "by": fields.aggregated, **dict.fromkeys(AGGREGATES, fields.aggregated)},
        result=results.rows,
    ),
    StepAction.EXPORT: Action(
        targets.type_target,
        {"where": fields.where, "format": take.file_format, "name": take.text, "raw": take.boolean},
        result=results.file,
    ),
    StepAction.IMPORT: Action(
        targets.type_target,
        {"from": take.anything, "format": take.file_format, "upsert": fields.import_key, "raw": take.boolean},
        (),
        (("from",),),
        changes=_CREATES,
        result=results.counts,
    ),
    StepAction.SCHEDULE: Action(
        targets.workflow_target,
        {**_WHEN_TO_RUN, "priority": take.priority, "key": take.key},
        (("at", "after"),),
        starts=True,
        result=results.text,
    ),
    StepAction.SCHEDULE_LIST: Action(
        targets.workflow_target,
        {
            "over": fields.over,
            **_WHEN_TO_RUN,
            "with": take.item_parameters,
            "interval": take.duration,
            "sequential": take.boolean,
            "then": take.following_workflow,
            "then_with": take.following_parameters,
        },
        (("at", "after"),),
        (("over",),),
        starts=True,
        result=results.text,
    ),
    StepAction.RECUR: Action(
        targets.workflow_target,
        {
            "with": take.parameters,
            "cron": times.cron,
            "every": times.every,
            "start": take.time,
            "end": take.time,
            "timezone": times.timezone,
            "times": take.times,
            "overlap": times.overlap,
            "pause_after_failures": take.failures,
            "for": take.thing,
        },
        (("cron", "every"),),
        (("cron", "every"),),
        result=results.text,
    ),
    StepAction.STOP_RECURRING: Action(targets.workflow_name, {"for": take.thing}, result=results.text),
    StepAction.TRIGGER: Action(targets.workflow_target, {"with": take.parameters}, starts=True),
    StepAction.EACH: Action(
        blocks.list_target,
        {"as": blocks.item_name, "at_once": blocks.at_once, "steps": blocks.iterated},
        (),
        (("steps",),),
        result=blocks.results_of_items,
    ),
    StepAction.PARALLEL: Action(blocks.branches_target, {}, result=blocks.results_of_branches),
    StepAction.RUN: Action(targets.function_target, {"with": take.parameters}, takes_secrets=True),
    StepAction.RETURN: Action(
        targets.answer_target,
        {"text": take.text, "content_type": take.text, "redirect": take.text},
        (("text", "redirect"),),
    ),
    StepAction.STATE: Action(targets.object_target, {}),
    StepAction.LOG: Action(targets.text_target, {}),
    StepAction.FAIL: Action(targets.text_target, {}),
    StepAction.STOP: Action(targets.text_target, {}),
    StepAction.HTTP: Action(
        targets.url_target,
        _HTTP,
        (("json", "form", "body"),),
        calls_out=True,
        takes_secrets=True,
        result=results.response,
    ),
    StepAction.SEND: Action(
        targets.url_target,
        {"payload": take.anything, "secret": take.signing_secret},
        (),
        (("payload",), ("secret",)),
        calls_out=True,
        takes_secrets=True,
        result=results.sent,
    ),
    StepAction.PUBLISH: Action(
        targets.routing_key_target, {"body": take.anything}, (), (("body",),), result=results.text
    ),
    StepAction.CALL: Action(
        targets.connector_target,
        {"path": take.path, **_HTTP},
        (("json", "form", "body"),),
        calls_out=True,
        takes_secrets=True,
        result=results.response,
    ),
    StepAction.WAIT: Action(targets.wait_target, {}),
    StepAction.WAIT_UNTIL: Action(targets.wait_target, {}),
    StepAction.WAIT_FOR: Action(
        targets.signal_target, {"match": take.mapping, "link": take.boolean, "schema": take.form_schema}
    ),
    StepAction.WAIT_FOR_RUNS: Action(targets.runs_target, {}, result=results.joined),
    StepAction.CANCEL: Action(targets.cancelled_target, {}, result=results.number),
    StepAction.STOP_CHAIN: Action(targets.chain_target, {"reason": take.text}),
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
        takes_secrets=True,
        result=results.text,
    ),
    StepAction.SIGN_UP: Action(
        targets.email_target,
        {"password": take.password, "set": fields.values, "expires": take.duration},
        (),
        (("password",),),
        changes=_CREATES,
        result=results.session,
    ),
    StepAction.LOG_IN: Action(
        targets.email_target,
        {"password": take.password, "expires": take.duration},
        (),
        (("password",),),
        result=results.session,
    ),
    StepAction.LOG_OUT: Action(targets.sessions_target, {}, result=results.number),
    StepAction.SEND_PASSWORD_RESET: Action(
        targets.mailed_target, {**_LETTER, "invite": take.boolean}, (), (("link",),)
    ),
    StepAction.RESET_PASSWORD: Action(
        targets.token_target,
        {"password": take.password, "set": fields.values},
        (),
        (("password",),),
        changes=_CREATES,
        result=results.reset,
    ),
    StepAction.VERIFY_EMAIL: Action(targets.verified_target, _LETTER, result=results.verified),
}


def read_target(reader: StepReader, action: StepAction) -> JsonValue:
    """The value behind the action's key. What it tells (a data type, a workflow's parameters) is put into the
    reader.
    """
    return ACTIONS[action].target(reader, action.value)


def read_arguments(reader: StepReader, action: StepAction) -> dict[str, JsonValue]:
    """The arguments that are given; problems with them, and missing ones, go to the report."""
    spec, table = ACTIONS[action], reader.table
    given = reader.given
    for key, read in spec.arguments.items():
        node = table.node(key)
        if key == "id" and node is not None and not reader.is_argument_id(node):
            continue
        if node is not None:
            given[key] = read(reader, key, node)
    if reader.blocks:  # which are kept beside the arguments
        given.pop("steps", None)
        return given
    for group in spec.exclusive:
        if len(both := [key for key in group if key in given]) > 1:
            reader.report.error(
                table.key_place(both[1]), f"{' and '.join(both)} exclude each other", "keep one of them"
            )
    for group in spec.required:
        if not any(key in given for key in group) and not table.has_other_word_for(*group):
            reader.report.error(table.place, f"{action.value!r} needs {' or '.join(group)}")
    if action is StepAction.GET and "thing" in given:  # the other spelling, beside which the step can have an id
        given["id"] = given.pop("thing")
    if action in {StepAction.UPDATE, StepAction.DELETE} and reader.data_type is not None:
        given["type"] = reader.data_type.name
    return given
