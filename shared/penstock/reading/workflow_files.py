"""Reads workflows/*.yaml: the head of each workflow (parameters, triggers, limits); `steps` reads the rest."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NamedTuple

from penstock.definitions.models import (
    DEFAULT_PRIORITY,
    DEFAULT_TIMEOUT_SECONDS,
    FieldType,
    Parameter,
    RetryPolicy,
    ScalarType,
    Workflow,
)
from penstock.definitions.values import coerce_value
from penstock.domain.depth import MAX_DEPTH
from penstock.reading.documents import Mapping, Node, Scalar, to_json
from penstock.reading.flow import read_flow
from penstock.reading.index import Index, TypeNames, read_field_type, read_name, read_retries
from penstock.reading.nullable import Nullable
from penstock.reading.places import Report, shorten
from penstock.reading.results import kind_of_options, kind_of_thing, kinds_in_scope, kinds_of_parameters
from penstock.reading.scopes import (
    ALWAYS,
    CHANGE_MEMBERS,
    RECURRENCE_MEMBERS,
    REQUEST_MEMBERS,
    RUN_EVENT_MEMBERS,
    RUN_MEMBERS,
    WEBHOOK_MEMBERS,
    Scope,
    check_expression,
    is_template,
)
from penstock.reading.steps import STEP_KEYS, read_steps
from penstock.reading.tables import Table
from penstock.reading.triggers import TRIGGERS, Triggers, read_triggers

MAX_NAME: Final = 200
"""Routing keys, `<environment>.<workflow>`, have at most 255 bytes."""
MAX_PARAMETER_NAME: Final = 200


class Outline(NamedTuple):
    """A workflow of which only the name and the parameters have been read: what other workflows need to know."""

    name: str
    parameters: tuple[Parameter, ...]
    table: Table


def read_outlines(documents: Iterable[Node], index: Index, report: Report) -> list[Outline]:
    """The first pass: names and parameters, put into the index."""
    outlines: dict[str, Outline] = {}
    for document in documents:
        table = Table(document, document.place, "a workflow", report)
        if "type" in table and "workflow" not in table:
            report.error(table.key_place("type"), "this is a data type among the workflows", "move it to types/")
            continue
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
    triggers = read_triggers(table, index, report)
    scope = _scope_of(outline, triggers, index)
    when = table.node("when")
    where_met = replace(scope, nullable=scope.nullable.where(when.text)) if isinstance(when, Scalar) else scope
    priority, timeout_seconds = table.integer("priority", 0, 9), table.seconds("timeout", is_zero_allowed=False)
    is_recursive, decreases = _read_recursion(outline, report)
    workflow = Workflow(
        name=outline.name,
        label=table.text("label") or "",
        parameters=outline.parameters,
        api=triggers.api,
        webhooks=triggers.webhooks,
        recurrences=triggers.recurrences,
        changes=triggers.changes,
        run_ends=triggers.run_ends,
        when=None if when is None else check_expression(when, "when", scope, report),
        timeout_seconds=DEFAULT_TIMEOUT_SECONDS if timeout_seconds is None else timeout_seconds,
        retries=read_retries(table, "retries") or RetryPolicy(),
        depth_limit=table.integer("depth_limit", 0, MAX_DEPTH),
        is_recursive=is_recursive,
        decreases=decreases,
        priority=DEFAULT_PRIORITY if priority is None else priority,
        flow=read_flow(table, scope),
        ignore_privacy=table.boolean("ignore_privacy"),
        steps=read_steps(table, where_met, outline.parameters, index, report, triggers.changes),
        place=str(table.place),
    )
    table.close(_explain_key)
    scope.nullable.warn(*_starting_without_parameters(triggers), report)
    return workflow.model_copy(update={"lookups": scope.lookups.gathered()})


def _starting_without_parameters(triggers: Triggers) -> tuple[list[str], str]:
    """What starts runs without parameters, in words, and where what it knows is read."""
    found = [
        (what, where)
        for given, what, where in (
            (triggers.webhooks, "a webhook", "webhook.payload"),
            (triggers.recurrences, "a recurrence", ""),
            (triggers.changes, "a change", "change.after"),
            (triggers.run_ends, "the end of a run", "run_event"),
        )
        if given
    ]
    known = [where for _, where in found if where]
    return [what for what, _ in found], f"; what is known is in {', '.join(known)}" if known else ""


def _explain_key(key: str) -> str:
    """Where a key belongs that stands beside `steps` and the like."""
    if key in TRIGGERS:
        return "it belongs below on:, so indent it"
    return "it belongs to a step, so indent it" if key in STEP_KEYS else ""


def _read_recursion(outline: Outline, report: Report) -> tuple[bool, str | None]:
    """`recursive: true`, or `recursive: {decreases: EXPRESSION}`, which says as well how the recursion ends."""
    table = outline.table
    if not isinstance(table.node("recursive"), Mapping):
        return table.boolean("recursive"), None
    given = table.table("recursive", "'recursive'")
    if not given.require("decreases", "recursive: {decreases: params.remaining}"):
        return True, None
    known = {"params": frozenset(parameter.name for parameter in outline.parameters)}
    kinds = {"params": kinds_of_parameters(outline.parameters)}
    scope = Scope(frozenset({"params"}), known, kinds=kinds, passwords=_passwords(outline))
    expression = given.node("decreases")
    decreases = None if expression is None else check_expression(expression, "decreases", scope, report)
    given.close()
    return True, decreases


def _scope_of(outline: Outline, triggers: Triggers, index: Index) -> Scope:
    names = ALWAYS | ({"request"} if triggers.api else set()) | ({"webhook"} if triggers.webhooks else set())
    names |= ({"change"} if triggers.changes else set()) | ({"run_event"} if triggers.run_ends else set())
    parameters = frozenset(parameter.name for parameter in outline.parameters)
    members = {
        "params": parameters, "run": RUN_MEMBERS, "request": REQUEST_MEMBERS, "webhook": WEBHOOK_MEMBERS,
        "recurrence": RECURRENCE_MEMBERS,
        "change": CHANGE_MEMBERS, "run_event": RUN_EVENT_MEMBERS,
    }  # fmt: skip
    changed = {trigger.type for trigger in triggers.changes}
    thing = index.types.get(changed.pop()) if len(changed) == 1 else None
    kinds = kinds_in_scope(outline.parameters, index.types.get("user"), thing)
    is_called = not _starting_without_parameters(triggers)[0]
    required = frozenset(parameter.name for parameter in outline.parameters if not parameter.is_optional)
    nullable = Nullable(frozenset() if is_called else required)
    things = {name: kind_of_thing(kind) for name, kind in index.types.items()}
    things |= {name: kind_of_options(name, options) for name, options in index.options.items()}
    passwords = _passwords(outline)
    return Scope(frozenset(names), members, kinds=kinds, nullable=nullable, things=things, passwords=passwords)


def _passwords(outline: Outline) -> frozenset[str]:
    return frozenset(one.name for one in outline.parameters if one.type.name == ScalarType.PASSWORD)


def _read_parameters(table: Table, index: Index, report: Report) -> tuple[Parameter, ...]:
    names = TypeNames(frozenset(index.types), index.options)
    parameters: list[Parameter] = []
    for key, node in table.table("parameters", "'parameters'", "such as name: text").entries():
        if not key.text.isprintable() or len(key.text) > MAX_PARAMETER_NAME:
            report.error(
                key.place,
                f"{shorten(key.text)!r} cannot name a parameter",
                f"use at most {MAX_PARAMETER_NAME} characters",
            )
            continue
        if isinstance(node, Mapping):
            parameter = _read_long_parameter(key, node, names, report)
        else:
            field_type = read_field_type(node, names, report, is_any_allowed=True)
            parameter = None if field_type is None else Parameter(name=key.text, type=field_type)
        # One whose type is wrong still has its name, so that its uses are not reported as well.
        parameters.append(parameter or Parameter(name=key.text, type=FieldType("any"), is_optional=True))
    return tuple(parameters)


def _read_long_parameter(key: Scalar, node: Mapping, names: TypeNames, report: Report) -> Parameter | None:
    table = Table(node, key.place, f"the parameter {key.text!r}", report)
    type_node, default = table.node("type"), table.node("default")
    is_optional = table.boolean("optional")
    table.close()
    if type_node is None:
        report.error(key.place, f"{table.what} needs 'type'", "such as type: text")
        return None
    field_type = read_field_type(type_node, names, report, is_any_allowed=True)
    if default is None or field_type is None:
        return None if field_type is None else Parameter(name=key.text, type=field_type, is_optional=is_optional)
    if not is_optional:
        report.error(default.place, f"{table.what} has a default, so it is optional", "add optional: true")
    if field_type.name == ScalarType.PASSWORD:
        report.error(default.place, "a password has no default", "the caller gives it")
        return None
    if is_template(default):
        report.error(default.place, "a default is a constant", "work it out in the steps: ${params.name ?? …}")
        return None
    try:
        value = coerce_value(field_type, to_json(default))
    except ValueError as error:
        report.error(default.place, f"the default of {key.text!r}: {error}")
        return None
    return Parameter(name=key.text, type=field_type, is_optional=True, default=value)
