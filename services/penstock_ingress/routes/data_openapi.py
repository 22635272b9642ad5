"""The Data API, as the public port describes it."""

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from penstock_ingress.routes.openapi_parts import (
    ANY,
    JSON,
    NUMBER,
    REF,
    TEXT,
    TOO_MANY,
    UNREADABLE,
    YES_NO,
    Document,
    answer,
    bad_request,
    parameter,
    problem,
)

_THINGS: Final[Document] = {
    "operationId": "get_things",
    "tags": ["Data API"],
    "summary": "Things of a type, page by page",
    "description": "Only what the privacy rules let the caller find and see. sort_field=_random_sorting shuffles.",
    "parameters": [
        parameter("type", "Its name, in lower case and without spaces"),
        parameter("constraints", "A JSON list of `{key, constraint_type, value}`", place="query"),
        parameter("sort_field", "The field to sort by", place="query"),
        parameter("descending", "Sort the other way round", place="query", schema=YES_NO),
        parameter("additional_sort_fields", "A JSON list of `{sort_field, descending}`", place="query"),
        parameter("geo_reference", "Where to measure from, if an address is sorted by: lat,lng", place="query"),
        parameter("exclude_remaining", "Do not count what remains", place="query", schema=YES_NO),
        parameter("cursor", "How many to pass over", place="query", schema=NUMBER),
        parameter("limit", "The size of a page, at most 100", place="query", schema=NUMBER),
        parameter(
            "after", "Empty for the first page, then what the page before gave; instead of cursor", place="query"
        ),
    ],
    "responses": {
        "200": {
            **answer("A page; or all things, one a line, for Accept: application/x-ndjson", "ThingPage"),
            "content": {JSON: {"schema": {"$ref": f"{REF}ThingPage"}}, "application/x-ndjson": {"schema": TEXT}},
        },
        "400": answer("A constraint or the order cannot be read, or is by a hidden field", "Failure"),
        "401": answer("The token is wrong", "Unauthorized"),
        "404": answer("There is no such type here", "Failure"),
        "429": TOO_MANY,
        "503": problem("Send it again after Retry-After"),
    },
}
_THING: Final[Document] = {
    "operationId": "get_thing",
    "tags": ["Data API"],
    "summary": "One thing",
    "parameters": [parameter("type", "Its type"), parameter("id", "Its `_id`")],
    "responses": {
        "200": answer("The thing", "ThingAnswer"),
        "400": UNREADABLE,
        "401": answer("The token is wrong", "Unauthorized"),
        "404": answer("There is no such thing that the caller may find", "Failure"),
        "429": TOO_MANY,
        "503": problem("Send it again after Retry-After"),
    },
}


def _writing(operation: str, summary: str, success: Mapping[str, Document], *, has_body: bool = True) -> Document:
    parameters = _PARAMETERS.get(operation, _TYPE)
    is_firm = _KEY in parameters
    responses: Document = {
        **success,
        "400": bad_request("A field does not exist, a value does not fit it, or a header cannot be read"),
        "401": answer("The token is wrong, or the caller may not do that", "Unauthorized"),
        "404": answer("There is no such type, or no such thing that the caller may find", "Failure"),
        "429": TOO_MANY,
        "503": problem("Send it again after Retry-After"),
    }
    described: Document = {
        "operationId": operation,
        "tags": ["Data API"],
        "summary": summary,
        "description": "Admins may do that, and whom a privacy rule lets.",
        "parameters": parameters,
        "responses": responses,
    }
    if _MATCH in parameters:
        responses["412"] = problem("The thing is not in the state that If-Match names")
    if is_firm:
        responses["422"] = problem("The Idempotency-Key belongs to another request")
    if has_body:
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": ANY}}}
        responses |= {
            "408": problem("The body came too slowly"),
            "413": problem("The body is too large"),
            "415": problem("The body is compressed"),
        }
    return described


_TYPE: Final[list[JsonValue]] = [parameter("type", "Its name, in lower case and without spaces")]
_KEY: Final = parameter("Idempotency-Key", "Done once, however often it is sent within 24 hours", place="header")
_MATCH: Final = parameter("If-Match", "Done only if the thing has one of these ETags", place="header")
_LISTS: Final = parameter(
    "lists",
    "Whether list fields are set, added to, or removed from",
    place="query",
    schema={"enum": ["set", "add", "remove"]},
)
_UPSERT: Final = parameter(
    "upsert", "Unique fields, comma-separated: change the thing with the same values, if there is one", place="query"
)
_WHERE: Final = parameter("constraints", "A JSON list of `{key, constraint_type, value}`; [] means all", place="query")
_BOTH: Final[list[JsonValue]] = [*_TYPE, parameter("id", "Its `_id`"), _KEY, _MATCH]
_PARAMETERS: Final[Mapping[str, list[JsonValue]]] = {
    "create_thing": [*_TYPE, _KEY, _UPSERT, _LISTS],
    "create_things": [*_TYPE, _KEY],
    "modify_thing": [*_BOTH, _LISTS],
    "replace_thing": _BOTH,
    "delete_thing": _BOTH,
    "modify_things": [*_TYPE, _WHERE],
    "delete_things": [*_TYPE, _WHERE],
}
_COUNTED: Final[Mapping[str, Document]] = {"200": {"description": "How many", "content": {JSON: {"schema": ANY}}}}
_DONE: Final[Document] = {"description": "Done"}
_LINES: Final[Document] = {"text/plain": {"schema": TEXT}}
_BULK: Final[Document] = {
    **_writing(
        "create_things", "Create things, one for each line of JSON, at most 1,000",
        {"200": {"description": "A line for each: its id, or what was wrong", "content": _LINES}},
    ),
    "requestBody": {"required": True, "content": _LINES},
}  # fmt: skip
DATA_PATHS: Final[Document] = {
    "/api/1.1/obj/{type}": {
        "get": _THINGS,
        "post": _writing(
            "create_thing",
            "Create a thing",
            {
                "201": answer("Its id", "Created"),
                "200": answer("The id of the one that an upsert has changed", "Created"),
            },
        ),
        "patch": _writing("modify_things", "Set fields of all things that meet constraints; for admins", _COUNTED),
        "delete": _writing(
            "delete_things", "Delete all things that meet constraints; for admins", _COUNTED, has_body=False
        ),
    },
    "/api/1.1/obj/{type}/bulk": {"post": _BULK},
    "/api/1.1/obj/{type}/{id}": {
        "get": _THING,
        "patch": _writing("modify_thing", "Change fields of a thing; null empties one", {"204": _DONE}),
        "put": _writing("replace_thing", "Set all fields of a thing", {"204": _DONE}),
        "delete": _writing("delete_thing", "Delete a thing", {"204": _DONE}, has_body=False),
    },
}
