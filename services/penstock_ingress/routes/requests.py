"""What the routes of the management API read of a request; what cannot be meant is refused with a problem document."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, TypeVar
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, JsonValue, ValidationError

from penstock import exact_json
from penstock.bodies import Undecodable, parse_json
from penstock.contracts.messages import describe
from penstock.definitions.models import ENVIRONMENTS
from penstock.domain.callers import Caller
from penstock.domain.durations import parse_duration
from penstock_ingress.routes.transport import read_body
from penstock_ingress.rules.replies import Refusal, problem

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
BODY_SECONDS: Final = 30.0
ACTOR: Final = web.RequestKey("actor", str)
"""Where a request keeps who sends it, for the audit."""
CALLER: Final = web.RequestKey("caller", Caller)
"""Where it keeps what that one may do."""
DEFAULT_LINK_LIFETIME: Final = timedelta(hours=1)
MAX_LINK_LIFETIME: Final = timedelta(days=7)
Model = TypeVar("Model", bound=BaseModel)


def decode(body: bytes) -> JsonValue:
    """The body as JSON. Raises Refusal."""
    try:
        return parse_json(body)
    except Undecodable as error:
        raise Refusal(problem(400, str(error))) from None


def read_environment(request: web.Request) -> str:
    """The environment that the path names. Raises Refusal."""
    environment = request.match_info["environment"]
    if environment not in ENVIRONMENTS:
        raise Refusal(problem(404, f"there is no environment {environment[:50]!r}, only {' and '.join(ENVIRONMENTS)}"))
    return environment


def read_id(request: web.Request) -> UUID:
    """The id that the path names. Raises Refusal."""
    text = request.match_info["id"]
    try:
        return UUID(text)
    except ValueError:
        raise Refusal(
            problem(404, f"{text[:50]!r} is not an id; ids look like 0190a5f2-7c00-8a11-9b22-0123456789ab")
        ) from None


async def read_model(request: web.Request, model: type[Model], *, is_optional: bool = False) -> Model:
    """The body as a model; `is_optional`: no body at all is an empty one. Raises Refusal."""
    body = await read_body(request, most=MAX_BODY_BYTES, seconds=BODY_SECONDS)
    if is_optional and not body.strip():
        body = b"{}"
    try:
        return _with_exact_numbers(model.model_validate_json(body), body)
    except ValidationError as error:
        is_json = all(found["type"] != "json_invalid" for found in error.errors())
        raise Refusal(problem(422 if is_json else 400, describe(error))) from None


def _with_exact_numbers(read: Model, body: bytes) -> Model:
    """`read` with the parameters as `body` has them: pydantic reads floats."""
    if "parameters" not in type(read).model_fields or not exact_json.has_long_number(body):
        return read
    fields = exact_json.loads(body)
    parameters = fields.get("parameters") if isinstance(fields, dict) else None
    return read.model_copy(update={"parameters": parameters}) if isinstance(parameters, dict) else read


def read_link_lifetime(query: Mapping[str, str]) -> timedelta:
    """`lifetime` of a signed URL, a duration such as 10m: an hour by default, at most a week. Raises Refusal."""
    text = query.get("lifetime")
    try:
        lifetime = DEFAULT_LINK_LIFETIME if text is None else parse_duration(text)
    except ValueError as error:
        raise Refusal(problem(400, f"lifetime: {error}")) from None
    if not timedelta() < lifetime <= MAX_LINK_LIFETIME:
        raise Refusal(problem(400, "lifetime: a signed URL holds for more than nothing and at most 7d"))
    return lifetime
