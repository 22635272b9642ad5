"""`POST|GET /api/1.1/wf/{workflow}` and `GET /api/1.1/runs/{id}`."""

from typing import Final

from aiohttp import web
from pydantic import JsonValue

from penstock.bodies import Undecodable
from penstock.bodies.forms import parse_form
from penstock.domain.callers import Caller
from penstock.domain.workload import Activity
from penstock.networks import group_of
from penstock_ingress.handlers.detecting import authorize_detection, detect
from penstock_ingress.handlers.runs import show_called_run
from penstock_ingress.handlers.workflows import ApiCall, authorize_call, call_workflow
from penstock_ingress.room import Room
from penstock_ingress.routes.places import Place
from penstock_ingress.routes.transport import ALLOWANCE, address_of, origin_of, receive
from penstock_ingress.rules import bubble
from penstock_ingress.rules.headers import read_token
from penstock_ingress.rules.replies import Refusal, Reply, too_many

BODY_SECONDS: Final = 30.0


async def answer_workflow(room: Room, request: web.BaseRequest, place: Place) -> Reply:
    """Call an API workflow."""
    call = await _read_call(room, request, place)
    await authorize_call(room, call)
    with await receive(request, most=room.settings.max_body_bytes, seconds=BODY_SECONDS) as body:
        reply = await call_workflow(room, call, body)
    used = {Activity.API_REQUEST: 1, Activity.API_BYTE: body.size + len(reply.body)}
    room.meter.count(place.environment, call.workflow, used)
    return reply


async def answer_initialize(room: Room, request: web.BaseRequest, place: Place) -> Reply:
    """Detect the parameters of a workflow from a sample, and run nothing."""
    call = await _read_call(room, request, place)
    await authorize_detection(room, call)
    with await receive(request, most=room.settings.max_body_bytes, seconds=BODY_SECONDS) as body:
        return await detect(room, call, body.data)


async def _read_call(room: Room, request: web.BaseRequest, place: Place) -> ApiCall:
    query, token = read_query(request)
    return ApiCall(
        environment=place.environment,
        prefix=place.prefix,
        workflow=place.arguments[0],
        method=request.method,
        headers=request.headers,
        query=query,
        caller=await identify(room, request, token, place.environment),
        ip=address_of(room, request),
        origin=origin_of(room, request),
    )


async def answer_run(room: Room, request: web.BaseRequest, place: Place) -> Reply:
    """Show a run to its caller."""
    _, token = read_query(request)
    caller = await identify(room, request, token, place.environment)
    return await show_called_run(room, place.environment, place.arguments[0], caller, address_of(room, request))


async def identify(room: Room, request: web.BaseRequest, token: str | None, environment: str) -> Caller:
    """Who is calling. Raises Refusal for a token that nobody has, before anything else is looked at, and for somebody
    who calls too often.
    """
    address = address_of(room, request)
    caller = await room.access.identify(token, environment, address)
    if caller is None:
        raise Refusal(bubble.invalid_token(token or ""))
    if room.rates.is_bounded:
        allowance = room.rates.take(f"address {group_of(address)}" if caller.is_anonymous else caller.name)
        if not allowance.is_allowed:
            detail = f"more than {allowance.limit} requests in a minute; try again in {allowance.wait_seconds} s"
            raise Refusal(too_many(detail, allowance.wait_seconds, allowance.headers))
        request[ALLOWANCE] = allowance.headers
    return caller


def read_query(request: web.BaseRequest) -> tuple[dict[str, JsonValue], str | None]:
    """The fields of the query without `api_token`, and the caller's token, from the header or from there. Raises
    Refusal.
    """
    raw = request.rel_url.raw_query_string
    try:
        query = parse_form(raw) if raw else {}
    except Undecodable as error:
        raise Refusal(bubble.wrapped(400, "INVALID_DATA", f"The query cannot be read: {error}")) from None
    given = query.pop("api_token", None)
    api_token = given if isinstance(given, str) or given is None else "several"
    try:
        return query, read_token(request.headers.get("Authorization"), api_token)
    except ValueError as error:
        raise Refusal(bubble.unauthorized(f"Invalid or expired token: {error}")) from None
