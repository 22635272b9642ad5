"""Reads `on:` of a workflow: what starts it."""

from typing import Final, NamedTuple

from penstock.definitions.fields import BUILT_IN_FIELDS
from penstock.definitions.models import (
    DEFAULT_CATCH_UP_SECONDS,
    ApiTrigger,
    Auth,
    ChangedBy,
    ChangeTrigger,
    Operation,
    RecurrenceTrigger,
    Respond,
    RunEnd,
    RunEndTrigger,
    WebhookTrigger,
)
from penstock.definitions.redirects import REDIRECT_TARGET
from penstock.domain.ticks import MAX_FAILURES, MAX_TIMES, Overlap
from penstock.reading.available import refuse_unavailable
from penstock.reading.documents import Node, Scalar, Sequence
from penstock.reading.habits import hint_for_trigger, write_trigger
from penstock.reading.index import Index
from penstock.reading.places import Report
from penstock.reading.results import kind_of_thing
from penstock.reading.scopes import Scope, check_expression
from penstock.reading.tables import Table
from penstock.reading.times import read_cron, read_time, read_timezone

TRIGGERS: Final = frozenset({"api", "webhook", "recurrence", "change", "run"})


class Triggers(NamedTuple):
    """What starts a workflow from outside."""

    api: ApiTrigger | None = None
    webhooks: tuple[WebhookTrigger, ...] = ()
    recurrences: tuple[RecurrenceTrigger, ...] = ()
    changes: tuple[ChangeTrigger, ...] = ()
    run_ends: tuple[RunEndTrigger, ...] = ()


def read_triggers(table: Table, index: Index, report: Report) -> Triggers:
    node = table.node("on")
    if node is None:
        return Triggers()
    api: ApiTrigger | None = None
    webhooks: list[WebhookTrigger] = []
    recurrences: list[RecurrenceTrigger] = []
    changes: list[ChangeTrigger] = []
    run_ends: list[RunEndTrigger] = []
    for item in node.items if isinstance(node, Sequence) else (node,):
        triggers = Table(item, item.place, "'on'", report, _write_on(item))
        for key, value in triggers.entries():
            if key.text == "api":
                if api is not None:
                    report.error(key.place, "a workflow has one api trigger", "remove this one")
                api = _read_api(Table(value, key.place, "the api trigger", report, write_trigger("api")))
            elif key.text == "webhook":
                read = [_read_webhook(table, index) for table in _tables(value, key, "the webhook trigger", report)]
                webhooks.extend(webhook for webhook in read if webhook is not None)
            elif key.text == "recurrence":
                found = [_read_recurrence(table) for table in _tables(value, key, "the recurrence trigger", report)]
                recurrences.extend(recurrence for recurrence in found if recurrence is not None)
            elif key.text == "change":
                noted = [_read_change(table, index) for table in _tables(value, key, "the change trigger", report)]
                changes.extend(change for change in noted if change is not None)
            elif key.text == "run":
                run_ends += [_read_run_end(table, index) for table in _tables(value, key, "the run trigger", report)]
            elif not refuse_unavailable(report, key.place, "trigger", key.text):
                report.unknown(key.place, "trigger", key.text, TRIGGERS, hint_for_trigger(key.text))
    return Triggers(api, tuple(webhooks), tuple(recurrences), tuple(changes), tuple(run_ends))


def _tables(node: Node, key: Scalar, what: str, report: Report) -> list[Table]:
    """A trigger that may be given several times: one mapping, or a list of them."""
    nodes = node.items if isinstance(node, Sequence) else (node,)
    return [Table(one, key.place, what, report, write_trigger(key.text)) for one in nodes]


def _write_on(node: Node) -> str:
    """How a trigger is written that is only named, as in `on: api`."""
    if not isinstance(node, Scalar):
        return ""
    hint = write_trigger(node.text) if node.text in TRIGGERS else hint_for_trigger(node.text)
    return hint.replace("write ", "write on: {", 1) + "}" if hint.startswith("write ") else hint


def _read_api(table: Table) -> ApiTrigger:
    method, when_skipped = table.one_of("method", ["GET", "POST"]), table.one_of("when_skipped", ["200", "400"])
    trigger = ApiTrigger(
        method="GET" if method == "GET" else "POST",
        auth=table.choice("auth", Auth, Auth.ADMIN),
        respond=table.choice("respond", Respond, Respond.WHEN_DONE),
        when_skipped=200 if when_skipped == "200" else 400,
        redirect=_read_target(table, "redirect"),
        redirect_on_error=_read_target(table, "redirect_on_error"),
    )
    table.close()
    return trigger


def _read_target(table: Table, key: str) -> str | None:
    text, node = table.text(key), table.node(key)
    if text is None or node is None or ("${" not in text and REDIRECT_TARGET.fullmatch(text)):
        return text
    hint = "such as https://example.com/thanks"
    table.report.error(node.place, f"{text[:100]!r} is neither an http(s) URL nor a path", hint)
    return None


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
    start, end = read_time(table, "start"), read_time(table, "end")
    times, failures = table.integer("times", 1, MAX_TIMES), table.integer("pause_after_failures", 1, MAX_FAILURES)
    if start is not None and end is not None and end < start:
        table.report.error(table.key_place("end"), "'end' is before 'start'", "it would never tick")
    table.close()
    if cron is None or timezone is None:
        return None
    return RecurrenceTrigger(
        cron=cron,
        timezone=timezone,
        overlap=overlap,
        catch_up_seconds=DEFAULT_CATCH_UP_SECONDS if catch_up_seconds is None else catch_up_seconds,
        jitter_seconds=jitter_seconds or 0.0,
        start=start,
        end=end,
        times=times,
        pause_after_failures=failures,
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
    kinds = {} if kind is None else dict.fromkeys(("before", "after"), kind_of_thing(kind))
    condition = (
        None
        if when is None
        else check_expression(when, "when", Scope(frozenset({"before", "after"}), members, kinds=kinds), table.report)
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


def _read_run_end(table: Table, index: Index) -> RunEndTrigger:
    states: list[RunEnd] = []
    for text, place in table.texts("states"):
        if text in frozenset(RunEnd):
            states.append(RunEnd(text))
        else:
            table.report.unknown(place, "state", text, frozenset(RunEnd))
    workflows: list[str] = []
    for text, place in table.texts("workflows"):
        if text != "*" and text not in index.workflows and not table.report.is_partial:
            table.report.unknown(place, "workflow", text, index.workflows)
        workflows.append(text)
    table.close()
    return RunEndTrigger(
        states=tuple(states) or (RunEnd.FAILED,), workflows=tuple(workflows) or ("*",), place=str(table.place)
    )
