"""The words that other tools use for our keys, actions and triggers, and keys that stand in the wrong place: hints for
messages, nothing more.
"""

from collections.abc import Collection, Mapping
from typing import Final

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "when": ("if", "only_if", "condition", "conditions"),
    "on": ("trigger", "triggers", "events", "listen", "true"),
    "parameters": ("params", "inputs", "input", "args", "arguments", "vars"),
    "with": ("params", "parameters", "inputs", "input", "args", "arguments", "kwargs", "payload", "data", "vars"),
    "set": ("values", "fields", "data", "attributes", "to"),
    "steps": ("jobs", "tasks", "actions", "do", "run_steps"),
    "where": ("filter", "filters", "query", "constraints", "search", "match"),
    "sort": ("order_by", "orderBy", "sort_by", "sortBy"),
    "descending": ("desc", "reverse"),
    "limit": ("top", "page_size", "per_page", "first"),
    "after": ("delay", "countdown", "in", "wait"),
    "at": ("eta", "run_at", "when_to_run", "date"),
    "retries": ("retry", "max_retries", "retry_policy", "tries"),
    "retry": ("retries", "max_retries", "retry_policy", "tries"),
    "attempts": ("max_attempts", "maximum_attempts", "max_retries", "count", "times", "retries", "limit"),
    "backoff": ("delay", "interval", "wait", "initial_interval", "backoff_seconds"),
    "factor": ("multiplier", "backoff_coefficient", "backoff_factor"),
    "max": ("max_interval", "maximum_interval", "max_backoff", "max_delay"),
    "timeout": ("timeout-minutes", "timeout_minutes", "timeout_seconds", "time_limit", "ttl"),
    "on_error": ("continue-on-error", "continue_on_error", "ignore_errors", "catch", "rescue", "on_failure"),
    "id": ("name", "register", "as", "key", "step"),
    "label": ("description", "title", "display_name", "comment"),
    "optional": ("required", "nullable", "null"),
    "cron": ("schedule", "expression", "cron_expression", "every", "interval"),
    "timezone": ("tz", "zone", "time_zone"),
    "secrets": ("secret", "signing_secret", "key", "token"),
    "base_url": ("url", "host", "endpoint"),
    "text": ("body", "content", "message", "plain"),
    "html": ("html_body", "body_html"),
    "json": ("body_json", "data", "payload"),
    "query": ("params", "parameters"),
    "attachments": ("files", "attach"),
    "python": ("modules", "imports", "code"),
    "live": ("production", "prod", "version-live"),
    "development": ("dev", "test", "staging", "version-test"),
    "fields": ("columns", "properties", "attributes", "schema"),
    "unique": ("primary_key", "index", "keys", "unique_together"),
    "workflow": ("name", "workflows"),
    "type": ("types", "table", "model", "event", "events"),
    "over": ("list", "items", "loop", "with_items", "for_each", "foreach", "each"),
    "operations": ("operation", "on", "events"),
    "find": ("read", "list", "search"),
    "view": ("see", "show", "read_fields"),
    "modify": ("edit", "write", "change", "update"),
    "delete": ("remove", "destroy"),
    "auth": ("authentication", "access", "public"),
    "key": ("idempotency_key", "task_id", "workflow_id"),
}
"""Ours, and what it is called elsewhere."""
_ACTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "wait: 5m": ("sleep", "delay", "pause"),
    "log: text": ("print", "echo", "debug", "console", "console.log", "info"),
    "email: ADDRESS": ("mail", "send_email", "send_mail", "sendmail", "sendgrid", "smtp"),
    "http: URL": ("request", "fetch", "uri", "rest", "curl", "post", "api_call", "webhook"),
    "create: TYPE": ("insert", "new", "make", "create_thing", "create_record"),
    "create: TYPE with upsert: [field]": ("upsert", "create_or_update"),
    "update: THING": ("modify", "change", "edit", "patch", "save", "make_changes"),
    "find: TYPE": ("search", "query", "select", "do_a_search_for", "lookup"),
    "delete: THING": ("remove", "destroy", "drop"),
    "schedule: WORKFLOW": (
        "call_workflow", "start", "start_workflow", "execute", "enqueue", "apply_async", "workflow", "child_workflow",
        "schedule_api_workflow",
    ),
    "each: LIST with steps: [...], or schedule_list: WORKFLOW with over: LIST": (
        "loop", "for", "foreach", "for_each", "with_items", "map", "iterate",
    ),
    "schedule_list: WORKFLOW with over: LIST": ("schedule_on_a_list", "batch"),
    "parallel: {name: [steps]}": ("branches", "fork", "concurrent", "concurrently", "gather", "in_parallel"),
    "fail: message": ("raise", "throw", "error", "abort"),
    "stop: reason": ("exit", "break", "end", "terminate", "quit"),
    "run: module.function": ("script", "python", "function", "shell", "command", "code", "activity"),
    "state: {name: value}": ("set_fact", "assign", "let", "var", "set_state", "set_variable"),
    "return: {name: value}": ("respond", "response", "output", "outputs", "result", "return_data"),
    "wait_for: NAME": ("signal", "wait_for_signal", "wait_for_event", "wait_condition"),
    "when: at a step": ("if", "switch", "case", "condition", "else", "unless"),
}  # fmt: skip
"""How it is written here, and what it is called elsewhere."""
_TRIGGERS: Final[Mapping[str, tuple[str, ...]]] = {
    'recurrence: {cron: "0 3 * * *"}': ("schedule", "cron", "timer", "interval", "every", "scheduled", "beat"),
    "api: {}": ("http", "request", "endpoint", "post", "get", "rest", "url", "form", "POST", "GET"),
    "webhook: {source: NAME}": ("hook", "hooks", "webhooks", "incoming", "catch_hook"),
    "change: {type: TYPE}": ("event", "database", "db", "record", "create", "update", "trigger", "data_change"),
    "run: {states: [failed]}": ("failure", "error", "on_error", "workflow_run", "success"),
}
_NO_TRIGGER: Final = frozenset(
    {"manual", "workflow_dispatch", "workflow_call", "dispatch", "message", "queue", "amqp", "cli", "call"}
)
_EXAMPLES: Final[Mapping[str, str]] = {
    "api": "api: {method: POST}",
    "webhook": "webhook: {source: stripe}",
    "recurrence": 'recurrence: {cron: "0 3 * * *"}',
    "change": "change: {type: order}",
    "run": "run: {states: [failed]}",
}
"""Each trigger as it is written."""


_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "public": ("none", "anonymous", "everyone", "open", "anyone", "no"),
    "admin": ("private", "token", "bearer", "secret"),
    "when_done": ("sync", "wait", "end", "finished"),
    "at_once": ("async", "immediately", "accepted", "now"),
    "continue": ("ignore", "skip", "resume", "pass"),
    "fail": ("abort", "stop", "raise", "exit"),
    "skip": ("forbid", "drop", "Forbid"),
    "allow": ("Allow", "parallel"),
    "cancel_other": ("replace", "Replace", "cancel"),
    "failed": ("failure", "error"),
    "create": ("insert", "created", "new"),
    "update": ("change", "updated", "modify"),
    "delete": ("remove", "deleted"),
    "greater than": (">", "gt", "more than", "after"),
    "less than": ("<", "lt", "before"),
    "equals": ("=", "==", "eq", "is"),
    "not equal": ("!=", "<>", "ne", "is not"),
    "text contains": ("like", "LIKE", "ilike", "matches"),
    "is_empty": ("is null", "null", "exists"),
    "in": ("one of", "any of"),
    "terminate": ("cut", "stop", "kill"),
    "observe": ("warn", "log", "off"),
    "smtp": ("mail", "email"),
}
"""Values of ours, and what they are called elsewhere."""


def hint_for_choice(word: str, known: Collection[str]) -> str:
    """`did you mean 'public'?` for a value that another tool has."""
    meant = [ours for ours, others in _CHOICES.items() if ours in known and word in others]
    return f"did you mean {meant[0]!r}?" if meant else ""


def write_constraint(operator: str, value: str) -> str:
    """How a comparison is written in `where`."""
    kind = next((ours for ours, others in _CHOICES.items() if operator in others), "greater than")
    return f"write where: [{{key: …, constraint_type: {kind}, value: {value}}}]"


def hint_for_key(word: str, known: Collection[str]) -> str:
    """`did you mean 'when'?` for a key that another tool has; empty for others. `known` are the keys there are."""
    if word == "required" and "optional" in known:
        return "a parameter is required unless it says optional: true"
    meant = [ours for ours, others in _KEYS.items() if ours in known and word in others]
    return f"did you mean {meant[0]!r}?" if meant else ""


def hint_for_action(word: str) -> str:
    """`write wait: 5m` for an action that has another name elsewhere."""
    meant = [ours for ours, others in _ACTIONS.items() if word.lower().replace("-", "_") in others]
    return f"write {meant[0]}" if meant else ""


def hint_for_trigger(word: str) -> str:
    """The same for triggers."""
    if word in _NO_TRIGGER:
        return "that needs no trigger: any workflow can be started by hand, by a message or by another run"
    meant = [ours for ours, others in _TRIGGERS.items() if word in others]
    return f"write {meant[0]}" if meant else ""


def write_trigger(name: str) -> str:
    """A trigger as it is written, with its most important key."""
    return f"write {_EXAMPLES[name]}"


def write_type(text: str) -> str:
    """What may be meant by the type `list[text]`, `text[]`, `text?` or `array`."""
    name = text.strip(" ?[]")
    for opening in ("list", "array", "List", "Array", "Sequence", "set"):
        if name.startswith((f"{opening}[", f"{opening}<", f"{opening}(")):
            name = name[len(opening) + 1 :].strip(" []<>()")
            return f"write list of {name}"
    if text.startswith("[") or text.endswith("[]"):
        return f"write list of {name}"
    if text.endswith("?"):
        return f"write {name}; a field may always be empty, a parameter says optional: true"
    return "write list of text, or of another type" if text.lower() in {"list", "array"} else ""
