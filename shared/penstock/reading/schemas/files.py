"""The three kinds of file: app.yaml, types/*.yaml and workflows/*.yaml. A test compares their keys with those that the
reader knows.
"""

from typing import Final

from penstock.definitions.email import EmailTransport
from penstock.definitions.fields import MAX_IDENTIFIER_BYTES
from penstock.definitions.flow import MAX_LIMIT
from penstock.definitions.models import (
    ENVIRONMENTS,
    ONLY_FOR_PARAMETERS,
    Auth,
    ChangedBy,
    Operation,
    Respond,
    RunEnd,
    ScalarType,
)
from penstock.domain.depth import MAX_DEPTH
from penstock.domain.notices import NoticeKind
from penstock.domain.ticks import MAX_FAILURES, Overlap
from penstock.reading.oidc import ALGORITHMS
from penstock.reading.option_sets import ATTRIBUTE_NAME, MAX_ATTRIBUTES
from penstock.reading.schemas.forms import (
    ANYTHING,
    BOOLEAN,
    CONSTRAINT,
    DURATION,
    EXPRESSION,
    MAPPING,
    NAME,
    TEXT,
    Schema,
    choice,
    either,
    integer,
    list_of,
    named,
    one_or_list,
    table,
)
from penstock.reading.schemas.sources import build_source
from penstock.reading.schemas.steps import RETRIES, build_step_schemas

_BASE: Final[Schema] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
_FIELD_TYPE: Final[Schema] = {
    "type": "string",
    "description": "text, number, boolean, date, …, a data type, or a list of them",
    "examples": [*(kind.value for kind in ScalarType if kind not in ONLY_FOR_PARAMETERS), "user", "list of text"],
}
_PARAMETER_TYPE: Final[Schema] = {
    **_FIELD_TYPE,
    "examples": [*(kind.value for kind in ScalarType), "user", "list of text"],
}


def _build_notifications() -> Schema:
    webhook = table({"url": TEXT, "secret": {"type": "string", "pattern": r"^\$\{\s*secrets\."}}, "url", "secret")
    period: Schema = {"type": "string", "description": "How long it rests after a notification, such as 1h; or never."}
    return table(
        {
            "webhooks": list_of(webhook),
            "slack": {**one_or_list(TEXT), "description": "Slack-compatible webhooks, best as ${secrets.NAME}."},
            "every": table({kind.value: period for kind in NoticeKind}),
        }
    )


def _build_attributes() -> Schema:
    """The attributes of one option; an option without attributes may be left empty."""
    value = one_or_list({"type": ["string", "number", "boolean"]})
    return either({"type": "null"}, {**named(value, f"^{ATTRIBUTE_NAME}$"), "maxProperties": MAX_ATTRIBUTES})


def build_app_schema() -> Schema:
    """app.yaml."""
    limits = table(
        {
            "depth_limit": integer(0, MAX_DEPTH),
            "depth_policy": choice(("terminate", "observe")),
            "chain_runs_limit": integer(1, 10**12),
            "chain_workload_limit": {"type": ["number", "null"], "minimum": 1},
            "retention": {**DURATION, "description": "How long what has ended is kept: 1d to 3650d."},
            "notifications": {**_build_notifications(), "description": "Of this environment, in place of the app's."},
        }
    )
    app: dict[str, Schema] = {
        "app": {"type": "string", "pattern": NAME, "maxLength": 63, "description": "The name of the app."},
        "admins": {
            **one_or_list({"type": "string", "pattern": "@"}),
            "description": "Get mail of terminated runs and the like, each kind at most once a day per environment.",
        },
        "notifications": {**_build_notifications(), "description": "How people are notified beside mail."},
        "environments": table(dict.fromkeys(ENVIRONMENTS, limits)),
        "sources": {**named(build_source(), NAME), "description": "Who may send webhooks to /webhooks/<source>."},
        "connectors": {**named(_build_connector(), NAME), "description": "Services that `call` steps call."},
        "email": _build_email(),
        "oidc": _build_oidc(),
        "options": {
            **named(either(one_or_list(TEXT), named(_build_attributes())), "^[a-z][a-z0-9_]{0,62}$"),
            "description": "Option sets: static lists of texts, which fields and parameters of their names hold, or "
            "these texts with their attributes.",
        },
        "python": {
            **one_or_list({"type": "string", "pattern": r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"}),
            "description": "Modules with workflows and actions in Python, such as shop.workflows.",
        },
    }
    return {**_BASE, "title": "Penstock: app.yaml", **table(app, "app")}


def build_type_schema() -> Schema:
    """A document of types/*.yaml."""
    rights: dict[str, Schema] = {
        **dict.fromkeys(("find", "create", "modify", "delete"), BOOLEAN),
        "view": {**either({"const": "all"}, list_of(TEXT)), "description": "all, or a list of fields."},
    }
    when = either({**MAPPING, "minProperties": 1}, {**list_of(CONSTRAINT), "minItems": 1})
    rule = either(
        table({"everyone": table(rights)}, "everyone"),
        table(
            {"name": TEXT, "when": when, "users": EXPRESSION, **rights},
            "name",
            anyOf=[{"required": ["when"]}, {"required": ["users"]}],
        ),
    )
    keys: dict[str, Schema] = {
        "type": {
            "type": "string",
            "pattern": "^[a-z][a-z0-9_]*$",
            "maxLength": MAX_IDENTIFIER_BYTES,
            "description": "The name of the data type.",
        },
        "display": TEXT,
        "api": {**BOOLEAN, "description": "Reachable through the Data API."},
        "fields": {
            **named(_FIELD_TYPE),
            "description": "Names and types. _id, Created Date, Modified Date, Created By and Slug are built in.",
        },
        "unique": {**list_of(one_or_list(TEXT)), "description": "Fields, or lists of fields, whose values occur once."},
        "indexes": {
            **list_of(either(TEXT, list_of(TEXT), table({"words": TEXT}, "words"))),
            "description": "Fields, or lists of fields, that things are often searched or sorted by; {words: field} "
            "for one whose text is searched for words.",
        },
        "privacy": {**list_of(rule), "description": "Who may do what through the Data API."},
    }
    return {**_BASE, "title": "Penstock: a data type", **table(keys, "type")}


def build_workflow_schema() -> Schema:
    """A document of workflows/*.yaml."""
    parameter = either(
        _PARAMETER_TYPE, table({"type": _PARAMETER_TYPE, "optional": BOOLEAN, "default": ANYTHING}, "type")
    )
    keys: dict[str, Schema] = {
        "workflow": {
            "type": "string",
            "pattern": NAME,
            "maxLength": 200,
            "description": "The name of the workflow, case-sensitive.",
        },
        "label": {**TEXT, "description": "For console and logs."},
        "parameters": named(parameter),
        "on": {
            **one_or_list(_build_triggers()),
            "description": "What starts it. Without it, only other runs, messages and the command line do.",
        },
        "when": {**EXPRESSION, "description": "A bare expression; the run is skipped where it does not hold."},
        "timeout": {**DURATION, "description": "How long a run may take."},
        "retries": {**RETRIES, "description": "How often a failed run is tried, the first time included."},
        "depth_limit": {
            **integer(0, MAX_DEPTH),
            "description": "Instead of the environment's, for recursion that is meant.",
        },
        "recursive": {
            **either(BOOLEAN, table({"decreases": EXPRESSION}, "decreases")),
            "description": "Recursion is meant: silences the check for cycles through this workflow. With `decreases`, "
            "an expression over `params`, it needs no limit of depth while the value falls by whole numbers to 0.",
        },
        "priority": {**integer(0, 9), "description": "0 (first) to 9 (last)."},
        **_build_flow(),
        "ignore_privacy": BOOLEAN,
        "steps": {**list_of({"$ref": "#/$defs/step"}), "maxItems": 1000},
    }
    return {**_BASE, "title": "Penstock: a workflow", **table(keys, "workflow"), "$defs": {**build_step_schemas()}}


def _build_flow() -> dict[str, Schema]:
    key = {**EXPRESSION, "description": "A bare expression; without it, all runs of the workflow have one key."}
    limit = integer(1, MAX_LIMIT)
    rate = table({"limit": limit, "per": DURATION, "key": key}, "limit", "per")
    on_failure = {
        **choice(["block", "skip"]),
        "description": "What those behind a run that failed do: wait, or follow.",
    }
    longest = {**DURATION, "description": "The longest that the first run may be put off."}
    return {
        "concurrency": {
            **one_or_list(table({"limit": limit, "key": key}, "limit")),
            "description": "How many of its runs may be performed at once, per key.",
        },
        "rate": {**one_or_list(rate), "description": "How many of its runs may start in a time, per key."},
        "sequence": {
            **table({"key": key, "on_failure": on_failure}),
            "description": "The runs of a key are performed one by one, in the order of their admission.",
        },
        "debounce": {
            **table({"quiet": DURATION, "key": key, "max": longest}, "quiet"),
            "description": "Of the runs of a key only the last is performed, when no other has followed for so long.",
        },
    }


def _build_connector() -> Schema:
    return table(
        {
            "base_url": {"type": "string", "pattern": r"^([Hh][Tt][Tt][Pp][Ss]?://|.*\$\{)"},
            "headers": named(TEXT),
            "timeout": DURATION,
            "allow_private": {
                **either(BOOLEAN, one_or_list(TEXT)),
                "description": "true, or networks such as 10.1.0.0/16.",
            },
        },
        "base_url",
    )


def _build_oidc() -> Schema:
    url: Schema = {"type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://"}
    keys: dict[str, Schema] = {
        "issuer": {**url, "description": "Whose tokens make a call one of a user: `iss` in them, letter by letter."},
        "audience": {**one_or_list(TEXT), "description": "For whom tokens have to be: one of these is in their `aud`."},
        "algorithms": list_of(choice(ALGORITHMS)),
        "jwks": {**url, "description": "Where the issuer's keys are, if not where its own document says."},
        "users": {**choice(("create", "existing")), "description": "Whether somebody new becomes a user."},
    }
    return table(keys, "issuer", "audience", description="Users who log in elsewhere (OpenID Connect).")


def _build_email() -> Schema:
    keys: dict[str, Schema] = {
        "from": {**TEXT, "description": "Who sends, as in Shop <shop@example.com>."},
        "transport": choice([transport.value for transport in EmailTransport]),
        "api_key": {**TEXT, "description": "For sendgrid and postmark: ${secrets.NAME}."},
        "base_url": {"type": "string", "pattern": "^https?://"},
    }
    return table(keys)


def _recurrence() -> dict[str, Schema]:
    return {
        "cron": {
            **TEXT,
            "description": 'Minute, hour, day, month, weekday: "0 3 * * 1-5"; with the second before them; or @daily.',
        },
        "start": {**TEXT, "description": "No tick before this time."},
        "end": {**TEXT, "description": "No tick after this time."},
        "times": {"type": "integer", "minimum": 1, "description": "At most this many ticks."},
        "pause_after_failures": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_FAILURES,
            "description": "Pauses after this many failed runs in a row.",
        },
        "timezone": {**TEXT, "examples": ["UTC", "Europe/Paris"]},
        "overlap": {
            **choice([overlap.value for overlap in Overlap]),
            "description": "What becomes of a tick while the last run has not ended.",
        },
        "catch_up": {**DURATION, "description": "How late a missed tick may still be made up."},
        "jitter": {**DURATION, "description": "By how much ticks are spread."},
    }


def _build_triggers() -> Schema:
    api: dict[str, Schema] = {
        "method": choice(["GET", "POST"]),
        "auth": {**choice([auth.value for auth in Auth]), "description": "Who may call it."},
        "respond": {
            **choice([respond.value for respond in Respond]),
            "description": "When the caller gets the answer.",
        },
        "when_skipped": {"enum": [200, 400, "200", "400"], "description": "The status when its condition is not met."},
        "redirect": {**TEXT, "description": "Where callers are sent, with what it returns in the query."},
        "redirect_on_error": {
            **TEXT,
            "description": "Where they are sent when it fails, with the reason in the query.",
        },
    }
    webhook = table(
        {"source": TEXT, "types": {**one_or_list(TEXT), "description": "* stands for any characters."}}, "source"
    )
    change: dict[str, Schema] = {
        "type": {**TEXT, "description": "The data type."},
        "operations": {
            **one_or_list(choice([operation.value for operation in Operation])),
            "description": "All, if none is named.",
        },
        "when": {**TEXT, "description": "An expression of `before` and `after`."},
        "by": {
            **choice([by.value for by in ChangedBy]),
            "description": "Whose changes: anyone's (the default), only those from outside, or only those of runs.",
        },
    }
    run_end: dict[str, Schema] = {
        "states": {
            **one_or_list(choice([state.value for state in RunEnd])),
            "description": "How the runs ended; failed, if none is named.",
        },
        "workflows": {**one_or_list(TEXT), "description": "Whose runs; those of all workflows, if none is named."},
    }
    triggers = {
        "api": either(table(api), {"type": "null"}),
        "webhook": one_or_list(webhook),
        "recurrence": one_or_list(table(_recurrence(), "cron")),
        "change": one_or_list(table(change, "type")),
        "run": one_or_list(table(run_end)),
    }
    return {**table(triggers), "minProperties": 1}
