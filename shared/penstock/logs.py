"""Structured logs on standard error: one JSON object per line, or readable lines in a terminal.

The first argument is a fixed event name; everything variable is a field. Lines that are written while a run is
performed have its `run_id`, `chain_id` and `trace_id`; where traces are recorded, all lines about a request or a run
have `trace_id` and `span_id`. No payloads; secrets are taken out of every line. The events:

| event | room | says |
|---|---|---|
| `service.started` `service.ready` `service.draining` `service.stopped` | all | the life of a process |
| `service.cut_off` | all | what could not be ended within the grace period ended with the process; `at`: where it was |
| `worker.started` `worker.ended` | executor | a process of an executor with several; one that has ended is replaced |
| `service.stuck` | all | what fails the liveness probe; at most one line a minute |
| `service.release_failed` | all | what a service held at its end is taken back later, by others |
| `broker.connected` `broker.lost` `broker.unreachable` `broker.blocked` | all | the connections to RabbitMQ |
| `broker.consumer_restored` `broker.consume_failed` | all | consumers of queues |
| `broker.topology_restored` `broker.declare_refused` | all | exchanges and queues |
| `broker.handler_failed` `broker.callback_failed` `broker.dead_letter_failed` | all | a message goes back, and why |
| `broker.events_dropped` `broker.event_not_encoded` | all | events that were not published |
| `database.unavailable` | all | PostgreSQL is out of reach; work is held back |
| `dispatch.failed` | ingress, scheduler | `count` runs could not be handed to the broker; a scheduler will find them |
| `export.failed` | ingress | an export was cut off: its reader was too slow or gone, or the database is away |
| `request.failed` | ingress | a request ended in an unexpected error |
| `http.malformed` | all | requests that were not HTTP; at most one line every 5 s, with their number |
| `delivery.secret_missing` | ingress | a webhook cannot be checked, because a secret of its source is not set |
| `delivery.not_replayed` | ingress, scheduler | a replay by filter passed one over: its source is not deployed |
| `key.unavailable` | ingress | certificates or keys that verify webhooks or users cannot be fetched |
| `identity.refused` | ingress | a new user came with a token of the issuer, and the app's own rules refuse them |
| `subscription.confirmed` `subscription.unconfirmed` | ingress | AWS SNS asked to confirm a subscription |
| `secrets.changed` `secrets.unreadable` | ingress, executor | secrets were changed; stored ones that no key decrypts |
| `message.dead_lettered` | scheduler, executor | a message was not understood, and why |
| `dead_letter.not_kept` `dead_letter.not_published` | scheduler | storing or publishing it failed; it is tried again |
| `run.finished` | executor | one wide line per attempt |
| `run.released` `run.release_failed` | executor | a run was given back unfinished, or is reaped later |
| `run.lease_lost` | executor | another attempt owns the run, or the database was away too long |
| `run.cancelled` | executor | a run that was ended by hand has stopped here |
| `message.ignored` | executor | an event was not understood |
| `run.exception` | executor | an app's Python raised something unexpected, with the app's part of the traceback |
| `run.crashed` `run.internal_error` | executor | an error of ours, with its traceback |
| `claim.termination_failed` `logs.not_written` | executor | what a batch could not do beside its main work |
| `claim.observation_failed` | executor | the same |
| `operation.turn_failed` | ingress, scheduler | a batch of an operation by filter; it is tried again |
| `workload.warned` | scheduler | the month's allowance, or an hour far above the usual, was reached |
| `slow_searches.not_written` | ingress, executor | which searches were slow in the last seconds of a process is lost |
| `workload.not_written` | all | what was metered in the last seconds of a process is lost |
| `run.terminated` | scheduler, ingress, executor | a protection stopped a run |
| `loop.worked` `loop.failed` | all | what a loop did, when it did anything |
| `change.batch_failed` | scheduler | a change could not be read; it starts nothing, the others do |
| `recurrence.batch_failed` `recurrence.put_off` | scheduler | a tick could not be decided, the others were |
| `run.reaped` `run.redispatched` | scheduler | runs taken back from dead executors, and runs whose dispatch was lost |
| `tracing.started` `tracing.unavailable` | all | where traces go, or why none are made |
| `tracing.export_failed` | all | `count` spans are lost: the collector is away; at most one line a minute |
| `notification.sent` `notification.failed` | scheduler | notifications, by mail, webhook or Slack |
"""

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Final, Literal

import orjson
import structlog

from penstock.redaction import LOG, describe
from penstock.visible import make_json_visible, make_visible

_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure_logs(log_format: Literal["auto", "json", "console"], log_level: str) -> None:
    """Set up logging for this process, once. `auto` is the console in a terminal and JSON elsewhere."""
    is_console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _add_process,
            _add_subject,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redact,
            *(_for_people() if is_console else (structlog.processors.JSONRenderer(serializer=_to_json),)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[log_level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    # What libraries say through the standard library: warnings and worse only, in one form.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_RedactingFormatter("%(name)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    # penstock.broker reports each loss of a connection, once, and penstock.tracing that spans are lost; what strangers
    # send is answered, not logged.
    for chatty in ("aio_pika", "aiormq", "opentelemetry", "python_multipart", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)


def mark_log(**fields: str | int) -> None:
    """All lines that this process writes from now on have these fields."""
    _PROCESS.update(fields)


def log_as_a_library() -> None:
    """In a program of others that has not set structlog up: what is logged goes to `logging`, below `penstock`, and so
    nowhere unless that program wants it. Structlog would print it.
    """
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.stdlib.add_log_level,
                structlog.processors.format_exc_info,
                structlog.processors.KeyValueRenderer(key_order=["event"]),
            ],
            wrapper_class=structlog.stdlib.BoundLogger,
            logger_factory=structlog.stdlib.LoggerFactory(),
        )


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger; `name` is the module's."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(module=name)
    return logger


def writes_debug(logger: structlog.typing.FilteringBoundLogger) -> bool:
    """Whether its lines of the level `debug` are written; to be asked once, before many are made."""
    bound = logger.bind()
    # Asked of the class: a logger of another kind would take the name for a method that writes.
    return not hasattr(type(bound), "is_enabled_for") or bound.is_enabled_for(logging.DEBUG)


class Reports:
    """Writes one event at most every `seconds`, however often it happens: an absence of the database is one line every
    few seconds, not one line for each request.
    """

    def __init__(self, write: Callable[..., object], event: str, *, seconds: float = 5.0) -> None:
        """`write` is the logger's method of the level, as `log.warning`."""
        self._write = write
        self._event = event
        self._seconds = seconds
        self._next_at = 0.0
        self._count = 0

    def add(self, count: int = 1, /, **fields: object) -> None:
        """It happened `count` times. The line has these fields, and as `count` how often since the line before."""
        self._count += count
        now = time.monotonic()
        if now >= self._next_at:
            counted, self._count, self._next_at = self._count, 0, now + self._seconds
            self._write(self._event, **fields, count=counted)


class _RedactingFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return make_visible(LOG.text(super().format(record)))


def _redact(_: object, __: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {name: LOG.field(value) for name, value in fields.items()}


def _for_people() -> tuple[structlog.typing.Processor, ...]:
    """What a terminal would act on is made visible. Tracebacks are as they are, without the values of variables."""
    return _show, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)


def _show(_: object, __: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    # What is not a text is written by `repr`, which escapes.
    return {
        make_visible(name): make_visible(value) if isinstance(value, str) else value for name, value in fields.items()
    }


def show_warnings_only() -> Callable[[], None]:
    """Warnings and worse, for a person, until what is returned is called. Nothing where the log has been set up
    otherwise.
    """
    if structlog.is_configured():
        return lambda: None
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _redact,
            *_for_people(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )
    return structlog.reset_defaults


def bind_fields(**fields: object) -> None:
    """Fields of every line that is logged from here on in this task or thread, and in what it starts."""
    structlog.contextvars.bind_contextvars(**fields)


Describe = Callable[[], Mapping[str, str]]
_PROCESS: Final[dict[str, str | int]] = {}
_SUBJECT: Final[ContextVar[Describe | None]] = ContextVar("penstock.logs.subject", default=None)
_trace: Final[list[Describe]] = []


def log_about(describe: Describe) -> None:
    """Lines that are logged from here on in this task have these fields beside their own; asked for each line only."""
    _SUBJECT.set(describe)


def log_trace(describe: Describe | None) -> None:
    """All lines of this process have these fields beside their own: those of the current trace. None: no more."""
    _trace[:] = [] if describe is None else [describe]


def _add_process(_: object, __: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {**_PROCESS, **fields}


def _add_subject(_: object, __: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    subject = _SUBJECT.get()
    for tell in (*_trace, *(() if subject is None else (subject,))):
        for name, value in tell().items():
            fields.setdefault(name, value)
    return fields


def _to_json(fields: object, **_: object) -> str:
    try:
        return make_json_visible(orjson.dumps(fields, default=describe).decode())
    except TypeError:  # half a surrogate pair, a number beyond 64 bits, a key that is not text
        return json.dumps(fields, default=describe, skipkeys=True)
