"""`GET|POST /approvals/{token}`: the link of a `wait_for`, for somebody who has no account. To look at it changes
nothing, since scanners of mail do so; to send the form answers, once.
"""

from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from penstock_ingress.handlers.approvals import answer_asked, show_asked
from penstock_ingress.room import Room
from penstock_ingress.routes.places import Place
from penstock_ingress.routes.transport import read_body
from penstock_ingress.rules.replies import Refusal, Reply, problem

MAX_BODY_BYTES: Final = 1024 * 1024
_BODY_SECONDS: Final = 20.0
_MAX_FIELDS: Final = 200
_FORM: Final = "application/x-www-form-urlencoded"


async def answer_approval(room: Room, request: web.BaseRequest, place: Place) -> Reply:
    """The form, or what became of an answer."""
    token = place.arguments[0]
    if request.method != "POST":
        return await show_asked(room, place.environment, token)
    if request.content_type not in (_FORM, "application/octet-stream"):  # the latter stands for none at all
        raise Refusal(problem(415, f"send the form as {_FORM}"))
    body = await read_body(request, most=MAX_BODY_BYTES, seconds=_BODY_SECONDS)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError:  # not UTF-8, or too many fields
        raise Refusal(problem(400, f"the body is not a form in UTF-8 of at most {_MAX_FIELDS} fields")) from None
    return await answer_asked(room, place.environment, token, dict(pairs))
