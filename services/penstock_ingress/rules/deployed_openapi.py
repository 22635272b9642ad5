"""The description of the public port with what an app exposes: each of its API workflows, and each type of the Data
API, beside the paths that every installation has.
"""

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from penstock.definitions.models import App, DataType, Workflow
from penstock_ingress.rules.meta import list_exposed_types, list_exposed_workflows, plain_name, returned_types
from penstock_ingress.rules.swagger import describe_type, describe_value

Document = dict[str, JsonValue]
_CALL = "/api/1.1/wf/{workflow}"
_TYPE = "/api/1.1/obj/{type}"
_MEDIA_TYPE = "application/json"


def describe_deployed(general: Mapping[str, JsonValue], app: App) -> Document:
    """`general` – what every installation has, in OpenAPI 3.1 – and a path for each workflow and type of `app`. The
    general paths stay: what is deployed changes, and they hold whatever it is.
    """
    paths = _object(general["paths"])
    components = _object(general["components"])
    types = list_exposed_types(app)
    schemas = {f"thing_{plain_name(one)}": describe_type(one) for one in types}
    return {
        **general,
        "info": {**_object(general["info"]), "title": f"Penstock public API of {app.name}"},
        "paths": {
            **{f"/api/1.1/wf/{one.name}": _workflow(one, _object(paths[_CALL])) for one in list_exposed_workflows(app)},
            **{path: item for one in types for path, item in _type_paths(one, paths)},
            **paths,
        },
        "components": {**components, "schemas": {**_object(components["schemas"]), **schemas}},
    }


def _workflow(workflow: Workflow, general: Document) -> JsonValue:
    assert workflow.api is not None, "only such workflows are described"
    method = workflow.api.method.lower()
    operation = _object(general[method])
    described: Document = {
        **operation,
        "operationId": f"wf_{workflow.name}",
        "summary": workflow.label or workflow.name,
        "description": f"For {_WHO[workflow.api.auth]}.",
        "parameters": _without(operation, "workflow"),
        "responses": {**_object(operation["responses"]), "200": _returned(workflow)},
    }
    if method == "get":
        described["parameters"] = [*_without(operation, "workflow"), *_query(workflow)]
    elif workflow.parameters:
        content = _object(_object(operation["requestBody"])["content"])
        required: list[JsonValue] = [known.name for known in workflow.parameters if not known.is_optional]
        schema: Document = {
            "type": "object",
            "properties": {known.name: describe_value(known.type) for known in workflow.parameters},
            "required": required,
        }
        described["requestBody"] = {
            "required": bool(required),
            "content": {media_type: {"schema": schema} for media_type in content},
        }
    return {method: described}


_WHO: Mapping[str, str] = {"public": "everyone", "user": "users and admins", "admin": "admins"}


def _query(workflow: Workflow) -> Iterator[JsonValue]:
    for known in workflow.parameters:
        yield {
            "name": known.name,
            "in": "query",
            "required": not known.is_optional,
            "schema": describe_value(known.type),
        }


def _returned(workflow: Workflow) -> JsonValue:
    """A workflow that returns text, a file or a redirect answers with that; what is seen here is its keys."""
    response: Document = {"type": "object", "properties": {name: {} for name in returned_types(workflow)}}
    success: Document = {"type": "object", "properties": {"status": {"type": "string"}, "response": response}}
    return {"description": "What it returned", "content": {_MEDIA_TYPE: {"schema": success}, "*/*": {}}}


def _type_paths(data_type: DataType, paths: Document) -> Iterator[tuple[str, JsonValue]]:
    """Each general path of the Data API, for this type."""
    name = plain_name(data_type)
    for path, item in paths.items():
        if path == _TYPE or path.startswith(f"{_TYPE}/"):
            yield (
                path.replace("{type}", name),
                {method: _of_type(_object(one), name) for method, one in _object(item).items()},
            )


def _of_type(operation: Document, name: str) -> JsonValue:
    thing: Document = {"$ref": f"#/components/schemas/thing_{name}"}
    shapes: dict[str, Document] = {
        "#/components/schemas/ThingPage": {"properties": {"results": {"type": "array", "items": thing}}},
        "#/components/schemas/ThingAnswer": thing,
    }
    responses = dict(_object(operation["responses"]))
    for status, answer in responses.items():
        known = _object(answer)
        schema = _object(_object(_object(known.get("content")).get(_MEDIA_TYPE)).get("schema"))
        shape = shapes.get(str(schema.get("$ref")))
        if shape is not None:
            both: Document = {"allOf": [schema, {"type": "object", "properties": {"response": shape}}]}
            responses[status] = {**known, "content": {_MEDIA_TYPE: {"schema": both}}}
    return {
        **operation,
        "operationId": f"{operation['operationId']}_{name}",
        "parameters": _without(operation, "type"),
        "responses": responses,
    }


def _without(operation: Document, name: str) -> list[JsonValue]:
    """The operation's parameters but the one that the path holds now."""
    parameters = operation["parameters"]
    assert isinstance(parameters, list)
    return [one for one in parameters if _object(one)["name"] != name]


def _object(value: JsonValue) -> Document:
    return value if isinstance(value, dict) else {}
