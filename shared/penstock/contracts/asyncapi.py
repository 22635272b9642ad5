"""Writes `docs/asyncapi.yaml` (AsyncAPI 3) from the messages, the envelope and the topology: `python -m
penstock.contracts.asyncapi`.

A contract test fails when the file is not what this module makes. The document describes Penstock, so `receive` is what
others send it.
"""

import sys
from io import StringIO
from typing import Final, Literal

from pydantic import JsonValue
from pydantic.json_schema import models_json_schema
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from penstock.contracts import envelope, topology
from penstock.contracts.messages import (
    COMMANDS,
    EVENTS,
    CancelRun,
    CancelRuns,
    ChainEvent,
    Contract,
    ExecuteRuns,
    ExpandList,
    ListEvent,
    RunAnswer,
    RunEvent,
    RunEvents,
    ScheduleChildren,
    ScheduleRun,
    SendSignal,
    ShowRun,
    WakeScheduler,
    WorkloadEvent,
)
from penstock.domain.depth import MAX_DEPTH
from penstock.domain.routing_keys import OWN_EVENTS
from penstock.domain.states import RunState

Document = dict[str, JsonValue]

VERSION: Final = "1.0.0"
"""Of the contract, not of the software: messages carry their own versions in their type."""
_SCHEMA_REFERENCE: Final = "#/components/schemas/{model}"
_DESCRIPTION: Final = """\
Penstock's messages over AMQP 0-9-1. Bodies are JSON; commands are persistent.
Unknown fields are ignored, but for what others send (ScheduleRun, ShowRun, CancelRun, CancelRuns, SendSignal), which
is refused when it has any.

*To schedule a run from any language*, publish `ScheduleRun` to the exchange `penstock.schedule`; `message_id` is the
idempotency key.
*To learn what happened*, bind a queue of your own to `penstock.events`. The exchange `penstock.execute` is
between Penstock's services: it is described here, but do not use it. See docs/messages.md for examples.
"""
_HEADERS: Final[dict[str, Document]] = {
    envelope.DEPTH: {
        "type": "integer",
        "minimum": 0,
        "maximum": MAX_DEPTH,
        "description": "Scheduling hops from the chain's root",
    },
    envelope.CHAIN_ID: {"type": "string", "format": "uuid", "description": "The chain that the run continues"},
    envelope.PARENT_RUN_ID: {
        "type": "string",
        "format": "uuid",
        "description": "The run that asks; the new run is at least one deeper",
    },
    envelope.ENVIRONMENT: {"type": "string", "enum": ["development", "live"], "description": "Where the runs belong"},
    envelope.LANE: {"type": "string", "description": "The executors' queue"},
    envelope.IDEMPOTENCY_KEY: {
        "type": "string",
        "description": "Takes precedence over the property message_id as the idempotency key",
    },
    envelope.TRACEPARENT: {"type": "string", "description": "W3C trace context"},
    envelope.ANSWER: {
        "type": "string",
        "description": "`result`: the queue in reply_to also gets a RunAnswer when the run ends, at best effort",
    },
    envelope.REASON: {"type": "string", "description": "Why the message is among the dead letters"},
}
_HEADERS_OF: Final[dict[str, tuple[str, ...]]] = {
    ScheduleRun.TYPE: (
        envelope.DEPTH,
        envelope.CHAIN_ID,
        envelope.PARENT_RUN_ID,
        envelope.IDEMPOTENCY_KEY,
        envelope.TRACEPARENT,
        envelope.ANSWER,
    ),
    SendSignal.TYPE: (envelope.IDEMPOTENCY_KEY,),
    ScheduleChildren.TYPE: (envelope.DEPTH, envelope.ENVIRONMENT),
    ExecuteRuns.TYPE: (envelope.DEPTH, envelope.ENVIRONMENT, envelope.LANE),
    RunEvent.TYPE: (envelope.DEPTH,),
    RunEvents.TYPE: (envelope.DEPTH,),
    ChainEvent.TYPE: (envelope.DEPTH,),
}
_REQUIRED_HEADERS: Final[dict[str, tuple[str, ...]]] = {
    ScheduleChildren.TYPE: (envelope.DEPTH, envelope.ENVIRONMENT),
    ExecuteRuns.TYPE: (envelope.DEPTH, envelope.ENVIRONMENT, envelope.LANE),
}
_APP_MESSAGE: Final = "AppMessage"
_APP_KEY: Final = f"The step's routing key; its first word is none of {', '.join(sorted(OWN_EVENTS))}"
_APP_HEADERS: Final = (
    envelope.ENVIRONMENT,
    envelope.DEPTH,
    envelope.CHAIN_ID,
    envelope.PARENT_RUN_ID,
    envelope.TRACEPARENT,
)
_ENVIRONMENT: Final[Document] = {
    "environment": {"enum": ["development", "live"], "description": "Where the run belongs"}
}
_SCHEDULE_ANSWER: Final[Document] = {
    "type": "object",
    "description": "Answer to a ScheduleRun that has `reply_to`: its outcome, or a problem document (RFC 9457).",
    "properties": {
        "run_id": {"type": "string", "format": "uuid", "description": "The run, when one was asked for"},
        "list_id": {"type": "string", "format": "uuid", "description": "The list, when a list was asked for"},
        "state": {"type": "string", "description": "Of the run or the list, when this was answered"},
        "duplicate": {"type": "boolean", "description": "True for a copy: the id is what the first message made"},
    },
}


_RUN_ID: Final[Document] = {"type": "string", "format": "uuid"}
_STATE: Final[Document] = {"type": "string", "enum": [state.value for state in RunState]}
_ANSWERS: Final[Document] = {
    "ScheduleAnswer": _SCHEDULE_ANSWER,
    "RunStatus": {
        "type": "object",
        "description": "Answer to a ShowRun: the run as it is now, or a problem document (RFC 9457).",
        "properties": {
            "run_id": _RUN_ID,
            "workflow": {"type": "string"},
            "state": _STATE,
            "result": {"description": "What the workflow has returned"},
            "error": {"description": "Why it failed: `kind`, `message` and more"},
            "created_at": {"type": "string", "format": "date-time"},
            "finished_at": {"type": ["string", "null"], "format": "date-time"},
        },
    },
    "CancelAnswer": {
        "type": "object",
        "description": "Answer to a CancelRun, or a problem document (RFC 9457).",
        "properties": {
            "run_id": _RUN_ID,
            "state": _STATE,
            "cancelled": {"type": "boolean", "description": "False for a run that had ended before"},
        },
    },
    "CancelledCount": {
        "type": "object",
        "description": "Answer to a CancelRuns, or a problem document (RFC 9457).",
        "properties": {
            "cancelled": {"type": "integer", "description": "Runs that were cancelled"},
            "is_over": {"type": "boolean", "description": "False when one more is on its way, which is cancelled then"},
        },
    },
    "SignalAnswer": {
        "type": "object",
        "description": "Answer to a SendSignal, or a problem document (RFC 9457).",
        "properties": {
            "woken": {"type": "integer", "description": "Runs that had waited for it"},
            "kept": {"type": "boolean", "description": "Whether it is kept for a run that will wait for it"},
            "duplicate": {"type": "boolean", "description": "True for a copy, which did nothing"},
        },
    },
}


def build_document() -> Document:
    """The whole document, as plain JSON values."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Penstock",
            "version": VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "rabbitmq": {
                "host": "localhost:5672",
                "protocol": "amqp",
                "description": "PENSTOCK_AMQP_URL; RabbitMQ 3.10 to 4.x",
            }
        },
        "channels": _channels(),
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def _channels() -> Document:
    lane: Document = {"lane": {"default": topology.DEFAULT_LANE, "description": "The executors' queue"}}
    return {
        "schedule": _channel(
            topology.SCHEDULE_EXCHANGE,
            "{environment}.{workflow}",
            _ENVIRONMENT | {"workflow": {"description": "Name of the workflow"}},
            (ScheduleRun, ShowRun, CancelRun, CancelRuns, SendSignal, ScheduleChildren, ExpandList, WakeScheduler),
        ),
        "execute": _channel(topology.EXECUTE_EXCHANGE, "{lane}", lane, (ExecuteRuns,)),
        "runEvents": _channel(
            topology.EVENTS_EXCHANGE,
            "{environment}.run.{event}",
            _ENVIRONMENT
            | {"event": {"enum": ["scheduled", "started", *(state.value for state in RunState if state.is_final)]}},
            (RunEvent, RunEvents),
        ),
        "chainEvents": _channel(
            topology.EVENTS_EXCHANGE,
            "{environment}.chain.{event}",
            _ENVIRONMENT | {"event": {"enum": ["warned"]}},
            (ChainEvent,),
        ),
        "listEvents": _channel(topology.EVENTS_EXCHANGE, "{environment}.list.finished", _ENVIRONMENT, (ListEvent,)),
        "appMessages": _channel(
            topology.EVENTS_EXCHANGE, "{environment}.{key}", _ENVIRONMENT | {"key": {"description": _APP_KEY}}, ()
        )
        | {"messages": {_APP_MESSAGE: _reference("messages", _APP_MESSAGE)}},
        "workloadEvents": _channel(
            topology.EVENTS_EXCHANGE, "{environment}.workload.warned", _ENVIRONMENT, (WorkloadEvent,)
        ),
        "replies": {
            "address": None,
            "description": "The queue that the property reply_to of the request names, over the default exchange",
            "messages": {
                "RunAnswer": _reference("messages", "RunAnswer"),
                **{name: _reference("messages", name) for name in _ANSWERS},
            },
        },
        "deadLetters": {
            "address": topology.DEAD_LETTER_QUEUE,
            "description": "Messages that were not understood, or rejected too often, as they were sent; header reason "
            "says why",
            "bindings": {"amqp": {"is": "queue", "queue": {"name": topology.DEAD_LETTER_QUEUE, "durable": True}}},
            "messages": {"DeadLetter": _reference("messages", "DeadLetter")},
        },
    }


def _channel(exchange: str, address: str, parameters: Document, models: tuple[type[Contract], ...]) -> Document:
    kind = next(known.kind for known in topology.topology().exchanges if known.name == exchange)
    return {
        "address": address,
        "parameters": parameters,
        "messages": {model.__name__: _reference("messages", model.__name__) for model in models},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": exchange, "type": kind, "durable": True, "autoDelete": False},
            }
        },
    }


def _operations() -> Document:
    return {
        "scheduleRun": _operation("receive", "schedule", (ScheduleRun,), "Schedule a run, or a list of them")
        | _reply("ScheduleAnswer"),
        "showRun": _operation("receive", "schedule", (ShowRun,), "Report a run as it is now") | _reply("RunStatus"),
        "cancelRun": _operation("receive", "schedule", (CancelRun,), "Cancel a run unless it has ended")
        | _reply("CancelAnswer"),
        "cancelRuns": _operation("receive", "schedule", (CancelRuns,), "Cancel what was scheduled under a key")
        | _reply("CancelledCount"),
        "sendSignal": _operation("receive", "schedule", (SendSignal,), "Wake the runs that wait for a signal")
        | _reply("SignalAnswer"),
        "scheduleChildren": _operation(
            "receive", "schedule", (ScheduleChildren,), "Internal: admit what steps have scheduled"
        ),
        "nudgeScheduler": _operation(
            "receive", "schedule", (ExpandList, WakeScheduler), "Internal: check the rows now"
        ),
        "executeRuns": _operation(
            "send", "execute", (ExecuteRuns,), "Internal: hand runs that are due to the executors"
        ),
        "answerCaller": _operation(
            "send", "replies", (RunAnswer,), "The outcome of a run, to an ingress instance or to who has asked for it"
        ),
        "reportRun": _operation(
            "send",
            "runEvents",
            (RunEvent, RunEvents),
            "What happened to a run; best effort after the commit, at least once",
        ),
        "reportChain": _operation("send", "chainEvents", (ChainEvent,), "What happened to a chain"),
        "publishAppMessage": {
            "action": "send",
            "channel": {"$ref": "#/channels/appMessages"},
            "summary": "What a `publish` step of an app sends; confirmed by the broker, at least once, message_id the "
            "same each time",
            "messages": [{"$ref": f"#/channels/appMessages/messages/{_APP_MESSAGE}"}],
        },
        "reportList": _operation("send", "listEvents", (ListEvent,), "All runs of a list have ended"),
        "reportWorkload": _operation("send", "workloadEvents", (WorkloadEvent,), "Workload has reached a threshold"),
    }


def _reply(answer: str) -> Document:
    return {
        "reply": {
            "address": {"location": "$message.header#/reply_to", "description": "The AMQP property reply_to"},
            "channel": {"$ref": "#/channels/replies"},
            "messages": [{"$ref": f"#/channels/replies/messages/{answer}"}],
        }
    }


def _operation(action: str, channel: str, models: tuple[type[Contract], ...], summary: str) -> Document:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{model.__name__}"} for model in models],
    }


def _messages() -> Document:
    described: Document = {model.__name__: _message(model) for model in (*COMMANDS.values(), *EVENTS.values())}
    described[_APP_MESSAGE] = {
        "name": topology.APP_MESSAGE_TYPE,
        "summary": "A message of an app's own; the body is what its author wrote.",
        "headers": _header_schema(_APP_HEADERS, _APP_HEADERS),
        "payload": {},
        "bindings": {"amqp": {"contentEncoding": "utf-8", "messageType": topology.APP_MESSAGE_TYPE}},
    }
    described |= {name: {"payload": _reference("schemas", name)} for name in _ANSWERS}
    described["DeadLetter"] = {"headers": _header_schema((envelope.REASON,), (envelope.REASON,)), "payload": {}}
    return described


def _message(model: type[Contract]) -> Document:
    summary, _, _ = (model.__doc__ or "").partition("\n\n")
    message: Document = {"name": model.TYPE, "summary": " ".join(summary.split())}
    if model.TYPE in _HEADERS_OF:
        message["headers"] = _header_schema(_HEADERS_OF[model.TYPE], _REQUIRED_HEADERS.get(model.TYPE, ()))
    return message | {
        "payload": _reference("schemas", model.__name__),
        "bindings": {"amqp": {"contentEncoding": "utf-8", "messageType": model.TYPE}},
    }


def _header_schema(names: tuple[str, ...], required: tuple[str, ...]) -> Document:
    schema: Document = {"type": "object", "properties": {name: _HEADERS[name] for name in names}}
    return schema | {"required": list(required)} if required else schema


def _schemas() -> Document:
    mode: Literal["validation"] = "validation"
    _, schema = models_json_schema(
        [(model, mode) for model in (*COMMANDS.values(), *EVENTS.values())], ref_template=_SCHEMA_REFERENCE
    )
    definitions: Document = schema["$defs"]
    return definitions | _ANSWERS


def _reference(kind: str, name: str) -> Document:
    return {"$ref": f"#/components/{kind}/{name}"}


def render_document() -> str:
    """The document as YAML, byte for byte what `docs/asyncapi.yaml` has to hold."""
    yaml = YAML()
    yaml.width = 140
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = StringIO()
    out.write(
        "# Generated from penstock.contracts by `python -m penstock.contracts.asyncapi > docs/asyncapi.yaml`; do not "
        "edit.\n"
    )
    yaml.dump(_with_literals(build_document()), out)
    return out.getvalue()


def _with_literals(value: JsonValue) -> object:
    """Texts of several lines as YAML blocks, so that people can read them."""
    match value:
        case dict():
            return {key: _with_literals(inner) for key, inner in value.items()}
        case list():
            return [_with_literals(inner) for inner in value]
        case str() if "\n" in value:
            return LiteralScalarString(value)
        case _:
            return value


if __name__ == "__main__":
    sys.stdout.write(render_document())
