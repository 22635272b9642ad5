"""The description of the public port (OpenAPI 3.1) as every installation has it; what one's app exposes is added by
`rules/deployed_openapi.py`.
"""

from functools import cache
from importlib.metadata import version
from typing import Final

from pydantic import JsonValue

from penstock_ingress.routes.data_openapi import DATA_PATHS
from penstock_ingress.routes.openapi_parts import (
    ANY,
    JSON,
    NUMBER,
    REF,
    TEXT,
    TOO_MANY,
    UNREADABLE,
    Document,
    answer,
    bad_request,
    parameter,
    problem,
)

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
            **DATA_PATHS,
            "/api/1.1/meta": {"get": _meta("get_meta", "What is exposed, in Bubble's form")},
            "/api/1.1/meta/swagger.json": {"get": _meta("get_swagger", "What is exposed, as Swagger 2.0")},
            "/fileupload/{id}/{name}": {"get": _FILE},
            "/approvals/{token}": {"get": _approval("get"), "post": _approval("post")},
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


def _call(method: str) -> Document:
    operation: Document = {
        "operationId": f"{method}_workflow",
        "tags": ["Workflows"],
        "summary": "Call a workflow and wait for its answer",
        "description": "Its parameters come from JSON, a form or the query; each workflow takes either POST or GET.",
        "parameters": [
            parameter("workflow", "Its name"),
            parameter("Idempotency-Key", "The same key is the same run, for 24 hours", place="header"),
            parameter("Prefer", "`respond-async`, or `wait=N` seconds: 202 with Location", place="header"),
        ],
        "responses": {
            "200": answer("What it returned", "Success"),
            "202": answer("It still runs; Location leads to its answer", "Accepted"),
            "302": {"description": "It returned `redirect`"},
            "400": bad_request("A parameter or a header is wrong, its condition was not met, or it failed on purpose"),
            "401": answer("The token is wrong, or one is needed", "Unauthorized"),
            "404": answer("There is no such workflow for this method", "Failure"),
            "408": problem("The body came too slowly"),
            "413": problem("The body is too large"),
            "415": problem("The body is compressed, or of a type that cannot be read"),
            "422": problem("The key was used for another request"),
            "500": answer("It failed", "Failure"),
            "429": TOO_MANY,
            "503": problem("Nothing was decided; send it again after Retry-After"),
        },
    }
    if method == "post":
        media_types = (JSON, "application/x-www-form-urlencoded", "multipart/form-data")
        content: Document = {name: {"schema": ANY} for name in media_types}
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
        "parameters": [parameter("workflow", "Its name")],
        "responses": {
            "200": answer("Names and types are proposed", "Detected"),
            "400": bad_request("The sample cannot be read"),
            "404": answer("There is no such workflow for POST, or this is live", "Failure"),
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
            "200": {"description": "The document", "content": {JSON: {"schema": ANY}}},
            "400": UNREADABLE,
            "401": answer("The token is wrong", "Unauthorized"),
            "404": answer("It is hidden from those without an admin token", "Failure"),
            "429": TOO_MANY,
            "503": problem("Send it again after Retry-After"),
        },
    }


_RUN: Final[Document] = {
    "operationId": "get_run",
    "tags": ["Workflows"],
    "summary": "What became of a call",
    "description": "For its caller only: an admin, or the address from which it was started.",
    "parameters": [parameter("id", "Of the run, as `Penstock-Run-Id` names it", schema={**TEXT, "format": "uuid"})],
    "responses": {
        "200": answer("Its state, and its answer once there is one", "RunStatus"),
        "400": UNREADABLE,
        "401": answer("The token is wrong", "Unauthorized"),
        "404": problem("The caller has started no such run"),
        "429": TOO_MANY,
        "503": problem("Send it again after Retry-After"),
    },
}
_FILE: Final[Document] = {
    "operationId": "get_file",
    "tags": ["Files"],
    "summary": "A file that came with a call of a workflow",
    "parameters": [parameter("id", "Its id, which nobody can guess"), parameter("name", "Its name; not looked at")],
    "responses": {
        "200": {"description": "Its content", "content": {"*/*": {}}},
        "404": problem("There is no such file"),
        "503": problem("Send it again after Retry-After"),
    },
}


def _approval(method: str) -> Document:
    """Pages for people: none of them is a problem document, but for a body that is not a form."""
    shown: Document = {"text/html": {"schema": {"type": "string"}}}
    is_answer = method == "post"
    responses: Document = {
        "200": {"description": "Thanks" if is_answer else "The form", "content": shown},
        "404": {"description": "There is no such link", "content": shown},
        "409": {"description": "The run has not come to that step yet", "content": shown},
        "410": {"description": "It was used, or its time is over", "content": shown},
        "503": problem("Send it again after Retry-After"),
    }
    described: Document = {
        "operationId": f"{method}_approval",
        "tags": ["Approvals"],
        "summary": "Answer what a run waits for, once" if is_answer else "The form of a link of `wait_for`",
        "parameters": [parameter("token", "Signed; who has it may answer")],
        "security": [{}],
        "responses": responses,
    }
    if not is_answer:
        return described
    responses |= {
        "400": problem("The body is not a form"),
        "408": problem("The body did not arrive in time"),
        "413": problem("The body is too large"),
        "415": problem("The body is of another type, or compressed"),
        "422": {"description": "The form again, with what is wrong", "content": shown},
    }
    form: Document = {"schema": {"type": "object", "additionalProperties": {"type": "string"}}}
    return {**described, "requestBody": {"content": {"application/x-www-form-urlencoded": form}}}


_WEBHOOK: Final[Document] = {
    "operationId": "post_webhook",
    "tags": ["Webhooks"],
    "summary": "Deliver a webhook",
    "description": "Signed as the source's scheme has it. Answered when it and its runs are stored, in the form that "
    "its provider wants; a handshake is answered as the provider documents it.",
    "parameters": [
        parameter("source", "Its name in app.yaml"),
        parameter("validationToken", "Of Microsoft Graph: answered as plain text", place="query"),
    ],
    "requestBody": {"required": True, "content": {"*/*": {}}},
    "security": [{}],
    "responses": {
        "200": {
            "description": "It is stored, or was before",
            "content": {
                JSON: {"schema": {"anyOf": [{"$ref": f"{REF}Delivery"}, ANY]}},
                "text/xml": {"schema": TEXT},
                "text/plain": {"schema": TEXT},
            },
        },
        "202": answer("The same, to Microsoft Graph", "Delivery"),
        "204": {"description": "The same, to Discord"},
        "400": problem("It can be read neither as JSON nor as a form"),
        "401": problem("The signature is missing, wrong or too old"),
        "404": problem("There is no such source"),
        "408": problem("The body came too slowly"),
        "413": problem("The body is too large"),
        "415": problem("The body is compressed"),
        "503": problem("Nothing was stored; send it again after Retry-After"),
    },
}


_HANDSHAKE: Final[Document] = {
    "operationId": "get_webhook",
    "tags": ["Webhooks"],
    "summary": "Verify the address of a source",
    "description": "By Meta (`hub.challenge`) and Dropbox (`challenge`) alone.",
    "parameters": [
        parameter("source", "Its name in app.yaml"),
        parameter("challenge", "What Dropbox wants to read again", place="query"),
        parameter("hub.mode", "`subscribe`", place="query"),
        parameter("hub.verify_token", "The source's `verify_token`", place="query"),
        parameter("hub.challenge", "What Meta wants to read again", place="query"),
    ],
    "security": [{}],
    "responses": {
        "200": {"description": "The challenge", "content": {"text/plain": {"schema": TEXT}}},
        "400": problem("There is no challenge, or it is too long"),
        "401": problem("The token is not the source's"),
        "404": problem("There is no such source"),
        "405": problem("The provider of this source sends deliveries only"),
        "503": problem("Nothing was decided; send it again after Retry-After"),
    },
}


def _shape(about: str, required: tuple[str, ...], **fields: JsonValue) -> Document:
    return {"type": "object", "description": about, "required": list(required), "properties": fields}


_SCHEMAS: Final[Document] = {
    "Success": _shape(
        "What a workflow returned",
        ("status", "response"),
        status={"const": "success"},
        response={**ANY, "description": "The keys that it returned; none if it returned nothing"},
    ),
    "Detected": _shape("A sample was looked at", ("status",), status={"const": "success"}),
    "Accepted": _shape("A run that has not answered yet", ("status", "run_id"), status={"const": "accepted"},
                       run_id=TEXT),
    "Failure": _shape(
        "What Bubble answers where something is wrong",
        ("statusCode", "body"),
        statusCode=NUMBER,
        body=_shape("", ("status", "message"), status={**TEXT, "description": "MISSING_DATA, NOT_RUN, ERROR …"},
                    message=TEXT),
    ),
    "Unauthorized": _shape(
        "What Bubble answers to a wrong token",
        ("error_class", "args", "message", "translation"),
        error_class={"const": "Unauthorized"},
        args=ANY,
        message={"type": "null"},
        translation={**TEXT, "description": "What was wrong"},
    ),
    "RunStatus": _shape(
        "A run, as its caller sees it",
        ("status", "run_id", "workflow", "state"),
        status={"enum": ["accepted", "success", "NOT_RUN", "ERROR"]},
        run_id=TEXT,
        workflow=TEXT,
        state=TEXT,
        response={**ANY, "description": "What it returned"},
        message={**TEXT, "description": "Why it failed"},
    ),
    "ThingPage": _shape(
        "A page of things",
        ("response",),
        response=_shape("", ("cursor", "results", "count"), cursor=NUMBER,
                        results={"type": "array", "items": ANY}, count=NUMBER, remaining=NUMBER),
    ),
    "Created": _shape("A thing was created", ("status", "id"), status={"const": "success"}, id=TEXT),
    "ThingAnswer": _shape("A thing", ("response",), response=ANY),
    "Delivery": _shape(
        "A delivery that is stored",
        ("status", "delivery_id", "run_ids", "duplicate"),
        status={"const": "accepted"},
        delivery_id=TEXT,
        run_ids={"type": "array", "items": TEXT},
        duplicate={"type": "boolean", "description": "Whether it came before; the ids are those of the first time"},
    ),
    "Problem": _shape(
        "A problem document (RFC 9457)",
        ("type", "title", "status", "detail"),
        type=TEXT,
        title=TEXT,
        status=NUMBER,
        detail={**TEXT, "description": "What was wrong, and what to do"},
    ),
}  # fmt: skip
