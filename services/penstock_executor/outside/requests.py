"""Requests of steps to other servers: method, query, headers, body, idempotency key and lineage."""

import re
from typing import Final

from multidict import CIMultiDict
from yarl import URL

from penstock import clock, exact_json
from penstock.definitions.connectors import CONNECTION_HEADERS
from penstock.domain.lineage import LineageSeal, continue_trace, join_baggage, split_baggage
from penstock.expressions.language import describe_type
from penstock.expressions.templates import write_value
from penstock.outgoing.exchange import Request, Response
from penstock.storable import encodable_text
from penstock.tracing import active
from penstock_executor.runs import ClaimedRun, Values
from penstock_executor.steps.arguments import mapping, text, wrong
from penstock_executor.steps.specs import Call

_METHOD: Final = re.compile(r"[A-Z]{1,20}")


def build_request(call: Call, url: URL, own: Values | None = None) -> Request:
    """The request that `method query headers json form body` describe; `own` headers win over the step's."""
    if query := mapping(call, "query"):
        pairs = [
            (name, item) for name, value in query.items() for item in (value if isinstance(value, list) else [value])
        ]
        url = url.extend_query([(name, write_value(item)) for name, item in pairs if item is not None])
    headers = _build_headers(call, {**mapping(call, "headers"), **(own or {})})
    body = _build_body(call, headers)
    method = (text(call, "method") or ("GET" if body is None else "POST")).upper()
    if not _METHOD.fullmatch(method):
        raise wrong(call, "`method` has to be a method such as GET or POST")
    return Request(method, url, headers, body)


async def call_out(call: Call, request: Request, timeout_seconds: float) -> Response:
    """Send a request of a run with its idempotency key, trace and lineage. Every action that calls out uses this.

    Raises what `Outgoing.send` raises, and DatabaseUnavailable.
    """
    request.headers.setdefault("Idempotency-Key", idempotency_key(call))
    await _add_lineage(call, request.headers)
    spans = active()
    if spans is None:
        return await call.tools.send(request, timeout_seconds)
    # Neither path nor query: both may carry secrets.
    spans.note_current({"http.request.method": request.method, "server.address": request.url.host or ""})
    response = await call.tools.send(request, timeout_seconds)
    spans.note_current({"http.response.status_code": response.status})
    return response


def idempotency_key(call: Call) -> str:
    """What all attempts of a step have in common."""
    return f"{call.run.id}/{call.path}"


def next_traceparent(run: ClaimedRun) -> str:
    """The `traceparent` of one call: of the step's span where traces are recorded, else of a span that nobody sees."""
    spans = active()
    current = None if spans is None else spans.current_traceparent()
    return current or continue_trace(run.trace.get("traceparent"), run.chain_id)


def lineage_headers(run: ClaimedRun, seal: LineageSeal, baggage: str = "") -> dict[str, str]:
    """The headers that carry trace, chain and depth, beside the baggage of the request that started the chain.

    `baggage` is the author's own; that of the chain cannot be taken away by it, because it is what cuts loops.
    """
    kept = run.trace
    entry = seal.sign(run.chain_id, run.id, run.depth, clock.now())
    headers = {
        "traceparent": next_traceparent(run),
        "baggage": join_baggage(entry, split_baggage(f"{baggage},{kept.get('baggage', '')}")),
    }
    return headers | {"tracestate": kept["tracestate"]} if "tracestate" in kept else headers


async def _add_lineage(call: Call, headers: CIMultiDict[str]) -> None:
    """An author may give a trace of their own, and more baggage."""
    lineage = lineage_headers(
        call.run, await call.tools.installation.find_seal(), ",".join(headers.popall("baggage", ()))
    )
    if "traceparent" in headers:
        lineage = {"baggage": lineage["baggage"]}
    headers.update(lineage)


def _build_headers(call: Call, given: Values) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in given.items():
        if name.lower() in CONNECTION_HEADERS:
            raise wrong(call, f"the header {name} is set by the connection; leave it out")
        if value is not None:
            headers[name] = write_value(value).replace("\r", " ").replace("\n", " ")
    return headers


def _build_body(call: Call, headers: CIMultiDict[str]) -> bytes | None:
    given = [name for name in ("json", "form", "body") if call.arguments.get(name) is not None]
    if len(given) > 1:
        raise wrong(call, f"give one of `json`, `form` and `body`, not {' and '.join(given)}")
    if not given:
        return None
    if given == ["json"]:
        headers.setdefault("Content-Type", "application/json")
        return exact_json.dumps(call.arguments["json"])
    if given == ["form"]:
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        form = {name: write_value(value) for name, value in mapping(call, "form").items() if value is not None}
        return URL.build(query=form).raw_query_string.encode()
    body = call.arguments["body"]
    if not isinstance(body, str):
        raise wrong(call, f"`body` has to be text, and it is {describe_type(body)}; use `json` for other values")
    headers.setdefault("Content-Type", "text/plain; charset=utf-8")
    return encodable_text(body).encode()
