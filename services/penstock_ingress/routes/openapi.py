"""The description of the management API (OpenAPI 3.1), generated from its models."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Final, Literal

from pydantic import BaseModel, JsonValue
from pydantic.json_schema import models_json_schema

from penstock.definitions.models import ENVIRONMENTS
from penstock.domain.callers import Role
from penstock.domain.dead_letters import LETTER_KINDS, LetterState
from penstock.domain.deliveries import OUTCOMES
from penstock.domain.policies import SettingsChange
from penstock.domain.states import RunState
from penstock.runs.views.chains import ChainMark
from penstock.runs.views.dead_letters import Letter, LetterDetails, LetterPage
from penstock.runs.views.lists import RunList
from penstock.runs.views.logs import KINDS
from penstock.runs.views.models import Delivery, DeliveryDetails, LogEntry, Run, RunDetails
from penstock.store.logs import LEVELS
from penstock.store.workload_sums import WAYS
from penstock_ingress.handlers.pages import DEFAULT_LIMIT, DEFAULT_NODES, MAX_COUNT, MAX_LIMIT, MAX_NODES
from penstock_ingress.repository.import_views import Import, ImportLinePage, ImportPage
from penstock_ingress.repository.list_estimates import ListEstimate
from penstock_ingress.repository.views import (
    AuditPage,
    Backfilled,
    CancelledRun,
    CancelledSchedule,
    DeliveryPage,
    EnvironmentSettings,
    File,
    FileLink,
    ListPage,
    LogPage,
    MadeToken,
    NextTicks,
    Pause,
    PausePage,
    Recurrence,
    RecurrencePage,
    RecurrenceTickPage,
    Resumed,
    RunPage,
    SchedulePage,
    SignalOutcome,
    Token,
    TokenPage,
    WeightList,
    WorkloadPage,
)
from penstock_ingress.repository.views import Operation as RunsOperation
from penstock_ingress.repository.workflow_views import Detected, DetectedPage, SourceList, WorkflowDetails, WorkflowList
from penstock_ingress.routes.operation import PAGE as _PAGE
from penstock_ingress.routes.operation import REF, Operation, content_of, events_of
from penstock_ingress.routes.watching_openapi import WATCHING
from penstock_ingress.rules.dead_letters import LetterChoice, LetterNote
from penstock_ingress.rules.management import (
    Backfill,
    DeliveryChoice,
    Move,
    NewList,
    NewPause,
    NewRecurrence,
    NewRun,
    Payload,
    Problem,
    RecurrencePause,
    Resumption,
    RunCancelChoice,
    RunRetry,
    RunRetryChoice,
    WantedToken,
    WeightsChange,
    WorkflowPause,
    WorkflowResumption,
)

PREFIX: Final = "/v1/{environment}/"
Document = dict[str, JsonValue]

_PROBLEMS_OF_ALL: Final = (400, 401, 403, 404, 408, 413, 415, 422, 429, 503)
"""Every operation looks up its caller and environment, and reads a body even where it wants none."""
_LOGS: Final = ("kinds", "level", "contains", "user", "workflow", "run", "chain", "since", "until")
_SCHEDULE: Final = ("workflow", "since", "until", "list", "chain")
_LETTER_VERBS: Final = (
    ("retry", "Take up again the run of a dead letter, or publish its message again", "Retry"),
    ("discard", "Discard a dead letter", "Discard"),
    ("resolve", "Note of a dead letter that it was settled in another way", "Resolve"),
)
OPERATIONS: Final = (
    Operation("runs", "post", "Start or schedule a run", Run, body=NewRun, status=201, problems=(400, 404, 413, 422,
    503)),
    Operation(
        "runs", "get", "Runs, newest first", RunPage, problems=(400, 404),
        query=("workflow", "state", "chain", "parent", "user", "since", "until", "contains", *_PAGE),
    ),
    Operation("runs/cancel", "post", "Cancel the runs that meet a filter and have not ended, as an operation",
    RunsOperation, body=RunCancelChoice, status=202, problems=(400, 404, 422, 503)),
    Operation("runs/retry", "post", "Take up again the runs that meet a filter and have failed, as an operation",
    RunsOperation, body=RunRetryChoice, status=202, problems=(400, 404, 422, 503)),
    Operation("operations/{id}", "get", "An operation on many runs, and how far it is", RunsOperation),
    Operation("runs/{id}", "get", "A run with its steps and log", RunDetails),
    Operation("runs/{id}/cancel", "post", "Cancel a run that has not ended", CancelledRun, problems=(404, 503)),
    Operation("runs/{id}/retry", "post", "Retry a failed run from the step that failed, or with what was mended", Run,
    body=RunRetry, problems=(404, 409, 422, 503)),
    Operation(
        "signals/{name}", "post", "Wake the runs that wait for this signal; with an Idempotency-Key, "
                                  "once", SignalOutcome,
        body=Payload, problems=(400, 404, 413, 422, 503),
    ),
    *WATCHING,
    Operation(
        "files", "post", "Store a file for a workflow to import", File, query=("name",), status=201, is_upload=True,
        problems=(400, 404, 408, 413, 415, 503),
    ),
    Operation("files/{id}", "get", "The content of a file, such as a workflow has exported", File, is_download=True),
    Operation(
        "files/{id}/link", "post", "A signed URL with which anyone can fetch the file for a while", FileLink,
        query=("lifetime",), status=201, problems=(400, 404, 503),
    ),
    Operation("files/{id}", "delete", "Delete a file; its URL leads nowhere then", File),
    Operation("data/{type}/import", "post", "Import things from CSV or JSON lines as they arrive; an Idempotency-Key "
    "continues one that was cut off", Import, query=("format", "upsert", "raw"), is_upload=True),
    Operation(
        "data/{type}/export", "get", "All things that meet constraints, as CSV or JSON lines", File,
        query=("format", "constraints", "raw"), is_download=True,
    ),
    Operation("imports", "get", "Imports, newest first", ImportPage, query=_PAGE, problems=(400, 404)),
    Operation("imports/{id}", "get", "An import, and how far it is", Import),
    Operation("imports/{id}/lines", "get", "Lines that could not be imported, and why", ImportLinePage, query=_PAGE),
    Operation("settings", "get", "Limits, and who is notified", EnvironmentSettings),
    Operation("settings", "put", "Change limits, or who is notified", EnvironmentSettings, body=SettingsChange,
    problems=(400, 404, 422), role=Role.ADMIN),
    Operation(
        "audit", "get", "Who changed what, newest first", AuditPage,
        query=("actor", "action", "since", "until", *_PAGE), problems=(400, 404),
    ),
    Operation(
        "logs", "get", "Lines of the log, newest first. A page may have fewer lines than `limit`, or none, and "
        "still an `after`", LogPage, query=(*_LOGS, *_PAGE), problems=(400, 404),
    ),
    Operation("logs/export", "get", "All lines of the log that meet a filter, newest first, as JSON lines", LogEntry,
    query=_LOGS, problems=(400, 404), media="application/x-ndjson"),
    Operation("logs/stream", "get", "Lines of the log as they are written, as server-sent events; with the header "
    "Last-Event-ID, or `after`, from behind that event on", LogEntry, query=(*_LOGS, "after"), problems=(400, 404),
    is_stream=True),
    Operation(
        "workload", "get", "Workload units, by workflow, activity or hour", WorkloadPage,
        query=("by", "workflow", "chain", "since", "until", *_PAGE), problems=(400, 404),
    ),
    Operation("workload/weights", "get", "What each activity weighs", WeightList),
    Operation("workload/weights", "put", "Change what activities weigh", WeightList, body=WeightsChange, problems=(400,
    404, 422), role=Role.ADMIN),
    Operation("recurrences", "get", "Recurrences, by workflow", RecurrencePage, query=("workflow", *_PAGE),
    problems=(400, 404)),
    Operation(
        "recurrences", "post", "Set a recurrence of a workflow, for a thing or for the workflow alone",
        Recurrence, body=NewRecurrence,
        problems=(400, 404, 422, 503),
    ),
    Operation("recurrences/{id}", "get", "A recurrence, with its next tick and its last run", Recurrence),
    Operation("recurrences/{id}", "delete", "End a recurrence", Recurrence, problems=(404, 409)),
    Operation("recurrences/next", "get", "The coming ticks of a cron expression", NextTicks, query=("cron",
    "timezone", "count"), problems=(400, 404)),
    Operation("recurrences/{id}/next", "get", "The coming ticks of a recurrence", NextTicks, query=("count",),
    problems=(400, 404)),
    Operation("recurrences/{id}/ticks", "get", "The outcomes of its last ticks, newest first", RecurrenceTickPage,
    query=_PAGE, problems=(400, 404)),
    Operation("recurrences/{id}/pause", "post", "Pause a recurrence until it is resumed", Recurrence,
    body=RecurrencePause, problems=(400, 404)),
    Operation("recurrences/{id}/resume", "post", "Resume a recurrence from now on", Recurrence),
    Operation("recurrences/{id}/trigger", "post", "Start a run now, as a tick would", Run, problems=(404, 422, 503)),
    Operation(
        "recurrences/{id}/backfill", "post", "Start runs for past ticks that had none", Backfilled, body=Backfill,
        problems=(400, 404, 422, 503),
    ),
    Operation(
        "schedule", "get", "What is coming, in the order in which it is due", SchedulePage,
        query=(*_SCHEDULE, *_PAGE), problems=(400, 404),
    ),
    Operation("schedule", "delete", "Cancel what is coming, as an operation", RunsOperation, query=(*_SCHEDULE, "all"),
    status=202, problems=(400, 404, 503)),
    Operation("schedule/pauses", "get", "The pauses that are in force", PausePage),
    Operation("schedule/pause", "post", "Pause all that is coming, or that of a workflow, a chain, a list or a period",
    Pause, body=NewPause, problems=(400, 404, 422)),
    Operation("schedule/resume", "post", "Lift a pause", Resumed, body=Resumption, problems=(400, 404, 422)),
    Operation("schedule/{id}", "delete", "Cancel a run, pass over a tick, or give up the rest of a list",
    CancelledSchedule, problems=(404, 409, 503)),
    Operation("schedule/{id}/move", "post", "Move a run to another time", Run, body=Move, problems=(400, 404, 409,
    422)),
    Operation("lists", "get", "Lists and how far they are, newest first", ListPage, query=("workflow", "open", *_PAGE),
    problems=(400, 404)),
    Operation("lists", "post", "Begin a list: a run for each of its items, or of the things of a search; with an "
    "Idempotency-Key, once", RunList, body=NewList, status=201, problems=(400, 404, 413, 422, 503)),
    Operation("lists/estimate", "post", "What a list would come to, which is not begun", ListEstimate, body=NewList,
    problems=(400, 404, 413, 422, 503)),
    Operation("lists/{id}", "get", "A list and how far it is", RunList),
    Operation("lists/{id}/pause", "post", "Start no item of a list until it is resumed", RunList),
    Operation("lists/{id}/resume", "post", "Lift the pause of a list", RunList),
    Operation("lists/{id}/cancel", "post", "Give up the rest of a list, and cancel its runs that have not ended, as an "
    "operation", RunsOperation, status=202, problems=(404, 503)),
    Operation("lists/{id}/retry", "post", "Take up again the items of a list that have failed, as an operation",
    RunsOperation, status=202, problems=(404, 503)),
    Operation("workflows", "get", "The workflows that are deployed", WorkflowList),
    Operation("workflows/{name}", "get", "A workflow: its definition, the versions that changed it, and who starts "
    "whom", WorkflowDetails),
    Operation("workflows/{name}/pause", "post", "Start no run of a workflow until it is resumed", Pause,
    body=WorkflowPause, problems=(400, 404, 422)),
    Operation("workflows/{name}/resume", "post", "Lift the pause of a workflow", Resumed, body=WorkflowResumption,
    problems=(400, 404, 422)),
    Operation("detected", "get", "The parameters that samples sent to `/initialize` suggest, by workflow", DetectedPage,
    query=_PAGE, problems=(400, 404)),
    Operation("detected/{name}", "get", "The parameters that the last sample of a workflow suggests", Detected),
    Operation("detected/{name}/accept", "post", "Note that they are taken over; answers with the YAML", Detected),
    Operation("sources", "get", "The sources of webhooks that are deployed, and who listens to them", SourceList),
    Operation(
        "deliveries", "get", "Deliveries, newest first", DeliveryPage,
        query=("source", "type", "outcome", "since", "until", "run", *_PAGE), problems=(400, 404),
    ),
    Operation("deliveries/{id}", "get", "A delivery with its headers and its body", DeliveryDetails),
    Operation("deliveries/{id}/replay", "post", "Let a delivery start runs again, by the definitions of now; with an "
    "Idempotency-Key, once", Delivery, status=201, problems=(400, 404, 409, 503)),
    Operation("deliveries/replay", "post", "Replay the deliveries that meet a filter, the oldest first, as an "
    "operation; with an Idempotency-Key, once", RunsOperation, body=DeliveryChoice, status=202, problems=(400, 404, 413,
    422, 503)),
    Operation(
        "dead-letters", "get", "Dead letters: runs that failed and messages that nobody understood, newest first",
        LetterPage, query=("kind", "state", "workflow", "queue", "contains", "since", "until", *_PAGE),
        problems=(400, 404),
    ),
    Operation("dead-letters/{id}", "get", "A dead letter with its history and, of a message, what was sent",
    LetterDetails),
    *(operation for verb, one, many in _LETTER_VERBS for operation in (
        Operation(f"dead-letters/{{id}}/{verb}", "post", one, Letter, body=LetterNote,
        problems=(400, 404, 409, 422, 503)),
        Operation(f"dead-letters/{verb}", "post", f"{many} the open dead letters that meet a filter, as an operation",
        RunsOperation, body=LetterChoice, status=202, problems=(400, 404, 422, 503)),
    )),
    Operation("tokens", "get", "The tokens that hold, newest first", TokenPage, query=_PAGE, problems=(400, 404),
    role=Role.ADMIN),
    Operation("tokens", "post", "Make a token; it is shown this once", MadeToken, body=WantedToken, status=201,
    problems=(400, 404, 422), role=Role.ADMIN),
    Operation("tokens/{id}", "delete", "End a token at once", Token, problems=(404,), role=Role.ADMIN),
)  # fmt: skip
_ID: Final[Document] = {"type": "string", "format": "uuid"}
_TIME: Final[Document] = {"type": "string", "format": "date-time"}
_BYTES: Final = "*/*"
_BEARER: Final = "An admin token. Pages of the console send the cookie of their session, and X-CSRF-Token, instead"
_TEXT: Final[Document] = {"type": "string"}
_QUERY: Final[Mapping[str, tuple[str, Document]]] = {
    "name": ("The name that people see", _TEXT),
    "format": (
        "What the things are written in; without it what Content-Type says, else csv",
        {"type": "string", "enum": ["csv", "jsonl"]},
    ),
    "upsert": ("Unique fields, separated by commas: things with the same values are changed", _TEXT),
    "raw": ("Whether texts that a spreadsheet would run as a formula are left as they are", {"type": "boolean"}),
    "constraints": ("Only these things: a JSON list of {key, constraint_type, value}", _TEXT),
    "lifetime": ("How long the URL holds, such as 10m; at most 7d", {"type": "string", "default": "1h"}),
    "by": (
        "What to group by; for a chain, workflow or hour",
        {"type": "string", "enum": list(WAYS), "default": WAYS[0]},
    ),
    "workflow": ("Only runs of this workflow", _TEXT),
    "state": (
        f"Only runs in these states, separated by commas: {', '.join(RunState)}. Of dead letters one of "
        + ", ".join(LetterState),
        _TEXT,
    ),
    "kind": ("Only dead letters of this kind", {"type": "string", "enum": list(LETTER_KINDS)}),
    "queue": ("Only messages that came from this queue", _TEXT),
    "actor": (
        "Only what this actor did: `admin`, the label of a token, `oidc:` and an email, or `cli:` and a user",
        _TEXT,
    ),
    "action": ("Only this action (`run.cancel`), or all of its kind (`run`)", _TEXT),
    "run": ("Only what belongs to this run", _ID),
    "step": ("Path of the step, as `steps` of the run has it", _TEXT),
    "from": ("Only the node with this run, and what is below it", _ID),
    "mark": (f"Only chains that came near a limit, were cut at one, or stopped: {', '.join(ChainMark)}", _TEXT),
    "nodes": (
        "Maximum nodes",
        {"type": "integer", "minimum": 1, "maximum": MAX_NODES, "default": DEFAULT_NODES},
    ),
    "source": ("Only deliveries of this source", _TEXT),
    "type": ("Only deliveries of this type, as it is shown", _TEXT),
    "outcome": ("Only with this outcome", {"type": "string", "enum": list(OUTCOMES)}),
    "chain": ("Only what belongs to this chain", _ID),
    "list": ("Only what belongs to this list", _ID),
    "open": ("Only lists that are under way, or only those that are not", {"type": "boolean"}),
    "all": ("Without any filter: everything", {"type": "boolean"}),
    "cron": ("The expression", _TEXT),
    "timezone": ("The time zone of the expression; UTC by default", _TEXT),
    "count": ("How many ticks", {"type": "integer", "minimum": 1, "maximum": MAX_COUNT, "default": 10}),
    "parent": ("Only runs that this run has scheduled", _ID),
    "level": ("Only lines of this level or above", {"type": "string", "enum": list(LEVELS)}),
    "kinds": (f"Only lines of these kinds, separated by commas: {', '.join(KINDS)}", _TEXT),
    "user": ("Only runs that work for this user of the app, or their lines, by id or email", _TEXT),
    "since": ("From this time on", _TIME),
    "until": ("Before this time", _TIME),
    "contains": ("Only what contains this text; case does not matter", _TEXT),
    "after": ("The page after the one that gave this token", _TEXT),
    "limit": (
        "Maximum results per page",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    ),
}


@cache
def _operations() -> Mapping[tuple[str, str], Operation]:
    return {(operation.method, f"{PREFIX}{operation.path}"): operation for operation in OPERATIONS}


def find_operation(method: str, path: str) -> Operation | None:
    """The operation of a route by its method and its path as it was declared; None for what is not described."""
    return _operations().get(("get" if method == "HEAD" else method.lower(), path))


@cache
def describe_management() -> Document:
    """The whole document; not to be changed."""
    paths: dict[str, JsonValue] = {}
    for operation in OPERATIONS:
        path = paths.setdefault(f"{PREFIX}{operation.path}", {})
        assert isinstance(path, dict)
        path[operation.method] = _describe(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Penstock management API", "version": version("penstock")},
        "security": [{"admin": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"admin": {"type": "http", "scheme": "bearer", "description": _BEARER}},
            "schemas": _schemas(),
        },
    }


def _describe(operation: Operation) -> Document:
    content = {_BYTES: {}} if operation.is_download else content_of(operation.media, operation.answer)
    if operation.is_stream:
        content = events_of(operation.answer)
    ok: Document = {"description": "Done", "content": content}
    responses: Document = {str(operation.status): ok}
    if operation.answer in (Run, Delivery) and operation.status == 201:
        responses["200"] = {**ok, "description": "What this idempotency key made before"}
    for status in sorted({*_PROBLEMS_OF_ALL, *operation.problems}):
        responses[str(status)] = {"description": "Not done", "content": content_of("application/problem+json", Problem)}
    described: Document = {
        "tags": [operation.path.split("/")[0].capitalize()],
        "summary": operation.summary,
        "description": f"Needs the role `{operation.needed_role}`.",
        "operationId": "_".join(
            (
                operation.method,
                *operation.path.replace("{id}", "by_id")
                .replace("{name}", "by_name")
                .replace("{type}", "of_type")
                .split("/"),
            )
        ),
        "parameters": _parameters(operation),
        "responses": responses,
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": content_of("application/json", operation.body)}
    if operation.is_upload:
        described["requestBody"] = {"required": True, "content": {_BYTES: {}}}
    return described


def _parameters(operation: Operation) -> list[JsonValue]:
    environment: Document = {"type": "string", "enum": list(ENVIRONMENTS)}
    parameters: list[JsonValue] = [{"name": "environment", "in": "path", "required": True, "schema": environment}]
    if "{id}" in operation.path:
        parameters.append({"name": "id", "in": "path", "required": True, "schema": _ID})
    if "{type}" in operation.path:
        parameters.append({"name": "type", "in": "path", "required": True, "schema": _TEXT})
    if "{name}" in operation.path:
        parameters.append({"name": "name", "in": "path", "required": True, "schema": _TEXT})
    for name in operation.query:
        description, schema = _QUERY[name]
        parameters.append({"name": name, "in": "query", "description": description, "schema": schema})
    return parameters


def _schemas() -> JsonValue:
    answers = {operation.answer for operation in OPERATIONS} | {Problem}
    bodies = {operation.body for operation in OPERATIONS if operation.body is not None}
    models: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = [
        (answer, "serialization") for answer in answers
    ]
    models += [(body, "validation") for body in bodies]
    _, schema = models_json_schema(sorted(models, key=lambda model: model[0].__name__), ref_template=REF)
    definitions: JsonValue = schema["$defs"]
    return definitions
