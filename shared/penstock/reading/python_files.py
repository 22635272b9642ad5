"""Makes ordinary workflows of an author's functions, and tells what is wrong with their modules: with file and line."""

import inspect
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple, get_origin

from penstock.definitions.flow import KEY_NAMES, keys_of
from penstock.definitions.models import (
    ApiTrigger,
    ChangeTrigger,
    RecurrenceTrigger,
    RunEndTrigger,
    WebhookTrigger,
    Workflow,
)
from penstock.domain.depth import MAX_DEPTH
from penstock.expressions import ExpressionError, compile_expression
from penstock.reading.index import NAME, Index
from penstock.reading.places import Place, Problem, Report, Severity
from penstock.reading.scopes import ALWAYS
from penstock.reading.workflow_files import MAX_NAME
from penstock.sdk.app import WorkflowOptions
from penstock.sdk.code import Callee, Code, read_code, where

_CONTEXTS: Final = frozenset({"ctx", "context", "c", ""})
_NAMES: Final = {
    ApiTrigger: "request",
    WebhookTrigger: "webhook",
    ChangeTrigger: "change",
    RunEndTrigger: "run_event",
}
_NEVER_A_CONTEXT: Final = frozenset(
    {str, int, float, bool, list, dict, tuple, datetime, Decimal, "str", "int", "float", "bool", "list", "dict"}
)


class PythonPart(NamedTuple):
    """The workflows in Python, by name, and what performs them; None when there is no Python, or it is not sound."""

    workflows: dict[str, Workflow]
    code: Code | None


def read_python(directory: Path | None, modules: Mapping[str, Place], index: Index, report: Report) -> PythonPart:
    """Import the modules that app.yaml names; their workflows and actions are put into the index."""
    if not modules:
        return PythonPart({}, None)
    if directory is None:
        report.error(next(iter(modules.values())), "Python modules need a directory that they are imported from")
        return PythonPart({}, None)
    code, problems = read_code(directory, list(modules))
    for module, problem in problems:
        report.is_partial = (
            True  # what the module registers is not known, so names of it are not reported as unknown elsewhere
        )
        if problem.file is None:
            report.error(modules.get(module) or next(iter(modules.values())), problem.message)
        else:
            report.problems.append(Problem(problem.file, problem.line, None, problem.message))
    workflows: dict[str, Workflow] = {}
    for name, callee in code.workflows.items():
        for options in code.options[name]:
            _add(workflows, _build(code, callee, options, index, report), report)
    for callee in (*code.workflows.values(), *code.actions.values()):
        _warn_without_context(code, callee, report)
    index.workflows.update({name: workflow.parameters for name, workflow in workflows.items()})
    index.actions.update({name: callee.signature.parameters for name, callee in code.actions.items()})
    return PythonPart(workflows, None if problems else code)


def _warn_without_context(code: Code, callee: Callee, report: Report) -> None:
    """A first parameter that is annotated as something else than a context, or named as nobody names one, was likely
    meant as a parameter of the run.
    """
    first = next(iter(inspect.signature(callee.function).parameters.values()))
    if get_origin(first.annotation) in _NEVER_A_CONTEXT or first.annotation in _NEVER_A_CONTEXT:
        is_meant = False
    else:
        is_meant = first.annotation is not inspect.Parameter.empty or first.name.strip("_") in _CONTEXTS
    if is_meant:
        return
    file, line = where(code.directory, callee.function)
    message = f"{callee.function.__qualname__}: its first parameter, {first.name!r}, is given the context"
    hint = "begin with (ctx: Context, …), or annotate it as Context"
    report.problems.append(Problem(file, line, None, message, Severity.WARNING, hint))


def _add(workflows: dict[str, Workflow], workflow: Workflow, report: Report) -> None:
    known = workflows.setdefault(workflow.name, workflow)
    if known is not workflow:
        _error(
            report, workflow.place, f"the workflow {workflow.name!r} exists twice; it stands in {known.place} already"
        )


def _build(code: Code, callee: Callee, options: WorkflowOptions, index: Index, report: Report) -> Workflow:
    file, line = where(code.directory, callee.function)
    place = f"{file}:{line}"
    if not NAME.fullmatch(options.name) or len(options.name) > MAX_NAME:
        _error(
            report, place, f"{options.name!r} is not a name; use at most {MAX_NAME} of the characters A-Z a-z 0-9 _ -"
        )
    if options.depth_limit is not None and not 0 <= options.depth_limit <= MAX_DEPTH:
        _error(report, place, f"depth_limit goes from 0 to {MAX_DEPTH}")
    _check_expression("decreases", options.decreases, {"params"}, callee, place, report)
    _check_expression("when", options.when, _names_in(options), callee, place, report)
    for key in keys_of(options.flow):
        _check_expression("key", key, _names_in(options) & KEY_NAMES, callee, place, report)
    apis = [trigger for trigger in options.triggers if isinstance(trigger, ApiTrigger)]
    if len(apis) > 1:
        _error(report, place, "a workflow has one api trigger; remove the others")
    webhooks = tuple(trigger for trigger in options.triggers if isinstance(trigger, WebhookTrigger))
    recurrences = tuple(trigger for trigger in options.triggers if isinstance(trigger, RecurrenceTrigger))
    changes = tuple(trigger for trigger in options.triggers if isinstance(trigger, ChangeTrigger))
    run_ends = tuple(trigger for trigger in options.triggers if isinstance(trigger, RunEndTrigger))
    _check_sources(webhooks, index, place, report)
    _check_changes(changes, index, place, report)
    starters = {"a webhook": webhooks, "a recurrence": recurrences, "a change": changes, "the end of a run": run_ends}
    _warn_of_nulls([what for what, given in starters.items() if given], callee, place, report)
    return Workflow(
        name=options.name,
        label=options.label,
        parameters=callee.signature.parameters,
        api=apis[0] if apis else None,
        webhooks=webhooks,
        recurrences=recurrences,
        changes=tuple(trigger.model_copy(update={"place": place}) for trigger in changes),
        run_ends=tuple(trigger.model_copy(update={"place": place}) for trigger in run_ends),
        timeout_seconds=options.timeout_seconds,
        retries=options.retries,
        depth_limit=options.depth_limit,
        is_recursive=options.is_recursive,
        decreases=options.decreases,
        priority=options.priority,
        when=options.when,
        ignore_privacy=options.ignore_privacy,
        flow=options.flow,
        python=callee.name,
        place=place,
    )


def _names_in(options: WorkflowOptions) -> AbstractSet[str]:
    """What the condition of a run may name: it is the runs that somebody calls that have a `request`, and so on."""
    kinds = {type(trigger) for trigger in options.triggers}
    return ALWAYS | {name for kind, name in _NAMES.items() if kind in kinds}


def _check_expression(
    key: str, source: str | None, names: AbstractSet[str], callee: Callee, place: str, report: Report
) -> None:
    if source is None:
        return
    try:
        expression = compile_expression(source, names=names)
    except ExpressionError as error:
        _error(report, place, f"`{key}`, `{source}`: {error.reason}")
        return
    known = {parameter.name for parameter in callee.signature.parameters}
    given = {
        reference.path[1] for reference in expression.references if reference.path[0] == "params" and reference.path[1:]
    }
    if unknown := given - known:
        _error(report, place, f"`{key}`, `{source}`: there is no parameter {min(unknown)!r}")


def _check_sources(webhooks: Sequence[WebhookTrigger], index: Index, place: str, report: Report) -> None:
    for webhook in webhooks:
        if webhook.source not in index.sources and not report.is_partial:
            known = (
                f"known are {', '.join(sorted(index.sources))}"
                if index.sources
                else "declare it in app.yaml under sources:"
            )
            _error(report, place, f"unknown source {webhook.source!r}; {known}")


def _check_changes(changes: Sequence[ChangeTrigger], index: Index, place: str, report: Report) -> None:
    for change in changes:
        if change.type not in index.types and not report.is_partial:
            _error(report, place, f"unknown data type {change.type!r}; known are {', '.join(sorted(index.types))}")
        try:
            compile_expression(change.when or "true", names={"before", "after"})
        except ExpressionError as error:
            _error(report, place, f"`when` of the change trigger, `{change.when}`: {error.reason}")


def _warn_of_nulls(starters: Sequence[str], callee: Callee, place: str, report: Report) -> None:
    """Runs that nobody calls give no parameters: required ones are None in them."""
    required = [parameter.name for parameter in callee.signature.parameters if not parameter.is_optional]
    if not starters or not required:
        return
    names, what = ", ".join(required), " or ".join(starters)
    if callee.signature.model is not None:
        _error(report, place, f"a run that {what} starts gives no {names}, which the model requires; give it a default")
        return
    hint = f"write {required[0]}: … | None = None; what is known is in ctx.webhook, ctx.change or ctx.run_event"
    file, _, line = place.rpartition(":")
    message = f"{names}: None in a run that {what} starts"
    report.problems.append(Problem(file, int(line), None, message, Severity.WARNING, hint))


def _error(report: Report, place: str, message: str) -> None:
    file, _, line = place.rpartition(":")
    report.problems.append(Problem(file, int(line), None, message))
