"""Reads workflows/*.yaml: the head of each workflow (parameters, triggers, limits); `steps` reads the rest."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from penstock.definitions.fields import BUILT_IN_FIELDS
from penstock.definitions.models import (
    DEFAULT_CATCH_UP_SECONDS,
    DEFAULT_PRIORITY,
    DEFAULT_TIMEOUT_SECONDS,
    ApiTrigger,
    Auth,
    ChangedBy,
    ChangeTrigger,
    FieldType,
    Operation,
    Parameter,
    RecurrenceTrigger,
    Respond,
    RetryPolicy,
    WebhookTrigger,
    Workflow,
)
from penstock.definitions.values import coerce_value
from penstock.domain.depth import MAX_DEPTH
from penstock.domain.ticks import Overlap
from penstock.reading.available import refuse_unavailable
from penstock.reading.documents import Mapping, Node, Scalar, Sequence, to_json
from penstock.reading.index import Index, read_field_type, read_name, read_retries
from penstock.reading.places import Report, shorten
from penstock.reading.scopes import (
    ALWAYS,
    CHANGE_MEMBERS,
    RECURRENCE_MEMBERS,
    REQUEST_MEMBERS,
    RUN_MEMBERS,
    WEBHOOK_MEMBERS,
    Scope,
    check_expression,
    is_template,
)
from penstock.reading.steps import read_steps
from penstock.reading.tables import Table
from penstock.reading.times import read_cron, read_timezone

MAX_NAME: Final = 200
"""Routing keys, `<environment>.<workflow>`, have at most 255 bytes."""
MAX_PARAMETER_NAME: Final = 200
_TRIGGERS: Final = frozenset({"api", "webhook", "recurrence", "change"})


class Outline(NamedTuple):
    """A workflow of which only the name and the parameters have been read: what other workflows need to know."""

    name: str
    parameters: tuple[Parameter, ...]
    table: Table


class Triggers(NamedTuple):
    """What starts a workflow from outside."""

    api: ApiTrigger | None
    webhooks: tuple[WebhookTrigger, ...]
    recurrences: tuple[RecurrenceTrigger, ...]
    changes: tuple[ChangeTrigger, ...]


def read_outlines(documents: Iterable[Node], index: Index, report: Report) -> list[Outline]:
    """The first pass: names and parameters, put into the index."""
    outlines: dict[str, Outline] = {}
    for document in documents:
        table = Table(document, document.place, "a workflow", report)
        name = read_name(table, "workflow", "workflow: create_thing", MAX_NAME)
        if name is None:
            continue
        if name in outlines:
            report.error(
                table.key_place("workflow"),
                f"the workflow {name!r} exists twice",
                f"it stands in {outlines[name].table.place} already",
            )
            continue
        outlines[name] = Outline(name, _read_parameters(table, index, report), table)
    index.workflows.update({name: outline.parameters for name, outline in outlines.items()})
    return list(outlines.values())


def read_workflow(outline: Outline, index: Index, report: Report) -> Workflow:
    """The second pass: everything else."""
    table = outline.table
    triggers = _read_triggers(table, index, report)
    scope = _scope_of(outline, triggers)
    if triggers.webhooks:
        _check_no_required(outline, "webhook", "make them optional; what was sent is in webhook.payload", report)
    if triggers.recurrences:
        _check_no_required(outline, "recurrence", "make them optional: a tick gives none", report)
    if triggers.changes:
        _check_no_required(
            outline, "change", "make them optional; what was changed is in change.before and change.after", report
        )
    when = table.node("when")
    priority, timeout_seconds = table.integer("priority", 0, 9), table.seconds("timeout", is_zero_allowed=False)
    workflow = Workflow(
        name=outline.name,
        label=table.text("label") or "",
        parameters=outline.parameters,
        api=triggers.api,
        webhooks=triggers.webhooks,
        recurrences=triggers.recurrences,
        changes=triggers.changes,
        when=None if when is None else check_expression(when, "when", scope, report),
        timeout_seconds=DEFAULT_TIMEOUT_SECONDS if timeout_seconds is None else timeout_seconds,
        retries=read_retries(table, "retries") or RetryPolicy(),
        depth_limit=table.integer("depth_limit", 0, MAX_DEPTH),
        is_recursive=table.boolean("recursive"),
        priority=DEFAULT_PRIORITY if priority is None else priority,
        ignore_privacy=table.boolean("ignore_privacy"),
        steps=read_steps(table, scope, outline.parameters, index, report),
        place=str(table.place),
    )
    table.close()
    return workflow


def _scope_of(outline: Outline, triggers: Triggers) -> Scope:
    names = ALWAYS | ({"request"} if triggers.api else set()) | ({"webhook"} if triggers.webhooks else set())
    names |= {"change"} if triggers.changes else set()
    parameters = frozenset(parameter.name for parameter in outline.parameters)
    members = {
        "params": parameters, "run": RUN_MEMBERS, "request": REQUEST_MEMBERS, "webhook": WEBHOOK_MEMBERS,
        "recurrence": RECURRENCE_MEMBERS,
        "change": CHANGE_MEMBERS,
    }  # fmt: skip
    return Scope(frozenset(names), members)


def _read_parameters(table: Table, index: Index, report: Report) -> tuple[Parameter, ...]:
    type_names = frozenset(index.types)
    parameters: list[Parameter] = []
    for key, node in table.table("parameters", "'parameters'").entries():
        if not key.text.isprintable() or len(key.text) > MAX_PARAMETER_NAME:
            report.error(
                key.place,
                f"{shorten(key.text)!r} cannot name a parameter",
                f"use at most {MAX_PARAMETER_NAME} characters",
            )
            continue
        if isinstance(node, Mapping):
            parameter = _read_long_parameter(key, node, type_names, report)
        else:
            field_type = read_field_type(node, type_names, report, is_any_allowed=True)
            parameter = None if field_type is None else Parameter(name=key.text, type=field_type)
        # One whose type is wrong still has its name, so that its uses are not reported as well.
        parameters.append(parameter or Parameter(name=key.text, type=FieldType("any"), is_optional=True))
    return tuple(parameters)


def _read_long_parameter(key: Scalar, node: Mapping, type_names: frozenset[str], report: Report) -> Parameter | None:
    table = Table(node, key.place, f"the parameter {key.text!r}", report)
    type_node, default = table.node("type"), table.node("default")
    is_optional = table.boolean("optional")
    table.close()
    if type_node is None:
        report.error(key.place, f"{table.what} needs 'type'", "such as type: text")
        return None
    field_type = read_field_type(type_node, type_names, report, is_any_allowed=True)
    if default is None or field_type is None:
        return None if field_type is None else Parameter(name=key.text, type=field_type, is_optional=is_optional)
    if not is_optional:
        report.error(default.place, f"{table.what} has a default, so it is optional", "add optional: true")
    if is_template(default):
        report.error(default.place, "a default is a constant", "work it out in the steps: ${params.name ?? …}")
        return None
    try:
        value = coerce_value(field_type, to_json(default))
    except ValueError as error:
        report.error(default.place, f"the default of {key.text!r}: {error}")
        return None
    return Parameter(name=key.text, type=field_type, is_optional=True, default=value)


def _read_triggers(table: Table, index: Index, report: Report) -> Triggers:
    node = table.node("on")
    if node is None:
        return Triggers(None, (), (), ())
    api: ApiTrigger | None = None
    webhooks: list[WebhookTrigger] = []
    recurrences: list[RecurrenceTrigger] = []
    changes: list[ChangeTrigger] = []
    for item in node.items if isinstance(node, Sequence) else (node,):
        triggers = Table(item, item.place, "'on'", report)
        for key, value in triggers.entries():
            if key.text == "api":
                if api is not None:
                    report.error(key.place, "a workflow has one api trigger", "remove this one")
                api = _read_api(Table(value, key.place, "the api trigger", report))
            elif key.text == "webhook":
                read = [_read_webhook(table, index) for table in _tables(value, key, "the webhook trigger", report)]
                webhooks.extend(webhook for webhook in read if webhook is not None)
            elif key.text == "recurrence":
                found = [_read_recurrence(table) for table in _tables(value, key, "the recurrence trigger", report)]
                recurrences.extend(recurrence for recurrence in found if recurrence is not None)
            elif key.text == "change":
                noted = [_read_change(table, index) for table in _tables(value, key, "the change trigger", report)]
                changes.extend(change for change in noted if change is not None)
            elif not refuse_unavailable(report, key.place, "trigger", key.text):
                report.unknown(key.place, "trigger", key.text, _TRIGGERS)
    return Triggers(api, tuple(webhooks), tuple(recurrences), tuple(changes))


def _tables(node: Node, key: Scalar, what: str, report: Report) -> list[Table]:
    """A trigger that may be given several times: one mapping, or a list of them."""
    return [Table(one, key.place, what, report) for one in (node.items if isinstance(node, Sequence) else (node,))]


def _read_api(table: Table) -> ApiTrigger:
    method, when_skipped = table.one_of("method", ["GET", "POST"]), table.one_of("when_skipped", ["200", "400"])
    trigger = ApiTrigger(
        method="GET" if method == "GET" else "POST",
        auth=table.choice("auth", Auth, Auth.ADMIN),
        respond=table.choice("respond", Respond, Respond.WHEN_DONE),
        when_skipped=200 if when_skipped == "200" else 400,
    )
    table.close()
    return trigger


def _read_webhook(table: Table, index: Index) -> WebhookTrigger | None:
    if not table.require("source", "source: stripe"):
        return None
    source, node = table.text("source"), table.node("source")
    types = tuple(text for text, _ in table.texts("types"))
    table.close()
    if source is None or node is None:
        return None
    if source not in index.sources:
        if not table.report.is_partial:
            hint = "" if index.sources else "declare it in app.yaml under sources:"
            table.report.unknown(node.place, "source", source, index.sources, hint)
        return None
    return WebhookTrigger(source=source, types=types) if types else WebhookTrigger(source=source)


def _read_recurrence(table: Table) -> RecurrenceTrigger | None:
    if not table.require("cron", 'cron: "0 3 * * 1-5"'):
        return None
    cron, timezone = read_cron(table, "cron"), read_timezone(table, "timezone")
    catch_up_seconds, jitter_seconds = table.seconds("catch_up"), table.seconds("jitter")
    overlap = table.choice("overlap", Overlap, Overlap.SKIP)
    table.close()
    if cron is None or timezone is None:
        return None
    return RecurrenceTrigger(
        cron=cron,
        timezone=timezone,
        overlap=overlap,
        catch_up_seconds=DEFAULT_CATCH_UP_SECONDS if catch_up_seconds is None else catch_up_seconds,
        jitter_seconds=jitter_seconds or 0.0,
    )


def _read_change(table: Table, index: Index) -> ChangeTrigger | None:
    if not table.require("type", "type: order"):
        return None
    name, node, when = table.text("type"), table.node("type"), table.node("when")
    operations = _read_operations(table)
    by = ChangedBy(table.one_of("by", [one.value for one in ChangedBy]) or ChangedBy.ANYONE)
    kind = index.types.get(name or "")
    if name is not None and node is not None and kind is None and not table.report.is_partial:
        table.report.unknown(node.place, "data type", name, index.types)
    members = (
        {}
        if kind is None
        else {key: {field.name for field in (*kind.fields, *BUILT_IN_FIELDS)} for key in ("before", "after")}
    )
    condition = (
        None
        if when is None
        else check_expression(when, "when", Scope(frozenset({"before", "after"}), members), table.report)
    )
    table.close()
    if name is None:
        return None
    place = str(table.place if when is None else when.place)
    return ChangeTrigger(type=name, operations=operations, by=by, when=condition, place=place)


def _read_operations(table: Table) -> tuple[Operation, ...]:
    given = table.texts("operations")
    for text, place in given:
        if text not in frozenset(Operation):
            table.report.unknown(place, "operation", text, frozenset(Operation))
    return tuple(operation for operation in Operation if not given or operation in [text for text, _ in given])


def _check_no_required(outline: Outline, trigger: str, hint: str, report: Report) -> None:
    required = [parameter.name for parameter in outline.parameters if not parameter.is_optional]
    if required:
        report.error(
            outline.table.key_place("parameters"),
            f"a workflow with a {trigger} trigger cannot require parameters ({', '.join(required)})",
            hint,
        )
