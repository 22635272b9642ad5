"""Steps: one schema per action, made from the table by which steps are read."""

from itertools import combinations
from typing import Final

from pydantic import JsonValue

from penstock.definitions.models import StepAction
from penstock.reading.actions import ACTIONS, Action
from penstock.reading.schemas.forms import DURATION, EXPRESSION, Schema, choice, either, form_of, integer, number, table

RETRIES: Final[Schema] = either(
    integer(1, 1000),
    table(
        {
            "attempts": integer(1, 1000),
            "backoff": DURATION,
            "factor": number(1, 100),
            "max": DURATION,
            "jitter": number(0, 1),
        }
    ),
)
_SHARED: Final[dict[str, Schema]] = {
    "id": {
        "type": "string",
        "pattern": "^[A-Za-z_][A-Za-z0-9_]*$",
        "description": "steps.<id> is its result. Letters, digits and _.",
    },
    "when": {**EXPRESSION, "description": "A bare expression; the step is skipped where it does not hold."},
    "timeout": {**DURATION, "description": "How long the step may take."},
    "retry": {**RETRIES, "description": "How often it is tried again within the attempt."},
    "on_error": {**choice(["fail", "continue"]), "description": "continue: the result is {error: {kind, message}}."},
    "recursion": {
        "type": "string",
        "minLength": 1,
        "description": "Why a recursion through this step ends, in your words; silences the check for it.",
    },
}


def build_step_schemas() -> dict[str, Schema]:
    """`step`, and one schema `step_<action>` for each action; for `$defs`."""
    branches: list[JsonValue] = [
        {"if": {"type": "object", "required": [action.value]}, "then": {"$ref": f"#/$defs/step_{action.value}"}}
        for action in ACTIONS
    ]
    step: Schema = {
        "type": "object",
        "description": "One step: the key of an action, its arguments, and what all steps may have.",
        # For editors, which complete keys of this level only; the branches say what fits.
        "properties": {
            **{action.value: {"description": _describe(spec)} for action, spec in ACTIONS.items()},
            **{key: {"description": schema["description"]} for key, schema in _SHARED.items()},
        },
        "oneOf": [{"required": [action.value]} for action in ACTIONS],
        "allOf": branches,
    }
    keys = {f"key_{key}": schema for key, schema in _SHARED.items()}
    return {
        "step": step,
        **keys,
        **{f"step_{action.value}": _build_action(action, spec) for action, spec in ACTIONS.items()},
    }


def _build_action(action: StepAction, spec: Action) -> Schema:
    arguments = {key: form_of(read) for key, read in spec.arguments.items()}
    rules: list[JsonValue] = [{"anyOf": [{"required": [key]} for key in group]} for group in spec.required]
    # `id` of a `get` may be that of the step as well as that of the thing.
    pairs = [pair for group in spec.exclusive for pair in combinations(group, 2) if "id" not in pair]
    rules += [{"not": {"required": [*pair]}} for pair in pairs]
    return table(
        {action.value: form_of(spec.target), **_refer(), **arguments},
        action.value,
        **({"allOf": rules} if rules else {}),
    )


def _refer() -> dict[str, Schema]:
    return {key: {"$ref": f"#/$defs/key_{key}"} for key in _SHARED}


def _describe(spec: Action) -> str:
    return " ".join((spec.target.__doc__ or "").split())
