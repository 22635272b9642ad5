"""`http: URL`: a call to the outside, at least once; its `Idempotency-Key` is the same in every attempt."""

from typing import Final

from pydantic import JsonValue
from yarl import URL

from penstock.definitions.models import StepAction
from penstock.domain.workload import Activity
from penstock.outgoing.exchange import Request, Response
from penstock.things.files import begin_file
from penstock_executor.outside.requests import build_request, call_out
from penstock_executor.outside.responses import content_type, file_name, is_binary, refusal, to_result
from penstock_executor.steps.arguments import target_text, wrong
from penstock_executor.steps.consumption import consumption, reported
from penstock_executor.steps.outcomes import Done, Outcome
from penstock_executor.steps.specs import Call, StepSpec

DEFAULT_TIMEOUT_SECONDS: Final = 60.0
REQUEST_ARGUMENTS: Final = ("method", "query", "headers", "json", "form", "body", "errors")
"""What `http` and `call` have in common."""


async def http(call: Call) -> Outcome:
    """`{status, headers, body}`. A JSON body is parsed, other text stays text; a binary one is null and kept in
    `body_file`.

    Raises Transient for 408, 425, 429 and 5xx (waiting as long as `Retry-After` says), time-outs and failed
    connections, Permanent for any other status from 400 on. With `errors: continue`, every status is a result.
    """
    return await perform(call, build_request(call, target_url(call)), DEFAULT_TIMEOUT_SECONDS)


async def perform(call: Call, request: Request, timeout_seconds: float) -> Outcome:
    """The call as `http` and `call` make it; the step's own `timeout` stands before `timeout_seconds`."""
    errors = call.arguments.get("errors") or "fail"
    if errors not in {"fail", "continue"}:
        raise wrong(call, "`errors` has to be `fail` or `continue`")
    response = await call_out(call, request, call.plan.definition.timeout_seconds or timeout_seconds)
    if response.status >= 400 and errors == "fail":
        raise refusal(request, response)
    used = {Activity.API_BYTE: len(request.body or b"") + len(response.body)}
    result = to_result(response)
    if is_binary(response):
        result["body_file"] = await _keep_body(call, request, response)
    return Done(result, must_commit=True, used=used)


async def _keep_body(call: Call, request: Request, response: Response) -> JsonValue:
    """A file with the body, as other steps take files."""
    writer = await begin_file(
        call.tools.files,
        environment=call.run.environment,
        name=file_name(request, response),
        content_type=content_type(response) or "application/octet-stream",
        run_id=call.run.id,
    )
    await writer.write(response.body)
    return (await writer.finish()).to_json()


def target_url(call: Call) -> URL:
    """The URL behind the action's key."""
    try:
        return URL(target_text(call))
    except ValueError as error:
        raise wrong(call, f"this is not a URL: {error}") from None


SPEC: Final = StepSpec(
    action=StepAction.HTTP,
    target="a URL",
    arguments=REQUEST_ARGUMENTS,
    awaited=http,
    is_apart=True,
    consumes=consumption(Activity.CALL, done=reported),
)
