"""What an app exposes, as Bubble's `/meta` says it: a list that Zapier and other clients build their menus
from. Only workflows with an api trigger and types with `api: true` are in it.
"""

import re
from typing import Final

from pydantic import JsonValue

from penstock.definitions.fields import BUILT_IN_FIELDS, internal_field_id
from penstock.definitions.models import App, Auth, DataType, FieldType, ScalarType, StepAction, Workflow
from penstock.definitions.steps import walk_steps
from penstock_ingress.rules.environments import LIVE

_ADDRESS: Final = "geographic_address"
_BUILT_IN_TYPES: Final = frozenset({"user"})
_AUTH: Final[dict[Auth, JsonValue]] = {Auth.PUBLIC: True, Auth.USER: False, Auth.ADMIN: "admin_only"}
_PARAMETER: Final = re.compile(r"\$\{\s*params\.([A-Za-z_]\w*)\s*\}", re.ASCII)


def describe_meta(app: App | None, name: str, environment: str) -> dict[str, JsonValue]:
    """`{"get", "post", "types", "app_data"}`; empty where nothing is deployed. Things are shown by the names of their
    fields, so `use_captions_for_get` is true.
    """
    types = [] if app is None else list_exposed_types(app)
    workflows = [] if app is None else list_exposed_workflows(app)
    return {
        "get": [plain_name(data_type) for data_type in types],
        "post": [_describe_workflow(workflow) for workflow in workflows],
        "types": {plain_name(data_type): _describe_type(data_type) for data_type in types},
        "app_data": {
            "appname": name,
            "app_version": "live" if environment == LIVE else "test",
            "use_captions_for_get": True,
        },
    }


def list_exposed_workflows(app: App) -> list[Workflow]:
    """The workflows that can be called over HTTP, by name."""
    return sorted((one for one in app.workflows.values() if one.api is not None), key=lambda one: one.name)


def list_exposed_types(app: App) -> list[DataType]:
    """The types that the Data API serves, by name."""
    return sorted((one for one in app.types.values() if one.is_in_api), key=lambda one: one.name)


def plain_name(data_type: DataType) -> str:
    """The type's name in a URL: lower case, without spaces."""
    return data_type.name.replace(" ", "").lower()


def bubble_type(field_type: FieldType) -> str:
    """The type as Bubble writes it: `text`, `list.text`, `geographic_address`, `user`, `custom.order`."""
    name = field_type.name
    if field_type.options is not None:
        name = f"option.{_internal(field_type.options.name)}"
    elif name == ScalarType.ADDRESS:
        name = _ADDRESS
    elif name == ScalarType.DATE_RANGE:
        name = "date_range"
    elif name == ScalarType.PASSWORD:
        name = "text"  # Bubble has no other type for it
    elif field_type.is_thing and name not in _BUILT_IN_TYPES:
        name = f"custom.{_internal(name)}"
    return f"list.{name}" if field_type.is_list else name


def _describe_workflow(workflow: Workflow) -> JsonValue:
    assert workflow.api is not None, "only such workflows are described"
    place = "query" if workflow.api.method == "GET" else "body"
    return {
        "endpoint": workflow.name,
        "method": workflow.api.method.lower(),
        "auth_unecessary": _AUTH[workflow.api.auth],
        "parameters": [
            {
                "key": known.name,
                "value": bubble_type(known.type),
                "optional": known.is_optional,
                "param_in": place,
            }
            for known in workflow.parameters
        ],
        "return_btype": dict(returned_types(workflow)),
    }


def returned_types(workflow: Workflow) -> dict[str, str]:
    """The keys that the workflow's `return` steps name, with their types as far as they can be seen; else `text`.
    Python is not looked at.
    """
    parameters = {known.name: bubble_type(known.type) for known in workflow.parameters}
    found: dict[str, str] = {}
    for step in walk_steps(workflow.steps):
        if step.action is StepAction.RETURN and isinstance(step.target, dict):
            found |= {key: _type_of(value, parameters) for key, value in step.target.items()}
    return found


def _type_of(value: JsonValue, parameters: dict[str, str]) -> str:
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str() if read := _PARAMETER.fullmatch(value.strip()):
            return parameters.get(read[1], "text")
        case _:
            return "text"


def _describe_type(data_type: DataType) -> JsonValue:
    return {
        "display": data_type.display or data_type.name,
        "fields": [
            {"id": internal_field_id(known), "display": known.name, "type": bubble_type(known.type)}
            for known in (*data_type.fields, *BUILT_IN_FIELDS)
        ],
    }


def _internal(name: str) -> str:
    return re.sub(r"[^a-z0-9_]", "_", name.lower())
