"""The description of the public port (OpenAPI 3.1) as every installation has it; what one's app exposes is added by
`rules/deployed_openapi.py`.
"""

from functools import cache
from importlib.metadata import version
from typing import Final

from pydantic import JsonValue

Document = dict[str, JsonValue]
_JSON: Final = "application/json"
_PROBLEM: Final = "application/problem+json"
_REF: Final = "#/components/schemas/"
_TEXT: Final[Document] = {"type": "string"}
_NUMBER: Final[Document] = {"type": "integer"}
_YES_NO: Final[Document] = {"type": "boolean"}
_ANY: Final[Document] = {"type": "object", "additionalProperties": True}
_DESCRIPTION: Final = (
    "API workflows and the Data API in the format of Bubble's, and webhooks. These paths are live; behind "
    "/version-test they are those of development.\n\n"
    "Who may call a workflow is declared by its app. An admin token comes as Authorization: Bearer, or as api_token in "
    "the query."
)


@cache
def describe_public() -> Document:
    """The whole document; not to be changed."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Penstock public API", "version": version("penstock"), "description": _DESCRIPTION},
        "servers": [{"url": "/", "description": "live"}, {"url": "/version-test", "description": "development"}],
        "security": [{}, {"bearer": []}, {"query": []}],
        "paths": {
            "/api/1.1/wf/{workflow}": {"post": _call("post"), "get": _call("get")},
            "/api/1.1/wf/{workflow}/initialize": {"post": _initialize()},
            "/api/1.1/runs/{id}": {"get": _RUN},
            "/api/1.1/obj/{type}": {"get": _THINGS},
            "/api/1.1/obj/{type}/{id}": {"get": _THING},
            "/api/1.1/meta": {"get": _meta("get_meta", "What is exposed, in Bubble's form")},
            "/api/1.1/meta/swagger.json": {"get": _meta("get_swagger", "What is exposed, as Swagger 2.0")},
            "/fileupload/{id}/{name}": {"get": _FILE},
            "/webhooks/{source}": {"post": _WEBHOOK, "get": _HANDSHAKE},
        },
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A token"},
                "query": {"type": "apiKey", "in": "query", "name": "api_token", "description": "The same token"},
            },
            "schemas": _SCHEMAS,
        },
    }


def _answer(about: str, shape: str, media_type: str = _JSON) -> Document:
    return {"description": about, "content": {media_type: {"schema": {"$ref": _REF + shape}}}}


def _problem(about: str) -> Document:
    return _answer(about, "Problem", _PROBLEM)


def _bad_request(about: str) -> Document:
    """400 in either form: Bubble's for what its clients know, a problem for headers and for a broken body."""
    forms: Document = {_JSON: {"schema": {"$ref": f"{_REF}Failure"}}, _PROBLEM: {"schema": {"$ref": f"{_REF}Problem"}}}
    return {"description": about, "content": forms}


def _parameter(name: str, about: str, *, place: str = "path", schema: Document | None = None) -> Document:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": about,
        "schema": schema or _TEXT,
    }


_TOO_MANY: Final = _problem("The caller comes too often, or with too many wrong tokens; try again after Retry-After")
_UNREADABLE: Final = _answer("The query cannot be read", "Failure")


def _call(method: str) -> Document:
    operation: Document = {
        "operationId": f"{method}_workflow",
        "tags": ["Workflows"],
        "summary": "Call a workflow and wait for its answer",
        "description": "Its parameters come from JSON, a form or the query; each workflow takes either POST or GET.",
        "parameters": [
            _parameter("workflow", "Its name"),
            _parameter("Idempotency-Key", "The same key is the same run, for 24 hours", place="header"),
            _parameter("Prefer", "`respond-async`, or `wait=N` seconds: 202 with Location", place="header"),
        ],
        "responses": {
            "200": _answer("What it returned", "Success"),
            "202": _answer("It still runs; Location leads to its answer", "Accepted"),
            "302": {"description": "It returned `redirect`"},
            "400": _bad_request("A parameter or a header is wrong, its condition was not met, or it failed on purpose"),
            "401": _answer("The token is wrong, or one is needed", "Unauthorized"),
            "404": _answer("There is no such workflow for this method", "Failure"),
            "408": _problem("The body came too slowly"),
            "413": _problem("The body is too large"),
            "415": _problem("The body is compressed, or of a type that cannot be read"),
            "422": _problem("The key was used for another request"),
            "500": _answer("It failed", "Failure"),
            "429": _TOO_MANY,
            "503": _problem("Nothing was decided; send it again after Retry-After"),
        },
    }
    if method == "post":
        media_types = (_JSON, "application/x-www-form-urlencoded", "multipart/form-data")
        content: Document = {name: {"schema": _ANY} for name in media_types}
        operation["requestBody"] = {"required": False, "content": content}
    return operation


def _initialize() -> Document:
    called = _call("post")
    responses = called["responses"]
    assert isinstance(responses, dict)
    kept = ("401", "408", "413", "415", "429", "503")
    return {
        **called,
        "operationId": "initialize_workflow",
        "summary": "Detect a workflow's parameters from a sample",
        "description": "Behind /version-test alone. Nothing runs, and the values are not kept. A workflow that is not "
        "public needs the token of an operator.",
        "parameters": [_parameter("workflow", "Its name")],
        "responses": {
            "200": _answer("Names and types are proposed", "Detected"),
            "400": _bad_request("The sample cannot be read"),
            "404": _answer("There is no such workflow for POST, or this is live", "Failure"),
            **{status: responses[status] for status in kept},
        },
    }


def _meta(operation: str, summary: str) -> Document:
    return {
        "operationId": operation,
        "tags": ["Meta"],
        "summary": summary,
        "description": "Workflows with an api trigger and types of the Data API, by name.",
        "responses": {
            "200": {"description": "The document", "content": {_JSON: {"schema": _ANY}}},
            "400": _UNREADABLE,
            "401": _answer("The token is wrong", "Unauthorized"),
            "404": _answer("It is hidden from those without an admin token", "Failure"),
            "429": _TOO_MANY,
            "503": _problem("Send it again after Retry-After"),
        },
    }


_RUN: Final[Document] = {
    "operationId": "get_run",
    "tags": ["Workflows"],
    "summary": "What became of a call",
    "description": "For its caller only: an admin, or the address from which it was started.",
    "parameters": [_parameter("id", "Of the run, as `Penstock-Run-Id` names it", schema={**_TEXT, "format": "uuid"})],
    "responses": {
        "200": _answer("Its state, and its answer once there is one", "RunStatus"),
        "400": _UNREADABLE,
        "401": _answer("The token is wrong", "Unauthorized"),
        "404": _problem("The caller has started no such run"),
        "429": _TOO_MANY,
        "503": _problem("Send it again after Retry-After"),
    },
}
_FILE: Final[Document] = {
    "operationId": "get_file",
    "tags": ["Files"],
    "summary": "A file that came with a call of a workflow",
    "parameters": [_parameter("id", "Its id, which nobody can guess"), _parameter("name", "Its name; not looked at")],
    "responses": {
        "200": {"description": "Its content", "content": {"*/*": {}}},
        "404": _problem("There is no such file"),
        "503": _problem("Send it again after Retry-After"),
    },
}
_THINGS: Final[Document] = {
    "operationId": "get_things",
    "tags": ["Data API"],
    "summary": "Things of a type, page by page",
    "description": "Only what the privacy rules let the caller find and see.",
    "parameters": [
        _parameter("type", "Its name, in lower case and without spaces"),
        _parameter("constraints", "A JSON list of `{key, constraint_type, value}`", place="query"),
        _parameter("sort_field", "The field to sort by", place="query"),
        _parameter("descending", "Sort the other way round", place="query", schema=_YES_NO),
        _parameter("additional_sort_fields", "A JSON list of `{sort_field, descending}`", place="query"),
        _parameter("exclude_remaining", "Do not count what remains", place="query", schema=_YES_NO),
        _parameter("cursor", "How many to pass over", place="query", schema=_NUMBER),
        _parameter("limit", "The size of a page, at most 100", place="query", schema=_NUMBER),
    ],
    "responses": {
        "200": _answer("A page", "ThingPage"),
        "400": _answer("A constraint or the order cannot be read", "Failure"),
        "401": _answer("The token is wrong", "Unauthorized"),
        "404": _answer("There is no such type here", "Failure"),
        "429": _TOO_MANY,
        "503": _problem("Send it again after Retry-After"),
    },
}
_THING: Final[Document] = {
    "operationId": "get_thing",
    "tags": ["Data API"],
    "summary": "One thing",
    "parameters": [_parameter("type", "Its type"), _parameter("id", "Its `_id`")],
    "responses": {
        "200": _answer("The thing", "ThingAnswer"),
        "400": _UNREADABLE,
        "401": _answer("The token is wrong", "Unauthorized"),
        "404": _answer("There is no such thing that the caller may see", "Failure"),
        "429": _TOO_MANY,
        "503": _problem("Send it again after Retry-After"),
    },
}
_WEBHOOK: Final[Document] = {
    "operationId": "post_webhook",
    "tags": ["Webhooks"],
    "summary": "Deliver a webhook",
    "description": "Signed as the source's scheme has it. Answered when it and its runs are stored, in the form that "
    "its provider wants; a handshake is answered as the provider documents it.",
    "parameters": [
        _parameter("source", "Its name in app.yaml"),
        _parameter("validationToken", "Of Microsoft Graph: answered as plain text", place="query"),
    ],
    "requestBody": {"required": True, "content": {"*/*": {}}},
    "security": [{}],
    "responses": {
        "200": {
            "description": "It is stored, or was before",
            "content": {
                _JSON: {"schema": {"anyOf": [{"$ref": f"{_REF}Delivery"}, _ANY]}},
                "text/xml": {"schema": _TEXT},
                "text/plain": {"schema": _TEXT},
            },
        },
        "202": _answer("The same, to Microsoft Graph", "Delivery"),
        "204": {"description": "The same, to Discord"},
        "400": _problem("It can be read neither as JSON nor as a form"),
        "401": _problem("The signature is missing, wrong or too old"),
        "404": _problem("There is no such source"),
        "408": _problem("The body came too slowly"),
        "413": _problem("The body is too large"),
        "415": _problem("The body is compressed"),
        "503": _problem("Nothing was stored; send it again after Retry-After"),
    },
}


_HANDSHAKE: Final[Document] = {
    "operationId": "get_webhook",
    "tags": ["Webhooks"],
    "summary": "Verify the address of a source",
    "description": "By Meta (`hub.challenge`) and Dropbox (`challenge`) alone.",
    "parameters": [
        _parameter("source", "Its name in app.yaml"),
        _parameter("challenge", "What Dropbox wants to read again", place="query"),
        _parameter("hub.mode", "`subscribe`", place="query"),
        _parameter("hub.verify_token", "The source's `verify_token`", place="query"),
        _parameter("hub.challenge", "What Meta wants to read again", place="query"),
    ],
    "security": [{}],
    "responses": {
        "200": {"description": "The challenge", "content": {"text/plain": {"schema": _TEXT}}},
        "400": _problem("There is no challenge, or it is too long"),
        "401": _problem("The token is not the source's"),
        "404": _problem("There is no such source"),
        "405": _problem("The provider of this source sends deliveries only"),
        "503": _problem("Nothing was decided; send it again after Retry-After"),
    },
}


def _shape(about: str, required: tuple[str, ...], **fields: JsonValue) -> Document:
    return {"type": "object", "description": about, "required": list(required), "properties": fields}


_SCHEMAS: Final[Document] = {
    "Success": _shape(
        "What a workflow returned",
        ("status", "response"),
        status={"const": "success"},
        response={**_ANY, "description": "The keys that it returned; none if it returned nothing"},
    ),
    "Detected": _shape("A sample was looked at", ("status",), status={"const": "success"}),
    "Accepted": _shape("A run that has not answered yet", ("status", "run_id"), status={"const": "accepted"},
                       run_id=_TEXT),
    "Failure": _shape(
        "What Bubble answers where something is wrong",
        ("statusCode", "body"),
        statusCode=_NUMBER,
        body=_shape("", ("status", "message"), status={**_TEXT, "description": "MISSING_DATA, NOT_RUN, ERROR …"},
                    message=_TEXT),
    ),
    "Unauthorized": _shape(
        "What Bubble answers to a wrong token",
        ("error_class", "args", "message", "translation"),
        error_class={"const": "Unauthorized"},
        args=_ANY,
        message={"type": "null"},
        translation={**_TEXT, "description": "What was wrong"},
    ),
    "RunStatus": _shape(
        "A run, as its caller sees it",
        ("status", "run_id", "workflow", "state"),
        status={"enum": ["accepted", "success", "NOT_RUN", "ERROR"]},
        run_id=_TEXT,
        workflow=_TEXT,
        state=_TEXT,
        response={**_ANY, "description": "What it returned"},
        message={**_TEXT, "description": "Why it failed"},
    ),
    "ThingPage": _shape(
        "A page of things",
        ("response",),
        response=_shape("", ("cursor", "results", "count"), cursor=_NUMBER,
                        results={"type": "array", "items": _ANY}, count=_NUMBER, remaining=_NUMBER),
    ),
    "ThingAnswer": _shape("A thing", ("response",), response=_ANY),
    "Delivery": _shape(
        "A delivery that is stored",
        ("status", "delivery_id", "run_ids", "duplicate"),
        status={"const": "accepted"},
        delivery_id=_TEXT,
        run_ids={"type": "array", "items": _TEXT},
        duplicate={"type": "boolean", "description": "Whether it came before; the ids are those of the first time"},
    ),
    "Problem": _shape(
        "A problem document (RFC 9457)",
        ("type", "title", "status", "detail"),
        type=_TEXT,
        title=_TEXT,
        status=_NUMBER,
        detail={**_TEXT, "description": "What was wrong, and what to do"},
    ),
}  # fmt: skip
