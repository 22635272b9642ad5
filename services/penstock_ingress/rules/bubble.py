"""Bubble's wire format: its two error envelopes and its success, as its clients parse them (BUBBLE 1.4, 1.5, 2.2)."""

from collections.abc import Mapping

from pydantic import JsonValue

from penstock import exact_json
from penstock.domain.ids import new_thing_id
from penstock_ingress.rules.replies import JSON, Reply, json_reply

_MAX_TOKEN = 200


def success(response: JsonValue, headers: Mapping[str, str] | None = None) -> Reply:
    """200 `{"status":"success","response":{…}}`; `response` is there even when nothing was returned."""
    return json_reply(200, {"status": "success", "response": {} if response is None else response}, headers)


def created(id: str) -> bytes:
    """`{"status":"success","id":"…"}`: a thing was created, or a line of a bulk request."""
    return exact_json.dumps({"status": "success", "id": id})


def bulk_failure(message: str) -> bytes:
    """`{"status":"error","message":"…"}`: a line of a bulk request that made nothing."""
    return exact_json.dumps({"status": "error", "message": message})


def detected() -> Reply:
    """200 `{"status":"success"}`: the answer to a sample."""
    return json_reply(200, {"status": "success"})


def wrapped(status: int, code: str, message: str, http_status: int | None = None) -> Reply:
    """`{"statusCode":n,"body":{"status":CODE,"message":…}}`. `http_status` differs from n where a caller wants 200 all
    the same.
    """
    body = {"statusCode": status, "body": {"status": code, "message": message}}
    return Reply(http_status or status, exact_json.dumps(body), JSON)


def not_found(message: str) -> Reply:
    """404, the same for what does not exist and for what is not exposed."""
    return wrapped(404, "NOT_FOUND", message)


def unauthorized(translation: str) -> Reply:
    """401 in the flat envelope."""
    body = {
        "error_class": "Unauthorized",
        "args": {"code": new_thing_id()},
        "message": None,
        "translation": translation,
    }
    return Reply(401, exact_json.dumps(body), JSON, {"WWW-Authenticate": "Bearer"})


def invalid_token(token: str) -> Reply:
    """401 for a token that nobody has; said before anything else is looked at."""
    return unauthorized(f"Invalid or expired token: {token[:_MAX_TOKEN]}")


def not_run(workflow: str, http_status: int) -> Reply:
    """The workflow's own condition was not met; 400, or 200 where its author said so."""
    return wrapped(http_status, "NOT_RUN", f"The condition for the workflow {workflow} is not met. Workflow won't run")
