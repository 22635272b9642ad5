"""The same as a Swagger 2.0 document, as Bubble's `/meta/swagger.json`."""

from typing import Final

from pydantic import JsonValue

from penstock.definitions.fields import BUILT_IN_FIELDS
from penstock.definitions.models import App, DataType, FieldType, Parameter, ScalarType, Workflow
from penstock_ingress.rules.meta import list_exposed_types, list_exposed_workflows, plain_name, returned_types

Document = dict[str, JsonValue]
_JSON: Final[JsonValue] = ["application/json"]
_FORMS: Final[JsonValue] = ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"]
_STATUSES: Final = {
    "400": "Bad request: a parameter or a condition",
    "401": "The token is wrong, or one is needed",
    "404": "There is nothing of this name",
    "405": "The method is not allowed",
    "429": "Too many requests",
    "500": "It failed",
    "503": "Nothing was decided; send it again after Retry-After",
}
_SCALARS: Final[dict[str, Document]] = {
    ScalarType.TEXT: {"type": "string"},
    ScalarType.NUMBER: {"type": "number"},
    ScalarType.BOOLEAN: {"type": "boolean"},
    ScalarType.DATE: {"type": "string", "format": "date-time"},
    ScalarType.DATE_RANGE: {"type": "array", "items": {"type": "string", "format": "date-time"}},
    ScalarType.FILE: {"type": "string"},
    ScalarType.IMAGE: {"type": "string"},
    ScalarType.ADDRESS: {
        "type": "object",
        "properties": {"address": {"type": "string"}, "lat": {"type": "number"}, "lng": {"type": "number"}},
    },
    ScalarType.PASSWORD: {"type": "string", "format": "password"},
    ScalarType.ANY: {},
}
_UNIQUE_ID: Final[Document] = {"name": "UniqueID", "in": "path", "required": True, "type": "string"}
_LIST_QUERY: Final = (
    ("constraints", "string", "A JSON list of {key, constraint_type, value}"),
    ("cursor", "integer", "How many to pass over"),
    ("limit", "integer", "The size of a page, at most 100"),
    ("sort_field", "string", "The field to sort by"),
    ("geo_reference", "string", "The place from which an address is sorted by distance: lat,lng"),
    ("descending", "boolean", "Sort the other way round"),
    ("additional_sort_fields", "string", "A JSON list of {sort_field, descending}"),
    ("exclude_remaining", "boolean", "Do not count what remains"),
)


def describe_swagger(app: App | None, name: str, prefix: str) -> Document:
    """The document for the paths behind `prefix` (nothing, `/version-test` …)."""
    workflows = [] if app is None else list_exposed_workflows(app)
    types = [] if app is None else list_exposed_types(app)
    paths: Document = {f"/wf/{workflow.name}": _describe_workflow(workflow) for workflow in workflows}
    for data_type in types:
        path = f"/obj/{plain_name(data_type)}"
        paths[path] = {"get": _list_operation(data_type), "post": _create_operation(data_type)}
        paths[f"{path}/{{UniqueID}}"] = {
            "get": _get_operation(data_type),
            "patch": _change_operation(data_type, "modify", "Change"),
            "put": _change_operation(data_type, "replace", "Replace"),
            "delete": _delete_operation(data_type),
        }
        paths[f"{path}/bulk"] = {"post": _bulk_operation(data_type)}
    return {
        "swagger": "2.0",
        "info": {"title": name, "version": "1.1", "description": "API workflows and the Data API of this app"},
        "basePath": f"{prefix}/api/1.1",
        "consumes": _JSON,
        "produces": _JSON,
        "tags": [{"name": "Workflow"}, {"name": "Data"}],
        "securityDefinitions": {"api_token": {"type": "apiKey", "name": "api_token", "in": "query"}},
        "security": [{"api_token": []}],
        "paths": paths,
        "definitions": {plain_name(data_type): describe_type(data_type) for data_type in types},
    }


def _describe_workflow(workflow: Workflow) -> JsonValue:
    assert workflow.api is not None, "only such workflows are described"
    is_get = workflow.api.method == "GET"
    operation: Document = {
        "tags": ["Workflow"],
        "summary": workflow.label or workflow.name,
        "operationId": f"wf_{workflow.name}",
        "parameters": [_in_query(known) for known in workflow.parameters] if is_get else _in_body(workflow),
        "responses": {"200": {"description": "What it returned", "schema": _success(workflow)}, **_failures()},
    }
    if not is_get:
        operation["consumes"] = _FORMS
    return {workflow.api.method.lower(): operation}


def _in_query(known: Parameter) -> JsonValue:
    schema = describe_value(known.type)
    if known.type.is_list:
        item = schema["items"]
        typed: Document = {"type": "array", "items": item, "collectionFormat": "multi"}
        if not isinstance(item, dict) or item.get("type", "object") == "object":
            typed["items"] = {"type": "string"}
    else:
        typed = {"type": "string"} if schema.get("type", "object") == "object" else schema
    return {"name": known.name, "in": "query", "required": not known.is_optional, **typed}


def _in_body(workflow: Workflow) -> JsonValue:
    if not workflow.parameters:
        return []
    schema: Document = {
        "type": "object",
        "properties": {known.name: describe_value(known.type) for known in workflow.parameters},
    }
    required: list[JsonValue] = [known.name for known in workflow.parameters if not known.is_optional]
    if required:
        schema["required"] = required
    return [{"name": "body", "in": "body", "required": bool(required), "schema": schema}]


def _success(workflow: Workflow) -> JsonValue:
    response: Document = {"type": "object", "properties": {name: {} for name in returned_types(workflow)}}
    return {"type": "object", "properties": {"status": {"type": "string"}, "response": response}}


def _list_operation(data_type: DataType) -> JsonValue:
    name = plain_name(data_type)
    page: Document = {
        "cursor": {"type": "integer"},
        "results": {"type": "array", "items": {"$ref": f"#/definitions/{name}"}},
        "count": {"type": "integer"},
        "remaining": {"type": "integer"},
    }
    return {
        "tags": ["Data"],
        "summary": f"Things of the type {data_type.display or data_type.name}",
        "operationId": f"list_{name}",
        "parameters": [
            {"name": key, "in": "query", "required": False, "type": kind, "description": about}
            for key, kind, about in _LIST_QUERY
        ],
        "responses": {"200": _response({"type": "object", "properties": page}), **_failures()},
    }


def _get_operation(data_type: DataType) -> JsonValue:
    found = _response({"$ref": f"#/definitions/{plain_name(data_type)}"})
    return {**_operation(data_type, "get", "A thing"), "parameters": [_UNIQUE_ID], "responses": _answers("200", found)}


def _create_operation(data_type: DataType) -> JsonValue:
    schema: JsonValue = {"type": "object", "properties": {"status": {"type": "string"}, "id": {"type": "string"}}}
    made: Document = {"description": "Created", "schema": schema}
    operation = _operation(data_type, "create", "Create a thing")
    return {**operation, "parameters": [_fields(data_type)], "responses": _answers("201", made)}


def _change_operation(data_type: DataType, verb: str, summary: str) -> JsonValue:
    operation = _operation(data_type, verb, f"{summary} a thing")
    done: Document = {"description": "Done"}
    return {**operation, "parameters": [_UNIQUE_ID, _fields(data_type)], "responses": _answers("204", done)}


def _delete_operation(data_type: DataType) -> JsonValue:
    operation = _operation(data_type, "delete", "Delete a thing")
    return {**operation, "parameters": [_UNIQUE_ID], "responses": _answers("204", {"description": "Deleted"})}


def _bulk_operation(data_type: DataType) -> JsonValue:
    lines: Document = {"name": "body", "in": "body", "required": True, "schema": {"type": "string"}}
    done: Document = {"description": "A line of JSON for each line", "schema": {"type": "string"}}
    return {
        **_operation(data_type, "bulk", "Create many things, a JSON object in each line"),
        "consumes": ["text/plain"],
        "produces": ["text/plain"],
        "parameters": [lines],
        "responses": _answers("200", done),
    }


def _operation(data_type: DataType, verb: str, summary: str) -> Document:
    return {
        "tags": ["Data"],
        "summary": f"{summary} of the type {data_type.display or data_type.name}",
        "operationId": f"{verb}_{plain_name(data_type)}",
    }


def _fields(data_type: DataType) -> JsonValue:
    properties: Document = {known.name: describe_value(known.type) for known in data_type.fields}
    return {"name": "body", "in": "body", "required": True, "schema": {"type": "object", "properties": properties}}


def _answers(status: str, success: JsonValue) -> Document:
    return {status: success, **_failures()}


def _response(schema: JsonValue) -> JsonValue:
    return {"description": "Found", "schema": {"type": "object", "properties": {"response": schema}}}


def _failures() -> Document:
    return {status: {"description": description} for status, description in _STATUSES.items()}


def describe_type(data_type: DataType) -> JsonValue:
    """The schema of a thing: every field that it may have."""
    fields = (*data_type.fields, *BUILT_IN_FIELDS)
    return {"type": "object", "properties": {known.name: describe_value(known.type) for known in fields}}


def describe_value(field_type: FieldType) -> Document:
    """The schema of a value; a thing is its id."""
    one = _SCALARS.get(field_type.name, {"type": "string"})
    if field_type.options is not None:
        one = {"type": "string", "enum": [*field_type.options.values]}
    return {"type": "array", "items": one} if field_type.is_list else one
