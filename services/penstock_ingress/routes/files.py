"""`GET /fileupload/{id}/{name}`: files that came with calls of workflows, for everyone who knows the id; private ones
for those whose URL is signed, or who may see the thing to which the file belongs.
"""

import re
from typing import Final

from aiohttp import web

from penstock.domain.callers import Caller
from penstock.domain.files import Seal
from penstock_ingress.handlers.files import show_public_file
from penstock_ingress.room import Room
from penstock_ingress.routes.places import Place
from penstock_ingress.routes.workflows import identify, read_query
from penstock_ingress.rules.replies import Reply

_SECONDS: Final = re.compile(r"\d{1,12}", re.ASCII)
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}")


async def answer_file(room: Room, request: web.BaseRequest, place: Place) -> Reply:
    """The file; its name in the path is for people."""
    environment = place.environment

    async def find_caller() -> Caller:
        return await identify(room, request, read_query(request)[1], environment)

    return await show_public_file(room, environment, place.arguments[0], _read_seal(request), find_caller)


def _read_seal(request: web.BaseRequest) -> Seal | None:
    expires, signature = request.query.get("expires", ""), request.query.get("signature", "")
    is_one = _SECONDS.fullmatch(expires) and _SIGNATURE.fullmatch(signature)
    return Seal(int(expires), signature) if is_one else None
