"""How the end of a run looks to the caller of its workflow.

What a workflow returns is the `response` of Bubble's envelope, unless it is nothing but `text` (with `content_type`),
which is sent as it is, or has `redirect`, to which the other keys are added as its query. A workflow that fails in its
author's words (`fail`) is the caller's matter, 400, and so is one that fails for the account of its user; any other
failure is ours, 500.
"""

import re
from typing import Final

from pydantic import JsonValue
from yarl import URL

from penstock import exact_json
from penstock.contracts.messages import RunAnswer
from penstock.definitions.models import ApiTrigger
from penstock.definitions.redirects import REDIRECT_TARGET
from penstock.domain.states import RunState
from penstock.expressions.templates import write_value
from penstock_ingress.rules import bubble
from penstock_ingress.rules.replies import JSON, Reply

_STATUSES: Final = {"failed": 400, "account": 400, "credentials": 401, "too_many_tries": 429}
"""Of failures that are the caller's matter, by their kinds."""
_INTERNAL: Final = "internal"
_MEDIA_TYPE: Final = re.compile(r"[\w.+-]+/[\w.+-]+(?:\s*;\s*[\w-]+=[\w.-]+)*", re.ASCII)


def reply_for(answer: RunAnswer, workflow: str, trigger: ApiTrigger) -> Reply:
    """The answer of a run that has ended, or has returned, as HTTP."""
    return redirect_failure(_reply_for(answer, workflow, trigger), trigger)


def redirect_failure(reply: Reply, trigger: ApiTrigger) -> Reply:
    """A failure in Bubble's envelope as a redirect to where the workflow says, with `statusCode` and `message` in the
    query, as with Bubble; every other reply as it is.
    """
    if trigger.redirect_on_error is None or reply.status < 400 or reply.content_type != JSON:
        return reply
    failure = exact_json.loads(reply.body)
    if not isinstance(failure, dict) or not isinstance(body := failure.get("body"), dict):
        return reply  # the flat envelope: a matter of the token
    query: dict[str, JsonValue] = {"statusCode": failure["statusCode"], "message": body["message"]}
    return _redirect(trigger.redirect_on_error, query)


def _reply_for(answer: RunAnswer, workflow: str, trigger: ApiTrigger) -> Reply:
    match answer.state:
        case RunState.SKIPPED:
            return bubble.not_run(workflow, trigger.when_skipped)
        case RunState.FAILED:
            status = _STATUSES.get(_member(answer.error, "kind") or "", 500)
            return bubble.wrapped(status, "ERROR", describe_error(answer.error))
        case RunState.CANCELLED:
            return bubble.wrapped(500, "ERROR", f"The workflow {workflow} was cancelled")
        case RunState.TERMINATED:
            return bubble.wrapped(500, "ERROR", describe_error(answer.error))
        case _:
            return _returned(answer.result, trigger.redirect)


def describe_error(error: JsonValue) -> str:
    """What a caller learns of a failure: the message, unless it is about the inside of this program."""
    message = _member(error, "message")
    if message is None or _member(error, "kind") == _INTERNAL:
        return "The workflow failed with an internal error"
    return message


def _returned(result: JsonValue, page: str | None) -> Reply:
    if page is not None and (result is None or isinstance(result, dict)):
        result = {"redirect": page, **(result or {})}
    if not isinstance(result, dict):
        return bubble.success(result)
    text, content_type, target = result.get("text"), result.get("content_type"), result.get("redirect")
    if isinstance(target, str):
        return _redirect(target, {key: value for key, value in result.items() if key != "redirect"})
    if isinstance(text, str) and result.keys() <= {"text", "content_type"}:
        is_type = isinstance(content_type, str) and _MEDIA_TYPE.fullmatch(content_type)
        media_type = str(content_type) if is_type else "text/plain; charset=utf-8"
        return Reply(200, text.encode(), media_type, {"X-Content-Type-Options": "nosniff"})
    return bubble.success(result)


def _redirect(target: str, query: dict[str, JsonValue]) -> Reply:
    try:
        url = URL(target).extend_query({key: write_value(value) for key, value in query.items()})
    except ValueError:
        url = URL()
    if not REDIRECT_TARGET.fullmatch(str(url)):
        return bubble.wrapped(
            500, "ERROR", "The workflow redirects to something that is neither an http(s) URL nor a path"
        )
    return Reply(302, b"", "text/plain", {"Location": str(url)})


def _member(error: JsonValue, name: str) -> str | None:
    value = error.get(name) if isinstance(error, dict) else None
    return value if isinstance(value, str) else None
