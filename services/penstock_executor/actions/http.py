"""`http: URL`: a call to the outside, at least once; its `Idempotency-Key` is the same in every attempt."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import orjson
from multidict import CIMultiDict
from pydantic import JsonValue
from yarl import URL

from penstock.definitions.expressions.language import describe_type
from penstock.definitions.expressions.templates import write_value
from penstock.domain.workload import Activity
from penstock.errors import Permanent, Transient
from penstock_executor.actions.arguments import mapping, target_text, text, wrong
from penstock_executor.actions.outgoing import Request, Response, send
from penstock_executor.actions.steps import Call, Done, Outcome

DEFAULT_TIMEOUT_SECONDS: Final = 60.0
_METHOD: Final = re.compile(r"[A-Z]{1,20}")
_LONGEST_EXCERPT: Final = 200


async def http(call: Call) -> Outcome:
    """`{status, headers, body}`; the body is parsed when it is JSON, else text.

    Raises Transient for 429 and 5xx (waiting as long as `Retry-After` says), time-outs and failed connections, Permanent for any
    other status from 400 on. With `errors: continue`, every status is a result.
    """
    errors = call.arguments.get("errors") or "fail"
    if errors not in {"fail", "continue"}:
        raise wrong(call, "`errors` has to be `fail` or `continue`")
    request = _build_request(call)
    seconds = call.plan.definition.timeout_seconds or DEFAULT_TIMEOUT_SECONDS
    response = await send(call.tools.session, request, seconds)
    if response.status >= 400 and errors == "fail":
        raise _refusal(request, response)
    headers: dict[str, JsonValue] = dict(response.headers)
    used = {Activity.API_BYTE: len(request.body or b"") + len(response.body)}
    return Done({"status": response.status, "headers": headers, "body": _read_body(response)}, must_commit=True, used=used)


def _build_request(call: Call) -> Request:
    try:
        url = URL(target_text(call, "a URL"))
    except ValueError as error:
        raise wrong(call, f"this is no URL: {error}") from None
    if query := mapping(call, "query"):
        pairs = [(name, item) for name, value in query.items() for item in (value if isinstance(value, list) else [value])]
        url = url.extend_query([(name, write_value(item)) for name, item in pairs if item is not None])
    given = {name: write_value(value) for name, value in mapping(call, "headers").items() if value is not None}
    headers = CIMultiDict((name, value.replace("\r", " ").replace("\n", " ")) for name, value in given.items())
    headers.setdefault("Idempotency-Key", f"{call.run.id}/{call.path}")
    body = _build_body(call, headers)
    method = (text(call, "method") or ("GET" if body is None else "POST")).upper()
    if not _METHOD.fullmatch(method):
        raise wrong(call, "`method` has to be a method such as GET or POST")
    return Request(method, url, headers, body)


def _build_body(call: Call, headers: CIMultiDict[str]) -> bytes | None:
    given = [name for name in ("json", "form", "body") if call.arguments.get(name) is not None]
    if len(given) > 1:
        raise wrong(call, f"give one of `json`, `form` and `body`, not {' and '.join(given)}")
    if not given:
        return None
    if given == ["json"]:
        headers.setdefault("Content-Type", "application/json")
        return orjson.dumps(call.arguments["json"])
    if given == ["form"]:
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        form = {name: write_value(value) for name, value in mapping(call, "form").items() if value is not None}
        return URL.build(query=form).raw_query_string.encode()
    body = call.arguments["body"]
    if not isinstance(body, str):
        raise wrong(call, f"`body` has to be text, and it is {describe_type(body)}; use `json` for other values")
    headers.setdefault("Content-Type", "text/plain; charset=utf-8")
    return body.encode()


def _refusal(request: Request, response: Response) -> Permanent | Transient:
    body = _read_body(response)
    excerpt = (body if isinstance(body, str) else orjson.dumps(body).decode())[:_LONGEST_EXCERPT]
    message = f"{request.method} {request.url.host} answered with status {response.status}: {excerpt}"
    if response.status == 429 or response.status >= 500:
        return Transient(message, kind="http", retry_after_seconds=_retry_after(response.headers.get("retry-after")))
    return Permanent(message, kind="http")


def _retry_after(value: str | None) -> float | None:
    """Seconds, from a number or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _read_body(response: Response) -> JsonValue:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    # PostgreSQL cannot store NUL, also not when JSON escapes it.
    if (kind == "application/json" or kind.endswith("+json")) and b"\\u0000" not in response.body:
        try:
            parsed: JsonValue = orjson.loads(response.body)
            orjson.dumps(parsed)  # nested too deep to be stored?
        except (ValueError, TypeError):
            return _decode(response)
        return parsed
    return _decode(response)


def _decode(response: Response) -> str:
    try:
        decoded = response.body.decode(response.charset or "utf-8", errors="replace")
    except LookupError:
        decoded = response.body.decode(errors="replace")
    return decoded.replace("\x00", "�")
